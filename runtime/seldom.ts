/** For lines of the log that a stranger or an outage could cause by the million: one per minute for each matter, with a count. */
import type { Clock } from "./ports/clock.ts";

type Matter = { saidMs: number; held: number };

export class Seldom {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #matters = new Map<string, Matter>();

  constructor(clock: Clock, everyMs = 60_000) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /** Calls `say` unless it was called for this matter a short time ago; `held` counts what was not said since then. */
  say(matter: string, say: (held: number) => void): void {
    const now = this.#clock.monotonic();
    const known = this.#matters.get(matter);
    if (known !== undefined && now - known.saidMs < this.#everyMs) {
      known.held++;
      return;
    }
    if (known === undefined && this.#matters.size >= mostMatters) {
      this.#matters.delete(this.#matters.keys().next().value as string);
    }
    this.#matters.set(matter, { saidMs: now, held: 0 });
    say(known?.held ?? 0);
  }
}

const mostMatters = 1_000;
