/** `npm run soak [-- --events 100000 --minutes 10 --seed 1 --json]`: exit 0 when the books are right. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findNatsServers, howToGetOne } from "../../runtime/testing/nats-server.ts";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "100000" },
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const say = (line: string) => (values.json ? process.stderr : process.stdout).write(`${line}\n`);
if (findNatsServers().length === 0) {
  say(howToGetOne);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "holdfast-soak-"));
const result = await soak({
  events: Number(values.events),
  deadlineMs: Number(values.minutes) * 60_000,
  seed: Number(values.seed),
  folder,
  say,
});
const { troubles, outcomes, effects, differences } = result;
const list = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ") || "none";
say("");
say(`troubles   ${list(troubles)}`);
say(`outcomes   acknowledged ${result.acknowledged}; repeated under the same key after: ${list(outcomes)}`);
say(
  `effects    ${effects.accepted} accepted, ${effects.repeated} of them again under their key, ${effects.fenced} refused for a lower token`,
);
say(
  `speed      ${result.seconds.toFixed(0)} s, ${result.perSecond.toFixed(0)} events/s, longest wait ${(result.slowestMs / 1_000).toFixed(1)} s`,
);
for (const difference of differences.slice(0, 50)) say(`different: ${difference}`);
say(`acknowledged ${result.acknowledged} · lost ${result.lost} · doubled ${result.doubled}`);
if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
if (differences.length === 0) rmSync(folder, { recursive: true, force: true });
else say(`seed ${values.seed}; the hosts' logs are in ${folder}`);
process.exit(differences.length === 0 ? 0 : 1);
