/** How long an every-second job stands still when its owner dies: the lease's own delay, and at most one period more. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { type JobSpec, runSchedule, takeoversOf } from "./case.ts";

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
/** A session's end is noticed at the renewal after it, a third of its time later. */
const ttlMs = 3_000;
const leaseMs = ttlMs + ttlMs / 3;

test("from a new owner's grant to its first tick is within a period, from the old owner's last within the lease's time more", async () => {
  const toTick: number[] = [];
  const silent: number[] = [];
  for (let seed = 1; seed <= 12; seed++) {
    const { world, violations, performed } = await runSchedule({
      seed,
      jobs: [everySecond, everySecond],
      troubles: [{ kind: "crash", node: seed % 2, point: 100 + seed * 13, restartAfterMs: 30_000 }],
      rates: { store: {}, request: {}, publish: {} },
      replays: 0,
    });
    assert.deepEqual(violations, []);
    for (const takeover of takeoversOf({ world, performed })) {
      toTick.push(takeover.toTickMs);
      silent.push(takeover.silentMs);
    }
  }
  const at = (all: number[], share: number) =>
    Math.round(all.sort((a, b) => a - b)[Math.floor((all.length - 1) * share)] ?? 0);
  const line = (all: number[]) => `p50 ${at(all, 0.5)} ms, max ${at(all, 1)} ms`;
  console.log(
    `${silent.length} takeovers: grant to tick ${line(toTick)}; without a tick ${line(silent)} (ttl ${ttlMs} ms)`,
  );
  assert.ok(silent.length >= 8, `${silent.length} takeovers`);
  assert.ok(at(toTick, 1) <= 1_000 + 50);
  assert.ok(at(silent, 1) <= 1_000 + leaseMs + 1_000);
});
