/**
 * The only way in and out of one incarnation of a node. G1: after its crash nothing of it has any effect or is ever
 * answered. G2: while it is frozen, everything waits, in and out, and is let through in order afterwards. Synchronous
 * reads (the time, a token, dice) are no points: a crash there is a crash at the next point.
 */
import type { Channel, Loop } from "./loop.ts";
import type { Point, PointOrder, Points } from "./points.ts";

export type GateState = "running" | "frozen" | "crashed";

export class Gate {
  /** Node and incarnation, such as `n1.2`. */
  readonly owner: string;
  readonly #loop: Loop;
  readonly #points: Points;
  readonly #afterCrash: (order: PointOrder) => void;
  readonly #held: { readonly point: Point; readonly run: () => void }[] = [];
  readonly #crashListeners = new Set<() => void>();
  #state: GateState = "running";
  #freezesLeft = 0;
  /** How much later the next thing passes; undefined: nothing slows it. Set by its node. */
  slowness: (() => number) | undefined;
  /** What its wall clock shows, for code of this process that asks the ambient one. Set by its node. */
  nowMs: (() => number) | undefined;
  #slowed: Channel | undefined;
  #waiting = 0;

  /** `afterCrash` is told of crashes that were planned at a point, to restart the node where that was ordered. */
  constructor(owner: string, loop: Loop, points: Points, afterCrash: (order: PointOrder) => void) {
    this.owner = owner;
    this.#loop = loop;
    this.#points = points;
    this.#afterCrash = afterCrash;
  }

  get state(): GateState {
    return this.#state;
  }

  /** A call that leaves and its answer that comes back: two points. */
  call<T>(name: string, detail: string, perform: () => Promise<T>, describe: (answer: T) => string): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.pass(`${name}:call`, detail, () => {
        perform().then(
          (answer) => this.pass(`${name}:answer`, describe(answer), () => resolve(answer)),
          (error: unknown) => this.pass(`${name}:answer`, `rejected ${errorText(error)}`, () => reject(error)),
        );
      });
    });
  }

  /** One point: runs `run` now, later (frozen), or never (crashed). */
  pass(name: string, detail: string, run: () => void): void {
    if (this.#state === "crashed") return;
    if (this.slowness === undefined && this.#waiting === 0) {
      this.#pass(name, detail, run);
      return;
    }
    // Also what comes when the slowness is over waits behind what it held up.
    this.#slowed ??= this.#loop.channel(`${this.owner} is slow`);
    this.#waiting++;
    this.#slowed.send(this.slowness?.() ?? 0, () => {
      this.#waiting--;
      this.#pass(name, detail, run);
    });
  }

  #pass(name: string, detail: string, run: () => void): void {
    if (this.#state === "crashed") return;
    const { point, orders } = this.#points.arrive(name, detail);
    this.#loop.note(`${this.owner} #${point.number} ${name} ${detail}`);
    for (const order of orders) {
      if (order.kind === "freeze") this.freeze(order.forMs);
      else {
        this.crash();
        this.#afterCrash(order);
        return;
      }
    }
    // Behind those still held: order is kept also while they are being let through.
    if (this.#state === "frozen") this.#held.push({ point, run });
    else this.#let(run);
  }

  crash(): void {
    if (this.#state === "crashed") return;
    this.#state = "crashed";
    this.#held.length = 0;
    this.#loop.note(`${this.owner} CRASH`);
    this.#loop.draw?.({ kind: "process", node: this.#node, state: "crashes" });
    for (const listener of [...this.#crashListeners]) listener();
    this.#crashListeners.clear();
  }

  freeze(forMs: number): void {
    if (this.#state === "crashed") return;
    this.#state = "frozen";
    this.#freezesLeft++;
    this.#loop.note(`${this.owner} FREEZE ${forMs} ms`);
    if (this.#freezesLeft === 1) this.#loop.draw?.({ kind: "process", node: this.#node, state: "freezes" });
    this.#loop.after(forMs, `${this.owner} thaw`, () => {
      this.#freezesLeft--;
      this.#thaw();
    });
  }

  /** For models that must forget this incarnation: its timers, its watches. Returns how to stop. */
  onCrash(listener: () => void): () => void {
    this.#crashListeners.add(listener);
    return () => this.#crashListeners.delete(listener);
  }

  /** Lets one through per event, so that the promises of each have run before the next. */
  #thaw(): void {
    if (this.#state !== "frozen" || this.#freezesLeft > 0) return;
    const held = this.#held.shift();
    if (held === undefined) {
      this.#state = "running";
      this.#loop.note(`${this.owner} THAWED`);
      this.#loop.draw?.({ kind: "process", node: this.#node, state: "thaws" });
      return;
    }
    this.#loop.note(`${this.owner} #${held.point.number} let through`);
    this.#let(held.run);
    this.#loop.after(0, `${this.owner} thaw`, () => this.#thaw());
  }

  get #node(): string {
    return this.owner.slice(0, this.owner.lastIndexOf("."));
  }

  #let(run: () => void): void {
    this.#loop.currentNowMs = this.nowMs;
    try {
      run();
    } catch (error) {
      // A listener of the node threw: in a real process this is an uncaught exception, here it ends the run.
      this.#loop.fail(error);
    }
  }
}

function errorText(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
