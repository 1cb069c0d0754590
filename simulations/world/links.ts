/** Who can reach whom: nodes by name, and `store` and `leases`. A cut works in both directions until it is healed. */
export class Links {
  readonly #cuts = new Set<string>();
  readonly #healListeners = new Set<() => void>();
  readonly #note: (text: string) => void;

  constructor(note: (text: string) => void) {
    this.#note = note;
  }

  cut(a: string, b: string): void {
    this.#cuts.add(pair(a, b));
    this.#note(`links cut ${a} ${b}`);
  }

  heal(a: string, b: string): void {
    this.#cuts.delete(pair(a, b));
    this.#note(`links heal ${a} ${b}`);
    this.#tellHealed();
  }

  healAll(): void {
    this.#cuts.clear();
    this.#note("links heal all");
    this.#tellHealed();
  }

  /** For models that hold something back behind a cut. Told of every healing. Returns how to stop. */
  onHeal(listener: () => void): () => void {
    this.#healListeners.add(listener);
    return () => this.#healListeners.delete(listener);
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(pair(a, b));
  }

  #tellHealed(): void {
    for (const listener of [...this.#healListeners]) listener();
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}
