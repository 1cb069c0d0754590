/**
 * The log of one member on its disk, and in memory for the core to read. What is appended while a flush is under way goes
 * with the next one, in one write and one flush. Start reading at `open`.
 *
 * D1 what `append` or `install` resolved for is there after any crash. D2 a tail that nobody was told of may be torn, and is
 * cut; beside an unreadable copy of the hard state it is damage, as a crash leaves one of the two at most. D3 what is missing
 * or damaged before the acknowledged end is never taken for a tail: the log is `damage`d, gives no more than its good
 * prefix, and takes nothing but a snapshot that covers all it ever acknowledged, of no earlier epoch. D4 after a failed
 * write or flush nothing more is written; only a full disk is waited for.
 */
import type { Clock } from "../../runtime/ports/clock.ts";
import { type Disk, DiskFullError } from "../ports/disk.ts";
import { type ConfState, type Entry, emptyHardState, type HardState, type Snapshot } from "../raft/messages.ts";
import { MemoryStorage, type Storage } from "../raft/storage.ts";
import { LogFailed, LogIsDamaged } from "./errors.ts";
import { type Acknowledged, HardStateFiles, type LogIdentity, type LogPlace, type StoredState } from "./hard-state.ts";
import { shortestEntryBytes } from "./record.ts";
import { isSegmentFile, type ReadLog, Segments } from "./segments.ts";
import { isSnapshotFile, readSnapshot, removeOlderSnapshots, writeSnapshot } from "./snapshot-file.ts";

export type DiskLogOptions = {
  readonly disk: Disk;
  readonly identity: LogIdentity;
  /** What a folder that was never used is named, for good. Default: no name, for those who only open used ones. */
  readonly newLife?: string;
  readonly clock: Clock;
  /** The epoch that the data of a snapshot is of. Default: of none, 0. */
  readonly epochIn?: (data: Uint8Array) => number;
  /** A new segment is begun when one is larger. Default: 16 MiB. */
  readonly segmentBytes?: number;
  /** Entries before a snapshot that stay in memory, for members that are a little behind. Default: 1,000. */
  readonly keptEntries?: number;
};

export type Damage = {
  /** The last entry of the good prefix. */
  readonly keptIndex: number;
  /** What a snapshot must cover before this member may take part again. */
  readonly neededIndex: number;
};

type Group = { readonly entries: Entry[]; hardState: HardState | undefined; readonly resolves: (() => void)[] };
type Job =
  | { readonly kind: "append"; readonly group: Group }
  | { readonly kind: "other"; readonly run: () => Promise<void> };

const retryFullMs = 200;
const unused: Acknowledged = { end: { segment: 0, offset: 0 }, lastIndex: 0, snapshotIndex: 0 };

export class DiskLog {
  readonly #options: Required<DiskLogOptions>;
  readonly #memory = new MemoryStorage();
  readonly #states: HardStateFiles;
  readonly #segments: Segments;
  #hardState: HardState = emptyHardState;
  #epoch = 0;
  #damage: Damage | undefined;
  #isFull = false;
  #failure: LogFailed | undefined;
  #isClosed = false;
  #acknowledgedSegment = 0;
  /** Without the one that is under way. */
  readonly #jobs: Job[] = [];
  readonly #rejects = new Set<(error: Error) => void>();
  #running: Promise<void> | undefined;

  /** Rejects with HardStateLost, LogOfAnother, LogTooNew, LogTooOld or DiskFullError. The disk stays the caller's to close. */
  static async open(options: DiskLogOptions): Promise<DiskLog> {
    const { disk, identity, newLife = "" } = options;
    const isUsed = (await disk.list()).some(
      (name) => isSegmentFile(name) || (isSnapshotFile(name) && name !== "snapshot.tmp"),
    );
    const { files, stored } = await HardStateFiles.open(disk, identity, { isUsed, newLife });
    const usual = { segmentBytes: 16 * 1024 * 1024, keptEntries: 1_000, epochIn: () => 0, newLife };
    const log = new DiskLog({ ...usual, ...options }, files);
    try {
      await log.#recover(stored);
      return log;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  private constructor(options: Required<DiskLogOptions>, states: HardStateFiles) {
    this.#options = options;
    this.#states = states;
    this.#segments = new Segments(options.disk);
  }

  /** The name of the folder. */
  get life(): string {
    return this.#states.life;
  }

  /** The latest that this log has been in, damaged or not. 0: none. */
  get epoch(): number {
    return this.#epoch;
  }

  /** What is durable. */
  get storage(): Storage {
    return this.#memory;
  }

  /** While it is there, the member must not vote, campaign or acknowledge anything. */
  get damage(): Damage | undefined {
    return this.#damage;
  }

  /** Appends wait until there is room again. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** On the disk when it resolves. Rejects with LogFailed or LogIsDamaged, and then nothing is known of the disk. */
  append(entries: readonly Entry[], hardState: HardState | undefined): Promise<void> {
    if (this.#damage !== undefined) return Promise.reject(refused(this.#damage));
    return this.#promised((resolve) => {
      const last = this.#jobs.at(-1);
      const group: Group = last?.kind === "append" ? last.group : { entries: [], hardState: undefined, resolves: [] };
      if (last?.kind !== "append") this.#jobs.push({ kind: "append", group });
      replaceFrom(group.entries, entries);
      group.hardState = hardState ?? group.hardState;
      group.resolves.push(resolve);
    });
  }

  /**
   * A snapshot from another member in place of the whole log; repairs a damaged one if it covers what that needs. On the
   * disk when it resolves. Without a hard state, that of the appends before it stays. Rejects with LogIsDamaged, or as
   * `append` does.
   */
  install(snapshot: Snapshot, hardState?: HardState): Promise<void> {
    const needed = this.#damage?.neededIndex ?? 0;
    if (snapshot.metadata.index < needed) return Promise.reject(new LogIsDamaged(snapshot.metadata.index, needed));
    return this.#exclusive(async () => {
      const { index } = snapshot.metadata;
      await this.#step(() => writeSnapshot(this.#options.disk, snapshot));
      await this.#step(() =>
        this.#segments.roll({ afterIndex: index, isNewLog: true, above: this.#acknowledgedSegment }),
      );
      const state = hardState ?? this.#hardState;
      this.#epoch = Math.max(this.#epoch, this.#options.epochIn(snapshot.data));
      this.#hardState = { ...state, commit: Math.max(state.commit, index) };
      this.#memory.applySnapshot(snapshot);
      await this.#step(() => this.#writeState(index));
      this.#memory.setHardState(this.#hardState);
      this.#damage = undefined;
      await this.#step(() => this.#segments.removeOlder());
      await this.#step(() => removeOlderSnapshots(this.#options.disk, index));
    });
  }

  /** A snapshot of this member's own, of the state after an entry that it has applied; older entries go. */
  compact(index: number, confState: ConfState, data: Uint8Array): Promise<void> {
    if (this.#damage !== undefined) return Promise.reject(refused(this.#damage));
    return this.#exclusive(async () => {
      const made = this.#memory.createSnapshot(index, confState, data);
      if (made === "outOfDate") return;
      await this.#step(() => writeSnapshot(this.#options.disk, made));
      await this.#roll();
      const kept = index - this.#options.keptEntries;
      if (kept >= this.#memory.firstIndex()) this.#memory.compact(kept);
      await this.#step(() => this.#segments.removeUpTo(index));
      await this.#step(() => removeOlderSnapshots(this.#options.disk, index));
    });
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running?.catch(() => {});
    this.#rejectAll(new LogFailed(new Error("the log was closed")));
    await this.#segments.close();
    await this.#states.close();
  }

  // ---- opening ----

  async #recover(stored: StoredState | undefined): Promise<void> {
    const { disk } = this.#options;
    const { snapshot, newestIndex } = await readSnapshot(disk);
    const read = await this.#segments.read();
    const acknowledged = stored?.acknowledged ?? unused;
    this.#acknowledgedSegment = acknowledged.end.segment;
    const base = snapshot?.metadata ?? { index: 0, term: 0 };
    const { isOneUnreadable } = this.#states;
    const isShort =
      isBefore(read.end, acknowledged.end) ||
      read.afterIndex > base.index ||
      acknowledged.snapshotIndex > base.index ||
      // Both are flushed in turn, so one crash cannot tear both: the unreadable copy may have acknowledged the rest.
      (isOneUnreadable && read.rest !== undefined);
    const neededIndex = isOneUnreadable
      ? highestIndexOf(read, Math.max(acknowledged.lastIndex, newestIndex))
      : acknowledged.lastIndex;
    // What is lost from the log may all be in the snapshot; then what is left does not lead on from it.
    const isCovered = isShort && neededIndex <= base.index;
    if (snapshot !== undefined) this.#memory.applySnapshot(snapshot);
    this.#epoch = Math.max(stored?.epoch ?? 0, snapshot === undefined ? 0 : this.#options.epochIn(snapshot.data));
    const entries = isCovered ? undefined : entriesAfter(base, read.entries);
    this.#memory.append(entries ?? []);
    this.#hardState = this.#fitting(stored?.hardState ?? emptyHardState);
    this.#memory.setHardState(this.#hardState);
    if (isShort && !isCovered) {
      this.#damage = { keptIndex: this.#memory.lastIndex(), neededIndex };
      return;
    }
    if (stored === undefined) {
      // Before there is a segment: one without a hard state is taken for a used log that has lost it.
      await this.#writeState(0);
      await disk.syncFolder();
    }
    await this.#segments.cutAtEnd();
    const lastIndex = this.#memory.lastIndex();
    const isNewLog = entries === undefined;
    // Before anything is appended, whose tail another crash might tear.
    if (isOneUnreadable) await this.#writeState(lastIndex);
    if (isNewLog || this.#segments.end.segment === 0)
      await this.#segments.roll({ afterIndex: lastIndex, isNewLog, above: this.#acknowledgedSegment });
    await this.#writeState(lastIndex);
    if (isNewLog) await this.#segments.removeOlder();
  }

  /** Nothing of it may contradict the log: a term that the log has seen was not voted in, or that would be written. */
  #fitting({ term, vote, commit }: HardState): HardState {
    const last = this.#memory.lastIndex();
    const lastTerm = this.#memory.term(last);
    const seen = typeof lastTerm === "number" ? lastTerm : 0;
    return {
      term: Math.max(term, seen),
      vote: seen > term ? 0 : vote,
      commit: Math.min(Math.max(commit, this.#memory.firstIndex() - 1), last),
    };
  }

  // ---- writing ----

  #promised(add: (resolve: () => void) => void): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#isClosed) return Promise.reject(new LogFailed(new Error("the log was closed")));
    return new Promise((resolve, reject) => {
      this.#rejects.add(reject);
      add(() => {
        this.#rejects.delete(reject);
        resolve();
      });
      this.#running ??= this.#run();
    });
  }

  #exclusive(work: () => Promise<void>): Promise<void> {
    return this.#promised((resolve) => {
      this.#jobs.push({
        kind: "other",
        run: async () => {
          await work();
          resolve();
        },
      });
    });
  }

  async #run(): Promise<void> {
    try {
      // Whatever is asked for in the same turn goes with the first flush.
      await Promise.resolve();
      for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
        if (job.kind === "append") await this.#flush(job.group);
        else await job.run();
      }
    } catch (error) {
      this.#failure = new LogFailed(error);
      this.#rejectAll(this.#failure);
    } finally {
      this.#running = undefined;
    }
  }

  #rejectAll(error: Error): void {
    this.#jobs.length = 0;
    for (const reject of [...this.#rejects]) reject(error);
    this.#rejects.clear();
  }

  async #flush({ entries, hardState, resolves }: Group): Promise<void> {
    const before = this.#hardState;
    this.#hardState = hardState ?? before;
    const { term, vote } = this.#hardState;
    if (entries.length > 0) await this.#step(() => this.#segments.append(entries));
    // The commit index alone is no promise; it is written with the next group.
    if (entries.length > 0 || term !== before.term || vote !== before.vote)
      await this.#step(() => this.#writeState(entries.at(-1)?.index ?? this.#memory.lastIndex()));
    this.#memory.append(entries);
    this.#memory.setHardState(this.#hardState);
    for (const resolve of resolves) resolve();
    if (this.#segments.end.offset > this.#options.segmentBytes) await this.#roll();
  }

  async #roll(): Promise<void> {
    const lastIndex = this.#memory.lastIndex();
    await this.#step(() => this.#segments.roll({ afterIndex: lastIndex, isNewLog: false }));
    await this.#step(() => this.#writeState(lastIndex));
  }

  async #writeState(lastIndex: number): Promise<void> {
    const end = this.#segments.end;
    const snapshot = this.#memory.snapshot();
    const snapshotIndex = snapshot === "unavailable" ? 0 : snapshot.metadata.index;
    const acknowledged = { end, lastIndex, snapshotIndex };
    await this.#states.write({ hardState: this.#hardState, epoch: this.#epoch, acknowledged });
    this.#acknowledgedSegment = end.segment;
  }

  /** Done again while the disk is full: each step may be repeated. Any other failure ends the log (D4). */
  async #step(work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await work();
        this.#isFull = false;
        return;
      } catch (error) {
        if (!(error instanceof DiskFullError) || this.#isClosed) throw error;
        this.#isFull = true;
        await new Promise<void>(
          (resolve) => void this.#options.clock.after(retryFullMs, resolve, { background: true }),
        );
      }
    }
  }
}

function refused({ keptIndex, neededIndex }: Damage): LogIsDamaged {
  return new LogIsDamaged(keptIndex, neededIndex);
}

/** No log that looks so now can have held more: the unreadable rest was entries that follow on what is known. */
function highestIndexOf({ entries, afterIndex, rest }: ReadLog, knownIndex: number): number {
  const last = Math.max(knownIndex, afterIndex, entries.at(-1)?.index ?? 0, rest?.lastIndex ?? 0);
  return last + Math.floor((rest?.bytes ?? 0) / shortestEntryBytes);
}

/** Those behind the snapshot. Undefined: the log does not lead there, as the snapshot is ahead or of another history. */
function entriesAfter({ index, term }: { readonly index: number; readonly term: number }, entries: readonly Entry[]) {
  const first = entries[0];
  if (first === undefined || first.index === index + 1) return entries;
  return entries[index - first.index]?.term === term ? entries.slice(index + 1 - first.index) : undefined;
}

/** Within one group, a later append replaces an earlier one's tail, as on the disk. */
function replaceFrom(all: Entry[], entries: readonly Entry[]): void {
  const first = entries[0];
  if (first === undefined) return;
  const at = all.findIndex(({ index }) => index >= first.index);
  if (at >= 0) all.length = at;
  all.push(...entries);
}

function isBefore(a: LogPlace, b: LogPlace): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}
