/**
 * Tells a full disk from a broken one. LMDB reports a write that the system cut short as a plain I/O error, and a
 * transaction crosses the limit in the middle of a write more often than not, so the code alone does not say it.
 */
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { codeOf } from "./lmdb-file.ts";

const { EDQUOT, EFBIG, EIO, ENOSPC } = constants.errno;
const MDB_MAP_FULL = -30792;
const FULL_CODES: ReadonlySet<unknown> = new Set([EDQUOT, EFBIG, ENOSPC, MDB_MAP_FULL, "EDQUOT", "EFBIG", "ENOSPC"]);

/** Whether a commit of about this many bytes failed for want of room. Only for commits that surely left nothing. */
export function isFull(directory: string, error: unknown, sizeBytes: number): boolean {
  const code = codeOf(error);
  return FULL_CODES.has(code) || (code === EIO && !hasRoom(directory, sizeBytes));
}

/** Writes as much as the commit would have, behind the same offset, into a file of its own. */
function hasRoom(directory: string, sizeBytes: number): boolean {
  const probe = join(directory, ".room");
  const bytes = Buffer.alloc(sizeBytes + 65_536, 1);
  let descriptor: number | undefined;
  try {
    const offset = statSync(join(directory, "holdfast.mdb")).size;
    descriptor = openSync(probe, "w", 0o600);
    const written = writeSync(descriptor, bytes, 0, bytes.length, offset);
    fsyncSync(descriptor);
    return written === bytes.length;
  } catch (error) {
    return !FULL_CODES.has(codeOf(error));
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
    rmSync(probe, { force: true });
  }
}
