/**
 * Leases for a store that one process has to itself: every partition is granted from the start, under the epoch of
 * this opening, until it is given back. Nothing here expires, since nobody else could take over.
 */
import type { LeaseChange, Leases } from "../ports/leases.ts";
import type { Token } from "../ports/store.ts";

/** The number of partitions of a store that no other node shares. */
const SINGLE_NODE_PARTITIONS = 64;

export class SingleNodeLeases implements Leases {
  readonly partitions = SINGLE_NODE_PARTITIONS;
  readonly #token: Token;
  readonly #listeners = new Set<(change: LeaseChange) => void>();
  #isReleased = false;

  /** `epoch` is what the store gave to this opening. */
  constructor(epoch: number) {
    this.#token = [epoch, 0];
  }

  token(partition: number): Token | undefined {
    const isOurs = Number.isInteger(partition) && partition >= 0 && partition < this.partitions;
    return isOurs && !this.#isReleased ? this.#token : undefined;
  }

  onChange(listener: (change: LeaseChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    for (let partition = 0; partition < this.partitions; partition++)
      for (const listener of [...this.#listeners]) listener({ kind: "lost", partition });
  }
}
