/**
 * A fixed number of seeds of every suite. More of them: `npm run simulate`, or HOLDFAST_RUNS; HOLDFAST_SHRINK=0 leaves a failure
 * as it is.
 */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { explore } from "../run/explore.ts";
import { tellFailure, tellTotals } from "../run/report.ts";
import type { Suite } from "../run/suite.ts";
import { everyKind } from "../run/swarm.ts";
import { consensus } from "./consensus.ts";
import { suiteNamed, suites } from "./index.ts";

const asked = process.env.HOLDFAST_RUNS === undefined ? undefined : Number(process.env.HOLDFAST_RUNS);
const shrinkRuns = process.env.HOLDFAST_SHRINK === "0" ? 0 : 300;
/** What takes as long as several others says more in each run. */
const usual = (suite: Suite) => (suite.name === "jetstream" ? 6 : consensus.includes(suite) ? 5 : 12);
const seedsOf = (suite: Suite) => Array.from({ length: asked ?? usual(suite) }, (_, index) => index + 1);

describe("every rule holds in the suite", () => {
  for (const suite of suites) {
    test(suite.name, { timeout: asked === undefined ? 120_000 : 3_600_000 }, async () => {
      const seeds = seedsOf(suite);
      const explored = await explore(suite, { seeds, shrinkRuns });
      for (const failure of explored.failures)
        assert.fail(tellFailure(failure, `npx holdfast simulate ${suite.name} --seeds ${failure.plan.seed} --show`));
      assert.equal(explored.seeds, seeds.length);
      assert.ok(explored.met.size >= 8, `it met only ${explored.met.size} pairs of state and fault`);
      console.log(tellTotals(explored));
    });
  }
});

test("a plan is plain data: written to JSON and back it is the same run", async () => {
  for (const suite of suites) {
    const plan = suite.plan(9);
    const again = JSON.parse(JSON.stringify(plan)) as typeof plan;
    assert.equal((await suite.run(again)).traceHash, (await suite.run(plan)).traceHash, suite.name);
  }
});

test("in a hundred seeds of everything every kind of fault occurs", () => {
  const suite = suiteNamed("everything");
  const kinds = new Set(
    Array.from({ length: 100 }, (_, seed) => suite?.plan(seed).faults.map(({ kind }) => kind) ?? []).flat(),
  );
  assert.deepEqual([...kinds].sort(), [...everyKind].sort());
});
