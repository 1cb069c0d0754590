/** What a job does next: rules as tables, and all of it against a slow model that looks at every slot by itself. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { readCron } from "./croner.ts";
import { advance, type Counts, type Job, type JobInput, newJob, type RunResult } from "./job.ts";
import { type Misfire, type Overlap, type ScheduleOptions, scheduleOf } from "./schedule.ts";
import { offsetMs, slotsOf } from "./slots.ts";

const slotsFor = (schedule: Parameters<typeof slotsOf>[0]) => slotsOf(schedule, readCron);
const dayMs = 86_400_000;

function made(options: ScheduleOptions, nowMs = 0): Job {
  const schedule = scheduleOf("j", options, readCron);
  return newJob("j", schedule, slotsFor(schedule), nowMs);
}

function after(job: Job, ...inputs: readonly JobInput[]): Job {
  return inputs.reduce((given, input) => advance(given, input, slotsFor).job, job);
}

const result: RunResult = {
  outcome: "done",
  start: "1970-01-01T00:00:00.000Z",
  end: "1970-01-01T00:00:00.000Z",
  lateMs: 0,
  owner: "n1",
  token: [1, 1],
  attempt: 1,
};
const tick = (slot: number, nowMs = slot): JobInput => ({ kind: "tick", slot, nowMs });
const ended = (tickId: string, outcome: RunResult["outcome"] = "done"): JobInput => ({
  kind: "ended",
  tickId,
  result: { ...result, outcome },
});

const owned = (options: ScheduleOptions, nowMs: number): JobInput => ({
  kind: "owned",
  schedule: scheduleOf("j", options, readCron),
  nowMs,
});

type Story = {
  readonly it: string;
  readonly options: ScheduleOptions;
  readonly bornMs?: number;
  readonly inputs: readonly JobInput[];
  readonly running: readonly string[];
  readonly waiting?: readonly string[];
  readonly next?: number | null;
  readonly counts: Partial<Counts>;
};

const every = { every: "1s" } as const;

const stories: readonly Story[] = [
  { it: "begins a slot", options: every, inputs: [tick(0)], running: ["j/0"], next: 1_000, counts: { begun: 1 } },
  {
    it: "refuses a slot a second time, and an older one",
    options: every,
    inputs: [tick(0), ended("j/0"), tick(1_000), ended("j/1000"), tick(1_000, 1_500), tick(0, 1_500)],
    running: [],
    counts: { begun: 2, done: 2, stale: 2 },
  },
  {
    it: "does not begin a slot that its owner's clock has not reached",
    options: every,
    inputs: [tick(1_000, 999)],
    running: ["j/0"],
    next: 1_000,
    counts: { begun: 1 },
  },
  {
    it: "begins a slot that is late by the grace, and no later one, under skip",
    options: { ...every, misfire: "skip", overlap: "allowAll" },
    inputs: [tick(3_000, 3_000)],
    running: ["j/2000", "j/3000"],
    counts: { begun: 2, missed: { old: 0, superseded: 0, overMax: 0, late: 2 } },
  },
  {
    it: "lets the latest stand for all that are late",
    options: { ...every, grace: 0, overlap: "allowAll" },
    inputs: [tick(5_000, 5_400)],
    running: ["j/5000"],
    counts: { begun: 1, missed: { old: 0, superseded: 5, overMax: 0, late: 0 } },
  },
  {
    it: "begins the latest so many under fireAll",
    options: { ...every, grace: 0, misfire: { fireAll: 3 }, overlap: "allowAll" },
    inputs: [tick(5_000, 5_400)],
    running: ["j/3000", "j/4000", "j/5000"],
    counts: { begun: 3, missed: { old: 0, superseded: 0, overMax: 3, late: 0 } },
  },
  {
    it: "only counts what is older than the window",
    options: { ...every, grace: 0, catchUp: "2s", misfire: { fireAll: 10 }, overlap: "allowAll" },
    inputs: [tick(5_000, 5_000)],
    running: ["j/3000", "j/4000", "j/5000"],
    counts: { begun: 3, missed: { old: 3, superseded: 0, overMax: 0, late: 0 } },
  },
  {
    it: "counts a hundred thousand missed slots at once",
    options: { ...every, catchUp: "30d", misfire: { fireAll: 1_000 }, overlap: "bufferAll" },
    inputs: [tick(100_000_000, 100_000_500)],
    running: ["j/99000000"],
    next: 100_001_000,
    counts: { begun: 1, missed: { old: 0, superseded: 0, overMax: 99_000, late: 0 } },
  },
  {
    it: "leaves a slot out while work runs, under skip",
    options: every,
    inputs: [tick(0), tick(1_000)],
    running: ["j/0"],
    counts: { begun: 1, skipped: { overlap: 1, full: 0, paused: 0 } },
  },
  {
    it: "lets one slot wait",
    options: { ...every, overlap: "bufferOne" },
    inputs: [tick(0), tick(1_000), tick(2_000)],
    running: ["j/0"],
    waiting: ["j/1000"],
    counts: { begun: 1, skipped: { overlap: 1, full: 0, paused: 0 } },
  },
  {
    it: "begins what waits when the work ends",
    options: { ...every, overlap: "bufferAll" },
    inputs: [tick(0), tick(1_000), tick(2_000), ended("j/0")],
    running: ["j/1000"],
    waiting: ["j/2000"],
    counts: { begun: 2, done: 1 },
  },
  {
    it: "asks the running work to end, and begins once it has",
    options: { ...every, overlap: "cancelOther" },
    inputs: [tick(0), tick(1_000), tick(2_000), ended("j/0", "failed")],
    running: ["j/2000"],
    counts: { begun: 2, cancelled: 1, failed: 0, skipped: { overlap: 1, full: 0, paused: 0 } },
  },
  {
    it: "counts work that got done although it was asked to end as done",
    options: { ...every, overlap: "cancelOther" },
    inputs: [tick(0), tick(1_000), ended("j/0")],
    running: ["j/1000"],
    counts: { begun: 2, done: 1, cancelled: 0 },
  },
  {
    it: "ends the running work under terminateOther",
    options: { ...every, overlap: "terminateOther" },
    inputs: [tick(0), tick(1_000), ended("j/0")],
    running: ["j/1000"],
    counts: { begun: 2, terminated: 1, done: 0 },
  },
  {
    it: "counts the slots of a pause, and goes on after it",
    options: every,
    inputs: [{ kind: "pause" }, tick(0), tick(1_000), { kind: "resume" }, tick(2_000)],
    running: ["j/2000"],
    counts: { begun: 1, skipped: { overlap: 0, full: 0, paused: 2 } },
  },
  {
    it: "runs a trigger once, beside the schedule",
    options: every,
    inputs: [
      { kind: "trigger", name: "now", atMs: 5 },
      { kind: "trigger", name: "now", atMs: 7 },
    ],
    running: ["j/trigger-now"],
    next: 0,
    counts: { begun: 0, extra: 1 },
  },
  {
    it: "lets a slot wait for work that is outside of the schedule, rather than leave it out",
    options: every,
    inputs: [{ kind: "trigger", name: "now", atMs: 0 }, tick(0), ended("j/trigger-now")],
    running: ["j/0"],
    counts: { begun: 1, extra: 1, skipped: { overlap: 0, full: 0, paused: 0 } },
  },
  {
    it: "runs the slots of a backfill one after the other, under names of their own, and none that is still to come",
    options: every,
    inputs: [
      tick(0),
      ended("j/0"),
      tick(1_000),
      ended("j/1000"),
      { kind: "backfill", name: "fix", fromMs: 0, toMs: dayMs },
      ended("j/0~fix"),
      ended("j/1000~fix"),
    ],
    running: [],
    next: 2_000,
    counts: { begun: 2, extra: 2, done: 4 },
  },
  {
    it: "deals with what was due by its old schedule when that changes, and goes on by the new one",
    options: every,
    inputs: [tick(0), ended("j/0"), tick(1_000), ended("j/1000"), owned({ every: "5s" }, 4_000)],
    running: ["j/3000"],
    next: 5_000,
    counts: {
      begun: 3,
      done: 2,
      missed: { old: 0, superseded: 1, overMax: 0, late: 0 },
      skipped: { overlap: 1, full: 0, paused: 0 },
    },
  },
  {
    it: "does not wait for the next slot of a schedule that holds no more",
    options: { every: "1h" },
    inputs: [tick(0), ended("j/0"), owned(every, 1_800_400)],
    running: [],
    next: 1_801_000,
    counts: { begun: 1, missed: { old: 0, superseded: 0, overMax: 0, late: 0 } },
  },
  {
    it: "whose one slot is moved to an earlier moment has that one",
    options: { at: 9_000 },
    inputs: [owned({ at: 5_000 }, 1_000)],
    running: [],
    next: 5_000,
    counts: {},
  },
  {
    it: "whose one slot is moved after it was begun begins neither again",
    options: { at: 5_000 },
    inputs: [tick(5_000), ended("j/5000"), owned({ at: 4_000 }, 5_500)],
    running: [],
    next: null,
    counts: { begun: 1 },
  },
  {
    it: "does not begin the one slot that passed in a pause when a release comes back that has it",
    options: { at: 5_000 },
    inputs: [
      { kind: "pause" },
      tick(5_000),
      { kind: "resume" },
      owned({ at: 9_000 }, 5_100),
      owned({ at: 5_000 }, 5_200),
    ],
    running: [],
    next: null,
    counts: { begun: 0, skipped: { overlap: 0, full: 0, paused: 1 } },
  },
  {
    it: "counts each one slot of two releases once, however often they take turns",
    options: { at: 5_000 },
    inputs: [5_000, 9_000, 5_000, 9_000, 5_000, 9_000].map((at) => owned({ at }, 2 * dayMs)),
    running: [],
    next: null,
    counts: { begun: 0, missed: { old: 2, superseded: 0, overMax: 0, late: 0 } },
  },
  {
    it: "does not begin more at once, when its schedule changes, than its old times and grace allow",
    options: { ...every, overlap: "allowAll" },
    inputs: [owned({ every: "1d", grace: "1d", catchUp: "2d", overlap: "allowAll" }, 3_600_000)],
    running: ["j/3599000", "j/3600000"],
    next: dayMs,
    counts: { begun: 2, missed: { old: 0, superseded: 3_599, overMax: 0, late: 0 } },
  },
  {
    it: "counts a slot of its old schedule that the new one does not have, and nobody was there to begin",
    options: { every: "10s", misfire: "skip" },
    inputs: [tick(0), ended("j/0"), owned({ every: "10s", anchor: 5_000, misfire: "skip" }, 12_000)],
    running: [],
    next: 15_000,
    counts: { begun: 1, missed: { old: 0, superseded: 0, overMax: 0, late: 1 } },
  },
  {
    it: "does not begin again what an owner with a clock ahead has begun, whatever the schedule is since",
    options: { ...every, grace: 0 },
    inputs: [tick(8_000), ended("j/8000"), owned({ every: "1h" }, 5_000), owned(every, 5_100)],
    running: [],
    next: 9_000,
    counts: { begun: 1 },
  },
  {
    it: "keeps a slot that is not yet due by its jitter when the schedules have it both",
    options: { ...every, jitter: "1s" },
    inputs: [owned({ every: "2s", jitter: "1s" }, 2_000)],
    running: ["j/1000"],
    next: 2_000,
    counts: { begun: 1 },
  },
  {
    it: "begins what waits beside what runs once it may",
    options: { ...every, overlap: "bufferAll" },
    inputs: [tick(0), tick(1_000), tick(2_000), owned({ ...every, overlap: "allowAll" }, 3_000)],
    running: ["j/0", "j/1000", "j/2000", "j/3000"],
    waiting: [],
    counts: { begun: 4 },
  },
  {
    it: "begins its one slot although it is told of it too late",
    options: { at: 500 },
    bornMs: 1_000,
    inputs: [owned({ at: 500 }, 1_000)],
    running: ["j/500"],
    next: null,
    counts: { begun: 1 },
  },
  {
    it: "counts its one slot when it is told of it long after",
    options: { at: 500 },
    bornMs: 2 * dayMs,
    inputs: [owned({ at: 500 }, 2 * dayMs)],
    running: [],
    next: null,
    counts: { begun: 0, missed: { old: 1, superseded: 0, overMax: 0, late: 0 } },
  },
  {
    it: "does not run a trigger beside itself, however many came since",
    options: { ...every, overlap: "allowAll" },
    inputs: [
      { kind: "trigger", name: "long", atMs: 0 },
      ...Array.from({ length: 40 }, (_, index): JobInput[] => [
        { kind: "trigger", name: `${index}`, atMs: 0 },
        ended(`j/trigger-${index}`),
      ]).flat(),
      { kind: "trigger", name: "long", atMs: 0 },
    ],
    running: ["j/trigger-long"],
    counts: { extra: 41 },
  },
  {
    it: "begins what was due before it had an owner",
    options: every,
    inputs: [owned(every, 2_500)],
    running: ["j/2000"],
    next: 3_000,
    counts: { begun: 1, missed: { old: 0, superseded: 2, overMax: 0, late: 0 } },
  },
  {
    it: "is over after its one slot",
    options: { at: 500 },
    inputs: [tick(500)],
    running: ["j/500"],
    next: null,
    counts: {},
  },
];

for (const { it, options, bornMs, inputs, running, waiting, next, counts } of stories) {
  test(`a job ${it}`, () => {
    const job = after(made(options, bornMs), ...inputs);
    const names = (runs: Job["running"]) => runs.map(({ tickId }) => tickId);
    assert.deepEqual(names(job.running), running);
    if (waiting !== undefined) assert.deepEqual(names(job.waiting), waiting);
    if (next !== undefined) assert.equal(job.next, next);
    for (const [name, value] of Object.entries(counts)) assert.deepEqual(job.counts[name as keyof Counts], value, name);
  });
}

test("a cron job with a very long gap counts it in pieces, and begins nothing until it is through", () => {
  let job = made({ cron: "* * * * * *", catchUp: "30d" });
  const nowMs = 25_000_400;
  job = after(job, tick(25_000_000, nowMs));
  assert.deepEqual([job.running.length, job.next], [0, 10_000_000]);
  job = after(job, tick(25_000_000, nowMs), tick(25_000_000, nowMs));
  assert.deepEqual([job.running.map(({ slot }) => slot), job.counts.missed.superseded], [[25_000_000], 25_000]);
});

test("work that was asked to end is asked again under a new owner, which begins it again", () => {
  const options = { ...every, overlap: "cancelOther" } as const;
  const job = after(made(options), tick(0), tick(1_000));
  assert.deepEqual(advance(job, tick(2_000), slotsFor).orders, []);
  assert.deepEqual(advance(job, owned(options, 1_500), slotsFor).orders, [{ kind: "cancel", tickId: "j/0" }]);
});

test("work of a cron job ends, and is triggered, also where nothing reads patterns", () => {
  const options = { cron: "* * * * * *" };
  const job = after(made(options), tick(0), { kind: "trigger", name: "now", atMs: 5 });
  const unread = (schedule: Parameters<typeof slotsOf>[0]) => slotsOf(schedule, undefined);
  const { running, counts } = advance(job, ended("j/0"), unread).job;
  assert.deepEqual([running.map(({ tickId }) => tickId), counts.done], [["j/trigger-now"], 1]);
});

test("the log keeps the latest runs only", () => {
  let job = made({ ...every, log: 2 });
  for (let slot = 0; slot < 5_000; slot += 1_000) job = after(job, tick(slot), ended(`j/${slot}`));
  assert.deepEqual(
    job.log.map(({ tick: name }) => name),
    ["j/3000", "j/4000"],
  );
});

// ---- under one schedule after the other ----

const schedules: readonly ScheduleOptions[] = [
  { every: "1s" },
  { every: "1s", jitter: "1s" },
  { every: "2s", anchor: 700, overlap: "bufferAll" },
  { every: "1h", overlap: "terminateOther" },
  { cron: "*/3 * * * * *", misfire: { fireAll: 5 }, overlap: "allowAll" },
  { every: "1s", from: 20_000, until: 40_000, misfire: "skip" },
  { at: 15_000 },
  { at: 8_000 },
];

test("whatever schedules a job has had, no slot is begun twice, each is accounted for, and it goes on by its own", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          { weight: 4, arbitrary: fc.record({ ms: fc.constantFrom(-3_000, 0, 100, 900, 1_000, 4_300, 30_000) }) },
          { weight: 1, arbitrary: fc.record({ to: fc.constantFrom(...schedules) }) },
          { weight: 2, arbitrary: fc.record({ end: fc.nat(9) }) },
        ),
        { maxLength: 40 },
      ),
      (acts) => {
        let job = made(schedules[0] as ScheduleOptions);
        let nowMs = 0;
        let latestMs = 0;
        const begun: number[] = [];
        const dealtWith = ({ counts: { missed, skipped }, waiting }: Job) =>
          begun.length +
          waiting.length +
          [...Object.values(missed), ...Object.values(skipped)].reduce((sum, n) => sum + n, 0);
        /** Looks at every slot that was due by the schedule it had. */
        const put = (input: JobInput) => {
          const { count } = slotsFor(job.schedule);
          const dueMs = nowMs - offsetMs("j", job.schedule);
          const due = job.next === null ? 0 : count(job.next, dueMs + 1).count;
          const before = dealtWith(job);
          const given = advance(job, input, slotsFor);
          job = given.job;
          for (const order of given.orders) if (order.kind === "begin") begun.push(order.run.slot);
          return { due, dealt: dealtWith(job) - before };
        };
        for (const act of acts) {
          if ("end" in act) {
            const run = job.running[act.end % Math.max(1, job.running.length)];
            const waiting = job.waiting.length;
            if (run === undefined) continue;
            put(ended(run.tickId));
            assert.ok(job.waiting.length <= waiting);
          } else if ("ms" in act) {
            nowMs = Math.max(0, nowMs + act.ms);
            latestMs = Math.max(latestMs, nowMs);
            const slot = slotsFor(job.schedule).last(nowMs - offsetMs("j", job.schedule));
            if (slot === undefined) continue;
            const { due, dealt } = put(tick(slot, nowMs));
            assert.equal(dealt, due);
          } else {
            const { due, dealt } = put(owned(act.to, nowMs));
            // What the old jitter had made due may be still to come by the new one, and the other way round; and one slot
            // that is meant however late it is told of is dealt with at once.
            const left = job.next === null ? 0 : slotsFor(job.schedule).count(job.next, nowMs + 1).count;
            assert.ok(dealt + left >= due && dealt <= due + 1, `${due} were due, ${dealt} dealt with, ${left} left`);
            const next = slotsFor(job.schedule).first(latestMs + 1);
            assert.ok(next === undefined || (job.next !== null && job.next <= next), `${job.next} is after ${next}`);
          }
          assert.equal(new Set(begun).size, begun.length, begun.join(" "));
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

// ---- against a slow model ----

/** Every slot by itself, in a list, with what became of it. */
class Model {
  readonly fate = new Map<number, string>();
  #next = 0;
  #queue: number[] = [];
  #running: number[] = [];
  #paused = false;
  readonly begun: number[] = [];
  readonly #options: {
    readonly misfire: Misfire;
    readonly overlap: Overlap;
    readonly catchUp: number;
  };

  constructor(options: {
    readonly misfire: Misfire;
    readonly overlap: Overlap;
    readonly catchUp: number;
  }) {
    this.#options = options;
  }

  tick(upTo: number, nowMs: number): void {
    const due: number[] = [];
    for (; this.#next <= upTo && this.#next <= nowMs; this.#next += 1_000) due.push(this.#next);
    if (this.#paused) return this.#all(due, "paused");
    const { misfire, catchUp, overlap } = this.#options;
    const isOld = (slot: number) => nowMs - slot > catchUp;
    const isLate = (slot: number) => nowMs - slot > 1_000;
    const young = due.filter((slot) => !isOld(slot));
    this.#all(due.filter(isOld), "old");
    let chosen = young;
    if (misfire === "skip") chosen = young.filter((slot) => !isLate(slot));
    else if (misfire === "fireLatest") {
      const inTime = young.filter((slot) => !isLate(slot));
      chosen = inTime.length > 0 ? inTime : young.slice(-1);
    } else {
      const late = young.filter(isLate);
      chosen = [...late.slice(-misfire.fireAll), ...young.filter((slot) => !isLate(slot))];
    }
    this.#all(
      young.filter((slot) => !chosen.includes(slot)),
      "missed",
    );
    if (overlap === "cancelOther" || overlap === "terminateOther") {
      this.#all(chosen.slice(0, -1), "overlap");
      chosen = chosen.slice(-1);
    }
    for (const slot of chosen) this.#meet(slot);
  }

  end(index: number): number | undefined {
    const [slot] = this.#running.splice(index % Math.max(1, this.#running.length), 1);
    if (slot !== undefined) this.#go();
    return slot;
  }

  pause(paused: boolean): void {
    this.#paused = paused;
    this.#go();
  }

  get waiting(): readonly number[] {
    return this.#queue;
  }

  #meet(slot: number): void {
    const { overlap } = this.#options;
    if (overlap === "allowAll") {
      if (this.#running.length < 100) this.#begin(slot);
      else this.fate.set(slot, "overlap");
      return;
    }
    if (overlap === "terminateOther") this.#running = [];
    if (overlap === "terminateOther" || overlap === "cancelOther") this.#all(this.#queue.splice(0), "overlap");
    this.#queue.push(slot);
    this.#go();
    const room = { skip: 0, bufferOne: 1, bufferAll: 1_000, cancelOther: 1, terminateOther: 1 }[overlap];
    this.#all(this.#queue.splice(room), "overlap");
  }

  #go(): void {
    while (!this.#paused && this.#running.length === 0 && this.#queue.length > 0)
      this.#begin(this.#queue.shift() as number);
  }

  #begin(slot: number): void {
    this.#running.push(slot);
    this.begun.push(slot);
    this.fate.set(slot, "begun");
  }

  #all(slots: readonly number[], fate: string): void {
    for (const slot of slots) this.fate.set(slot, fate);
  }
}

const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("pass" as const),
      ms: fc.constantFrom(200, 1_000, 1_000, 1_300, 4_700, 60_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("back" as const), ms: fc.constantFrom(300, 3_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("repeat" as const), slots: fc.integer({ min: 0, max: 5 }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("end" as const), index: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("pause" as const), paused: fc.boolean() }) },
);

test("a job does what the slow model does, and every slot is begun, waits or is counted once", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Misfire>("fireLatest", "skip", { fireAll: 1 }, { fireAll: 4 }),
      fc.constantFrom<Overlap>("skip", "bufferOne", "bufferAll", "cancelOther", "terminateOther", "allowAll"),
      fc.constantFrom(1_000, 5_000, 100_000),
      fc.array(act, { maxLength: 40 }),
      (misfire, overlap, catchUp, acts) => {
        const model = new Model({ misfire, overlap, catchUp });
        let job = made({ ...every, misfire, overlap, catchUp });
        const begun: number[] = [];
        const put = (input: JobInput) => {
          const given = advance(job, input, slotsFor);
          job = given.job;
          for (const order of given.orders) if (order.kind === "begin") begun.push(order.run.slot);
        };
        let nowMs = 0;
        for (const one of acts) {
          if (one.do === "pass" || one.do === "back") {
            nowMs = Math.max(0, nowMs + (one.do === "pass" ? one.ms : -one.ms));
            const slot = Math.floor(nowMs / 1_000) * 1_000;
            put(tick(slot, nowMs));
            model.tick(slot, nowMs);
          } else if (one.do === "repeat") {
            // One that comes again late: nothing must come of it.
            const slot = (job.next ?? 0) - 1_000 * (one.slots + 1);
            if (slot >= 0) put(tick(slot, Math.max(slot, nowMs)));
          } else if (one.do === "end") {
            const slot = model.end(one.index);
            if (slot !== undefined) put(ended(`j/${slot}`));
          } else {
            put({ kind: one.paused ? "pause" : "resume" });
            model.pause(one.paused);
          }
        }
        assert.deepEqual(begun, model.begun);
        assert.deepEqual(
          job.waiting.map(({ slot }) => slot),
          model.waiting,
        );
        const count = (fate: string) => [...model.fate.values()].filter((one) => one === fate).length;
        const { missed, skipped } = job.counts;
        assert.equal(missed.old, count("old"));
        assert.equal(missed.superseded + missed.overMax + missed.late, count("missed"));
        assert.equal(skipped.overlap + skipped.full, count("overlap"));
        assert.equal(skipped.paused, count("paused"));
        assert.equal(job.counts.begun, new Set(begun).size);
        assert.equal((job.next ?? 0) / 1_000, model.fate.size + model.waiting.length);
      },
    ),
    { numRuns: 1_000 },
  );
});
