/** The machine's own clocks and timers. */
import type { Cancel, Clock } from "../ports/clock.ts";

/** setTimeout fires at once beyond this many milliseconds (24.8 days). */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  after(delayMs: number, wake: () => void, options: { readonly background?: boolean } = {}): Cancel {
    const dueMs = this.monotonic() + Math.max(0, delayMs);
    let timer: NodeJS.Timeout;
    const arm = (restMs: number) => {
      timer = setTimeout(onTimeout, Math.min(Math.ceil(restMs), LONGEST_TIMEOUT_MS));
      if (options.background === true) timer.unref();
    };
    const onTimeout = () => {
      // Node rounds its timers to whole milliseconds and may fire a fraction too early.
      const restMs = dueMs - this.monotonic();
      if (restMs > 0) arm(restMs);
      else wake();
    };
    arm(dueMs - this.monotonic());
    return () => clearTimeout(timer);
  }
}
