/**
 * The hard state of a member, and how far its log was acknowledged, in two files of one line each. What was promised to
 * others (term, vote, epoch) is in both before it counts; the acknowledged end, which each flush moves, goes to one in turn, so
 * that the other is a flush older. A crash can spoil one of them at most, and it is the one that did not count yet. Both
 * name the folder's life, made once, by which an emptied folder is told from a used one.
 */
import type { Disk, DiskFile } from "../ports/disk.ts";
import type { HardState } from "../raft/messages.ts";
import { crc32c } from "./crc32c.ts";
import { HardStateLost, LogOfAnother, LogTooNew, LogTooOld } from "./errors.ts";

export type LogIdentity = { readonly cluster: string; readonly member: number };

/** A place in the log: a segment, and an offset in it. */
export type LogPlace = { readonly segment: number; readonly offset: number };

/** Everything before `end` was on the disk when others were told so, and so was a snapshot at `snapshotIndex` or later. */
export type Acknowledged = { readonly end: LogPlace; readonly lastIndex: number; readonly snapshotIndex: number };

export type StoredState = {
  readonly hardState: HardState;
  /** Of the cluster, as the last snapshot that was installed has it: known also when that one rots. */
  readonly epoch: number;
  readonly acknowledged: Acknowledged;
};

const names = ["state-a", "state-b"] as const;
const lineBytes = 512;
/** 1: without the epoch. */
const format = 2;

type Line = LogIdentity & {
  readonly format: number;
  readonly life: string;
  readonly sequence: number;
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
  readonly epoch: number;
  readonly segment: number;
  readonly offset: number;
  readonly lastIndex: number;
  readonly snapshotIndex: number;
};

export class HardStateFiles {
  readonly life: string;
  /** The other one may be a flush older than what was acknowledged. Of a folder that was never used, no copy is. */
  readonly isOneUnreadable: boolean;
  readonly #identity: LogIdentity;
  readonly #files: readonly [DiskFile, DiskFile];
  #sequence: number;
  #written: StoredState | undefined;

  /**
   * `stored` is undefined in a folder that was never used. Rejects with HardStateLost, LogOfAnother, LogTooNew or LogTooOld.
   * `isUsed`: there are other files of a log. `newLife` is taken for a folder that was never used.
   */
  static async open(
    disk: Disk,
    identity: LogIdentity,
    { isUsed, newLife }: { readonly isUsed: boolean; readonly newLife: string },
  ): Promise<{ files: HardStateFiles; stored: StoredState | undefined }> {
    const files = [await disk.open(names[0]), await disk.open(names[1])] as const;
    try {
      const texts = [await readLine(files[0]), await readLine(files[1])] as const;
      const lines = texts.map(parseLine);
      const latest = lines.reduce((a, b) => ((b?.sequence ?? -1) > (a?.sequence ?? -1) ? b : a));
      // The first copy is flushed before the second is begun: with one of them empty, none was ever used.
      if (latest === undefined && (isUsed || !texts.includes(""))) throw new HardStateLost();
      if (latest !== undefined) mustBeOf(latest, identity);
      const isOneUnreadable = latest !== undefined && lines.includes(undefined);
      const { life, sequence } = latest ?? { life: newLife, sequence: 0 };
      const opened = new HardStateFiles(identity, files, { life, sequence, isOneUnreadable });
      return { files: opened, stored: latest && storedIn(latest) };
    } catch (error) {
      await Promise.all(files.map((file) => file.close()));
      throw error;
    }
  }

  private constructor(
    identity: LogIdentity,
    files: readonly [DiskFile, DiskFile],
    read: { readonly life: string; readonly sequence: number; readonly isOneUnreadable: boolean },
  ) {
    this.#identity = identity;
    this.#files = files;
    this.#sequence = read.sequence;
    this.life = read.life;
    this.isOneUnreadable = read.isOneUnreadable;
  }

  /** On the disk when it resolves. */
  async write(state: StoredState): Promise<void> {
    const before = this.#written;
    const { term, vote } = state.hardState;
    await this.#writeOne(state);
    if (before?.hardState.term !== term || before.hardState.vote !== vote || before.epoch !== state.epoch)
      await this.#writeOne(state);
    this.#written = state;
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
  }

  async #writeOne({ hardState, epoch, acknowledged }: StoredState): Promise<void> {
    const sequence = this.#sequence + 1;
    const { end, ...indexes } = acknowledged;
    const { life } = this;
    const line: Line = { format, ...this.#identity, life, sequence, ...hardState, epoch, ...end, ...indexes };
    const file = this.#files[sequence % 2]!;
    await file.write(0, encodeLine(line));
    await file.sync();
    // Only now: repeated after a failure, it goes over the same copy again.
    this.#sequence = sequence;
  }
}

/** Whose log the folder holds; undefined: nobody's. Rejects with HardStateLost, LogTooNew or LogTooOld. */
export async function identityIn(disk: Disk): Promise<LogIdentity | undefined> {
  const texts: string[] = [];
  for (const name of names) {
    const file = await disk.open(name);
    texts.push(await readLine(file).finally(() => file.close()));
  }
  const lines = texts.map(parseLine);
  const [line] = lines.filter((one) => one !== undefined);
  if (line === undefined && !texts.includes("")) throw new HardStateLost();
  return line && { cluster: line.cluster, member: line.member };
}

async function readLine(file: DiskFile): Promise<string> {
  return new TextDecoder().decode(await file.read(0, lineBytes));
}

function encodeLine(line: Line): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(line));
  if (text.length > lineBytes - 10) throw new RangeError("the cluster's name is too long for the hard state");
  const bytes = new Uint8Array(lineBytes).fill(32);
  bytes.set(new TextEncoder().encode(sumOf(text)));
  bytes.set(text, 9);
  bytes[lineBytes - 1] = 10;
  return bytes;
}

/** Undefined: damaged, or not there. */
function parseLine(content: string): Line | undefined {
  const text = content.slice(9).trimEnd();
  if (content.length === 0 || content.slice(0, 9) !== `${sumOf(new TextEncoder().encode(text))} `) return undefined;
  const line = JSON.parse(text) as Line;
  if (line.format < format) throw new LogTooOld(line.format);
  if (line.format !== format) throw new LogTooNew(line.format);
  return line;
}

function sumOf(text: Uint8Array): string {
  return crc32c(text).toString(16).padStart(8, "0");
}

function mustBeOf({ cluster, member }: LogIdentity, wanted: LogIdentity): void {
  if (cluster === wanted.cluster && member === wanted.member) return;
  throw new LogOfAnother(
    `member ${member} of cluster "${cluster}"`,
    `member ${wanted.member} of cluster "${wanted.cluster}"`,
  );
}

function storedIn({ term, vote, commit, epoch, segment, offset, lastIndex, snapshotIndex }: Line): StoredState {
  const acknowledged = { end: { segment, offset }, lastIndex, snapshotIndex };
  return { hardState: { term, vote, commit }, epoch, acknowledged };
}
