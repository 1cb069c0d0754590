/** Several nodes over one bucket: partitions spread, move without a gap, are taken over; a frozen node does no harm. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { connect, createRuntime, effectOf, type Runtime } from "../../index.ts";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { type NatsProxy, startNatsProxy } from "../../testing/nats-proxy.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { until } from "../../testing/until.fixture.ts";
import { SystemClock } from "../system-clock.ts";
import { jetstream } from "./index.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** What effects did, as a resource that keeps the highest token would see it. */
type Effect = { readonly key: string; readonly node: string; readonly token: readonly [number, number] };

function counterOf(node: string, effects: Effect[], slowMs = 0) {
  return setup({
    types: { context: {} as { count: number; seen: string[] }, events: {} as { type: "ADD"; by: string } },
    actors: {
      work: fromPromise(async (args) => {
        const { key, token } = effectOf(args);
        if (slowMs > 0) await new Promise((resolve) => setTimeout(resolve, slowMs));
        effects.push({ key, node, token });
        return node;
      }),
    },
  }).createMachine({
    context: { count: 0, seen: [] },
    initial: "counting",
    states: {
      counting: {
        on: {
          ADD: {
            target: "working",
            actions: assign({
              count: ({ context }) => context.count + 1,
              seen: ({ context, event }) => [...context.seen, event.by].slice(-100),
            }),
          },
        },
      },
      working: {
        on: {
          ADD: {
            actions: assign({
              count: ({ context }) => context.count + 1,
              seen: ({ context, event }) => [...context.seen, event.by].slice(-100),
            }),
          },
        },
        invoke: { src: "work", onDone: "counting" },
      },
    },
  });
}

type Counters = { counter: ReturnType<typeof counterOf> };

describeWithNats("several nodes", () => {
  let server: NatsServer;
  let buckets = 0;
  let bucket = "";
  const running = new Set<Runtime<Counters>>();
  const effects: Effect[] = [];
  const proxies: NatsProxy[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterEach(async () => {
    for (const proxy of proxies.splice(0)) proxy.heal();
    await Promise.all([...running].map((runtime) => stop(runtime)));
    effects.length = 0;
  });
  afterAll(async () => {
    await server?.stop();
  });

  async function start(
    node: string,
    url = server.url,
    clock = new SystemClock(),
    options: { readonly weight?: number; readonly zone?: string } = {},
  ): Promise<Runtime<Counters>> {
    const runtime = await createRuntime({
      actors: { counter: counterOf(node, effects, 20) },
      store: jetstream({ servers: url, bucket, node, leaseTtlMs: 1_000, requestTimeoutMs: 1_000, ...options }),
      logger: silent,
      clock,
    });
    running.add(runtime);
    return runtime;
  }

  async function stop(runtime: Runtime<Counters>): Promise<void> {
    running.delete(runtime);
    await runtime.stop();
  }

  const owned = (runtime: Runtime<Counters>) => runtime.info().partitionsOwned;

  async function nodes(count: number): Promise<Runtime<Counters>[]> {
    bucket = `c${++buckets}`;
    const all: Runtime<Counters>[] = [];
    for (let node = 1; node <= count; node++) all.push(await start(`n${node}`));
    await until(
      () =>
        all.every((one) => Math.abs(owned(one) - 64 / count) < 1) &&
        all.reduce((sum, one) => sum + owned(one), 0) === 64,
      `${count} nodes share 64 partitions: ${all.map(owned)}`,
    );
    return all;
  }

  test("share the partitions evenly, and any of them takes any actor's events", async () => {
    const all = await nodes(3);
    const ids = Array.from({ length: 30 }, (_, id) => `a${id}`);
    await Promise.all(ids.map((id, index) => all[index % 3]?.actor("counter", id).create()));
    await Promise.all(
      ids.flatMap((id) => all.map((node, index) => node.actor("counter", id).send({ type: "ADD", by: `n${index}` }))),
    );
    for (const id of ids) expect((await all[0]?.actor("counter", id).state())?.context.count).toBe(3);
    await until(() => effects.length >= 30, "every actor's effect has run");
    expect(new Set(effects.map(({ node }) => node)).size).toBe(3);
  });

  test("hand over while they are used, and no caller notices when one stops", async () => {
    const all = await nodes(3);
    const client = await connect({
      actors: { counter: counterOf("client", effects) },
      store: jetstream({ servers: server.url, bucket }),
      logger: silent,
    });
    const ids = Array.from({ length: 12 }, (_, id) => `a${id}`);
    await Promise.all(ids.map((id) => client.actor("counter", id).create()));
    let sent = 0;
    let slowestMs = 0;
    let going = true;
    const callers = ids.map(async (id) => {
      let mine = 0;
      while (going) {
        const before = performance.now();
        await client
          .actor("counter", id)
          .send({ type: "ADD", by: `c${mine}` }, { key: `${id}-${mine}`, timeoutMs: 20_000 });
        slowestMs = Math.max(slowestMs, performance.now() - before);
        mine++;
        sent++;
      }
      return [id, mine] as const;
    });
    await until(() => sent > 200, "events go through");
    const fourth = await start("n4");
    await until(() => owned(fourth) === 16, "the fourth node has its share");
    await stop(all[0] as Runtime<Counters>);
    await stop(all[1] as Runtime<Counters>);
    await until(() => owned(fourth) === 32 && owned(all[2] as Runtime<Counters>) === 32, "two share what four had");
    const before = sent;
    await until(() => sent > before + 100, "events go on");
    going = false;
    const counts = new Map(await Promise.all(callers));
    for (const id of ids) expect((await client.actor("counter", id).state())?.context.count).toBe(counts.get(id));
    // No wait for a time to live: every move was announced.
    expect(slowestMs).toBeLessThan(3_000);
    await client.close();
  });

  test("take over from one that fell silent, and refuse it when it wakes", async () => {
    bucket = `c${++buckets}`;
    const proxy = await startNatsProxy(server.port);
    proxies.push(proxy);
    const frozen = await start("frozen", proxy.url);
    const other = await start("other");
    await until(() => owned(frozen) === 32 && owned(other) === 32, "both have their share");
    const ids = Array.from({ length: 10 }, (_, id) => `a${id}`);
    await Promise.all(ids.map((id) => other.actor("counter", id).create()));
    await Promise.all(ids.map((id) => other.actor("counter", id).send({ type: "ADD", by: "first" })));
    proxy.hang();
    await until(() => owned(other) === 64, "the other took over");
    expect(owned(frozen)).toBe(0);
    await Promise.all(ids.map((id) => other.actor("counter", id).send({ type: "ADD", by: "second" })));
    proxy.heal();
    await until(() => owned(frozen) === 32 && owned(other) === 32, "it has its share again");
    await Promise.all(
      ids.map((id) => frozen.actor("counter", id).send({ type: "ADD", by: "third" }, { timeoutMs: 20_000 })),
    );
    for (const id of ids) {
      const state = await other.actor("counter", id).state();
      expect(state?.context.seen).toEqual(["first", "second", "third"]);
    }
    await stop(frozen);
    await proxy.stop();
  });

  test("one whose clock is an hour off takes nothing and says why; what comes to it goes to the owner", async () => {
    bucket = `c${++buckets}`;
    class WrongClock extends SystemClock {
      offsetMs = 3_600_000;
      override now(): number {
        return super.now() + this.offsetMs;
      }
    }
    const wrong = new WrongClock();
    const late = await start("late", server.url, wrong);
    const right = await start("right");
    await until(() => owned(right) === 64, "the other has all");
    expect(owned(late)).toBe(0);
    expect(late.info().node?.problem).toMatch(/clock is 3600.0 s ahead of the server's/);
    await late.actor("counter", "a").create();
    expect((await late.actor("counter", "a").send({ type: "ADD", by: "x" })).changed).toBe(true);
  });

  test("share by weight, where one says that it can take more", async () => {
    bucket = `c${++buckets}`;
    const small = await start("small");
    const large = await start("large", server.url, new SystemClock(), { weight: 3, zone: "" });
    await until(() => owned(small) === 16 && owned(large) === 48, "three times the weight, three times the partitions");
    await stop(large);
    await until(() => owned(small) === 64, "all are back");
  });

  describe("are refused at the start", () => {
    test.each([0, -1, Number.NaN, 365 * 86_400_000])("with a time to live of %d", async (leaseTtlMs) => {
      await expect(
        createRuntime({ actors: {}, store: jetstream({ servers: server.url, leaseTtlMs }), logger: silent }),
      ).rejects.toThrow(/`leaseTtlMs`: .*must be from 500 ms to 3600000 ms/);
    });

    test.each([0, -1, 1.5, Number.NaN, 1_001])("with a weight of %d", async (weight) => {
      await expect(
        createRuntime({ actors: {}, store: jetstream({ servers: server.url, weight }), logger: silent }),
      ).rejects.toThrow(/`weight`: .*must be a whole number from 1 to 1000/);
    });
  });
});
