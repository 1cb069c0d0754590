/**
 * One entry of the replicated log, as the lease table takes it: the leader's lease time, renewals of any number of
 * sessions, and requests. On the wire and on the disk it is JSON of short rows, so that a log can be read by people.
 */
import type { SessionAttributes } from "../ports/lease-service.ts";

export type Renewal = {
  readonly session: string;
  /** Counts the renewals of a session: one that comes late or twice changes nothing. */
  readonly beat: number;
  /** Undefined: as before. */
  readonly attributes: SessionAttributes | undefined;
};

export type Order =
  /** With `wait`, one that finds the key held joins the queue for it, and is granted it in turn. */
  | { readonly kind: "acquire"; readonly key: string; readonly wait: boolean }
  /** Also leaves the queue. */
  | { readonly kind: "release"; readonly key: string }
  | { readonly kind: "transfer"; readonly key: string; readonly to: string };

export type Request =
  | {
      readonly kind: "open";
      readonly session: string;
      readonly node: string;
      readonly ttlMs: number;
      readonly attributes: SessionAttributes;
      /** The lease time that whoever asks has seen: so a copy of the request that comes very late is known for one. */
      readonly asOfMs: number;
    }
  | {
      readonly kind: "order";
      readonly session: string;
      /** Numbers the orders of a session from 1: one that comes twice is answered as the first time. */
      readonly sequence: number;
      /** The orders below it have their answers: nobody will ask for these again. */
      readonly answeredBelow: number;
      readonly order: Order;
    }
  | { readonly kind: "close"; readonly session: string }
  /** Somebody recovered the cluster by hand: what it grants from now on outranks all of before. */
  | { readonly kind: "raiseEpoch"; readonly to: number };

export type LeaseEntry = {
  /** Lease time: the leader's, when it proposed the entry. */
  readonly atMs: number;
  readonly renewals: readonly Renewal[];
  readonly requests: readonly Request[];
};

/** The entry is of a release that this one does not know, or is none: whoever applies it must stop, not skip it. */
export class UnknownLeaseEntry extends Error {
  override readonly name = "UnknownLeaseEntry";
}

export function encodeLeaseEntry({ atMs, renewals, requests }: LeaseEntry): Uint8Array {
  const beats = renewals.map(({ session, beat, attributes }) =>
    attributes === undefined ? [session, beat] : [session, beat, attributes],
  );
  return new TextEncoder().encode(JSON.stringify([1, atMs, beats, requests.map(rowOf)]));
}

/** Throws UnknownLeaseEntry. */
export function decodeLeaseEntry(bytes: Uint8Array): LeaseEntry {
  const row = new Row(parse(bytes));
  if (row.number() !== 1) throw new UnknownLeaseEntry("a log entry has a format that this release does not know");
  return {
    atMs: row.number(),
    renewals: row.rows((beat) => ({ session: beat.text(), beat: beat.number(), attributes: beat.attributesIfAny() })),
    requests: row.rows(requestOf),
  };
}

function rowOf(request: Request): unknown[] {
  switch (request.kind) {
    case "open":
      return ["open", request.session, request.node, request.ttlMs, request.attributes, request.asOfMs];
    case "order":
      return [request.order.kind, request.session, request.sequence, request.answeredBelow, ...orderRow(request.order)];
    case "close":
      return ["close", request.session];
    case "raiseEpoch":
      return ["raiseEpoch", request.to];
  }
}

function orderRow(order: Order): unknown[] {
  switch (order.kind) {
    case "acquire":
      return [order.key, order.wait];
    case "release":
      return [order.key];
    case "transfer":
      return [order.key, order.to];
  }
}

function requestOf(row: Row): Request {
  const kind = row.text();
  switch (kind) {
    case "open":
      return {
        kind,
        session: row.text(),
        node: row.text(),
        ttlMs: row.number(),
        attributes: row.attributesIfAny() ?? {},
        asOfMs: row.number(),
      };
    case "close":
      return { kind, session: row.text() };
    case "raiseEpoch":
      return { kind, to: row.number() };
    default:
      return {
        kind: "order",
        session: row.text(),
        sequence: row.number(),
        answeredBelow: row.number(),
        order: orderOf(kind, row),
      };
  }
}

function orderOf(kind: string, row: Row): Order {
  switch (kind) {
    case "acquire":
      return { kind, key: row.text(), wait: row.truth() };
    case "release":
      return { kind, key: row.text() };
    case "transfer":
      return { kind, key: row.text(), to: row.text() };
    default:
      throw new UnknownLeaseEntry(`a log entry asks for ${kind}, which this release does not know`);
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new UnknownLeaseEntry("a log entry is no JSON", { cause });
  }
}

/** The values of one row, taken in their order. */
class Row {
  readonly #values: readonly unknown[];
  #at = 0;

  constructor(values: unknown) {
    if (!Array.isArray(values)) throw new UnknownLeaseEntry("a log entry holds something that is no row");
    this.#values = values;
  }

  text(): string {
    const value = this.#values[this.#at++];
    if (typeof value !== "string") throw new UnknownLeaseEntry(`a log entry holds ${value} in the place of a text`);
    return value;
  }

  number(): number {
    const value = this.#values[this.#at++];
    if (typeof value !== "number" || !Number.isFinite(value))
      throw new UnknownLeaseEntry(`a log entry holds ${value} in the place of a number`);
    return value;
  }

  truth(): boolean {
    const value = this.#values[this.#at++];
    if (typeof value !== "boolean") throw new UnknownLeaseEntry(`a log entry holds ${value} in the place of yes or no`);
    return value;
  }

  attributesIfAny(): SessionAttributes | undefined {
    const value = this.#values[this.#at++];
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null) throw new UnknownLeaseEntry("a log entry holds no attributes");
    const { draining, problem, weight, zone } = value as SessionAttributes;
    return {
      ...(typeof draining === "boolean" && { draining }),
      ...(typeof problem === "string" && { problem }),
      ...(typeof weight === "number" && { weight }),
      ...(typeof zone === "string" && { zone }),
    };
  }

  rows<T>(read: (row: Row) => T): T[] {
    const values = this.#values[this.#at++];
    if (!Array.isArray(values)) throw new UnknownLeaseEntry("a log entry holds something in the place of rows");
    return values.map((value) => read(new Row(value)));
  }
}
