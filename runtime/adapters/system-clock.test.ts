import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { SystemClock } from "./system-clock.ts";

/** The class of Node's timers, which Node does not export. */
const NodeTimeout = Object.getPrototypeOf(setTimeout(() => {}, 0)).constructor as { prototype: NodeJS.Timeout };

describe("SystemClock.after", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const cases = [
    { it: "a moment", delayMs: 10 },
    { it: "the longest that setTimeout can wait", delayMs: 2 ** 31 - 1 },
    { it: "one millisecond more", delayMs: 2 ** 31 },
    { it: "a hundred days", delayMs: 100 * 86_400_000 },
  ];
  for (const { it, delayMs } of cases)
    test(`waits for ${it}, no less, and wakes once`, () => {
      let wakes = 0;
      new SystemClock().after(delayMs, () => wakes++);
      vi.advanceTimersByTime(delayMs - 1);
      assert.equal(wakes, 0);
      vi.advanceTimersByTime(1);
      assert.equal(wakes, 1);
      vi.advanceTimersByTime(delayMs);
      assert.equal(wakes, 1);
    });

  test("wakes soon, but not within the call, when the time has passed already", () => {
    let wakes = 0;
    new SystemClock().after(-5, () => wakes++);
    assert.equal(wakes, 0);
    vi.advanceTimersByTime(1);
    assert.equal(wakes, 1);
  });

  test("does not wake when cancelled, also beyond the first link of the chain", () => {
    let wakes = 0;
    const cancel = new SystemClock().after(2 ** 32, () => wakes++);
    vi.advanceTimersByTime(2 ** 31 + 5);
    cancel();
    cancel();
    vi.advanceTimersByTime(2 ** 33);
    assert.equal(wakes, 0);
    assert.equal(vi.getTimerCount(), 0);
  });
});

test("the monotonic clock passes the delay before the wake-up", async () => {
  const clock = new SystemClock();
  for (let round = 0; round < 5; round++) {
    const startMs = clock.monotonic();
    await new Promise<void>((wake) => clock.after(3, wake));
    assert.ok(clock.monotonic() - startMs >= 3);
  }
  assert.ok(Math.abs(clock.now() - Date.now()) < 1_000);
});

test("only a background timer lets the process end", () => {
  const unref = vi.spyOn(NodeTimeout.prototype, "unref");
  const clock = new SystemClock();
  clock.after(60_000, () => {})();
  assert.equal(unref.mock.calls.length, 0);
  clock.after(60_000, () => {}, { background: true })();
  assert.equal(unref.mock.calls.length, 1);
  unref.mockRestore();
});
