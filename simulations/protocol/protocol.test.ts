/**
 * The protocol against random machines, workloads and troubles. `HOLDFAST_RUNS` sets how many, `HOLDFAST_SEED` which;
 * a failure prints both and the smallest case that still fails. `HOLDFAST_CASE=file` runs the one case in that file
 * instead (a failure writes it there if `HOLDFAST_CASE_OUT` names one) and leaves the whole trace beside it.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { test } from "vitest";
import { anyCase } from "./any-case.ts";
import { type Case, runCase } from "./case.ts";

const runs = Number(process.env.HOLDFAST_RUNS ?? 1_000);
/** Of the processor: how long a smaller case is looked for after a failure, and how long a first failure. */
const shrinkMs = Number(process.env.HOLDFAST_SHRINK_MS ?? 600_000);
const mostCpuMs = Number(process.env.HOLDFAST_CPU_MS ?? 1_000_000);
const seed = Number(process.env.HOLDFAST_SEED ?? 20_260_101);

const caseFile = process.env.HOLDFAST_CASE;

if (caseFile === undefined) {
  test(`R1 to R7 hold for ${runs} random machines, workloads and troubles, seed ${seed}`, checkProperty, 1_200_000);
} else {
  test("the case of HOLDFAST_CASE", () => replayCase(caseFile));
}

async function checkProperty(): Promise<void> {
  let count = 0;
  let failedAtMs: number | undefined;
  let isOutOfTime = false;
  const property = fc.asyncProperty(anyCase, async (given) => {
    isOutOfTime ||= cpuMs() > (failedAtMs === undefined ? mostCpuMs : failedAtMs + shrinkMs);
    if (isOutOfTime) return;
    count++;
    try {
      const { violations } = await runCase(given);
      assert.deepEqual(violations.slice(0, 8), []);
    } catch (error) {
      if (failedAtMs === undefined) {
        failedAtMs = cpuMs();
        console.log(`protocol: failed in case ${count}, after ${Math.round(failedAtMs)} ms of the processor`);
      }
      throw error;
    }
  });
  const details = await fc.check(property, {
    seed,
    numRuns: runs,
    interruptAfterTimeLimit: 1_000_000,
    endOnFailure: shrinkMs === 0,
  });
  console.log(
    `protocol: ${isOutOfTime ? count : details.numRuns} cases, seed ${seed}${details.failed ? ", FAILED" : ""}`,
  );
  // Cut short by the time limit, it would have shown less than its name says.
  if (!details.failed) return assert.equal(isOutOfTime ? count : details.numRuns, runs);
  const smallest = JSON.stringify(details.counterexample?.[0]);
  if (process.env.HOLDFAST_CASE_OUT !== undefined) writeFileSync(process.env.HOLDFAST_CASE_OUT, smallest);
  assert.fail(
    `seed ${seed}, path ${details.counterexamplePath}, after ${count} runs: HOLDFAST_SEED=${seed} npx vitest run simulations/protocol/protocol.test.ts\n${String((details.errorInstance as Error | undefined)?.message)}\n${smallest}`,
  );
}

/** Since the worker began; on a busy machine much less than what the clock says. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

async function replayCase(file: string): Promise<void> {
  const given = JSON.parse(readFileSync(file, "utf8")) as Case;
  const { world, violations } = await runCase(given, true);
  writeFileSync(`${file}.trace`, world.trace.lines().join("\n"));
  writeFileSync(`${file}.log`, world.store.log.map((change) => JSON.stringify(change)).join("\n"));
  assert.deepEqual(violations, []);
}
