/** The lease table as bytes and back: JSON with everything in a stated order, so that equal tables give equal bytes. */
import type { Holding, SessionAttributes } from "../ports/lease-service.ts";
import { UnknownLeaseEntry } from "./entry.ts";
import type { Outcome, TableLimits, TableSession, TableState, Waiter } from "./table.ts";

type SessionRow = {
  readonly id: string;
  readonly node: string;
  readonly ttlMs: number;
  readonly draining?: boolean;
  readonly problem?: string;
  readonly weight?: number;
  readonly zone?: string;
  readonly beat: number;
  readonly expiresMs: number;
  readonly answeredBelow: number;
  readonly answers: readonly (readonly [number, Outcome])[];
};

type Written = {
  readonly format: 1;
  readonly limits: TableLimits;
  readonly epoch: number;
  readonly index: number;
  readonly leaseMs: number;
  readonly sessions: readonly SessionRow[];
  readonly ended: readonly (readonly [string, number])[];
  readonly leases: readonly (readonly [string, string, number])[];
  readonly queues: readonly (readonly [string, readonly (readonly [string, number])[]])[];
};

export function encodeTable(state: TableState): Uint8Array {
  const { sessions: most, leases, waits, unanswered, ended } = state.limits;
  const written: Written = {
    format: 1,
    limits: { sessions: most, leases, waits, unanswered, ended },
    epoch: state.epoch,
    index: state.index,
    leaseMs: state.leaseMs,
    sessions: sorted(state.sessions).map(([, session]) => sessionRow(session)),
    ended: sorted(state.ended),
    leases: sorted(state.leases).map(([key, { session, index }]) => [key, session, index]),
    queues: sorted(state.queues).map(([key, queue]) => [
      key,
      queue.map(({ session, sequence }) => [session, sequence]),
    ]),
  };
  return new TextEncoder().encode(JSON.stringify(written));
}

/** Throws UnknownLeaseEntry. */
export function decodeTable(bytes: Uint8Array): TableState {
  const written = parse(bytes);
  const sessions = new Map<string, TableSession>();
  for (const row of written.sessions) sessions.set(row.id, sessionOf(row));
  const leases = new Map<string, Holding>();
  for (const [key, session, index] of written.leases) {
    leases.set(key, { key, session, index });
    sessions.get(session)?.keys.add(key);
  }
  const queues = new Map<string, Waiter[]>();
  for (const [key, queue] of written.queues) {
    queues.set(
      key,
      queue.map(([session, sequence]) => ({ session, sequence })),
    );
    for (const [session] of queue) sessions.get(session)?.waits.add(key);
  }
  const { limits, epoch, index, leaseMs } = written;
  // The oldest first, as they are forgotten.
  const ended = new Map([...written.ended].sort(([, a], [, b]) => a - b));
  return { limits, epoch, index, leaseMs, sessions, ended, leases, queues };
}

function sessionRow({ info, beat, expiresMs, answeredBelow, answers }: TableSession): SessionRow {
  const { id, node, ttlMs, attributes } = info;
  const { draining, problem, weight, zone } = attributes;
  return {
    id,
    node,
    ttlMs,
    ...(draining !== undefined && { draining }),
    ...(problem !== undefined && { problem }),
    ...(weight !== undefined && { weight }),
    ...(zone !== undefined && { zone }),
    beat,
    expiresMs,
    answeredBelow,
    answers: [...answers].sort(([a], [b]) => a - b),
  };
}

function sessionOf({ id, node, ttlMs, draining, problem, weight, zone, ...rest }: SessionRow): TableSession {
  const attributes: SessionAttributes = {
    ...(draining !== undefined && { draining }),
    ...(problem !== undefined && { problem }),
    ...(weight !== undefined && { weight }),
    ...(zone !== undefined && { zone }),
  };
  const { beat, expiresMs, answeredBelow, answers } = rest;
  return {
    info: { id, node, ttlMs, attributes },
    beat,
    expiresMs,
    answeredBelow,
    answers: new Map(answers),
    keys: new Set(),
    waits: new Set(),
  };
}

/** By code units, the same everywhere; `localeCompare` is not. */
function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A snapshot travels and is stored with a checksum, so its form is all that is looked at. */
function parse(bytes: Uint8Array): Written {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new UnknownLeaseEntry("a snapshot of the lease table is no JSON", { cause });
  }
  const { format, sessions, ended, leases, queues } = (value ?? {}) as Partial<Written>;
  if (format !== 1 || ![sessions, ended, leases, queues].every(Array.isArray))
    throw new UnknownLeaseEntry("a snapshot of the lease table has a format that this release does not know");
  return value as Written;
}
