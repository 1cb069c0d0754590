/** Exploring, shrinking, telling and keeping, on a suite that is nothing but a rule. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "vitest";
import { fromPromise, setup } from "xstate";
import { suiteNamed } from "../suites/index.ts";
import { drawDiagram } from "./diagram.ts";
import { explore } from "./explore.ts";
import type { Fault } from "./fault.ts";
import { FaultScheduleError } from "./inflict.ts";
import { tellCoverage, tellFailure } from "./report.ts";
import { checkScenario, readScenario, ScenarioError, writeScenario } from "./scenario.ts";
import { seedsIn, suiteOf } from "./simulate.ts";
import type { Plan, Suite } from "./suite.ts";
import { everyKind, swarm } from "./swarm.ts";

const cut = (at: number, forMs: number): Fault => ({ at, kind: "cut", args: { from: "n1", to: "store", forMs } });

/** Breaks when a cut of at least 100 ms meets a step number 3. */
const brittle: Suite = {
  name: "brittle",
  about: "breaks when a long cut meets step 3",
  plan: (seed) => ({
    seed,
    faults: [
      cut(1, 10),
      { at: 5, kind: "step", args: { node: "n1", byMs: 4 } },
      cut(9, seed >= 3 ? 1_600 : 20),
      cut(12, 5),
    ],
    steps: Array.from({ length: 9 }, (_, number) => ({ number })),
  }),
  run: async ({ faults, steps }: Plan) => {
    const isLong = faults.some((fault) => fault.kind === "cut" && fault.args.forMs >= 100);
    const broken = isLong && steps.some(({ number }) => number === 3);
    return {
      violations: broken ? [{ rule: "met", detail: "a long cut met step 3" }] : [],
      traceHash: String(faults.length),
      events: 1,
      virtualMs: 1,
      met: ["idle × cut"],
    };
  },
};

describe("exploring", () => {
  test("stops at the first failing seed, shrunk to what it takes", async () => {
    const explored = await explore(brittle, { seeds: seedsIn("1..10") });
    assert.equal(explored.seeds, 3);
    const [failure] = explored.failures;
    assert.ok(failure !== undefined);
    assert.deepEqual(failure.shrunk.plan.faults, [cut(9, 100)]);
    assert.deepEqual(failure.shrunk.plan.steps, [{ number: 3 }]);
    const text = tellFailure(failure, "do it again");
    for (const part of ["seed 3 of brittle", "4 faults -> 1, 9 steps -> 1", "at 9 ms: cut", "do it again"])
      assert.ok(text.includes(part), `${part} is missing in\n${text}`);
  });

  test("goes on to as many failures as it is told, and counts what was met", async () => {
    const explored = await explore(brittle, { seeds: seedsIn("1..10"), maxFailures: 4 });
    assert.deepEqual([explored.seeds, explored.failures.length], [6, 4]);
    assert.match(tellCoverage(explored.met), /^idle {2,}6$/m);
  });

  test("begins no seed after its time", async () => {
    let nowMs = 0;
    const explored = await explore(brittle, {
      seeds: [1, 2, 1, 2, 1, 2],
      forMs: 25,
      nowMs: () => {
        nowMs += 5;
        return nowMs;
      },
    });
    assert.equal(explored.seeds, 2);
  });
});

describe("a scenario file", () => {
  test("is the same run when it is read back", () => {
    const scenario = { suite: "brittle", plan: { ...brittle.plan(3), setup: { any: ["thing"] } }, breaks: "met" };
    assert.deepEqual(readScenario(writeScenario(scenario, { rule: "met", detail: "why" })), scenario);
  });

  test("keeps dates and the like in its steps, and writes what no document could hold", () => {
    const steps = [{ to: "a/1", send: { type: "AT", at: new Date(5), left: undefined, all: new Set([1n]) } }];
    const scenario = { suite: "brittle", plan: { seed: 1, faults: [], steps }, breaks: undefined };
    assert.deepEqual(readScenario(writeScenario(scenario)), scenario);
    const odd = [{ to: "a/1", send: { type: "AT", at: () => 1 } }];
    const plan = { seed: 1, faults: [], steps: odd };
    assert.match(writeScenario({ ...scenario, plan }), /step {"to":"a\/1","send":{"type":"AT"}}/);
  });

  test("tells what went otherwise", async () => {
    const plan = brittle.plan(3);
    assert.equal(await checkScenario({ suite: "brittle", plan, breaks: "met" }, brittle), "");
    assert.match(await checkScenario({ suite: "brittle", plan, breaks: undefined }, brittle), /^met: a long cut/);
    assert.match(await checkScenario({ suite: "brittle", plan: brittle.plan(1), breaks: "met" }, brittle), /all holds/);
  });

  test("that cannot be read says where", () => {
    assert.throws(
      () => readScenario("suite a\nseed 1\nstep {"),
      (error) => error instanceof ScenarioError && /line 3/.test(error.message),
    );
    assert.throws(() => readScenario("seed 1"), ScenarioError);
  });

  const folder = new URL("../scenarios/", import.meta.url);
  for (const file of readdirSync(folder)) {
    test(`${file} goes as it says`, async () => {
      const scenario = readScenario(readFileSync(new URL(file, folder), "utf8"));
      const suite = suiteNamed(scenario.suite);
      assert.ok(suite !== undefined, `there is no suite ${scenario.suite}`);
      assert.equal(await checkScenario(scenario, suite), "");
    });
  }
});

test("a schedule that names what is not there is refused before anything runs", async () => {
  const suite = suiteNamed("everything") as Suite;
  const plan = suite.plan(2);
  const faults: Fault[] = [{ at: 1, kind: "crash", args: { node: "n9" } }];
  await assert.rejects(
    suite.run({ ...plan, faults }),
    (error) => error instanceof FaultScheduleError && /n9, only n1/.test(error.message),
  );
});

test("a swarm draws the same schedule for a seed, and leaving a kind out leaves the others as they were", () => {
  const options = { nodes: ["n1", "n2"], clients: ["c1"], services: [], partitions: 2, untilMs: 5_000 };
  const all = swarm(5, { ...options, kinds: everyKind });
  assert.deepEqual(all, swarm(5, { ...options, kinds: everyKind }));
  const last = everyKind.at(-1);
  assert.deepEqual(
    swarm(5, { ...options, kinds: everyKind.slice(0, -1) }),
    all.filter(({ kind }) => kind !== last),
  );
});

test("a diagram holds every lane, the faults and the violation, and nothing that a page could run", async () => {
  const suite = suiteNamed("everything") as Suite;
  const { picture } = await suite.run(suite.plan(2), { picture: true });
  assert.ok(picture !== undefined);
  const html = drawDiagram({ ...picture, violations: [{ rule: "<script>", detail: "author.ada & more" }] });
  for (const part of ["n1", "n2", "n3", "store", "c1", "&lt;script&gt;", "all heals", "<svg"])
    assert.ok(html.includes(part), `${part} is missing`);
  assert.ok(!html.includes("<script>") && !/https?:/.test(html));
});

test("a diagram has a lane for a service, with what was asked of it, answered and lost", async () => {
  const machine = setup({ actors: { charge: fromPromise(async (): Promise<unknown> => undefined) } }).createMachine({
    initial: "paying",
    states: {
      paying: { invoke: { src: "charge", onDone: "paid", onError: { target: "paying", reenter: true } } },
      paid: {},
    },
  });
  const suite = suiteOf({
    actors: ({ service }) => ({
      order: machine.provide({
        actors: { charge: fromPromise(async () => service("bank")({ op: "charge" })) },
      }),
    }),
    services: { bank: () => "charged" },
    workload: [{ to: "order/a", key: "make" }],
    faults: [{ at: 0, kind: "service", args: { service: "bank", fault: "lose-answer", rate: 1, forMs: 1_000 } }],
  });
  const { picture } = await suite.run(suite.plan(1), { picture: true });
  const told = picture?.drawn.flatMap((one) =>
    one.kind === "message" && [one.from, one.to].includes("bank") ? [`${one.label}${one.lost ? ", lost" : ""}`] : [],
  );
  assert.deepEqual(told, ['{"op":"charge"}', "reply, lost", '{"op":"charge"}', "reply"]);
});
