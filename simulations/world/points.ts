/**
 * The numbered points of one node: every call that leaves it and everything that comes in, counted through all its
 * incarnations. A test runs once to learn the points, then again with a crash or a freeze at each of them.
 */

export type Point = {
  /** From 1, never reset. */
  readonly number: number;
  /** Such as `store.write:call`, `store.write:answer`, `clock.fire`. */
  readonly name: string;
  readonly detail: string;
};

/** A number, the name of the next such point, or a question asked of every point. */
export type PointSelector = number | string | ((point: Point) => boolean);

export type PointOrder =
  | { readonly kind: "crash"; readonly restartAfterMs: number | undefined; readonly wiped: boolean }
  | { readonly kind: "freeze"; readonly forMs: number };

type Planned = { readonly matches: (point: Point) => boolean; readonly order: PointOrder; matchesLeft: number };

export class Points {
  readonly #names: string[] = [];
  #planned: Planned[] = [];

  /** The names of the points passed so far; index 0 is point 1. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** `nth`: at the n-th point from now that matches (1: the first). */
  plan(selector: PointSelector, nth: number, order: PointOrder): void {
    this.#planned.push({ matches: matcher(selector), order, matchesLeft: nth });
  }

  /** Whatever was ordered and has not come does not come any more. */
  forget(): void {
    this.#planned = [];
  }

  /** Numbers the point and tells what was ordered for it. */
  arrive(name: string, detail: string): { readonly point: Point; readonly orders: readonly PointOrder[] } {
    this.#names.push(name);
    const point: Point = { number: this.#names.length, name, detail };
    const orders: PointOrder[] = [];
    for (const planned of this.#planned) {
      if (!planned.matches(point)) continue;
      planned.matchesLeft--;
      if (planned.matchesLeft === 0) orders.push(planned.order);
    }
    if (orders.length > 0) this.#planned = this.#planned.filter((planned) => planned.matchesLeft > 0);
    return { point, orders };
  }
}

function matcher(selector: PointSelector): (point: Point) => boolean {
  if (typeof selector === "number") return (point) => point.number === selector;
  if (typeof selector === "string") return (point) => point.name === selector;
  return selector;
}
