/** What the model of NATS is for: power that is lost without `sync_interval: always` takes acknowledged writes, and that is noticed. */
import assert from "node:assert/strict";
import { test } from "vitest";
import type { Plan } from "../run/suite.ts";
import { type Deployment, jetstreamSuite } from "./jetstream.ts";

const losingPower = (seed: number, synced: boolean): Plan => ({
  ...jetstreamSuite.plan(seed),
  setup: { version: "2.15.1", servers: 1, synced } satisfies Deployment,
  faults: [{ at: 6_000, kind: "nats", args: { fault: "power", rate: 0, forMs: 200 } }],
});

test("power that is lost takes nothing from servers that sync always", async () => {
  for (const seed of [1, 2, 3]) assert.deepEqual((await jetstreamSuite.run(losingPower(seed, true))).violations, []);
});

test("without that, what was acknowledged is lost, and the hosts say so and stop", async () => {
  const { violations, lines = [] } = await jetstreamSuite.run(losingPower(1, false), { trace: true });
  assert.ok(
    lines.some((line) => /lost \d+ changes that were not on the disk/.test(line)),
    "nothing was lost",
  );
  const alarms = violations.filter(({ rule }) => rule === "alarm").map(({ detail }) => detail);
  assert.ok(
    alarms.some((detail) => /StoreWentBack|StoreReplaced/.test(detail)),
    violations.map(({ rule, detail }) => `${rule}: ${detail.slice(0, 300)}`).join("\n"),
  );
});
