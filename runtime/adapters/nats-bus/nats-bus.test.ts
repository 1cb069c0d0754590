import assert from "node:assert/strict";
import { headers } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { busContract, listenerContract } from "../../ports/bus.contract.ts";
import type { BusReply } from "../../ports/bus.ts";
import { describeWithNats, natsVersions } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { until } from "../../testing/until.fixture.ts";
import { Requests } from "../nats/requests.ts";
import { NatsBus } from "./nats-bus.ts";
import { type NodeOptions, Rig, type RigNode } from "./rig.fixture.ts";

const longMs = 30_000;

const ask = (node: RigNode, body: string, { partition = 0, timeoutMs = longMs } = {}): Promise<BusReply> =>
  node.bus.request({ partition, body, channel: "client" }, timeoutMs);

const refusal = (reply: BusReply): { code: string; message: string } => {
  assert.ok(reply.kind === "reply", reply.kind);
  const answer = JSON.parse(reply.body);
  assert.equal(answer.kind, "refused");
  return answer;
};

/** A promise with its ends in hand. */
function opened<TValue>() {
  let resolve: (value: TValue) => void = () => {};
  const promise = new Promise<TValue>((end) => {
    resolve = end;
  });
  return { promise, resolve };
}

describeWithNats("the bus on NATS", () => {
  for (const binary of natsVersions) {
    describe(`of version ${binary.version}`, () => {
      let server: NatsServer;
      let rig: Rig;
      let apps = 0;
      beforeAll(async () => {
        server = await startNatsServer({ binary, jetstream: false });
        rig = new Rig(() => server.url);
      });
      afterEach(() => rig.close());
      afterAll(() => server.stop());

      /** An owner of partition 0 and another, in an application of their own. */
      async function pair(options: NodeOptions = {}) {
        const app = `shop-${++apps}`;
        const [owner, other] = await Promise.all([rig.node({ app, ...options }), rig.node({ app, ...options })]);
        owner.leases.grant(0);
        const settled = async () => {
          // Twice: what the first has sent may be on its way from the server to the second.
          for (let round = 0; round < 2; round++)
            await Promise.all([owner.connection.flush(), other.connection.flush()]);
        };
        return { app, owner, other, settled };
      }

      /** A pair of which the owner serves. */
      async function served(handler: (body: string) => string | Promise<string>, options: NodeOptions = {}) {
        const made = await pair(options);
        const handled: string[] = [];
        const stop = made.owner.bus.serve(async ({ body }) => {
          handled.push(body);
          return handler(body);
        });
        await made.settled();
        return { ...made, handled, stop };
      }

      describe("keeps the bus's contract", () => {
        for (const { name, run } of [...busContract, ...listenerContract])
          test(name, () =>
            run(async () => {
              const { owner, other, settled } = await pair();
              return {
                owner: owner.bus,
                other: other.bus,
                partition: 0,
                unowned: 1,
                clock: rig.clock,
                settled,
              };
            }),
          );
      });

      describe("ownership", () => {
        test("requests follow the partition, without a gap or a second owner told", async () => {
          const { owner, other, settled } = await pair();
          const third = await rig.node({ app: `shop-${apps}`, client: true });
          owner.bus.serve(async () => "owner");
          other.bus.serve(async () => "other");
          await settled();
          expect(await ask(third, "a")).toEqual({ kind: "reply", body: "owner" });
          owner.leases.lose(0);
          await settled();
          expect(await ask(third, "b")).toEqual({ kind: "nobody" });
          other.leases.grant(0);
          await settled();
          expect(await ask(third, "c")).toEqual({ kind: "reply", body: "other" });
        });

        test("what was owned before it is served, is served; what is granted later, too", async () => {
          const { owner, other, settled } = await pair();
          owner.leases.grant(2, 3);
          owner.bus.serve(async ({ partition }) => String(partition));
          owner.leases.grant(1);
          await settled();
          for (const partition of [0, 1, 2, 3])
            expect(await ask(other, "", { partition })).toEqual({ kind: "reply", body: String(partition) });
        });

        test("a node without leases answers nothing, and asks", async () => {
          const { app, owner, settled } = await pair();
          const client = await rig.node({ app, client: true });
          client.bus.serve(async () => "client");
          await settled();
          await client.connection.flush();
          expect(await ask(client, "a")).toEqual({ kind: "nobody" });
          owner.bus.serve(async () => "owner");
          await settled();
          expect(await ask(client, "a")).toEqual({ kind: "reply", body: "owner" });
        });

        test("two owners at once: both get it, one answer comes back, also while one of them is frozen", async () => {
          const { app, owner, other, settled } = await pair();
          const client = await rig.node({ app, client: true });
          other.leases.grant(0);
          const handled: string[] = [];
          const frozen = opened<string>();
          owner.bus.serve(({ body }) => {
            handled.push(`owner ${body}`);
            return frozen.promise;
          });
          other.bus.serve(async ({ body }) => {
            handled.push(`other ${body}`);
            return body;
          });
          await settled();
          for (const body of ["a", "b", "c"]) expect(await ask(client, body)).toEqual({ kind: "reply", body });
          await until(() => handled.length === 6, "both have got all three");
          expect(handled.filter((line) => line.startsWith("other"))).toEqual(["other a", "other b", "other c"]);
          frozen.resolve("too late");
          expect(await ask(client, "d")).toEqual({ kind: "reply", body: expect.any(String) });
        });

        test("whoever serves learns from its leases that it is no owner any more", async () => {
          const { owner, other, handled } = await served((body) => (owner.leases.token(0) ? body : "moved"));
          owner.leases.lapse(0);
          expect(await ask(other, "a")).toEqual({ kind: "reply", body: "moved" });
          expect(handled).toEqual(["a"]);
        });

        test("a partition of this process is asked here: nothing goes over the connection", async () => {
          const { owner } = await served((body) => body);
          const before = owner.connection.stats();
          let turnIsOver = false;
          const reply = ask(owner, "a").then((got) => {
            expect(turnIsOver).toBe(true);
            return got;
          });
          turnIsOver = true;
          expect(await reply).toEqual({ kind: "reply", body: "a" });
          expect(owner.connection.stats().outMsgs).toBe(before.outMsgs);
        });

        test("a bus serves one handler at a time", async () => {
          const { owner, stop } = await served((body) => body);
          expect(() => owner.bus.serve(async () => "")).toThrow("serves already");
          stop();
          owner.bus.serve(async () => "");
        });
      });

      describe("bounds", () => {
        test("beyond the limit of handlers: Overloaded at once, and nothing is lost", async () => {
          const gate = opened<string>();
          const { owner, other, handled } = await served(() => gate.promise, { limits: { handling: 3 } });
          const three = ["a", "b"].map((body) => ask(other, body)).concat([ask(owner, "c")]);
          await until(() => handled.length === 3, "three are handled");
          for (const node of [other, owner]) expect(refusal(await ask(node, "d")).code).toBe("Overloaded");
          gate.resolve("done");
          expect(await Promise.all(three)).toEqual(three.map(() => ({ kind: "reply", body: "done" })));
          expect(await ask(other, "e")).toEqual({ kind: "reply", body: "done" });
          expect(handled.sort()).toEqual(["a", "b", "c", "e"]);
          expect(owner.bus.info().handling).toBe(0);
        });

        test("bodies together above the limit: Overloaded with the numbers; a single one always fits", async () => {
          const gate = opened<string>();
          const { other, handled } = await served(() => gate.promise, { limits: { handlingBytes: 1_000 } });
          const large = ask(other, "x".repeat(5_000));
          await until(() => handled.length === 1, "the large one is handled");
          const { code, message } = refusal(await ask(other, "y".repeat(10)));
          expect(code).toBe("Overloaded");
          expect(message).toMatch(/5000.*10.*1000/);
          gate.resolve("done");
          expect(await large).toEqual({ kind: "reply", body: "done" });
        });

        test("beyond the limit of those who wait: Overloaded, without asking", async () => {
          const gate = opened<string>();
          const { other, handled } = await served(() => gate.promise, { limits: { waiting: 2 } });
          const two = [ask(other, "a"), ask(other, "b")];
          expect(refusal(await ask(other, "c")).code).toBe("Overloaded");
          gate.resolve("done");
          await Promise.all(two);
          expect(handled).toEqual(["a", "b"]);
        });

        test("a request above what the server takes: TooLarge with both sizes, also to this process", async () => {
          const { owner, other, handled } = await served((body) => String(body.length));
          for (const node of [other, owner]) {
            const { code, message } = refusal(await ask(node, "ä".repeat(600_000)));
            expect(code).toBe("TooLarge");
            expect(message).toContain("1200000 bytes");
            expect(message).toContain(String(1024 * 1024 - 200));
            expect(await ask(node, "x".repeat(1024 * 1024 - 200))).toEqual({ kind: "reply", body: "1048376" });
          }
          expect(handled.length).toBe(2);
        });

        test("an answer above what the server takes: it was done, so the outcome is unknown, and it is logged", async () => {
          const { owner, other } = await served((body) => "x".repeat(Number(body)));
          expect(await ask(other, "2000000")).toEqual({ kind: "timeout" });
          expect(owner.lines.map(({ fields }) => String(fields.error)).join()).toContain("2000000 bytes");
          expect(await ask(other, "3")).toEqual({ kind: "reply", body: "xxx" });
        });

        test("too many topics are refused; to those that are there, any number may listen", async () => {
          const { other } = await pair({ limits: { topics: 2 } });
          const stops = ["order.a", "order.b"].map((topic) => other.bus.subscribe(topic, () => {}));
          expect(() => other.bus.subscribe("order.c", () => {})).toThrow(
            expect.objectContaining({ code: "TooManyTopics" }),
          );
          other.bus.subscribe("order.a", () => {});
          stops[1]?.();
          other.bus.subscribe("order.c", () => {});
          expect(other.bus.info().topics).toBe(2);
        });

        test("an event too large to be published is refused with both sizes", async () => {
          const { owner } = await pair();
          await expect(owner.bus.publish("order.a", "x".repeat(2_000_000), "1")).rejects.toThrow(
            /2000\d\d\d bytes.*1048576/,
          );
          for (const topic of ["", "a b", "order.*", "order.>", ".order", "order..a", "order.", "order\n"])
            await expect(owner.bus.publish(topic, "{}", "1")).rejects.toThrow("is no topic");
        });

        test("an application's name is one token of a subject, a limit a whole number", async () => {
          const { requests, logger } = await rig.node();
          const make =
            (app: string, limits = {}) =>
            () =>
              new NatsBus({ requests, app, clock: rig.clock, logger, limits });
          for (const app of ["", "a.b", "*", ">", "a b", "-a", "ä", "x".repeat(65)])
            expect(make(app)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
          for (const limits of [
            { handling: 0 },
            { waiting: Number.NaN },
            { closeMs: -1 },
            { topics: 1.5 },
            { other: 1 },
          ])
            expect(make("shop", limits)).toThrow(expect.objectContaining({ code: "InvalidOption" }));
        });
      });

      describe("what a stranger may do", () => {
        test("a message without a reply, or with one that is no inbox, is not handled, and logged once", async () => {
          const { app, owner, other, handled, settled } = await served((body) => body);
          for (const reply of [
            undefined,
            "$KV.actors.order.a",
            `_holdfast.${app}.node.0`,
            "_INBOXES",
            "_INBOX.",
            "x._INBOX.a",
          ])
            other.connection.publish(`holdfast.${app}.ask.0`, "{}", reply === undefined ? {} : { reply });
          await settled();
          expect(await ask(other, "a")).toEqual({ kind: "reply", body: "a" });
          expect(handled).toEqual(["a"]);
          expect(owner.lines.filter(({ level }) => level === "warn").length).toBe(1);
        });

        test("what is no traceparent does not travel as one", async () => {
          const { owner, other, settled } = await pair();
          const traces: (string | undefined)[] = [];
          owner.bus.serve(async ({ trace }) => {
            traces.push(trace);
            return "";
          });
          await settled();
          const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
          for (const trace of [`${good}\r\nX: 1`, "", "00-zz", good.toUpperCase(), good])
            await other.bus.request({ partition: 0, body: "", channel: "client", trace }, longMs);
          const hostile = headers();
          hostile.append("traceparent", "x".repeat(10_000));
          await other.connection.request(`holdfast.shop-${apps}.ask.0`, "", { timeout: longMs, headers: hostile });
          expect(traces).toEqual([undefined, undefined, undefined, undefined, good, undefined]);
        });

        test("an emitted event that no node published is left out", async () => {
          const { app, owner, other, settled } = await pair();
          const heard: string[] = [];
          other.bus.subscribe("order.a", (body, id) => void heard.push(`${body} ${id}`));
          await settled();
          owner.connection.publish(`holdfast.${app}.emitted.order.a`, "forged");
          await owner.bus.publish("order.a", "{}", "1");
          await settled();
          expect(heard).toEqual(["{} 1"]);
          expect(other.lines.length).toBe(1);
        });

        test("applications do not meet", async () => {
          const one = await served((body) => `one ${body}`);
          const two = await served((body) => `two ${body}`);
          expect(await ask(one.other, "a")).toEqual({ kind: "reply", body: "one a" });
          expect(await ask(two.other, "a")).toEqual({ kind: "reply", body: "two a" });
          const heard: string[] = [];
          one.other.bus.subscribe("order.a", () => void heard.push("one"));
          two.other.bus.subscribe("order.a", () => void heard.push("two"));
          await one.settled();
          await two.settled();
          await one.owner.bus.publish("order.a", "{}", "1");
          await one.settled();
          await two.settled();
          expect(heard).toEqual(["one"]);
        });
      });

      test("emitted events are plain messages with an id, which anybody may hear", async () => {
        const { app, owner, other, settled } = await pair();
        const heard: string[] = [];
        other.connection.subscribe(`holdfast.${app}.emitted.order.>`, {
          callback: (_, message) => {
            const { subject } = message;
            const [id, trace] = ["Nats-Msg-Id", "traceparent"].map((name) => message.headers?.get(name));
            heard.push(`${subject} ${message.string()} ${id} ${trace}`);
          },
        });
        await settled();
        const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        await owner.bus.publish("order.o-1", '{"type":"SHIPPED"}', "order/o 1/x/s0/3", trace);
        await settled();
        expect(heard).toEqual([`holdfast.${app}.emitted.order.o-1 {"type":"SHIPPED"} order/o%201/x/s0/3 ${trace}`]);
      });

      test("all who listen to a topic share one subscription, which ends with the last", async () => {
        const { other } = await pair();
        const before = other.connection.stats().outMsgs;
        const varz = async () => {
          await other.connection.flush();
          const page = await fetch(
            `http://127.0.0.1:${server.monitorPort}/subsz?subs=1&test=holdfast.shop-${apps}.emitted.order.a`,
          );
          return ((await page.json()) as { subscriptions_list?: unknown[] }).subscriptions_list?.length ?? 0;
        };
        const stops = Array.from({ length: 10 }, () => other.bus.subscribe("order.a", () => {}));
        expect(await varz()).toBe(1);
        for (const stop of stops.slice(1)) stop();
        expect(await varz()).toBe(1);
        stops[0]?.();
        expect(await varz()).toBe(0);
        expect(other.connection.stats().outMsgs).toBe(before);
      });

      test("5,000 requests in flight at once: each gets its own answer", async () => {
        const count = 5_000;
        const gate = opened<void>();
        const { owner, other, handled } = await served(async (body) => {
          await gate.promise;
          return `${body}!`;
        });
        const replies = Array.from({ length: count }, (_, n) => ask(other, String(n), { timeoutMs: 60_000 }));
        expect(other.bus.info().waiting).toBe(count);
        await until(() => handled.length === count, "all are being handled");
        expect(owner.bus.info().handling).toBe(count);
        gate.resolve();
        expect(await Promise.all(replies)).toEqual(replies.map((_, n) => ({ kind: "reply", body: `${n}!` })));
        expect(other.bus.info().waiting).toBe(0);
        expect(owner.bus.info().handling).toBe(0);
      });

      describe("closing", () => {
        test("what is being handled is answered, what comes later is not taken", async () => {
          const gate = opened<string>();
          const { owner, other, handled } = await served(() => gate.promise);
          const waiting = [ask(other, "a"), ask(other, "b")];
          await until(() => handled.length === 2, "both are handled");
          const closed = owner.bus.close();
          await owner.connection.flush();
          expect(await ask(other, "c")).toEqual({ kind: "nobody" });
          gate.resolve("done");
          expect(await Promise.all(waiting)).toEqual(waiting.map(() => ({ kind: "reply", body: "done" })));
          await closed;
          expect(handled).toEqual(["a", "b"]);
          expect(await ask(owner, "d")).toEqual({ kind: "nobody" });
          await owner.bus.close();
        });

        test("it is bounded: a handler that never ends does not keep it", async () => {
          const { owner, other, handled } = await served(() => new Promise(() => {}), { limits: { closeMs: 50 } });
          const waiting = ask(other, "a", { timeoutMs: 500 });
          await until(() => handled.length === 1, "it is handled");
          await owner.bus.close();
          expect(owner.lines.at(-1)?.message).toContain("1 requests were not answered within 50 ms");
          expect(await waiting).toEqual({ kind: "timeout" });
        });

        test("own requests that wait end as timeout", async () => {
          const { other, handled } = await served(() => new Promise(() => {}), { limits: { closeMs: 200 } });
          const waiting = ask(other, "a");
          await until(() => handled.length === 1, "it is handled");
          await other.bus.close();
          expect(await waiting).toEqual({ kind: "timeout" });
          expect(other.bus.info()).toMatchObject({ waiting: 0, topics: 0 });
        });
      });

      describe("when the server restarts", () => {
        test("what is in flight ends as timeout, and afterwards everything is there again", async () => {
          const { owner, other, handled } = await served((body) => (body === "mute" ? new Promise(() => {}) : body), {
            limits: { closeMs: 200 },
          });
          const heard: string[] = [];
          other.bus.subscribe("order.a", (_, id) => void heard.push(id));
          const waiting = ask(other, "mute");
          await until(() => handled.length === 1, "it is handled");
          await server.restart();
          expect(await waiting).toEqual({ kind: "timeout" });
          await until(() => owner.bus.info().isConnected && other.bus.info().isConnected, "both are connected");
          await until(async () => (await ask(other, "again", { timeoutMs: 1_000 })).kind === "reply", "it is answered");
          await owner.connection.flush();
          await other.connection.flush();
          await owner.bus.publish("order.a", "{}", "after");
          await until(() => heard.includes("after"), "the event is heard");
          expect(other.lines.map(({ message }) => message).join()).toMatch(/is lost.*connected to NATS again/s);
          // What changed hands meanwhile is followed, too.
          owner.leases.lose(0);
          await until(async () => (await ask(other, "x")).kind === "nobody", "nobody owns it");
        });

        test("while it is away: nobody at once, nothing is kept to be sent later", async () => {
          const { owner, other, handled } = await served((body) => body);
          await server.kill();
          await until(() => !other.bus.info().isConnected, "the loss is noticed");
          const startedMs = performance.now();
          expect(await ask(other, "never")).toEqual({ kind: "nobody" });
          expect(performance.now() - startedMs).toBeLessThan(5_000);
          await expect(other.bus.publish("order.a", "{}", "1")).rejects.toThrow("not connected");
          expect(await ask(owner, "here")).toEqual({ kind: "reply", body: "here" });
          owner.leases.lose(0);
          owner.leases.grant(1);
          await server.restart();
          await until(async () => (await ask(other, "b", { partition: 1 })).kind === "reply", "it is answered");
          expect(await ask(other, "a")).toEqual({ kind: "nobody" });
          expect(handled).toEqual(["here", "b"]);
        });

        test("closing without a server is bounded", async () => {
          const { owner, other } = await served((body) => body, { limits: { closeMs: 300 } });
          await server.kill();
          await Promise.all([owner.bus.close(), other.bus.close()]);
          await server.restart();
        });

        test("a server that has stopped moving: timeout, and closing is bounded", async () => {
          const { owner, other } = await served((body) => body, { limits: { closeMs: 300 } });
          server.pause();
          try {
            // Its threads stop one after the other: it may still answer at first, but never says that nobody serves.
            const kinds = new Set<string>();
            await until(async () => {
              const { kind } = await ask(other, "a", { timeoutMs: 100 });
              kinds.add(kind);
              return kind === "timeout";
            }, "a request is not answered");
            kinds.delete("reply");
            expect([...kinds]).toEqual(["timeout"]);
            await Promise.all([owner.bus.close(), other.bus.close()]);
          } finally {
            server.resume();
          }
        });
      });

      test("a connection that is closed: nobody, and nothing throws", async () => {
        const { owner, other } = await served((body) => body);
        await other.connection.close();
        expect(await ask(other, "a")).toEqual({ kind: "nobody" });
        other.bus.subscribe("order.b", () => {})();
        await other.bus.close();
        await owner.connection.close();
        owner.leases.lose(0);
        await owner.bus.close();
        expect(() => new Requests(owner.connection, rig.clock, "_INBOX.x")).toThrow();
      });
    });
  }
});
