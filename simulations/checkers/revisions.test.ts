import assert from "node:assert/strict";
import { test } from "vitest";
import { checkRevisions, type Operation, type RevisionHistory } from "./revisions.ts";

const at = (call: number, returned: number) => ({ call, return: returned, key: "order.a", outcome: "ok" }) as const;
const write = (call: number, returned: number, revision: number, expect?: number): Operation => ({
  ...at(call, returned),
  kind: "write",
  revision,
  ...(expect === undefined ? {} : { expect }),
});
const read = (call: number, returned: number, revision: number): Operation => ({
  ...at(call, returned),
  kind: "read",
  revision,
});
const storedChain = new Map([
  [
    "order.a",
    [
      { revision: 1, previous: 0, commit: "c1" },
      { revision: 4, previous: 1, commit: "c4" },
    ],
  ],
]);

const cases: readonly { readonly it: string; readonly history: RevisionHistory; readonly rules: readonly string[] }[] =
  [
    {
      it: "accepts a chain of writes with reads between",
      history: {
        operations: [write(0, 1, 1, 0), read(2, 3, 1), write(4, 5, 4, 1), read(6, 7, 4)],
        stored: storedChain,
      },
      rules: [],
    },
    {
      it: "accepts a read that overlaps a write and sees either side",
      history: { operations: [write(0, 1, 1, 0), write(2, 6, 4, 1), read(3, 4, 1), read(3, 5, 4)] },
      rules: [],
    },
    { it: "accepts two events in one commit", history: { operations: [write(0, 5, 1), write(1, 5, 1)] }, rules: [] },
    {
      it: "accepts a repetition that gets the first answer",
      history: {
        operations: [write(0, 1, 1, 0), write(2, 3, 4, 1), { ...write(4, 5, 1), isRepetition: true }],
      },
      rules: [],
    },
    {
      it: "accepts nothing and a new beginning after a purge",
      history: {
        operations: [
          write(0, 1, 1, 0),
          { ...at(2, 3), kind: "purge", revision: 2, expect: 1 },
          read(4, 5, 0),
          write(6, 7, 3, 0),
        ],
      },
      rules: [],
    },
    { it: "refuses a stale read", history: { operations: [write(0, 1, 4, 1), read(2, 3, 1)] }, rules: ["stale-read"] },
    {
      it: "refuses reads that go back",
      history: { operations: [write(0, 9, 4, 1), read(1, 2, 4), read(3, 4, 1)] },
      rules: ["stale-read"],
    },
    {
      it: "refuses a write that got a lower revision than one before it",
      history: { operations: [write(0, 1, 4), write(2, 3, 3)] },
      rules: ["real-time-order"],
    },
    {
      it: "refuses one revision for two writes",
      history: { operations: [write(0, 9, 1, 0), write(1, 8, 1, 0)] },
      rules: ["revision-twice"],
    },
    {
      it: "refuses two writes that followed the same revision",
      history: { operations: [write(0, 9, 2, 1), write(1, 8, 3, 1)] },
      rules: ["lost-update"],
    },
    {
      it: "refuses two first writes",
      history: { operations: [write(0, 9, 2, 0), write(1, 8, 3, 0)] },
      rules: ["lost-update"],
    },
    {
      it: "refuses an acknowledged write that the store never held",
      history: { operations: [write(0, 1, 3)], stored: storedChain },
      rules: ["acknowledged-but-absent"],
    },
    {
      it: "refuses an acknowledgement for another's revision",
      history: { operations: [{ ...write(0, 1, 4), commit: "c9" }], stored: storedChain },
      rules: ["acknowledged-but-absent"],
    },
    {
      it: "refuses a refused write that is there",
      history: {
        operations: [{ ...at(0, 1), kind: "write", outcome: "refused", commit: "c4" }],
        stored: storedChain,
      },
      rules: ["refused-but-present"],
    },
    {
      it: "refuses a read of what nobody wrote",
      history: { operations: [read(0, 1, 2)], stored: storedChain },
      rules: ["read-of-nothing"],
    },
    {
      it: "refuses a write that replaced another revision than it expected",
      history: { operations: [write(0, 1, 4, 0)], stored: storedChain },
      rules: ["wrong-predecessor"],
    },
  ];

for (const { it, history, rules } of cases) {
  test(`the revision checker ${it}`, () => {
    const found = checkRevisions(history).map(({ rule }) => rule);
    assert.deepEqual(found, rules);
  });
}
