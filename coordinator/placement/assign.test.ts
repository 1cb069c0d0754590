import fc from "fast-check";
import { expect, test } from "vitest";
import { assign as assignMembers, type Member } from "./assign.ts";

const seed = Number(process.env.SEED ?? 20_260_101);

/** All alike. */
const assign = (holders: readonly (string | undefined)[], eligible: readonly string[]) =>
  assignMembers(
    holders,
    eligible.map((session) => ({ session })),
  );

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

const weighted = fc.record({
  members: fc.uniqueArray(
    fc.record({
      session: fc.constantFrom("a", "b", "c", "d", "e", "f"),
      weight: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      zone: fc.option(fc.constantFrom("east", "west", "north"), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 6, selector: ({ session }) => session },
  ),
  holders: fc.array(fc.option(fc.constantFrom("a", "b", "c", "d", "e", "f", "gone"), { nil: undefined }), {
    maxLength: 70,
  }),
});

/** By the definition, slowly: a zone's share of all, a member's share of its zone. */
function worth(members: readonly Member[], member: Member, partitions: number): number {
  const zones = new Set(members.map(({ zone }) => zone ?? ""));
  const peers = members.filter(({ zone }) => (zone ?? "") === (member.zone ?? ""));
  return ((partitions / zones.size) * (member.weight ?? 1)) / peers.reduce((sum, { weight = 1 }) => sum + weight, 0);
}

test(`each gets what its zone and weight are worth, give or take one, and then nothing moves any more (seed ${seed})`, () => {
  fc.assert(
    fc.property(weighted, ({ members, holders }) => {
      const targets = assignMembers(holders, members);
      for (const member of members) {
        const load = targets.filter((target) => target === member.session).length;
        expect(Math.abs(load - worth(members, member, holders.length))).toBeLessThan(1);
      }
      expect(targets.every((target) => members.some(({ session }) => session === target))).toBe(true);
      expect(assignMembers(targets, members)).toEqual(targets);
      expect(assignMembers(holders, [...members].reverse())).toEqual(targets);
    }),
    { seed, numRuns: 2_000 },
  );
});

test(`a member loses only what is beyond its own worth, whatever zones and weights are (seed ${seed})`, () => {
  fc.assert(
    fc.property(weighted, ({ members, holders }) => {
      const targets = assignMembers(holders, members);
      for (const { session } of members) {
        const before = holders.flatMap((holder, partition) => (holder === session ? [partition] : []));
        const after = targets.filter((target) => target === session).length;
        const kept = before.filter((partition) => targets[partition] === session).length;
        expect(kept).toBe(Math.min(before.length, after));
      }
    }),
    { seed, numRuns: 1_000 },
  );
});

test("two small members and one of twice their size; three zones, of which one has a single member", () => {
  const none = Array.from({ length: 64 }, () => undefined);
  const loads = (members: readonly Member[]) => {
    const targets = assignMembers(none, members);
    return members.map(({ session }) => targets.filter((target) => target === session).length);
  };
  expect(loads([{ session: "a", weight: 2 }, { session: "b" }, { session: "c" }])).toEqual([32, 16, 16]);
  const [a, b, c, d] = loads([
    { session: "a", zone: "east" },
    { session: "b", zone: "east" },
    { session: "c", zone: "west" },
    { session: "d", zone: "north" },
  ]) as [number, number, number, number];
  for (const zone of [a + b, c, d]) expect(Math.abs(zone - 64 / 3)).toBeLessThan(1.5);
});
