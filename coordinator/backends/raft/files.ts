/** The disk port on real files: one folder that this process owns until it closes it. */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Disk, type DiskFile, DiskFullError } from "../../ports/disk.ts";
import { LogInUse, LogNoFolder, LogReadOnly } from "./errors.ts";
import { isOwnerFile, ownFolder } from "./owner.ts";

export class Files implements Disk {
  readonly #directory: string;
  readonly #giveUp: () => Promise<void>;

  /** Makes the folder if there is none. Rejects with LogInUse, LogReadOnly, LogNoFolder or DiskFullError. */
  static async open(directory: string): Promise<Files> {
    try {
      await mkdir(directory, { recursive: true });
      return new Files(directory, await ownFolder(directory));
    } catch (error) {
      throw opening(directory, error);
    }
  }

  private constructor(directory: string, giveUp: () => Promise<void>) {
    this.#directory = directory;
    this.#giveUp = giveUp;
  }

  async list(): Promise<readonly string[]> {
    const names = await readdir(this.#directory);
    return names.filter((name) => !isOwnerFile(name)).sort();
  }

  async open(name: string): Promise<DiskFile> {
    const path = join(this.#directory, name);
    return told(async () => {
      const handle = await open(path, constants.O_RDWR | constants.O_CREAT | writesThrough);
      const { size } = await handle.stat();
      return new RealFile(handle, size);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return told(() => rename(join(this.#directory, from), join(this.#directory, to)));
  }

  remove(name: string): Promise<void> {
    return told(() => rm(join(this.#directory, name)));
  }

  async syncFolder(): Promise<void> {
    // Windows writes names through, and opens no folder.
    if (process.platform === "win32") return;
    const handle = await open(this.#directory, "r");
    try {
      await told(() => handle.sync());
    } finally {
      await handle.close();
    }
  }

  /** Gives the folder up. Its files are the caller's to close. */
  close(): Promise<void> {
    return this.#giveUp();
  }
}

/**
 * Each write is on the disk when it is done: one visit to the thread pool where a write and a flush take two, which counts
 * when the machine is busy. Only where that is as strong as a flush.
 */
const writesThrough = process.platform === "linux" ? constants.O_DSYNC : 0;

class RealFile implements DiskFile {
  readonly #handle: FileHandle;
  #size: number;
  /** There may be what was not written through: by a process before this one, or a new length. */
  #mustSync = true;

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.#size = size;
  }

  size(): number {
    return this.#size;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.#size - offset)));
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await this.#handle.read(bytes, at, bytes.length - at, offset + at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (!(offset >= 0 && offset <= this.#size)) throw new RangeError(`a write at ${offset} in a file of ${this.#size}`);
    let at = 0;
    while (at < bytes.length) {
      const { bytesWritten } = await told(() => this.#handle.write(bytes, at, bytes.length - at, offset + at));
      at += bytesWritten;
      this.#size = Math.max(this.#size, offset + at);
    }
  }

  async truncate(size: number): Promise<void> {
    this.#mustSync = true;
    await told(() => this.#handle.truncate(size));
    this.#size = size;
  }

  async sync(): Promise<void> {
    if (!this.#mustSync) return;
    await told(() => this.#handle.datasync());
    // Whoever uses a file does one thing after the other: nothing was changed meanwhile.
    this.#mustSync = writesThrough === 0;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** The one error that the port names; the others stay what they are. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isFull(error) ? new DiskFullError("no room is left on the disk", { cause: error }) : error;
  }
}

function opening(directory: string, error: unknown): unknown {
  if (error instanceof LogInUse) return error;
  if (isFull(error)) return new DiskFullError(`no room on the disk of ${directory}: free some`, { cause: error });
  switch ((error as NodeJS.ErrnoException).code) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new LogReadOnly(directory, { cause: error });
    case "EEXIST":
    case "ENOTDIR":
    case "ENOENT":
      return new LogNoFolder(directory, { cause: error });
    default:
      return error;
  }
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}
