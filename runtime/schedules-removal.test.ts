/** The end of a job's life, in one process and in several on one store, by a clock that the test moves. */
import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { type MemoryProvider, memory } from "./adapters/memory/index.ts";
import { createRuntime, type JobHandle, type JobOptions, type Runtime, type TickInfo } from "./index.ts";
import type { ActorStore } from "./ports/store.ts";
import { ManualClock } from "./testing/manual-clock.ts";

const runtimes: Runtime[] = [];
afterEach(async () => {
  for (const runtime of runtimes.splice(0)) await runtime.stop({ drainMs: 0 });
});

const startMs = Date.UTC(2026, 0, 1);
const dayMs = 86_400_000;
const everySecond = { every: "1s" } as const;

/** One process on a store that may have known others. */
async function processOn(store: Parameters<typeof createRuntime>[0]["store"], clock = new ManualClock(startMs)) {
  const warnings: string[] = [];
  const silent = () => undefined;
  const logger = { debug: silent, info: silent, error: silent, warn: (text: string) => void warnings.push(text) };
  const runtime = (await createRuntime({ actors: {}, store, clock, logger })) as unknown as Runtime;
  runtimes.push(runtime);
  const ticks: TickInfo[] = [];
  const schedule = (name: string, options: JobOptions, during: (tick: TickInfo) => unknown = () => undefined) =>
    runtime.schedule(name, options, async (tick) => {
      ticks.push(tick);
      await during(tick);
    });
  const names = () => ticks.map(({ tickId }) => tickId);
  return { runtime, clock, warnings, ticks, names, schedule };
}

const never = () => new Promise<void>(() => undefined);
const slot = (seconds: number) => `settle/${startMs + seconds * 1_000}`;
const lifeOf = async (job: JobHandle) => {
  const { life = 1, removed = false } = (await job.state()) ?? assert.fail("it has no document");
  return { life, removed };
};

test("a removed job begins no further slot, and what runs is asked to end", async () => {
  const { clock, ticks, names, schedule, runtime } = await processOn(memory());
  const job = await schedule("settle", everySecond, never);
  await clock.advance(1_000);
  assert.deepEqual(names(), [slot(0)]);
  assert.equal(ticks[0]?.signal.aborted, false);
  await job.remove();
  assert.equal(ticks[0]?.signal.aborted, true);
  await clock.advance(10_000);
  assert.deepEqual(names(), [slot(0)]);
  const state = await job.state();
  assert.deepEqual([state?.removed, state?.running, state?.counts.terminated], [true, [], 1]);
  assert.equal((await runtime.actor("job", "settle").document())?.state, "removed");
});

test("removing twice is fine, and so is removing what never was; to intervene in it is refused", async () => {
  const { clock, schedule, runtime } = await processOn(memory());
  const job = await schedule("settle", everySecond);
  await clock.advance(2_000);
  await job.remove();
  await job.remove();
  await runtime.job("settle").remove();
  await runtime.job("nothing").remove();
  assert.equal(await runtime.job("nothing").state(), undefined);
  const removed = { code: "Rejected", message: /settle was removed: schedule it again first/ };
  await assert.rejects(job.pause(), removed);
  await assert.rejects(job.trigger("t"), removed);
});

test("the name may be scheduled again in the same process and millisecond: a new job, and no slot is begun twice", async () => {
  const { clock, names, schedule, warnings } = await processOn(memory());
  const job = await schedule("settle", everySecond);
  await clock.advance(2_000);
  await job.trigger("t");
  await clock.advance(0);
  await job.pause();
  await job.remove();
  const again = await schedule("settle", { every: "2s" });
  assert.deepEqual(await lifeOf(again), { life: 2, removed: false });
  const { counts, log, paused } = (await again.state()) ?? assert.fail("it has no document");
  assert.deepEqual([counts.begun, counts.extra, log, paused], [0, 0, [], false]);
  await again.trigger("t");
  await clock.advance(4_000);
  assert.deepEqual(names(), [
    ...[slot(0), slot(1), slot(2)],
    "settle/trigger-t",
    "settle/trigger-t~2",
    ...[slot(4), slot(6)],
  ]);
  assert.deepEqual(warnings, []);
});

test("nothing restarts it where it is not scheduled any more; a process that schedules it begins a new one", async () => {
  const store = memory();
  const first = await processOn(store);
  const job = await first.schedule("settle", everySecond, never);
  await first.schedule("other", everySecond);
  await first.clock.advance(1_000);
  await job.remove();
  await first.runtime.stop({ drainMs: 0 });
  const second = await processOn(store, new ManualClock(first.clock.now()));
  await second.schedule("other", everySecond);
  await second.clock.advance(120_000);
  assert.deepEqual(
    second.names().filter((name) => name.startsWith("settle/")),
    [],
  );
  // No work of it was looked for in vain.
  assert.deepEqual(second.warnings, []);
  await second.runtime.stop({ drainMs: 0 });
  const third = await processOn(store, new ManualClock(second.clock.now()));
  const again = await third.schedule("settle", everySecond);
  assert.deepEqual(await lifeOf(again), { life: 2, removed: false });
  await third.clock.advance(1_000);
  assert.deepEqual(third.names(), [slot(121), slot(122)]);
});

test("a job that no code schedules any more is removed by its name alone", async () => {
  const store = memory();
  const first = await processOn(store);
  await first.schedule("settle", everySecond, never);
  await first.clock.advance(1_000);
  await first.runtime.stop({ drainMs: 0 });
  const second = await processOn(store, new ManualClock(first.clock.now()));
  const job = second.runtime.job("settle");
  await job.remove();
  await second.clock.advance(120_000);
  const state = await job.state();
  assert.deepEqual([state?.removed, state?.counts.terminated, state?.counts.failed], [true, 1, 0]);
});

test("a process that still schedules it stops asking, says so, and brings it back when it starts again", async () => {
  const store = memory();
  const { runtime, clock, names, schedule, warnings } = await processOn(store);
  await schedule("settle", everySecond);
  await clock.advance(1_000);
  const document = () => runtime.actor("job", "settle").document();
  // As the command line does on NATS.
  await runtime.actor("job", "settle").send({ type: "REMOVE" } as never);
  await clock.advance(1_000);
  const { seq } = (await document()) ?? assert.fail("it has no document");
  await clock.advance(60_000);
  assert.equal((await document())?.seq, seq, "no more is written");
  assert.deepEqual(names(), [slot(0), slot(1)]);
  assert.deepEqual(warnings, [
    "settle was removed, and is still scheduled here: it comes back when this node is its owner anew",
  ]);
  await runtime.stop();
  const again = await processOn(store, new ManualClock(clock.now()));
  assert.deepEqual(await lifeOf(await again.schedule("settle", everySecond)), { life: 2, removed: false });
});

test("a slot that the removed job was told of comes to the new one, whose owner's clock is behind", async () => {
  const store = memory();
  const first = await processOn(store);
  await first.schedule("settle", everySecond);
  await first.clock.advance(1_000);
  await first.runtime.actor("job", "settle").send({ type: "REMOVE" } as never);
  await first.clock.advance(1_000);
  await first.runtime.stop();
  const second = await processOn(store, new ManualClock(startMs + 1_500));
  await second.schedule("settle", everySecond);
  await second.clock.advance(1_500);
  assert.deepEqual(
    [first.names(), second.names()],
    [
      [slot(0), slot(1)],
      [slot(2), slot(3)],
    ],
  );
  assert.deepEqual(second.warnings, []);
});

test("while the store is away a removal is rejected, the job goes on afterwards, and can be removed then", async () => {
  const { store, away } = goesAway(memory());
  const { clock, names, schedule } = await processOn(store);
  const job = await schedule("settle", everySecond);
  await clock.advance(1_000);
  away.is = true;
  const refused = assert.rejects(job.remove(), { code: "OutcomeUnknown" });
  await clock.advance(40_000);
  await refused;
  assert.deepEqual(names(), [slot(0), slot(1)]);
  away.is = false;
  await clock.advance(10_000);
  const begun = names().length;
  // What was asked may have been done in the end: then nothing brings it back, and this is the second removal.
  await job.remove();
  await clock.advance(10_000);
  assert.equal(names().length, begun);
  assert.deepEqual(await lifeOf(job), { life: 1, removed: true });
});

test("a job that a clock years ahead has begun waits for years; removed and scheduled again it runs", async () => {
  for (const hasRun of [false, true]) {
    const store = memory();
    const wrong = await processOn(store, new ManualClock(startMs + 10 * 365 * dayMs + 500));
    await wrong.schedule("settle", everySecond);
    await wrong.clock.advance(hasRun ? 3_000 : 0);
    assert.equal(wrong.names().length, hasRun ? 3 : 0);
    await wrong.runtime.stop();
    const { clock, names, schedule } = await processOn(store);
    const job = await schedule("settle", everySecond);
    await clock.advance(60_000);
    assert.deepEqual(names(), []);
    await job.remove();
    const again = await schedule("settle", everySecond);
    await clock.advance(2_000);
    assert.deepEqual(names(), [slot(60), slot(61), slot(62)]);
    assert.deepEqual(await lifeOf(again), { life: 2, removed: false });
  }
});

test("a backfill of a cron job that waits when its run ends, where nothing reads the pattern, parks nothing", async () => {
  const store = memory();
  const cron = { cron: "*/10 * * * * *" };
  const first = await processOn(store);
  const job = await first.schedule("settle", cron, never);
  await first.clock.advance(30_000);
  await job.backfill("repair", { from: startMs, to: startMs + 10_000 });
  await first.runtime.stop({ drainMs: 0 });
  // Its release has no cron job: the run is given up in the end.
  const second = await processOn(store, new ManualClock(first.clock.now()));
  await second.schedule("other", { every: "1h" });
  const settle = second.runtime.job("settle");
  while ((await settle.state())?.counts.failed !== 1) {
    assert.deepEqual(second.runtime.parked(), []);
    await second.clock.advance(1_000);
  }
  assert.deepEqual(second.runtime.parked(), []);
  await second.runtime.stop();
  const third = await processOn(store, new ManualClock(second.clock.now()));
  await third.schedule("settle", cron);
  await third.clock.advance(1_000);
  assert.deepEqual(
    third.names().filter((name) => name.includes("~")),
    [`${slot(0)}~repair`, `${slot(10)}~repair`],
  );
});

/** The same store, which may give no answer and take no write for a while. */
function goesAway(provider: MemoryProvider) {
  const away = { is: false };
  const store = {
    ...provider,
    open: async () => {
      const opened = await provider.open();
      const real: ActorStore = opened.store;
      const wrapped = new Proxy(real, {
        get: (target, name) => {
          const value = Reflect.get(target, name, target) as unknown;
          if (typeof value !== "function") return value;
          if (away.is && (name === "write" || name === "purge")) return async () => ({ kind: "unknown" });
          if (away.is && (name === "read" || name === "list"))
            return async () => {
              throw new Error("the store is away");
            };
          return value.bind(target) as unknown;
        },
      });
      return { ...opened, store: wrapped };
    },
  };
  return { store: store as unknown as MemoryProvider, away };
}
