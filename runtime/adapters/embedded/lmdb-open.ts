/** Opens a directory's LMDB file, or refuses with an error that says what is there instead, before anything is changed. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import { ForeignDirectory, LmdbMissing, StoreDamaged, StoreNotFound, StoreTooNew } from "./errors.ts";
import { damageOf } from "./lmdb-header.ts";

/** Raised when an older release could no longer read what this one writes. */
export const FORMAT = 1;
export const FILE_NAME = "holdfast.mdb";
/** Stands in the directory while its first host makes the store; see `assertWhole`. */
const NOTE_NAME = "holdfast.new";

/** Whether there is a store in the directory, whatever its state. */
export function holdsStore(directory: string): boolean {
  return existsSync(join(directory, FILE_NAME));
}

/**
 * Codes of LMDB that say the file is not what it should be: PAGE_NOTFOUND, CORRUPTED, VERSION_MISMATCH, INVALID,
 * CURSOR_FULL (a tree without end), INCOMPATIBLE, BAD_TXN (went on after one of the others), BAD_VALSIZE, PROBLEM.
 */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set([
  -30797, -30796, -30794, -30793, -30787, -30784, -30782, -30781, -30779,
]);

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

/** "again": a store that was open. */
export type Opening = "host" | "reader" | "again";

export function openDatabases(lmdb: Lmdb, directory: string, opening: Opening): Databases {
  const readOnly = opening === "reader";
  assertWhole(directory, opening);
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
    // It was made before the store's own record was.
    if (store !== undefined && !names.includes("records")) throw new StoreDamaged(directory, "its records are gone");
    if (store?.format !== undefined && store.format > FORMAT) throw new StoreTooNew(directory, store.format, FORMAT);
    if (readOnly && store === undefined) throw new StoreNotFound(directory);
    const records = root.openDB<Buffer, Buffer>("records", { encoding: "binary", keyEncoding: "binary" });
    return { root, meta, records };
  } catch (error) {
    void root?.close();
    throw namedIfDamage(directory, error);
  }
}

/** StoreDamaged for an error that a damaged file causes: LMDB's, or that of a value that is not ours. Any other as it is. */
export function namedIfDamage(directory: string, error: unknown): unknown {
  if (DAMAGE_CODES.has(codeOf(error))) return new StoreDamaged(directory, (error as Error).message, { cause: error });
  if (error instanceof SyntaxError || error instanceof TypeError)
    return new StoreDamaged(directory, "a record is not one of ours", { cause: error });
  return error;
}

/** Refuses what is not ours before LMDB makes files there. */
export function assertOurs(directory: string, isReadOnly: boolean): void {
  const found = statSync(directory, { throwIfNoEntry: false });
  if (found && !found.isDirectory()) throw new ForeignDirectory(directory, "it is a file");
  const names = found ? readdirSync(directory) : [];
  if (names.includes(FILE_NAME)) return;
  const stranger = names.find((name) => !name.startsWith(".") && name !== "lost+found" && !isOwn(name));
  if (stranger !== undefined) throw new ForeignDirectory(directory, `it holds ${stranger}`);
  if (!found && isReadOnly) throw new StoreNotFound(directory);
  makeDirectory(directory);
}

/**
 * LMDB fills a missing or empty file as if it were new. Beside other files of a store it is one that has lost its data
 * (E5), or the work of a first start that was killed; the note tells which: it is on the disk before any other file is
 * made, and is taken away, by `removeNote`, after the first commit and before anything is acknowledged.
 */
function assertWhole(directory: string, opening: Opening): void {
  // In this order: another first start may be under way, and it makes the note first and fills the file before the note goes.
  const remnant = existsSync(directory) ? readdirSync(directory).find(isOwn) : undefined;
  const isNoted = existsSync(join(directory, NOTE_NAME));
  const file = statSync(join(directory, FILE_NAME), { throwIfNoEntry: false });
  if (file && file.size > 0) return;
  if (opening === "again" || (remnant !== undefined && !isNoted))
    throw new StoreDamaged(directory, file ? `${FILE_NAME} is empty` : `${FILE_NAME} is missing`);
  if (opening === "reader") throw new StoreNotFound(directory);
  const note = join(directory, NOTE_NAME);
  writeFileSync(note, "The store is being made. Nothing is in it yet.\n");
  syncToDisk(note);
  syncToDisk(directory);
}

/** Call when the first commit is on the disk, before anything else is written. */
export function removeNote(directory: string): void {
  const note = join(directory, NOTE_NAME);
  if (!existsSync(note)) return;
  rmSync(note, { force: true });
  syncToDisk(directory);
}

/** Documents are nobody else's business: only the user who hosts them may look into a directory that we make. */
export function makeDirectory(directory: string): void {
  const firstMade = mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (firstMade !== undefined) syncToDisk(dirname(firstMade));
}

/** What LMDB and we make in a store's directory. */
function isOwn(name: string): boolean {
  const own = [FILE_NAME, `${FILE_NAME}-lock`, NOTE_NAME, "holdfast.sock"];
  return own.includes(name) || /^host-.*\.lock$/.test(name);
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
