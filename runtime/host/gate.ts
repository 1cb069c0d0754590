/** Lets at most so many in at the same time; the others wait in order. */
export class Gate {
  readonly #places: number;
  #inside = 0;
  readonly #waiting = new Set<() => void>();

  constructor(places: number) {
    this.#places = places;
  }

  /** Calls `enter` at once or when there is room. `leave`, also returned, gives up waiting too; harmless twice. */
  enter(enter: (leave: () => void) => void): () => void {
    let state: "waiting" | "inside" | "gone" = "waiting";
    const leave = () => {
      if (state === "waiting") this.#waiting.delete(go);
      const wasInside = state === "inside";
      state = "gone";
      if (!wasInside) return;
      this.#inside--;
      const next = this.#waiting.values().next().value;
      if (next === undefined) return;
      this.#waiting.delete(next);
      next();
    };
    const go = () => {
      state = "inside";
      this.#inside++;
      enter(leave);
    };
    if (this.#inside < this.#places) go();
    else this.#waiting.add(go);
    return leave;
  }
}
