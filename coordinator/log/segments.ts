/**
 * The files of the log: numbered segments, only ever appended to, the last one open. Reading them gives the good prefix;
 * whether what lies behind it is a torn tail or damage is for `DiskLog` to judge, who knows what was acknowledged.
 */
import type { Disk, DiskFile } from "../ports/disk.ts";
import type { Entry } from "../raft/messages.ts";
import type { LogPlace } from "./hard-state.ts";
import { decodeRecords, encodeRecords, firstSum, type LogRecord } from "./record.ts";

const nameOf = (segment: number) => `log-${String(segment).padStart(16, "0")}`;
const namePattern = /^log-(\d{16})$/;

export function isSegmentFile(name: string): boolean {
  return namePattern.test(name);
}

type Segment = { readonly number: number; highestIndex: number };

export type ReadLog = {
  /** What comes before the oldest segment must be in a snapshot at this index or later. */
  readonly afterIndex: number;
  /** The latest writing of each index, without a gap, beginning anywhere. */
  readonly entries: readonly Entry[];
  /** Where the good prefix ends. */
  readonly end: LogPlace;
  /** What lies behind it: a torn tail, or damage. Undefined: nothing. */
  readonly rest: Rest | undefined;
};

export type Rest = {
  /** Of the last entry that can be read, before it or in a later segment. */
  readonly lastIndex: number;
  /** What cannot be read behind that entry. */
  readonly bytes: number;
};

export class Segments {
  readonly #disk: Disk;
  /** In order; the last one is written to. */
  readonly #segments: Segment[] = [];
  #file: DiskFile | undefined;
  #offset = 0;
  #sum = 0;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  get end(): LogPlace {
    return { segment: this.#segments.at(-1)?.number ?? 0, offset: this.#offset };
  }

  /** Changes nothing on the disk. */
  async read(): Promise<ReadLog> {
    let entries: Entry[] = [];
    let afterIndex = 0;
    let end: LogPlace = { segment: 0, offset: 0 };
    let rest: Rest | undefined;
    for (const number of lastRun(await this.#numbers())) {
      const file = await this.#disk.open(nameOf(number));
      const size = file.size();
      const { records, endOffset, sum } = decodeRecords(await file.read(0, size), firstSum(number));
      await file.close();
      const [header, ...others] = records;
      if (header?.kind !== "header" || header.segment !== number) {
        const { lastIndex, bytes } = rest ?? { lastIndex: entries.at(-1)?.index ?? afterIndex, bytes: 0 };
        // Empty, it is there all the same.
        rest = { lastIndex, bytes: bytes + Math.max(1, size) };
        continue;
      }
      const appended = others.flatMap((record) => (record.kind === "entry" ? [record.entry] : []));
      const behind = { lastIndex: appended.at(-1)?.index ?? header.afterIndex, bytes: size - endOffset };
      if (rest !== undefined) {
        rest = behind;
        continue;
      }
      const segment = { number, highestIndex: 0 };
      this.#segments.push(segment);
      if (header.isNewLog) entries = [];
      if (header.isNewLog || end.segment === 0) afterIndex = header.afterIndex;
      for (const entry of appended) append(entries, entry, segment);
      end = { segment: number, offset: endOffset };
      this.#sum = sum;
      this.#offset = endOffset;
      rest = behind.bytes > 0 ? behind : undefined;
    }
    return { afterIndex, entries, end, rest };
  }

  /** Cuts whatever lies behind the good prefix, for good, so that it cannot come back behind what is written next. */
  async cutAtEnd(): Promise<void> {
    const last = this.#segments.at(-1);
    for (const number of await this.#numbers())
      if (last === undefined || number > last.number) await this.#disk.remove(nameOf(number));
    if (last !== undefined) {
      this.#file = await this.#disk.open(nameOf(last.number));
      if (this.#file.size() > this.#offset) await this.#file.truncate(this.#offset);
      await this.#file.sync();
    }
    await this.#disk.syncFolder();
  }

  /** On the disk when it resolves. Repeated after a failure, it goes over the same bytes again. */
  async append(entries: readonly Entry[]): Promise<void> {
    const records = entries.map((entry): LogRecord => ({ kind: "entry", entry }));
    const { bytes, sum } = encodeRecords(records, this.#sum);
    await this.#file!.write(this.#offset, bytes);
    await this.#file!.sync();
    this.#offset += bytes.length;
    this.#sum = sum;
    const segment = this.#segments.at(-1)!;
    segment.highestIndex = Math.max(segment.highestIndex, ...entries.map(({ index }) => index));
  }

  /** Begins a new segment, numbered above the last one and `above`. On the disk when it resolves. */
  async roll({
    afterIndex,
    isNewLog,
    above = 0,
  }: {
    afterIndex: number;
    isNewLog: boolean;
    above?: number;
  }): Promise<void> {
    const number = Math.max(above, this.#segments.at(-1)?.number ?? 0) + 1;
    const header: LogRecord = { kind: "header", segment: number, afterIndex, isNewLog };
    const { bytes, sum } = encodeRecords([header], firstSum(number));
    const file = await this.#disk.open(nameOf(number));
    try {
      await file.truncate(0);
      await file.write(0, bytes);
      await file.sync();
      await this.#disk.syncFolder();
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#segments.push({ number, highestIndex: 0 });
    this.#offset = bytes.length;
    this.#sum = sum;
  }

  /** Removes segments from the front that hold nothing above `index`. */
  async removeUpTo(index: number): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[0]!.highestIndex <= index) {
      await this.#disk.remove(nameOf(this.#segments[0]!.number));
      this.#segments.shift();
    }
  }

  /** Removes all but the last, also those that could not be read. */
  async removeOlder(): Promise<void> {
    const last = this.#segments.at(-1)!;
    for (const number of await this.#numbers()) if (number < last.number) await this.#disk.remove(nameOf(number));
    this.#segments.splice(0, this.#segments.length - 1);
    await this.#disk.syncFolder();
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #numbers(): Promise<number[]> {
    const names = await this.#disk.list();
    return names.filter(isSegmentFile).map((name) => Number(namePattern.exec(name)?.[1]));
  }
}

/** Segments without a gap, up to the last: of those that were removed, some may have come back after a crash. */
function lastRun(numbers: readonly number[]): readonly number[] {
  const start = numbers.findLastIndex((number, at) => at > 0 && number !== numbers[at - 1]! + 1);
  return numbers.slice(Math.max(0, start));
}

/** In place of whatever is there from its index on. A gap cannot be closed by what comes after it. */
function append(entries: Entry[], entry: Entry, segment: Segment): void {
  const first = entries[0]?.index ?? entry.index;
  if (entry.index <= first) entries.length = 0;
  else entries.length = Math.min(entries.length, entry.index - first);
  entries.push(entry);
  segment.highestIndex = Math.max(segment.highestIndex, entry.index);
}
