/** Scheduled jobs of two nodes over one bucket: shared, handed over when one drains, every slot accounted for. */
import assert from "node:assert/strict";
import { afterAll, beforeAll, test } from "vitest";
import { createRuntime, type JobHandle, type Runtime, type TickInfo } from "../../index.ts";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { jetstream } from "./index.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const everyMs = 200;
const names = Array.from({ length: 12 }, (_, index) => `job-${index}`);

describeWithNats("jobs of two nodes", () => {
  let server: NatsServer;
  const running = new Set<Runtime>();
  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterAll(async () => {
    for (const runtime of running) await runtime.stop({ drainMs: 0 });
    await server.stop();
  });

  type Ran = TickInfo & { readonly name: string; readonly node: string };
  const ran: Ran[] = [];
  const handles = new Map<string, JobHandle>();

  async function node(name: string): Promise<Runtime> {
    const runtime = (await createRuntime({
      actors: {},
      store: jetstream({ servers: [server.url], bucket: "jobs" }),
      logger: silent,
    })) as unknown as Runtime;
    running.add(runtime);
    const scheduled = names.map(async (job) => {
      const handle = await runtime.schedule(
        job,
        { every: everyMs, overlap: "bufferAll", misfire: { fireAll: 1_000 } },
        (tick) => {
          ran.push({ ...tick, name: job, node: name });
        },
      );
      handles.set(job, handle);
    });
    await Promise.all(scheduled);
    return runtime;
  }

  const slotsOf = (name: string, by?: string) =>
    ran.filter((one) => one.name === name && (by === undefined || one.node === by));

  test("are shared, move with their partitions, and lose no slot", async () => {
    const first = await node("n1");
    const second = await node("n2");
    await until(() => names.every((name) => slotsOf(name).length >= 2), "all jobs run");
    await until(() => names.some((name) => slotsOf(name, "n2").length >= 2), "the second node has some");
    await first.drain();
    assert.deepEqual(await first.ready(), { ok: false, problem: "the runtime is draining" });
    await first.stop();
    running.delete(first);
    const before = new Map(names.map((name) => [name, slotsOf(name, "n2").length]));
    await until(() => names.every((name) => slotsOf(name, "n2").length >= (before.get(name) ?? 0) + 3), "n2 has all");
    await second.drain();
    for (const name of names) {
      const runs = slotsOf(name);
      const ids = runs.map(({ tickId }) => tickId);
      assert.equal(new Set(ids).size, ids.length, `${name} ran a slot twice`);
      const job = (await handles.get(name)?.state()) ?? assert.fail(`${name} has no document`);
      const { begun, missed, skipped } = job.counts;
      const due = ((job.next ?? 0) - (job.first ?? 0)) / everyMs;
      assert.deepEqual(
        [missed, skipped],
        [
          { old: 0, superseded: 0, overMax: 0, late: 0 },
          { overlap: 0, full: 0, paused: 0 },
        ],
      );
      assert.equal(begun + job.waiting.length, due);
      const slots = runs.map(({ slot }) => slot).sort((a, b) => a - b);
      slots.forEach((slot, index) => {
        assert.equal(slot, (job.first ?? 0) + index * everyMs, `${name} left out a slot`);
      });
      const [last, ...earlier] = [...runs].reverse() as [Ran, ...Ran[]];
      for (const { token } of earlier) assert.ok(token[1] <= last.token[1], "tokens only grow");
    }
  });
});

async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 40_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
