/** One watch of the store for the whole process, shared by everything that follows single actors. */
import type { ActorStore, StoredEntry } from "./ports/store.ts";

type Listener = (entry: StoredEntry | undefined) => void;

export class Watcher {
  readonly #store: ActorStore;
  readonly #listeners = new Map<string, Set<Listener>>();
  #stop: (() => void) | undefined;

  constructor(store: ActorStore) {
    this.#store = store;
  }

  /** Told of every later write of this key, and of its purge with undefined. Returns how to stop. */
  watch(key: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners);
    listeners.add(listener);
    this.#stop ??= this.#store.watch("", (change) => {
      const changed = change.kind === "put" ? change.entry.key : change.key;
      const entry = change.kind === "put" ? change.entry : undefined;
      for (const told of this.#listeners.get(changed) ?? []) {
        // Each on its own: a listener that throws does not keep the others from hearing, and its error is not swallowed.
        void Promise.resolve().then(() => {
          if (this.#listeners.get(changed)?.has(told)) told(entry);
        });
      }
    });
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(key);
    };
  }

  stop(): void {
    this.#stop?.();
    this.#listeners.clear();
  }
}
