/**
 * The one truth behind all store handles of a world: keys with their kept revisions, changed only by compare-and-set,
 * in one step. No time and no faults here; `store-model.ts` decides when and whether a request arrives.
 */
import type {
  EntryHeader,
  ListOptions,
  Revision,
  StoreChange,
  StoredEntry,
  StoreWrite,
  Token,
  WriteOutcome,
} from "../../runtime/ports/store.ts";

/** One applied write or purge, for checkers. `header` and `value` are missing for a purge. */
export type AppliedChange = {
  readonly key: string;
  readonly revision: Revision;
  readonly previous: Revision;
  readonly value: string | undefined;
  readonly header: EntryHeader | undefined;
  readonly token: Token | undefined;
  readonly node: string;
  readonly atMs: number;
};

export class StoreData {
  readonly #maxValueBytes: number;
  readonly #historyDepth: number;
  readonly #entries = new Map<string, StoredEntry[]>();
  readonly #log: AppliedChange[] = [];
  readonly #listeners = new Set<(change: StoreChange) => void>();
  #revision: Revision = 0;
  /** Tokens of earlier epochs are refused as `fenced`, as by a store that checks the epoch in its transaction. */
  lowestEpoch = 0;

  constructor(limits: { readonly maxValueBytes: number; readonly historyDepth: number }) {
    this.#maxValueBytes = limits.maxValueBytes;
    this.#historyDepth = limits.historyDepth;
  }

  /** Every applied change since the world began, in the order of revisions. */
  get log(): readonly AppliedChange[] {
    return this.#log;
  }

  latest(key: string): StoredEntry | undefined {
    return this.#entries.get(key)?.at(-1);
  }

  history(key: string): readonly StoredEntry[] {
    return [...(this.#entries.get(key) ?? [])];
  }

  /** The revision of the latest write or purge of the key. */
  lastChangeOf(key: string): Revision | undefined {
    return this.#log.findLast((change) => change.key === key)?.revision;
  }

  list({ prefix, after, limit = 1000 }: ListOptions): readonly StoredEntry[] {
    const keys = [...this.#entries.keys()].filter(
      (key) => key.startsWith(prefix) && (after === undefined || key > after),
    );
    // The default sort compares UTF-16 code units, which is the order the port asks for.
    return keys
      .sort()
      .slice(0, Math.max(0, limit))
      .map((key) => this.latest(key) as StoredEntry);
  }

  write(write: StoreWrite, node: string, atMs: number): WriteOutcome {
    const refused = this.#refusal(write.token);
    if (refused !== undefined) return refused;
    const sizeBytes = new TextEncoder().encode(write.value).length;
    if (sizeBytes > this.#maxValueBytes) {
      return { kind: "refused", reason: "tooLarge", detail: `${sizeBytes} bytes, at most ${this.#maxValueBytes}` };
    }
    if (this.#revisionOf(write.key) !== write.expect) return { kind: "conflict" };
    return { kind: "written", revision: this.#put(write.key, write.value, write.header, write.token, node, atMs) };
  }

  purge(key: string, expect: Revision, token: Token, node: string, atMs: number): WriteOutcome {
    const refused = this.#refusal(token);
    if (refused !== undefined) return refused;
    const previous = this.#revisionOf(key);
    if (previous !== expect) return { kind: "conflict" };
    const revision = ++this.#revision;
    this.#entries.delete(key);
    this.#log.push({ key, revision, previous, value: undefined, header: undefined, token, node, atMs });
    this.#tell({ kind: "purge", key, revision });
    return { kind: "written", revision };
  }

  /** A person at the command line: no header, no expected revision, no token. */
  edit(key: string, value: string, atMs: number): Revision {
    return this.#put(key, value, undefined, undefined, "a person", atMs);
  }

  /** Told of every applied change, at once. */
  onChange(listener: (change: StoreChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #put(
    key: string,
    value: string,
    header: EntryHeader | undefined,
    token: Token | undefined,
    node: string,
    atMs: number,
  ): Revision {
    const previous = this.#revisionOf(key);
    const revision = ++this.#revision;
    const entry: StoredEntry = { key, value, revision, header };
    this.#entries.set(key, [...(this.#entries.get(key) ?? []), entry].slice(-this.#historyDepth));
    this.#log.push({ key, revision, previous, value, header, token, node, atMs });
    this.#tell({ kind: "put", entry });
    return revision;
  }

  #revisionOf(key: string): Revision {
    return this.latest(key)?.revision ?? 0;
  }

  #refusal(token: Token): WriteOutcome | undefined {
    if (token[0] >= this.lowestEpoch) return undefined;
    return {
      kind: "refused",
      reason: "fenced",
      detail: `epoch ${token[0]} is over, the store is at ${this.lowestEpoch}`,
    };
  }

  #tell(change: StoreChange): void {
    for (const listener of [...this.#listeners]) listener(change);
  }
}
