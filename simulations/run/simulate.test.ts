/** Machines that are wrong, each found by ten lines; and the same made right, which hold. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, vi } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { effectOf } from "../../runtime/index.ts";
import type { ActorTypes } from "../../runtime/runtime.ts";
import type { Invariants, Process } from "./cluster.ts";
import { type SimulateOptions, SimulationError, simulate } from "./simulate.ts";

const counter = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
  context: { n: 0 },
  on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

/** Pays once when it is told to; what it calls arrives from outside. */
const orderWith = (charge: (args: { key: string }) => Promise<unknown>) =>
  setup({
    actors: { charge: fromPromise((args) => charge({ key: effectOf(args).key })) },
  }).createMachine({
    initial: "open",
    states: {
      open: { on: { PAY: "paying" } },
      paying: { invoke: { src: "charge", onDone: "paid", onError: "failed" } },
      paid: {},
      failed: {},
    },
  });

async function reportOf<TActors extends ActorTypes>(options: SimulateOptions<TActors>): Promise<string> {
  const error = await simulate(options).then(
    () => assert.fail("all seeds hold"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SimulationError)) throw error;
  return error.message;
}

const clicks = (key: boolean) => [
  { to: "counter/a", create: undefined, key: "make" },
  ...[1, 2, 3].map((n) => ({
    to: "counter/a",
    send: { type: "INC" },
    waitMs: 500,
    ...(key ? { key: `c${n}` } : { retries: 3 }),
  })),
];
const countsOnce: Invariants<{ counter: typeof counter }> = {
  "every click counts once": ({ state, steps }) =>
    (state("counter", "a")?.context.n ?? 0) <= steps.filter(({ step }) => step.send).length,
};

describe("a counter whose caller asks again without a key", () => {
  test("is found", async () => {
    const text = await reportOf({ actors: { counter }, workload: clicks(false), invariants: countsOnce });
    assert.match(text, /breaks a rule: retried-without-key/);
    assert.match(text, /INC for counter.a was meant once and applied \d times/);
    assert.match(text, /also broken: every click counts once\n {2}it does not hold when/);
    assert.match(text, /faults -> [0-4],/);
    assert.match(text, /HOLDFAST_SEEDS=\d+/);
    console.log(text);
  });

  test("holds when it gives each click a key", async () => {
    await simulate({ actors: { counter }, workload: clicks(true), invariants: countsOnce, seeds: 40 });
  });
});

test("a machine that keeps state outside its context is told that its runs do not repeat, and nothing is shrunk", async () => {
  let outside = 0;
  const leaky = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
    context: { n: 0 },
    on: { INC: { actions: assign({ n: () => ++outside }) } },
  });
  const report = await reportOf({ actors: { counter: leaky }, workload: clicks(true), invariants: countsOnce });
  assert.match(report, /the same seed did not give the same run again: something outside the context keeps state/);
});

describe("a rule that asks for what the whole workload does", () => {
  /** It forgets the third click. */
  const forgetful = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
    context: { n: 0 },
    on: { INC: { actions: assign({ n: ({ context }) => Math.min(context.n + 1, 2) }) } },
  });

  test("keeps the steps when it is broken without any of them too, and says so", async () => {
    const text = await reportOf({
      actors: { counter: forgetful },
      workload: clicks(true),
      invariants: { "three clicks are three": ({ state }) => state("counter", "a")?.context.n === 3 },
    });
    assert.match(text, /three clicks are three/);
    assert.match(text, /faults -> 0, 4 steps -> 4/);
    assert.match(text, /broken also when nobody does anything.*the steps are all there/s);
    assert.match(text, /sends {"type":"INC"} to counter\/a, key c3/);
  });

  test("is told so too when it asks for an actor that nobody makes", async () => {
    const text = await reportOf({
      actors: { counter },
      workload: clicks(true),
      invariants: { "the counter is there": ({ state }) => state("counter", "b") !== undefined },
    });
    assert.match(text, /broken also when nobody does anything/);
  });

  test("shrinks to the steps that it takes when it compares with what was done, and no fault is blamed", async () => {
    const text = await reportOf({
      actors: { counter: forgetful },
      workload: [...clicks(true), ...clicks(true).map((step) => ({ ...step, to: "counter/b" }))],
      invariants: {
        "every click counts": ({ state, steps }) => {
          const clicks = steps.filter(({ step }) => step.to === "counter/a" && step.send !== undefined);
          const counted = clicks.filter(({ outcome }) => outcome === "acknowledged").length;
          return (state("counter", "a")?.context.n ?? 0) === counted;
        },
      },
    });
    assert.match(text, /faults -> 0, 8 steps -> 4/);
    assert.match(text, /no fault is needed: these steps alone break it/);
    assert.doesNotMatch(text, /counter\/b/);
  });

  test("keeps the steps under faults, where fewer would break it by themselves", async () => {
    const text = await reportOf({
      actors: { counter },
      workload: clicks(false),
      invariants: { "three clicks are three": ({ state }) => state("counter", "a")?.context.n === 3 },
      except: ["retried-without-key"],
    });
    assert.match(text, /faults -> [1-4], 4 steps -> 4/);
    assert.match(text, /\n {2}it is broken also when nobody does anything.*the steps are all there/);
  });
});

describe("an effect that is not idempotent", () => {
  const order =
    (charge: (service: (request: unknown) => Promise<unknown>, key: string) => Promise<unknown>) =>
    (process: Process) => ({ order: orderWith(({ key }) => charge(process.service("bank"), key)) });
  const workload = [
    { to: "order/o1", create: undefined, key: "make" },
    { to: "order/o1", send: { type: "PAY" }, key: "pay" },
  ];

  test("is found", async () => {
    const text = await reportOf({
      actors: order((bank) => bank({ amount: 90 })),
      services: { bank: () => "charged" },
      workload,
      invariants: { "an order is charged once": ({ calls }) => calls("bank").length <= 1 },
    });
    assert.match(text, /breaks a rule: an order is charged once\n {2}it does not hold/);
    console.log(text);
  });

  test("holds when it carries its key and the bank remembers keys", async () => {
    const charged = (calls: readonly { readonly request: unknown }[]) =>
      new Set(calls.map(({ request }) => (request as { key: string }).key)).size;
    await simulate({
      actors: order((bank, key) => bank({ amount: 90, key })),
      services: { bank: () => "charged" },
      workload,
      invariants: { "an order is charged once": ({ calls }) => charged(calls("bank")) <= 1 },
      seeds: 40,
    });
  });
});

test("an effect that throws before it waits for anything has failed, and the machine goes on", async () => {
  const hasty = setup({
    actors: {
      work: fromPromise(() => {
        throw new Error("at once");
      }),
    },
  }).createMachine({
    initial: "working",
    states: { working: { invoke: { src: "work", onDone: "done", onError: "failed" } }, done: {}, failed: {} },
  });
  await simulate({
    actors: { hasty },
    workload: [{ to: "hasty/a", key: "make" }],
    invariants: { "it has failed": ({ state }) => state("hasty", "a")?.matches("failed") },
    seeds: 20,
  });
});

test("a rejection that nobody waits for is found", async () => {
  const text = await reportOf({
    actors: { counter },
    workload: {
      drive: async ({ actor }) => {
        await actor("counter", "a").create();
        void Promise.reject(new Error("forgotten"));
      },
    },
    faults: [],
  });
  assert.match(text, /unhandled-rejection/);
  assert.match(text, /forgotten/);
});

test("a failure is drawn where HOLDFAST_SHOW says, and else it is told how", async () => {
  const wrong = { actors: { counter }, workload: clicks(true), invariants: { "it is none": () => "there is one" } };
  assert.match(await reportOf(wrong), /HOLDFAST_SEEDS=1, and HOLDFAST_SHOW=simulation\.html draws it$/);
  const folder = mkdtempSync(join(tmpdir(), "holdfast-"));
  try {
    vi.stubEnv("HOLDFAST_SHOW", join(folder, "picture.html"));
    assert.match(await reportOf(wrong), /HOLDFAST_SEEDS=1\ndrawn: .*picture\.html$/);
    assert.match(readFileSync(join(folder, "picture.html"), "utf8"), /it is none/);
  } finally {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  }
});
