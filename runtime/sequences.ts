/**
 * Automatic idempotency keys: running numbers, per client and actor, so that the actor needs one mark per client and
 * not one per event. `low` says which numbers below have an outcome already.
 */
import type { Random } from "./ports/random.ts";
import type { Key } from "./window.ts";

type Sequence = { readonly client: string; next: number; readonly open: Set<number> };

const keptSequences = 10_000;

export class Sequences {
  readonly #client: string;
  readonly #sequences = new Map<string, Sequence>();
  #generation = 0;

  constructor(random: Random) {
    this.#client = random.id().slice(0, 10);
  }

  /** A new key for this actor. `close` it when its outcome is known. */
  open(actor: string): Extract<Key, { kind: "auto" }> {
    const sequence = this.#sequences.get(actor) ?? this.#begin(actor);
    const number = sequence.next++;
    sequence.open.add(number);
    return { kind: "auto", client: sequence.client, number, low: sequence.open.values().next().value ?? number };
  }

  close(actor: string, key: Key): void {
    if (key.kind === "auto") this.#sequences.get(actor)?.open.delete(key.number);
  }

  #begin(actor: string): Sequence {
    if (this.#sequences.size >= keptSequences) this.#forgetOne();
    // A sequence that was forgotten must not begin at 1 under its old name: each has a name of its own.
    const sequence: Sequence = { client: `${this.#client}.${this.#generation++}`, next: 1, open: new Set() };
    this.#sequences.set(actor, sequence);
    return sequence;
  }

  #forgetOne(): void {
    for (const [actor, sequence] of this.#sequences) {
      if (sequence.open.size > 0) continue;
      this.#sequences.delete(actor);
      return;
    }
  }
}
