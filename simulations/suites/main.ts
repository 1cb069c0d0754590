/** `npm run simulate`: every suite for its share of the time, or those that are named. */
import { parseArgs } from "node:util";
import { explore } from "../run/explore.ts";
import { tellCoverage, tellFailure, tellTotals } from "../run/report.ts";
import { seedsIn } from "../run/simulate.ts";
import { suites } from "./index.ts";

const { values, positionals } = parseArgs({
  options: {
    seeds: { type: "string", default: "1..1000000" },
    for: { type: "string", default: "60" },
    coverage: { type: "boolean", default: false },
    failures: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const chosen = positionals.length === 0 ? suites : suites.filter(({ name }) => positionals.includes(name));
let failed = false;
let seeds = 0;
for (const suite of chosen) {
  const forMs = (Number(values.for) * 1_000) / chosen.length;
  const explored = await explore(suite, { seeds: seedsIn(values.seeds), forMs, maxFailures: Number(values.failures) });
  seeds += explored.seeds;
  failed ||= explored.failures.length > 0;
  console.log(tellTotals(explored));
  for (const failure of explored.failures)
    console.log(`\n${tellFailure(failure, `npx holdfast simulate ${suite.name} --seeds ${failure.plan.seed}`)}\n`);
  if (values.coverage) console.log(`${tellCoverage(explored.met)}\n`);
}
console.log(`${seeds.toLocaleString("en")} seeds over ${chosen.length} suites: ${failed ? "FAILED" : "0 violations"}`);
process.exitCode = failed ? 1 : 0;
