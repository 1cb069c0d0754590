import assert from "node:assert/strict";
import { test } from "vitest";
import { checkExactlyOnce, type SendAttempt } from "./exactly-once.ts";

const attempt = (key: string, outcome: SendAttempt["outcome"], receipt?: string): SendAttempt => ({
  actor: "order.a",
  key,
  outcome,
  ...(receipt === undefined ? {} : { receipt }),
});

const cases: readonly {
  readonly it: string;
  readonly attempts: readonly SendAttempt[];
  readonly applied: readonly string[];
  readonly rules: readonly string[];
}[] = [
  {
    it: "accepts acknowledged ones once, refused ones never",
    attempts: [attempt("k1", "acknowledged"), attempt("k2", "refused")],
    applied: ["k1"],
    rules: [],
  },
  { it: "accepts an unknown one that was applied", attempts: [attempt("k1", "unknown")], applied: ["k1"], rules: [] },
  { it: "accepts an unknown one that was not", attempts: [attempt("k1", "unknown")], applied: [], rules: [] },
  {
    it: "accepts a repetition with the same receipt",
    attempts: [attempt("k1", "unknown"), attempt("k1", "acknowledged", "4"), attempt("k1", "acknowledged", "4")],
    applied: ["k1"],
    rules: [],
  },
  { it: "refuses a lost one", attempts: [attempt("k1", "acknowledged")], applied: [], rules: ["lost"] },
  {
    it: "refuses one applied twice",
    attempts: [attempt("k1", "acknowledged")],
    applied: ["k1", "k1"],
    rules: ["applied-twice"],
  },
  {
    it: "refuses one applied twice of unknown outcome",
    attempts: [attempt("k1", "unknown")],
    applied: ["k1", "k1"],
    rules: ["applied-twice"],
  },
  {
    it: "refuses a refused one that was applied",
    attempts: [attempt("k1", "refused")],
    applied: ["k1"],
    rules: ["refused-but-applied"],
  },
  { it: "refuses one that nobody sent", attempts: [], applied: ["k1"], rules: ["invented"] },
  {
    it: "refuses one applied by another actor",
    attempts: [{ ...attempt("k1", "acknowledged"), actor: "order.b" }],
    applied: ["k1"],
    rules: ["invented", "lost"],
  },
  {
    it: "refuses receipts that differ",
    attempts: [attempt("k1", "acknowledged", "4"), attempt("k1", "acknowledged", "5")],
    applied: ["k1"],
    rules: ["receipts-differ"],
  },
];

for (const { it, attempts, applied, rules } of cases) {
  test(`the exactly-once checker ${it}`, () => {
    const documents = new Map([["order.a", { applied }]]);
    const found = checkExactlyOnce({ attempts, documents, applied: (document) => document.applied });
    assert.deepEqual(
      found.map(({ rule }) => rule),
      rules,
    );
  });
}
