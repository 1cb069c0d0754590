/** Schedules on a real clock and the embedded store, as a service uses them. Lateness is not judged here. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "vitest";
import { createMachine } from "xstate";
import { embedded } from "./adapters/embedded/index.ts";
import { createRuntime, type Runtime, type TickInfo } from "./index.ts";
import { ManualClock } from "./testing/manual-clock.ts";

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const actors = { plain: createMachine({}) };

let directory = "";
const runtimes: Runtime[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "holdfast-schedules-"));
});
afterEach(async () => {
  for (const runtime of runtimes.splice(0)) await runtime.stop({ drainMs: 0 });
  rmSync(directory, { recursive: true, force: true });
});

async function opened(): Promise<Runtime> {
  const runtime = await createRuntime({ actors, store: embedded(directory, { historyDepth: 64 }), logger: silent });
  runtimes.push(runtime as unknown as Runtime);
  return runtime as unknown as Runtime;
}

/** A handler that collects its ticks, and how to wait for so many of them. */
function collecting(during: (tick: TickInfo) => void | Promise<void> = () => undefined) {
  const ticks: TickInfo[] = [];
  let heard = () => {};
  return {
    ticks,
    handler: async (tick: TickInfo) => {
      ticks.push(tick);
      heard();
      await during(tick);
    },
    some: (count: number) =>
      new Promise<void>((resolve) => {
        heard = () => ticks.length >= count && resolve();
        heard();
      }),
  };
}

const jobActor = (runtime: Runtime, name: string) => runtime.actor("job", name);
const until = (runtime: Runtime, name: string, holds: (context: never) => boolean) =>
  jobActor(runtime, name).waitFor((state: unknown) => holds((state as { context: never }).context));

test("a job runs once per slot, and its document says what was done", async () => {
  const runtime = await opened();
  const { ticks, handler, some } = collecting();
  const job = await runtime.schedule("settle", { every: 100, log: 3 }, handler);
  await some(4);
  await until(runtime, "settle", ({ counts }: { counts: { done: number } }) => counts.done >= 4);
  const slots = ticks.map(({ slot }) => slot);
  assert.equal(new Set(slots).size, slots.length);
  for (const { slot, tickId, token, attempt } of ticks) {
    assert.equal(slot % 100, 0);
    assert.equal(tickId, `settle/${slot}`);
    assert.equal(token.length, 2);
    assert.equal(attempt, 1);
  }
  const state = await job.state();
  assert.equal(state?.log.length, 3);
  const [entry] = state?.log ?? [];
  assert.ok(
    entry !== undefined && Date.parse(entry.start ?? "") >= Number(entry.tick.split("/")[1]),
    "no slot is begun early",
  );
  assert.equal(entry.outcome, "done");
  const [first, ...later] = slots as [number, ...number[]];
  const { missed, skipped, begun } = state?.counts ?? assert.fail("the job has no counts");
  const dealtWith = begun + missed.superseded + missed.late + missed.old + skipped.overlap;
  assert.equal(dealtWith, ((state?.next ?? 0) - (state?.first ?? 0)) / 100);
  assert.ok(later.every((slot) => slot > first));
});

test("after a restart a job goes on with the slot that comes next, and what was missed is counted", async () => {
  const first = await opened();
  const one = collecting();
  await first.schedule("settle", { every: 100, grace: 0 }, one.handler);
  await one.some(2);
  await first.stop();
  const second = await opened();
  const other = collecting();
  const job = await second.schedule("settle", { every: 100, grace: 0 }, other.handler);
  await other.some(3);
  await until(second, "settle", ({ counts }: { counts: { done: number } }) => counts.done >= 5);
  const slots = [...one.ticks, ...other.ticks].map(({ tickId }) => tickId);
  assert.equal(new Set(slots).size, slots.length);
  assert.ok((other.ticks[0]?.token[0] ?? 0) > (one.ticks[0]?.token[0] ?? 0), "a new owner has a greater token");
  const state = await job.state();
  const { begun, missed, skipped } = state?.counts ?? assert.fail("the job has no counts");
  const dealtWith = begun + missed.superseded + missed.late + missed.old + skipped.overlap;
  assert.equal(dealtWith, ((state?.next ?? 0) - (state?.first ?? 0)) / 100);
});

test("work that a restart interrupted is done again, also when its job is scheduled after others", async () => {
  const first = await opened();
  const stuck = collecting(() => new Promise<void>(() => undefined));
  await first.schedule("early", { every: 3_600_000 }, () => undefined);
  await first.schedule("settle", { every: 100 }, stuck.handler);
  await stuck.some(1);
  await first.stop({ drainMs: 0 });
  const second = await opened();
  await second.schedule("early", { every: 3_600_000 }, () => undefined);
  // What waits for its job is in nobody's way: this one is acknowledged behind it.
  const late = collecting();
  const job = jobActor(second, "settle");
  await job.send({ type: "PAUSE" } as never);
  assert.equal(((await job.state()) as unknown as { context: { log: unknown[] } }).context.log.length, 0);
  await second.schedule("settle", { every: 100 }, late.handler);
  await late.some(1);
  assert.equal(late.ticks[0]?.tickId, stuck.ticks[0]?.tickId);
  assert.ok((late.ticks[0]?.token[0] ?? 0) > (stuck.ticks[0]?.token[0] ?? 0), "under a later token");
  type Told = { counts: { done: number; failed: number } };
  await until(second, "settle", ({ counts }: Told) => counts.done === 1 && counts.failed === 0);
});

test("work whose job is scheduled nowhere is told of in the log, and has failed in the end", async () => {
  const first = await opened();
  const stuck = collecting(() => new Promise<void>(() => undefined));
  await first.schedule("settle", { every: 100 }, stuck.handler);
  await stuck.some(1);
  await first.stop({ drainMs: 0 });
  const clock = new ManualClock(Date.now());
  const warnings: string[] = [];
  const logger = { ...silent, warn: (message: string) => void warnings.push(message) };
  const second = await createRuntime({ actors, store: embedded(directory, { historyDepth: 64 }), logger, clock });
  runtimes.push(second as unknown as Runtime);
  const read = async () => (await jobActor(second as unknown as Runtime, "settle").state()) as unknown as Read;
  type Read = { context: { log: { tick: string; outcome: string; error?: string }[] } };
  await second.schedule("other", { every: 3_600_000 }, () => undefined);
  const waits = () => warnings.filter((text) => / waits for settle to be scheduled on this node/.test(text));
  while (waits().length === 0) await clock.advance(100);
  const warnedMs = clock.now();
  await clock.advance(50_000);
  assert.deepEqual((await read()).context.log, []);
  while ((await read()).context.log.length === 0) await clock.advance(100);
  assert.ok(clock.now() - warnedMs > 57_000);
  const [told] = (await read()).context.log;
  assert.equal(told?.tick, stuck.ticks[0]?.tickId);
  assert.equal(told?.outcome, "failed");
  assert.match(told?.error ?? "", /no handler for settle/);
  assert.equal(waits().length, 1);
});

test("a handler that throws, and one that never ends, are told of in the log, and the next slot comes", async () => {
  const runtime = await opened();
  await runtime.schedule("throws", { every: 100 }, () => {
    throw new Error("no ledger today");
  });
  let aborted = 0;
  await runtime.schedule("hangs", { every: 100, timeout: 30 }, ({ signal }) => {
    signal.addEventListener("abort", () => aborted++);
    return new Promise<void>(() => undefined);
  });
  type Told = { counts: { failed: number; timedOut: number }; log: { error: string; outcome: string }[] };
  await until(runtime, "throws", ({ counts }: Told) => counts.failed >= 2);
  await until(runtime, "hangs", ({ counts }: Told) => counts.timedOut >= 2);
  const logOf = async (name: string) =>
    ((await jobActor(runtime, name).state()) as unknown as { context: Told }).context.log;
  assert.deepEqual((await logOf("throws"))[0]?.error, "no ledger today");
  assert.match((await logOf("hangs"))[0]?.error ?? "", /hangs\/\d+ did not end within 30 ms/);
  assert.ok(aborted >= 2);
});

test("work is asked to end when a slot is to take its place", async () => {
  const runtime = await opened();
  const { handler } = collecting(
    ({ signal }) => new Promise((_, failed) => signal.addEventListener("abort", () => failed(signal.reason as Error))),
  );
  await runtime.schedule("report", { every: 100, overlap: "cancelOther" }, handler);
  await until(runtime, "report", ({ counts }: { counts: { cancelled: number } }) => counts.cancelled >= 2);
});

test("work that was asked to end before its owner died is asked again by the next owner, without another slot", async () => {
  const startMs = Date.UTC(2026, 0, 1);
  const options = { every: "1h", overlap: "cancelOther", timeout: "12h" } as const;
  type Told = { running: { isCancelled?: true }[]; counts: { cancelled: number; begun: number } };
  const begin = async (clock: ManualClock, handler: (tick: TickInfo) => Promise<void>) => {
    const store = embedded(directory, { historyDepth: 64 });
    const runtime = (await createRuntime({ actors, store, logger: silent, clock })) as unknown as Runtime;
    runtimes.push(runtime);
    await runtime.schedule("report", options, handler);
    return async (holds: (told: Told) => boolean) => {
      const told = async () => (await jobActor(runtime, "report").state()) as unknown as { context: Told };
      while (!holds((await told()).context)) await clock.advance(1_000);
    };
  };
  const clock = new ManualClock(startMs);
  const first = await begin(clock, () => new Promise<void>(() => undefined));
  await clock.advance(7_200_000);
  await first(({ running }) => running[0]?.isCancelled === true);
  // It was asked, and that is recorded.
  await clock.advance(5_000);
  await runtimes[0]?.stop({ drainMs: 0 });
  const later = new ManualClock(clock.now());
  const second = await begin(
    later,
    ({ signal }) =>
      new Promise((_, failed) => {
        const end = () => failed(signal.reason as Error);
        if (signal.aborted) end();
        else signal.addEventListener("abort", end);
      }),
  );
  await second(({ counts }) => counts.cancelled === 1 && counts.begun === 2);
  assert.ok(later.now() - clock.now() < 1_800_000, "no slot came between");
});

test("a job that had a cron pattern goes on by a period, though nothing else here needs what reads patterns", async () => {
  const first = await opened();
  await first.schedule("settle", { cron: "0 0 0 29 2 *" }, () => undefined);
  await first.stop();
  const second = await opened();
  const { ticks, handler, some } = collecting();
  await second.schedule("settle", { every: 100 }, handler);
  await some(2);
  assert.equal((ticks[0]?.slot ?? 1) % 100, 0);
});

test("an execution log that throws at once is a warning, and the run is done", async () => {
  const warnings: string[] = [];
  const logger = { ...silent, warn: (message: string) => void warnings.push(message) };
  const runtime = (await createRuntime({ actors, store: embedded(directory), logger })) as unknown as Runtime;
  runtimes.push(runtime);
  const executionLog = {
    append: () => {
      throw new Error("no disk");
    },
  };
  await runtime.schedule("settle", { every: 100, executionLog }, () => undefined);
  await until(runtime, "settle", ({ counts }: { counts: { done: number } }) => counts.done >= 1);
  assert.match(warnings[0] ?? "", /could not be written into the execution log: settle/);
});

test("a job of the shortest period has room for the keys of all its ticks", async () => {
  const warnings: string[] = [];
  const logger = { ...silent, warn: (message: string) => void warnings.push(message) };
  const clock = new ManualClock();
  const runtime = (await createRuntime({ actors, store: embedded(directory), logger, clock })) as unknown as Runtime;
  runtimes.push(runtime);
  const { handler, some } = collecting();
  await runtime.schedule("fast", { every: 10 }, handler);
  for (let slot = 1; slot <= 100; slot++) {
    await clock.advance(10);
    await some(slot);
    await until(runtime, "fast", ({ counts }: { counts: { done: number } }) => counts.done >= slot);
  }
  assert.deepEqual(warnings, []);
});

test("a job can be paused, triggered, made good for, and resumed", async () => {
  const runtime = await opened();
  const { ticks, handler, some } = collecting();
  const job = await runtime.schedule("settle", { every: 100 }, handler);
  await some(2);
  await job.pause();
  const paused = ticks.length;
  await job.trigger("by-hand");
  await job.trigger("by-hand");
  type Counted = { counts: { extra: number; skipped: { paused: number } } };
  await until(runtime, "settle", ({ counts }: Counted) => counts.skipped.paused >= 2);
  // A slot that was under way when the pause was committed may still be told of after it.
  const since = ticks.slice(paused).map(({ tickId }) => tickId);
  assert.deepEqual(
    since.filter((tickId) => !/^settle\/\d+$/.test(tickId)),
    ["settle/trigger-by-hand"],
  );
  const slot = ticks[0]?.slot ?? 0;
  await job.backfill("repair", { from: slot, to: slot + 100 });
  await until(runtime, "settle", ({ counts }: Counted) => counts.extra >= 3);
  const before = ticks.length;
  await job.resume();
  await some(before + 2);
  assert.deepEqual(
    ticks.map(({ tickId }) => tickId).filter((tickId) => tickId.includes("~")),
    [`settle/${slot}~repair`, `settle/${slot + 100}~repair`],
  );
});

test("what cannot be scheduled is refused, and says why", async () => {
  const runtime = await opened();
  const nothing = () => undefined;
  await assert.rejects(runtime.schedule("a", { every: -5 }, nothing), /schedule "a": every is -5/);
  await assert.rejects(runtime.schedule("a", { cron: "0 0 0 30 2 *" }, nothing), /never comes/);
  await assert.rejects(runtime.schedule("a", { cron: "* * * * *", timeZone: "Nowhere" }, nothing), /IANA name/);
  await assert.rejects(runtime.schedule("a", { every: "1s" }, undefined as never), /needs a handler/);
  await assert.rejects(runtime.schedule("", { every: "1s" }, nothing), { code: "InvalidKey" });
  const job = await runtime.schedule("a", { every: "1h" }, nothing);
  await assert.rejects(runtime.schedule("a", { every: "1h" }, nothing), /one of this name already/);
  await assert.rejects(job.backfill("x", { from: 2, to: 1 }), /to is before from/);
  await assert.rejects(job.backfill("x", { from: "then", to: 1 }), /from is then/);
  await assert.rejects(job.backfill("x", { from: 1, to: "2030-01-01T00:00:00" }), /to is 2030-.*with its zone/);
  await assert.rejects(job.trigger("two words"), { code: "Rejected" });
});

test("the name of the type belongs to jobs", async () => {
  const runtime = await createRuntime({
    actors: { job: createMachine({}) },
    store: embedded(directory),
    logger: silent,
  });
  runtimes.push(runtime as unknown as Runtime);
  await assert.rejects(
    runtime.schedule("a", { every: "1s" }, () => undefined),
    /"job" is for scheduled jobs/,
  );
});

test("probes follow a runtime through its life", async () => {
  const runtime = await opened();
  assert.deepEqual([runtime.live(), await runtime.ready()], [{ ok: true }, { ok: true }]);
  const { ticks, handler, some } = collecting();
  await runtime.schedule("settle", { every: 50 }, handler);
  await some(1);
  await runtime.drain();
  assert.deepEqual(
    [runtime.live(), await runtime.ready()],
    [{ ok: true }, { ok: false, problem: "the runtime is draining" }],
  );
  const after = ticks.length;
  await runtime.stop();
  assert.equal(ticks.length, after);
  assert.equal(runtime.live().ok, false);
});
