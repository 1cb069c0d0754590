#!/usr/bin/env node
/**
 * Is the simulation any good? Each bug of the lists below, or of a patch file, is put into a copy of the sources, one at a
 * time; the property or suite that it names must fail there (a patch is tried against all of them). Beside it stands what
 * the plain unit tests make of the same bug. docs/guides/mutants.md says how to try a bug of one's own.
 *
 *   npm run mutants -- [--patch file …] [--only text] [--runs 2000] [--seconds 60] [--shrink 30] [--seed 1] [--jobs 2]
 *     [--no-units] [--json]
 *
 * Ends with 0 when every bug was caught, 1 when one was missed, 2 when one could not be planted.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({
  options: {
    patch: { type: "string", multiple: true, default: [] },
    only: { type: "string", default: "" },
    runs: { type: "string", default: "2000" },
    seconds: { type: "string", default: "60" },
    shrink: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
    "no-units": { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

/** Tests of single parts, by example: no simulation or property, no server, no process of their own. */
const unitTests = [
  /^runtime\/[^/]+\.test\.ts$/,
  /^(runtime\/(machine|host|testing|adapters\/memory)|coordinator)\/.*\.test\.ts$/,
];
/** Examples of the guides run in real time, and fail on a busy machine; another XState cannot share their process. */
const isAnother = /\.property\.test\.ts$|guide\.test\.ts$|readme\.test\.ts$|oldest-xstate\.test\.ts$/;
const startsServers = /"[^"]*\/(nats|redis)[.-](fixture|server)[^"]*"/;
/** After a bug is caught, so long for a smaller case of it. */
const shrinkMs = Number(values.shrink) * 1_000;
/** Of the property of schedules: far more than its tests take in CI. */
const scheduleRuns = 300;
const unitsMs = 180_000;
/** One process for all files of a bug: most of their time is loading the same modules. */
const inOneProcess = ["--pool", "forks", "--maxWorkers", "1", "--no-isolate", "--bail", "1"];

/** Where nothing else is named, the property of the protocol is what must find a bug. */
const lists = ["protocol", "schedule", "suites"].map((part) => `simulations/${part}/mutants/bugs.json`);
const listed = lists.flatMap((file) => JSON.parse(readFileSync(join(root, file), "utf8")));
/** What a patch is tried against, besides the protocol. */
const everyJudge = [...new Set(listed.flatMap(({ by }) => (by === undefined ? [] : [by])))];
/** Seeds of a suite of clusters. */
const suiteSeeds = 200;
const withoutServers = { NATS_SERVER: "none", CI: "false" };
const patches = values.patch.map((file) => ({ name: file, patch: resolve(file), breaks: "" }));
const bugs = patches.length > 0 ? patches : listed.filter(({ name }) => name.includes(values.only));

const results = [];
const waiting = [...bugs];
await checkUnits();
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
report();

/** A test that fails without any bug would seem to catch each of them. */
async function checkUnits() {
  if (values["no-units"] || bugs.length === 0) return;
  const { outcome, test, tests, seconds } = await judgeByUnits(root, bugs.flatMap(filesOf));
  if (outcome !== "missed") {
    console.error(`the unit tests do not pass without any bug: ${outcome}${test === undefined ? "" : ` by ${test}`}`);
    process.exit(2);
  }
  if (!values.json) console.log(`without any bug, ${tests} files of unit tests pass in ${seconds.toFixed(0)} s`);
}

async function work() {
  for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
    const result = await tryBug(bug);
    results.push(result);
    if (!values.json) console.log(lineOf(result));
  }
}

async function tryBug(bug) {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-mutant-"));
  try {
    const parts = ["runtime", "coordinator", "actors", "simulations", "docs", "README.md"];
    for (const part of [...parts, "package.json", "tsconfig.json", "vitest.config.ts"])
      if (existsSync(join(root, part))) cpSync(join(root, part), join(folder, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const problem = bug.patch === undefined ? replaceIn(folder, bug) : applyPatch(folder, bug.patch);
    if (problem !== undefined) return { name: bug.name, breaks: bug.breaks, planted: false, problem };
    const property = await judgeBy(folder, bug);
    const units = values["no-units"] ? undefined : await judgeByUnits(folder, filesOf(bug));
    return { name: bug.name, breaks: bug.breaks, planted: true, property, ...(units && { units }) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function replaceIn(folder, { file, find, replace }) {
  const text = readFileSync(join(folder, file), "utf8");
  if (text.split(find).length !== 2) return `what it replaces must stand in ${file} exactly once`;
  writeFileSync(
    join(folder, file),
    text.replace(find, () => replace),
  );
  return undefined;
}

function applyPatch(folder, file) {
  const applied = spawnSync("git", ["apply", "--whitespace=nowarn", file], { cwd: folder, encoding: "utf8" });
  return applied.status === 0 ? undefined : (applied.stderr || String(applied.error)).trim();
}

async function judgeBy(folder, { by, patch }) {
  if (patch === undefined) return by === undefined ? judgeByProperty(folder) : judgeByTest(folder, by);
  let judged = await judgeByProperty(folder);
  for (const each of everyJudge) {
    if (judged.caught) break;
    judged = await judgeByTest(folder, each);
  }
  return judged;
}

/** `by`: a test file or folder, or `suite:` and the name of a suite of the simulations. */
async function judgeByTest(folder, by) {
  const suite = /^suite:(.*)$/.exec(by)?.[1];
  const isRaft = by.startsWith("coordinator/raft/");
  const args =
    suite === undefined ? [by, "--bail", "1"] : ["simulations/suites/suites.test.ts", "-t", `suite ${suite}$`];
  const { output, seconds } = await run(folder, args, {
    HOLDFAST_SHRINK: "0",
    ...(suite !== undefined && { HOLDFAST_RUNS: String(suiteSeeds) }),
    ...(by === "simulations/schedule" && { HOLDFAST_RUNS: String(scheduleRuns), HOLDFAST_SEED: values.seed }),
    ...(isRaft && { RAFT_RUNS: "400", RAFT_SEED: values.seed }),
  });
  // A copy that does not even run has caught nothing.
  if (!/ FAIL /.test(output) || /Failed Suites/.test(output)) return { caught: false, output: output.slice(-2_000) };
  const found = /seed (\d+) of [a-z]+ breaks a rule: (\S+)/.exec(output);
  const rule = found?.[2] ?? /Error: (.{1,100})/.exec(output)?.[1] ?? by;
  return { caught: true, seeds: found === null ? undefined : Number(found[1]), seconds, rule };
}

async function judgeByProperty(folder) {
  const smallest = join(folder, "smallest.json");
  const { output } = await run(folder, ["simulations/protocol/protocol.test.ts"], {
    HOLDFAST_RUNS: values.runs,
    HOLDFAST_SEED: values.seed,
    HOLDFAST_CPU_MS: String(Number(values.seconds) * 1_000),
    HOLDFAST_SHRINK_MS: String(shrinkMs),
    HOLDFAST_CASE_OUT: smallest,
  });
  const first = /protocol: failed in case (\d+), after (\d+) ms of the processor/.exec(output);
  const rule = /rule: '([a-z-]+)'/.exec(output)?.[1] ?? (/WorldError/.test(output) ? "the world stopped" : undefined);
  // A copy that does not even run has caught nothing.
  if (first === null || rule === undefined) return { caught: false, output: output.slice(-2_000) };
  const steps = existsSync(smallest) ? stepsOf(JSON.parse(readFileSync(smallest, "utf8"))) : undefined;
  return { caught: true, seeds: Number(first[1]), seconds: Number(first[2]) / 1_000, rule, steps };
}

/** What somebody does in a case: a client's commands, and the troubles. */
function stepsOf({ clients, troubles }) {
  return clients.flat().length + troubles.length;
}

/** The tests of what loads a changed file; where the time is over before they are, nothing is known. */
async function judgeByUnits(folder, files) {
  const tests = unitTestsOf(folder, files);
  if (tests.length === 0) return { outcome: "missed", tests: 0, seconds: 0 };
  const { output, seconds, ended } = await run(folder, [...tests, ...inOneProcess], withoutServers, unitsMs);
  const test = /FAIL\s+(\S+)/.exec(output)?.[1];
  if (test !== undefined) {
    // What fails once may be the machine's fault.
    const again = await run(folder, [test, ...inOneProcess], withoutServers, unitsMs);
    return { outcome: / FAIL /.test(again.output) ? "caught" : "unsteady", tests: tests.length, seconds, test };
  }
  const outcome = ended === 0 ? "missed" : ended === undefined ? "unfinished" : "failed";
  return { outcome, tests: tests.length, seconds };
}

/** Which files a bug changes. */
function filesOf({ file, patch }) {
  if (patch === undefined) return [file];
  return [...readFileSync(patch, "utf8").matchAll(/^\+\+\+ b\/(\S+)/gm)].map(([, name]) => name);
}

/** Unit tests that load one of these files, by themselves or by what they import. */
function unitTestsOf(folder, changed) {
  const importers = new Map();
  for (const part of ["runtime", "coordinator", "actors", "simulations"]) {
    for (const name of readdirSync(join(folder, part), { recursive: true })) {
      if (!name.endsWith(".ts")) continue;
      const file = `${part}/${name}`;
      for (const [, target] of readFileSync(join(folder, file), "utf8").matchAll(/"(\.{1,2}\/[^"\n]+\.ts)"/g)) {
        const imported = join(dirname(file), target);
        importers.set(imported, [...(importers.get(imported) ?? []), file]);
      }
    }
  }
  const reached = new Set(changed);
  for (const file of reached) for (const importer of importers.get(file) ?? []) reached.add(importer);
  const isUnitTest = (file) =>
    unitTests.some((pattern) => pattern.test(file)) &&
    !isAnother.test(file) &&
    !startsServers.test(readFileSync(join(folder, file), "utf8"));
  return [...reached].filter(isUnitTest).sort();
}

function run(folder, args, environment, limitMs = 1_200_000) {
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const began = performance.now();
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(process.execPath, [vitest, "run", ...args], {
      cwd: folder,
      env: { ...process.env, NO_COLOR: "1", ...environment },
    });
    const limit = setTimeout(() => child.kill(), limitMs);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    // `ended`: the exit code; undefined when the time was over.
    child.on("close", (code) => {
      clearTimeout(limit);
      resolve({ output, seconds: (performance.now() - began) / 1_000, ended: code ?? undefined });
    });
  });
}

function lineOf({ name, planted, problem, property, units }) {
  if (!planted) return `NOT PLANTED  ${name}: ${problem}`;
  const { caught, seeds, seconds, rule, steps, output } = property;
  const byUnits =
    units === undefined
      ? ""
      : `; unit tests: ${units.test === undefined ? units.outcome : `${units.outcome} by ${units.test}`} (${units.tests} files, ${units.seconds.toFixed(0)} s)`;
  if (!caught) return `MISSED  ${name}${byUnits}\n${output}`;
  return `caught  ${name}: ${seeds ?? "?"} seeds, ${seconds.toFixed(1)} s, ${steps ?? "?"} steps (${rule})${byUnits}`;
}

function report() {
  const planted = results.filter((one) => one.planted);
  const caught = planted.filter(({ property }) => property.caught);
  const byUnits = planted.filter(({ units }) => units?.outcome === "caught");
  const unfinished = planted.filter(
    ({ units }) => units !== undefined && !["caught", "missed"].includes(units.outcome),
  );
  const steps = caught.flatMap(({ property }) => property.steps ?? []).sort((a, b) => a - b);
  const medianSteps = steps[Math.floor(steps.length / 2)];
  const summary = {
    planted: planted.length,
    caught: caught.length,
    byUnits: byUnits.length,
    unfinished: unfinished.length,
    medianSteps,
  };
  if (values.json) console.log(JSON.stringify({ seed: Number(values.seed), ...summary, results }));
  else {
    const units = values["no-units"]
      ? ""
      : `, by the unit tests ${byUnits.length}${unfinished.length === 0 ? "" : ` (${unfinished.length} not told)`}`;
    console.log(
      `planted ${planted.length}, caught ${caught.length}${units}; ${medianSteps ?? "no"} steps in the median`,
    );
  }
  process.exitCode =
    planted.length < results.length || results.length === 0 ? 2 : caught.length < planted.length ? 1 : 0;
}
