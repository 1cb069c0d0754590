/**
 * Virtual time and the one loop that moves it: take the next event, run it, let every promise that it woke run to its
 * end, and only then take another. Nothing else in the world may wait; start reading at `run`.
 */

import { refuseUnknown } from "../../runtime/options.ts";
import { type Drain, microtaskCheckpoint } from "./drain.ts";
import type { Drawn } from "./drawing.ts";
import { EventHeap, type WorldEvent } from "./event-heap.ts";
import type { Trace } from "./trace.ts";

export type RunOptions = {
  /** Asked before every event: stop here? */
  readonly until?: () => boolean;
  /** Stop when this much virtual time has passed. */
  readonly forMs?: number;
};

/**
 * Why a run ended. `quiet`: nothing is left that could happen; with neither option given, nothing but background. With
 * `forMs` alone time passes also when nothing happens.
 */
export type RunEnd = "until" | "time" | "quiet";

/** The world cannot go on; the message carries the seed and the last lines of the trace. */
export class WorldError extends Error {
  override readonly name = "WorldError";
}

export type Cancel = () => void;

export type Channel = {
  /** `run` happens after `delayMs`, or later, if what was sent before is later still. */
  readonly send: (delayMs: number, run: () => void) => void;
};

export class Loop {
  readonly #seed: string;
  readonly #trace: Trace;
  readonly #maxSteps: number;
  readonly #heap = new EventHeap();
  #nowUs = 0;
  #sequence = 0;
  #steps = 0;
  readonly #drain: Drain | undefined;
  /** Called before each turn; what it returns, after it. Between the two nothing but the world runs. */
  enter: (() => () => void) | undefined;
  /** Told of what a diagram shows; unset, nobody looks. */
  draw: ((drawn: Drawn) => void) | undefined;
  /** The clock of the process whose turn it is: what it is woken by sets it, the next event ends it. */
  currentNowMs: (() => number) | undefined;
  #isRunning = false;
  #failure: { readonly error: unknown } | undefined;

  /** `portable`: a turn of the event loop per event, also where a checkpoint would do. */
  constructor(seed: string, trace: Trace, maxSteps: number, portable = false) {
    this.#seed = seed;
    this.#trace = trace;
    this.#maxSteps = maxSteps;
    this.#drain = portable ? undefined : microtaskCheckpoint();
  }

  /** True time in milliseconds since the world began. Nodes see it through their own clocks. */
  get nowMs(): number {
    return this.#nowUs / 1000;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Plans `run` for `delayMs` from now, never earlier; at the same instant, in the order of planning. */
  after(delayMs: number, label: string, run: () => void, options?: { readonly background?: boolean }): Cancel {
    if (Number.isNaN(delayMs)) throw new Error(`${label}: the delay is not a number`);
    if (delayMs === Number.POSITIVE_INFINITY) return () => {};
    // Whole microseconds, so that sums of delays are exact.
    const atUs = this.#nowUs + Math.ceil(Math.max(0, delayMs) * 1000);
    const background = options?.background ?? false;
    const event: WorldEvent = { atUs, sequence: this.#sequence++, label, background, run, cancelled: false };
    this.#heap.push(event);
    return () => this.#heap.cancel(event);
  }

  /** The same as a promise, for models that read better from top to bottom. */
  sleep(delayMs: number, label: string): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, label, resolve);
    });
  }

  /** A line on which things arrive in the order in which they were sent, however their delays fall. */
  channel(label: string): Channel {
    const queue: (() => void)[] = [];
    let lastAtMs = 0;
    return {
      send: (delayMs, run) => {
        lastAtMs = Math.max(lastAtMs, this.nowMs + delayMs);
        queue.push(run);
        // Each event takes the oldest: rounding of two delays cannot swap what was sent.
        this.after(lastAtMs - this.nowMs, label, () => queue.shift()?.());
      },
    };
  }

  note(text: string): void {
    this.#trace.note(this.nowMs, text);
  }

  /** Ends the run with this error: something inside the world broke that must not break. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  run(options: RunOptions = {}): Promise<RunEnd> {
    refuseUnknown("options of run", options, { until: true, forMs: true }, RangeError);
    if (this.#isRunning) throw new WorldError("the world is already running: one run at a time");
    this.#isRunning = true;
    const endUs = options.forMs === undefined ? undefined : this.#nowUs + Math.ceil(options.forMs * 1000);
    const probe = startProbe();
    // Kept: while the world moves, nobody gets the real ones.
    const later = setImmediate;
    const never = clearImmediate;
    let entered: (() => void) | undefined;
    const leave = (): void => {
      const left = entered;
      entered = undefined;
      left?.();
    };
    return new Promise<RunEnd>((resolve, reject) => {
      const turn = (): void => {
        try {
          leave();
          if (!probe.isDrained) throw new WorldError("promises were not drained between two events");
          // Planned before the world is entered: who watches it must not take the loop's own turns for a culprit.
          next = later(turn);
          entered = this.enter?.();
          const end = this.#turn(options.until, endUs);
          // Without a checkpoint the promises of this turn run only after it: what they see must be virtual, too.
          if (end !== undefined || this.#drain !== undefined) leave();
          if (end === undefined) return;
          never(next);
          this.#isRunning = false;
          resolve(end);
        } catch (error) {
          never(next);
          this.#isRunning = false;
          try {
            leave();
          } finally {
            reject(error);
          }
        }
      };
      let next = later(turn);
    });
  }

  /** Many events, or one where only a turn of the event loop lets all promises run. What ended the run, if it ended. */
  #turn(until: (() => boolean) | undefined, endUs: number | undefined): RunEnd | undefined {
    if (this.#drain !== undefined) prove(this.#drain);
    for (let events = 0; events < eventsPerTurn; events++) {
      const end = this.#step(until, endUs);
      if (end !== undefined || this.#drain === undefined) return end;
      this.#drain();
    }
    return undefined;
  }

  /** One event, or the reason to stop. */
  #step(until: (() => boolean) | undefined, endUs: number | undefined): RunEnd | undefined {
    if (this.#failure !== undefined) throw this.#explain("a failure", this.#failure.error);
    if (until?.() === true) return "until";
    const next = this.#heap.peek();
    const isOpenEnded = until === undefined && endUs === undefined;
    if (next === undefined && until !== undefined) return "quiet";
    if (endUs !== undefined && (next === undefined || next.atUs > endUs)) {
      this.#nowUs = Math.max(this.#nowUs, endUs);
      return "time";
    }
    if (next === undefined || (isOpenEnded && this.#heap.foreground === 0)) return "quiet";
    if (++this.#steps > this.#maxSteps) throw this.#explain(`more than ${this.#maxSteps} steps`, undefined);
    this.#heap.pop();
    this.#nowUs = next.atUs;
    this.currentNowMs = undefined;
    try {
      next.run();
    } catch (error) {
      throw this.#explain(next.label, error);
    }
    return undefined;
  }

  #explain(what: string, cause: unknown): WorldError {
    const reason = cause === undefined ? "" : `: ${cause instanceof Error ? cause.message : String(cause)}`;
    const lines = this.#trace.lines(25).join("\n  ");
    const text = `seed ${this.#seed}, ${this.nowMs} ms, step ${this.#steps}: ${what}${reason}\n  ${lines}`;
    return new WorldError(text, cause === undefined ? undefined : { cause });
  }
}

/** So that timers and messages of whatever runs the simulation get their turn too. */
const eventsPerTurn = 2_000;

/** A checkpoint called from within a promise does nothing, and events would overtake what they caused. */
function prove(drain: Drain): void {
  const probe = startProbe();
  drain();
  if (!probe.isDrained) throw new WorldError("the checkpoint did not run the promises that were ready");
}

/** A chain of promises longer than an event's first answer: done only if a turn really drains them all. */
function startProbe(): { readonly isDrained: boolean } {
  const probe = { isDrained: false };
  void (async () => {
    for (let hop = 0; hop < 64; hop++) await undefined;
    probe.isDrained = true;
  })();
  return probe;
}
