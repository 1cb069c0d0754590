/** What keeps a run from coming to rest, and is said so; and what lives on and does not. */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { assign, fromCallback, fromObservable, fromPromise, setup } from "xstate";
import { defineActor } from "../../runtime/index.ts";
import type { ActorTypes } from "../../runtime/runtime.ts";
import { type SimulateOptions, simulate } from "./simulate.ts";

const run = (machine: ActorTypes[string], options: object = {}) =>
  simulate({ actors: { thing: machine }, workload: [{ to: "thing/a", key: "make" }], seeds: 3, ...options });

async function reportOf(machine: ActorTypes[string], options: Partial<SimulateOptions> = {}): Promise<string> {
  return run(machine, options).then(
    () => assert.fail("all seeds hold"),
    ({ message }: Error) => message,
  );
}

describe("what lives as long as its actor is no work that must end", () => {
  test("a callback", () =>
    run(
      setup({
        types: { context: {} as { n: number }, events: {} as { type: "HOOK" } },
        actors: { hooks: fromCallback(({ sendBack }) => sendBack({ type: "HOOK" })) },
      }).createMachine({
        context: { n: 0 },
        invoke: { src: "hooks" },
        on: { HOOK: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
      }),
    ));
  test("an observable", () =>
    run(
      setup({
        types: { context: {} as { n: number } },
        actors: { usage: fromObservable(() => ({ subscribe: () => ({ unsubscribe: () => {} }) })) },
      }).createMachine({
        context: { n: 0 },
        invoke: { src: "usage", onSnapshot: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
      }),
    ));
});

test("work that never ends is named", async () => {
  const waiting = setup({ actors: { charge: fromPromise(() => new Promise(() => {})) } }).createMachine({
    initial: "paying",
    states: { paying: { invoke: { src: "charge", onDone: "paid" } }, paid: {} },
  });
  const text = await reportOf(defineActor(waiting, { effects: { charge: { timeoutMs: 86_400_000 } } }));
  assert.match(text, /breaks a rule: never-at-rest/);
  assert.match(text, /after \d+ virtual seconds: thing\.a: the invoked work "charge" has not ended\n/);
});

test("a workload that never ends is named, and so is a step that is not done", async () => {
  const idle = setup({}).createMachine({});
  const driven = await reportOf(idle, { workload: { drive: () => new Promise(() => {}) } });
  assert.match(driven, /virtual seconds: the workload's `drive` has not ended: what it awaits does not come/);
});

test("who is parked waits for a person: the rule that says so is the one that is broken", async () => {
  const failing = setup({
    actions: {
      mail: () => {
        throw new Error("smtp down");
      },
    },
  }).createMachine({ entry: "mail" });
  const text = await reportOf(failing);
  assert.match(text, /breaks a rule: parked\n.*\n {2}thing\.a: action, at revision \d+: smtp down\n/);
  assert.doesNotMatch(text, /never-at-rest/);
});
