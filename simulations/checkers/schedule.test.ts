import assert from "node:assert/strict";
import { test } from "vitest";
import { checkSchedule, type ScheduleHistory } from "./schedule.ts";

const none = { old: 0, superseded: 0, overMax: 0, late: 0 };
const run = (slot: number) => ({ tickId: `j/${slot}`, slot });
const work = (slot: number) => ({
  ...run(slot),
  clockMs: slot + 3,
  token: [1, 2] as const,
  committed: [1, 2] as const,
});
const taken = (upTo: number, nowMs = upTo + 2) => ({ upTo, nowMs, isPaused: false });
const good: ScheduleHistory = {
  job: "j",
  periodMs: 1_000,
  anchorMs: 0,
  offsetMs: 0,
  misfire: "fireLatest",
  catchUpMs: 60_000,
  graceMs: 500,
  first: 0,
  next: 3_000,
  taken: [taken(0), taken(1_000), taken(2_000)],
  begun: [run(0), run(1_000), run(2_000)],
  waiting: 0,
  missed: none,
  skipped: 0,
  ended: [
    { tickId: "j/0", outcome: "done" },
    { tickId: "j/1000", outcome: "done" },
  ],
  performed: [work(0), work(1_000), work(2_000)],
  sent: [{ node: "n1", slot: 0, believes: true }],
  endMs: 3_400,
  behindMs: 500,
};
const late = (misfire: ScheduleHistory["misfire"], missed: Partial<ScheduleHistory["missed"]>, slots: number[]) => ({
  ...good,
  misfire,
  taken: [taken(2_000, 2_900)],
  begun: slots.map(run),
  ended: [],
  performed: slots.map((slot) => ({ ...work(slot), clockMs: 2_901 })),
  missed: { ...none, ...missed },
});

const cases: readonly { readonly it: string; readonly history: ScheduleHistory; readonly rules: readonly string[] }[] =
  [
    { it: "accepts a slot for every second", history: good, rules: [] },
    {
      it: "accepts an attempt that was begun again under a later token",
      history: { ...good, performed: [...good.performed, { ...work(2_000), token: [1, 3], committed: [1, 3] }] },
      rules: [],
    },
    {
      it: "accepts slots that only one of two releases has",
      history: { ...good, periodMs: 500, changing: { lastPeriodMs: 1_000, latestMs: 3_000 } },
      rules: [],
    },
    {
      it: "sees a job that waits for the slot of a schedule that it has no more",
      history: { ...good, next: 3_600_000, periodMs: 500, changing: { lastPeriodMs: 1_000, latestMs: 3_000 } },
      rules: ["stands-still"],
    },
    {
      it: "accepts a straggler of an earlier owner",
      history: { ...good, performed: [...good.performed, { ...work(2_000), committed: [1, 3] }] },
      rules: [],
    },
    { it: "accepts the latest of late slots", history: late("fireLatest", { superseded: 2 }, [2_000]), rules: [] },
    { it: "accepts none of them under skip", history: late("skip", { late: 3 }, []), rules: [] },
    { it: "accepts the latest two", history: late({ fireAll: 2 }, { overMax: 1 }, [1_000, 2_000]), rules: [] },
    {
      it: "refuses a late slot begun under skip",
      history: late("skip", { late: 2 }, [2_000]),
      rules: ["miscounted", "against-the-policy"],
    },
    {
      it: "refuses one late slot too many",
      history: late("fireLatest", { superseded: 1 }, [1_000, 2_000]),
      rules: ["miscounted", "against-the-policy"],
    },
    {
      it: "refuses another late slot than the latest",
      history: late("fireLatest", { superseded: 2 }, [1_000]),
      rules: ["against-the-policy"],
    },
    {
      it: "refuses a wrong reason",
      history: late("fireLatest", { late: 2 }, [2_000]),
      rules: ["miscounted", "miscounted"],
    },
    {
      it: "refuses a slot begun twice",
      history: { ...good, begun: [...good.begun.slice(0, 2), run(1_000)], performed: good.performed.slice(0, 2) },
      rules: ["begun-twice"],
    },
    {
      it: "refuses a slot that is lost unseen",
      history: { ...good, begun: [run(0), run(2_000)], performed: [work(0), work(2_000)], ended: [] },
      rules: ["lost-unseen"],
    },
    { it: "refuses a slot that was begun and counted too", history: { ...good, skipped: 1 }, rules: ["counted-twice"] },
    {
      it: "refuses a job that has passed more slots than its ticks",
      history: { ...good, taken: good.taken.slice(0, 2) },
      rules: ["against-the-policy", "lost-unseen"],
    },
    {
      it: "refuses work before its slot",
      history: { ...good, performed: [...good.performed.slice(0, 2), { ...work(2_000), clockMs: 1_999 }] },
      rules: ["early"],
    },
    {
      it: "refuses work before its slot's turn in the jitter",
      history: { ...good, offsetMs: 50, taken: good.taken.map(({ upTo }) => taken(upTo, upTo + 60)) },
      rules: ["early", "early", "early"],
    },
    {
      it: "refuses a run that is named after another moment",
      history: {
        ...good,
        begun: [...good.begun.slice(0, 2), { tickId: "j/2003", slot: 2_000 }],
        performed: good.performed.slice(0, 2),
      },
      rules: ["misnamed"],
    },
    {
      it: "refuses a slot that is not of the schedule",
      history: { ...good, begun: [...good.begun.slice(0, 2), run(2_003)], performed: good.performed.slice(0, 2) },
      rules: ["off-schedule", "against-the-policy"],
    },
    {
      it: "refuses work that no commit began",
      history: { ...good, performed: [...good.performed, work(3_000)] },
      rules: ["performed-never-begun"],
    },
    {
      it: "refuses work under a token that is not installed",
      history: { ...good, performed: [...good.performed, { ...work(2_000), token: [1, 3] }] },
      rules: ["token-not-installed"],
    },
    {
      it: "refuses a result without work",
      history: { ...good, performed: good.performed.slice(1) },
      rules: ["done-never-performed"],
    },
    {
      it: "refuses two results",
      history: { ...good, ended: [...good.ended, ...good.ended.slice(1)] },
      rules: ["ended-twice"],
    },
    {
      it: "refuses a result of nothing",
      history: { ...good, ended: [{ tickId: "j/9000", outcome: "failed" }] },
      rules: ["ended-never-begun"],
    },
    {
      it: "refuses a tick by a node that does not own the job",
      history: { ...good, sent: [...good.sent, { node: "n2", slot: 0, believes: false }] },
      rules: ["ticked-without-lease"],
    },
    { it: "refuses a job that stands still", history: { ...good, endMs: 3_501 }, rules: ["stands-still"] },
  ];

for (const { it, history, rules } of cases) {
  test(`the schedule checker ${it}`, () => {
    assert.deepEqual(
      checkSchedule(history).map(({ rule }) => rule),
      rules,
    );
  });
}
