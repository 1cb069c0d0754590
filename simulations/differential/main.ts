/**
 * Models against the real servers: `npm run differential -- nats --operations 100000 [--seed 1] [--version 2.15.1]
 * [--servers 3] [--json]`. Ends with 1 when they disagree, and prints where. What was found is in docs/differential.md.
 */
import { parseArgs } from "node:util";
import { runNats } from "./nats-run.ts";

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
const [what] = positionals;
if (what !== "nats") {
  console.error(
    "usage: npm run differential -- nats [--operations n] [--seed s] [--version v] [--servers 1|3] [--json]",
  );
  process.exitCode = 2;
} else {
  const results = await runNats({
    operations: Number(values.operations),
    seed: values.seed,
    version: values.version,
    servers: Number(values.servers),
  });
  for (const { version, seconds, operations, byKind, disagreements } of results) {
    const kinds = Object.fromEntries([...byKind].sort(([, a], [, b]) => b - a));
    if (values.json) console.log(JSON.stringify({ version, seconds, operations, kinds, disagreements }));
    else {
      console.log(
        `nats-server ${version}, ${values.servers} server(s), seed ${values.seed}: ${operations} operations in ${seconds.toFixed(1)} s, ${disagreements.length} disagreements`,
      );
      console.log(
        `  ${Object.entries(kinds)
          .map(([name, count]) => `${name} ${count}`)
          .join(", ")}`,
      );
      for (const one of disagreements) console.log(JSON.stringify(one, undefined, 1));
    }
  }
  process.exitCode = results.every(({ disagreements }) => disagreements.length === 0) && results.length > 0 ? 0 : 1;
}
