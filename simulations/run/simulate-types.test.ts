/**
 * What the rules of a simulation may say of its actors: what is wrong does not compile. Each `@ts-expect-error` is such a
 * line, checked by the compiler (`npm run check`); what compiles beside it shows that the error is of that line alone.
 */
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { defineActor } from "../../runtime/index.ts";
import { type SimulateOptions, simulate } from "./simulate.ts";

const counter = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
  context: { n: 0 },
  initial: "counting",
  states: { counting: { on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } } } },
});
const workload = [
  { to: "counter/a", key: "make", first: true },
  { to: "counter/a", send: { type: "INC" }, key: "k" },
];

test("the rules of a simulation see the snapshots of its machines", async () => {
  const seen: number[] = [];
  await simulate({
    actors: { counter, versioned: defineActor(counter, { version: 2 }) },
    workload,
    seeds: 1,
    invariants: {
      "it is counted": ({ state }) => {
        seen.push(state("counter", "a")?.context.n ?? Number.NaN);
        return state("counter", "a")?.context.n === 1 && state("counter", "a")?.matches("counting");
      },
      "nobody made the other": ({ state }) => state("versioned", "a")?.context.n === undefined,
    },
    always: { "it counts up": ({ state }) => (state("counter", "a")?.context.n ?? 0) <= 1 },
  });
  expect(seen).toEqual([1]);
});

test("actors that each process makes for itself have types too", async () => {
  await simulate({
    actors: ({ node }) => ({ counter: defineActor(counter, { version: node === "n1" ? 1 : 1 }) }),
    workload,
    seeds: 1,
    invariants: { "it is counted": ({ state }) => state("counter", "a")?.context.n === 1 },
  });
});

test("the mistakes below do not compile", () => expect(mistakes).toBeTypeOf("function"));

async function mistakes(): Promise<void> {
  await simulate({
    actors: { counter },
    workload,
    invariants: {
      // @ts-expect-error: no such actor type
      a: ({ state }) => state("conuter", "a"),
      // @ts-expect-error: nothing of that name in the context
      b: ({ state }) => state("counter", "a")?.context.count,
      // @ts-expect-error: a number is no text
      c: ({ state }) => state("counter", "a")?.context.n.length,
      // @ts-expect-error: no such state
      d: ({ state }) => state("counter", "a")?.matches("resting"),
    },
    always: {
      // @ts-expect-error: nothing of that name in the context
      e: ({ state }) => state("counter", "a")?.context.count,
    },
  });
  await simulate({
    actors: () => ({ counter }),
    workload,
    // @ts-expect-error: no such actor type
    invariants: { a: ({ state }) => state("conuter", "a") },
  });
  // Where the types of the actors are not known, names and contexts are anybody's.
  const untyped: SimulateOptions = {
    actors: { counter },
    workload,
    invariants: { a: ({ state }) => state("any", "a")?.context.thing === 1 },
  };
  await simulate(untyped);
}
