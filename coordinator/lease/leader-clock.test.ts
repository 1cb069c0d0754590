import fc from "fast-check";
import { expect, test } from "vitest";
import { beginLeading, goOn } from "./leader-clock.ts";

const seed = Number(process.env.SEED ?? 20_260_101);

const cases = [
  { it: "goes on by what has passed", nowMs: 1_040, leaseMs: 540 },
  { it: "keeps what is left of a millisecond for the next step", nowMs: 1_000.9, leaseMs: 500 },
  { it: "takes a step of the longest length as it is", nowMs: 1_100, leaseMs: 600 },
  { it: "cuts a longer one: whoever was stopped did not see the renewals", nowMs: 61_000, leaseMs: 600 },
  { it: "stands still when its source goes back", nowMs: 900, leaseMs: 500 },
  { it: "stands still when its source says nothing", nowMs: Number.NaN, leaseMs: 500 },
];
for (const { it, nowMs, leaseMs } of cases)
  test(`a leader's clock ${it}`, () => expect(goOn(beginLeading(500, 1_000), nowMs, 100).leaseMs).toBe(leaseMs));

test(`it is never ahead of the time that has passed, and behind by less than a millisecond without stops (seed ${seed})`, () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 90, noNaN: true })), (steps) => {
      let clock = beginLeading(7, 0);
      let nowMs = 0;
      for (const stepMs of steps) {
        nowMs += stepMs;
        clock = goOn(clock, nowMs, 100);
        expect(clock.leaseMs).toBeLessThanOrEqual(7 + nowMs + 1e-6);
        expect(clock.leaseMs).toBeGreaterThan(7 + nowMs - 1 - 1e-6);
      }
    }),
    { seed, numRuns: 300 },
  );
});
