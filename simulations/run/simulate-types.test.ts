/**
 * What the rules of a simulation may say of its actors: what is wrong does not compile. Each `@ts-expect-error` is such a
 * line, checked by the compiler (`npm run check`); what compiles beside it shows that the error is of that line alone.
 */
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { defineActor } from "../../runtime/index.ts";
import type { CallStep } from "./cluster.ts";
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

const basket = setup({
  types: {
    context: {} as { limit: number },
    input: {} as { limit: number },
    events: {} as { type: "ADD"; items: string[]; at: Date } | { type: "PAY"; amount?: number },
  },
}).createMachine({ context: ({ input }) => input, on: { ADD: {}, PAY: {} } });
const actors = { counter, basket, versioned: defineActor(counter, { version: 2 }) };
type ShopStep = CallStep<typeof actors>;

test("steps that are typed by the actors are taken: written down, drawn, and among others", async () => {
  const id = String(1);
  const steps: readonly ShopStep[] = [
    { to: "basket/a", create: { limit: 3 }, send: { type: "ADD", items: ["a", "b"], at: new Date(0) }, key: "k" },
    { to: "basket/a", send: { type: "PAY", amount: 5 }, waitMs: 20 },
    { to: `basket/${id}`, create: { limit: 1 }, key: "make", first: true },
    { to: "versioned/a", key: "make", first: true },
    { to: "versioned/a", send: { type: "INC" }, ...(id === "1" ? { key: "inc" } : { retries: 3 }) },
    { to: "basket/a", delete: true },
  ];
  await simulate({ actors, workload: steps, seeds: 1 });
  await simulate({ actors, workload: () => steps, seeds: 1 });
  await simulate({ actors, workload: [...steps, ...workload, { to: "counter/a", send: { type: "INC" } }], seeds: 1 });
  const untyped: readonly CallStep[] = workload;
  await simulate({ actors, workload: untyped, seeds: 1 });
});

test("the mistakes below do not compile", () => expect([mistakes, mistakenSteps]).toHaveLength(2));

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

function mistakenSteps(): readonly ShopStep[] {
  return [
    { to: "counter/a", send: { type: "INC" } },
    // @ts-expect-error: no such actor type
    { to: "conuter/a", send: { type: "INC" } },
    // @ts-expect-error: no such event
    { to: "counter/a", send: { type: "INK" } },
    // @ts-expect-error: an event of another actor
    { to: "counter/a", send: { type: "PAY" } },
    // @ts-expect-error: an amount is a number
    { to: "basket/a", send: { type: "PAY", amount: "5" } },
    // @ts-expect-error: a limit is a number
    { to: "basket/a", create: { limit: "5" } },
    // @ts-expect-error: no such field of a step
    { to: "counter/a", sned: { type: "INC" } },
    // @ts-expect-error: no id
    { to: "counter", send: { type: "INC" } },
  ];
}
