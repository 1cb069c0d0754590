import { expect, test } from "vitest";
import { durationMs } from "./duration.ts";
import { resolvePolicy, retryDelayMs } from "./policy.ts";

test("waits grow by the factor up to the longest, spread by the jitter around the plain value", () => {
  const policy = resolvePolicy("logic", { retry: { attempts: 9, initialMs: 100, factor: 2, maxMs: 500, jitter: 0.2 } });
  expect([2, 3, 4, 5, 6].map((next) => retryDelayMs(policy, next, 0.5))).toEqual([100, 200, 400, 500, 500]);
  expect(retryDelayMs(policy, 2, 0)).toBe(90);
  expect(retryDelayMs(policy, 2, 0.999_999)).toBe(110);
});

test("invoked logic is tried once by default, actions five times", () => {
  expect(resolvePolicy("logic", undefined)).toMatchObject({ attempts: 1, timeoutMs: 300_000, onTakeover: "restart" });
  expect(resolvePolicy("action", undefined)).toMatchObject({ attempts: 5, timeoutMs: 30_000 });
});

test.each([
  [250, 250],
  ["250ms", 250],
  ["1.5s", 1_500],
  ["15m", 900_000],
  ["12h", 43_200_000],
  ["30d", 2_592_000_000],
  ["30", undefined],
  ["-1s", undefined],
  ["soon", undefined],
  [Number.NaN, undefined],
  [-1, undefined],
])("the duration %j is %j ms", (duration, ms) => {
  expect(durationMs(duration as "1s")).toBe(ms);
});
