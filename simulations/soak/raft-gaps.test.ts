import { expect, test } from "vitest";
import { gapOf, type RaftRound, type Sight } from "./raft-gaps.ts";

const at = (ms: number) => ms * 1e6;
const round: RaftRound = {
  round: 1,
  trouble: "SIGKILL",
  leader: 1,
  key: "k",
  goneNs: at(10_000),
  nextNs: at(12_000),
};
const follows = (member: number, leader: number, term: number, ms: number): Sight => ({
  kind: "follows",
  member,
  leader,
  term,
  atNs: at(ms),
});
const freed = (member: number, ms: number, key = "k"): Sight => ({ kind: "freed", member, key, atNs: at(ms) });
const stalled = (member: number, forMs: number, queuedMs: number | undefined, ms: number): Sight => ({
  kind: "stalled",
  member,
  forMs,
  queuedMs,
  atNs: at(ms),
});
const quiet = { stalledMs: 0, queuedMs: 0 };

const cases = [
  {
    it: "is parted by what the others saw, in whatever order they told it",
    sights: [
      freed(2, 11_991),
      freed(3, 11_990),
      follows(2, 3, 5, 10_705),
      follows(3, 3, 5, 10_700),
      follows(2, 1, 4, 1),
    ],
    parts: { gapMs: 2_000, leaderlessMs: 700, terms: 1, restOfTtlMs: 1_290, grantingMs: 10, ...quiet },
  },
  {
    it: "has as many terms as elections were begun",
    sights: [follows(2, 1, 4, 1), follows(3, 0, 5, 10_600), follows(2, 2, 6, 11_500), freed(2, 11_900)],
    parts: { leaderlessMs: 1_500, terms: 2, restOfTtlMs: 400, grantingMs: 100 },
  },
  {
    it: "knows nothing of what the one that is gone saw, of other keys, of before and of after",
    sights: [
      follows(1, 1, 9, 10_100),
      stalled(1, 500, 500, 10_200),
      freed(2, 10_300, "other"),
      freed(2, 9_000),
      stalled(2, 100, 100, 9_999),
      follows(2, 2, 5, 12_001),
    ],
    parts: { leaderlessMs: 2_000, terms: 0, restOfTtlMs: 0, grantingMs: 0, ...quiet },
  },
  {
    it: "is free at once where its time to live was over before anybody led",
    sights: [freed(2, 10_500), follows(2, 2, 5, 10_600)],
    parts: { leaderlessMs: 500, restOfTtlMs: 0, grantingMs: 1_500 },
  },
  {
    it: "tells of the process that stood still the longest in all",
    sights: [stalled(2, 50, 60, 10_100), stalled(2, 40, 10, 10_200), stalled(3, 80, 80, 10_300)],
    parts: { stalledMs: 90, queuedMs: 60 },
  },
  {
    it: "does not guess how long one waited for a processor",
    sights: [stalled(2, 50, undefined, 10_100)],
    parts: { stalledMs: 50, queuedMs: undefined },
  },
];
for (const { it, sights, parts } of cases) test(`a gap ${it}`, () => expect(gapOf(round, sights)).toMatchObject(parts));
