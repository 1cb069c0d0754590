/**
 * Jobs under random policies and troubles. `HOLDFAST_RUNS` sets how many cases, `HOLDFAST_SEED` which; a failure prints
 * both and the smallest case that still fails. `HOLDFAST_CASE=file` runs the one case in that file instead.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { test } from "vitest";
import type { Misfire, Overlap } from "../../coordinator/schedule/schedule.ts";
import type { Rates, Trouble } from "../protocol/case.ts";
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
});

const node = fc.integer({ min: 0, max: 1 });
const atMs = fc.integer({ min: 0, max: 20_000 });
const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  fc.record({
    kind: fc.constant("crash" as const),
    node,
    point: fc.integer({ min: 1, max: 600 }),
    restartAfterMs: fc.constantFrom(50, 1_000, 8_000),
  }),
  fc.record({
    kind: fc.constant("freeze" as const),
    node,
    point: fc.integer({ min: 1, max: 600 }),
    forMs: fc.constantFrom(30, 2_000, 9_000),
  }),
  fc.record({ kind: fc.constant("move" as const), atMs, partition: node, node, isTold: fc.boolean() }),
  fc.record({
    kind: fc.constant("cut" as const),
    atMs,
    node,
    from: fc.constantFrom("store" as const, "leases" as const),
    forMs: fc.constantFrom(500, 5_000),
  }),
  fc.record({
    kind: fc.constant("clock" as const),
    atMs,
    node,
    offsetMs: fc.constantFrom(-3_000, -500, 700, 3_000, 60_000),
  }),
);

const rate = fc.constantFrom(0, 0, 0.03, 0.15);
const rates: fc.Arbitrary<Rates> = fc.record({
  store: fc.record({
    write: fc.record({
      conflict: rate,
      "conflict-applied": rate,
      "unknown-applied": rate,
      "unknown-late": rate,
      "unknown-lost": rate,
      duplicate: rate,
      "slow-answer": fc.constantFrom(0, 0.02),
    }),
    read: fc.record({ unreachable: rate }),
    watch: fc.record({ slow: fc.constantFrom(0, 0.05), skip: rate }),
  }),
  request: fc.record({ "lose-reply": rate, duplicate: rate, "duplicate-late": rate, late: rate }),
  publish: fc.constant({}),
});

const anyCase: fc.Arbitrary<ScheduleCase> = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  jobs: fc.array(job, { minLength: 1, maxLength: 3 }),
  troubles: fc.array(trouble, { maxLength: 5 }),
  rates,
  replays: fc.integer({ min: 0, max: 8 }),
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
