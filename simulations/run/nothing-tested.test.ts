/** Runs in which nothing was tested, by a mistake of whoever wrote them: each is refused, and says what to correct. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test, vi } from "vitest";
import { assign, createMachine, fromPromise, setup } from "xstate";
import type { Client } from "../../runtime/connect.ts";
import type { ActorTypes } from "../../runtime/runtime.ts";
import type { CallStep, Process } from "./cluster.ts";
import { ruleNames } from "./rules.ts";
import { type SimulateOptions, SimulationError, simulate } from "./simulate.ts";

const counter = setup({
  types: {
    context: {} as { n: unknown },
    events: {} as { type: "INC" } | { type: "BREAK" } | { type: "SPOIL" } | { type: "LOOK" },
  },
}).createMachine({
  context: { n: 0 },
  on: {
    INC: { actions: assign({ n: ({ context }) => Number(context.n) + 1 }) },
    BREAK: {
      actions: assign(() => {
        throw new Error("boom in my assign");
      }),
    },
    SPOIL: { actions: assign({ n: () => () => 1 }) },
    LOOK: {},
  },
});
const make: CallStep = { to: "counter/a", key: "make", first: true };
const send = (type: string): CallStep => ({ to: "counter/a", send: { type }, key: type });

const withEffect = (work: () => Promise<unknown>) =>
  setup({ actors: { work: fromPromise(work) } }).createMachine({
    initial: "working",
    states: { working: { invoke: { src: "work", onDone: "done", onError: "done" } }, done: {} },
  });

/** As from JavaScript: whatever is not right in the types, too. */
function simulated(options: object): Promise<unknown> {
  const right: SimulateOptions = { actors: { counter } as ActorTypes, workload: [make, send("INC")], seeds: [1, 2] };
  return simulate({ ...right, ...options });
}

async function reportOf(options: object): Promise<string> {
  const error = await simulated(options).then(
    () => assert.fail("all seeds hold"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SimulationError)) throw error;
  return error.message;
}

afterEach(() => vi.unstubAllEnvs());

describe("an effect that reaches for the real world, where the machine goes on after its error", () => {
  const culprits: Readonly<Record<string, () => Promise<unknown>>> = {
    setTimeout: () => new Promise((resolve) => setTimeout(resolve, 10)),
    fetch: () => fetch("http://127.0.0.1:1"),
    "setInterval, caught by the effect itself": async () => {
      try {
        return setInterval(() => {}, 10);
      } catch {
        return undefined;
      }
    },
  };
  for (const [it, work] of Object.entries(culprits)) {
    test(it, async () => {
      const options = { actors: { thing: withEffect(work) }, workload: [{ to: "thing/a", key: "make" }] };
      const text = await reportOf(options);
      assert.match(text, /breaks a rule: reached for the real world/);
      assert.match(text, new RegExp(`${it.split(",")[0]} was used during a simulated run`));
      assert.match(text, /at .*nothing-tested\.test\.ts:\d+/);
      await simulated({ ...options, except: ["reached for the real world"] });
    });
  }
});

describe("a step that is refused for good", () => {
  const refused: Readonly<Record<string, RegExp>> = {
    INK: /step 2, INK for counter\/a: UnknownEvent: .*INK/,
    BREAK: /step 2, BREAK for counter\/a: Rejected: .*boom in my assign/,
    SPOIL: /step 2, SPOIL for counter\/a: NotStorable: .*context\.n/,
  };
  for (const [type, expected] of Object.entries(refused)) {
    test(type, async () => {
      const text = await reportOf({ workload: [make, send(type)] });
      assert.match(text, /breaks a rule: step-refused/);
      assert.match(text, expected);
      await simulated({ workload: [make, send(type)], except: ["step-refused"] });
    });
  }

  for (const [type, expected] of Object.entries(refused)) {
    test(`${type}, by a workload that drives and looks away`, async () => {
      const drive = async ({ client }: { client(number: number): Client }) => {
        const actor = client(1).actor("counter", "a");
        await actor.create(undefined as never, { key: "make" });
        await actor.send({ type } as never, { key: type }).catch(() => {});
      };
      const text = await reportOf({ workload: { drive }, faults: [] });
      assert.match(text, /breaks a rule: step-refused/);
      assert.match(text, new RegExp(expected.source.replace("step 2, ", "")));
      await simulated({ workload: { drive }, faults: [], except: ["step-refused"] });
    });
  }

  test("a key that was used for something else", async () => {
    const text = await reportOf({ workload: [make, send("INC"), { ...send("LOOK"), key: "INC" }] });
    assert.match(text, /step 3, LOOK for counter\/a: KeyReused/);
  });

  test("an actor that is too large", async () => {
    const large = createMachine({ context: { n: "x".repeat(2_000_000) } });
    assert.match(await reportOf({ actors: { counter: large }, workload: [make] }), /step 1, create .*TooLarge/);
  });

  test("is told before the rule that is broken by it", async () => {
    const text = await reportOf({ workload: [make, send("INK")], invariants: { counted: () => "nothing counted" } });
    assert.match(text, /breaks a rule: step-refused/);
    assert.match(text, /also broken: counted\n {2}nothing counted/);
  });
});

describe("what is misspelt is refused, with what is right", () => {
  const mistakes: Readonly<Record<string, readonly [options: object, message: RegExp]>> = {
    "an invariant that is async": [{ invariants: { x: async () => false } }, /the rule "x" answers with a promise/],
    "an invariant that rejects": [
      { invariants: { x: () => Promise.reject(new Error("no")) } },
      /the rule "x" answers with a promise/,
    ],
    "a rule of every moment that is async": [{ always: { x: async () => false } }, /the rule "x" answers with/],
    "no seed": [{ seeds: [] }, /seeds: \[\] would test nothing; give how many, such as 100/],
    "nought seeds": [{ seeds: 0 }, /seeds: 0 would test nothing/],
    "seeds as a text": [{ seeds: "1..3" }, /seeds: "1\.\.3" would test nothing/],
    "a family of faults": [{ faults: ["partitons"] }, /no fault "partitons" \("partitions" was meant\?\): there are /],
    "a kind of fault": [
      { faults: [{ at: 1, kind: "crsh", args: { node: "n1" } }] },
      /no kind of fault "crsh" \("crash" was meant\?\)/,
    ],
    "an option": [{ invarients: { x: () => false } }, /no option "invarients" \("invariants" was meant\?\)/],
    "an argument of a fault": [
      { faults: [{ at: 1, kind: "crash", args: { node: "n1", restartAfter: 5 } }] },
      /no argument of the fault crash "restartAfter" .*there are node, point, nth, restartAfterMs/,
    ],
    "a setting of the hosts": [{ settings: { idelMs: 5 } }, /idelMs is no option; did you mean idleMs\?/],
    "a rule that is left out": [{ except: ["step-refusd"] }, /no rule "step-refusd" \("step-refused" was meant\?\)/],
    "a rule of one's own that is left out": [
      { invariants: { counted: () => true }, except: ["countd"] },
      /no rule "countd" \("counted" was meant\?\)/,
    ],
    "what a machine invokes": [
      { actors: { counter: createMachine({ id: "m", invoke: { src: "chrage" } }) } },
      /actors\.counter: "m" invokes "chrage", for which the machine has no logic/,
    ],
    "no workload": [{ workload: undefined }, /a simulation needs a workload/],
    "a field of a step": [
      { workload: [make, { to: "counter/a", sned: { type: "INC" } }] },
      /step 2 of the workload, \{"to".*no field "sned" \("send" was meant\?\)/,
    ],
    "a step for nobody": [{ workload: [{ key: "k" }] }, /step 1 of the workload, \{"key":"k"\}: it lacks `to`/],
    "a step for no id": [{ workload: [{ to: "counter" }] }, /step 1 .*its `to` is no actor: it is written as type\/id/],
    "a step that is drawn": [{ workload: () => [{ first: true }] }, /step 1 .*it lacks `to`/],
    "a workload that draws no steps": [{ workload: () => undefined }, /the workload must return an array of steps/],
    "a workload that is async": [{ workload: async () => [make] }, /must return an array of steps, not a promise/],
    "an actor type of a step": [
      { workload: [{ to: "conuter/a", key: "make" }] },
      /step 1 of the workload: there is no actor type "conuter" \("counter" was meant\?\): there are counter/,
    ],
    "an actor that nobody makes": [
      { workload: [make, { ...send("INC"), to: "counter/A" }] },
      /step 2 .*no step that creates "counter\/A" \("counter\/a" was meant\?\).*except: \["step-refused"\]/,
    ],
    "a wait beyond the end of the run": [
      { workload: [make, { ...send("INC"), waitMs: 86_400_000 }] },
      /wait 86400000 ms in all, .*machine\.provide\(\{ delays/,
    ],
    "a wait that is negative": [{ workload: [{ ...make, waitMs: -1 }] }, /step 1 .*its `waitMs` is no time/],
    "a client that is nobody": [
      { workload: [{ ...make, client: 0 }] },
      /step 1 .*its `client` is no whole number from 1/,
    ],
    "no actors": [{ actors: {} }, /a simulation needs actors/],
    "no nodes": [{ nodes: 0 }, /nodes is 0; it must be a whole number from 1/],
    "a rule that is no function": [{ invariants: { x: true } }, /invariants: "x" is no function that returns true/],
    "a service that is no function": [{ services: { bank: "charged" } }, /the service "bank" is no function/],
    "a service with the name of a node": [{ services: { n1: () => 1 } }, /a service cannot be called "n1"/],
    "a fault without an argument": [
      { faults: [{ at: 1, kind: "pause", args: { node: "n1" } }] },
      /the fault \{.*"pause".*\} lacks forMs, clock/,
    ],
    "a fault at a time that is a text": [
      { faults: [{ at: "1", kind: "crash", args: { node: "n1" } }] },
      /the fault \{.*\}: at must be a number/,
    ],
    "a service that an effect asks for, where the machine lives with its failure": [
      {
        actors: ({ service }: Process) => ({ counter: withEffect(() => service("bnk")({})) }),
        services: { bank: () => "charged" },
        workload: [make],
      },
      /no service "bnk" \("bank" was meant\?\): there are bank/,
    ],
    "an event without a type": [{ workload: [{ to: "counter/a", send: {} }] }, /step 1 .*its `send` lacks a `type`/],
  };
  for (const [it, [options, message]] of Object.entries(mistakes))
    test(it, () => expect(simulated(options)).rejects.toThrow(message));

  test("seeds of the environment that run backwards", async () => {
    vi.stubEnv("HOLDFAST_SEEDS", "5..1");
    await expect(simulated({})).rejects.toThrow(/from the lower to the higher, as 1\.\.500, not as 5\.\.1/);
  });

  test("a service that an invariant asks for", async () => {
    const services = { bank: () => "charged" };
    const calls = { x: ({ calls }: { calls(name: string): readonly unknown[] }) => calls("bnk").length === 0 };
    assert.match(
      await reportOf({ services, invariants: calls }),
      /no service "bnk" \("bank" was meant\?\): there are bank/,
    );
    const stored = { x: ({ stored }: { stored(...names: string[]): unknown }) => stored("bank", "k") === undefined };
    assert.match(await reportOf({ services, invariants: stored }), /no fenced\(\) service "bank": there is none/);
  });
});

test("rules that are there may be left out, one's own too", () =>
  simulated({
    invariants: { counted: () => false },
    always: { "at every moment": () => false },
    except: ["counted", "at every moment", "early", "parked"],
  }));

describe("a rule that asks for actors of a type that nobody gave is told which there are", () => {
  const conuter = ({ state }: { state(type: string, id: string): unknown }) => state("conuter", "a") === undefined;
  const said = /no actor type "conuter" \("counter" was meant\?\): there are counter/;
  test("in the end", async () => assert.match(await reportOf({ invariants: { x: conuter } }), said));
  test("at every moment", async () => assert.match(await reportOf({ always: { x: conuter } }), said));
});

test("every rule that a cluster is judged by may be named by `except`", () => {
  const named = /\brule(?:: | = .*\? "[\w-]+" : )"([\w-]+)"|\bviolated\("([\w-]+)"/g;
  const judges = ["rules", "answers", "log-rules", "register-rules", "story", "trace-rules", "cluster", "ambient"];
  const checkers = ["convergence", "linearizability", "parking", "replies", "revisions", "spans", "timers", "tokens"];
  const paths = [...judges.map((name) => `./${name}.ts`), ...checkers.map((name) => `../checkers/${name}.ts`)];
  const rules = paths.flatMap((path) => {
    const text = readFileSync(new URL(path, import.meta.url), "utf8");
    return [...text.matchAll(named)].map(([, rule, violated]) => rule ?? violated);
  });
  expect(rules.length).toBeGreaterThan(40);
  expect(rules.filter((rule) => !ruleNames.includes(rule ?? ""))).toEqual([]);
});

test("a rule that throws is told as that, with its line", async () => {
  const invariants = { x: () => (undefined as unknown as { y: string }).y.length > 0 };
  const said = /it threw TypeError: Cannot read .*'y'.* at .*nothing-tested\.test\.ts:\d+/;
  assert.match(await reportOf({ invariants }), said);
  assert.match(await reportOf({ always: invariants }), said);
});

test("a rule of assertions alone returns nothing, and holds", () =>
  simulated({ invariants: { "it is counted": () => expect(1).toBe(1), nothing: () => {} } }));
