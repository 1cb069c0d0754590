/** What a changed machine does to the timers and children of actors that live: docs/decisions/0012. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { type AnyStateMachine, createMachine, fromPromise, setup, spawnChild } from "xstate";
import { embedded } from "./adapters/embedded/index.ts";
import { type ActorOptions, defineActor, type MigratedState, type StoredState } from "./definition.ts";
import type { Document } from "./document.ts";
import { createRuntime, effectOf } from "./index.ts";
import { replayHistory } from "./replay.ts";
import { type Actor, dueMs, type Input, load, type Order, step } from "./step.ts";

const create: Input = { kind: "create", input: undefined, key: { kind: "caller", key: "make" } };
const event = (type: string): Input => ({ kind: "event", event: { type }, key: { kind: "caller", key: type } });
const never = fromPromise(() => new Promise(() => {}));
const actors = { charge: never, refund: never, log: never };

const machine = (states: object, more: object = {}, delays: Record<string, number> = {}) =>
  setup({ actors, delays }).createMachine({ id: "o", ...more, states } as never) as unknown as AnyStateMachine;

const define = (logic: AnyStateMachine, options: ActorOptions = {}) => defineActor(logic, options);

type Definition = ReturnType<typeof define>;

function begin(definition: Definition, text?: string): Actor {
  return load({ type: "o", id: "x" }, definition, { onOutside: () => {} }, text);
}

function take(actor: Actor, nowMs: number, ...inputs: Input[]) {
  const result = step(actor, inputs, { nowMs, token: [1, 0], commit: "c", born: "b" });
  const text = result.text ?? result.actor.base ?? "";
  result.actor.base = text;
  return { ...result, text, document: JSON.parse(text) as Document };
}

function notices(orders: readonly Order[]): string[] {
  return orders.flatMap((order) => (order.kind === "notice" ? [`${order.level}: ${order.text}`] : []));
}

/** What the document says of timers: `<name> <due>`, and of children: `<id> <src>`. */
function timersOf({ timers }: Document): string[] {
  return Object.values(timers).map(({ id, due }) => `${id.replace("xstate.after.", "")} ${Date.parse(due)}`);
}

function childrenOf({ actors: all }: Document): string[] {
  return Object.entries(all).flatMap(([sid, { id, src }]) => (sid === "s0" ? [] : [`${sid} ${id} ${String(src)}`]));
}

const to = (value: unknown, extra: Partial<MigratedState> = {}) => ({
  migrate: ({ context }: StoredState): MigratedState => ({ value, context, ...extra }),
});

const expired = { expired: { type: "final" as const } };
const charging = (invoke: unknown) => machine({ charging: { invoke }, paid: {} }, { initial: "charging" });

type Case = {
  readonly it: string;
  readonly old: AnyStateMachine;
  readonly now: AnyStateMachine;
  readonly options?: ActorOptions;
  readonly timers?: readonly string[];
  readonly children?: readonly string[];
  /** Of the outbox: what is begun. */
  readonly starts?: readonly string[];
  readonly document?: object;
  readonly told?: readonly RegExp[];
};

// Each is created at 0 and loaded at 1,000.
const cases: Case[] = [
  {
    it: "a longer delay counts from when the timer was armed",
    old: machine({ unpaid: { after: { 4000: "expired" } }, ...expired }, { initial: "unpaid" }),
    now: machine({ unpaid: { after: { 5000: "expired" } }, ...expired }, { initial: "unpaid" }),
    timers: ["5000.o.unpaid 5000"],
    told: [/info: .*t1 \(after 4000.o.unpaid\) becomes that of after 5000/],
  },
  {
    it: "a shorter delay may be over already",
    old: machine({ unpaid: { after: { 4000: "expired" } }, ...expired }, { initial: "unpaid" }),
    now: machine({ unpaid: { after: { 500: "expired" } }, ...expired }, { initial: "unpaid" }),
    timers: ["500.o.unpaid 500"],
  },
  {
    it: "two delays that changed keep their order",
    old: machine({ a: { after: { 4000: "b", 9000: "b" } }, b: {} }, { initial: "a" }),
    now: machine({ a: { after: { 8000: "b", 3000: "b" } }, b: {} }, { initial: "a" }),
    timers: ["3000.o.a 3000", "8000.o.a 8000"],
  },
  {
    it: "one of three delays that changed takes the timer of the one that is gone, though another is new",
    old: machine({ a: { after: { 4000: "b", 9000: "b" } }, b: {} }, { initial: "a" }),
    now: machine({ a: { after: { 5000: "b", 9000: "b", 60000: "b" } }, b: {} }, { initial: "a" }),
    timers: ["5000.o.a 5000", "9000.o.a 9000"],
  },
  {
    it: "a timer becomes the nearest of the delays that have none",
    old: machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a" }),
    now: machine({ a: { after: { 1000: "b", 5000: "b" } }, b: {} }, { initial: "a" }),
    timers: ["5000.o.a 5000"],
  },
  {
    it: "a delay goes to the nearest of the timers that have none",
    old: machine({ a: { after: { 2000: "b", 4000: "b" } }, b: {} }, { initial: "a" }),
    now: machine({ a: { after: { 5000: "b" } }, b: {} }, { initial: "a" }),
    timers: ["5000.o.a 5000"],
    told: [/warn: .*t1 \(after 2000.o.a\) is cancelled/],
  },
  {
    it: "a delay that is taken away is cancelled",
    old: machine({ a: { on: { GO: "b" }, after: { 4000: "b" } }, b: {} }, { initial: "a" }),
    now: machine({ a: { on: { GO: "b" } }, b: {} }, { initial: "a" }),
    timers: [],
    told: [/warn: .*t1 \(after 4000.o.a\) is cancelled/],
  },
  {
    it: "a number that becomes a name counts by what the name stands for",
    old: machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a" }),
    now: machine({ a: { after: { patience: "b" } }, b: {} }, { initial: "a" }, { patience: 7_000 }),
    timers: ["patience.o.a 7000"],
  },
  {
    it: "a name that becomes a number keeps its time",
    old: machine({ a: { after: { patience: "b" } }, b: {} }, { initial: "a" }, { patience: 7_000 }),
    now: machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a" }),
    timers: ["4000.o.a 7000"],
  },
  {
    it: "another id of the machine renames its timers",
    old: machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a", after: { 9000: ".b" } }),
    now: machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a", after: { 9000: ".b" }, id: "order" }),
    timers: ["9000.order 9000", "4000.order.a 4000"],
  },
  {
    it: "a renamed state keeps its deadline",
    old: machine({ unpaid: { after: { 4000: "expired" } }, ...expired }, { initial: "unpaid" }),
    now: machine({ awaiting: { after: { 4000: "expired" } }, ...expired }, { initial: "awaiting" }),
    options: to("awaiting"),
    timers: ["4000.o.awaiting 4000"],
  },
  {
    it: "a state that is entered with another delay begins it",
    old: machine({ unpaid: { after: { 4000: "expired" } }, ...expired }, { initial: "unpaid" }),
    now: machine({ awaiting: { after: { 5000: "expired" } }, ...expired }, { initial: "awaiting" }),
    options: to("awaiting"),
    timers: ["5000.o.awaiting 6000"],
    told: [/warn: .*cancelled.*after 5000 of "o.awaiting" is armed/],
  },
  {
    it: "a named delay of a state that is entered sees the migrated context",
    old: machine({ a: {}, b: {} }, { initial: "a" }),
    now: setup({ delays: { wait: ({ context }) => (context as { ms: number }).ms } }).createMachine({
      id: "o",
      context: { ms: 0 },
      initial: "b",
      states: { b: { after: { wait: "c" } }, c: {} },
    }) as unknown as AnyStateMachine,
    options: { migrate: () => ({ value: "b", context: { ms: 250 } }) },
    timers: ["wait.o.b 1250"],
  },
  {
    it: "an event of the migration comes after the timers, and may cancel them",
    old: machine({ unpaid: { after: { 4000: "expired" } }, ...expired }, { initial: "unpaid" }),
    now: machine({ awaiting: { on: { X: "rest" }, after: { 4000: "rest" } }, rest: {} }, { initial: "awaiting" }),
    options: to("awaiting", { event: { type: "X" } }),
    timers: [],
  },
  {
    it: "the timers of other regions stay as they are",
    old: machine(
      {
        p: { initial: "a", states: { a: { after: { 4000: "b" } }, b: {} } },
        q: { initial: "a", states: { a: { after: { 4000: "b" } }, b: {} } },
      },
      { type: "parallel" },
    ),
    now: machine(
      {
        p: { initial: "a", states: { a: { after: { 6000: "b" } }, b: {} } },
        q: { initial: "a", states: { a: { after: { 4000: "b" } }, b: {} } },
      },
      { type: "parallel" },
    ),
    timers: ["6000.o.p.a 6000", "4000.o.q.a 4000"],
  },
  {
    it: "a renamed state that invokes the same logic goes on with its work, under its key",
    old: charging({ src: "charge" }),
    now: machine({ paying: { invoke: { src: "charge", onDone: "paid" } }, paid: {} }, { initial: "paying" }),
    options: to("paying"),
    children: ["s1 0.o.paying charge"],
    starts: ["s1"],
    told: [/info: .*child 0.o.charging \(charge\) goes on as 0.o.paying/],
  },
  {
    it: "a state that invokes other logic begins it, and the old work ends",
    old: charging({ src: "charge" }),
    now: machine({ refunding: { invoke: { src: "refund" } } }, { initial: "refunding" }),
    options: to("refunding"),
    children: ["s2 0.o.refunding refund"],
    starts: ["s2"],
    told: [/warn: .*child 0.o.charging \(charge\) ends.*0.o.refunding \(refund\) begins/],
  },
  {
    it: "work with an id of its own ends as well",
    old: charging({ id: "bank", src: "charge" }),
    now: machine({ rest: {} }, { initial: "rest" }),
    options: to("rest"),
    children: [],
    starts: [],
    told: [/warn: .*child bank \(charge\) ends/],
  },
  {
    it: "work whose logic is written in the state begins again in a renamed one",
    old: charging({ src: never }),
    now: machine({ paying: { invoke: { src: never } } }, { initial: "paying" }),
    options: to("paying"),
    children: ["s2 0.o.paying xstate.invoke.0.o.paying"],
    starts: ["s2"],
  },
  {
    it: "invocations that changed places keep their work",
    old: machine({ a: { invoke: [{ src: "charge" }, { src: "log" }] } }, { initial: "a" }),
    now: machine({ a: { invoke: [{ src: "log" }, { src: "charge" }] } }, { initial: "a" }),
    children: ["s1 1.o.a charge", "s2 0.o.a log"],
    starts: ["s1", "s2"],
  },
  {
    it: "an invocation that was taken away ends",
    old: machine({ a: { invoke: [{ src: "charge" }, { src: "log" }] } }, { initial: "a" }),
    now: machine({ a: { invoke: [{ src: "charge" }] } }, { initial: "a" }),
    children: ["s1 0.o.a charge"],
    starts: ["s1"],
  },
  {
    it: "an actor that was spawned stays",
    old: machine({ a: {}, b: {} }, { initial: "a", entry: spawnChild("log", { id: "book" }) }),
    now: machine({ c: { after: { 9000: "c" } } }, { initial: "c", entry: spawnChild("log", { id: "book" }) }),
    options: to("c"),
    children: ["s1 book log"],
    starts: ["s1"],
  },
];

function child(delay: number): AnyStateMachine {
  return createMachine({ id: "kid", initial: "a", states: { a: { after: { [delay]: "b" } }, b: {} } });
}

const parent = (kid: AnyStateMachine, state = "busy") =>
  setup({ actors: { kid } }).createMachine({
    id: "o",
    initial: state,
    states: { [state]: { invoke: { src: "kid" } }, rest: {} },
  }) as unknown as AnyStateMachine;

cases.push(
  {
    it: "a delay that changed in a child",
    old: parent(child(4000)),
    now: parent(child(5000)),
    timers: ["5000.kid.a 5000"],
    children: ["s1 0.o.busy kid"],
    told: [/info: .*in child 0.o.busy: timer/],
  },
  {
    it: "a child machine that ends takes its timers with it",
    old: parent(child(4000)),
    now: parent(child(4000)),
    options: to("rest"),
    timers: [],
    children: [],
  },
);

const ended = { status: "done", expires: "1970-01-01T00:00:02.000Z", timers: {} };
const retain = { done: 1_000 };
const outputOf = (output: unknown) => ({ actors: { s0: { snap: { status: "done", output } } } });

cases.push(
  {
    it: "a top-level final state that is migrated to ends the actor, with its output and retention",
    old: machine({ open: { after: { 4000: "open" }, invoke: { src: "charge" } } }, { initial: "open" }),
    now: machine(
      { cancelled: { type: "final", output: ({ context }: { context: object }) => context } },
      { initial: "cancelled", context: {}, output: ({ event }: { event: { type: string; output: unknown } }) => event },
    ),
    options: { migrate: () => ({ value: "cancelled", context: { by: "release", note: undefined } }), retain },
    document: {
      ...ended,
      ...outputOf({ type: "xstate.done.state.o.cancelled", output: { by: "release", note: { "@undefined": true } } }),
    },
    children: [],
    starts: [],
    told: [/warn: .*child 0.o.open \(charge\) ends.*the machine is done: "o.cancelled" is final/],
  },
  {
    it: "a state that has become final ends the actor that is in it, and what it spawned",
    old: machine({ shipped: {} }, { initial: "shipped", entry: spawnChild("log", { id: "book" }) }),
    now: machine({ shipped: { type: "final" } }, { initial: "shipped", output: 7 }),
    options: { retain },
    document: { ...ended, state: "shipped", ...outputOf(7) },
    starts: [],
    told: [/info: .*the machine is done: "o.shipped" is final/],
  },
  {
    it: "a parallel machine is done when all its regions are",
    old: machine(
      { p: { initial: "a", states: { a: {} } }, q: { initial: "a", states: { a: {} } } },
      { type: "parallel" },
    ),
    now: machine(
      {
        p: { initial: "a", states: { a: {}, z: { type: "final" } } },
        q: { initial: "a", states: { a: {}, z: { type: "final" } } },
      },
      { type: "parallel", output: ({ event }: { event: { type: string } }) => event.type },
    ),
    options: { ...to({ p: "z", q: "z" }), retain },
    document: { ...ended, ...outputOf("xstate.done.state.o") },
  },
  {
    it: "a parallel machine is done when all its regions are, beside a history state",
    old: machine({ p: { initial: "a", states: { a: {} } } }, { type: "parallel" }),
    now: machine(
      { p: { initial: "a", states: { a: {}, z: { type: "final" } } }, before: { type: "history" } },
      { type: "parallel" },
    ),
    options: { ...to({ p: "z" }), retain },
    document: { status: "done" },
  },
  {
    it: "a parallel machine with a region at work is not done, nor one with a final state further down",
    old: machine(
      { p: { initial: "a", states: { a: {} } }, q: { initial: "a", states: { a: {} } } },
      { type: "parallel" },
    ),
    now: machine(
      {
        p: { initial: "a", states: { a: {}, z: { type: "final" } } },
        q: { initial: "a", states: { a: { after: { 9000: "a" } }, b: { after: { 9000: "b" } } } },
      },
      { type: "parallel" },
    ),
    options: { ...to({ p: "z", q: "b" }), retain },
    document: { status: "active" },
  },
  {
    it: "an event of the migration is of no use to an actor that is done",
    old: machine({ open: {} }, { initial: "open" }),
    now: machine({ open: {}, over: { type: "final" } }, { initial: "open", on: { X: ".open" } }),
    options: to("over", { event: { type: "X" } }),
    document: { status: "done", causes: [{ type: "holdfast.adapted" }] },
  },
  {
    it: "a child machine that is done by the change tells its parent",
    old: parent(createMachine({ id: "kid", initial: "z", states: { z: {} } })),
    now: setup({
      actors: {
        kid: createMachine({ id: "kid", initial: "z", states: { z: { type: "final" } }, output: "from the kid" }),
      },
    }).createMachine({
      id: "o",
      initial: "busy",
      states: {
        busy: {
          invoke: { src: "kid", onDone: { target: "rest", guard: ({ event }) => event.output === "from the kid" } },
        },
        rest: { type: "final" },
      },
    }) as unknown as AnyStateMachine,
    options: { retain },
    document: { ...ended, state: "rest" },
    told: [/info: .*in child 0.o.busy: the machine is done: "kid.z" is final/],
  },
  {
    it: "what is always so in a state that is migrated to is taken at once",
    old: machine({ open: {} }, { initial: "open", context: {} }),
    now: machine(
      {
        open: {},
        checking: {
          always: { target: "big", guard: ({ context }: { context: { total?: number } }) => (context.total ?? 0) > 10 },
          after: { 5000: "open" },
        },
        big: { after: { 7000: "open" } },
      },
      { initial: "open", context: {}, on: { "*": ".open" } },
    ),
    options: { migrate: () => ({ value: "checking", context: { total: 12 } }) },
    document: { state: "big" },
    timers: ["7000.o.big 8000"],
    told: [/info: .*what is always so in "o.checking" is looked at/],
  },
  {
    it: "what is always so may end the actor",
    old: machine({ open: {} }, { initial: "open" }),
    now: machine({ checking: { always: "over" }, over: { type: "final" } }, { initial: "checking" }),
    options: { ...to("checking"), retain },
    document: ended,
  },
);

describe("the first step under a changed machine", () => {
  for (const { it, old, now, options, timers, children, starts, document: expected, told } of cases) {
    test(it, () => {
      const base = take(begin(define(old, { version: 1 })), 0, create).text;
      const definition = define(now, { version: 2, ...options });
      const loaded = begin(definition, base);
      expect(dueMs(loaded)).toBe(0);
      const { document, orders, text } = take(loaded, 1_000, { kind: "claim" });
      if (timers !== undefined) expect(timersOf(document)).toEqual(timers);
      if (children !== undefined) expect(childrenOf(document)).toEqual(children);
      if (starts !== undefined)
        expect(document.outbox.map((item) => (item.do === "start" ? item.by : item.do))).toEqual(starts);
      if (expected !== undefined) expect(document).toMatchObject(expected);
      for (const pattern of told ?? []) expect(notices(orders)).toEqual([expect.stringMatching(pattern)]);
      expect(document.causes[0]?.type).toBe("holdfast.adapted");
      // A crash before the commit: the same again. After it: nothing is left to do.
      expect(take(begin(definition, base), 1_000, { kind: "claim" }).text).toBe(text);
      expect(begin(definition, text).adaptation).toBeUndefined();
      // Its history proves it.
      const kept = [base, text].map((one) => ({ text: one, by: "runtime" as const }));
      expect(replayHistory(definition, kept)[1]?.verdict).toEqual({ kind: "same" });
      expect(begin(definition, text).tree?.encode().timers).toBe(JSON.stringify(document.timers));
    });
  }
});

describe("afterwards", () => {
  const old = define(machine({ unpaid: { after: { 4000: "expired" } }, ...expired }, { initial: "unpaid" }));

  test("the timer fires under its new name, when it is due", () => {
    const now = define(machine({ unpaid: { after: { 5000: "expired" } }, ...expired }, { initial: "unpaid" }));
    const base = take(begin(old), 0, create).text;
    const early = take(begin(now, base), 4_999, { kind: "timers" });
    expect(early.document.state).toBe("unpaid");
    const due = take(begin(now, base), 5_000, { kind: "timers" });
    expect(due.document).toMatchObject({ state: "expired", status: "done", timers: {} });
    expect(due.document.causes.map(({ type }) => type)).toEqual(["holdfast.adapted", "xstate.after.5000.o.unpaid"]);
  });

  test("a time that was kept does not move, however late the step", () => {
    const now = define(machine({ unpaid: { after: { 5000: "expired" } }, ...expired }, { initial: "unpaid" }));
    const base = take(begin(old), 0, create).text;
    for (const at of [10, 3_000, 4_500])
      expect(timersOf(take(begin(now, base), at, { kind: "claim" }).document)).toEqual(["5000.o.unpaid 5000"]);
  });

  test("two releases that take turns do not move the time", () => {
    const now = define(machine({ unpaid: { after: { 5000: "expired" } }, ...expired }, { initial: "unpaid" }));
    let { text } = take(begin(old), 0, create);
    for (const [index, definition] of [now, old, now, old].entries())
      ({ text } = take(begin(definition, text), (index + 1) * 500, { kind: "claim" }));
    expect(timersOf(JSON.parse(text) as Document)).toEqual(["4000.o.unpaid 4000"]);
  });

  test("the result of work that went on reaches the new state", () => {
    const before = define(charging({ src: "charge" }));
    const after = machine({ paying: { invoke: { src: "charge", onDone: "paid" } }, paid: {} }, { initial: "paying" });
    const base = take(begin(before), 0, create).text;
    const { actor, document } = take(begin(define(after, { version: 2, ...to("paying") }), base), 1, { kind: "claim" });
    const n = document.outbox[0]?.n ?? 0;
    expect((JSON.parse(base) as Document).outbox[0]?.n).toBe(n);
    const done = take(actor, 2, { kind: "result", n, outcome: { ok: true, value: "r" } });
    expect(done.document.state).toBe("paid");
  });

  test("an error of a delay's own code sets the actor aside", () => {
    const broken = setup({
      delays: {
        wait: () => {
          throw new Error("no such table");
        },
      },
    }).createMachine({ id: "o", initial: "b", states: { b: { after: { wait: "b" } } } });
    const definition = define(broken as unknown as AnyStateMachine, { version: 2, ...to("b") });
    const base = take(begin(old), 0, create).text;
    const { replies } = take(begin(definition, base), 1, { kind: "claim" });
    expect(replies).toMatchObject([{ kind: "park", error: { message: "no such table" } }]);
  });
});

test("what is new in a state that goes on is not begun, and said", () => {
  const old = define(machine({ a: { on: { GO: "b" } }, b: {} }, { initial: "a" }));
  const now = define(
    machine({ a: { on: { GO: "b" }, after: { 4000: "b" }, invoke: { src: "charge" } }, b: {} }, { initial: "a" }),
  );
  const base = take(begin(old), 0, create).text;
  const actor = begin(now, base);
  expect(actor.adaptation).toMatchObject({
    isPending: false,
    doubts: ['after 4000 of "o.a" has no timer', "the invocation 0.o.a (charge) does not run"],
  });
  expect(dueMs(actor)).toBeUndefined();
  expect(take(actor, 1, event("GO")).document.timers).toEqual({});
});

test("a machine that has not changed has nothing to adapt", () => {
  const same = define(machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a" }));
  expect(begin(same, take(begin(same), 0, create).text).adaptation).toBeUndefined();
});

test("a delayed event that no state handles is said when it fires", () => {
  const definition = define(machine({ a: { after: { 4000: "b" } }, b: {} }, { initial: "a" }));
  const { text } = take(begin(definition), 0, create);
  const actor = begin(definition, text.replaceAll("xstate.after.4000.o.a", "xstate.after.3000.o.gone"));
  expect(notices(take(actor, 4_000, { kind: "timers" }).orders)).toEqual([
    "warn: timer t1 fired xstate.after.3000.o.gone, which no state of the machine handles",
  ]);
});

describe("property: whatever the two machines are", () => {
  const names = ["a", "b", "c"];
  const afters = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 3 });
  type Any = { readonly [name: string]: readonly number[] };
  const anyMachine: fc.Arbitrary<Any> = fc.record({ a: afters, b: afters, c: afters, all: afters });
  const guarded = (delays: readonly number[], target: string) =>
    Object.fromEntries(delays.map((delay) => [delay * 1_000, { target, guard: () => false }]));
  const build = (any: Any) =>
    machine(Object.fromEntries(names.map((name) => [name, { after: guarded(any[name] ?? [], "#o.a") }])), {
      initial: "a",
      after: guarded(any.all ?? [], ".a"),
    });

  test("timers are those of active states, none earlier than it was armed and its delay", () => {
    fc.assert(
      fc.property(
        anyMachine,
        anyMachine,
        fc.constantFrom(...names),
        fc.integer({ min: 0, max: 13_000 }),
        (v1, v2, at, nowMs) => {
          const old = define(build(v1), { version: 1 });
          const { actor } = take(begin(old), 0, create);
          const base = take(actor, nowMs, { kind: "timers" }, { kind: "barrier" }).text;
          const left = (JSON.parse(base) as Document).timers;
          const definition = define(build(v2), { version: 2, ...to(at) });
          const { document } = take(begin(definition, base), nowMs, { kind: "barrier" });
          const allowed = new Map<string, number>([
            ...(v2.all ?? []).map((delay) => [`xstate.after.${delay * 1_000}.o`, delay] as const),
            ...(v2[at] ?? []).map((delay) => [`xstate.after.${delay * 1_000}.o.${at}`, delay] as const),
          ]);
          const ids = Object.values(document.timers).map(({ id }) => id);
          expect(new Set(ids).size).toBe(ids.length);
          for (const { id, due } of Object.values(document.timers)) {
            expect([...allowed.keys()]).toContain(id);
            expect(Date.parse(due)).toBeGreaterThanOrEqual((allowed.get(id) ?? 0) * 1_000);
          }
          // A state that was entered has all of its timers; one that goes on has as many as it can have.
          const of = (name: string) => ids.filter((id) => id.endsWith(name)).length;
          if (at !== "a") expect(of(`.o.${at}`)).toBe(v2[at]?.length);
          const kept = (end: string) => Object.values(left).filter(({ id }) => id.endsWith(end)).length;
          expect(of(".o")).toBe(Math.min(kept(".o"), v2.all?.length ?? 0));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a next release, on the directory that the last one left", () => {
  const keys: string[] = [];
  const charge = (result: Promise<string>) =>
    fromPromise((args: { system: object }) => {
      keys.push(effectOf(args).key);
      return result;
    });
  const first = setup({
    types: { events: {} as { type: "PAY" } },
    actors: { charge: charge(new Promise(() => {})) },
  }).createMachine({
    id: "order",
    initial: "open",
    states: {
      open: { on: { PAY: "charging" }, after: { 3600000: "expired" } },
      charging: { invoke: { src: "charge", onDone: "paid" } },
      paid: { type: "final" },
      expired: { type: "final" },
    },
  });
  const second = setup({
    types: { events: {} as { type: "PAY" } },
    actors: { charge: charge(Promise.resolve("receipt")) },
  }).createMachine({
    id: "order",
    initial: "open",
    states: {
      open: { on: { PAY: "paying" }, after: { 1: "expired" }, invoke: { src: "charge" } },
      paying: { invoke: { src: "charge", onDone: "paid" } },
      paid: { type: "final" },
      expired: { type: "final" },
    },
  });
  const migrate = ({ value, context }: StoredState) => ({ value: value === "charging" ? "paying" : value, context });

  test("finishes what runs under its key, fires what a shorter delay makes due, and tells of it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-migration-"));
    const lines: string[] = [];
    const say = (line: string, { actor }: { actor?: string } = {}) => lines.push(`${actor ?? "-"}: ${line}`);
    const logger = { debug: () => {}, info: say, warn: say, error: say };
    try {
      const before = await createRuntime({ actors: { order: first }, store: embedded(directory), logger });
      for (const id of ["waits", "waits-too", "pays"]) await before.actor("order", id).create();
      await before.actor("order", "pays").send({ type: "PAY" });
      await vi.waitUntil(() => keys.length === 1);
      await before.stop({ drainMs: 0 });

      const order = defineActor(second, { version: 2, migrate });
      const after = await createRuntime({ actors: { order }, store: embedded(directory), logger });
      expect((await after.actor("order", "pays").waitFor("done")).value).toBe("paid");
      expect(keys).toEqual([keys[0], keys[0]]);
      for (const id of ["waits", "waits-too"]) {
        // At rest until its old timer is due, unless somebody asks.
        await after.actor("order", id).state({ linearizable: true });
        expect((await after.actor("order", id).waitFor("done")).value).toBe("expired");
      }
      expect(await after.parked()).toEqual([]);
      await after.stop({ drainMs: 0 });
      expect(lines.filter((line) => line.includes("order.pays"))).toEqual([
        expect.stringMatching(
          /the machine has changed: the child 0.order.charging \(charge\) goes on as 0.order.paying/,
        ),
      ]);
      expect(lines.filter((line) => line.startsWith("-: the machine of order has changed"))).toHaveLength(1);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  const withDirectory = async (work: (directory: string) => Promise<void>) => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-migration-"));
    await work(directory).finally(() => rmSync(directory, { recursive: true, force: true }));
  };
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const waiting = (delay: number) =>
    setup({}).createMachine({
      id: "o",
      initial: "open",
      states: { open: { after: { [delay]: "over" } }, over: { type: "final" } },
      output: "receipt",
    });

  test("ends those at rest that it migrates to a final state, once somebody waits for them, and lets them go", async () => {
    await withDirectory(async (directory) => {
      const order = setup({}).createMachine({ id: "o", initial: "open", states: { open: {} } });
      const before = await createRuntime({ actors: { order }, store: embedded(directory), logger: silent });
      await before.actor("order", "1").create();
      await before.stop();
      const next = defineActor(waiting(1_000), {
        version: 2,
        retain: { done: 1 },
        migrate: ({ context }) => ({ value: "over", context }),
      });
      const after = await createRuntime({ actors: { order: next }, store: embedded(directory), logger: silent });
      expect(await after.actor("order", "1").waitFor("done")).toMatchObject({ value: "over", output: "receipt" });
      await vi.waitUntil(async () => (await after.actor("order", "1").state()) === undefined);
      await after.stop();
    });
  });

  test("fires at once what a shorter delay makes due, where somebody waits for it", async () => {
    await withDirectory(async (directory) => {
      const start = (delay: number) =>
        createRuntime({ actors: { order: waiting(delay) }, store: embedded(directory), logger: silent });
      const before = await start(3_600_000);
      await before.actor("order", "1").create();
      await before.stop();
      const after = await start(1);
      expect((await after.actor("order", "1").waitFor("done")).value).toBe("over");
      await after.stop();
    });
  });
});
