/**
 * Where documents live: a compare-and-set store of small JSON values, shaped after a JetStream KV bucket.
 * Everything durable goes through `write`; a read proves nothing, only a write that was `written` does (R2).
 * Every adapter passes `store.contract.ts`.
 */

/** The store's own number of a write. Grows over the whole store (each shard of it), never repeats. 0 means "the key has no value". */
export type Revision = number;

/** (epoch, index), compared in this order. Grows with every grant; a writer with a lower one must stop (R3). */
export type Token = readonly [epoch: number, index: number];

/** Stored beside a value. A value without it, or whose hash differs, was written by a person, not by a runtime. */
export type EntryHeader = {
  /** Identity of the write, equal in every repetition of the same write. */
  readonly commit: string;
  /** `hashText` of the value. */
  readonly hash: string;
  /** W3C traceparent of the commit, when there is one. */
  readonly trace?: string;
};

export type StoredEntry = {
  readonly key: string;
  readonly value: string;
  readonly revision: Revision;
  readonly header: EntryHeader | undefined;
};

export type StoreWrite = {
  readonly key: string;
  /** JSON text. */
  readonly value: string;
  readonly header: EntryHeader;
  /** The latest revision the key must have; 0: it must have none (never written, or purged). */
  readonly expect: Revision;
  /** The writer's token. Adapters that can check it in the same step refuse a stale one as `fenced`. */
  readonly token: Token;
};

export type RefusalReason =
  /** No room: nothing was written; writes go on when there is room again. */
  | "full"
  /** The value is above `maxValueBytes`. */
  | "tooLarge"
  /** The token belongs to an earlier epoch of this store: another host has opened it since. Stop. */
  | "fenced"
  /** The store was closed by this process. */
  | "closed";

export type WriteOutcome =
  /** Durable as `StoreInfo.durability` says, at this revision. */
  | { readonly kind: "written"; readonly revision: Revision }
  /** The key's revision is not `expect`. May also be our own earlier repetition: read, compare the commit id. */
  | { readonly kind: "conflict" }
  /** No answer: it may be stored now, later, or never. Repeat the identical write until the outcome is known (R6). */
  | { readonly kind: "unknown"; readonly cause?: unknown }
  /** Surely not written, and never will be. */
  | { readonly kind: "refused"; readonly reason: RefusalReason; readonly detail: string };

export type StoreInfo = {
  readonly name: string;
  /** Changes when the store is made anew; stays over restarts. */
  readonly identity: string;
  /** What an acknowledged write survives. */
  readonly durability: "none" | "process-crash" | "power-loss" | "replicated";
  readonly maxValueBytes: number;
  /** How many revisions `history` keeps of a key, the latest included. */
  readonly historyDepth: number;
};

export type ListOptions = {
  /** Only keys that begin with this text. */
  readonly prefix: string;
  /** Only keys after this one. */
  readonly after?: string;
  readonly limit?: number;
};

export type StoreChange =
  | { readonly kind: "put"; readonly entry: StoredEntry }
  | { readonly kind: "purge"; readonly key: string; readonly revision: Revision };

/** The store is not the one that was opened: made anew, or without writes that it had confirmed. */
export type StoreLoss = { readonly reason: "replaced" | "wentBack"; readonly detail: string };

export interface ActorStore {
  readonly info: StoreInfo;
  /** Which of several logs a key is in: revisions grow in each for itself. Missing: there is one. */
  shardOf?(key: string): number;
  /** Told once, also when it has happened already; nothing is written from then on. Returns how to stop. */
  onLoss?(listener: (loss: StoreLoss) => void): () => void;
  /** The latest value, read from whoever decides writes. Rejects when the store cannot be reached. */
  read(key: string): Promise<StoredEntry | undefined>;
  /** Never rejects: whatever happens is one of the four outcomes. */
  write(write: StoreWrite): Promise<WriteOutcome>;
  /** Removes the key with its history, if its latest revision is `expect`. Afterwards `expect: 0` writes it anew. */
  purge(key: string, expect: Revision, token: Token): Promise<WriteOutcome>;
  /** Latest values in the order of their keys (by UTF-16 code unit), at most `limit` (default 1,000). */
  list(options: ListOptions): Promise<readonly StoredEntry[]>;
  /** The kept revisions of a key, oldest first. */
  history(key: string): Promise<readonly StoredEntry[]>;
  /**
   * Calls `onChange` for every later write or purge of keys with this prefix, in the order of revisions. May skip
   * revisions of a key that were overwritten meanwhile, never the latest. Returns how to stop.
   */
  watch(prefix: string, onChange: (change: StoreChange) => void): () => void;
  /** Waits for writes in flight, then refuses all others. */
  close(): Promise<void>;
}

export function compareTokens(a: Token, b: Token): number {
  return a[0] - b[0] || a[1] - b[1];
}
