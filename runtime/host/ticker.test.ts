/** How the ticker complains and asks again; when it ticks is judged by `simulations/schedule`. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { scheduleOf, slotsOf } from "../../coordinator/schedule/index.ts";
import type { LeaseChange } from "../ports/leases.ts";
import type { Input } from "../step.ts";
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

const replied: Outcome = { kind: "reply", reply: { kind: "done", changed: true } } as unknown as Outcome;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** One hourly job, and what is asked of its actor. */
function hourly(answer: () => Outcome) {
  const clock = new SteppedClock();
  const asked: Input[] = [];
  const leases = {
    token: [1, 1] as readonly [number, number] | undefined,
    tell: (_: LeaseChange) => undefined as unknown,
  };
  const ticker = new Ticker({
    host: {
      partitionOf: () => 0,
      request: (_key, input, then) => {
        asked.push(input);
        then(answer());
      },
    },
    leases: {
      token: () => leases.token,
      onChange: (listener) => {
        leases.tell = listener;
        return () => undefined;
      },
    },
    clock,
    logger: silent,
  });
  const schedule = scheduleOf("any", { every: "1h" });
  void ticker.add({ name: "a", key: "job.a", schedule, slots: slotsOf(schedule, undefined) });
  return { clock, asked, leases, ticker };
}

/** Its wall clock can be set. */
class SteppedClock extends ManualClock {
  offsetMs = 0;
  override now(): number {
    return super.now() + this.offsetMs;
  }
  override monotonic(): number {
    return super.now();
  }
}

test("what got no answer is asked again within seconds, also when the wall clock is set back meanwhile", async () => {
  let outcome: Outcome = { kind: "moved" };
  const { clock, asked, ticker } = hourly(() => outcome);
  await clock.advance(500);
  assert.equal(asked.length, 1);
  clock.offsetMs = -1_800_000;
  outcome = replied;
  await clock.advance(2_000);
  assert.deepEqual(asked[1], asked[0]);
  assert.equal(asked.length, 2);
  ticker.stop();
});

test("a partition that comes back under the same token is asked anew, under a key of its own", async () => {
  const { clock, asked, leases, ticker } = hourly(() => replied);
  await clock.advance(500);
  leases.token = undefined;
  leases.tell({ kind: "lost", partition: 0 });
  await clock.advance(1_000);
  leases.token = [1, 1];
  leases.tell({ kind: "granted", partition: 0, token: [1, 1] });
  await clock.advance(1_000);
  assert.equal(asked.length, 2);
  const [before, after] = asked as { key?: { key?: string } }[];
  assert.notEqual(before?.key?.key, after?.key?.key);
  ticker.stop();
});
