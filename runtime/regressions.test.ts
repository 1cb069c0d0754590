/** Faults that were found once, each by what a user would have seen. */
import { expect, test } from "vitest";
import { assign, emit, fromPromise, sendTo, setup } from "xstate";
import { LocalBus } from "./adapters/memory/local-bus.ts";
import { Deadlines } from "./deadlines.ts";
import { tokenOf } from "./host/commit.ts";
import { readBody } from "./host/wire.ts";
import { address, type Cause, createRuntime, defineActor, type Logger, memory } from "./index.ts";
import { defaultLimits } from "./limits.ts";
import type { LeaseChange } from "./ports/leases.ts";
import type { ActorStore } from "./ports/store.ts";
import type { StoreProvider } from "./ports/store-provider.ts";
import { load, type Step, step } from "./step.ts";
import { ManualClock } from "./testing/index.ts";
import { Window } from "./window.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

type Note = { type: "NOTE"; status?: string; token?: readonly number[] };
const notes = setup({ types: { context: {} as { n: number }, events: {} as Note } }).createMachine({
  context: { n: 0 },
  on: { NOTE: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

const ending = setup({ types: { events: {} as { type: "END" } }, actions: { notify: () => {} } }).createMachine({
  initial: "open",
  states: { open: { on: { END: "over" } }, over: { type: "final", entry: "notify" } },
});

test("an event whose fields look like a tombstone's does not let a living actor be purged", async () => {
  const runtime = await createRuntime({ actors: { notes }, store: memory(), logger: silent });
  const actor = runtime.actor("notes", "1");
  await actor.create();
  await actor.send({ type: "NOTE", status: "deleted" });
  await expect(actor.purge()).rejects.toMatchObject({ code: "AlreadyExists" });
  expect((await actor.state())?.context.n).toBe(1);
  await runtime.stop();
});

test("an event with a field `token` is not taken for the document's token", async () => {
  const runtime = await createRuntime({ actors: { notes }, store: memory(), logger: silent });
  const actor = runtime.actor("notes", "1");
  await actor.create();
  await actor.send({ type: "NOTE", token: [99, 99] });
  const document = await actor.document();
  expect(tokenOf(JSON.stringify(document))).toEqual(document?.token);
  expect(tokenOf("no JSON")).toBeUndefined();
  await runtime.stop();
});

test("retention waits for the last action of an actor that ended", async () => {
  const clock = new ManualClock();
  let attempts = 0;
  const logic = ending.provide({
    actions: {
      notify: () => {
        if (++attempts < 4) throw new Error("busy");
      },
    },
  });
  const type = defineActor(logic, {
    retain: { done: 500 },
    limits: { clientWindowMs: 100 },
    effects: { notify: { retry: { attempts: 5, initialMs: 1_000, jitter: 0 } } },
  });
  const runtime = await createRuntime({ actors: { ending: type }, store: memory(), clock, logger: silent });
  const actor = runtime.actor("ending", "1");
  await actor.create();
  await actor.send({ type: "END" });
  await clock.advance(10_000);
  expect(attempts).toBe(4);
  await clock.advance(300_000);
  expect(await actor.document()).toBeUndefined();
});

for (const [where, idleMs] of [
  ["in memory", 300_000],
  ["out of memory", 1_000],
] as const)
  test(`an actor that has ended answers repetitions after a restart without a write, and ${where} its retention goes on`, async () => {
    const clock = new ManualClock();
    const store = memory();
    const type = defineActor(ending, {
      retain: { done: "10m" },
      limits: { clientWindowMs: 100, keyWindowMs: 60_000 },
    });
    const start = () =>
      createRuntime({ actors: { ending: type }, store, clock, logger: silent, settings: { idleMs, drainMs: 0 } });
    const first = await start();
    await first.actor("ending", "1").create(undefined, { key: "made" });
    const receipt = await first.actor("ending", "1").send({ type: "END" }, { key: "ended" });
    await clock.advance(1_000);
    const before = await first.actor("ending", "1").document();
    await first.stop();

    const second = await start();
    const actor = second.actor("ending", "1");
    expect(await actor.send({ type: "END" }, { key: "ended" })).toEqual({ ...receipt, duplicate: true });
    await expect(actor.create(undefined, { key: "another" })).rejects.toMatchObject({ code: "AlreadyExists" });
    await clock.advance(10_000);
    expect(second.info()).toMatchObject({ hotActors: idleMs > 10_000 ? 1 : 0, pendingActors: 1 });
    expect(await actor.document()).toEqual(before);
    await clock.advance(600_000);
    expect(await actor.document()).toBeUndefined();
    expect(second.info()).toMatchObject({ pendingActors: 0 });
    await second.stop();
  });

test("nobody waits for the entry of an actor that has ended to be removed, while its removal is not answered", async () => {
  const clock = new ManualClock();
  const inner = memory();
  let removals = 0;
  let answer = () => {};
  let entry: () => Promise<unknown> = async () => undefined;
  const store: StoreProvider = {
    async open() {
      const opened = await inner.open();
      const purge = opened.store.purge.bind(opened.store);
      opened.store.purge = async (key, ...rest) => {
        if (key.startsWith("_pending.")) {
          removals++;
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
        }
        return purge(key, ...rest);
      };
      entry = () => opened.store.read("_pending.ending.1");
      return opened;
    },
  };
  const runtime = await createRuntime({
    actors: { ending: defineActor(ending, { limits: { keyWindowMs: 1_000, clientWindowMs: 100 } }) },
    store,
    clock,
    logger: silent,
  });
  const actor = runtime.actor("ending", "1");
  await actor.create();
  const receipt = await actor.send({ type: "END" }, { key: "ended" });
  await clock.advance(0);
  expect(removals).toBe(1);
  // A receipt, a commit, a deletion with its tombstone, which itself is to expire and waits for its entry.
  expect(await actor.send({ type: "END" }, { key: "ended" })).toEqual({ ...receipt, duplicate: true });
  expect(await actor.send({ type: "END" }, { key: "again" })).toMatchObject({ changed: false, duplicate: false });
  let isDeleted = false;
  const deletion = actor.delete().then(() => {
    isDeleted = true;
  });
  await clock.advance(100);
  expect(isDeleted).toBe(false);
  answer();
  await deletion;
  expect(await entry()).toBeDefined();
  await runtime.stop({ drainMs: 0 });
});

test("what has waited for an entry to be put right is not written under a token that was lost meanwhile", async () => {
  const clock = new ManualClock();
  const inner = memory();
  let answer = () => {};
  let grantAnew = () => {};
  const underTokens: (readonly number[])[] = [];
  const store: StoreProvider = {
    async open() {
      const opened = await inner.open();
      const { leases } = opened;
      const [epoch] = leases.token(0) ?? [0];
      let index = 0;
      const listeners = new Set<(change: LeaseChange) => void>();
      const purge = opened.store.purge.bind(opened.store);
      const write = opened.store.write.bind(opened.store);
      opened.store.purge = async (...parameters) => {
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return purge(...parameters);
      };
      opened.store.write = (entry) => {
        underTokens.push(entry.token);
        return write(entry);
      };
      grantAnew = () => {
        index++;
        underTokens.length = 0;
        for (const kind of ["lost", "granted"] as const)
          for (let partition = 0; partition < leases.partitions; partition++)
            for (const listener of listeners) listener({ kind, partition, token: [epoch, index] });
      };
      return {
        ...opened,
        leases: {
          partitions: leases.partitions,
          token: (partition) => leases.token(partition) && [epoch, index],
          onChange: (listener) => {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
          release: () => leases.release(),
        },
      };
    },
  };
  const runtime = await createRuntime({ actors: { ending }, store, clock, logger: silent });
  const actor = runtime.actor("ending", "1");
  await actor.create();
  await actor.send({ type: "END" });
  await clock.advance(0);
  // The tombstone is to expire, so it relies on an entry.
  const deletion = actor.delete();
  await clock.advance(0);
  grantAnew();
  answer();
  await deletion;
  expect(underTokens.length).toBeGreaterThan(0);
  expect(underTokens.filter(([, index]) => index !== 1)).toEqual([]);
  expect(await actor.document()).toMatchObject({ status: "deleted", token: [expect.any(Number), 1] });
  await runtime.stop({ drainMs: 0 });
});

test("a stop waits for the entry of an actor that has ended to be removed, so that the next start claims nothing", async () => {
  const clock = new ManualClock();
  const inner = memory();
  let answer = () => {};
  const store: StoreProvider = {
    async open() {
      const opened = await inner.open();
      const purge = opened.store.purge.bind(opened.store);
      opened.store.purge = async (...parameters) => {
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return purge(...parameters);
      };
      return opened;
    },
  };
  const runtime = await createRuntime({ actors: { ending }, store, clock, logger: silent });
  const actor = runtime.actor("ending", "1");
  await actor.create();
  await actor.send({ type: "END" }, { key: "ended" });
  await clock.advance(0);
  // Not even after it has let somebody else by.
  await actor.send({ type: "END" }, { key: "ended" });
  let isStopped = false;
  const stopping = runtime.stop({ drainMs: 5_000 }).then(() => {
    isStopped = true;
  });
  await clock.advance(4_000);
  expect(isStopped).toBe(false);
  answer();
  await clock.advance(50);
  await stopping;
  const { store: after } = await inner.open();
  expect(await after.read("_pending.ending.1")).toBeUndefined();
});

test("a request that shares a batch with the actor's removal is not acknowledged with it", () => {
  const type = defineActor(ending, { retain: { done: 1_000 }, limits: { clientWindowMs: 100 } });
  const name = { type: "ending", id: "1" };
  const context = (nowMs: number) => ({ nowMs, token: [1, 0] as const, commit: "c", born: "b" });
  const auto = (number: number) => ({ kind: "auto" as const, client: "c", number, low: number });
  const options = { onOutside: () => {} };
  const committed = ({ text, replies }: Step) => {
    const acted = load(name, type, options, text);
    expect(replies.every((reply) => reply.kind !== "refused")).toBe(true);
    return acted;
  };
  const born = step(
    load(name, type, options, undefined),
    [
      { kind: "create", input: undefined, key: auto(1) },
      { kind: "event", event: { type: "END" }, key: auto(2) },
    ],
    context(0),
  );
  const acted = committed(
    step(
      committed(born),
      [...committed(born).outbox.keys()].map((n) => ({ kind: "acted" as const, n })),
      context(1),
    ),
  );
  const inputs = [{ kind: "expire" as const }, { kind: "event" as const, event: { type: "END" }, key: auto(3) }];
  const last = step(acted, inputs, context(100_000));
  expect(last.purge).toBe(true);
  expect(last.taken).toBe(1);
});

test("an actor that ended in an error leaves memory and the index, whatever timers its children had", async () => {
  const clock = new ManualClock();
  const child = setup({}).createMachine({ initial: "w", states: { w: { after: { 5000: "x" } }, x: {} } });
  const parent = setup({ types: { events: {} as { type: "BAD" } }, actors: { child } }).createMachine({
    invoke: { src: "child" },
    context: {},
    on: {
      BAD: {
        actions: assign(() => {
          throw new Error("bad");
        }),
      },
    },
  });
  const runtime = await createRuntime({
    actors: { parent: defineActor(parent, { onError: "error" }) },
    store: memory(),
    clock,
    logger: silent,
    settings: { idleMs: 1_000 },
  });
  const actor = runtime.actor("parent", "1");
  await actor.create();
  await actor.send({ type: "BAD" });
  await clock.advance(60_000);
  expect(runtime.info()).toMatchObject({ hotActors: 0, pendingActors: 0 });
});

test("an actor whose error says more than the store takes is parked all the same", async () => {
  const clock = new ManualClock();
  const machine = setup({ types: { events: {} as { type: "E" } } }).createMachine({
    on: { E: {} },
    after: {
      100: {
        actions: assign(() => {
          throw new Error("x".repeat(2_000_000));
        }),
      },
    },
  });
  const runtime = await createRuntime({ actors: { machine }, store: memory(), clock, logger: silent });
  const actor = runtime.actor("machine", "1");
  await actor.create();
  await clock.advance(200);
  const refused = actor.send({ type: "E" }).catch((error: unknown) => error);
  await clock.advance(1_000);
  expect(await refused).toMatchObject({ code: "Parked" });
});

test("a settlement for a document of a newer machine does not keep the host busy", async () => {
  const store = memory();
  const newer = await createRuntime({ actors: { notes: defineActor(notes, { version: 2 }) }, store, logger: silent });
  await newer.actor("notes", "1").create();
  await newer.stop();
  const clock = new ManualClock();
  const bus = new LocalBus(clock);
  let looks = 0;
  const warn = (text: string) => {
    if (text.startsWith("left alone")) looks++;
  };
  const logger: Logger = { ...silent, warn };
  await createRuntime({ actors: { notes }, store, clock, bus, logger });
  const settlement = { partition: 0, floor: [1, 1, 1], senders: [] };
  await bus.request(
    { partition: 0, body: JSON.stringify({ op: "settled", actor: "notes.1", settlement }), channel: "node" },
    1_000,
  );
  await clock.advance(1_000);
  expect(looks).toBe(1);
});

test("an address inside a message is an address for its receiver", async () => {
  type Ask = { type: "ASK"; from: ReturnType<typeof address> };
  const server = setup({ types: { events: {} as Ask } }).createMachine({
    on: { ASK: { actions: sendTo(({ event }) => event.from, { type: "ANSWER" }) } },
  });
  const client = setup({ types: { events: {} as { type: "GO" } | { type: "ANSWER" } } }).createMachine({
    initial: "idle",
    states: {
      idle: {
        on: {
          GO: { actions: sendTo(address("server", "1"), { type: "ASK", from: address("client", "1") }) },
          ANSWER: "answered",
        },
      },
      answered: { tags: "answered" },
    },
  });
  const runtime = await createRuntime({ actors: { server, client }, store: memory(), logger: silent });
  await runtime.actor("server", "1").create();
  const actor = runtime.actor("client", "1");
  await actor.create();
  await actor.send({ type: "GO" });
  expect((await actor.waitFor((state) => state.matches("answered"), { timeoutMs: 5_000 })).value).toBe("answered");
  expect(runtime.parked()).toEqual([]);
  await runtime.stop();
});

test("who waits for a state hears that the runtime has stopped", async () => {
  const runtime = await createRuntime({ actors: { notes }, store: memory(), logger: silent });
  const actor = runtime.actor("notes", "1");
  await actor.create();
  const waiting = actor.waitFor("done").catch((error: unknown) => error);
  await actor.state();
  await runtime.stop();
  expect(await waiting).toMatchObject({ code: "Stopped" });
});

test("deadlines that are pending at the stop expire", () => {
  const deadlines = new Deadlines(new ManualClock());
  let expired = 0;
  deadlines.set({}, 1_000, () => expired++);
  deadlines.stop();
  expect(expired).toBe(1);
});

test("a listener that throws does not keep the others from an emitted event", async () => {
  const machine = setup({ types: { events: {} as { type: "E" }, emitted: {} as { type: "hey" } } }).createMachine({
    on: { E: { actions: emit({ type: "hey" }) } },
  });
  const runtime = await createRuntime({ actors: { machine }, store: memory(), logger: silent });
  const actor = runtime.actor("machine", "1");
  await actor.create();
  actor.on("*", () => {
    throw new Error("mine");
  });
  const heard = new Promise<string>((resolve) => actor.on("hey", ({ type }) => resolve(type)));
  await actor.send({ type: "E" });
  expect(await heard).toBe("hey");
  await runtime.stop();
});

test("a host that is stopping sends requests from other nodes on to the next owner", async () => {
  const clock = new ManualClock();
  const bus = new LocalBus(clock);
  const machine = setup({
    types: { events: {} as { type: "E" } },
    actors: { work: fromPromise(() => new Promise(() => {})) },
  }).createMachine({ invoke: { src: "work" }, on: { E: {} } });
  const runtime = await createRuntime({ actors: { machine }, store: memory(), clock, bus, logger: silent });
  await runtime.actor("machine", "1").create();
  const stopped = runtime.stop({ drainMs: 1_000 });
  const body = { op: "event", actor: "machine.1", key: { kind: "caller", key: "k" }, event: { type: "E" } };
  const reply = await bus.request({ partition: 0, body: JSON.stringify(body), channel: "client" }, 500);
  expect(reply).toEqual({ kind: "reply", body: '{"kind":"moved"}' });
  await clock.advance(2_000);
  await stopped;
});

test("a number that its client never sent is not known, whatever `low` it named before", () => {
  const window = new Window();
  const auto = (number: number, low: number) => ({ kind: "auto" as const, client: "c", number, low });
  window.add(auto(1, 1_000), "", { revision: 1, changed: true }, 0, defaultLimits);
  expect(window.lookup(auto(2, 2), "", defaultLimits).kind).toBe("new");
});

test("a redaction hook that throws refuses the event; nothing that it has not seen is stored", async () => {
  const machine = setup({ types: { events: {} as { type: "GO" } } }).createMachine({ on: { GO: {} } });
  const redact = (cause: Cause) => {
    if (cause.type === "GO") throw new Error("no ink");
    return cause;
  };
  const runtime = await createRuntime({ actors: { m: defineActor(machine, { redact }) }, store: memory() });
  await runtime.actor("m", "a").create();
  await expect(runtime.actor("m", "a").send({ type: "GO" })).rejects.toMatchObject({ code: "Rejected" });
  expect((await runtime.actor("m", "a").document())?.seq).toBe(1);
  await runtime.stop();
});

test("an event's own field `key` does not hide the request's", async () => {
  const machine = setup({ types: { events: {} as { type: "GO"; key: string } } }).createMachine({ on: { GO: {} } });
  const runtime = await createRuntime({ actors: { m: machine }, store: memory() });
  await runtime.actor("m", "a").create();
  await runtime.actor("m", "a").send({ type: "GO", key: "mine" }, { key: "request" });
  expect((await runtime.actor("m", "a").document())?.causes).toEqual([{ type: "GO", key: "mine", "@key": "request" }]);
  await runtime.stop();
});

test.each([
  '{"op":"settled","actor":"m.a"}',
  '{"op":"event","actor":"m.a","event":{"type":"GO"}}',
  '{"op":"event","actor":"m.a","event":{},"key":{"kind":"caller","key":"k"}}',
  `{"op":"event","actor":"m.a","event":{"type":"GO"},"key":{"kind":"caller","key":"${"k".repeat(2_000)}"}}`,
  '{"op":"message","actor":"m.a","sender":{"key":"s.a","born":"b","partition":1},"number":[1,0],"items":[]}',
  '{"op":"toString","actor":"m.a"}',
  "[]",
])("the bus request %s is refused and touches nothing", async (body) => {
  expect(readBody(body)).toBeUndefined();
});

const bad = () => Object.assign(new Error("boom"), { retryable: false });

test.each([
  { it: "throws at once", attempts: 5, boom: () => raise(bad()) },
  { it: "throws at its last attempt", attempts: 1, boom: () => raise(new Error("boom")) },
  { it: "rejects", attempts: 5, boom: async () => raise(bad()) },
])("an action that $it sets its actor aside without another input", async ({ attempts, boom }) => {
  const clock = new ManualClock();
  const machine = setup({ types: { events: {} as { type: "GO" } }, actions: { boom } }).createMachine({
    on: { GO: { actions: "boom" } },
  });
  const type = defineActor(machine, { effects: { boom: { retry: { attempts } } } });
  const runtime = await createRuntime({ actors: { machine: type }, store: memory(), clock, logger: silent });
  const actor = runtime.actor("machine", "1");
  await actor.create();
  await actor.send({ type: "GO" });
  await clock.advance(1_000);
  expect(runtime.parked()).toMatchObject([{ actor: "machine.1", reason: "action", message: "boom" }]);
});

function raise(error: Error): never {
  throw error;
}

test("a store that takes less than it promised: who asks for too much is refused, the actor's own is set aside", async () => {
  const clock = new ManualClock();
  let mostBytes = Number.POSITIVE_INFINITY;
  const contents = memory();
  const store: StoreProvider = {
    ...contents,
    async open() {
      const open = await contents.open();
      const write: ActorStore["write"] = async (write) =>
        write.value.length > mostBytes
          ? { kind: "refused", reason: "tooLarge", detail: `${write.value.length} bytes` }
          : open.store.write(write);
      const narrow = new Proxy(open.store, {
        get(target, name) {
          const found = name === "write" ? write : Reflect.get(target, name);
          return typeof found === "function" ? found.bind(target) : found;
        },
      });
      return { ...open, store: narrow };
    },
  };
  let finish = (_output: string) => {};
  type Events = { type: "GROW"; text: string } | { type: "PING" } | { type: "GO" };
  const machine = setup({
    types: { context: {} as { text: string; pings: number }, events: {} as Events },
    actors: { work: fromPromise(() => new Promise<string>((resolve) => (finish = resolve))) },
  }).createMachine({
    context: { text: "", pings: 0 },
    initial: "a",
    on: {
      GROW: { actions: assign({ text: ({ event }) => event.text }) },
      PING: { actions: assign({ pings: ({ context }) => context.pings + 1 }) },
    },
    states: {
      a: { on: { GO: "b" } },
      b: { invoke: { src: "work", onDone: { target: "c", actions: assign({ text: ({ event }) => event.output }) } } },
      c: {},
    },
  });
  const runtime = await createRuntime({ actors: { m: machine }, store, clock, logger: silent });
  const actor = runtime.actor("m", "1");
  await actor.create();
  mostBytes = 5_000;
  const texts = ["x".repeat(10_000), "", "x".repeat(6_000)];
  const sent = Promise.allSettled([
    actor.send({ type: "PING" }),
    ...texts.map((text) => actor.send({ type: "GROW", text })),
    actor.send({ type: "PING" }),
  ]);
  await clock.advance(100);
  expect((await sent).map((one) => (one.status === "rejected" ? one.reason.code : one.value.changed))).toEqual([
    true,
    "TooLarge",
    true,
    "TooLarge",
    true,
  ]);
  await actor.send({ type: "GO" });
  await clock.advance(100);
  finish("y".repeat(10_000));
  await clock.advance(100);
  expect(runtime.parked()).toMatchObject([{ actor: "m.1", message: expect.stringMatching(/would have \d+ bytes/) }]);
  mostBytes = Number.POSITIVE_INFINITY;
  await actor.resume();
  await clock.advance(100);
  finish("z".repeat(10_000));
  await clock.advance(100);
  expect((await actor.state())?.value).toBe("c");
  expect((await actor.state())?.context.pings).toBe(2);
});

test("a message to an actor whose type this node does not know waits for one that does; to nobody, it is a dead letter", async () => {
  const clock = new ManualClock();
  const store = memory();
  const author = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
    context: { n: 0 },
    on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
  });
  const order = setup({ types: { events: {} as { type: "GO" } } }).createMachine({
    on: { GO: { actions: ["here", "nowhere"].map((id) => sendTo(address("author", id), { type: "INC" })) } },
  });
  const warnings: string[] = [];
  const logger: Logger = { ...silent, warn: (text) => void warnings.push(text) };
  const newer = { actors: { order, author }, store, clock, logger: silent };
  const first = await createRuntime(newer);
  await first.actor("author", "here").create();
  await first.actor("order", "1").create();
  await first.stop({ drainMs: 0 });
  const older = await createRuntime({ actors: { order }, store, clock, logger });
  for (let n = 0; n < 2; n++) await older.actor("order", "1").send({ type: "GO" });
  await clock.advance(60_000);
  expect((await older.actor("order", "1").document())?.outbox.length).toBe(2);
  expect(older.info().counts.deadLetters).toBe(2);
  expect(warnings.filter((text) => text.includes("actors of type author wait"))).toHaveLength(1);
  await older.stop({ drainMs: 0 });
  const last = await createRuntime(newer);
  await clock.advance(60_000);
  expect((await last.actor("author", "here").state())?.context.n).toBe(2);
  expect((await last.actor("order", "1").document())?.outbox).toEqual([]);
  await last.stop({ drainMs: 0 });
});

test("actors that cannot leave memory do not keep those that can in it", async () => {
  const clock = new ManualClock();
  const waiting = setup({}).createMachine({ initial: "a", states: { a: { after: { 30000: "b" } }, b: {} } });
  const settings = { hotActors: 20, idleMs: 60_000 };
  const runtime = await createRuntime({ actors: { waiting, notes }, store: memory(), clock, logger: silent, settings });
  for (let n = 0; n < 10; n++) await runtime.actor("waiting", String(n)).create();
  for (let n = 0; n < 100; n++) {
    await runtime.actor("notes", String(n)).create();
    await clock.advance(1);
  }
  expect(runtime.info().hotActors).toBeLessThanOrEqual(21);
  await runtime.stop({ drainMs: 0 });
});

test("one actor more than may be in memory is taken in, although none of the others can leave", async () => {
  const clock = new ManualClock();
  const waiting = setup({}).createMachine({ initial: "a", states: { a: { after: { 30000: "b" } }, b: {} } });
  const store = memory();
  const runtime = await createRuntime({
    actors: { waiting },
    store,
    clock,
    logger: silent,
    settings: { hotActors: 3, idleMs: 60_000 },
    requestTimeoutMs: 1_000,
  });
  for (let n = 0; n < 10; n++) {
    const made = runtime.actor("waiting", String(n)).create();
    await clock.advance(2_000);
    await made;
  }
  expect(runtime.info().hotActors).toBe(10);
  await runtime.stop({ drainMs: 0 });
});
