/**
 * Looks at an LMDB file before LMDB does. The library ends the process, instead of throwing, when a file is not one of
 * its own or is shorter than it says (it maps the file, and touching a page behind the end is a bus error).
 */
import { appendFileSync, closeSync, fstatSync, openSync, readSync } from "node:fs";

const MAGIC = 0xbeefc0de;
/** Offsets in a meta page of data version 2, the one that lmdb 3 writes on 64-bit machines. */
const AT = { magic: 24, version: 28, pageSize: 48, lastPage: 144, transaction: 152 };
const DATA_VERSION = 2;
const META_BYTES = 168;
/** The last pages may be missing by right: a transaction that took and gave them back never wrote them. */
const MAX_UNWRITTEN_PAGES = 16;

/** What is wrong with the file; undefined if LMDB may open it. An empty or missing file is for LMDB to fill. */
export function damageOf(path: string): string | undefined {
  if (process.arch !== "x64" && process.arch !== "arm64") return undefined; // other offsets, untried
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    if (fstatSync(descriptor).size === 0) return undefined;
    const first = metaAt(descriptor, 0);
    if (!first) return "its first page is not LMDB's";
    if (first.version !== DATA_VERSION) return `its pages have version ${first.version}, not ${DATA_VERSION}`;
    const second = metaAt(descriptor, first.pageSize);
    if (!second) return "its second page is not LMDB's";
    const { lastPage } = first.transaction > second.transaction ? first : second;
    const expectedBytes = (lastPage + 1) * first.pageSize;
    // Asked only now: a host that works meanwhile makes its file longer before it says so in a meta page.
    const { size } = fstatSync(descriptor);
    if (size + MAX_UNWRITTEN_PAGES * first.pageSize < expectedBytes) return `${size} bytes instead of ${expectedBytes}`;
    // Pages of zeros are an error that LMDB reports; no pages are one that it does not survive. Appending cannot harm a
    // host that works meanwhile: it changes nothing that is there.
    if (size < expectedBytes) appendFileSync(path, Buffer.alloc(expectedBytes - size));
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}

function metaAt(descriptor: number, offset: number) {
  const bytes = Buffer.alloc(META_BYTES);
  if (readSync(descriptor, bytes, 0, META_BYTES, offset) < META_BYTES) return undefined;
  if (bytes.readUInt32LE(AT.magic) !== MAGIC) return undefined;
  return {
    version: bytes.readUInt32LE(AT.version) & 0xffff,
    pageSize: bytes.readUInt32LE(AT.pageSize),
    lastPage: Number(bytes.readBigUInt64LE(AT.lastPage)),
    transaction: bytes.readBigUInt64LE(AT.transaction),
  };
}
