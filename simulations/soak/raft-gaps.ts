/**
 * Where the time went between the end of a leader and the next grant of what it held: until another led, until the old
 * holder's time was over in the log, until somebody was granted it; and how long the others stood still meanwhile. Pure.
 */
import type { Stall } from "./stalls.ts";

/** What a member saw. Times are of the machine's monotonic clock. */
export type Sight =
  | {
      readonly kind: "follows";
      readonly member: number;
      readonly leader: number;
      readonly term: number;
      readonly atNs: number;
    }
  | { readonly kind: "freed"; readonly member: number; readonly key: string; readonly atNs: number }
  | ({ readonly kind: "stalled"; readonly member: number } & Stall);

export type RaftRound = {
  readonly round: number;
  readonly trouble: "SIGKILL" | "SIGSTOP";
  readonly leader: number;
  readonly key: string;
  readonly goneNs: number;
  readonly nextNs: number;
};

export type Gap = {
  readonly round: number;
  readonly trouble: RaftRound["trouble"];
  readonly gapMs: number;
  /** Until another member led, and how many terms that took. */
  readonly leaderlessMs: number;
  readonly terms: number;
  /** From then until the old holder's session had ended. */
  readonly restOfTtlMs: number;
  readonly grantingMs: number;
  /** Of the one that stood still longest in all, and of that, how long it waited for a processor. */
  readonly stalledMs: number;
  readonly queuedMs: number | undefined;
};

export function gapOf({ round, trouble, leader, key, goneNs, nextNs }: RaftRound, sights: readonly Sight[]): Gap {
  const ordered = [...sights].sort((a, b) => a.atNs - b.atNs);
  const meanwhile = ordered.filter(({ member, atNs }) => member !== leader && atNs >= goneNs && atNs <= nextNs);
  const termAt = (untilNs: number) => {
    const seen = ordered.findLast(
      ({ kind, member, atNs }) => kind === "follows" && member !== leader && atNs <= untilNs,
    );
    return seen?.kind === "follows" ? seen.term : 0;
  };
  const electedNs =
    meanwhile.find((sight) => sight.kind === "follows" && sight.leader === sight.member)?.atNs ?? nextNs;
  const freedNs = meanwhile.find((sight) => sight.kind === "freed" && sight.key === key)?.atNs ?? nextNs;
  const ledNs = Math.min(electedNs, freedNs);
  const members = [...new Set(meanwhile.map(({ member }) => member))];
  const stalls = members.map((one) => stalledIn(meanwhile.filter(({ member }) => member === one)));
  const [worst = { stalledMs: 0, queuedMs: 0 }] = stalls.sort((a, b) => b.stalledMs - a.stalledMs);
  return {
    round,
    trouble,
    gapMs: (nextNs - goneNs) / 1e6,
    leaderlessMs: (ledNs - goneNs) / 1e6,
    terms: termAt(nextNs) - termAt(goneNs),
    restOfTtlMs: (freedNs - ledNs) / 1e6,
    grantingMs: (nextNs - freedNs) / 1e6,
    ...worst,
  };
}

function stalledIn(sights: readonly Sight[]): Pick<Gap, "stalledMs" | "queuedMs"> {
  const stalls = sights.filter((sight) => sight.kind === "stalled");
  const total = (of: (stall: Stall) => number) => stalls.reduce((sum, stall) => sum + of(stall), 0);
  const isTold = stalls.every(({ queuedMs }) => queuedMs !== undefined);
  return {
    stalledMs: total(({ forMs }) => forMs),
    // It waits a little between stalls too; that is none of theirs.
    queuedMs: isTold ? total(({ forMs, queuedMs }) => Math.min(forMs, queuedMs ?? 0)) : undefined,
  };
}
