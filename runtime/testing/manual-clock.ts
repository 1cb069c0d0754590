/** A Clock for tests of whole runtimes: time stands still until `advance` is called. */
import type { Cancel, Clock } from "../ports/clock.ts";

type Waking = { readonly atMs: number; readonly order: number; readonly wake: () => void };

export class ManualClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #wakings = new Set<Waking>();

  /** Begins at a fixed moment of 2026 unless told otherwise. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  after(delayMs: number, wake: () => void): Cancel {
    const waking = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, wake };
    this.#wakings.add(waking);
    return () => void this.#wakings.delete(waking);
  }

  /** Lets this much time pass: wakes what is due, in order, and lets everything it causes settle in between. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    await settle();
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.#wakings.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  #next(untilMs: number): Waking | undefined {
    let first: Waking | undefined;
    for (const waking of this.#wakings) {
      if (waking.atMs > untilMs) continue;
      if (first === undefined || waking.atMs < first.atMs || (waking.atMs === first.atMs && waking.order < first.order))
        first = waking;
    }
    return first;
  }
}

/** Some turns of the event loop: everything that needs no time has happened afterwards. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
