/** How a job ends by hand, and what a later one of its name knows of it. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { readCron } from "./croner.ts";
import { advance, type Job, type JobInput, newJob, type RunResult } from "./job.ts";
import { type Schedule, type ScheduleOptions, scheduleOf } from "./schedule.ts";
import { slotsOf } from "./slots.ts";

const slotsFor = (schedule: Schedule) => slotsOf(schedule, readCron);
const unread = (schedule: Schedule) => slotsOf(schedule, undefined);
const dayMs = 86_400_000;
const every: ScheduleOptions = { every: "1s", grace: 0 };

const tick = (slot: number, nowMs = slot): JobInput => ({ kind: "tick", slot, nowMs });
const owned = (nowMs: number, options = every): JobInput => ({
  kind: "owned",
  schedule: scheduleOf("j", options, readCron),
  nowMs,
});
const trigger = (name: string): JobInput => ({ kind: "trigger", name, atMs: 0 });
const backfill = (name: string, fromMs: number, toMs: number): JobInput => ({ kind: "backfill", name, fromMs, toMs });
const result = { outcome: "done", start: "", end: "", lateMs: 0, owner: "n1", token: [1, 1], attempt: 1 } as const;
const ended = (tickId: string, outcome: RunResult["outcome"] = "done"): JobInput => ({
  kind: "ended",
  tickId,
  result: { ...result, outcome },
});
const remove: JobInput = { kind: "remove" };

function made(options = every, nowMs = 0): Job {
  const schedule = scheduleOf("j", options, readCron);
  return newJob("j", schedule, slotsFor(schedule), nowMs);
}

function after(job: Job, ...inputs: readonly JobInput[]): Job {
  return inputs.reduce((given, input) => advance(given, input, slotsFor).job, job);
}

const running = (job: Job) => job.running.map(({ tickId }) => tickId);

test("a removed job stops what runs, begins nothing of what waits, and counts both", () => {
  const job = after(made({ ...every, overlap: "bufferAll" }), tick(0), tick(1_000), tick(2_000), trigger("t"));
  const { job: removed, orders } = advance(job, remove, unread);
  assert.deepEqual(orders, [{ kind: "stop", tickId: "j/0" }]);
  assert.equal(removed.removed, true);
  assert.deepEqual([removed.running, removed.waiting, removed.extras], [[], [], []]);
  assert.deepEqual([removed.counts.begun, removed.counts.terminated, removed.counts.skipped.overlap], [1, 1, 2]);
  assert.equal(removed.next, 3_000);
});

test("a removed job takes no tick, no result and no second removal, and refuses who intervenes", () => {
  const removed = after(made(), tick(0), remove);
  for (const input of [tick(1_000), tick(9_000), ended("j/0"), remove]) {
    const { job, orders } = advance(removed, input, unread);
    assert.equal(job, removed);
    assert.deepEqual(orders, input.kind === "ended" ? [{ kind: "forget", tickId: "j/0" }] : []);
  }
  for (const input of [{ kind: "pause" }, { kind: "resume" }, trigger("t"), backfill("b", 0, 1)] as JobInput[])
    assert.throws(() => advance(removed, input, unread), /j was removed: schedule it again first/);
});

test("one that is scheduled again is a new job, with nothing of the old one", () => {
  const old = after(made(), tick(0), ended("j/0"), { kind: "pause" }, trigger("t"), tick(1_000), remove);
  const job = after(old, owned(1_500));
  assert.deepEqual(job, { ...made(every, 1_500), life: 2, behindMs: 0 });
  assert.deepEqual(running(after(job, tick(2_000))), ["j/2000"]);
});

const lives: readonly {
  readonly it: string;
  readonly first: readonly JobInput[];
  readonly options?: ScheduleOptions;
  readonly againMs: number;
  readonly next: number | null;
}[] = [
  { it: "begins behind what an owner with a clock ahead has begun", first: [tick(8_000)], againMs: 5_100, next: 9_000 },
  {
    it: "does so in a third life too, of which the second has begun nothing",
    first: [tick(8_000), remove, owned(5_100)],
    againMs: 5_100,
    next: 9_000,
  },
  {
    it: "waits for a time that is a day away",
    first: [tick(5_000 + dayMs)],
    againMs: 5_100,
    next: 6_000 + dayMs,
  },
  {
    it: "does not wait for a time that is further away: it was that of a wrong clock",
    first: [tick(6_000 + dayMs)],
    againMs: 5_100,
    next: 6_000,
  },
  {
    it: "does not wait for a slot that has only been the next one",
    first: [owned(0, { at: 2 * dayMs })],
    againMs: 5_100,
    next: 6_000,
  },
  {
    it: "does not do its one slot a second time",
    first: [owned(0, { at: 3_000 }), tick(3_000), ended("j/3000")],
    options: { at: 3_000 },
    againMs: 5_100,
    next: null,
  },
];

for (const { it, first, options = every, againMs, next } of lives) {
  test(`a job that comes again ${it}`, () => {
    assert.equal(after(made(), ...first, remove, owned(againMs, options)).next, next);
  });
}

test("a changed schedule does not lead a later life back to what an earlier one has begun", () => {
  const job = after(made(), tick(8_000), remove, owned(5_100), owned(5_100, { every: "500ms", grace: 0 }));
  assert.equal(job.next, 8_500);
});

test("triggers and backfills of a later life may have the names of an earlier one, and are other runs", () => {
  const old = after(made(), tick(1_000), trigger("t"), remove);
  const job = after(old, owned(1_500), trigger("t"), trigger("t"), backfill("b", 0, 0));
  assert.deepEqual(running(job), ["j/trigger-t~2"]);
  const later = after(job, ended("j/trigger-t~2"));
  assert.deepEqual(running(later), ["j/0~b~2"]);
  assert.equal(later.counts.extra, 2);
});

test("the end of a run does not fail for a backfill whose pattern nobody reads: that waits for an owner who does", () => {
  const cron = { cron: "* * * * * *", grace: 0 } as const;
  const job = after(made(cron), tick(5_000), backfill("b", 0, 1_000));
  const { job: between } = advance(job, ended("j/5000"), unread);
  assert.deepEqual([between.running.length, between.extras.length, between.counts.done], [0, 1, 1]);
  assert.deepEqual(running(after(between, owned(5_500, cron))), ["j/0~b"]);
});
