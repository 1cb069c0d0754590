/**
 * One folder of one node, for logs and snapshots. A crash may lose, tear, shorten or reorder whatever was not synced, and
 * names that were made, renamed or removed since the folder's last sync; what was synced stays. Real files and the simulated
 * disk pass `disk.contract.ts`.
 */
import { HoldfastError } from "../../runtime/ports/holdfast-error.ts";
export interface Disk {
  /** Names, sorted. */
  list(): Promise<readonly string[]>;
  /** Opens for reading and writing; makes an empty file if there is none. One handle per name at a time. */
  open(name: string): Promise<DiskFile>;
  /** Replaces what had the new name. On the disk only after `syncFolder`. */
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  syncFolder(): Promise<void>;
}

export interface DiskFile {
  /** In bytes, written or not yet synced. */
  size(): number;
  /** Fewer bytes than asked for only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** At any offset up to the size. Rejects with `DiskFullError`: nothing, or a part, may have been written. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  truncate(size: number): Promise<void>;
  /** All that was written before is on the disk when it resolves. After a rejection the file is not to be trusted again. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** No room is left. What was synced before is unharmed; make room and write again. */
export class DiskFullError extends HoldfastError {
  override readonly name = "DiskFullError";
  readonly code = "DiskFullError";
}
