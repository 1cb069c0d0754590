/** Everything that users get wrong, and people do to stores by hand: a clear error each, and nothing lost. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import {
  type AnyActorRef,
  type AnyStateMachine,
  assign,
  createMachine,
  forwardTo,
  fromCallback,
  fromPromise,
  sendTo,
  setup,
} from "xstate";
import { embedded } from "./adapters/embedded/index.ts";
import {
  type ActorOptions,
  type ActorStore,
  createRuntime,
  defineActor,
  type Logger,
  memory,
  type StoreProvider,
  type WriteOutcome,
} from "./index.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

type Anything = { type: "SET"; value: unknown } | { type: "RUN" } | { type: "SPAWN" };

const box = setup({
  types: { context: {} as { value: unknown }, events: {} as Anything },
  actors: { giveFunction: fromPromise(async () => () => 1), inline: fromPromise(async () => 1) },
}).createMachine({
  context: { value: 0 },
  initial: "idle",
  states: {
    idle: {
      on: {
        SET: { actions: assign({ value: ({ event }) => event.value }) },
        RUN: "running",
        SPAWN: { actions: assign({ value: ({ spawn }) => spawn(fromPromise(async () => 1)) }) },
      },
    },
    running: {
      invoke: {
        src: "giveFunction",
        onDone: "idle",
        onError: { target: "idle", actions: assign({ value: ({ event }) => String(event.error) }) },
      },
    },
  },
});

class Cart {
  readonly items = 3;
}

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function freshEmbedded(): StoreProvider {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-bad-"));
  directories.push(directory);
  return embedded(join(directory, "data"));
}

describe.each([
  ["memory", () => memory() as StoreProvider],
  ["embedded", freshEmbedded],
])("on the %s store", (_name, provide) => {
  const start = () => createRuntime({ actors: { box }, store: provide(), logger: silent });

  test("an unknown type, an unknown id", async () => {
    const runtime = await start();
    expect(() => runtime.actor("bxo" as "box", "b")).toThrow(/no actor type "bxo"; known here: box/);
    await expect(runtime.actor("box", "nobody").send({ type: "RUN" })).rejects.toMatchObject({ code: "NotFound" });
    expect(await runtime.actor("box", "nobody").state()).toBeUndefined();
    await runtime.stop();
  });

  const unstorable: [string, unknown, RegExp][] = [
    ["a function", { deep: { fn: () => 1 } }, /deep\.fn.*a function/],
    ["a class instance", { cart: new Cart() }, /cart.*instance of class Cart/],
    ["a key __proto__", JSON.parse('{"__proto__":{"admin":true}}'), /__proto__/],
    ["a promise", Promise.resolve(1), /Promise/],
    ["a symbol", Symbol("s"), /symbol/],
  ];

  test.each(unstorable)(
    "%s in an event is refused with its path, and nothing is lost",
    async (_what, value, message) => {
      const runtime = await start();
      const b = runtime.actor("box", "b");
      await b.create();
      await b.send({ type: "SET", value: "kept" });
      await expect(b.send({ type: "SET", value })).rejects.toMatchObject({
        code: "NotStorable",
        message: expect.stringMatching(message),
      });
      expect((await b.state())?.context.value).toBe("kept");
      expect(await b.send({ type: "SET", value: "on" })).toMatchObject({ revision: 3, changed: true });
      expect(({} as { admin?: boolean }).admin).toBeUndefined();
      await runtime.stop();
    },
  );

  test("data that JSON cannot hold comes too late for a finished actor: refused or acknowledged, never thrown", async () => {
    const machine = setup({
      types: { events: {} as { type: "CLOSE" } | { type: "KNOCK"; data: unknown } },
    }).createMachine({
      initial: "open",
      states: { open: { on: { CLOSE: "closed", KNOCK: {} } }, closed: { type: "final" } },
    });
    const runtime = await createRuntime({ actors: { door: machine }, store: provide(), logger: silent });
    const door = runtime.actor("door", "d");
    await door.create();
    await door.send({ type: "CLOSE" });
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    await expect(door.send({ type: "KNOCK", data: circular })).rejects.toMatchObject({
      code: "NotStorable",
      message: expect.stringMatching(/data.*(circular|cycle|itself)/),
    });
    const late = await door.send({ type: "KNOCK", data: 2n ** 64n }, { key: "k-1" });
    expect(late).toMatchObject({ changed: false, duplicate: false });
    expect(await door.send({ type: "KNOCK", data: 2n ** 64n }, { key: "k-1" })).toEqual({ ...late, duplicate: true });
    expect(await door.state()).toMatchObject({ status: "done", value: "closed" });
    expect(runtime.parked()).toEqual([]);
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/^Event "KNOCK" was sent to stopped actor/)]]);
    warn.mockRestore();
    await runtime.stop();
  });

  test("what comes too late for a child need not be storable: the actor goes on, untouched", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const circular: { type: string; self?: unknown } = { type: "KNOCK" };
    circular.self = circular;
    let knocked = 0;
    const machine = setup({
      types: {} as { context: { room: AnyActorRef }; events: { type: "EMPTY" } | { type: "KNOCK" } },
      actors: {
        room: setup({}).createMachine({
          initial: "used",
          states: { used: { on: { LEAVE: "empty" } }, empty: { type: "final" } },
        }),
        knocker: fromCallback<{ type: "KNOCK" }, { room: AnyActorRef }>(({ input, receive }) =>
          receive(() => {
            input.room.send(circular);
            knocked++;
          }),
        ),
      },
    }).createMachine({
      context: ({ spawn }) => ({ room: spawn("room") }),
      invoke: { id: "knocker", src: "knocker", input: ({ context }) => ({ room: context.room }) },
      on: {
        EMPTY: { actions: sendTo(({ context }) => context.room, { type: "LEAVE" }) },
        KNOCK: { actions: forwardTo("knocker") },
      },
    });
    const runtime = await createRuntime({ actors: { house: machine }, store: provide(), logger: silent });
    const house = runtime.actor("house", "h");
    await house.create();
    await house.send({ type: "EMPTY" });
    await house.send({ type: "KNOCK" });
    await house.send({ type: "KNOCK" });
    await expect.poll(() => knocked).toBe(2);
    expect(await house.state({ linearizable: true })).toMatchObject({ status: "active" });
    expect(runtime.parked()).toEqual([]);
    expect(warn.mock.calls).toEqual(Array(2).fill([expect.stringMatching(/^Event "KNOCK" was sent to stopped actor/)]));
    warn.mockRestore();
    await runtime.stop();
  });

  test("a function made by the machine itself is refused before the commit, naming the place", async () => {
    const machine = setup({ types: { context: {} as { f: unknown } } }).createMachine({
      context: { f: 0 },
      on: { MAKE: { actions: assign({ f: () => () => 1 }) } },
    });
    const runtime = await createRuntime({ actors: { machine }, store: provide(), logger: silent });
    const m = runtime.actor("machine", "m");
    await m.create();
    await expect(m.send({ type: "MAKE" })).rejects.toMatchObject({
      code: "NotStorable",
      message: expect.stringMatching(/context\.f/),
    });
    expect((await m.state())?.context.f).toBe(0);
    await runtime.stop();
  });

  test("logic that is spawned inline is refused before the commit, saying what to do", async () => {
    const runtime = await start();
    const b = runtime.actor("box", "b");
    await b.create();
    await expect(b.send({ type: "SPAWN" })).rejects.toThrow(/name the logic in setup\(\{ actors \}\)/);
    expect((await b.state())?.context.value).toBe(0);
    await runtime.stop();
  });

  test("a result that cannot be stored is a recorded rejection", async () => {
    const runtime = await start();
    const b = runtime.actor("box", "b");
    await b.create();
    await b.send({ type: "RUN" });
    const state = await b.waitFor((one) => one.matches("idle"));
    expect(state.context.value).toMatch(/NotStorableError.*a function/);
    await runtime.stop();
  });

  test("a context of 2 MiB is refused with both sizes", async () => {
    const runtime = await start();
    const b = runtime.actor("box", "b");
    await b.create();
    await expect(b.send({ type: "SET", value: "x".repeat(2 * 1024 * 1024) })).rejects.toMatchObject({
      code: "TooLarge",
      message: expect.stringMatching(/\d{7} bytes; at most 1048576/),
    });
    expect((await b.state())?.context.value).toBe(0);
    await b.send({ type: "SET", value: 1 });
    expect((await b.state())?.context.value).toBe(1);
    await runtime.stop();
  });

  test("an id of 10 kB is refused; ids with odd characters work and are listed readably", async () => {
    const runtime = await start();
    expect(() => runtime.actor("box", "i".repeat(10_000))).toThrow(/at most 200 are allowed/);
    expect(() => runtime.actor("box", "")).toThrow(/at least one character/);
    const ids = [
      "*",
      "a b",
      "..",
      ".",
      "a..b",
      "größe/日本",
      ">",
      "=2A",
      "a=b",
      "x.y.z",
      "\n",
      "emoji-🙂",
      "__proto__",
    ];
    for (const id of ids) await runtime.actor("box", id).createAndSend(undefined, { type: "SET", value: id });
    const listed = await runtime.list("box");
    expect(listed.map(({ id }) => id).sort()).toEqual([...ids].sort());
    for (const id of ids) expect((await runtime.actor("box", id).state())?.context.value).toBe(id);
    await runtime.stop();
  });

  test("an event that no state ever handles, a reserved one, one without a type", async () => {
    const runtime = await start();
    const b = runtime.actor("box", "b");
    await b.create();
    const refused: [unknown, string, RegExp][] = [
      [{ type: "NOPE" }, "UnknownEvent", /no state of box ever handles "NOPE"/],
      [{ type: "xstate.done.actor.x" }, "UnknownEvent", /reserved/],
      [{ type: "holdfast.delete" }, "UnknownEvent", /reserved/],
      [{}, "InvalidRequest", /type/],
      [null, "InvalidRequest", /type/],
      [{ type: "x".repeat(201) }, "InvalidRequest", /200/],
    ];
    for (const [event, code, message] of refused) {
      const sent = Promise.resolve().then(() => b.send(event as Anything));
      await expect(sent).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    }
    expect((await b.document())?.seq).toBe(1);
    await expect(b.send({ type: "RUN" }, { key: "" })).rejects.toMatchObject({ code: "InvalidRequest" });
    await expect(b.send({ type: "RUN" }, { key: "k".repeat(201) })).rejects.toMatchObject({ code: "InvalidRequest" });
    await runtime.stop();
  });
});

test("a machine whose state vanished parks the actor, untouched; it goes on once a migration is supplied", async () => {
  const store = memory();
  const v1 = setup({ types: { events: {} as { type: "GO" } } }).createMachine({
    initial: "old",
    context: { n: 7 },
    states: { old: {}, other: {} },
    on: { GO: ".other" },
  });
  const v2 = setup({ types: { events: {} as { type: "GO" } } }).createMachine({
    initial: "fresh",
    context: { n: 7 },
    states: { fresh: {}, other: {} },
    on: { GO: ".other" },
  });
  const first = await createRuntime({ actors: { m: defineActor(v1, { version: 1 }) }, store, logger: silent });
  await first.actor("m", "a").create();
  const before = await first.actor("m", "a").document();
  await first.stop();

  const second = await createRuntime({ actors: { m: defineActor(v2, { version: 2 }) }, store, logger: silent });
  await expect(second.actor("m", "a").send({ type: "GO" })).rejects.toMatchObject({
    code: "Parked",
    message: expect.stringMatching(/old/),
  });
  expect(second.parked()).toMatchObject([{ actor: "m.a", reason: "incompatible" }]);
  await expect(second.actor("m", "a").waitFor("done")).rejects.toMatchObject({ code: "Parked" });
  expect(await second.actor("m", "a").document()).toEqual(before);
  await second.stop();

  const migrate = ({ value, context }: { value: unknown; context: Record<string, unknown> }) => ({
    value: value === "old" ? "fresh" : value,
    context,
  });
  const mended = defineActor(v2, { version: 2, migrate, limits: { mailbox: 2 } });
  const third = await createRuntime({ actors: { m: mended }, store, logger: silent });
  // Whoever waits does not take the record of the release before for the last word, however many they are.
  const isFresh = (state: { matches(value: "fresh"): boolean }) => state.matches("fresh");
  await Promise.all(Array.from({ length: 8 }, () => third.actor("m", "a").waitFor(isFresh)));
  expect(await third.actor("m", "a").send({ type: "GO" })).toMatchObject({ changed: true });
  expect((await third.actor("m", "a").state())?.context).toEqual({ n: 7 });
  expect(third.parked()).toEqual([]);
  await third.stop();

  const older = await createRuntime({
    actors: { m: defineActor(v1, { version: 1 }) },
    store,
    logger: silent,
    requestTimeoutMs: 200,
  });
  await expect(older.actor("m", "a").send({ type: "GO" })).rejects.toMatchObject({ code: "Moved" });
  expect(older.parked()).toEqual([]);
  await older.stop();
});

describe("a document that somebody touched", () => {
  async function touched(edit: (text: string) => string) {
    const provider = memory();
    const first = await createRuntime({ actors: { box }, store: provider, logger: silent });
    await first.actor("box", "b").create();
    await first.actor("box", "b").send({ type: "SET", value: "good" });
    await first.stop();
    const opened = await provider.open();
    const entry = await opened.store.read("box.b");
    const value = edit(entry?.value ?? "");
    const written = await opened.store.write({
      key: "box.b",
      value,
      header: { commit: "hand", hash: "0" },
      expect: entry?.revision ?? 0,
      token: [99, 0],
    });
    expect(written.kind).toBe("written");
    await opened.close();
    return createRuntime({ actors: { box }, store: provider, logger: silent });
  }

  test("truncated: parked, left as it is; discarding puts the last good one back", async () => {
    const runtime = await touched((text) => text.slice(0, 100));
    const b = runtime.actor("box", "b");
    await expect(b.send({ type: "SET", value: 1 })).rejects.toMatchObject({ code: "Parked" });
    expect(runtime.parked()).toMatchObject([{ reason: "foreign" }]);
    await expect(b.resume("accept")).rejects.toMatchObject({ code: "InvalidRequest" });
    await b.resume("discard");
    expect((await b.state())?.context.value).toBe("good");
    await b.send({ type: "SET", value: "more" });
    expect((await b.state())?.context.value).toBe("more");
    await runtime.stop();
  });

  test("edited by hand: noticed; accepting takes it", async () => {
    const runtime = await touched((text) => text.replace('"value":"good"}', '"value":"edited"}'));
    const b = runtime.actor("box", "b");
    await expect(b.send({ type: "SET", value: 1 })).rejects.toMatchObject({
      code: "Parked",
      message: expect.stringMatching(/not written by a runtime/),
    });
    await b.resume("accept");
    expect((await b.state())?.context.value).toBe("edited");
    await b.send({ type: "SET", value: 2 });
    expect((await b.state())?.context.value).toBe(2);
    await runtime.stop();
  });
});

describe("a store that misbehaves", () => {
  /** A memory store with one write answered by somebody else. */
  function scripted(
    answer: (key: string, write: () => Promise<WriteOutcome>) => Promise<WriteOutcome> | undefined,
  ): StoreProvider {
    const inner = memory();
    return {
      async open() {
        const opened = await inner.open();
        const store = new Proxy(opened.store as ActorStore, {
          get(target, property) {
            if (property === "write") {
              return (write: Parameters<ActorStore["write"]>[0]) =>
                answer(write.key, () => target.write(write)) ?? target.write(write);
            }
            const value = Reflect.get(target, property) as unknown;
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
        return { ...opened, store };
      },
    };
  }

  test("full: the commit is refused, nothing is lost, it goes on when there is room", async () => {
    let full = false;
    const store = scripted(() =>
      full ? Promise.resolve({ kind: "refused", reason: "full", detail: "no room" }) : undefined,
    );
    const runtime = await createRuntime({ actors: { box }, store, logger: silent });
    const b = runtime.actor("box", "b");
    await b.create();
    full = true;
    await expect(b.send({ type: "SET", value: "lost?" }, { key: "k" })).rejects.toMatchObject({ code: "StoreFull" });
    full = false;
    expect((await b.state())?.context.value).toBe(0);
    expect(await b.send({ type: "SET", value: "there" }, { key: "k" })).toMatchObject({
      duplicate: false,
      revision: 2,
    });
    expect((await b.state())?.context.value).toBe("there");
    await runtime.stop();
  });

  test("went back: a confirmed revision that does not grow stops the runtime", async () => {
    let back = false;
    const store = scripted(() => (back ? Promise.resolve({ kind: "written", revision: 1 }) : undefined));
    const runtime = await createRuntime({ actors: { box }, store, logger: silent });
    const b = runtime.actor("box", "b");
    await b.create();
    await b.send({ type: "SET", value: 1 });
    back = true;
    await expect(b.send({ type: "SET", value: 2 })).rejects.toBeInstanceOf(Error);
    await expect(b.send({ type: "SET", value: 3 })).rejects.toMatchObject({ code: "StoreWentBack" });
    await runtime.stop();
  });

  test("an unknown outcome that was applied is found by its commit id, and counts once", async () => {
    let once = true;
    const store = scripted((key, write) => {
      if (!key.startsWith("box.") || !once) return undefined;
      once = false;
      return write().then(() => ({ kind: "unknown" }));
    });
    const runtime = await createRuntime({ actors: { box }, store, logger: silent });
    const b = runtime.actor("box", "b");
    expect(await b.create()).toMatchObject({ revision: 1, duplicate: false });
    expect((await b.history()).length).toBe(1);
    await runtime.stop();
  });
});

test("createRuntime without a store says where to get one", async () => {
  await expect(createRuntime({ actors: { box } } as never)).rejects.toMatchObject({
    code: "InvalidRequest",
    message: expect.stringMatching(/embedded\("\.\/data"\)/),
  });
});

describe("a policy for an effect that the machine does not have", () => {
  const child = setup({ actions: { inChild: () => {} } }).createMachine({ entry: "inChild" });
  const named = setup({
    actors: { charge: fromPromise(async () => 1), child },
    actions: { notify: () => {} },
  }).createMachine({ entry: "notify", invoke: [{ src: "charge" }, { src: "child" }] });
  const loose = createMachine({ entry: "notify", invoke: { src: "charge" } });

  test("is refused, naming those it has, and what was meant", () => {
    expect(() => defineActor(box, { effects: { ["giveFunktion" as string]: {} } })).toThrow(
      /effects\.giveFunktion \(did you mean giveFunction\?\) is no action.*giveFunction/,
    );
    expect(() => defineActor(loose, { effects: { chrage: {} } })).toThrow(/did you mean charge\?/);
  });

  test("does not compile where the types know the names; where they do not, any name does", () => {
    const policy = { timeoutMs: 1_000 };
    defineActor(named, { effects: { charge: policy, notify: policy, child: policy, inChild: policy } });
    // @ts-expect-error: misspelt
    expect(() => defineActor(named, { effects: { chrage: policy } })).toThrow(/chrage/);
    // @ts-expect-error: misspelt, beside one that is not
    expect(() => defineActor(named, { effects: { charge: policy, notfy: policy } })).toThrow(/notfy/);
    // @ts-expect-error: the name is right, the policy is not
    expect(() => defineActor(named, { effects: { charge: { timeout: 1 } } })).toThrow(/timeout/);
    const either = Math.random() < 2 ? named : box;
    defineActor(either, { effects: { charge: policy, inChild: policy } });
    // @ts-expect-error: neither has it
    expect(() => defineActor(either, { effects: { chrage: policy } })).toThrow(/chrage/);
    const byName: Record<string, typeof policy> = { charge: policy };
    defineActor(named, { effects: byName });
    defineActor(loose, { effects: { notify: policy, charge: policy } });
    defineActor(named as AnyStateMachine, { effects: { inChild: policy } });
    defineActor(
      fromPromise(async () => 1),
      { effects: { whatever: policy } },
    );
    const options: ActorOptions = { effects: { charge: policy } };
    defineActor(named as AnyStateMachine, options);
    const inline = setup({ actors: { child } }).createMachine({
      id: "m",
      invoke: { src: fromPromise(async () => 1) },
      entry: function beep() {},
    });
    defineActor(inline, { effects: { "xstate.invoke.0.m": policy, ["beep" as string]: policy } });
  });
});

test("defineActor names every option that is not usable", () => {
  expect(() => defineActor({} as never)).toThrow(/no transition/);
  expect(() =>
    defineActor(box, {
      version: 1.5,
      effects: { inline: { timeoutMs: -1, retry: { attempts: 0, factor: Number.NaN } } },
      retain: { done: "soon" as "1s" },
      limits: { mailbox: 0 },
    }),
  ).toThrow(
    /version is 1\.5.*effects\.inline\.timeoutMs is -1.*attempts is 0.*factor is NaN.*retain\.done.*limits\.mailbox is 0/,
  );
});
