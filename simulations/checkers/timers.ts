/**
 * Timers from outside: never early, never lost, at most once, and silent after a committed cancellation. All times are
 * true times; how far node clocks may be off is the caller's allowance.
 */
import type { Violation } from "./violation.ts";

export type TimerHistory = {
  readonly scheduled: readonly { readonly id: string; readonly dueMs: number }[];
  /** When the cancellation was committed. */
  readonly cancelled: readonly { readonly id: string; readonly atMs: number }[];
  /** When the firing was committed. */
  readonly fired: readonly { readonly id: string; readonly atMs: number }[];
  /** When the run ended, and how late a timer may be. */
  readonly endMs: number;
  readonly graceMs: number;
  /** How much early is still in time, for nodes whose wall clocks are ahead. Default 0. */
  readonly clockAheadMs?: number;
};

export function checkTimers(history: TimerHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const due = new Map(history.scheduled.map(({ id, dueMs }) => [id, dueMs]));
  const cancelled = new Map(history.cancelled.map(({ id, atMs }) => [id, atMs]));
  const fired = new Set<string>();
  for (const { id, atMs } of history.fired) {
    const dueMs = due.get(id);
    const cancelledMs = cancelled.get(id);
    if (dueMs === undefined) violations.push({ rule: "unknown-timer", detail: `${id} fired, nobody scheduled it` });
    else if (atMs < dueMs - (history.clockAheadMs ?? 0)) {
      violations.push({ rule: "early", detail: `${id} fired at ${atMs}, due ${dueMs}` });
    }
    if (fired.has(id)) violations.push({ rule: "fired-twice", detail: `${id} again at ${atMs}` });
    if (cancelledMs !== undefined && cancelledMs < atMs) {
      violations.push({ rule: "fired-after-cancel", detail: `${id} fired at ${atMs}, cancelled at ${cancelledMs}` });
    }
    fired.add(id);
  }
  for (const [id, dueMs] of due) {
    const isAwaited = dueMs + history.graceMs <= history.endMs && !cancelled.has(id);
    if (isAwaited && !fired.has(id)) violations.push({ rule: "lost", detail: `${id} was due ${dueMs}, never fired` });
  }
  return violations;
}
