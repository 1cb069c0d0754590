/** Lets at most so many in at the same time; the others wait in order. */
export class Gate {
  readonly #places: number;
  #inside = 0;
  #admitting = false;
  readonly #waiting = new Set<() => void>();

  constructor(places: number) {
    this.#places = places;
  }

  /** Calls `enter` at once or when there is room. `leave`, also returned, gives up waiting too; harmless twice. */
  enter(enter: (leave: () => void) => void): () => void {
    let state: "waiting" | "inside" | "gone" = "waiting";
    const leave = () => {
      if (state === "waiting") this.#waiting.delete(go);
      if (state === "inside") this.#inside--;
      state = "gone";
      this.#admit();
    };
    const go = () => {
      state = "inside";
      this.#inside++;
      enter(leave);
    };
    this.#waiting.add(go);
    this.#admit();
    return leave;
  }

  /** In a loop, not by each calling the next: a thousand that leave at once would not fit on the stack. */
  #admit(): void {
    if (this.#admitting) return;
    this.#admitting = true;
    try {
      while (this.#inside < this.#places) {
        const next = this.#waiting.values().next().value;
        if (next === undefined) return;
        this.#waiting.delete(next);
        next();
      }
    } finally {
      this.#admitting = false;
    }
  }
}
