/**
 * One LMDB file as the embedded store uses it: opening with every check, commits, reads, takeover, backup.
 *
 * `overlappingSync` is off on purpose: LMDB then syncs the pages, writes the meta page synchronously, and only then lets
 * anyone see the commit. So nothing is ever visible, not even to ourselves, that a power loss could take back, and a
 * commit that fails leaves the state before it. It costs nothing here, since the next batch collects during the sync.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import type { Revision, StoredEntry } from "../../ports/store.ts";
import {
  afterKey,
  afterPrefix,
  decodeKey,
  decodeRecord,
  decodeRevisions,
  encodeKey,
  encodeRevisions,
} from "./entry-codec.ts";
import { ForeignDirectory, LmdbMissing, StoreDamaged, StoreNotFound, StoreTooNew } from "./errors.ts";
import { FileRoom } from "./file-room.ts";
import { damageOf } from "./lmdb-header.ts";

/** Raised when an older release could no longer read what this one writes. */
const FORMAT = 1;
const FILE_NAME = "holdfast.mdb";

/** Codes of LMDB that say the file is not what it should be: INVALID, VERSION_MISMATCH, PAGE_NOTFOUND, CORRUPTED. */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set([-30793, -30794, -30797, -30796]);

/** Who hosts the store, or did until it was killed. */
export type HostRecord = { readonly id: string; readonly pid: number };

type StoreRecord = { readonly application: "holdfast"; readonly format: number; readonly identity: string };

/** What a batch does to one key. */
export type KeyChange = {
  readonly encodedKey: Buffer;
  /** A new record of the log; undefined: a purge. */
  readonly put: { readonly revision: Revision; readonly record: Buffer } | undefined;
  /** The key's revisions afterwards, newest first. */
  readonly kept: readonly Revision[];
  /** The revisions that fall out of the log. */
  readonly removed: readonly Revision[];
};

type Databases = {
  readonly root: RootDatabase<unknown, string>;
  /** "store": what this is. "host": who has it. "head": the last revision; its version is the epoch. */
  readonly meta: Database<unknown, string>;
  /** Records by revision. */
  readonly log: Database<Buffer, Revision>;
  /** Kept revisions by encoded key. */
  readonly index: Database<Buffer, Buffer>;
};

/**
 * Fills pages to the end instead of splitting them in halves. Revisions only grow, as LMDB requires for it. The cast:
 * the library's types know these options only for the synchronous put.
 */
const APPEND = { append: true } as unknown as number;

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
    this.#databases = openDatabases(lmdb, directory, isReadOnly);
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
    return this.#databases.meta.get("host") as HostRecord | undefined;
  }

  identity(): string | undefined {
    return (this.#databases.meta.get("store") as StoreRecord | undefined)?.identity;
  }

  lastRevision(): Revision {
    return (this.#databases.meta.get("head") as Revision | undefined) ?? 0;
  }

  /**
   * Makes `host` the host, if `replaced` still is what `host()` says, and raises the epoch, all in one durable
   * transaction. Returns the new epoch, or undefined if somebody else was faster.
   */
  takeOver(replaced: HostRecord | undefined, host: HostRecord, identity: string): number | undefined {
    const { root, meta } = this.#databases;
    return root.transactionSync(() => {
      if (this.host()?.id !== replaced?.id) return undefined;
      const head = meta.getEntry("head");
      const epoch = (head?.version ?? 0) + 1;
      const store: StoreRecord = { application: "holdfast", format: FORMAT, identity };
      if (meta.get("store") === undefined) meta.putSync("store", store);
      meta.putSync("host", host);
      meta.putSync("head", head?.value ?? 0, epoch);
      return epoch;
    });
  }

  /** Takes the host's name out again, unless another host replaced it. */
  leave(host: HostRecord): void {
    const { root, meta } = this.#databases;
    root.transactionSync(() => {
      if (this.host()?.id === host.id) meta.removeSync("host");
    });
  }

  /** Whether the disk surely has room for these changes. Ask before every commit, and before taking over (of nothing). */
  async takeRoom(changes: readonly KeyChange[]): Promise<boolean> {
    return this.#room!.take(changes);
  }

  /**
   * Writes all changes in one transaction, if the store still is in `epoch`. Resolves when they are on the disk: true, or
   * false if nothing was written because the epoch is over. Rejects with LMDB's or the system's code; then `recover`.
   */
  async commit(epoch: number, lastRevision: Revision, changes: readonly KeyChange[]): Promise<boolean> {
    const { meta, log, index } = this.#databases;
    try {
      return await meta.ifVersion("head", epoch, () => {
        // These succeed or fail with the whole block, whose promise tells.
        void meta.put("head", lastRevision, epoch);
        for (const { encodedKey, put, kept, removed } of changes) {
          for (const revision of removed) void log.remove(revision);
          if (put) log.put(put.revision, put.record, APPEND).catch(ignore);
          if (kept.length > 0) void index.put(encodedKey, encodeRevisions(kept));
          else void index.remove(encodedKey);
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
    this.#databases = openDatabases(this.#lmdb, this.directory, this.isReadOnly);
    this.#isClosed = false;
    const { root, meta } = this.#databases;
    if (this.lastRevision() < lastRevision) return false;
    root.transactionSync(() => meta.putSync("head", this.lastRevision(), epoch));
    return true;
  }

  read(key: string): StoredEntry | undefined {
    const [newest] = this.revisions(encodeKey(key));
    return newest === undefined ? undefined : this.#record(key, newest);
  }

  /** Newest first. */
  revisions(encodedKey: Buffer): readonly Revision[] {
    if (encodedKey.length === 0) return []; // LMDB has no empty keys
    const found = this.#databases.index.getBinary(encodedKey);
    return found ? decodeRevisions(found) : [];
  }

  /** Newest first, of one moment as everything that is read without waiting in between. */
  history(key: string, limit: number): StoredEntry[] {
    return this.revisions(encodeKey(key))
      .slice(0, limit)
      .map((revision) => this.#record(key, revision));
  }

  list(prefix: string, after: string | undefined, limit: number): StoredEntry[] {
    const start = after !== undefined && after >= prefix ? afterKey(after) : encodeKey(prefix);
    const end = afterPrefix(prefix);
    if (Buffer.compare(start, end) >= 0) return [];
    const range = start.length === 0 ? { end, limit } : { start, end, limit };
    return [...this.#databases.index.getRange(range)].map(({ key, value }) =>
      this.#record(decodeKey(key), decodeRevisions(value)[0]!),
    );
  }

  #record(key: string, revision: Revision): StoredEntry {
    const record = this.#databases.log.getBinary(revision);
    if (!record) throw new StoreDamaged(this.directory, `${key} has no record of revision ${revision}`);
    try {
      return decodeRecord(key, revision, record);
    } catch (cause) {
      throw new StoreDamaged(this.directory, `the record of ${key} at revision ${revision} is not one`, { cause });
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
    const { root, meta, log, index } = this.#databases;
    const { lastPageNumber, free, ...main } = root.getStats() as FileStats;
    const trees = [main, free, ...[meta, log, index].map((database) => database.getStats() as TreeStats)];
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

type Lmdb = typeof import("lmdb");

async function loadLmdb(): Promise<Lmdb> {
  try {
    return await import("lmdb");
  } catch (cause) {
    throw new LmdbMissing({ cause });
  }
}

function openDatabases(lmdb: Lmdb, directory: string, readOnly: boolean): Databases {
  const path = join(directory, FILE_NAME);
  const damage = damageOf(path);
  if (damage !== undefined) throw new StoreDamaged(directory, `${FILE_NAME}: ${damage}`);
  let root: RootDatabase<unknown, string> | undefined;
  try {
    root = lmdb.open<unknown, string>({ path, noSubdir: true, readOnly, overlappingSync: false, maxDbs: 4 });
    const names = [...root.getKeys({ limit: 4 })];
    if (names.length > 0 && !names.includes("meta"))
      throw new ForeignDirectory(directory, `${FILE_NAME} is not a store`);
    // A host that was killed while it made the store left an empty one.
    if (readOnly && names.length < 3) throw new StoreNotFound(directory);
    const meta = root.openDB<unknown, string>("meta", { encoding: "json", useVersions: true });
    const store = meta.get("store") as Partial<StoreRecord> | undefined;
    if (store !== undefined && (store.application !== "holdfast" || typeof store.format !== "number"))
      throw new ForeignDirectory(directory, `${FILE_NAME} is not a store`);
    if (store?.format !== undefined && store.format > FORMAT) throw new StoreTooNew(directory, store.format, FORMAT);
    if (readOnly && store === undefined) throw new StoreNotFound(directory);
    const log = root.openDB<Buffer, Revision>("log", { encoding: "binary" });
    const index = root.openDB<Buffer, Buffer>("index", { encoding: "binary", keyEncoding: "binary" });
    const [last = 0] = log.getKeys({ reverse: true, limit: 1 });
    if (last > ((meta.get("head") as Revision | undefined) ?? 0))
      throw new StoreDamaged(directory, `the log goes on after its last revision, to ${last}`);
    return { root, meta, log, index };
  } catch (error) {
    void root?.close();
    const code = codeOf(error);
    if (DAMAGE_CODES.has(code)) throw new StoreDamaged(directory, (error as Error).message, { cause: error });
    throw error;
  }
}

/** Refuses what is not ours before LMDB makes files there. */
function assertOurs(directory: string, isReadOnly: boolean): void {
  const found = statSync(directory, { throwIfNoEntry: false });
  if (found && !found.isDirectory()) throw new ForeignDirectory(directory, "it is a file");
  const names = found ? readdirSync(directory) : [];
  if (names.includes(FILE_NAME)) return;
  const stranger = names.find((name) => !name.startsWith(".") && name !== "lost+found" && !isOwnLeftover(name));
  if (stranger !== undefined) throw new ForeignDirectory(directory, `it holds ${stranger}`);
  if (isReadOnly) throw new StoreNotFound(directory);
  makeDirectory(directory);
}

function makeDirectory(directory: string): void {
  const firstMade = mkdirSync(directory, { recursive: true });
  if (firstMade !== undefined) syncToDisk(dirname(firstMade));
}

/** What may stand in a directory whose store was taken away. */
function isOwnLeftover(name: string): boolean {
  return name === `${FILE_NAME}-lock` || name === "holdfast.sock" || /^host-.*\.lock$/.test(name);
}

function ignore(): void {}

/** A failed batch rejects with a general error that promises the real one. */
async function causeOf(error: unknown): Promise<unknown> {
  const commitError = (error as { commitError?: Promise<never> }).commitError;
  if (commitError === undefined) return error;
  return commitError.then(
    () => error,
    (cause: unknown) => cause,
  );
}

/** LMDB's negative codes or the system's positive ones; undefined if the error has none. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function syncToDisk(path: string): void {
  if (process.platform === "win32") return; // directories cannot be opened there
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
