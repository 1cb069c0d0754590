import assert from "node:assert/strict";
import fc from "fast-check";
import { test, vi } from "vitest";
import { assign, setup } from "xstate";
import { callSteps, faultSchedules } from "./arbitraries.ts";
import { simulate } from "./run/simulate.ts";

const counter = setup({
  types: { context: {} as { n: number }, events: {} as { type: "ADD"; by: number } },
}).createMachine({
  context: { n: 0 },
  on: { ADD: { actions: assign({ n: ({ context, event }) => context.n + event.by }) } },
});

const events = fc.record({ type: fc.constant("ADD"), by: fc.integer({ min: 1, max: 9 }) });

function adds(keys: boolean) {
  const workload = callSteps({ actors: ["counter/a"], events, keys, maxLength: 8 });
  return fc.asyncProperty(faultSchedules(), workload, async (faults, steps) => {
    const sum = steps.reduce((total, { send }) => total + Number(send?.by ?? 0), 0);
    await simulate({
      actors: { counter },
      workload: steps,
      faults,
      invariants: { "nothing is added twice": ({ state }) => (state("counter", "a")?.context.n ?? 0) <= sum },
      seeds: [1],
    });
  });
}

test("a property over schedules and workloads holds for a machine that is right", async () => {
  await fc.assert(adds(true), { numRuns: 40, seed: 11 });
});

test("and fast-check shrinks the failure of callers that ask again without a key", async () => {
  const found = await fc.check(adds(false), { numRuns: 400, seed: 11 });
  assert.ok(found.failed);
  const [faults, steps] = found.counterexample ?? [[], []];
  assert.ok(faults.length <= 3 && steps.length <= 3, JSON.stringify(found.counterexample));
  assert.match(String(found.errorInstance), /retried-without-key|nothing is added twice/);
});

test("without fast-check the error names what to install", async () => {
  vi.resetModules();
  vi.doMock("fast-check", () => {
    throw new Error("Cannot find package 'fast-check'");
  });
  try {
    await assert.rejects(import("./arbitraries.ts"), { code: "FastCheckMissing", message: /npm install .*fast-check/ });
  } finally {
    vi.doUnmock("fast-check");
  }
});
