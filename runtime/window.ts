/**
 * The idempotency window of one actor: which keys it has applied, and the receipt of each (R5). Pure data with a JSON
 * form inside the document. Callers' keys are kept one by one; automatic keys are a client's running numbers, of which
 * one mark per client with its gaps says everything.
 */
import type { Limits } from "./limits.ts";

/** The key of one request. Automatic: `low` is the client's lowest number still without an answer. */
export type Key =
  | { readonly kind: "caller"; readonly key: string }
  | { readonly kind: "auto"; readonly client: string; readonly number: number; readonly low: number };

/** As causes and messages to people name it. */
export function describeKey(key: Key): string {
  return key.kind === "caller" ? key.key : `${key.client}.${key.number}`;
}

/** What a request got: the actor's own revision (commit number in this life) after it, and whether it changed anything. */
export type Receipt = { readonly revision: number; readonly changed: boolean };

export type Lookup =
  | { readonly kind: "new" }
  | { readonly kind: "known"; readonly receipt: Receipt }
  /** The same key with another body. */
  | { readonly kind: "reused" }
  /** The client's name cannot stand in a document. */
  | { readonly kind: "malformed" }
  /** Too many of the client's earlier numbers are missing: it must wait for their outcome first. */
  | { readonly kind: "tooManyGaps"; readonly gaps: number };

type KeyMark = { readonly hash: string; readonly receipt: Receipt; readonly atMs: number; readonly text: string };

type ClientMark = {
  high: number;
  /** Numbers below `high` that were not applied. */
  gaps: number[];
  atMs: number;
  /** Receipts of the latest numbers, to answer a repetition exactly; older ones answer with the mark's oldest. */
  recent: Map<number, RecentReceipt>;
};

/** With its JSON, made once. */
type RecentReceipt = { readonly receipt: Receipt; readonly text: string };

/** [hash, revision, changed, at in seconds] */
export type KeyRecord = readonly [hash: string, revision: number, changed: 0 | 1, atSeconds: number];
/** [highest number, at in seconds, gaps, receipts as number, revision, changed …] */
export type ClientRecord = readonly [
  high: number,
  atSeconds: number,
  gaps: readonly number[],
  recent: readonly number[],
];
export type WindowRecord = {
  readonly keys?: Readonly<Record<string, KeyRecord>>;
  readonly clients?: Readonly<Record<string, ClientRecord>>;
};

const recentReceipts = 8;

export class Window {
  readonly #keys = new Map<string, KeyMark>();
  readonly #clients = new Map<string, ClientMark>();
  /** Marks dropped before their time because of a bound, since loading. Reported, never silent. */
  evictedEarly = 0;

  static read(record: WindowRecord): Window {
    const window = new Window();
    // An object gives keys that look like numbers first: the order of use is that of the revisions.
    const keys = Object.entries(record.keys ?? {}).sort(([, a], [, b]) => a[1] - b[1]);
    for (const [key, [hash, revision, changed, atSeconds]] of keys) {
      window.#keys.set(key, keyMark(key, hash, { revision, changed: changed === 1 }, atSeconds * 1000));
    }
    for (const [client, [high, atSeconds, gaps, recent]] of Object.entries(record.clients ?? {})) {
      const receipts = new Map<number, RecentReceipt>();
      for (let index = 0; index + 2 < recent.length; index += 3) {
        const number = recent[index] as number;
        receipts.set(
          number,
          recentReceipt(number, { revision: recent[index + 1] as number, changed: recent[index + 2] === 1 }),
        );
      }
      window.#clients.set(client, { high, gaps: [...gaps], atMs: atSeconds * 1000, recent: receipts });
    }
    return window;
  }

  lookup(key: Key, hash: string, limits: Limits): Lookup {
    if (key.kind === "caller") {
      const mark = this.#keys.get(key.key);
      if (mark === undefined) return { kind: "new" };
      return mark.hash === hash ? { kind: "known", receipt: mark.receipt } : { kind: "reused" };
    }
    const mark = this.#clients.get(key.client);
    if (mark === undefined) {
      if (!/^[\w.-]{1,64}$/.test(key.client) || !Number.isSafeInteger(key.number) || !Number.isSafeInteger(key.low))
        return { kind: "malformed" };
      const gaps = key.number - Math.min(key.low, key.number);
      return gaps > limits.clientGaps ? { kind: "tooManyGaps", gaps } : { kind: "new" };
    }
    if (key.number > mark.high) {
      const gaps = mark.gaps.length + (key.number - mark.high - 1);
      return gaps > limits.clientGaps ? { kind: "tooManyGaps", gaps } : { kind: "new" };
    }
    if (mark.gaps.includes(key.number)) return { kind: "new" };
    return { kind: "known", receipt: receiptIn(mark, key.number) };
  }

  /** The receipt of a key that is known, whatever its body was. */
  receiptOf(key: Key): Receipt | undefined {
    if (key.kind === "caller") return this.#keys.get(key.key)?.receipt;
    const mark = this.#clients.get(key.client);
    if (mark === undefined || key.number > mark.high || mark.gaps.includes(key.number)) return undefined;
    return receiptIn(mark, key.number);
  }

  add(key: Key, hash: string, receipt: Receipt, nowMs: number, limits: Limits): void {
    if (key.kind === "caller") {
      this.#keys.set(key.key, keyMark(key.key, hash, receipt, nowMs));
    } else {
      // A client that names a `low` above its own number has not said anything of the numbers between.
      this.#addNumber(key.client, key.number, Math.min(key.low, key.number), receipt, nowMs, limits);
    }
    this.#prune(nowMs, limits);
  }

  #addNumber(client: string, number: number, low: number, receipt: Receipt, nowMs: number, limits: Limits): void {
    const mark = this.#clients.get(client) ?? {
      high: low - 1,
      gaps: [],
      atMs: nowMs,
      recent: new Map<number, RecentReceipt>(),
    };
    for (let missing = Math.max(mark.high + 1, low); missing < number; missing++) mark.gaps.push(missing);
    if (mark.gaps.length > 0) mark.gaps = mark.gaps.filter((gap) => gap !== number && gap >= low);
    mark.high = Math.max(mark.high, number);
    mark.atMs = nowMs;
    mark.recent.set(number, recentReceipt(number, receipt));
    for (const old of mark.recent.keys()) {
      // From `low` on the client still waits for an answer, and may ask for it again.
      if (mark.recent.size <= recentReceipts || (old >= low && mark.recent.size <= limits.clientGaps)) break;
      mark.recent.delete(old);
    }
    // Marks stand in the order of their latest use, so that the oldest is first.
    this.#clients.delete(client);
    this.#clients.set(client, mark);
  }

  #prune(nowMs: number, limits: Limits): void {
    if (this.#keys.size === 0 && this.#clients.size <= 1) return;
    for (const [key, mark] of this.#keys) {
      const expired = mark.atMs + limits.keyWindowMs < nowMs;
      if (!expired && this.#keys.size <= limits.keys) break;
      this.#keys.delete(key);
      if (!expired) this.evictedEarly++;
    }
    for (const [client, mark] of this.#clients) {
      const expired = mark.atMs + limits.clientWindowMs < nowMs;
      if (!expired && this.#clients.size <= limits.clients) break;
      this.#clients.delete(client);
      if (!expired) this.evictedEarly++;
    }
  }

  /** When the last mark of today will have expired, or undefined when there is none. */
  openUntilMs(limits: Limits): number | undefined {
    let until: number | undefined;
    for (const mark of this.#keys.values()) until = Math.max(until ?? 0, mark.atMs + limits.keyWindowMs);
    for (const mark of this.#clients.values()) until = Math.max(until ?? 0, mark.atMs + limits.clientWindowMs);
    return until;
  }

  text(): string {
    let keys = "";
    for (const mark of this.#keys.values()) keys += keys === "" ? mark.text : `,${mark.text}`;
    let clients = "";
    for (const [client, mark] of this.#clients) {
      let recent = "";
      for (const one of mark.recent.values()) recent += recent === "" ? one.text : `,${one.text}`;
      const text = `"${client}":[${mark.high},${seconds(mark.atMs)},[${mark.gaps.length === 0 ? "" : mark.gaps}],[${recent}]]`;
      clients += clients === "" ? text : `,${text}`;
    }
    if (keys === "") return clients === "" ? "{}" : `{"clients":{${clients}}}`;
    return clients === "" ? `{"keys":{${keys}}}` : `{"keys":{${keys}},"clients":{${clients}}}`;
  }
}

function keyMark(key: string, hash: string, receipt: Receipt, atMs: number): KeyMark {
  const text = `${JSON.stringify(key)}:["${hash}",${receipt.revision},${receipt.changed ? 1 : 0},${seconds(atMs)}]`;
  return { hash, receipt, atMs, text };
}

function recentReceipt(number: number, receipt: Receipt): RecentReceipt {
  return { receipt, text: `${number},${receipt.revision},${receipt.changed ? 1 : 0}` };
}

function receiptIn(mark: ClientMark, number: number): Receipt {
  return mark.recent.get(number)?.receipt ?? { revision: oldest(mark.recent), changed: true };
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}

function oldest(recent: Map<number, RecentReceipt>): number {
  let revision = Number.MAX_SAFE_INTEGER;
  for (const { receipt } of recent.values()) revision = Math.min(revision, receipt.revision);
  return revision === Number.MAX_SAFE_INTEGER ? 0 : revision;
}
