/** Hand-made histories for the checkers of replies, tokens, parking and convergence: one bad one per rule. */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { type ConvergenceHistory, checkConvergence } from "./convergence.ts";
import { checkParking, type ParkedActor, type ParkingHistory } from "./parking.ts";
import { checkReplies, type KeyedReply } from "./replies.ts";
import { checkTokensAtResources, type FencedOperation } from "./tokens.ts";
import type { Violation } from "./violation.ts";

const rules = (violations: readonly Violation[]) => violations.map(({ rule }) => rule);

describe("replies", () => {
  const applied = new Map([["a", new Map([[3, ["k"]]])]]);
  const reply = (more: Partial<KeyedReply> = {}): KeyedReply => ({
    actor: "a",
    key: "k",
    body: "b",
    outcome: "acknowledged",
    revision: 3,
    isDuplicate: true,
    ...more,
  });
  const cases: readonly { readonly it: string; readonly replies: readonly KeyedReply[]; readonly broken: string[] }[] =
    [
      { it: "one answer, repeated", replies: [reply({ isDuplicate: false }), reply(), reply()], broken: [] },
      { it: "another body, refused", replies: [reply(), reply({ body: "c", outcome: "keyReused" })], broken: [] },
      {
        it: "two answers",
        replies: [reply(), reply({ revision: 4 })],
        broken: ["replies-differ", "receipt-of-another-commit"],
      },
      {
        it: "new twice",
        replies: [reply({ isDuplicate: false }), reply({ isDuplicate: false })],
        broken: ["new-twice"],
      },
      { it: "two bodies", replies: [reply(), reply({ body: "c" })], broken: ["key-reused-unnoticed"] },
      {
        it: "refused for nothing",
        replies: [reply(), reply({ outcome: "keyReused" })],
        broken: ["key-refused-wrongly"],
      },
      { it: "a commit without it", replies: [reply({ revision: 2 })], broken: ["receipt-of-another-commit"] },
    ];
  test.each(cases)("$it", ({ replies, broken }) => assert.deepEqual(rules(checkReplies({ replies, applied })), broken));
});

describe("tokens at a resource", () => {
  const operation = (
    holder: string,
    index: number,
    kind: FencedOperation["kind"],
    outcome: FencedOperation["outcome"] = "accepted",
  ): FencedOperation => ({ resource: "r", holder, token: [1, index], kind, outcome });
  const cases: readonly {
    readonly it: string;
    readonly operations: readonly FencedOperation[];
    readonly broken: string[];
  }[] = [
    {
      it: "install, read, write, and the old one refused",
      operations: [
        operation("a", 1, "install"),
        operation("a", 1, "read"),
        operation("b", 2, "install"),
        operation("a", 1, "write", "fenced"),
        operation("b", 2, "write"),
      ],
      broken: [],
    },
    {
      it: "an old one let in",
      operations: [operation("b", 2, "install"), operation("a", 1, "write")],
      broken: ["token-fell"],
    },
    {
      it: "two with one token",
      operations: [operation("a", 1, "write"), operation("b", 1, "write")],
      broken: ["token-shared"],
    },
    {
      it: "a read first",
      operations: [operation("a", 1, "read"), operation("a", 1, "install")],
      broken: ["read-before-install"],
    },
    {
      it: "the holder refused",
      operations: [operation("a", 1, "install"), operation("a", 1, "write", "fenced")],
      broken: ["refused-rightful-holder"],
    },
    {
      it: "a new one refused",
      operations: [operation("a", 1, "install"), operation("b", 2, "install", "fenced")],
      broken: ["refused-rightful-holder"],
    },
    {
      it: "one refused where nobody was",
      operations: [operation("a", 1, "install", "fenced")],
      broken: ["refused-rightful-holder"],
    },
  ];
  test.each(cases)("$it", ({ operations, broken }) =>
    assert.deepEqual(rules(checkTokensAtResources(operations)), broken),
  );
});

describe("parking", () => {
  const actor: ParkedActor = { actor: "a", atMs: 5, reason: "threw: no", valueThen: "1", valueNow: "1" };
  const history: ParkingHistory = {
    parked: [actor],
    mishaps: [{ actor: "a", atMs: 4 }],
    mustBeParked: ["a"],
    touched: new Set(),
  };
  const cases: readonly { readonly it: string; readonly change: Partial<ParkingHistory>; readonly broken: string[] }[] =
    [
      { it: "for a reason, untouched", change: {}, broken: [] },
      {
        it: "changed by whoever resumed it",
        change: { parked: [{ ...actor, valueNow: "2" }], touched: new Set(["a"]) },
        broken: [],
      },
      { it: "without a word", change: { parked: [{ ...actor, reason: " " }] }, broken: ["parked-without-reason"] },
      { it: "for nothing", change: { mishaps: [] }, broken: ["parked-needlessly"] },
      {
        it: "before anything had happened",
        change: { mishaps: [{ actor: "a", atMs: 6 }] },
        broken: ["parked-needlessly"],
      },
      { it: "and changed", change: { parked: [{ ...actor, valueNow: undefined }] }, broken: ["parked-and-changed"] },
      { it: "not, although it had to be", change: { parked: [] }, broken: ["not-parked"] },
    ];
  test.each(cases)("$it", ({ change, broken }) =>
    assert.deepEqual(rules(checkParking({ ...history, ...change })), broken),
  );
});

describe("convergence", () => {
  const sight = (node: string, value: string, atMs = 200) => ({ atMs, node, actor: "a", value });
  const history: ConvergenceHistory = {
    healedMs: 50,
    withinMs: 100,
    sights: [sight("n1", "old", 60), sight("n1", "1"), sight("n2", "1")],
    operations: [{ name: "send", callMs: 10, returnMs: 140 }],
    left: [],
  };
  const cases: readonly {
    readonly it: string;
    readonly change: Partial<ConvergenceHistory>;
    readonly broken: string[];
  }[] = [
    { it: "all say the same", change: {}, broken: [] },
    {
      it: "one says something else",
      change: { sights: [sight("n1", "1"), sight("n2", "2")] },
      broken: ["never-converged"],
    },
    { it: "one goes on changing", change: { sights: [sight("n1", "1"), sight("n1", "2")] }, broken: ["never-at-rest"] },
    { it: "nobody looked in the end", change: { sights: [sight("n1", "1", 60)] }, broken: ["nobody-looked"] },
    { it: "no answer", change: { operations: [{ name: "send", callMs: 10 }] }, broken: ["never-answered"] },
    {
      it: "an answer too late",
      change: { operations: [{ name: "send", callMs: 10, returnMs: 151 }] },
      broken: ["answered-too-late"],
    },
    { it: "work left", change: { left: ["effect 7 of a"] }, broken: ["left-undone"] },
  ];
  test.each(cases)("$it", ({ change, broken }) =>
    assert.deepEqual(rules(checkConvergence({ ...history, ...change })), broken),
  );
});
