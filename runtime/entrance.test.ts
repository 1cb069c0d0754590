import assert from "node:assert/strict";
import { createInbox, headers, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { memory } from "./adapters/memory/index.ts";
import type { MemoryStore } from "./adapters/memory/memory-store.ts";
import { connectNats } from "./adapters/nats/connection.ts";
import { Requests } from "./adapters/nats/requests.ts";
import { NatsBus } from "./adapters/nats-bus/nats-bus.ts";
import { keptLogger } from "./adapters/nats-bus/rig.fixture.ts";
import { SystemClock } from "./adapters/system-clock.ts";
import type { SendOptions } from "./client.ts";
import { connect } from "./connect.ts";
import { Entrance, type EntranceLimits, type Sendable } from "./entrance.ts";
import { errorOf, MovedError, OutcomeUnknownError } from "./errors.ts";
import type { PlainAnswer, PlainRequest, PlainRequests } from "./ports/plain-requests.ts";
import type { StoreProvider } from "./ports/store-provider.ts";
import { createRuntime } from "./runtime.ts";
import { ManualClock } from "./testing/manual-clock.ts";
import { describeWithNats } from "./testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "./testing/nats-server.ts";
import { until } from "./testing/until.fixture.ts";

/** An entrance to one actor type, `order`, whose handle does as it is told. */
function entrance(send: Sendable["send"], limits: Partial<EntranceLimits> = {}) {
  let handler: (request: PlainRequest) => Promise<PlainAnswer> = () => assert.fail("not served");
  const requests: PlainRequests = {
    serve: (given) => {
      handler = given;
      return () => {};
    },
  };
  const { logger, lines } = keptLogger();
  const clock = new ManualClock();
  const asked: string[] = [];
  const actor = (type: string, id: string): Sendable => {
    if (type !== "order") throw errorOf("InvalidRequest", `there is no actor type "${type}"`);
    asked.push(id);
    return { send };
  };
  const made = new Entrance({ requests, actor, clock, logger, limits });
  const ask = async (request: Partial<PlainRequest> & { readonly headers?: Record<string, string> } = {}) => {
    const answer = await handler({
      target: "order.o-1",
      body: '{"type":"PAY"}',
      replyTo: "_INBOX.a.1",
      header: (name) => request.headers?.[name],
      ...request,
    });
    const value = answer.body === "" ? undefined : JSON.parse(answer.body);
    expect(answer.error).toEqual(value?.error);
    return value;
  };
  return { entrance: made, ask, lines, clock, asked };
}

const receipt = { revision: 1, changed: true, duplicate: false };
const accepting = async () => receipt;

describe("the entrance refuses what is no request, by name, before anything is sent", () => {
  const cases: readonly {
    readonly it: string;
    readonly request: Partial<PlainRequest> & { readonly headers?: Record<string, string> };
    readonly code: string;
    readonly says: RegExp;
  }[] = [
    { it: "no JSON", request: { body: "PAY" }, code: "InvalidRequest", says: /no JSON.*\{"type":"PAY"/ },
    { it: "an empty body", request: { body: "" }, code: "InvalidRequest", says: /no JSON/ },
    { it: "a text", request: { body: '"PAY"' }, code: "InvalidRequest", says: /an event is an object/ },
    { it: "null", request: { body: "null" }, code: "InvalidRequest", says: /an event is an object/ },
    { it: "a list", request: { body: '[{"type":"PAY"}]' }, code: "InvalidRequest", says: /an event is an object/ },
    { it: "no type", request: { body: "{}" }, code: "InvalidRequest", says: /whose `type`/ },
    { it: "an empty type", request: { body: '{"type":""}' }, code: "InvalidRequest", says: /1 to 200/ },
    {
      it: "a type of 201",
      request: { body: JSON.stringify({ type: "x".repeat(201) }) },
      code: "InvalidRequest",
      says: /1 to 200/,
    },
    { it: "an unknown actor type", request: { target: "invoice.i-1" }, code: "InvalidRequest", says: /"invoice"/ },
    { it: "no id", request: { target: "order" }, code: "InvalidKey", says: /names no actor.*<type>\.<id>/ },
    {
      it: "a key of the runtime's own",
      request: { target: "_parked.order.o-1" },
      code: "InvalidKey",
      says: /names no actor/,
    },
    {
      it: "another spelling of a key",
      request: { target: "order.=41" },
      code: "InvalidKey",
      says: /would be written order\.A/,
    },
    { it: "an escape that is none", request: { target: "order.=4g" }, code: "InvalidKey", says: /names no actor/ },
    {
      it: "a character that keys escape",
      request: { target: "order.ä" },
      code: "InvalidKey",
      says: /would be written order\.=C3=A4/,
    },
    { it: "a type that cannot be", request: { target: "ö.o-1" }, code: "InvalidKey", says: /not usable/ },
    {
      it: "a key that is too long",
      request: { target: `order.${"x".repeat(300)}` },
      code: "InvalidKey",
      says: /at most 200/,
    },
    {
      it: "an empty idempotency key",
      request: { headers: { "Idempotency-Key": "" } },
      code: "InvalidRequest",
      says: /1 to 200/,
    },
    {
      it: "a long idempotency key",
      request: { headers: { "Idempotency-Key": "k".repeat(201) } },
      code: "InvalidRequest",
      says: /1 to 200/,
    },
    ...["0", "-1", "1e3", "60001", "soon", "", "1".repeat(20)].map((text) => ({
      it: `a timeout of ${JSON.stringify(text)}`,
      request: { headers: { "Holdfast-Timeout-Ms": text } },
      code: "InvalidRequest",
      says: /from 1 to 60000/,
    })),
  ];
  for (const { it, request, code, says } of cases)
    test(it, async () => {
      const { ask, entrance: made, lines } = entrance(() => assert.fail("it was sent"));
      const { error } = await ask(request);
      expect(error.code).toBe(code);
      expect(error.message).toMatch(says);
      expect(made.counts).toEqual({ accepted: 0, refused: 1, unanswerable: 0 });
      expect(lines).toEqual([]);
    });
});

describe("the entrance sends", () => {
  const spied = () => {
    const sent: { event: unknown; options: SendOptions }[] = [];
    const made = entrance(async (event, options) => {
      sent.push({ event, options });
      return receipt;
    });
    return { ...made, sent };
  };

  test("with the caller's key and time, and answers with the receipt", async () => {
    const { ask, sent, asked, entrance: made } = spied();
    const headers = { "Idempotency-Key": "k-1", "Holdfast-Timeout-Ms": "60000" };
    expect(await ask({ target: "order.a=20b", body: '{"type":"PAY","amount":90}', headers })).toEqual(receipt);
    expect(asked).toEqual(["a b"]);
    expect(sent).toEqual([{ event: { type: "PAY", amount: 90 }, options: { key: "k-1", timeoutMs: 60_000 } }]);
    expect(made.counts).toEqual({ accepted: 1, refused: 0, unanswerable: 0 });
  });

  test("under a key made of the reply inbox: the same for the same message, different for another", async () => {
    const { ask, sent } = spied();
    for (const replyTo of ["_INBOX.a.1", "_INBOX.a.1", "_INBOX.a.2", `_INBOX.${"x".repeat(3_000)}`])
      await ask({ replyTo });
    const keys = sent.map(({ options }) => options.key ?? "");
    expect(keys[0]).toBe(keys[1]);
    expect(new Set(keys).size).toBe(3);
    for (const key of keys) expect(key).toMatch(/^reply-\w{10,60}$/);
    expect(sent[0]?.options.timeoutMs).toBe(4_500);
  });

  test("at most so many at a time: Overloaded beyond, and nothing is lost", async () => {
    const ends: (() => void)[] = [];
    const { ask } = entrance(() => new Promise((resolve) => ends.push(() => resolve(receipt))), { handling: 2 });
    const two = [ask(), ask()];
    expect((await ask()).error.code).toBe("Overloaded");
    for (const end of ends) end();
    expect(await Promise.all(two)).toEqual([receipt, receipt]);
    const third = ask();
    ends.at(-1)?.();
    expect(await third).toEqual(receipt);
  });

  test("limits are whole numbers", () => {
    for (const limits of [{ handling: 0 }, { timeoutMs: Number.NaN }, { keyLength: 1.5 }])
      expect(() => entrance(accepting, limits)).toThrow("must be a whole number");
  });
});

describe("the entrance answers failures with their code and what is known of the outcome", () => {
  test("nothing was done", async () => {
    const { ask } = entrance(() => Promise.reject(new MovedError("nobody ran it: nothing was done")));
    expect(await ask()).toEqual({ error: { code: "Moved", message: "nobody ran it: nothing was done" } });
  });

  test("unknown: with the key under which it can be asked again", async () => {
    const { ask } = entrance(() => Promise.reject(new OutcomeUnknownError("no answer")));
    const { error } = await ask({ headers: { "Idempotency-Key": "k-1" } });
    expect(error.code).toBe("OutcomeUnknown");
    expect(error.message).toContain("send it again with the header Idempotency-Key: k-1");
  });

  test("a bug: named as one, its text only in the log", async () => {
    const { ask, lines } = entrance(() => Promise.reject(new TypeError("secret")));
    const { error } = await ask();
    expect(error.code).toBe("Internal");
    expect(error.message).not.toContain("secret");
    expect(String(lines[0]?.fields.error)).toContain("secret");
  });

  test("nobody waits for the answer: refused, counted, logged once a minute", async () => {
    const { ask, lines, clock, entrance: made } = entrance(() => assert.fail("it was sent"));
    const mute = { replyTo: undefined } as unknown as Partial<PlainRequest>;
    for (let count = 0; count < 1_000; count++) expect(await ask(mute)).toBe(undefined);
    expect(lines.length).toBe(1);
    await clock.advance(60_000);
    await ask(mute);
    expect(lines.map(({ fields }) => fields.refusedSoFar)).toEqual([1, 1_001]);
    expect(made.counts).toEqual({ accepted: 0, refused: 0, unanswerable: 1_001 });
  });
});

const order = setup({
  types: {
    context: {} as { total: number; last: unknown },
    events: {} as { type: string; amount?: number; note?: unknown },
  },
}).createMachine({
  context: { total: 0, last: null },
  initial: "open",
  states: {
    open: {
      on: {
        PAY: {
          actions: assign({
            total: ({ context, event }) => context.total + (event.amount ?? 0),
            last: ({ event }) => event.note,
          }),
        },
        CLOSE: "closed",
      },
    },
    closed: {},
  },
});

describeWithNats("plain requests over NATS", () => {
  let server: NatsServer;
  let caller: NatsConnection;
  const closes: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    server = await startNatsServer({ jetstream: false });
    caller = (await connectNats({ servers: server.url }, {})).connection;
  });
  afterEach(async () => {
    for (const close of closes.splice(0).reverse()) await close();
  });
  afterAll(async () => {
    await caller.close();
    await server.stop();
  });

  type Node = Awaited<ReturnType<typeof busOf>>;

  /** What a node gets: a bus over a connection of its own, closed at the end. */
  async function busOf(leases: ConstructorParameters<typeof NatsBus>[0]["leases"]) {
    const open = await connectNats({ servers: server.url }, {});
    const clock = new SystemClock();
    const requests = new Requests(open.connection, clock, createInbox());
    const { logger, lines } = keptLogger();
    const bus = new NatsBus({ requests, app: "shop", clock, logger, ...(leases && { leases }) });
    const flush = () => open.connection.flush();
    closes.push(async () => {
      await bus.close();
      requests.stop();
      await open.close();
    });
    return { bus, clock, logger, lines, flush };
  }

  /** A node that runs orders, one that runs nothing, and the entrance at one of them. */
  async function started(at: "owner" | "other") {
    const contents = memory();
    const made: { store?: MemoryStore; partitions?: number; bus?: Node } = {};
    const provider: StoreProvider = {
      open: async () => {
        const opened = await contents.open();
        const bus = await busOf(opened.leases);
        Object.assign(made, { store: opened.store, partitions: opened.leases.partitions, bus });
        return { ...opened, bus: bus.bus };
      },
    };
    const runtime = await createRuntime({ actors: { order }, store: provider, control: false });
    closes.push(() => runtime.stop());
    const { store, partitions, bus: owner } = made as Required<typeof made>;
    const other = await busOf(undefined);
    const client = await connect({
      actors: { order },
      store: {
        open: () => assert.fail("it is not opened"),
        connect: async () => ({ store, bus: other.bus, partitions, close: async () => {} }),
      },
    });
    const { bus: door, clock, logger, lines } = at === "owner" ? owner : other;
    const handles = at === "owner" ? runtime : client;
    const entrance = new Entrance({
      requests: door.plainRequests,
      actor: (type, id) => handles.actor(type as "order", id) as unknown as Sendable,
      clock,
      logger,
    });
    await owner.flush();
    await other.flush();
    return { runtime, entrance, lines, owner };
  }

  const send = async (target: string, body: string, given: Record<string, string> = {}) => {
    const fields = headers();
    for (const [name, value] of Object.entries(given)) fields.set(name, value);
    const message = await caller.request(`holdfast.shop.send.${target}`, body, { timeout: 30_000, headers: fields });
    return { value: message.json() as Record<string, unknown> & { error?: { code: string } }, message };
  };
  const errorIn = (message: Msg) => message.headers?.get("Nats-Service-Error-Code");

  for (const at of ["owner", "other"] as const) {
    test(`an event goes to its actor, through a node that ${at === "owner" ? "runs" : "does not run"} it`, async () => {
      const { runtime, entrance: made } = await started(at);
      expect((await send("order.o-1", '{"type":"PAY"}')).value.error?.code).toBe("NotFound");
      const actor = runtime.actor("order", "o-1");
      await actor.create();
      const { value, message } = await send("order.o-1", '{"type":"PAY","amount":90}');
      expect(value).toEqual({ revision: 2, changed: true, duplicate: false });
      expect(message.headers?.get("Nats-Service-Error") ?? "").toBe("");
      expect((await actor.state())?.context.total).toBe(90);
      expect(made.counts).toEqual({ accepted: 1, refused: 1, unanswerable: 0 });

      for (const name of ["Idempotency-Key", "idempotency-key"]) {
        const again = await send("order.o-1", '{"type":"PAY","amount":1}', { [name]: "k-1" });
        expect(again.value.duplicate).toBe(name !== "Idempotency-Key");
      }
      expect((await actor.state())?.context.total).toBe(91);
      const reused = await send("order.o-1", '{"type":"PAY","amount":2}', { "Idempotency-Key": "k-1" });
      expect(reused.value.error?.code).toBe("KeyReused");
      expect(errorIn(reused.message)).toBe("KeyReused");

      for (const type of ["xstate.stop", "holdfast.claim", "FLY"]) {
        const refused = await send("order.o-1", JSON.stringify({ type }));
        expect(refused.value.error?.code).toBe("UnknownEvent");
        expect(refused.message.headers?.get("Nats-Service-Error")).toContain(type);
      }
      expect((await send("invoice.i-1", '{"type":"PAY"}')).value.error?.code).toBe("InvalidRequest");
      expect((await send("order.=6F-1", '{"type":"PAY"}')).value.error?.code).toBe("InvalidKey");
      expect((await send("order.o-1", "PAY")).value.error?.code).toBe("InvalidRequest");
    });
  }

  test("values are plain JSON: a tag of the codec arrives as the plain object that it is", async () => {
    const { runtime } = await started("other");
    const actor = runtime.actor("order", "o-1");
    await actor.create();
    const notes = [
      { "@date": "2026-01-01T00:00:00.000Z" },
      { "@ref": "s0" },
      { "@@x": 1 },
      { "@live": 0, more: { "@bigint": "1" } },
    ];
    for (const note of notes) {
      expect((await send("order.o-1", JSON.stringify({ type: "PAY", note }))).value.changed).toBe(true);
      expect((await actor.state())?.context.last).toEqual(note);
    }
    const deep = `{"type":"PAY","note":${"[".repeat(5_000)}${"]".repeat(5_000)}}`;
    expect((await send("order.o-1", deep)).value.error?.code).toBe("NotStorable");
    const proto = await send("order.o-1", '{"type":"PAY","note":{"__proto__":{"polluted":1}}}');
    expect(proto.value.error?.code).toBe("NotStorable");
    expect((await actor.state())?.context.last).toEqual(notes.at(-1));
  });

  test("a repetition of the very message is applied once", async () => {
    const { runtime } = await started("owner");
    await runtime.actor("order", "o-1").create();
    const answers: unknown[] = [];
    const inbox = createInbox();
    caller.subscribe(inbox, { callback: (_, message) => void answers.push(message.json()) });
    for (let count = 0; count < 2; count++)
      caller.publish("holdfast.shop.send.order.o-1", '{"type":"PAY","amount":5}', { reply: inbox });
    await until(() => answers.length === 2, "both are answered");
    expect(answers).toEqual([
      { revision: 2, changed: true, duplicate: false },
      { revision: 2, changed: true, duplicate: true },
    ]);
  });

  test("without a reply it is refused and counted, and so is an answer to what is no inbox", async () => {
    const { runtime, entrance: made, lines } = await started("owner");
    await runtime.actor("order", "o-1").create();
    caller.publish("holdfast.shop.send.order.o-1", '{"type":"PAY","amount":5}');
    caller.publish("holdfast.shop.send.order.o-1", '{"type":"PAY","amount":5}', { reply: "$KV.actors.order.o-1" });
    await caller.flush();
    const { value } = await send("order.o-1", '{"type":"PAY","amount":1}');
    expect(value.revision).toBe(2);
    expect(made.counts).toEqual({ accepted: 1, refused: 0, unanswerable: 1 });
    expect(lines.filter(({ level }) => level === "warn").length).toBe(2);
  });

  test("nobody runs the actor: it is tried until the deadline, then nothing was done", async () => {
    const { runtime, owner } = await started("other");
    await runtime.actor("order", "o-1").create();
    await owner.bus.close();
    const { value } = await send("order.o-1", '{"type":"PAY"}', { "Holdfast-Timeout-Ms": "300" });
    expect(value.error).toMatchObject({ code: "Moved", message: expect.stringContaining("nothing was done") });
  });

  test("each request goes to one of several nodes", async () => {
    const { runtime, entrance: first } = await started("owner");
    await runtime.actor("order", "o-1").create();
    const second = await busOf(undefined);
    let taken = 0;
    second.bus.plainRequests.serve(async () => {
      taken++;
      return { body: JSON.stringify(receipt) };
    });
    await second.flush();
    const count = 200;
    await Promise.all(Array.from({ length: count }, () => send("order.o-1", '{"type":"PAY","amount":1}')));
    expect(first.counts.accepted + taken).toBe(count);
    expect(taken).toBeGreaterThan(0);
    expect(first.counts.accepted).toBeGreaterThan(0);
    expect((await runtime.actor("order", "o-1").state())?.context.total).toBe(first.counts.accepted);
  });

  test("closing answers what was taken", async () => {
    const { bus, flush } = await busOf(undefined);
    let end: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      end = resolve;
    });
    let taken = 0;
    bus.plainRequests.serve(async () => {
      taken++;
      await gate;
      return { body: '"done"' };
    });
    await flush();
    const answer = send("order.o-1", "{}");
    await until(() => taken === 1, "it is taken");
    const closed = bus.close();
    end();
    expect((await answer).value).toBe("done");
    await closed;
    await expect(send("order.o-1", "{}")).rejects.toThrow();
  });
});
