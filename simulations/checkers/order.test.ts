import assert from "node:assert/strict";
import { test } from "vitest";
import { checkOrder } from "./order.ts";

const messages = (text: string) =>
  text === ""
    ? []
    : text.split(" ").map((message) => ({ sender: message.slice(0, 1), receiver: "z", message: message.slice(1) }));

const cases = [
  { it: "accepts each sender's order, however they mix", sent: "a1 a2 b1 b2", applied: "b1 a1 a2 b2", rules: [] },
  { it: "accepts what has not arrived yet", sent: "a1 a2", applied: "a1", isComplete: false, rules: [] },
  { it: "refuses what never arrived", sent: "a1 a2", applied: "a1", rules: ["lost"] },
  {
    it: "refuses two swapped, as a hole and its late filling",
    sent: "a1 a2",
    applied: "a2 a1",
    rules: ["gap", "out-of-order"],
  },
  { it: "refuses a repetition", sent: "a1 a2", applied: "a1 a1 a2", rules: ["applied-twice"] },
  { it: "refuses a late repetition", sent: "a1 a2", applied: "a1 a2 a1", rules: ["applied-twice"] },
  { it: "refuses a hole", sent: "a1 a2 a3", applied: "a1 a3", isComplete: false, rules: ["gap"] },
  { it: "refuses what was never sent", sent: "a1", applied: "a1 a9", rules: ["invented"] },
  { it: "refuses what another sent", sent: "a1 b2", applied: "a1 a2", isComplete: false, rules: ["invented"] },
];

for (const { it, sent, applied, isComplete = true, rules } of cases) {
  test(`the order checker ${it}`, () => {
    const found = checkOrder({ sent: messages(sent), applied: messages(applied), isComplete });
    assert.deepEqual(
      found.map(({ rule }) => rule),
      rules,
    );
  });
}
