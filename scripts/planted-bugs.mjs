#!/usr/bin/env node
/**
 * Are the properties any good? Each bug of simulations/<suite>/planted/bugs.json is put into a copy of the sources, one at
 * a time, and the property of that suite must fail there within a bounded number of random cases.
 *
 *   node scripts/planted-bugs.mjs [--suite protocol] [--runs 5000] [--seed 1] [--only text] [--jobs 2] [--json]
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5000" },
    seed: { type: "string", default: "1" },
    suite: { type: "string", default: "protocol,schedule" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const bugs = values.suite.split(",").flatMap((suite) => {
  const text = readFileSync(join(root, `simulations/${suite}/planted/bugs.json`), "utf8");
  return JSON.parse(text).map((bug) => ({ ...bug, suite }));
});
const chosen = bugs.filter(({ name }) => name.includes(values.only));

const results = [];
const waiting = [...chosen];
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
const missed = results.filter(({ found }) => !found);
if (values.json) console.log(JSON.stringify({ runs: Number(values.runs), seed: Number(values.seed), results }));
else
  console.log(
    `planted ${results.length} · found ${results.length - missed.length} · missed ${missed.length}, seed ${values.seed}`,
  );
process.exitCode = missed.length === 0 && results.length > 0 ? 0 : 1;

async function work() {
  for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
    const result = await tryBug(bug);
    results.push(result);
    if (!values.json)
      console.log(
        `${result.found ? `found in ${String(result.cases).padStart(4)} cases` : "NOT FOUND         "}  ${bug.name}${result.found ? `  (${result.rule})` : `\n${result.output}`}`,
      );
  }
}

async function tryBug({ name, suite, file, find, replace, breaks }) {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-planted-"));
  try {
    const parts = [
      "runtime",
      "coordinator",
      "actors",
      "simulations",
      "package.json",
      "tsconfig.json",
      "vitest.config.ts",
    ];
    for (const part of parts) {
      cpSync(join(root, part), join(folder, part), { recursive: true });
    }
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const text = readFileSync(join(folder, file), "utf8");
    if (text.split(find).length !== 2) throw new Error(`${name}: what it replaces must stand in ${file} exactly once`);
    writeFileSync(
      join(folder, file),
      text.replace(find, () => replace),
    );
    const output = await runProperty(folder, suite);
    const cases = Number(/(?:protocol|schedule): (\d+) cases/.exec(output)?.[1] ?? 0);
    const rule = /rule: '([a-z-]+)'/.exec(output)?.[1] ?? (/WorldError/.test(output) ? "the world stopped" : undefined);
    // A copy that does not even run has found nothing.
    const found = cases > 0 && rule !== undefined && /FAILED/.test(output);
    return { name, breaks, found, cases, rule, output: found ? "" : output.slice(-2_000) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runProperty(folder, suite) {
  const env = {
    ...process.env,
    HOLDFAST_RUNS: values.runs,
    HOLDFAST_SEED: values.seed,
    HOLDFAST_SHRINK: "0",
    NO_COLOR: "1",
  };
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(process.execPath, [vitest, "run", `simulations/${suite}/${suite}.test.ts`], {
      cwd: folder,
      env,
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    child.on("close", () => resolve(output));
  });
}
