import assert from "node:assert/strict";
import { test } from "vitest";
import { checkEffects, type EffectHistory, type PerformedEffect } from "./effects.ts";

const run = (calledMs: number, index: number, key = "e1"): PerformedEffect => ({
  key,
  token: [1, index],
  calledMs,
  fence: "order.a",
  outcome: "applied",
});
const good: EffectHistory = {
  performed: [run(1, 1), run(5, 2)],
  recorded: [{ key: "e1", token: [1, 2], atMs: 9 }],
  due: ["e1"],
  isFenced: true,
};

const cases: readonly { readonly it: string; readonly history: EffectHistory; readonly rules: readonly string[] }[] = [
  { it: "accepts a second attempt under a new token before the result", history: good, rules: [] },
  {
    it: "accepts a fenced straggler",
    history: { ...good, performed: [...good.performed, { ...run(20, 1), outcome: "fenced" }] },
    rules: [],
  },
  {
    it: "accepts a straggler of an earlier owner at a resource without fencing",
    history: { ...good, isFenced: false, performed: [...good.performed, run(20, 1)] },
    rules: [],
  },
  {
    it: "accepts an attempt called before the result and arriving later",
    history: { ...good, performed: [...good.performed, run(8, 2)] },
    rules: [],
  },
  {
    it: "refuses an effect that runs again under the token that recorded it",
    history: { ...good, performed: [...good.performed, run(10, 2)] },
    rules: ["performed-after-recorded"],
  },
  {
    it: "refuses an effect that runs again under a later token",
    history: { ...good, performed: [...good.performed, run(10, 3)] },
    rules: ["performed-after-recorded"],
  },
  {
    it: "refuses a straggler that a fenced resource applied",
    history: { ...good, performed: [...good.performed, run(20, 1)] },
    rules: ["token-fell"],
  },
  {
    it: "refuses tokens that fall between two effects of one fence",
    history: { ...good, performed: [...good.performed, run(6, 1, "e2")] },
    rules: ["token-fell"],
  },
  { it: "refuses an effect that never ran", history: { ...good, due: ["e1", "e2"] }, rules: ["never-performed"] },
  {
    it: "refuses a result of nothing",
    history: { ...good, recorded: [...good.recorded, { key: "e2", token: [1, 2], atMs: 9 }] },
    rules: ["recorded-never-performed"],
  },
  {
    it: "refuses two results",
    history: { ...good, recorded: [...good.recorded, ...good.recorded] },
    rules: ["recorded-twice"],
  },
];

for (const { it, history, rules } of cases) {
  test(`the effect checker ${it}`, () => {
    assert.deepEqual(
      checkEffects(history).map(({ rule }) => rule),
      rules,
    );
  });
}
