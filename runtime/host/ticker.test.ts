/** How the ticker complains; when it ticks is judged by `simulations/schedule`. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { scheduleOf, slotsOf } from "../../coordinator/schedule/index.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import type { Outcome } from "./outcome.ts";
import { Ticker } from "./ticker.ts";

test("what keeps many jobs from their ticks is said in one line, and said again only when it comes again", async () => {
  const clock = new ManualClock();
  const lines: string[] = [];
  const silent = () => undefined;
  let outcome: Outcome = { kind: "moved" };
  const ticker = new Ticker({
    host: { partitionOf: () => 0, request: (_key, _input, answer) => answer(outcome) },
    leases: { token: () => [1, 1], onChange: () => silent },
    clock,
    logger: { debug: silent, info: silent, error: silent, warn: (message) => void lines.push(message) },
  });
  const schedule = scheduleOf("any", { every: "1s" });
  for (const name of ["a", "b", "c"])
    await ticker.add({ name, key: `job.${name}`, schedule, slots: slotsOf(schedule, undefined) });
  await clock.advance(5_000);
  const moved = "3 jobs could not be told the time; trying again every second: moved";
  assert.deepEqual(lines, [moved]);
  outcome = { kind: "unknown" };
  await clock.advance(5_000);
  assert.deepEqual(lines, [moved, moved.replace("moved", "unknown")]);
  ticker.stop();
});
