/** Many deadlines with one timer: looked at a few times a second, which is exact enough for time-outs of seconds. */
import type { Cancel, Clock } from "./ports/clock.ts";

const everyMs = 100;

export class Deadlines {
  readonly #clock: Clock;
  readonly #pending = new Map<object, { readonly atMs: number; readonly expire: () => void }>();
  #timer: Cancel | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `expire` once, at most a little late, unless `clear` is called with the same object before. */
  set(request: object, afterMs: number, expire: () => void): void {
    this.#pending.set(request, { atMs: this.#clock.monotonic() + afterMs, expire });
    this.#timer ??= this.#clock.after(everyMs, () => this.#look());
  }

  clear(request: object): void {
    this.#pending.delete(request);
  }

  /** Nobody waits for ever: what is pending expires now. */
  stop(): void {
    this.#timer?.();
    this.#timer = undefined;
    for (const [request, { expire }] of this.#pending) {
      this.#pending.delete(request);
      expire();
    }
  }

  #look(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    for (const [request, { atMs, expire }] of this.#pending) {
      if (atMs > now) continue;
      this.#pending.delete(request);
      expire();
    }
    if (this.#pending.size > 0) this.#timer ??= this.#clock.after(everyMs, () => this.#look());
  }
}
