/**
 * The receiver's side of messages between actors: what it applied of each sender, and below which number requests of a
 * partition's owner are refused. Together they make delivery exactly once in space bounded by what is in flight, not
 * by the number of senders (DESIGN: one mark per sender until the sender's removal is committed and settled).
 */
import type { Limits } from "./limits.ts";
import { compareTokens, type Token } from "./ports/store.ts";

/** Numbers of one owner's requests: the owner's token, then its counter. Compared in this order. */
export type RequestNumber = readonly [epoch: number, index: number, counter: number];

export function requestNumber(token: Token, counter: number): RequestNumber {
  return [token[0], token[1], counter];
}

function compareNumbers(a: RequestNumber, b: RequestNumber): number {
  return compareTokens([a[0], a[1]], [b[0], b[1]]) || a[2] - b[2];
}

export type Sender = { readonly key: string; readonly born: string; readonly partition: number };

type Mark = { born: string; upTo: number; number: RequestNumber; atMs: number };

/** [born, applied up to, epoch, index, counter, at in seconds] */
export type MarkRecord = readonly [born: string, upTo: number, number, number, number, atSeconds: number];
export type InboxRecord = {
  readonly floors?: Readonly<Record<string, RequestNumber>>;
  readonly marks?: Readonly<Record<string, MarkRecord>>;
};

/** What a sender's owner reports: these removals are committed, and nothing below `floor` is in flight to you. */
export type Settlement = {
  readonly partition: number;
  readonly floor: RequestNumber;
  readonly senders: readonly { readonly key: string; readonly born: string; readonly upTo: number }[];
};

/** Most actors never get a message from another: they share these, which are never written. */
const noFloors: Map<number, RequestNumber> = new Map();
const noMarks: Map<string, Mark> = new Map();

export class Inbox {
  #floors = noFloors;
  #marks = noMarks;

  static read(record: InboxRecord | undefined): Inbox {
    const inbox = new Inbox();
    if (record === undefined) return inbox;
    inbox.#own();
    for (const [partition, floor] of Object.entries(record.floors ?? {})) inbox.#floors.set(Number(partition), floor);
    for (const [key, [born, upTo, epoch, index, counter, atSeconds]] of Object.entries(record.marks ?? {})) {
      inbox.#marks.set(key, { born, upTo, number: [epoch, index, counter], atMs: atSeconds * 1000 });
    }
    return inbox;
  }

  #own(): void {
    if (this.#floors === noFloors) this.#floors = new Map();
    if (this.#marks === noMarks) this.#marks = new Map();
  }

  /** The floor below which a request under this number is. Refused means "send again under a new number". */
  refuses(partition: number, number: RequestNumber): RequestNumber | undefined {
    const floor = this.#floors.get(partition);
    return floor !== undefined && compareNumbers(number, floor) < 0 ? floor : undefined;
  }

  hasRoomFor(sender: Sender, limits: Limits): boolean {
    return this.#marks.has(sender.key) || this.#marks.size < limits.marks;
  }

  /** The sender's highest message that was applied, 0 when none is remembered. */
  appliedUpTo(sender: Sender): number {
    const mark = this.#marks.get(sender.key);
    return mark !== undefined && mark.born === sender.born ? mark.upTo : 0;
  }

  mark(sender: Sender, upTo: number, number: RequestNumber, nowMs: number): void {
    this.#own();
    const known = this.#marks.get(sender.key);
    const same = known !== undefined && known.born === sender.born;
    this.#marks.delete(sender.key);
    this.#marks.set(sender.key, {
      born: sender.born,
      upTo: same ? Math.max(known.upTo, upTo) : upTo,
      number: same && compareNumbers(known.number, number) > 0 ? known.number : number,
      atMs: nowMs,
    });
  }

  /** Drops what is settled and raises the floor. Answers whether anything changed. */
  settle(settlement: Settlement): boolean {
    this.#own();
    const floor = this.#floors.get(settlement.partition);
    let changed = false;
    if (floor === undefined || compareNumbers(settlement.floor, floor) > 0) {
      this.#floors.set(settlement.partition, settlement.floor);
      changed = true;
    }
    const newFloor = this.#floors.get(settlement.partition) as RequestNumber;
    for (const { key, born, upTo } of settlement.senders) {
      const mark = this.#marks.get(key);
      if (mark === undefined || mark.born !== born || mark.upTo > upTo) continue;
      // A request at or above the floor may still arrive a second time: the mark must be there to know it.
      if (compareNumbers(mark.number, newFloor) >= 0) continue;
      this.#marks.delete(key);
      changed = true;
    }
    return changed;
  }

  get size(): number {
    return this.#marks.size;
  }

  /** When the oldest mark was made, undefined when there is none. */
  get oldestMs(): number | undefined {
    return this.#marks.values().next().value?.atMs;
  }

  /** Senders whose marks are older than this: their owners are asked what is settled. */
  olderThan(atMs: number): { readonly key: string; readonly born: string; readonly upTo: number }[] {
    const senders: { key: string; born: string; upTo: number }[] = [];
    for (const [key, mark] of this.#marks) {
      if (mark.atMs > atMs) break;
      senders.push({ key, born: mark.born, upTo: mark.upTo });
    }
    return senders;
  }

  /** JSON, or "" when there is nothing to keep. */
  text(): string {
    if (this.#floors.size === 0 && this.#marks.size === 0) return "";
    const floors = [...this.#floors].map(([partition, floor]) => `"${partition}":[${floor}]`).join();
    const marks = [...this.#marks]
      .map(
        ([key, mark]) =>
          `${JSON.stringify(key)}:["${mark.born}",${mark.upTo},${mark.number},${Math.floor(mark.atMs / 1000)}]`,
      )
      .join();
    return `{"floors":{${floors}},"marks":{${marks}}}`;
  }
}
