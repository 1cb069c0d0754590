/** Which session is to run which partition: evenly, with as few moves as that allows, the same for all who compute it. */

/**
 * `holders` has the present session of each partition, or undefined. Every session in `eligible` gets the same number of
 * partitions, give or take one, and keeps what it has up to that. Undefined throughout when nobody is eligible.
 */
export function assign(
  holders: readonly (string | undefined)[],
  eligible: readonly string[],
): readonly (string | undefined)[] {
  const sessions = [...new Set(eligible)].sort();
  if (sessions.length === 0) return holders.map(() => undefined);
  const held = new Map(sessions.map((session) => [session, [] as number[]]));
  holders.forEach((holder, partition) => {
    if (holder !== undefined) held.get(holder)?.push(partition);
  });
  const share = Math.floor(holders.length / sessions.length);
  let extra = holders.length % sessions.length;
  const target: (string | undefined)[] = holders.map(() => undefined);
  // Those that have most keep the odd ones: nothing moves only to move the odd one elsewhere.
  const byLoad = [...sessions].sort(
    (a, b) => (held.get(b) as number[]).length - (held.get(a) as number[]).length || (a < b ? -1 : 1),
  );
  const room: { readonly session: string; left: number }[] = [];
  for (const session of byLoad) {
    const quota = share + (extra-- > 0 ? 1 : 0);
    const kept = (held.get(session) as number[]).slice(0, quota);
    for (const partition of kept) target[partition] = session;
    room.push({ session, left: quota - kept.length });
  }
  let next = 0;
  for (let partition = 0; partition < target.length; partition++) {
    if (target[partition] !== undefined) continue;
    while (room[next]?.left === 0) next++;
    const taker = room[next] as (typeof room)[number];
    target[partition] = taker.session;
    taker.left--;
  }
  return target;
}
