/** Opens a directory's LMDB file, or refuses with an error that says what is there instead, before anything is changed. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import { ForeignDirectory, LmdbMissing, StoreDamaged, StoreNotFound, StoreTooNew } from "./errors.ts";
import { damageOf } from "./lmdb-header.ts";

/** Raised when an older release could no longer read what this one writes. */
export const FORMAT = 1;
export const FILE_NAME = "holdfast.mdb";

/** Whether there is a store in the directory, whatever its state. */
export function holdsStore(directory: string): boolean {
  return existsSync(join(directory, FILE_NAME));
}

/** Codes of LMDB that say the file is not what it should be: INVALID, VERSION_MISMATCH, PAGE_NOTFOUND, CORRUPTED. */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set([-30793, -30794, -30797, -30796]);

export type StoreRecord = { readonly application: "holdfast"; readonly format: number; readonly identity: string };

export type Databases = {
  readonly root: RootDatabase<unknown, string>;
  /** "store": what this is. "host": who has it. "slots": how many. "head": the last revision; its version: the epoch. */
  readonly meta: Database<unknown, string>;
  readonly records: Database<Buffer, Buffer>;
};

export type Lmdb = typeof import("lmdb");

export async function loadLmdb(): Promise<Lmdb> {
  try {
    return await import("lmdb");
  } catch (cause) {
    throw new LmdbMissing({ cause });
  }
}

export function openDatabases(lmdb: Lmdb, directory: string, readOnly: boolean): Databases {
  const path = join(directory, FILE_NAME);
  const damage = damageOf(path);
  if (damage !== undefined) throw new StoreDamaged(directory, `${FILE_NAME}: ${damage}`);
  let root: RootDatabase<unknown, string> | undefined;
  try {
    root = lmdb.open<unknown, string>({ path, noSubdir: true, readOnly, overlappingSync: false, maxDbs: 4 });
    const names = [...root.getKeys({ limit: 3 })];
    if (names.length > 0 && !names.includes("meta"))
      throw new ForeignDirectory(directory, `${FILE_NAME} is not a store`);
    // A host that was killed while it made the store left an empty one.
    if (readOnly && names.length < 2) throw new StoreNotFound(directory);
    const meta = root.openDB<unknown, string>("meta", { encoding: "json", useVersions: true });
    const store = meta.get("store") as Partial<StoreRecord> | undefined;
    if (store !== undefined && (store.application !== "holdfast" || typeof store.format !== "number"))
      throw new ForeignDirectory(directory, `${FILE_NAME} is not a store`);
    if (store?.format !== undefined && store.format > FORMAT) throw new StoreTooNew(directory, store.format, FORMAT);
    if (readOnly && store === undefined) throw new StoreNotFound(directory);
    const records = root.openDB<Buffer, Buffer>("records", { encoding: "binary", keyEncoding: "binary" });
    return { root, meta, records };
  } catch (error) {
    void root?.close();
    const code = codeOf(error);
    if (DAMAGE_CODES.has(code)) throw new StoreDamaged(directory, (error as Error).message, { cause: error });
    throw error;
  }
}

/** Refuses what is not ours before LMDB makes files there. */
export function assertOurs(directory: string, isReadOnly: boolean): void {
  const found = statSync(directory, { throwIfNoEntry: false });
  if (found && !found.isDirectory()) throw new ForeignDirectory(directory, "it is a file");
  const names = found ? readdirSync(directory) : [];
  if (names.includes(FILE_NAME)) return;
  const stranger = names.find((name) => !name.startsWith(".") && name !== "lost+found" && !isOwnLeftover(name));
  if (stranger !== undefined) throw new ForeignDirectory(directory, `it holds ${stranger}`);
  if (isReadOnly) throw new StoreNotFound(directory);
  makeDirectory(directory);
}

/** Documents are nobody else's business: only the user who hosts them may look into a directory that we make. */
export function makeDirectory(directory: string): void {
  const firstMade = mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (firstMade !== undefined) syncToDisk(dirname(firstMade));
}

/** What may stand in a directory whose store was taken away. */
function isOwnLeftover(name: string): boolean {
  return name === `${FILE_NAME}-lock` || name === "holdfast.sock" || /^host-.*\.lock$/.test(name);
}

/** LMDB's negative codes or the system's positive ones; undefined if the error has none. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

export function syncToDisk(path: string): void {
  if (process.platform === "win32") return; // directories cannot be opened there
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
