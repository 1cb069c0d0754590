/** How long an every-second job stands still when its owner dies: the lease's own delay, and at most one period more. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { checkSuccessions } from "../checkers/succession.ts";
import { type JobSpec, leaseTtlMs, runSchedule, successionsOf, takeoversOf } from "./case.ts";

const everySecond: JobSpec = {
  everyMs: 1_000,
  jitterMs: 0,
  misfire: "fireLatest",
  overlap: "skip",
  catchUpMs: 600_000,
  graceMs: 1_000,
  workMs: 5,
  failsOneIn: 0,
};

test("from an owner's death to the next tick are a time to live and a second, from the new owner's grant a period", async () => {
  const toTick: number[] = [];
  const beyond: number[] = [];
  for (let seed = 1; seed <= 12; seed++) {
    const outcome = await runSchedule({
      seed,
      jobs: [everySecond, everySecond],
      troubles: [{ kind: "crash", node: seed % 2, point: 100 + seed * 13, restartAfterMs: 30_000 }],
      rates: { store: {}, request: {}, publish: {} },
      replays: 0,
    });
    assert.deepEqual(outcome.violations, []);
    for (const { toTickMs } of takeoversOf(outcome)) toTick.push(toTickMs);
    const rule = { ttlMs: leaseTtlMs, troubles: [], endMs: outcome.world.nowMs };
    const { beyondMs, violations } = checkSuccessions(successionsOf(outcome), rule);
    assert.deepEqual(violations, []);
    beyond.push(...beyondMs);
  }
  const at = (all: number[], share: number) =>
    Math.round(all.sort((a, b) => a - b)[Math.floor((all.length - 1) * share)] ?? 0);
  const line = (all: number[]) => `p50 ${at(all, 0.5)} ms, p99 ${at(all, 0.99)} ms, max ${at(all, 1)} ms`;
  console.log(
    `${beyond.length} deaths: to the next tick, without the back end's own delay, ${line(beyond)} (ttl ${leaseTtlMs} ms); grant to tick ${line(toTick)}`,
  );
  assert.ok(beyond.length >= 8, `${beyond.length} deaths`);
  assert.ok(at(toTick, 1) <= 1_000 + 50);
});
