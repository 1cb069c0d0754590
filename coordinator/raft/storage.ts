/**
 * The port between the core and whatever keeps its log: what has been made durable, read back synchronously. The core
 * only reads; the driver writes what `Ready` says. MemoryStorage is the reference, for tests and simulations.
 */
import {
  type ConfState,
  type Entry,
  emptyConfState,
  emptyHardState,
  type HardState,
  type Snapshot,
} from "./messages.ts";
import { entrySizeBytes } from "./size.ts";

/** Compacted: replaced by a snapshot. Unavailable: not there yet. */
export type Missing = "compacted" | "unavailable";

/** Reads of the stored log. Indices in use are 1 and up; the entry before `firstIndex()` keeps only its term. */
export interface Storage {
  initialState(): { readonly hardState: HardState; readonly confState: ConfState };
  /** Entries in [low, high), cut to `maxSizeBytes`, but at least one. `low` and `high` are within the log. */
  entries(low: number, high: number, maxSizeBytes: number): readonly Entry[] | Missing;
  /** The term of an entry in [firstIndex() - 1, lastIndex()]. */
  term(index: number): number | Missing;
  lastIndex(): number;
  firstIndex(): number;
  /**
   * A snapshot for a follower that lacks what is compacted: of what is applied, or at least of a time when that follower
   * was a member. Unavailable while one is being made: the core asks again later.
   */
  snapshot(): Snapshot | "unavailable";
}

/** A log in memory. The snapshot is replaceable independently of how far the log is compacted. */
export class MemoryStorage implements Storage {
  #hardState: HardState = emptyHardState;
  #snapshot: Snapshot = { data: new Uint8Array(), metadata: { confState: emptyConfState, index: 0, term: 0 } };
  /** The first one is a stand-in that holds the index and term up to which the log is compacted. */
  #entries: Entry[] = [{ index: 0, term: 0, type: "EntryNormal", data: new Uint8Array() }];

  initialState(): { hardState: HardState; confState: ConfState } {
    return { hardState: this.#hardState, confState: this.#snapshot.metadata.confState };
  }

  entries(low: number, high: number, maxSizeBytes: number): readonly Entry[] | Missing {
    const offset = this.#offset();
    if (low <= offset) return "compacted";
    if (high > this.lastIndex() + 1)
      throw new RangeError(`entries' hi(${high}) is out of bound lastindex(${this.lastIndex()})`);
    if (this.#entries.length === 1) return "unavailable";
    return limitSize(this.#entries.slice(low - offset, high - offset), maxSizeBytes);
  }

  term(index: number): number | Missing {
    const offset = this.#offset();
    if (index < offset) return "compacted";
    return this.#entries[index - offset]?.term ?? "unavailable";
  }

  lastIndex(): number {
    return this.#offset() + this.#entries.length - 1;
  }

  firstIndex(): number {
    return this.#offset() + 1;
  }

  snapshot(): Snapshot | "unavailable" {
    return this.#snapshot;
  }

  /** What is here now, as a storage of its own: to come back to after a crash. */
  clone(): MemoryStorage {
    const copy = new MemoryStorage();
    copy.#hardState = this.#hardState;
    copy.#snapshot = this.#snapshot;
    copy.#entries = [...this.#entries];
    return copy;
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  /** Replaces everything by the snapshot; one that is not newer than ours is refused. Index 0: members and nothing else. */
  applySnapshot(snapshot: Snapshot): "applied" | "outOfDate" {
    const { index } = this.#snapshot.metadata;
    if (index !== 0 && index >= snapshot.metadata.index) return "outOfDate";
    this.#snapshot = snapshot;
    this.#entries = [standIn(snapshot.metadata.index, snapshot.metadata.term)];
    return "applied";
  }

  /** Makes the state machine at `index` the snapshot that is given out; the log is left as it is. */
  createSnapshot(index: number, confState: ConfState | undefined, data: Uint8Array): Snapshot | "outOfDate" {
    if (index <= this.#snapshot.metadata.index) return "outOfDate";
    const term = this.term(index);
    if (typeof term !== "number")
      throw new RangeError(`snapshot ${index} is out of bound lastindex(${this.lastIndex()})`);
    this.#snapshot = { data, metadata: { index, term, confState: confState ?? this.#snapshot.metadata.confState } };
    return this.#snapshot;
  }

  /** Drops all entries up to and including `index`. The driver must not compact what it has not applied. */
  compact(index: number): "compacted" | "done" {
    const offset = this.#offset();
    if (index <= offset) return "compacted";
    if (index > this.lastIndex())
      throw new RangeError(`compact ${index} is out of bound lastindex(${this.lastIndex()})`);
    const term = this.#entries[index - offset]!.term;
    this.#entries = [standIn(index, term), ...this.#entries.slice(index - offset + 1)];
    return "done";
  }

  /** Entries without a gap to the log, in place of whatever is there from the first of them on. */
  append(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    const fresh = entries.slice(Math.max(0, this.firstIndex() - entries[0]!.index));
    const first = fresh[0];
    if (first === undefined) return;
    if (first.index > this.lastIndex() + 1)
      throw new RangeError(`missing log entry [last: ${this.lastIndex()}, append at: ${first.index}]`);
    this.#entries.length = first.index - this.#offset();
    for (const entry of fresh) this.#entries.push(entry);
  }

  #offset(): number {
    return this.#entries[0]!.index;
  }
}

function standIn(index: number, term: number): Entry {
  return { index, term, type: "EntryNormal", data: new Uint8Array() };
}

/** The longest prefix within `maxSizeBytes`, but at least one entry. */
export function limitSize(entries: readonly Entry[], maxSizeBytes: number): readonly Entry[] {
  let sizeBytes = 0;
  for (let count = 0; count < entries.length; count++) {
    sizeBytes += entrySizeBytes(entries[count]!);
    if (count > 0 && sizeBytes > maxSizeBytes) return entries.slice(0, count);
  }
  return entries;
}
