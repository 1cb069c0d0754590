import { expect, test } from "vitest";
import { assign, emit, fromCallback, fromPromise, sendTo, setup } from "xstate";
import { address, createRuntime, defineActor, effectOf, type Logger, memory, type StoreProvider } from "./index.ts";
import { ManualClock } from "./testing/index.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const day = 24 * 3600 * 1000;

const order = setup({
  types: {
    context: {} as { total: number; paid?: string },
    input: {} as { total: number },
    events: {} as { type: "PAY"; amount: number } | { type: "NOTE" },
    tags: {} as "open" | "closed",
  },
  actors: {
    charge: fromPromise(async (args: { input: { amount: number }; system: object }) => effectOf(args).key),
  },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ total: input.total }),
  initial: "open",
  states: {
    open: { tags: "open", on: { PAY: { guard: ({ event }) => event.amount > 0, target: "paying" } } },
    paying: {
      invoke: {
        src: "charge",
        input: ({ context }) => ({ amount: context.total }),
        onDone: { target: "wait", actions: assign({ paid: ({ event }) => event.output }) },
      },
    },
    wait: { after: { 50: "shipped" } },
    shipped: { tags: "closed", type: "final", entry: sendTo(address("counter", "all"), { type: "INC" }) },
  },
  on: { NOTE: {} },
});

const counter = setup({
  types: { context: {} as { n: number }, events: {} as { type: "INC" }, emitted: {} as { type: "counted"; n: number } },
}).createMachine({
  context: { n: 0 },
  on: {
    INC: {
      actions: [
        assign({ n: ({ context }) => context.n + 1 }),
        emit(({ context }) => ({ type: "counted", n: context.n })),
      ],
    },
  },
});

test("an order lives through an effect, a timer, a message to another actor and a restart", async () => {
  const store = memory();
  const runtime = await createRuntime({ actors: { order: defineActor(order, { version: 1 }), counter }, store });
  const total = runtime.actor("counter", "all");
  await total.create();
  const heard: number[] = [];
  total.on("counted", (event) => heard.push(event.n));
  const o = runtime.actor("order", "o-1");
  await o.create({ total: 90 });
  await o.send({ type: "PAY", amount: 90 });
  expect((await o.waitFor("done")).context.paid).toMatch(/^order\/o-1\/[\w.]+\/s1\/1$/);
  await total.waitFor((state) => state.context.n === 1);
  await runtime.stop();
  expect(heard).toEqual([1]);

  const again = await createRuntime({ actors: { order, counter }, store });
  expect((await again.actor("order", "o-1").state())?.value).toBe("shipped");
  expect((await again.actor("counter", "all").send({ type: "INC" })).changed).toBe(true);
  expect((await again.actor("counter", "all").state())?.context.n).toBe(2);
  await again.stop();
});

test("a repeated key gets the same receipt, another body under it is refused", async () => {
  const runtime = await createRuntime({ actors: { counter }, store: memory() });
  const c = runtime.actor("counter", "c");
  expect(await c.create(undefined, { key: "make" })).toMatchObject({ revision: 1, duplicate: false });
  expect(await c.create(undefined, { key: "make" })).toMatchObject({ revision: 1, duplicate: true });
  const first = await c.send({ type: "INC" }, { key: "k" });
  await c.send({ type: "INC" }, { key: "other" });
  expect(await c.send({ type: "INC" }, { key: "k" })).toEqual({ ...first, duplicate: true });
  expect((await c.state())?.context.n).toBe(2);
  await expect(c.send({ type: "INC", more: 1 } as { type: "INC" }, { key: "k" })).rejects.toMatchObject({
    code: "KeyReused",
  });
  await expect(c.create()).rejects.toMatchObject({ code: "AlreadyExists" });
  await runtime.stop();
});

test("createAndSend creates and applies in one commit; an actor that exists only gets the event", async () => {
  const runtime = await createRuntime({ actors: { counter }, store: memory() });
  const c = runtime.actor("counter", "c");
  expect(await c.createAndSend(undefined, { type: "INC" })).toMatchObject({ revision: 1 });
  expect(await c.createAndSend(undefined, { type: "INC" })).toMatchObject({ changed: true });
  expect((await c.state())?.context.n).toBe(2);
  await c.delete();
  await expect(c.createAndSend(undefined, { type: "INC" })).rejects.toMatchObject({ code: "AlreadyExists" });
  await expect(c.send({ type: "INC" })).rejects.toMatchObject({ code: "NotFound" });
  expect(await c.state()).toBeUndefined();
  await expect(c.purge()).rejects.toMatchObject({ code: "AlreadyExists" });
  await c.purge({ force: true });
  await c.create();
  expect((await c.state())?.context.n).toBe(0);
  await runtime.stop();
});

test("a guard that throws refuses the event, and the actor goes on", async () => {
  const machine = setup({ types: { events: {} as { type: "GO" } | { type: "TRAP" } } }).createMachine({
    initial: "a",
    states: {
      a: {
        on: {
          GO: "b",
          TRAP: {
            target: "b",
            guard: () => {
              throw new Error("no luck");
            },
          },
        },
      },
      b: {},
    },
  });
  const runtime = await createRuntime({ actors: { machine }, store: memory() });
  const m = runtime.actor("machine", "m");
  await m.create();
  await expect(m.send({ type: "TRAP" })).rejects.toThrow(/no luck/);
  expect((await m.state())?.value).toBe("a");
  const sent = await Promise.allSettled([m.send({ type: "GO" }), m.send({ type: "TRAP" }), m.send({ type: "GO" })]);
  expect(sent.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  expect((await m.state())?.value).toBe("b");
  await runtime.stop();
});

test("a delay of 400 days is kept over restarts, and one that came due meanwhile fires at once", async () => {
  const machine = setup({}).createMachine({
    initial: "a",
    states: { a: { after: { [400 * day]: "b" } }, b: { after: { [2 * day]: "c" } }, c: {} },
  });
  const store = memory();
  const clock = new ManualClock();
  const settings = { idleMs: day };
  const first = await createRuntime({ actors: { machine }, store, clock, settings });
  await first.actor("machine", "m").create();
  await clock.advance(399 * day);
  expect((await first.actor("machine", "m").state())?.value).toBe("a");
  await clock.advance(2 * day);
  expect((await first.actor("machine", "m").state())?.value).toBe("b");
  const stopped = first.stop();
  await clock.advance(1_000);
  await stopped;
  await clock.advance(30 * day);
  const second = await createRuntime({ actors: { machine }, store, clock, settings });
  await clock.advance(10);
  expect((await second.actor("machine", "m").state())?.value).toBe("c");
  void second.stop();
  await clock.advance(1_000);
});

test("an idle actor leaves memory, wakes for its timer, and its index entry is gone when nothing is pending", async () => {
  const machine = setup({}).createMachine({ initial: "a", states: { a: { after: { 600000: "b" } }, b: {} } });
  const clock = new ManualClock();
  const store = memory();
  const runtime = await createRuntime({ actors: { machine }, store, clock, settings: { idleMs: 1_000 } });
  await runtime.actor("machine", "m").create();
  await clock.advance(5_000);
  expect(runtime.info()).toMatchObject({ hotActors: 0, pendingActors: 1 });
  await clock.advance(600_000);
  expect((await runtime.actor("machine", "m").state())?.value).toBe("b");
  await clock.advance(5_000);
  expect(runtime.info()).toMatchObject({ hotActors: 0, pendingActors: 0 });
  void runtime.stop();
  await clock.advance(1_000);
});

test("a failing effect is retried by its policy, with its attempt in hand; a rejection beyond it is a result", async () => {
  const attempts: number[] = [];
  const machine = setup({
    actors: {
      flaky: fromPromise(async (args: { system: object; input: { good: number } }) => {
        const { attempt } = effectOf(args);
        attempts.push(attempt);
        if (attempt < args.input.good) throw new Error(`attempt ${attempt}`);
        return attempt;
      }),
    },
    types: { context: {} as { good: number; got?: unknown }, input: {} as { good: number } },
  }).createMachine({
    context: ({ input }) => input,
    invoke: {
      src: "flaky",
      input: ({ context }) => context,
      onDone: { actions: assign({ got: ({ event }) => event.output }) },
      onError: { actions: assign({ got: ({ event }) => (event.error as Error).message }) },
    },
  });
  const clock = new ManualClock();
  const policy = { retry: { attempts: 3, initialMs: 1_000, factor: 2, jitter: 0 } };
  const runtime = await createRuntime({
    actors: { machine: defineActor(machine, { effects: { flaky: policy } }) },
    store: memory(),
    clock,
  });
  await runtime.actor("machine", "ok").create({ good: 3 });
  await clock.advance(2_999);
  expect(attempts).toEqual([1, 2]);
  await clock.advance(10);
  expect((await runtime.actor("machine", "ok").state())?.context.got).toBe(3);
  attempts.length = 0;
  await runtime.actor("machine", "bad").create({ good: 9 });
  await clock.advance(10_000);
  expect(attempts).toEqual([1, 2, 3]);
  expect((await runtime.actor("machine", "bad").state())?.context.got).toBe("attempt 3");
  void runtime.stop();
  await clock.advance(20_000);
});

test("a handler that never ends is aborted at its time limit, which is a rejection", async () => {
  let aborted = false;
  const machine = setup({
    actors: {
      stuck: fromPromise(async ({ signal }) => {
        signal.addEventListener("abort", () => {
          aborted = true;
        });
        await new Promise(() => {});
      }),
    },
  }).createMachine({ initial: "a", states: { a: { invoke: { src: "stuck", onError: "b" } }, b: {} } });
  const clock = new ManualClock();
  const actors = { machine: defineActor(machine, { effects: { stuck: { timeoutMs: 5_000 } } }) };
  const runtime = await createRuntime({ actors, store: memory(), clock });
  await runtime.actor("machine", "m").create();
  await clock.advance(6_000);
  expect(aborted).toBe(true);
  expect((await runtime.actor("machine", "m").state())?.value).toBe("b");
  void runtime.stop();
  await clock.advance(1_000);
});

test("a custom action that fails for good parks the actor with the later actions kept; resumed, it goes on in order", async () => {
  const done: string[] = [];
  let broken = true;
  const machine = setup({
    actions: {
      first: () => {
        if (broken) throw new Error("printer on fire");
        done.push("first");
      },
      second: () => void done.push("second"),
    },
    types: { events: {} as { type: "GO" } },
  }).createMachine({ on: { GO: { actions: ["first", "second"] } } });
  const clock = new ManualClock();
  const runtime = await createRuntime({
    actors: { machine: defineActor(machine, { effects: { first: { retry: { attempts: 2, initialMs: 10 } } } }) },
    store: memory(),
    clock,
    logger: silent,
  });
  const m = runtime.actor("machine", "m");
  await m.create();
  await m.send({ type: "GO" });
  await clock.advance(1_000);
  expect(runtime.parked()).toMatchObject([{ actor: "machine.m", reason: "action", message: "printer on fire" }]);
  await expect(m.send({ type: "GO" })).rejects.toMatchObject({ code: "Parked" });
  expect(done).toEqual([]);
  broken = false;
  await m.resume();
  await clock.advance(1_000);
  expect(done).toEqual(["first", "second"]);
  expect((await m.document())?.outbox).toEqual([]);
  void runtime.stop();
  await clock.advance(1_000);
});

test("a throw on the actor's own timer parks it", async () => {
  const machine = setup({}).createMachine({
    initial: "a",
    states: {
      a: {
        after: {
          1000: {
            target: "b",
            guard: () => {
              throw new Error("cannot tell");
            },
          },
        },
      },
      b: {},
    },
  });
  const clock = new ManualClock();
  const runtime = await createRuntime({ actors: { machine }, store: memory(), clock, logger: silent });
  await runtime.actor("machine", "m").create();
  await clock.advance(2_000);
  expect(runtime.parked()).toMatchObject([{ actor: "machine.m", reason: "threw" }]);
  await expect(runtime.actor("machine", "m").waitFor("done")).rejects.toMatchObject({ code: "Parked" });
  void runtime.stop();
  await clock.advance(1_000);
});

test("finished actors are deleted by retention, then removed when no key is guarded any more", async () => {
  const machine = setup({ types: { events: {} as { type: "END" } } }).createMachine({
    initial: "a",
    states: { a: { on: { END: "b" } }, b: { type: "final" } },
  });
  const clock = new ManualClock();
  const store = memory();
  const runtime = await createRuntime({
    actors: { machine: defineActor(machine, { retain: { done: "1h" } }) },
    store,
    clock,
    settings: { idleMs: 300_000 },
  });
  const m = runtime.actor("machine", "m");
  await m.create();
  await m.send({ type: "END" }, { key: "end" });
  await clock.advance(3_590_000);
  expect(await m.document()).toMatchObject({ status: "done" });
  await clock.advance(20_000);
  expect(await m.document()).toMatchObject({ status: "deleted" });
  expect(await m.send({ type: "END" }, { key: "end" })).toMatchObject({ duplicate: true });
  await clock.advance(25 * 3600 * 1000);
  expect(await m.document()).toBeUndefined();
  expect(runtime.info()).toMatchObject({ pendingActors: 0, counts: { expired: 1 } });
  void runtime.stop();
  await clock.advance(1_000);
});

test("callbacks are begun again after a restart, and what they send is committed", async () => {
  const started: number[] = [];
  const machine = setup({
    types: { context: {} as { heard: number[] }, events: {} as { type: "TICK"; n: number } | { type: "POKE" } },
    actors: {
      radio: fromCallback<{ type: "POKE" }>(({ sendBack, receive }) => {
        const n = started.push(started.length);
        sendBack({ type: "TICK", n });
        receive(() => sendBack({ type: "TICK", n: -n }));
      }),
    },
  }).createMachine({
    context: { heard: [] },
    invoke: { src: "radio", id: "radio" },
    on: {
      TICK: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.n] }) },
      POKE: { actions: sendTo("radio", { type: "POKE" }) },
    },
  });
  const store = memory();
  const first = await createRuntime({ actors: { machine }, store });
  await first.actor("machine", "m").create();
  await first.actor("machine", "m").waitFor((state) => state.context.heard.length === 1);
  await first.actor("machine", "m").send({ type: "POKE" });
  await first.actor("machine", "m").waitFor((state) => state.context.heard.length === 2);
  await first.stop({ drainMs: 0 });
  const second = await createRuntime({ actors: { machine }, store });
  const state = await second.actor("machine", "m").waitFor(({ context }) => context.heard.length === 3);
  expect(state.context.heard).toEqual([1, -1, 2]);
  await second.stop({ drainMs: 0 });
});

test("a message to an actor that does not exist becomes a visible dead letter", async () => {
  const machine = setup({ types: { events: {} as { type: "WRITE" } } }).createMachine({
    on: { WRITE: { actions: sendTo(address("counter", "nobody"), { type: "INC" }) } },
  });
  const runtime = await createRuntime({ actors: { machine, counter }, store: memory(), logger: silent });
  const m = runtime.actor("machine", "m");
  await m.create();
  await m.send({ type: "WRITE" });
  const stop = m.watch(() => {});
  for (let turn = 0; turn < 100 && !(await m.document())?.dead; turn++)
    await new Promise((resolve) => setImmediate(resolve));
  stop();
  expect((await m.document())?.dead).toMatchObject({
    count: 1,
    last: [{ to: ["counter", "nobody"], reason: 'counter "nobody" does not exist' }],
  });
  expect((await m.document())?.outbox).toEqual([]);
  await runtime.stop();
});

test("history shows each commit with its causes, list finds by state and tag", async () => {
  const runtime = await createRuntime({ actors: { order }, store: memory() });
  const o = runtime.actor("order", "o-1");
  await o.create({ total: 5 });
  await o.send({ type: "NOTE" }, { key: "n" });
  const history = await o.history();
  expect(history.map(({ revision, causes }) => [revision, causes])).toEqual([
    [1, [{ type: "xstate.init", input: { total: 5 }, key: expect.any(String) }]],
    [2, [{ type: "NOTE", key: "n" }]],
  ]);
  expect(await runtime.list("order", { state: "open" })).toMatchObject([{ id: "o-1", tags: ["open"], revision: 2 }]);
  expect(await runtime.list("order", { tag: "closed" })).toEqual([]);
  await runtime.stop();
});

test("an actor that has ended is left alone by the next start, however the process ended", async () => {
  const kept = defineActor(order, { retain: { done: "30d" } });
  const inner = memory();
  let entries: () => Promise<readonly (readonly [key: string, value: string])[]> = async () => [];
  const store: StoreProvider = {
    async open() {
      const opened = await inner.open();
      entries = async () =>
        (await opened.store.list({ prefix: "_pending." }))
          .filter(({ key }) => !key.endsWith("counter.all"))
          .map(({ key, value }) => [key, value] as const);
      return opened;
    },
  };
  const start = () => createRuntime({ actors: { order, kept, counter }, store, logger: silent });
  const first = await start();
  await first.actor("counter", "all").create();
  for (const type of ["order", "kept"] as const) {
    const one = first.actor(type, "o-1");
    await one.create({ total: 90 });
    await one.send({ type: "PAY", amount: 90 });
    await one.waitFor("done");
  }
  // Its last message is delivered, and the entries are put right in the same breath: nobody waits for a long idle time.
  await expect
    .poll(async () => (await entries()).map(([key]) => key), { timeout: 20_000 })
    .toEqual(["_pending.kept.o-1"]);
  const dueMs = async () => Date.parse((JSON.parse((await entries())[0]?.[1] ?? "{}") as { due: string }).due);
  await expect.poll(dueMs, { timeout: 20_000 }).toBeGreaterThan(Date.now() + 29 * day);
  const before = await Promise.all([first.actor("order", "o-1").document(), first.actor("kept", "o-1").document()]);
  await first.stop({ drainMs: 0 });

  const second = await start();
  // Whoever is asked for something is loaded, and claimed where that is called for.
  await second.actor("counter", "all").send({ type: "INC" });
  expect(await second.actor("order", "o-1").document()).toEqual(before[0]);
  expect(await second.actor("kept", "o-1").document()).toEqual(before[1]);
  expect(
    (await second.actor("order", "o-1").history()).flatMap(({ causes }) => causes.map(({ type }) => type)),
  ).not.toContain("holdfast.claim");
  await second.stop();
});
