/** Random troubles for the properties of the protocol and of schedules: each as far as the property lets it reach. */
import fc from "fast-check";
import type { Trouble } from "./case.ts";

const node = fc.integer({ min: 0, max: 1 });
const upTo = (max: number) => fc.integer({ min: 0, max });

/** `points`: how many moments of a node's run it may hit. */
export function anyCrash(points: number): fc.Arbitrary<Trouble> {
  return fc.record({
    kind: fc.constant("crash" as const),
    node,
    point: fc.integer({ min: 1, max: points }),
    restartAfterMs: fc.constantFrom(50, 1_000, 8_000),
  });
}

export function anyFreeze(points: number, longestMs: number): fc.Arbitrary<Trouble> {
  return fc.record({
    kind: fc.constant("freeze" as const),
    node,
    point: fc.integer({ min: 1, max: points }),
    forMs: fc.constantFrom(30, 2_000, longestMs),
  });
}

/** A partition to another node, or to the same one again. */
export function anyMove(lastMs: number, isTold: fc.Arbitrary<boolean> = fc.boolean()): fc.Arbitrary<Trouble> {
  return fc.record({ kind: fc.constant("move" as const), atMs: upTo(lastMs), partition: node, node, isTold });
}

export function anyCut(lastMs: number): fc.Arbitrary<Trouble> {
  return fc.record({
    kind: fc.constant("cut" as const),
    atMs: upTo(lastMs),
    node,
    from: fc.constantFrom("store" as const, "leases" as const),
    forMs: fc.constantFrom(500, 5_000),
  });
}

export function anyClockJump(lastMs: number, ...offsetsMs: readonly number[]): fc.Arbitrary<Trouble> {
  return fc.record({
    kind: fc.constant("clock" as const),
    atMs: upTo(lastMs),
    node,
    offsetMs: fc.constantFrom(...offsetsMs),
  });
}

/** How often something goes wrong: half the time never. */
export const anyRate = fc.constantFrom(0, 0, 0.03, 0.15);
export const rarely = fc.constantFrom(0, 0.02);

/** What a store may do with a write, but for being full. */
export const anyWriteFaults = {
  conflict: anyRate,
  "conflict-applied": anyRate,
  "unknown-applied": anyRate,
  "unknown-late": anyRate,
  "unknown-lost": anyRate,
  duplicate: anyRate,
  "slow-answer": rarely,
};

export const anyWatchFaults = fc.record({ slow: fc.constantFrom(0, 0.05), skip: anyRate });
