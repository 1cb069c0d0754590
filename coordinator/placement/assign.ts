/** Which session is to run which partition: evenly, with as few moves as that allows, the same for all who compute it. */

export type Member = {
  readonly session: string;
  /** How much of the work it takes, beside the others; a whole number from 1. Default: 1. */
  readonly weight?: number | undefined;
  /** Where it stands. Zones share the partitions evenly among them, however many members each has. Default: one zone for all. */
  readonly zone?: string | undefined;
};

type Quota = { readonly session: string; readonly held: readonly number[]; readonly exact: number; count: number };

/**
 * `holders` has the present session of each partition, or undefined. Every member gets what its zone and weight are worth,
 * rounded up or down, and keeps what it has up to that. Undefined throughout when there are no members.
 */
export function assign(
  holders: readonly (string | undefined)[],
  members: readonly Member[],
): readonly (string | undefined)[] {
  const target: (string | undefined)[] = holders.map(() => undefined);
  const quotas = quotasOf(holders, members);
  if (quotas.length === 0) return target;
  for (const { session, held, count } of quotas)
    for (const partition of held.slice(0, count)) target[partition] = session;
  const room = quotas.map(({ session, held, count }) => ({ session, left: Math.max(0, count - held.length) }));
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

function quotasOf(holders: readonly (string | undefined)[], members: readonly Member[]): Quota[] {
  const bySession = new Map(members.map((member) => [member.session, member]));
  const sorted = [...bySession.values()].sort((a, b) => (a.session < b.session ? -1 : 1));
  const zones = new Map<string, number>();
  for (const { zone = "", weight = 1 } of sorted) zones.set(zone, (zones.get(zone) ?? 0) + weight);
  const held = new Map<string, number[]>(sorted.map(({ session }) => [session, []]));
  holders.forEach((holder, partition) => {
    if (holder !== undefined) held.get(holder)?.push(partition);
  });
  const quotas = sorted.map(({ session, zone = "", weight = 1 }): Quota => {
    const exact = (holders.length * weight) / (zones.size * (zones.get(zone) as number));
    // Sums of quotients are not exact; what is a hair below a whole number is that number.
    return { session, held: held.get(session) as number[], exact, count: Math.floor(exact + 1e-9) };
  });
  let extra = holders.length - quotas.reduce((sum, { count }) => sum + count, 0);
  // Those that have one more already keep it: nothing moves only to move the odd one elsewhere.
  const fractional = quotas
    .filter(({ exact, count }) => exact - count > 1e-9)
    .sort(
      (a, b) => hasMore(b) - hasMore(a) || b.exact - b.count - (a.exact - a.count) || (a.session < b.session ? -1 : 1),
    );
  for (const quota of fractional) if (extra-- > 0) quota.count++;
  return quotas;
}

function hasMore({ held, count }: Quota): number {
  return held.length > count ? 1 : 0;
}
