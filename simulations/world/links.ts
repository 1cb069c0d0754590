/** Who can reach whom: nodes by name, and `store` and `leases`. A cut works in both directions until it is healed. */
export class Links {
  readonly #cuts = new Set<string>();
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
  }

  healAll(): void {
    this.#cuts.clear();
    this.#note("links heal all");
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(pair(a, b));
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}
