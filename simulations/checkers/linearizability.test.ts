import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, test } from "vitest";
import {
  type Call,
  checkLinearizability,
  linearize,
  type RegisterInput,
  type RegisterOutput,
  register,
} from "./linearizability.ts";

type Operation = Call<RegisterInput, RegisterOutput>;

const never = Number.POSITIVE_INFINITY;
const read = (call: number, end: number, value: string | null, key = "k"): Operation => ({
  call,
  return: end,
  key,
  input: { kind: "read" },
  output: { kind: "read", value },
});
const write = (call: number, end: number, value: string, expect?: string | null, key = "k"): Operation => ({
  call,
  return: end,
  key,
  input: { kind: "write", value, ...(expect !== undefined && { expect }) },
  ...(end !== never && { output: { kind: "done" } }),
});
const refused = (call: number, end: number, value: string, expect: string | null): Operation => ({
  ...write(call, end, value, expect),
  output: { kind: "conflict" },
});

const good: readonly { readonly it: string; readonly calls: readonly Operation[] }[] = [
  { it: "nothing at all", calls: [] },
  {
    it: "one after the other",
    calls: [write(0, 1, "a", null), read(2, 3, "a"), write(4, 5, "b", "a"), read(6, 7, "b")],
  },
  { it: "a read that overlaps a write and sees the old value", calls: [write(0, 10, "a"), read(1, 2, null)] },
  { it: "a read that overlaps a write and sees the new value", calls: [write(0, 10, "a"), read(1, 2, "a")] },
  { it: "equal times, which overlap", calls: [write(0, 1, "a"), read(1, 2, null)] },
  { it: "an unanswered write that happened late", calls: [write(0, never, "a"), read(1, 2, null), read(3, 4, "a")] },
  { it: "an unanswered write that never happened", calls: [write(0, never, "a"), read(1, 2, null)] },
  { it: "a refusal although the expectation held", calls: [refused(0, 1, "a", null), read(2, 3, null)] },
  {
    it: "a purge, and a life after it",
    calls: [
      write(0, 1, "a", null),
      { call: 2, return: 3, key: "k", input: { kind: "purge", expect: "a" }, output: { kind: "done" } },
      write(4, 5, "b", null),
    ],
  },
];

const bad: readonly { readonly it: string; readonly calls: readonly Operation[] }[] = [
  { it: "a stale read", calls: [write(0, 1, "a"), read(2, 3, null)] },
  { it: "a value that nobody wrote", calls: [write(0, 1, "a"), read(2, 3, "b")] },
  { it: "reads that go back", calls: [write(0, 10, "a"), read(1, 2, "a"), read(3, 4, null)] },
  {
    it: "two that both followed the same value",
    calls: [write(0, 1, "a"), write(2, 5, "b", "a"), write(3, 6, "c", "a")],
  },
  { it: "an unanswered write that comes and goes", calls: [write(0, never, "a"), read(1, 2, "a"), read(3, 4, null)] },
  { it: "a refused write that is there", calls: [refused(0, 1, "a", null), read(2, 3, "a")] },
  { it: "a lost update", calls: [write(0, 1, "a"), write(2, 3, "b", "a"), read(4, 5, "a")] },
  {
    it: "a purge of what was not there",
    calls: [{ call: 0, return: 1, key: "k", input: { kind: "purge", expect: "a" }, output: { kind: "done" } }],
  },
];

describe("the search for an order", () => {
  test.each(good)("finds one for $it", ({ calls }) => {
    assert.deepEqual(checkLinearizability(calls, register), []);
  });
  test.each(bad)("finds none for $it", ({ calls }) => {
    assert.deepEqual(
      checkLinearizability(calls, register).map(({ rule }) => rule),
      ["not-linearizable"],
    );
  });
  test("judges each key alone", () => {
    const calls = [write(0, 1, "a", null, "x"), write(0, 1, "a", null, "y"), read(2, 3, null, "y")];
    assert.deepEqual(
      checkLinearizability(calls, register).map(({ detail }) => detail.slice(0, 2)),
      ["y:"],
    );
  });
  test("that takes too long proves nothing", () => {
    const calls = Array.from({ length: 30 }, (_, n) => write(0, 100, String(n)));
    const violations = checkLinearizability([...calls, read(200, 201, "none")], register, 1_000);
    assert.deepEqual(
      violations.map(({ rule }) => rule),
      ["linearizability-unknown"],
    );
  });
});

/** All orders, tried one by one. */
function hasOrder(calls: readonly Operation[], state: string | null, left: ReadonlySet<number>): boolean {
  const answered = [...left].filter((index) => (calls[index] as Operation).return !== never);
  if (answered.length === 0) return true;
  const earliest = Math.min(...answered.map((index) => (calls[index] as Operation).return));
  return [...left].some((index) => {
    const { call, input, output } = calls[index] as Operation;
    if (call > earliest) return false;
    const stepped = register.step(state, input, output);
    return stepped !== undefined && hasOrder(calls, stepped.state, new Set([...left].filter((one) => one !== index)));
  });
}

const anyValue = fc.constantFrom("a", "b");
const anyCall: fc.Arbitrary<Operation> = fc
  .record({
    call: fc.integer({ min: 0, max: 12 }),
    takes: fc.integer({ min: 0, max: 6 }),
    isAnswered: fc.boolean(),
    operation: fc.oneof(
      fc.record({ input: fc.constant<RegisterInput>({ kind: "read" }), seen: fc.option(anyValue) }),
      fc.record({
        input: fc.record({ kind: fc.constant("write" as const), value: anyValue, expect: fc.option(anyValue) }),
        seen: fc.constant(undefined),
      }),
    ),
  })
  .map(({ call, takes, isAnswered, operation: { input, seen } }) => ({
    call,
    return: isAnswered ? call + takes : never,
    key: "k",
    input,
    ...(isAnswered && { output: input.kind === "read" ? { kind: "read", value: seen ?? null } : { kind: "done" } }),
  }));

test("the search agrees with trying all orders", () => {
  fc.assert(
    fc.property(fc.array(anyCall, { maxLength: 6 }), (calls) => {
      const all = new Set(calls.map((_, index) => index));
      const expected = hasOrder(calls, null, all) ? "linearizable" : "violation";
      assert.equal(linearize(calls, register).verdict, expected);
    }),
    { numRuns: 3_000, seed: 5 },
  );
});
