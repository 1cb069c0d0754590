/**
 * Waits for what other processes, servers or sockets bring about, asking again and again. Fails saying what did not come,
 * before the test's own time is over; unless it is given words for it, in those of the condition.
 */
export async function until(holds: () => boolean | Promise<boolean>, what = String(holds)): Promise<void> {
  const deadlineMs = performance.now() + 40_000;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
