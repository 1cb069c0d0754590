/**
 * One LMDB file as the embedded store uses it: opening with every check, commits, reads, takeover, backup.
 *
 * `overlappingSync` is off on purpose: LMDB then syncs the pages, writes the meta page synchronously, and only then lets
 * anyone see the commit. So nothing is ever visible, not even to ourselves, that a power loss could take back, and a
 * commit that fails leaves the state before it. It costs nothing here, since the next batch collects during the sync.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Revision, StoredEntry } from "../../ports/store.ts";
import {
  afterKey,
  afterPrefix,
  decodeRecord,
  inSlot,
  keyOfRecord,
  type RecordKey,
  recordKeyOf,
  revisionOfRecord,
} from "./entry-codec.ts";
import { FileRoom } from "./file-room.ts";
import {
  assertOurs,
  type Databases,
  FILE_NAME,
  FORMAT,
  type Lmdb,
  loadLmdb,
  makeDirectory,
  namedIfDamage,
  openDatabases,
  removeNote,
  type StoreRecord,
  syncToDisk,
} from "./lmdb-open.ts";

/** Who hosts the store, or did until it was killed. */
export type HostRecord = { readonly id: string; readonly pid: number };

/** `newIdentity` is for a store that has none yet. */
type Settings = { readonly newIdentity: string; readonly historyDepth: number };

/** What a batch does to one key. */
export type KeyChange = {
  readonly recordKey: RecordKey;
  /** Where `record` goes, over what is there. */
  readonly slot: number;
  /** undefined: a purge. */
  readonly record: Buffer | undefined;
  /** The slots that become empty. */
  readonly removed: readonly number[];
};

export class LmdbFile {
  readonly directory: string;
  readonly isReadOnly: boolean;
  #databases: Databases;
  #isClosed = false;
  #recovery: Promise<unknown> | undefined;
  readonly #lmdb: Lmdb;
  readonly #room: FileRoom | undefined;

  private constructor(directory: string, isReadOnly: boolean, lmdb: Lmdb) {
    this.directory = directory;
    this.isReadOnly = isReadOnly;
    this.#lmdb = lmdb;
    this.#databases = openDatabases(lmdb, directory, isReadOnly ? "reader" : "host");
    if (isReadOnly) return;
    const { pageSize } = this.#databases.root.getStats() as FileStats;
    this.#room = new FileRoom(join(directory, FILE_NAME), {
      pageBytes: pageSize,
      lastPage: () => this.#lastPage(),
      unusedPages: () => this.#unusedPages(),
    });
  }

  static async open(directory: string, isReadOnly: boolean): Promise<LmdbFile> {
    assertOurs(directory, isReadOnly);
    return new LmdbFile(directory, isReadOnly, await loadLmdb());
  }

  host(): HostRecord | undefined {
    return this.#meta("host") as HostRecord | undefined;
  }

  identity(): string | undefined {
    return (this.#meta("store") as StoreRecord | undefined)?.identity;
  }

  lastRevision(): Revision {
    return (this.#meta("head") as Revision | undefined) ?? 0;
  }

  /** How many slots a key may have: the deepest history that any host asked for. */
  slots(): number {
    return (this.#meta("slots") as number | undefined) ?? 0;
  }

  /**
   * Makes `host` the host, if `replaced` still is what `host()` says, and raises the epoch, all in one durable
   * transaction. Returns the new epoch, or undefined if somebody else was faster.
   */
  takeOver(replaced: HostRecord | undefined, host: HostRecord, settings: Settings): number | undefined {
    const { root, meta } = this.#databases;
    const taken = this.#sound(() =>
      root.transactionSync(() => {
        if (this.host()?.id !== replaced?.id) return undefined;
        const head = meta.getEntry("head");
        const epoch = (head?.version ?? 0) + 1;
        const store: StoreRecord = { application: "holdfast", format: FORMAT, identity: settings.newIdentity };
        if (meta.get("store") === undefined) meta.putSync("store", store);
        meta.putSync("host", host);
        meta.putSync("slots", Math.max(this.slots(), settings.historyDepth));
        meta.putSync("head", head?.value ?? 0, epoch);
        return epoch;
      }),
    );
    if (taken !== undefined) removeNote(this.directory);
    return taken;
  }

  /** Takes the host's name out again, unless another host replaced it. */
  leave(host: HostRecord): void {
    const { root, meta } = this.#databases;
    root.transactionSync(() => {
      if (this.host()?.id === host.id) meta.removeSync("host");
    });
  }

  /** Whether the disk surely has room for these changes. Ask before every commit, and before taking over (of nothing). */
  takeRoom(changes: readonly KeyChange[]): boolean | Promise<boolean> {
    return this.#room!.take(changes);
  }

  /**
   * Writes all changes in one transaction, if the store still is in `epoch`. Resolves when they are on the disk: true, or
   * false if nothing was written because the epoch is over. Rejects with LMDB's or the system's code; then `recover`.
   */
  async commit(epoch: number, lastRevision: Revision, changes: readonly KeyChange[]): Promise<boolean> {
    const { meta, records } = this.#databases;
    try {
      return await meta.ifVersion("head", epoch, () => {
        // These succeed or fail with the whole block, whose promise tells.
        void meta.put("head", lastRevision, epoch);
        for (const { recordKey, slot, record, removed } of changes) {
          if (record) void records.put(inSlot(recordKey, slot), record);
          for (const empty of removed) void records.remove(inSlot(recordKey, empty));
        }
      });
    } catch (error) {
      throw await causeOf(error);
    }
  }

  /**
   * Opens the file anew after a failed commit: LMDB refuses to work on when it could not tell whether a meta page was
   * written. Resolves to whether the commit that ended with this revision is in the store; if so, it is durable too.
   */
  recover(epoch: number, lastRevision: Revision): Promise<boolean> {
    const recovery = this.#recover(epoch, lastRevision);
    this.#recovery = recovery.catch(() => {}).finally(() => (this.#recovery = undefined));
    return recovery;
  }

  /** Wait for it before a read: nothing can be read while the file is being opened anew. */
  get ready(): Promise<unknown> | undefined {
    return this.#recovery;
  }

  async #recover(epoch: number, lastRevision: Revision): Promise<boolean> {
    await this.#closeDatabases();
    this.#databases = openDatabases(this.#lmdb, this.directory, "again");
    this.#isClosed = false;
    const { root, meta } = this.#databases;
    if (this.lastRevision() < lastRevision) return false;
    root.transactionSync(() => meta.putSync("head", this.lastRevision(), epoch));
    return true;
  }

  /** What is kept of a key: revisions by slot, 0 for an empty one. */
  revisions(recordKey: RecordKey): Revision[] {
    const slots = this.slots();
    return this.#sound(() => {
      const found: Revision[] = [];
      for (let slot = 0; slot < slots; slot++) {
        const record = this.#databases.records.getBinaryFast(inSlot(recordKey, slot));
        if (!record && slot === 0) break; // the first to be written and the last to be emptied
        found.push(record ? revisionOfRecord(record) : 0);
      }
      return found;
    });
  }

  entry(key: string, recordKey: RecordKey, slot: number): StoredEntry | undefined {
    return this.#sound(() => {
      const record = this.#databases.records.getBinaryFast(inSlot(recordKey, slot));
      return record && decodeRecord(key, record);
    });
  }

  /** In order, at most `limit`. */
  keys(prefix: string, after: string | undefined, limit: number): string[] {
    const start = after !== undefined && after >= prefix ? afterKey(after) : recordKeyOf(prefix);
    const end = afterPrefix(prefix);
    if (Buffer.compare(start, end) >= 0) return [];
    return this.#sound(() => [...this.#databases.records.getKeys({ start, end, limit })]).map(keyOfRecord);
  }

  #meta(name: string): unknown {
    return this.#sound(() => this.#databases.meta.get(name));
  }

  /** What fails because the file is damaged fails as StoreDamaged. */
  #sound<T>(access: () => T): T {
    try {
      return access();
    } catch (error) {
      throw namedIfDamage(this.directory, error);
    }
  }

  /** Copies one moment of the store into another directory, while writes go on. Resolves when the copy is on the disk. */
  async backup(targetDirectory: string): Promise<void> {
    makeDirectory(targetDirectory);
    const target = join(targetDirectory, FILE_NAME);
    if (existsSync(target)) throw new Error(`${targetDirectory} holds a store already: choose an empty directory`);
    await this.#databases.root.backup(target, true);
    syncToDisk(target);
    syncToDisk(targetDirectory);
  }

  async close(): Promise<void> {
    await this.#closeDatabases();
    this.#room?.close();
  }

  async #closeDatabases(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#databases.root.close();
  }

  #lastPage(): number {
    return (this.#databases.root.getStats() as FileStats).lastPageNumber;
  }

  #unusedPages(): number {
    const { root, meta, records } = this.#databases;
    const { lastPageNumber, free, ...main } = root.getStats() as FileStats;
    const trees = [main, free, ...[meta, records].map((database) => database.getStats() as TreeStats)];
    let usedPages = META_PAGES;
    for (const { treeBranchPageCount, treeLeafPageCount, overflowPages } of trees)
      usedPages += treeBranchPageCount + treeLeafPageCount + overflowPages;
    return lastPageNumber + 1 - usedPages;
  }
}

/** What `getStats` has, which the library's types leave open. */
type TreeStats = {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
};
type FileStats = TreeStats & { readonly lastPageNumber: number; readonly pageSize: number; readonly free: TreeStats };

const META_PAGES = 2;

/** A failed batch rejects with a general error that promises the real one. */
async function causeOf(error: unknown): Promise<unknown> {
  const commitError = (error as { commitError?: Promise<never> }).commitError;
  if (commitError === undefined) return error;
  return commitError.then(
    () => error,
    (cause: unknown) => cause,
  );
}
