/** So many callers, each with one thing in flight, for so long; and the middle one of several such rounds. */

export type LoopFigures = {
  readonly count: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

/** Each caller repeats `act` until the time is over, or it resolves with "over". */
export async function closedLoop(
  callers: number,
  forMs: number,
  act: (caller: number) => Promise<unknown>,
): Promise<LoopFigures> {
  const latencies: number[] = [];
  const started = performance.now();
  const until = started + forMs;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let before = performance.now(); before < until; ) {
        if ((await act(caller)) === "over") return;
        const after = performance.now();
        latencies.push(after - before);
        before = after;
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return { count: latencies.length, perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

export function middle(rounds: readonly LoopFigures[]): LoopFigures {
  const sorted = [...rounds].sort((a, b) => a.perSecond - b.perSecond);
  return sorted[Math.floor(sorted.length / 2)] as LoopFigures;
}
