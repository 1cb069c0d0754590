/**
 * A store in this process's memory: the shortest reading of the `ActorStore` contract, for tests and first steps.
 * Everything happens synchronously inside; only watchers hear of it one microtask later, as they would elsewhere.
 */
import { randomUUID } from "node:crypto";
import type { KeysOf } from "../../options.ts";
import type {
  ActorStore,
  ListOptions,
  RefusalReason,
  Revision,
  StoreChange,
  StoredEntry,
  StoreInfo,
  StoreWrite,
  Token,
  WriteOutcome,
} from "../../ports/store.ts";

export type MemoryStoreOptions = {
  readonly name?: string;
  readonly identity?: string;
  /** Default 1 MiB. */
  readonly maxValueBytes?: number;
  /** Default 10. */
  readonly historyDepth?: number;
};

export const memoryStoreOptions: KeysOf<MemoryStoreOptions> = {
  name: true,
  identity: true,
  maxValueBytes: true,
  historyDepth: true,
};

/** What outlives a closed store, so that `reopen` finds it. */
type Contents = {
  /** Kept revisions per key, oldest first, never empty. */
  readonly entries: Map<string, StoredEntry[]>;
  readonly watchers: Set<Watcher>;
  revision: Revision;
  epoch: number;
};

type Watcher = { readonly prefix: string; readonly onChange: (change: StoreChange) => void };

export class MemoryStore implements ActorStore {
  readonly info: StoreInfo;
  readonly #contents: Contents;
  readonly #ownWatchers = new Set<Watcher>();
  #isClosed = false;

  constructor(options: MemoryStoreOptions = {}, contents?: Contents) {
    this.info = {
      name: options.name ?? "memory",
      identity: options.identity ?? randomUUID(),
      durability: "none",
      maxValueBytes: options.maxValueBytes ?? 1_048_576,
      historyDepth: options.historyDepth ?? 10,
    };
    this.#contents = contents ?? { entries: new Map(), watchers: new Set(), revision: 0, epoch: 0 };
  }

  /** Another opening of the same contents, whether this one was closed or only abandoned. Does not raise the epoch. */
  reopen(): MemoryStore {
    return new MemoryStore(this.info, this.#contents);
  }

  /** From now on, tokens of earlier epochs are refused. Returns the new epoch; a new store begins at 0. */
  raiseEpoch(): number {
    return ++this.#contents.epoch;
  }

  async read(key: string): Promise<StoredEntry | undefined> {
    this.#assertOpen();
    return this.#latest(key);
  }

  async write(write: StoreWrite): Promise<WriteOutcome> {
    const sizeBytes = Buffer.byteLength(write.value);
    if (sizeBytes > this.info.maxValueBytes)
      return refused(
        "tooLarge",
        `the value of ${write.key} has ${sizeBytes} bytes, at most ${this.info.maxValueBytes}`,
      );
    return this.#change(write.key, write.expect, write.token, (revision) => {
      const entry: StoredEntry = { key: write.key, value: write.value, revision, header: { ...write.header } };
      const kept = [...(this.#contents.entries.get(write.key) ?? []), entry];
      this.#contents.entries.set(write.key, kept.slice(-this.info.historyDepth));
      return { kind: "put", entry };
    });
  }

  async purge(key: string, expect: Revision, token: Token): Promise<WriteOutcome> {
    return this.#change(key, expect, token, (revision) => {
      this.#contents.entries.delete(key);
      return { kind: "purge", key, revision };
    });
  }

  async list({ prefix, after, limit = 1_000 }: ListOptions): Promise<readonly StoredEntry[]> {
    this.#assertOpen();
    const keys = [...this.#contents.entries.keys()]
      .filter((key) => key.startsWith(prefix) && (after === undefined || key > after))
      .sort(); // without a comparison function: by UTF-16 code unit
    return keys.slice(0, limit).map((key) => this.#latest(key)!);
  }

  async history(key: string): Promise<readonly StoredEntry[]> {
    this.#assertOpen();
    return [...(this.#contents.entries.get(key) ?? [])];
  }

  watch(prefix: string, onChange: (change: StoreChange) => void): () => void {
    this.#assertOpen();
    const watcher = { prefix, onChange };
    this.#ownWatchers.add(watcher);
    this.#contents.watchers.add(watcher);
    return () => {
      this.#ownWatchers.delete(watcher);
      this.#contents.watchers.delete(watcher);
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const watcher of this.#ownWatchers) this.#contents.watchers.delete(watcher);
    this.#ownWatchers.clear();
  }

  #change(key: string, expect: Revision, token: Token, apply: (revision: Revision) => StoreChange): WriteOutcome {
    const contents = this.#contents;
    if (this.#isClosed) return refused("closed", "the store is closed");
    if (token[0] < contents.epoch)
      return refused(
        "fenced",
        `epoch ${token[0]} is over: the store was opened again and is in epoch ${contents.epoch}`,
      );
    if ((this.#latest(key)?.revision ?? 0) !== expect) return { kind: "conflict" };
    const revision = ++contents.revision;
    const change = apply(revision);
    for (const watcher of contents.watchers)
      if (key.startsWith(watcher.prefix))
        queueMicrotask(() => {
          if (contents.watchers.has(watcher)) watcher.onChange(change);
        });
    return { kind: "written", revision };
  }

  #latest(key: string): StoredEntry | undefined {
    return this.#contents.entries.get(key)?.at(-1);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new Error("the store is closed");
  }
}

function refused(reason: RefusalReason, detail: string): WriteOutcome {
  return { kind: "refused", reason, detail };
}
