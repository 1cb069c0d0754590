/**
 * Jobs under random policies and troubles. `HOLDFAST_RUNS` sets how many cases, `HOLDFAST_SEED` which; a failure prints
 * both and the smallest case that still fails. `HOLDFAST_CASE=file` runs the one case in that file instead.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { test } from "vitest";
import type { Misfire, Overlap } from "../../coordinator/schedule/schedule.ts";
import {
  anyClockJump,
  anyCrash,
  anyCut,
  anyFreeze,
  anyMove,
  anyRate,
  anyWatchFaults,
  anyWriteFaults,
} from "../protocol/any-trouble.ts";
import type { Rates } from "../protocol/case.ts";
import { type JobSpec, runSchedule, type ScheduleCase } from "./case.ts";

const runs = Number(process.env.HOLDFAST_RUNS ?? 20);
const seed = Number(process.env.HOLDFAST_SEED ?? 20_260_101);

const job: fc.Arbitrary<JobSpec> = fc.record({
  everyMs: fc.constantFrom(500, 1_000, 1_000, 2_000),
  jitterMs: fc.constantFrom(0, 0, 300),
  misfire: fc.constantFrom<Misfire>("fireLatest", "skip", { fireAll: 3 }, { fireAll: 100 }),
  overlap: fc.constantFrom<Overlap>("skip", "bufferOne", "bufferAll", "cancelOther", "terminateOther", "allowAll"),
  catchUpMs: fc.constantFrom(3_000, 600_000),
  graceMs: fc.constantFrom(0, 200, 1_000),
  workMs: fc.constantFrom(0, 20, 700, 2_600),
  failsOneIn: fc.constantFrom(0, 0, 3),
  elsewhere: fc.option(
    fc.record({
      everyMs: fc.constantFrom(500, 1_000, 3_000, 3_600_000),
      overlap: fc.constantFrom<Overlap>("skip", "bufferAll", "cancelOther", "terminateOther", "allowAll"),
    }),
    { freq: 3, nil: undefined },
  ),
});

const trouble = fc.oneof(
  anyCrash(600),
  anyFreeze(600, 9_000),
  anyMove(20_000),
  anyCut(20_000),
  anyClockJump(20_000, -3_000, -500, 700, 3_000, 60_000),
);

const rates: fc.Arbitrary<Rates> = fc.record({
  store: fc.record({
    write: fc.record(anyWriteFaults),
    read: fc.record({ unreachable: anyRate }),
    watch: anyWatchFaults,
  }),
  request: fc.record({ "lose-reply": anyRate, duplicate: anyRate, "duplicate-late": anyRate, late: anyRate }),
  publish: fc.constant({}),
});

const anyCase: fc.Arbitrary<ScheduleCase> = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  jobs: fc.array(job, { minLength: 1, maxLength: 3 }),
  troubles: fc.array(trouble, { maxLength: 5 }),
  rates,
  replays: fc.integer({ min: 0, max: 8 }),
  interventions: fc.integer({ min: 0, max: 8 }),
});

const caseFile = process.env.HOLDFAST_CASE;

if (caseFile === undefined) {
  test(`no slot is done twice or lost unseen in ${runs} random cases, seed ${seed}`, checkProperty, 1_200_000);
} else {
  test("the case of HOLDFAST_CASE", async () => {
    const { world, violations } = await runSchedule(JSON.parse(readFileSync(caseFile, "utf8")) as ScheduleCase, true);
    writeFileSync(`${caseFile}.trace`, world.trace.lines().join("\n"));
    assert.deepEqual(violations, []);
  });
}

async function checkProperty(): Promise<void> {
  let slots = 0;
  const property = fc.asyncProperty(anyCase, async (given) => {
    const outcome = await runSchedule(given);
    slots += outcome.slots;
    assert.deepEqual(outcome.violations.slice(0, 8), []);
  });
  const details = await fc.check(property, {
    seed,
    numRuns: runs,
    interruptAfterTimeLimit: 1_000_000,
    endOnFailure: process.env.HOLDFAST_SHRINK === "0",
  });
  console.log(`schedule: ${details.numRuns} cases, ${slots} slots, seed ${seed}${details.failed ? ", FAILED" : ""}`);
  if (!details.failed) return assert.equal(details.numRuns, runs);
  const smallest = JSON.stringify(details.counterexample?.[0]);
  if (process.env.HOLDFAST_CASE_OUT !== undefined) writeFileSync(process.env.HOLDFAST_CASE_OUT, smallest);
  assert.fail(
    `seed ${seed}, path ${details.counterexamplePath}: HOLDFAST_SEED=${seed} npx vitest run simulations/schedule/schedule.test.ts\n${String((details.errorInstance as Error | undefined)?.message)}\n${smallest}`,
  );
}
