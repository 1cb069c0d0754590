/**
 * The store of one machine, on LMDB, for one host at a time. All writes that arrive while the disk is busy share the next
 * transaction (E1), and at most one is under way (E2), so the order of revisions is the order of commits. Start reading
 * at `write`, then `#commitBatch`.
 *
 * E3 Nothing is acknowledged, told to watchers or readable before it is on the disk.
 * E4 What a failed commit left behind is known before anyone is answered, or the answer is `unknown`.
 * E5 A store that has lost its file is never taken for a new one.
 */
import { constants } from "node:os";
import { type KeysOf, refuseUnknown } from "../../options.ts";
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
import { encodeRecord, MAX_KEY_LENGTH, type RecordKey, recordKeyOf } from "./entry-codec.ts";
import { assertUnhosted, becomeHost, type Hosting } from "./hosting.ts";
import { type KeyChange, LmdbFile } from "./lmdb-file.ts";
import { codeOf } from "./lmdb-open.ts";
import { latestSlot, slotsForWrite, usedSlots } from "./slots.ts";

export type EmbeddedStoreOptions = {
  /** Default 1 MiB. */
  readonly maxValueBytes?: number;
  /** 1 to 64, default 10. */
  readonly historyDepth?: number;
  /** For a command line: reads what no host has open, changes nothing, not even the epoch. */
  readonly readOnly?: boolean;
};

const defaultHistoryDepth = 10;

const storeOptions: KeysOf<EmbeddedStoreOptions> = { maxValueBytes: true, historyDepth: true, readOnly: true };

/** Keys whose kept revisions are remembered; for others a write reads them first. */
const REMEMBERED_KEYS = 50_000;
/** More would only make the first of a batch wait for the last. */
const MAX_BATCH_WRITES = 512;
const MAX_BATCH_BYTES = 16 * 1_048_576;

const { EDQUOT, EFBIG, ENOSPC } = constants.errno;
const MDB_MAP_FULL = -30792;
const FULL_CODES: ReadonlySet<unknown> = new Set([EDQUOT, EFBIG, ENOSPC, MDB_MAP_FULL]);

/** A write or purge that waits for its batch. */
type Pending = {
  readonly key: string;
  readonly expect: Revision;
  readonly token: Token;
  /** undefined: a purge. */
  readonly write: StoreWrite | undefined;
  readonly sizeBytes: number;
  readonly settle: (outcome: WriteOutcome) => void;
};

/** A pending change that became part of a batch. */
type Staged = KeyChange & { readonly pending: Pending; readonly known: Known; readonly revision: Revision };

/** What is in the store of a key. */
type Known = {
  readonly recordKey: RecordKey;
  /** By slot; 0: empty. */
  revisions: Revision[];
  /** Slot of the latest; -1: there is none. */
  latest: number;
};

type Watcher = { readonly prefix: string; readonly onChange: (change: StoreChange) => void };

export class EmbeddedStore implements ActorStore {
  readonly info: StoreInfo;
  readonly #file: LmdbFile;
  readonly #hosting: Hosting | undefined;
  readonly #remembered = new Map<string, Known>();
  readonly #watchers = new Set<Watcher>();
  #queue: Pending[] = [];
  /** The batch under way, or the turn that collects it. */
  #working: Promise<void> | undefined;
  #lastRevision: Revision;
  /** The batch whose commit may or may not be in the file. Nothing else is decided before that is known. */
  #doubtful: readonly Staged[] | undefined;
  #closing: Promise<void> | undefined;

  private constructor(file: LmdbFile, hosting: Hosting | undefined, options: EmbeddedStoreOptions) {
    this.#file = file;
    this.#hosting = hosting;
    this.#lastRevision = file.lastRevision();
    this.info = {
      name: file.directory,
      identity: file.identity() ?? "",
      durability: "power-loss",
      maxValueBytes: options.maxValueBytes ?? 1_048_576,
      // Who only reads sees all that the hosts keep.
      historyDepth: options.historyDepth ?? ((hosting === undefined && file.slots()) || defaultHistoryDepth),
    };
  }

  /** Rejects with `StoreInUse`, or another of the classes in `errors.ts`. `openFile` is for tests of a failing disk. */
  static async open(
    directory: string,
    options: EmbeddedStoreOptions = {},
    openFile: typeof LmdbFile.open = LmdbFile.open,
  ): Promise<EmbeddedStore> {
    refuseUnknown("options of EmbeddedStore.open", options, storeOptions, RangeError);
    const { historyDepth = defaultHistoryDepth, readOnly = false } = options;
    if (!Number.isInteger(historyDepth) || historyDepth < 1 || historyDepth > 64)
      throw new RangeError(`historyDepth is ${historyDepth}: choose 1 to 64`);
    const file = await openFile(directory, readOnly);
    try {
      if (readOnly) await assertUnhosted(file);
      const hosting = readOnly ? undefined : await becomeHost(file, historyDepth);
      return new EmbeddedStore(file, hosting, options);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The epoch of this opening; 0 if it is read-only. */
  get epoch(): number {
    return this.#hosting?.epoch ?? 0;
  }

  async read(key: string): Promise<StoredEntry | undefined> {
    await this.#readable();
    return this.#latest(key);
  }

  async list({ prefix, after, limit = 1_000 }: ListOptions): Promise<readonly StoredEntry[]> {
    await this.#readable();
    return this.#file.keys(prefix, after, limit).flatMap((key) => this.#latest(key) ?? []);
  }

  async history(key: string): Promise<readonly StoredEntry[]> {
    await this.#readable();
    const recordKey = recordKeyOf(key);
    const revisions = this.#file.revisions(recordKey);
    return usedSlots(revisions)
      .sort((a, b) => revisions[a]! - revisions[b]!)
      .slice(-this.info.historyDepth)
      .map((slot) => this.#file.entry(key, recordKey, slot)!);
  }

  write(write: StoreWrite): Promise<WriteOutcome> {
    const { length } = write.value;
    // Only a text that might be too large is measured: a UTF-16 unit takes at most three bytes.
    const sizeBytes = length * 3 > this.info.maxValueBytes ? Buffer.byteLength(write.value) : length;
    if (sizeBytes > this.info.maxValueBytes) {
      const detail = `the value of ${write.key} has ${sizeBytes} bytes, at most ${this.info.maxValueBytes}`;
      return Promise.resolve(refused("tooLarge", detail));
    }
    if (write.key.length === 0 || write.key.length > MAX_KEY_LENGTH)
      return Promise.resolve(
        refused("tooLarge", `a key of ${write.key.length} characters: 1 to ${MAX_KEY_LENGTH} can be stored`),
      );
    return this.#enqueue(write.key, write.expect, write.token, write, sizeBytes);
  }

  purge(key: string, expect: Revision, token: Token): Promise<WriteOutcome> {
    return this.#enqueue(key, expect, token, undefined, 0);
  }

  watch(prefix: string, onChange: (change: StoreChange) => void): () => void {
    const watcher = { prefix, onChange };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Copies the store into another directory, while writes go on: everything acknowledged before this call, and no
   * half of anything. The copy is a store of its own right, with the same identity.
   */
  async backup(targetDirectory: string): Promise<void> {
    await this.#readable();
    await this.#file.backup(targetDirectory);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    while (this.#working) await this.#working;
    this.#watchers.clear();
    if (this.#hosting && !this.#doubtful) {
      try {
        this.#file.leave(this.#hosting.record);
      } catch {
        // A full disk: the name stays, and is seen to be dead as soon as the beacon is out.
      }
    }
    await this.#file.close();
    await this.#hosting?.beacon.extinguish();
  }

  #enqueue(
    key: string,
    expect: Revision,
    token: Token,
    write: StoreWrite | undefined,
    sizeBytes: number,
  ): Promise<WriteOutcome> {
    if (this.#closing) return Promise.resolve(refused("closed", "the store is closed"));
    if (!this.#hosting) return Promise.resolve(refused("closed", "the store was opened read-only"));
    if (token[0] < this.#hosting.epoch)
      return Promise.resolve(refused("fenced", `epoch ${token[0]} is over, this is epoch ${this.#hosting.epoch}`));
    return new Promise((settle) => {
      this.#queue.push({ key, expect, token, write, sizeBytes, settle });
      this.#working ??= this.#work(this.#hosting!);
    });
  }

  async #work(hosting: Hosting): Promise<void> {
    while (this.#queue.length > 0) {
      // Lets everyone who was just answered, and everything else of this turn, put their next write into this batch.
      await new Promise<void>((resume) => setImmediate(resume));
      await this.#commitBatch(hosting.epoch);
    }
    this.#working = undefined;
  }

  /** Never rejects. */
  async #commitBatch(epoch: number): Promise<void> {
    if (this.#doubtful && !(await this.#settleDoubt(epoch, this.#doubtful))) return;
    let batch = this.#takeBatch();
    try {
      const hasRoom = this.#file.takeRoom(batch);
      if (hasRoom !== true && !(await hasRoom)) batch = await this.#withoutWrites(batch);
      if (batch.length === 0) return;
      const isCurrent = await this.#file.commit(epoch, lastRevisionOf(batch), batch);
      if (isCurrent) this.#accept(batch);
      else answer(batch, refused("fenced", `epoch ${epoch} is over: another host has opened the store`));
    } catch (error) {
      await this.#settleFailure(epoch, batch, error);
    }
  }

  /** Decides who may write now. Later changes of a key that is in the batch wait for the next one. */
  #takeBatch(): readonly Staged[] {
    const batch: Staged[] = [];
    const keys = new Set<string>();
    const later: Pending[] = [];
    let sizeBytes = 0;
    let revision = this.#lastRevision;
    for (const pending of this.#queue) {
      if (keys.has(pending.key) || batch.length >= MAX_BATCH_WRITES || sizeBytes >= MAX_BATCH_BYTES) {
        later.push(pending);
        // Its successors of the same key must not overtake it.
        keys.add(pending.key);
        continue;
      }
      try {
        const known = this.#remembered.get(pending.key) ?? this.#lookUp(pending.key);
        if ((known.revisions[known.latest] ?? 0) !== pending.expect) {
          pending.settle({ kind: "conflict" });
          continue;
        }
        batch.push(this.#stage(pending, known, revision + 1));
        revision += 1;
      } catch (cause) {
        pending.settle({ kind: "unknown", cause });
        continue;
      }
      keys.add(pending.key);
      sizeBytes += pending.sizeBytes;
    }
    this.#queue = later;
    return batch;
  }

  #stage(pending: Pending, known: Known, revision: Revision): Staged {
    const { recordKey, revisions } = known;
    const { write } = pending;
    if (!write)
      return { recordKey, slot: -1, record: undefined, removed: usedSlots(revisions), pending, known, revision };
    const record = encodeRecord(write.value, revision, write.header);
    return { recordKey, record, ...slotsForWrite(revisions, this.info.historyDepth), pending, known, revision };
  }

  /** On a full disk only purges go on. */
  async #withoutWrites(batch: readonly Staged[]): Promise<readonly Staged[]> {
    const detail = `no room on the disk of ${this.#file.directory}`;
    answer(
      batch.filter(({ pending }) => pending.write),
      refused("full", detail),
    );
    const purges = batch.filter(({ pending }) => !pending.write);
    if (purges.length === 0 || (await this.#file.takeRoom(purges))) return purges;
    answer(purges, refused("full", detail));
    return [];
  }

  #accept(batch: readonly Staged[]): void {
    if (this.#watchers.size > 0) for (const staged of batch) this.#tell(staged);
    for (const { pending, known, revision, slot, record, removed } of batch) {
      this.#lastRevision = revision;
      for (const empty of removed) known.revisions[empty] = 0;
      if (record) known.revisions[slot] = revision;
      else known.revisions = [];
      known.latest = slot;
      if (!this.#remembered.has(pending.key)) this.#remember(pending.key, known);
      pending.settle({ kind: "written", revision });
    }
  }

  #remember(key: string, known: Known): void {
    if (this.#remembered.size >= REMEMBERED_KEYS) this.#remembered.delete(this.#remembered.keys().next().value!);
    this.#remembered.set(key, known);
  }

  #tell({ pending: { key, write }, revision }: Staged): void {
    const change: StoreChange = write
      ? { kind: "put", entry: { key, value: write.value, revision, header: write.header } }
      : { kind: "purge", key, revision };
    for (const watcher of this.#watchers)
      if (key.startsWith(watcher.prefix))
        // A microtask of its own: a listener that throws stops neither the others nor the store.
        queueMicrotask(() => {
          if (this.#watchers.has(watcher)) watcher.onChange(change);
        });
  }

  /** The file tells whether the batch is in it; if it cannot be asked, nobody knows (E4). */
  async #settleFailure(epoch: number, batch: readonly Staged[], cause: unknown): Promise<void> {
    if (batch.length === 0) return;
    try {
      if (await this.#file.recover(epoch, lastRevisionOf(batch))) return this.#accept(batch);
    } catch {
      this.#doubtful = batch;
      return answer(batch, { kind: "unknown", cause });
    }
    // It left nothing. File systems that write elsewhere than they read may refuse even what has its room.
    if (FULL_CODES.has(codeOf(cause))) answer(batch, refused("full", String(cause)));
    else answer(batch, { kind: "unknown", cause });
  }

  /** False: still unknown, and everyone was told so. Else a repetition finds its write, or is done now. */
  async #settleDoubt(epoch: number, batch: readonly Staged[]): Promise<boolean> {
    try {
      const isWritten = await this.#file.recover(epoch, lastRevisionOf(batch));
      this.#doubtful = undefined;
      // Its callers know already that nobody knew; this is for the watchers.
      if (isWritten) this.#accept(batch);
      return true;
    } catch (cause) {
      const queue = this.#queue;
      this.#queue = [];
      for (const { settle } of queue) settle({ kind: "unknown", cause });
      return false;
    }
  }

  #latest(key: string): StoredEntry | undefined {
    // What is remembered is what was acknowledged; the disk may be one commit ahead, in another slot or in this.
    const known = this.#remembered.get(key) ?? this.#lookUp(key);
    return known.latest < 0 ? undefined : this.#file.entry(key, known.recordKey, known.latest);
  }

  #lookUp(key: string): Known {
    const recordKey = recordKeyOf(key);
    const revisions = this.#file.revisions(recordKey);
    return { recordKey, revisions, latest: latestSlot(revisions) };
  }

  async #readable(): Promise<void> {
    if (this.#closing) throw new Error("the store is closed");
    await this.#file.ready;
  }
}

function lastRevisionOf(batch: readonly Staged[]): Revision {
  return batch.at(-1)!.revision;
}

function answer(batch: readonly Staged[], outcome: WriteOutcome): void {
  for (const { pending } of batch) pending.settle(outcome);
}

function refused(reason: RefusalReason, detail: string): WriteOutcome {
  return { kind: "refused", reason, detail };
}
