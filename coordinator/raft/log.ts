/**
 * One node's log: what is stored, followed by what is not yet known to be, and how far it is committed and applied.
 * Invariant: applied <= applying <= committed <= last index; an entry at or below `committed` never changes.
 */
import type { Logger } from "./config.ts";
import { assertRaft } from "./invariant.ts";
import type { Entry, Snapshot } from "./messages.ts";
import { limitSize, type Missing, type Storage } from "./storage.ts";
import { type EntryId, Unstable } from "./unstable.ts";

export class RaftLog {
  /** The highest index known to be committed. */
  committed: number;
  /** The highest index handed out to be applied. */
  applying: number;
  /** The highest index known to be applied. */
  applied: number;
  readonly unstable: Unstable;
  readonly maxApplyingBytes: number;
  readonly #storage: Storage;
  readonly #logger: Logger;
  #applyingBytes = 0;
  #applyingPaused = false;

  constructor(storage: Storage, logger: Logger, maxApplyingBytes: number) {
    this.#storage = storage;
    this.#logger = logger;
    this.maxApplyingBytes = maxApplyingBytes;
    this.unstable = new Unstable(storage.lastIndex() + 1, logger);
    this.committed = this.applying = this.applied = storage.firstIndex() - 1;
  }

  firstIndex(): number {
    return this.unstable.firstIndex() ?? this.#storage.firstIndex();
  }

  lastIndex(): number {
    return this.unstable.lastIndex() ?? this.#storage.lastIndex();
  }

  /** The last entry; for an empty log, where it begins. */
  lastEntryId(): EntryId {
    const index = this.lastIndex();
    const term = this.term(index);
    assertRaft(typeof term === "number", () => `the term of the last entry, ${index}, is ${term}`);
    return { term, index };
  }

  term(index: number): number | Missing {
    const unstable = this.unstable.term(index);
    if (unstable !== undefined) return unstable;
    // The entry before the first is compacted, but its term is kept: appends are matched with it.
    if (index + 1 < this.firstIndex()) return "compacted";
    if (index > this.lastIndex()) return "unavailable";
    return this.#storage.term(index);
  }

  /** Zero where the term is not known. */
  termOrZero(index: number): number {
    const term = this.term(index);
    return typeof term === "number" ? term : 0;
  }

  matchTerm({ term, index }: EntryId): boolean {
    return this.term(index) === term;
  }

  /** Whether a log that ends with `other` has all that this one may have had committed: term first, then index. */
  isUpToDate(other: EntryId): boolean {
    const ours = this.lastEntryId();
    return other.term > ours.term || (other.term === ours.term && other.index >= ours.index);
  }

  /** Entries from `index` to the end, cut to `maxBytes`. */
  entries(index: number, maxBytes: number): readonly Entry[] | "compacted" {
    return index > this.lastIndex() ? [] : this.slice(index, this.lastIndex() + 1, maxBytes);
  }

  /** Entries in [low, high), cut to `maxBytes`, but at least one. */
  slice(low: number, high: number, maxBytes: number): readonly Entry[] | "compacted" {
    assertRaft(low <= high, () => `invalid slice ${low} > ${high}`);
    if (low < this.firstIndex()) return "compacted";
    assertRaft(high <= this.lastIndex() + 1, () => `slice[${low},${high}) out of bound [,${this.lastIndex()}]`);
    if (low === high) return [];
    const { offset } = this.unstable;
    if (low >= offset) return limitSize(this.unstable.slice(low, high), maxBytes);
    const storedEnd = Math.min(high, offset);
    const stored = this.#storage.entries(low, storedEnd, maxBytes);
    if (stored === "compacted") return stored;
    assertRaft(stored !== "unavailable", () => `entries[${low}:${storedEnd}) is unavailable from storage`);
    if (stored.length < storedEnd - low || high <= offset) return stored;
    return limitSize([...stored, ...this.unstable.slice(offset, high)], maxBytes);
  }

  /**
   * Appends what a leader sent after its entry `previous`, and commits as far as it says, but not beyond what it sent.
   * Returns the last index that is now known to equal the leader's; undefined if `previous` is not in this log.
   */
  maybeAppend(previous: EntryId, entries: readonly Entry[], leaderCommit: number): number | undefined {
    if (!this.matchTerm(previous)) return undefined;
    const lastNew = previous.index + entries.length;
    // Only a conflict may cut the log: this message may be older than entries that came after it.
    const conflict = this.#findConflict(entries);
    if (conflict !== undefined) {
      assertRaft(
        conflict > this.committed,
        () => `entry ${conflict} conflict with committed entry [committed(${this.committed})]`,
      );
      this.append(entries.slice(conflict - previous.index - 1));
    }
    this.commitTo(Math.min(leaderCommit, lastNew));
    return lastNew;
  }

  /** Returns the last index. */
  append(entries: readonly Entry[]): number {
    const [first] = entries;
    if (first === undefined) return this.lastIndex();
    const after = first.index - 1;
    assertRaft(after >= this.committed, () => `after(${after}) is out of range [committed(${this.committed})]`);
    this.unstable.truncateAndAppend(entries);
    return this.lastIndex();
  }

  /** The first index at which the entries differ from the log, or go beyond it. */
  #findConflict(entries: readonly Entry[]): number | undefined {
    const differing = entries.find((entry) => !this.matchTerm(entry));
    if (differing !== undefined && differing.index <= this.lastIndex()) {
      const terms = `existing term: ${this.termOrZero(differing.index)}, conflicting term: ${differing.term}`;
      this.#logger("INFO", `found conflict at index ${differing.index} [${terms}]`);
    }
    return differing?.index;
  }

  /**
   * Where this log may meet another of which one entry, (index, term), is known: the highest index up to that one whose
   * term is not above `term`, or is not known (then 0). Skips whole terms, for both sides of a rejected append.
   */
  findConflictByTerm(index: number, term: number): EntryId {
    for (let guess = index; guess > 0; guess--) {
      const ours = this.term(guess);
      if (typeof ours !== "number") return { index: guess, term: 0 };
      if (ours <= term) return { index: guess, term: ours };
    }
    return { index: 0, term: 0 };
  }

  /** Whether a membership change is committed that may not be applied yet. */
  hasUnappliedConfChanges(): boolean {
    let next = this.applied + 1;
    while (next <= this.committed) {
      const page = this.slice(next, this.committed + 1, this.maxApplyingBytes);
      // Applied and compacted already, only that this node has not been told yet: it soon will be.
      if (page === "compacted") return true;
      if (page.some(({ type }) => type !== "EntryNormal")) return true;
      next += page.length;
    }
    return false;
  }

  commitTo(index: number): void {
    if (index <= this.committed) return;
    assertRaft(
      index <= this.lastIndex(),
      () =>
        `tocommit(${index}) is out of range [lastIndex(${this.lastIndex()})]. Was the raft log corrupted, truncated, or lost?`,
    );
    this.committed = index;
  }

  /** Commits up to `id`, which a quorum has, unless it is of an older term: counting copies of those proves nothing. */
  maybeCommit(id: EntryId): boolean {
    if (id.term === 0 || id.index <= this.committed || !this.matchTerm(id)) return false;
    this.commitTo(id.index);
    return true;
  }

  nextUnstableEntries(): readonly Entry[] {
    return this.unstable.nextEntries();
  }

  /** Whether anything is not known to be stored. */
  hasUnstableEntries(): boolean {
    return this.unstable.length > 0;
  }

  hasSnapshot(): boolean {
    return this.unstable.snapshot !== undefined;
  }

  snapshot(): Snapshot | "unavailable" {
    return this.unstable.snapshot ?? this.#storage.snapshot();
  }

  /** Committed entries to apply; with `allowUnstable` also those that are not known to be stored here. */
  nextCommittedEntries(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommittedEntries(allowUnstable)) return [];
    const end = this.#maxAppliable(allowUnstable) + 1;
    const entries = this.slice(this.applying + 1, end, this.maxApplyingBytes - this.#applyingBytes);
    assertRaft(
      entries !== "compacted",
      () => `entries from ${this.applying + 1} were compacted before they were applied`,
    );
    return entries;
  }

  hasNextCommittedEntries(allowUnstable: boolean): boolean {
    // A snapshot is applied first, and alone.
    if (this.#applyingPaused || this.hasSnapshot()) return false;
    return this.applying < this.#maxAppliable(allowUnstable);
  }

  #maxAppliable(allowUnstable: boolean): number {
    return allowUnstable ? this.committed : Math.min(this.committed, this.unstable.offset - 1);
  }

  /** Entries up to `index` were handed out. No more are, until enough of them are applied. */
  acceptApplying(index: number, sizeBytes: number, allowUnstable: boolean): void {
    assertRaft(index <= this.committed, () => `applying(${index}) is above committed(${this.committed})`);
    this.applying = index;
    this.#applyingBytes += sizeBytes;
    // Cut short by the limit: the next entry would exceed it.
    const wasCut = index < this.#maxAppliable(allowUnstable);
    this.#applyingPaused = this.#applyingBytes >= this.maxApplyingBytes || wasCut;
  }

  appliedTo(index: number, sizeBytes: number): void {
    assertRaft(
      index <= this.committed && index >= this.applied,
      () => `applied(${index}) is out of range [prevApplied(${this.applied}), committed(${this.committed})]`,
    );
    this.applied = index;
    this.applying = Math.max(this.applying, index);
    this.#applyingBytes = Math.max(0, this.#applyingBytes - sizeBytes);
    this.#applyingPaused = this.#applyingBytes >= this.maxApplyingBytes;
  }

  restore(snapshot: Snapshot): void {
    const { index, term } = snapshot.metadata;
    this.#logger("INFO", `log [${this}] starts to restore snapshot [index: ${index}, term: ${term}]`);
    this.committed = index;
    this.unstable.restore(snapshot);
  }

  toString(): string {
    const { committed, applied, applying, unstable } = this;
    const { offset, offsetInProgress, length } = unstable;
    return (
      `committed=${committed}, applied=${applied}, applying=${applying}, unstable.offset=${offset}, ` +
      `unstable.offsetInProgress=${offsetInProgress}, len(unstable.Entries)=${length}`
    );
  }
}
