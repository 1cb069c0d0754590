/**
 * Models against the real servers: `npm run differential -- nats|redis [--operations 100000] [--seed 1] [--json]`, for NATS also
 * `[--version 2.15.1] [--servers 3]`. Ends with 1 when they disagree, and prints where. What was found: docs/differential.md.
 */
import { parseArgs } from "node:util";
import { runNats } from "./nats-run.ts";
import { runRedis } from "./redis-run.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    operations: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    version: { type: "string" },
    servers: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const operations = Number(values.operations);
const { seed, json } = values;
const models: Readonly<Record<string, () => Promise<boolean>>> = {
  nats,
  redis: () => runRedis({ operations, seed, json }),
};
const model = models[positionals[0] ?? ""];
if (model === undefined) {
  console.error(
    "usage: npm run differential -- nats|redis [--operations n] [--seed s] [--json], and for nats [--version v] [--servers 1|3]",
  );
  process.exitCode = 2;
} else process.exitCode = (await model()) ? 0 : 1;

async function nats(): Promise<boolean> {
  const servers = Number(values.servers);
  const results = await runNats({ operations, seed, version: values.version, servers });
  for (const { version, seconds, operations: done, byKind, disagreements, interrupted } of results) {
    const kinds = Object.fromEntries([...byKind].sort(([, a], [, b]) => b - a));
    if (json) {
      console.log(JSON.stringify({ version, seconds, operations: done, kinds, interrupted, disagreements }));
      continue;
    }
    console.log(
      `nats-server ${version}, ${servers} server(s), seed ${seed}: ${done} operations in ${seconds.toFixed(1)} s, ${disagreements.length} disagreements, ${interrupted} episodes ended by another leader`,
    );
    const counts = Object.entries(kinds).map(([name, count]) => `${name} ${count}`);
    console.log(`  ${counts.join(", ")}`);
    for (const one of disagreements) console.log(JSON.stringify(one, undefined, 1));
  }
  return results.length > 0 && results.every(({ disagreements }) => disagreements.length === 0);
}
