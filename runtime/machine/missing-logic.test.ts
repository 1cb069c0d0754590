/** Which missing logic is found, for the oldest and the newest XState, and which of it lies where nothing leads. */
import { describe, expect, test } from "vitest";
import * as newest from "xstate";
import * as oldest from "xstate-oldest";
import { missingLogic } from "./missing-logic.ts";

const nope = { invoke: { src: "nope" } };
const states = (states: object, more: object = {}) => ({ id: "m", initial: "a", states, ...more });

/** By what is written: the states that invoke what is missing and are entered, and those to which nothing leads. */
const cases: readonly [it: string, config: object, reached: readonly string[], unreached?: readonly string[]][] = [
  ["the root", { id: "m", ...nope }, ["m"]],
  ["the first state", states({ a: nope }), ["m.a"]],
  ["a target", states({ a: { on: { GO: "b" } }, b: nope, c: nope }), ["m.b"], ["m.c"]],
  ["a target by its id", states({ a: { on: { GO: "#x" } }, b: { ...nope, id: "x" } }), ["x"]],
  ["what a timer leads to", states({ a: { after: { 10: "b" } }, b: nope }), ["m.b"]],
  ["what a guard leads to", states({ a: { always: { guard: "maybe", target: "b" } }, b: nope }), ["m.b"]],
  [
    "what the end of others leads to",
    states({ a: { invoke: { src: "known", onDone: "b", onError: "c" } }, b: nope, c: nope }),
    ["m.b", "m.c"],
  ],
  ["what only unreached states lead to", states({ a: {}, b: { on: { GO: "c" } }, c: nope }), [], ["m.c"]],
  [
    "a state inside, but not what would come first there",
    states({ a: { on: { GO: "b.y" } }, b: { initial: "x", states: { x: nope, y: nope } } }),
    ["m.b.y"],
    ["m.b.x"],
  ],
  [
    "what comes first there, when the outer state is a target too",
    states({ a: { on: { GO: "b.y", ALL: "b" } }, b: { initial: "x", states: { x: nope, y: nope } } }),
    ["m.b.x", "m.b.y"],
  ],
  ["what an outer state leads to", states({ a: {}, b: nope }, { on: { GO: ".b" } }), ["m.b"]],
  [
    "regions beside the one that is entered",
    states({
      a: { on: { GO: "p.q.two" } },
      p: {
        type: "parallel",
        states: { q: { initial: "one", states: { one: nope, two: {} } }, r: { initial: "one", states: { one: nope } } },
      },
    }),
    ["m.p.r.one"],
    ["m.p.q.one"],
  ],
  [
    "the default of a history",
    states({
      a: { on: { GO: "b.past", FAR: "c.past" } },
      b: { initial: "x", states: { x: {}, y: nope, z: nope, past: { type: "history", target: "y" } } },
      c: { initial: "x", states: { x: nope, past: { type: "history" } } },
    }),
    ["m.b.y", "m.c.x"],
    ["m.b.z"],
  ],
  ["one of several invocations", states({ a: { invoke: [{ src: "known" }, { src: "nope" }] } }), ["m.a"]],
];

describe.each([
  ["newest", newest],
  ["oldest", oldest as unknown as typeof newest],
])("with the %s XState", (_name, { createMachine, fromPromise, setup }) => {
  const known = fromPromise(async () => 1);
  const missingIn = (config: object) =>
    missingLogic(
      createMachine(config as never).provide({ actors: { known } as never, guards: { maybe: () => true } as never }),
    );
  const statesIn = (told: readonly string[]) => told.map((one) => /^"([^"]+)" invokes/.exec(one)?.[1]);

  test.each(cases)("%s", (_it, config, reached, unreached = []) => {
    const missing = missingIn(config);
    expect([statesIn(missing.reached), statesIn(missing.unreached)]).toEqual([reached, unreached]);
  });

  test("says what is missing, and what was meant", () => {
    expect(missingIn({ id: "m", invoke: { src: "knwon" } }).reached).toEqual([
      '"m" invokes "knwon" (did you mean known?), for which the machine has no logic; give it in setup({ actors })',
    ]);
    const forgotten = createMachine({ id: "m", invoke: { src: undefined as never } });
    expect(missingLogic(forgotten).reached).toEqual([
      '"m" invokes undefined, which is no logic: is its import missing?',
    ]);
  });

  test("machines in the machine are looked through, one that holds itself too", () => {
    const child = createMachine({ id: "kid", invoke: { src: "nope" } });
    const named = setup({ actors: { child } }).createMachine({ invoke: { src: "child" } });
    expect(statesIn(missingLogic(named).reached)).toEqual(["kid"]);
    expect(statesIn(missingLogic(createMachine({ invoke: { src: child } })).reached)).toEqual(["kid"]);
    const actors: Record<string, never> = {};
    const itself = createMachine({ id: "m", invoke: { src: "itself" } }).provide({ actors });
    (itself.implementations.actors as Record<string, unknown>).itself = itself;
    expect(missingLogic(itself)).toEqual({ reached: [], unreached: [] });
  });

  test("what was provided later is there; of a name of Object's own nothing is", () => {
    const machine = createMachine({ id: "m", invoke: { src: "later" } });
    expect(statesIn(missingLogic(machine).reached)).toEqual(["m"]);
    expect(missingLogic(machine.provide({ actors: { later: known } as never })).reached).toEqual([]);
    expect(statesIn(missingIn({ id: "m", invoke: { src: "constructor" } }).reached)).toEqual(["m"]);
  });
});

test("logic that is no machine invokes nothing", () =>
  expect(missingLogic(newest.fromPromise(async () => 1))).toEqual({ reached: [], unreached: [] }));
