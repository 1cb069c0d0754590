import assert from "node:assert/strict";
import { test } from "vitest";
import { checkTimers, type TimerHistory } from "./timers.ts";

const good: TimerHistory = {
  scheduled: [
    { id: "t1", dueMs: 100 },
    { id: "t2", dueMs: 200 },
    { id: "t3", dueMs: 9_990 },
  ],
  cancelled: [{ id: "t2", atMs: 150 }],
  fired: [{ id: "t1", atMs: 100 }],
  endMs: 10_000,
  graceMs: 50,
};

const cases: readonly { readonly it: string; readonly history: TimerHistory; readonly rules: readonly string[] }[] = [
  { it: "accepts one on time, one cancelled, one still within its grace", history: good, rules: [] },
  {
    it: "accepts one that fired before it was cancelled",
    history: { ...good, fired: [...good.fired, { id: "t2", atMs: 200 }], cancelled: [{ id: "t2", atMs: 201 }] },
    rules: [],
  },
  {
    it: "accepts an early one within the clock's allowance",
    history: { ...good, fired: [{ id: "t1", atMs: 90 }], clockAheadMs: 10 },
    rules: [],
  },
  { it: "refuses an early one", history: { ...good, fired: [{ id: "t1", atMs: 99 }] }, rules: ["early"] },
  { it: "refuses a lost one", history: { ...good, fired: [] }, rules: ["lost"] },
  {
    it: "refuses one that fired twice",
    history: { ...good, fired: [...good.fired, { id: "t1", atMs: 300 }] },
    rules: ["fired-twice"],
  },
  {
    it: "refuses one that fired after its cancellation",
    history: { ...good, fired: [...good.fired, { id: "t2", atMs: 200 }] },
    rules: ["fired-after-cancel"],
  },
  {
    it: "refuses one that nobody scheduled",
    history: { ...good, fired: [...good.fired, { id: "t9", atMs: 200 }] },
    rules: ["unknown-timer"],
  },
];

for (const { it, history, rules } of cases) {
  test(`the timer checker ${it}`, () => {
    assert.deepEqual(
      checkTimers(history).map(({ rule }) => rule),
      rules,
    );
  });
}
