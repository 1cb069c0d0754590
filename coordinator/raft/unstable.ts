/**
 * The part of the log, and the snapshot, that are not known to be durable yet: new, or being written. They are kept until
 * the write is confirmed, so that the log reads the same throughout. `offset` may be below the end of the stored log:
 * then the stored entries from there on are about to be replaced.
 */
import type { Logger } from "./config.ts";
import { assertRaft } from "./invariant.ts";
import type { Entry, Snapshot } from "./messages.ts";

export type EntryId = { readonly term: number; readonly index: number };

export class Unstable {
  snapshot: Snapshot | undefined;
  #snapshotInProgress = false;
  #entries: Entry[] = [];
  /** The index of the first entry here. */
  #offset: number;
  /** Entries below this are being written. */
  #offsetInProgress: number;
  readonly #logger: Logger;

  constructor(offset: number, logger: Logger) {
    this.#offset = offset;
    this.#offsetInProgress = offset;
    this.#logger = logger;
  }

  get offset(): number {
    return this.#offset;
  }

  get offsetInProgress(): number {
    return this.#offsetInProgress;
  }

  get length(): number {
    return this.#entries.length;
  }

  firstIndex(): number | undefined {
    return this.snapshot && this.snapshot.metadata.index + 1;
  }

  lastIndex(): number | undefined {
    if (this.#entries.length > 0) return this.#offset + this.#entries.length - 1;
    return this.snapshot?.metadata.index;
  }

  term(index: number): number | undefined {
    if (index >= this.#offset) return this.#entries[index - this.#offset]?.term;
    return this.snapshot?.metadata.index === index ? this.snapshot.metadata.term : undefined;
  }

  /** Entries whose write has not begun. */
  nextEntries(): readonly Entry[] {
    return this.#entries.slice(this.#offsetInProgress - this.#offset);
  }

  hasNextEntries(): boolean {
    return this.#offset + this.#entries.length > this.#offsetInProgress;
  }

  /** The snapshot, if its write has not begun. */
  nextSnapshot(): Snapshot | undefined {
    return this.#snapshotInProgress ? undefined : this.snapshot;
  }

  /** The write of everything here begins. */
  acceptInProgress(): void {
    if (this.#entries.length > 0) this.#offsetInProgress = this.#offset + this.#entries.length;
    if (this.snapshot !== undefined) this.#snapshotInProgress = true;
  }

  /** Entries up to `id` are durable, and no write under way can replace them: the caller attests that. */
  stableTo({ term, index }: EntryId): void {
    const ours = this.term(index);
    if (ours === undefined) {
      this.#logger("INFO", `entry at index ${index} missing from unstable log; ignoring`);
    } else if (index < this.#offset) {
      this.#logger("INFO", `entry at index ${index} matched unstable snapshot; ignoring`);
    } else if (ours !== term) {
      // Replaced between the beginning and the end of the write.
      const [written, kept] = [`(index,term)=(${index},${term})`, `(${index},${ours})`];
      this.#logger("INFO", `entry at ${written} mismatched with entry at ${kept} in unstable log; ignoring`);
    } else {
      this.#entries = this.#entries.slice(index + 1 - this.#offset);
      this.#offset = index + 1;
      this.#offsetInProgress = Math.max(this.#offsetInProgress, this.#offset);
    }
  }

  stableSnapshotTo(index: number): void {
    if (this.snapshot?.metadata.index !== index) return;
    this.snapshot = undefined;
    this.#snapshotInProgress = false;
  }

  restore(snapshot: Snapshot): void {
    this.#offset = snapshot.metadata.index + 1;
    this.#offsetInProgress = this.#offset;
    this.#entries = [];
    this.snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  /** Puts entries in place of whatever is there from the first of them on. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = entries[0]!.index;
    if (from === this.#offset + this.#entries.length) {
      // One by one: as arguments, a long log would not fit the stack.
      for (const entry of entries) this.#entries.push(entry);
    } else if (from <= this.#offset) {
      this.#logger("INFO", `replace the unstable entries from index ${from}`);
      this.#entries = [...entries];
      this.#offset = from;
      this.#offsetInProgress = from;
    } else {
      this.#logger("INFO", `truncate the unstable entries before index ${from}`);
      this.#entries = [...this.slice(this.#offset, from), ...entries];
      this.#offsetInProgress = Math.min(this.#offsetInProgress, from);
    }
  }

  /** Entries in [low, high), all of which must be here. */
  slice(low: number, high: number): readonly Entry[] {
    const end = this.#offset + this.#entries.length;
    assertRaft(low <= high, () => `invalid unstable.slice ${low} > ${high}`);
    assertRaft(
      low >= this.#offset && high <= end,
      () => `unstable.slice[${low},${high}) out of bound [${this.#offset},${end}]`,
    );
    return this.#entries.slice(low - this.#offset, high - this.#offset);
  }
}
