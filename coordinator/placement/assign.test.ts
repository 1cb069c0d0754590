import fc from "fast-check";
import { expect, test } from "vitest";
import { assign } from "./assign.ts";

const seed = Number(process.env.SEED ?? 20_260_101);

const cases = fc.record({
  eligible: fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e", "f"), { maxLength: 6 }),
  holders: fc.array(fc.option(fc.constantFrom("a", "b", "c", "d", "e", "f", "gone"), { nil: undefined }), {
    maxLength: 70,
  }),
});

test(`every partition has an owner, evenly, whatever was before (seed ${seed})`, () => {
  fc.assert(
    fc.property(cases, ({ eligible, holders }) => {
      const targets = assign(holders, eligible);
      expect(targets.length).toBe(holders.length);
      if (eligible.length === 0) {
        expect(targets.every((target) => target === undefined)).toBe(true);
        return;
      }
      const loads = eligible.map((session) => targets.filter((target) => target === session).length);
      expect(loads.reduce((sum, load) => sum + load, 0)).toBe(holders.length);
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
    }),
    { seed, numRuns: 2_000 },
  );
});

test(`as few partitions move as an even spread allows (seed ${seed})`, () => {
  fc.assert(
    fc.property(cases, ({ eligible, holders }) => {
      fc.pre(eligible.length > 0);
      const targets = assign(holders, eligible);
      const kept = targets.filter((target, partition) => target === holders[partition]).length;
      // Nobody can keep more than its quota; the odd ones go to those who have most.
      const loads = eligible.map((session) => holders.filter((holder) => holder === session).length);
      const share = Math.floor(holders.length / eligible.length);
      const extra = holders.length % eligible.length;
      const most = loads
        .sort((a, b) => b - a)
        .reduce((sum, load, index) => sum + Math.min(load, share + (index < extra ? 1 : 0)), 0);
      expect(kept).toBe(most);
    }),
    { seed, numRuns: 2_000 },
  );
});

test(`what was assigned stays, and the order of the sessions does not matter (seed ${seed})`, () => {
  fc.assert(
    fc.property(cases, ({ eligible, holders }) => {
      const targets = assign(holders, eligible);
      expect(assign(targets, eligible)).toEqual(targets);
      expect(assign(holders, [...eligible].reverse())).toEqual(targets);
    }),
    { seed, numRuns: 1_000 },
  );
});

test("one that joins takes its share and no more moves; one that goes leaves its own", () => {
  const alone = assign(
    Array.from({ length: 64 }, () => undefined),
    ["a"],
  );
  const two = assign(alone, ["a", "b"]);
  expect(two.filter((target, partition) => target !== alone[partition]).length).toBe(32);
  const three = assign(two, ["a", "b", "c"]);
  expect(three.filter((target, partition) => target !== two[partition]).length).toBe(21);
  const without = assign(
    three.map((holder) => (holder === "b" ? undefined : holder)),
    ["a", "c"],
  );
  expect(without.filter((target, partition) => target !== three[partition]).every((target) => target !== "b")).toBe(
    true,
  );
  expect(
    three
      .filter((holder) => holder !== "b")
      .every((holder, index) => holder === without.filter((_, p) => three[p] !== "b")[index]),
  ).toBe(true);
});
