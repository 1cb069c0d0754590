/**
 * What every `Bus` must do while nothing fails, as plain functions: no test framework, no timers of its own, so that
 * the same cases judge the bus of one process, one over a network, and the simulated one. What may happen when
 * something fails (late, twice, never) is the port's to say and each adapter's to test.
 */
import assert from "node:assert/strict";
import type { Bus, BusReply, BusRequest } from "./bus.ts";
import type { Clock } from "./clock.ts";

/** One bus, as the cases see it: fresh, with nothing served yet. Whoever opened it closes it. */
export type BusUnderTest = {
  /** Of the node that owns `partition`. */
  readonly owner: Bus;
  /** Of another process; the same where there is only one. */
  readonly other: Bus;
  readonly partition: number;
  /** A partition that nobody owns, where there can be one. */
  readonly unowned?: number;
  readonly clock: Clock;
  /** Resolves when everybody has heard of what is served and listened to by now, and of what was published. */
  settled(): Promise<void>;
};

export type OpenBusUnderTest = () => Promise<BusUnderTest>;

export type BusCase = { readonly name: string; readonly run: (open: OpenBusUnderTest) => Promise<void> };

export const busContract: readonly BusCase[] = [
  {
    name: "a request reaches the handler as it was sent, and its answer the one who asked",
    run: withBus(async ({ owner, other, partition, settled }) => {
      const seen: BusRequest[] = [];
      owner.serve(async (request) => {
        seen.push(request);
        return `${request.body}!`;
      });
      await settled();
      for (const bus of [other, owner])
        for (const body of ['{"op":"event"}', "", '"Ünïcödé 東京 😀 \u2028\u0001 \\u0000"', "ä".repeat(50_000)]) {
          const request: BusRequest = { partition, body, channel: "client", trace };
          assert.deepEqual(await bus.request(request, longMs), { kind: "reply", body: `${body}!` });
          assert.deepEqual(seen.pop(), request);
        }
      assert.deepEqual(seen, []);
    }),
  },
  {
    name: "a request without a trace arrives without one",
    run: withBus(async ({ owner, other, partition, settled }) => {
      const seen: BusRequest[] = [];
      owner.serve(async (request) => {
        seen.push(request);
        return "";
      });
      await settled();
      assert.deepEqual(await ask(other, partition, "a"), { kind: "reply", body: "" });
      assert.deepEqual(seen, [{ partition, body: "a", channel: "client" }]);
    }),
  },
  {
    name: "the handler is told through which channel it was asked",
    run: withBus(async ({ owner, other, partition, settled }) => {
      owner.serve(async ({ channel }) => channel);
      await settled();
      for (const channel of ["client", "operator", "node"] as const) {
        const reply = await other.request({ partition, body: "", channel }, longMs);
        assert.deepEqual(reply, { kind: "reply", body: channel });
      }
    }),
  },
  {
    name: "of many requests at once each gets its own answer, whatever the order of the answers",
    run: withBus(async ({ owner, other, partition, settled }) => {
      const answers: (() => void)[] = [];
      const count = 200;
      owner.serve(
        ({ body }) =>
          new Promise((resolve) => {
            answers.push(() => resolve(`answer ${body}`));
            if (answers.length === count) for (const answer of answers.reverse()) answer();
          }),
      );
      await settled();
      const replies = await Promise.all(Array.from({ length: count }, (_, n) => ask(other, partition, String(n))));
      assert.deepEqual(
        replies,
        Array.from({ length: count }, (_, n) => ({ kind: "reply", body: `answer ${n}` })),
      );
    }),
  },
  {
    name: "nobody serves: nothing was done, and that is said before the deadline",
    run: withBus(async ({ owner, other, partition, clock, settled }) => {
      const startedMs = clock.monotonic();
      assert.deepEqual(await ask(other, partition, "a"), { kind: "nobody" });
      const stop = owner.serve(async () => "b");
      await settled();
      assert.deepEqual(await ask(other, partition, "b"), { kind: "reply", body: "b" });
      stop();
      stop();
      await settled();
      assert.deepEqual(await ask(other, partition, "c"), { kind: "nobody" });
      owner.serve(async () => "d");
      await settled();
      assert.deepEqual(await ask(other, partition, "d"), { kind: "reply", body: "d" });
      assert.ok(clock.monotonic() - startedMs < longMs);
    }),
  },
  {
    name: "nobody owns the partition: nothing was done, and that is said before the deadline",
    run: withBus(async ({ owner, other, unowned, clock, settled }) => {
      if (unowned === undefined) return;
      owner.serve(async () => "b");
      await settled();
      const startedMs = clock.monotonic();
      assert.deepEqual(await ask(other, unowned, "a"), { kind: "nobody" });
      assert.ok(clock.monotonic() - startedMs < longMs);
    }),
  },
  {
    name: "no answer ends as timeout at the deadline, and a late answer disturbs nobody",
    run: withBus(async ({ owner, other, partition, clock, settled }) => {
      const late: (() => void)[] = [];
      owner.serve(({ body }) => {
        if (body !== "mute") return Promise.resolve(body);
        return new Promise((resolve) => void late.push(() => resolve("late")));
      });
      await settled();
      for (const bus of [other, owner]) {
        const startedMs = clock.monotonic();
        const request: BusRequest = { partition, body: "mute", channel: "client" };
        assert.deepEqual(await bus.request(request, 100), { kind: "timeout" });
        const tookMs = clock.monotonic() - startedMs;
        assert.ok(tookMs >= 99, `only ${tookMs} ms`);
      }
      for (const answer of late) answer();
      assert.deepEqual(await ask(other, partition, "a"), { kind: "reply", body: "a" });
    }),
  },
  {
    name: "a handler that fails may have done something: timeout, and the next request is handled",
    run: withBus(async ({ owner, other, partition, settled }) => {
      owner.serve(async ({ body }) => {
        if (body === "bad") throw new Error("a bug");
        return body;
      });
      await settled();
      for (const bus of [other, owner]) {
        const request: BusRequest = { partition, body: "bad", channel: "client" };
        assert.deepEqual(await bus.request(request, 500), { kind: "timeout" });
        assert.deepEqual(await ask(bus, partition, "a"), { kind: "reply", body: "a" });
      }
    }),
  },
  {
    name: "a published event is heard once by every listener of its topic, here and elsewhere, and by no other",
    run: withBus(async ({ owner, other, settled }) => {
      const heard: string[] = [];
      const listen = (bus: Bus, name: string, topic: string) =>
        bus.subscribe(topic, (body, id) => void heard.push(`${name} ${body} ${id}`));
      listen(owner, "owner", "order.a");
      listen(owner, "again", "order.a");
      listen(other, "other", "order.a");
      for (const topic of ["order.aa", "order", "order.a.b", "order.A"]) listen(other, topic, topic);
      await settled();
      const body = '{"type":"Ünïcödé 😀"}';
      await owner.publish("order.a", body, "order/a/1/s0/7");
      await settled();
      assert.deepEqual(heard.sort(), [
        `again ${body} order/a/1/s0/7`,
        `other ${body} order/a/1/s0/7`,
        `owner ${body} order/a/1/s0/7`,
      ]);
    }),
  },
  {
    name: "an id is heard as it was given, whatever characters it has",
    run: withBus(async ({ owner, other, settled }) => {
      const heard: string[] = [];
      other.subscribe("order.a", (_, id) => void heard.push(id));
      await settled();
      const ids = ["a b", " x ", "100%", "%41", "line\r\nbreak: 1", "Ünï 😀", "a:b", "=41"];
      for (const id of ids) {
        await owner.publish("order.a", "{}", id, trace);
        await settled();
      }
      assert.deepEqual(heard, ids);
    }),
  },
  {
    name: "who stopped listening hears no more, and the others go on",
    run: withBus(async ({ owner, other, settled }) => {
      const heard: string[] = [];
      const listen = (name: string) => other.subscribe("job.x", (body) => void heard.push(name + body));
      const [stopA, stopB] = [listen("a"), listen("b")];
      await settled();
      await owner.publish("job.x", "1", "1");
      await settled();
      stopA();
      stopA();
      await settled();
      await owner.publish("job.x", "2", "2");
      await settled();
      stopB();
      await settled();
      await owner.publish("job.x", "3", "3");
      await settled();
      assert.deepEqual(heard.sort(), ["a1", "b1", "b2"]);
      listen("c");
      await settled();
      await owner.publish("job.x", "4", "4");
      await settled();
      assert.deepEqual(heard.at(-1), "c4");
    }),
  },
];

/** For buses that go on after a bug in a listener; the simulated one stops the world instead. */
export const listenerContract: readonly BusCase[] = [
  {
    name: "a listener that throws keeps no other from hearing",
    run: withBus(async ({ owner, settled }) => {
      const heard: string[] = [];
      owner.subscribe("job.x", (body) => {
        heard.push(`first ${body}`);
        throw new Error("a listener's bug");
      });
      owner.subscribe("job.x", (body) => void heard.push(`second ${body}`));
      await settled();
      for (const body of ["1", "2"]) {
        // Whoever publishes may be told of the bug.
        await owner.publish("job.x", body, body).catch(() => {});
        await settled();
      }
      assert.deepEqual(heard.sort(), ["first 1", "first 2", "second 1", "second 2"]);
    }),
  },
];

const longMs = 30_000;
const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

function withBus(run: (bus: BusUnderTest) => Promise<void>): BusCase["run"] {
  return async (open) => run(await open());
}

function ask(bus: Bus, partition: number, body: string): Promise<BusReply> {
  return bus.request({ partition, body, channel: "client" }, longMs);
}
