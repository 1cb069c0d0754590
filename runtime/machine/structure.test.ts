/** The hash changes with the shape and not with bodies; the check finds every state that a restore would get wrong. */
import assert from "node:assert/strict";
import { test } from "vitest";
import {
  type AnyStateMachine,
  and,
  assign,
  createActor,
  createMachine,
  fromPromise,
  not,
  raise,
  type StateValue,
} from "xstate";
import { createMachine as createOldMachine } from "xstate-oldest";
import { checkCompatible, structuralHash, structureOf } from "./structure.ts";

const machineOf = (config: unknown, implementations?: unknown): AnyStateMachine =>
  createMachine(config as never, implementations as never);

const base = {
  id: "m",
  initial: "a",
  entry: ["log", assign({}), () => 1],
  states: {
    a: {
      on: { GO: { target: "b", guard: "ok", actions: "say" }, STAY: { actions: () => 1 } },
      after: { 1000: "b", soon: { target: "b" } },
      always: { guard: and(["x", not("y")]), target: "b" },
      invoke: { src: "pay", id: "p", onDone: "b" },
    },
    b: { type: "parallel", states: { x: {}, y: { initial: "z", states: { z: {}, h: { type: "history" } } } } },
    c: { type: "final" },
  },
};
/** The machine with one place of its configuration set to another value; undefined removes it. */
function changed(place: string, to: unknown): AnyStateMachine {
  const keys = place.split(".");
  const change = (value: unknown, depth: number): unknown => {
    if (depth === keys.length) return to;
    const key = keys[depth]!;
    const member = change((value as Record<string, unknown> | undefined)?.[key], depth + 1);
    if (Array.isArray(value)) return value.with(Number(key), member);
    return { ...(value as object | undefined), [key]: member };
  };
  return machineOf(change(base, 0));
}

const { GO, STAY } = base.states.a.on;
const same: { it: string; place: string; to: unknown }[] = [
  { it: "the body of an inline action", place: "entry.2", to: () => 2 },
  { it: "the body of an assign", place: "entry.1", to: assign({ n: 1 }) },
  { it: "a tag", place: "states.a.tags", to: ["t"] },
  { it: "meta", place: "states.a.meta", to: {} },
  { it: "a description", place: "states.a.description", to: "d" },
  { it: "a version", place: "version", to: "2" },
  { it: "the parameters of a named action", place: "entry.0", to: { type: "log", params: 1 } },
  { it: "the order of event handlers", place: "states.a.on", to: { STAY, GO } },
  { it: "the context", place: "context", to: { n: 1 } },
];
for (const { it, place, to } of same)
  test(`the hash does not change with ${it}`, () => {
    assert.equal(structuralHash(changed(place, to)), structuralHash(machineOf(base)));
  });

const different: { it: string; place: string; to: unknown }[] = [
  { it: "a new state", place: "states.d", to: {} },
  { it: "a state's type", place: "states.c.type", to: undefined },
  { it: "an id", place: "states.a.id", to: "other" },
  { it: "the initial state", place: "initial", to: "b" },
  { it: "a deeper history", place: "states.b.states.y.states.h.history", to: "deep" },
  { it: "an event", place: "states.a.on.NEW", to: { target: "b" } },
  { it: "a target", place: "states.a.on.GO.target", to: "c" },
  { it: "a guard's name", place: "states.a.on.GO.guard", to: "other" },
  { it: "an inline guard for a name", place: "states.a.on.GO.guard", to: () => true },
  { it: "a part of a combined guard", place: "states.a.always.guard", to: and(["x", "y"]) },
  { it: "an action's name", place: "states.a.on.GO.actions", to: "other" },
  { it: "an action's kind", place: "entry.1", to: raise({ type: "x" }) },
  { it: "reenter", place: "states.a.on.GO.reenter", to: true },
  { it: "a delay", place: "states.a.after", to: { 2000: "b", soon: { target: "b" } } },
  { it: "a delay's name", place: "states.a.after", to: { 1000: "b", later: { target: "b" } } },
  { it: "an invoked source", place: "states.a.invoke.src", to: "other" },
  { it: "an exit action", place: "exit", to: "bye" },
];
for (const { it, place, to } of different)
  test(`the hash changes with ${it}`, () => {
    assert.notEqual(structuralHash(changed(place, to)), structuralHash(machineOf(base)));
  });

test("the hash is 16 hex digits, and the same under the oldest supported XState", () => {
  assert.match(structuralHash(machineOf(base)), /^[0-9a-f]{16}$/);
  const old = createOldMachine(base as never) as unknown as AnyStateMachine;
  assert.deepEqual(structureOf(old), structureOf(machineOf(base)));
});

test("child machines count with their shape, other logic by its kind, inline or named", () => {
  const withChild = (child: unknown) => structuralHash(machineOf({ id: "m" }, { actors: { child } }));
  const inline = (src: unknown) => structuralHash(machineOf({ id: "m", invoke: { src } }));
  for (const hash of [withChild, inline]) {
    assert.equal(hash(fromPromise(async () => 1)), hash(fromPromise(async () => 2)));
    assert.equal(hash(machineOf({ id: "c", entry: () => 1 })), hash(machineOf({ id: "c", entry: () => 2 })));
    assert.notEqual(hash(machineOf({ id: "c" })), hash(machineOf({ id: "c", on: { A: {} } })));
    assert.notEqual(hash(machineOf({ id: "c" })), hash(fromPromise(async () => 1)));
  }
});

test("a machine that spawns itself has a hash", () => {
  const recursive = () => {
    const actors: Record<string, unknown> = {};
    const machine = machineOf({ id: "m" }, { actors });
    actors.again = machine;
    return machine;
  };
  assert.equal(structuralHash(recursive()), structuralHash(recursive()));
});

// ---- may a stored state go on? ----

const order = () =>
  machineOf(
    {
      id: "order",
      initial: "idle",
      states: {
        idle: { on: { BOTH: "both", PAY: "paying" } },
        paying: {
          initial: "card",
          on: { BACK: "idle", AGAIN: ".h" },
          states: { card: { on: { CASH: "cash" } }, cash: {}, h: { type: "history" } },
        },
        both: {
          type: "parallel",
          on: { BACK: "idle" },
          states: { left: {}, right: { initial: "on", states: { on: {}, off: {} } } },
        },
      },
    },
    { actors: { pay: fromPromise(async () => 1) } },
  );

test("every state that the machine itself reaches is compatible with it", () => {
  const actor = createActor(order()).start();
  const seen: StateValue[] = [];
  for (const type of ["PAY", "CASH", "BACK", "BOTH", "BACK", "PAY", "AGAIN"]) {
    actor.send({ type } as never);
    const { value, historyValue } = actor.getPersistedSnapshot() as never as { value: StateValue; historyValue: never };
    seen.push(value);
    assert.deepEqual(
      checkCompatible(order(), { value, historyValue, childSources: ["pay"] }),
      [],
      JSON.stringify(value),
    );
  }
  assert.equal(new Set(seen.map((value) => JSON.stringify(value))).size, 4);
});

test("a machine without states is compatible with itself", () => {
  const { value } = createActor(machineOf({ id: "m" })).getSnapshot() as { value: StateValue };
  assert.deepEqual(checkCompatible(machineOf({ id: "m" }), { value, childSources: [] }), []);
});

const atomic = {};
const compound = { initial: "x", states: { x: {}, y: {} } };
const parallel = { type: "parallel", states: { x: {}, y: {} } };
const changes: { it: string; state: unknown; value: StateValue; expect: string[] }[] = [
  { it: "a state that is gone", state: atomic, value: "b", expect: ["state gone b"] },
  { it: "an inner state that is gone", state: compound, value: { a: "z" }, expect: ["state gone a.z"] },
  { it: "an atomic state that has states now", state: compound, value: "a", expect: ["became compound a"] },
  { it: "an atomic state that has regions now", state: parallel, value: "a", expect: ["became parallel a"] },
  { it: "a compound state that is parallel now", state: parallel, value: { a: "x" }, expect: ["became parallel a"] },
  {
    it: "a parallel state that is compound now",
    state: compound,
    value: { a: { x: {}, y: {} } },
    expect: ["no longer parallel a"],
  },
  {
    it: "a single region that is compound now",
    state: compound,
    value: { a: { x: {} } },
    expect: ["no longer parallel a"],
  },
  { it: "a compound state that is atomic now", state: atomic, value: { a: "x" }, expect: ["became atomic a"] },
  {
    it: "a parallel state that is atomic now",
    state: atomic,
    value: { a: { x: {}, y: {} } },
    expect: ["became atomic a"],
  },
  { it: "a new region", state: parallel, value: { a: { x: {} } }, expect: ["new region a.y"] },
  { it: "a region that is gone", state: parallel, value: { a: { x: {}, y: {}, z: {} } }, expect: ["region gone a.z"] },
  {
    it: "a renamed region",
    state: parallel,
    value: { a: { x: {}, z: {} } },
    expect: ["region gone a.z", "new region a.y"],
  },
  {
    it: "a region that has states now",
    state: { type: "parallel", states: { x: compound, y: {} } },
    value: { a: { x: {}, y: {} } },
    expect: ["became compound a.x"],
  },
  {
    it: "a history state where a state was",
    state: { initial: "x", states: { x: {}, z: { type: "history" } } },
    value: { a: "z" },
    expect: ["state gone a.z"],
  },
  { it: "no change", state: parallel, value: { a: { x: {}, y: {} } }, expect: [] },
];
for (const { it, state, value, expect } of changes)
  test(`the check finds ${it}`, () => {
    const found = checkCompatible(machineOf({ id: "m", initial: "a", states: { a: state } }), {
      value,
      childSources: [],
    });
    assert.deepEqual(
      found.map(({ kind, where }) => `${kind} ${where}`),
      expect,
    );
    for (const { message } of found) assert.match(message, /\w/);
  });

test("a machine that had no states is not entered in silence", () => {
  const machine = machineOf({ id: "m", ...compound });
  assert.deepEqual(
    checkCompatible(machine, { value: {}, childSources: [] }).map(({ kind }) => kind),
    ["became compound"],
  );
});

const histories: { it: string; historyValue: Record<string, { id: string }[]>; expect: string[] }[] = [
  { it: "knows what it remembers", historyValue: { "order.paying.h": [{ id: "order.paying.cash" }] }, expect: [] },
  {
    it: "misses what is gone",
    historyValue: { "order.paying.h": [{ id: "order.paying.coin" }] },
    expect: ["order.paying.h"],
  },
  {
    it: "misses what moved out",
    historyValue: { "order.paying.h": [{ id: "order.idle" }] },
    expect: ["order.paying.h"],
  },
  { it: "does not mind when it is gone itself", historyValue: { "order.paying.old": [{ id: "order.x" }] }, expect: [] },
];
for (const { it, historyValue, expect } of histories)
  test(`a history ${it}`, () => {
    const found = checkCompatible(order(), { value: "idle", historyValue, childSources: [] });
    assert.deepEqual(
      found.map(({ where }) => where),
      expect,
    );
    for (const { kind } of found) assert.equal(kind, "history target gone");
  });

const inlineHost = machineOf({
  id: "m",
  initial: "a",
  states: { a: { invoke: [{ src: "named" }, { src: fromPromise(async () => 1) }] } },
});
const sources: { it: string; machine: AnyStateMachine; source: string; found: boolean }[] = [
  { it: "named", machine: order(), source: "pay", found: true },
  { it: "named, but gone", machine: order(), source: "ship", found: false },
  { it: "named as a method of all objects", machine: order(), source: "toString", found: false },
  { it: "inline", machine: inlineHost, source: "xstate.invoke.1.m.a", found: true },
  { it: "inline, but named now", machine: inlineHost, source: "xstate.invoke.0.m.a", found: false },
  { it: "inline, of a place that is gone", machine: inlineHost, source: "xstate.invoke.2.m.a", found: false },
  { it: "inline, of a state that is gone", machine: inlineHost, source: "xstate.invoke.0.m.b", found: false },
];
for (const { it, machine, source, found } of sources)
  test(`the logic of a child that is ${it} is ${found ? "found" : "missed"}`, () => {
    const value = machine === inlineHost ? "a" : "idle";
    const problems = checkCompatible(machine, { value, childSources: [source, source] });
    assert.deepEqual(
      problems.map(({ kind, where }) => [kind, where]),
      found ? [] : [["child logic gone", source]],
    );
  });
