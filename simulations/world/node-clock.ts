/**
 * The clocks of one machine: a wall clock that is wrong by an offset, jumps and stops; a monotonic one that may drift
 * and, while the machine is suspended, stands still together with its timers.
 */
import type { Cancel, Loop } from "./loop.ts";

export class NodeClock {
  readonly #loop: Loop;
  readonly #epochMs: number;
  #offsetMs = 0;
  #rate = 1;
  /** Readings at the moment of the last change of rate. */
  #sinceMs = 0;
  #monotonicMs = 0;
  #stillUntilMs = 0;
  #wallStoppedAtMs: number | undefined;

  constructor(loop: Loop, epochMs: number) {
    this.#loop = loop;
    this.#epochMs = epochMs;
  }

  /** How far the wall clock is from true time. */
  get wallOffsetMs(): number {
    return this.#offsetMs;
  }

  set wallOffsetMs(offsetMs: number) {
    this.#offsetMs = offsetMs;
  }

  wallMs(): number {
    return Math.floor(this.#wallStoppedAtMs ?? this.#epochMs + this.#loop.nowMs + this.#offsetMs + this.#drifted());
  }

  monotonicMs(): number {
    return this.#monotonicMs + this.#passed() * this.#rate;
  }

  /** 1.01: a hundredth too fast, wall clock and timers alike. What has drifted apart stays so. */
  drift(rate: number): void {
    this.#settle();
    this.#rate = rate;
    this.#loop.note(`clock drifts at ${rate}`);
  }

  /** The wall clock shows the same until `go`, and then what it would have shown. */
  stop(): void {
    this.#wallStoppedAtMs ??= this.wallMs();
  }

  go(): void {
    this.#wallStoppedAtMs = undefined;
  }

  /** Monotonic time and timers rest for this long; the wall clock goes on, as if set right on waking. */
  standStill(forMs: number): void {
    this.#settle();
    this.#stillUntilMs = Math.max(this.#stillUntilMs, this.#loop.nowMs + forMs);
    this.#sinceMs = this.#stillUntilMs;
  }

  heal(): void {
    if (this.#rate !== 1) this.drift(1);
    this.go();
  }

  /** Due when the monotonic clock has moved on by `delayMs`. */
  after(delayMs: number, label: string, wake: () => void, options?: { readonly background?: boolean }): Cancel {
    if (!Number.isFinite(delayMs)) return this.#loop.after(delayMs, label, wake, options);
    // Nearly every world has true clocks; theirs keep the exact arithmetic of the loop.
    const dueMs = this.monotonicMs() + Math.max(0, delayMs);
    let cancel: Cancel = () => {};
    const plan = (leftMs: number): void => {
      const restMs = Math.max(0, this.#stillUntilMs - this.#loop.nowMs);
      cancel = this.#loop.after(restMs + leftMs / this.#rate, label, check, options);
    };
    const check = (): void => {
      const leftMs = dueMs - this.monotonicMs();
      if (leftMs > 0.0005) plan(leftMs);
      else wake();
    };
    plan(delayMs);
    return () => cancel();
  }

  #passed(): number {
    return Math.max(0, this.#loop.nowMs - this.#sinceMs);
  }

  /** How far the drift has taken the wall clock, besides its offset. */
  #drifted(): number {
    return this.#rate === 1 ? 0 : this.#passed() * (this.#rate - 1);
  }

  #settle(): void {
    this.#offsetMs += this.#drifted();
    this.#monotonicMs = this.monotonicMs();
    this.#sinceMs = Math.max(this.#loop.nowMs, this.#stillUntilMs);
  }
}
