/** For tests of hosts that share a store: a lease by hand, and a store as somebody sees it. */
import type { LeaseChange, Leases } from "../ports/leases.ts";
import type { ActorStore, Token } from "../ports/store.ts";

/** One partition, granted and taken away by hand. */
export class OneLease implements Leases {
  readonly partitions = 1;
  #token: Token | undefined;
  readonly #listeners = new Set<(change: LeaseChange) => void>();

  token(): Token | undefined {
    return this.#token;
  }

  onChange(listener: (change: LeaseChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  grant(token: Token): void {
    this.#token = token;
    for (const listener of this.#listeners) listener({ kind: "granted", partition: 0, token });
  }

  lose(): void {
    this.#token = undefined;
    for (const listener of this.#listeners) listener({ kind: "lost", partition: 0 });
  }

  async release(): Promise<void> {}
}

/** The same store for somebody whose calls go through these first. */
export function seenThrough(store: ActorStore, changed: Partial<ActorStore>): ActorStore {
  return new Proxy(store, {
    get(target, name) {
      const found = Reflect.get(changed, name) ?? Reflect.get(target, name);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}
