/**
 * The replicated lease table: sessions, the keys they hold, and who waits for them. `apply` takes the entries of the log
 * in order; everything follows from these, time included, so all nodes hold the same table and give the same answers.
 *
 * T1 each grant has the index of its entry, and one entry grants a key at most once (C1, C2). T2 a session ends only by
 * its own wish or when lease time has reached its last renewal plus its time to live (C3). T3 an order applied twice is
 * done once and answered alike. T4 equal tables give equal snapshots, byte for byte. T5 everything is bounded; what is
 * beyond the bounds is refused, never forgotten.
 */
import type { Holding, SessionAttributes, SessionInfo } from "../ports/lease-service.ts";
import { Deadlines } from "./deadlines.ts";
import type { LeaseEntry, Order, Renewal, Request } from "./entry.ts";
import { decodeTable, encodeTable } from "./table-snapshot.ts";
import { ttlProblem } from "./validity.ts";

/** Part of the table, so that all nodes have the same ones: they come with the snapshot. */
export type TableLimits = {
  readonly sessions: number;
  readonly leases: number;
  /** Places in all queues together. */
  readonly waits: number;
  /** Orders of one session whose answers are kept, because it has not said that it got them. */
  readonly unanswered: number;
  /** Ended sessions that are remembered, so that a late copy of their opening is not taken for a new one. */
  readonly ended: number;
};

export const usualLimits: TableLimits = {
  sessions: 10_000,
  leases: 100_000,
  waits: 100_000,
  unanswered: 512,
  ended: 20_000,
};

/** How old, in lease time, the opening of a session may be when it is applied. */
export const openWithinMs = 60_000;
export const longestKey = 250;
const longestNode = 200;
const longestProblem = 1_000;

export type Outcome =
  | { readonly kind: "opened" }
  | { readonly kind: "granted"; readonly index: number }
  | { readonly kind: "held"; readonly by: string }
  /** The grant comes as an event. */
  | { readonly kind: "queued" }
  /** Also when there was nothing to do. */
  | { readonly kind: "released" }
  | { readonly kind: "notHeld" }
  | { readonly kind: "closed" }
  | { readonly kind: "raised" }
  /** The session is over, or never was. */
  | { readonly kind: "lost" }
  /** It was answered, and the answer is not kept any more. Nothing was done. */
  | { readonly kind: "forgotten" }
  /**
   * Nothing was done; the same may be asked again. Stale: with the lease time of now. Unanswered: the session has too many
   * orders of which it has not said that it got the answers.
   */
  | { readonly kind: "refused"; readonly reason: RefusalReason };

export type RefusalReason = "invalid" | "full" | "unanswered" | "used" | "stale" | "noSuchSession";

/** What happened, in order: whoever follows the table needs nothing else. */
export type LeaseEvent =
  | { readonly kind: "opened" | "changed"; readonly session: SessionInfo }
  | { readonly kind: "ended"; readonly session: SessionInfo; readonly reason: "expired" | "closed" }
  | { readonly kind: "granted"; readonly holding: Holding }
  | { readonly kind: "freed"; readonly holding: Holding };

export type Applied = {
  /** One per request of the entry. */
  readonly outcomes: readonly Outcome[];
  /** One per renewal: false when the session is over. */
  readonly renewed: readonly boolean[];
  readonly events: readonly LeaseEvent[];
};

export type TableSession = {
  info: SessionInfo;
  beat: number;
  expiresMs: number;
  answeredBelow: number;
  readonly answers: Map<number, Outcome>;
  readonly keys: Set<string>;
  readonly waits: Set<string>;
};

export type Waiter = { readonly session: string; readonly sequence: number };

/** All that a table is. Everything else in it can be computed from this. */
export type TableState = {
  readonly limits: TableLimits;
  epoch: number;
  index: number;
  leaseMs: number;
  readonly sessions: Map<string, TableSession>;
  /** When each ended, in lease time. */
  readonly ended: Map<string, number>;
  readonly leases: Map<string, Holding>;
  /** In the order in which they are served. A key with a queue and no lease is served by the next entry. */
  readonly queues: Map<string, Waiter[]>;
};

export class ReplicatedTable {
  readonly #state: TableState;
  readonly #deadlines = new Deadlines();
  /** Free keys with a queue, to be served. */
  readonly #postponed = new Set<string>();
  /** Who was granted a key by the entry that is being applied. */
  readonly #grantedNow = new Map<string, string>();
  #waits = 0;
  #events: LeaseEvent[] = [];

  static empty(limits: TableLimits = usualLimits): ReplicatedTable {
    return new ReplicatedTable({
      limits,
      epoch: 1,
      index: 0,
      leaseMs: 0,
      sessions: new Map(),
      ended: new Map(),
      leases: new Map(),
      queues: new Map(),
    });
  }

  /** Throws UnknownLeaseEntry for what no `snapshot` of this release has given. */
  static restore(snapshot: Uint8Array): ReplicatedTable {
    return new ReplicatedTable(decodeTable(snapshot));
  }

  private constructor(state: TableState) {
    this.#state = state;
    for (const [name, { expiresMs }] of state.sessions) this.#deadlines.add({ dueMs: expiresMs, name });
    for (const [key, queue] of state.queues) {
      this.#waits += queue.length;
      if (!state.leases.has(key)) this.#postponed.add(key);
    }
  }

  /** The upper part of every token. */
  get epoch(): number {
    return this.#state.epoch;
  }

  /** Of the entry applied last. */
  get index(): number {
    return this.#state.index;
  }

  get leaseMs(): number {
    return this.#state.leaseMs;
  }

  get limits(): TableLimits {
    return this.#state.limits;
  }

  get sessions(): ReadonlyMap<string, { readonly info: SessionInfo; readonly expiresMs: number }> {
    return this.#state.sessions;
  }

  get leases(): ReadonlyMap<string, Holding> {
    return this.#state.leases;
  }

  waiting(key: string): readonly string[] {
    return (this.#state.queues.get(key) ?? []).map(({ session }) => session);
  }

  snapshot(): Uint8Array {
    return encodeTable(this.#state);
  }

  /** The lease time at which an entry, even one without requests, changes something. Undefined: never. */
  nextDueMs(): number | undefined {
    if (this.#postponed.size > 0) return this.#state.leaseMs;
    this.#settleFirstDeadline();
    return this.#deadlines.first()?.dueMs;
  }

  /** Entries must come in the order of the log; some of its indexes may be missing, as they hold no lease entry. */
  apply(index: number, entry: LeaseEntry): Applied {
    if (!(index > this.#state.index)) throw new Error(`entry ${index} was applied after entry ${this.#state.index}`);
    this.#state.index = index;
    // Never back, whatever an entry says.
    this.#state.leaseMs = Math.max(this.#state.leaseMs, entry.atMs);
    this.#events = [];
    // All that is due ends first, so that nobody is granted what he has lost already.
    this.#expire();
    this.#serve();
    const renewed = entry.renewals.map((renewal) => this.#renew(renewal));
    const outcomes = entry.requests.map((request) => {
      const outcome = this.#answer(request);
      this.#serve();
      return outcome;
    });
    this.#grantedNow.clear();
    return { outcomes, renewed, events: this.#events };
  }

  // ---- time ----

  #expire(): void {
    const { leaseMs, sessions, ended } = this.#state;
    for (;;) {
      this.#settleFirstDeadline();
      const first = this.#deadlines.first();
      if (first === undefined || first.dueMs > leaseMs) break;
      this.#deadlines.removeFirst();
      this.#end(sessions.get(first.name)!, "expired");
    }
    for (const [id, endedMs] of ended) {
      if (endedMs + openWithinMs >= leaseMs) break;
      ended.delete(id);
    }
  }

  /**
   * Makes the first deadline a true one. A session that was renewed is put back at its present deadline before anything is
   * ended: so the order of ends is that of the deadlines, however often one was renewed, on a restored table too.
   */
  #settleFirstDeadline(): void {
    for (let first = this.#deadlines.first(); first !== undefined; first = this.#deadlines.first()) {
      const session = this.#state.sessions.get(first.name);
      if (session?.expiresMs === first.dueMs) return;
      this.#deadlines.removeFirst();
      if (session !== undefined) this.#deadlines.add({ dueMs: session.expiresMs, name: first.name });
    }
  }

  /** Grants what is free to whoever waits, unless this entry has granted it before (T1). */
  #serve(): void {
    for (const key of [...this.#postponed].sort()) {
      if (this.#grantedNow.has(key)) continue;
      this.#postponed.delete(key);
      this.#grantNext(key);
    }
  }

  // ---- sessions ----

  #renew({ session: id, beat, attributes }: Renewal): boolean {
    const session = this.#state.sessions.get(id);
    if (session === undefined) return false;
    if (beat <= session.beat) return true;
    session.beat = beat;
    // Its place among the deadlines is found when the old one comes up.
    session.expiresMs = this.#state.leaseMs + session.info.ttlMs;
    if (attributes !== undefined && areAttributes(attributes)) {
      session.info = { ...session.info, attributes };
      this.#events.push({ kind: "changed", session: session.info });
    }
    return true;
  }

  #answer(request: Request): Outcome {
    switch (request.kind) {
      case "open":
        return this.#open(request);
      case "order":
        return this.#order(request);
      case "close": {
        const session = this.#state.sessions.get(request.session);
        if (session === undefined) return { kind: "lost" };
        this.#end(session, "closed");
        return { kind: "closed" };
      }
      case "raiseEpoch":
        this.#state.epoch = Math.max(this.#state.epoch, request.to);
        return { kind: "raised" };
    }
  }

  #open({ session: id, node, ttlMs, attributes, asOfMs }: Extract<Request, { kind: "open" }>): Outcome {
    const { limits, sessions, ended, leaseMs } = this.#state;
    const present = sessions.get(id);
    if (present !== undefined) {
      const isAgain = present.info.node === node && present.info.ttlMs === ttlMs;
      return isAgain ? { kind: "opened" } : { kind: "refused", reason: "used" };
    }
    if (ended.has(id)) return { kind: "refused", reason: "used" };
    if (asOfMs > leaseMs || asOfMs + openWithinMs < leaseMs) return { kind: "refused", reason: "stale" };
    if (!isName(id, longestKey) || !isName(node, longestNode) || !isTtl(ttlMs) || !areAttributes(attributes))
      return { kind: "refused", reason: "invalid" };
    if (sessions.size >= limits.sessions || ended.size >= limits.ended) return { kind: "refused", reason: "full" };
    const info = { id, node, ttlMs, attributes };
    const expiresMs = leaseMs + ttlMs;
    sessions.set(id, {
      info,
      beat: 0,
      expiresMs,
      answeredBelow: 0,
      answers: new Map(),
      keys: new Set(),
      waits: new Set(),
    });
    this.#deadlines.add({ dueMs: expiresMs, name: id });
    this.#events.push({ kind: "opened", session: info });
    return { kind: "opened" };
  }

  #end(session: TableSession, reason: "expired" | "closed"): void {
    const { id } = session.info;
    this.#state.sessions.delete(id);
    this.#state.ended.set(id, this.#state.leaseMs);
    this.#events.push({ kind: "ended", session: session.info, reason });
    for (const key of session.waits) this.#leaveQueue(session, key);
    for (const key of [...session.keys].sort()) this.#free(session, key);
  }

  // ---- orders ----

  #order({ session: id, sequence, answeredBelow, order }: Extract<Request, { kind: "order" }>): Outcome {
    const session = this.#state.sessions.get(id);
    if (session === undefined) return { kind: "lost" };
    if (sequence < session.answeredBelow) return { kind: "forgotten" };
    forget(session, Math.min(answeredBelow, sequence));
    const before = session.answers.get(sequence);
    if (before !== undefined) return before;
    if (session.answers.size >= this.#state.limits.unanswered) return { kind: "refused", reason: "unanswered" };
    const outcome = isName(order.key, longestKey)
      ? this.#carryOut(session, sequence, order)
      : ({ kind: "refused", reason: "invalid" } as const);
    session.answers.set(sequence, outcome);
    return outcome;
  }

  #carryOut(session: TableSession, sequence: number, order: Order): Outcome {
    switch (order.kind) {
      case "acquire":
        return this.#acquire(session, sequence, order);
      case "release":
        this.#leaveQueue(session, order.key);
        if (session.keys.has(order.key)) this.#free(session, order.key);
        return { kind: "released" };
      case "transfer":
        return this.#transfer(session, order);
    }
  }

  #acquire(session: TableSession, sequence: number, { key, wait }: Extract<Order, { kind: "acquire" }>): Outcome {
    const { limits, leases, queues } = this.#state;
    const holding = leases.get(key);
    if (holding?.session === session.info.id) return { kind: "granted", index: holding.index };
    // Granted and freed by this same entry: its requests are concurrent, so to find it held is one of the true answers.
    const by = holding?.session ?? this.#grantedNow.get(key);
    if (by === undefined) {
      if (leases.size >= limits.leases) return { kind: "refused", reason: "full" };
      return { kind: "granted", index: this.#grant(session, key) };
    }
    if (!wait) return { kind: "held", by };
    if (session.waits.has(key)) return { kind: "queued" };
    if (this.#waits >= limits.waits) return { kind: "refused", reason: "full" };
    const queue = queues.get(key) ?? [];
    queues.set(key, queue);
    queue.push({ session: session.info.id, sequence });
    session.waits.add(key);
    this.#waits++;
    if (holding === undefined) this.#postponed.add(key);
    return { kind: "queued" };
  }

  #transfer(session: TableSession, { key, to }: Extract<Order, { kind: "transfer" }>): Outcome {
    const holding = this.#state.leases.get(key);
    // One that holds it since this entry cannot have known: as if its request had come first.
    if (holding?.session !== session.info.id || this.#grantedNow.has(key)) return { kind: "notHeld" };
    if (to === session.info.id) return { kind: "granted", index: holding.index };
    const receiver = this.#state.sessions.get(to);
    if (receiver === undefined) return { kind: "refused", reason: "noSuchSession" };
    session.keys.delete(key);
    const index = this.#state.index;
    const waited = this.#leaveQueue(receiver, key);
    this.#grant(receiver, key);
    if (waited !== undefined) this.#answerWaiter(receiver, waited, index);
    return { kind: "granted", index };
  }

  #grant(session: TableSession, key: string): number {
    const holding = { key, session: session.info.id, index: this.#state.index };
    this.#state.leases.set(key, holding);
    session.keys.add(key);
    this.#grantedNow.set(key, session.info.id);
    this.#events.push({ kind: "granted", holding });
    return holding.index;
  }

  #free(session: TableSession, key: string): void {
    const holding = this.#state.leases.get(key)!;
    this.#state.leases.delete(key);
    session.keys.delete(key);
    this.#events.push({ kind: "freed", holding });
    if (this.#state.queues.has(key)) this.#postponed.add(key);
  }

  #grantNext(key: string): void {
    const next = this.#state.queues.get(key)?.[0];
    if (next === undefined || this.#state.leases.has(key)) return;
    // Whoever ends leaves all queues, so who is first in one is alive.
    const session = this.#state.sessions.get(next.session)!;
    this.#leaveQueue(session, key);
    this.#answerWaiter(session, next, this.#grant(session, key));
  }

  /** Who asks again for an order that was queued learns that it is granted by now. */
  #answerWaiter(session: TableSession, { sequence }: Waiter, index: number): void {
    if (session.answers.has(sequence)) session.answers.set(sequence, { kind: "granted", index });
  }

  #leaveQueue(session: TableSession, key: string): Waiter | undefined {
    if (!session.waits.delete(key)) return undefined;
    const queue = this.#state.queues.get(key)!;
    const at = queue.findIndex((waiter) => waiter.session === session.info.id);
    const [left] = queue.splice(at, 1);
    this.#waits--;
    if (queue.length === 0) {
      this.#state.queues.delete(key);
      this.#postponed.delete(key);
    }
    return left;
  }
}

function forget(session: TableSession, below: number): void {
  if (below <= session.answeredBelow) return;
  session.answeredBelow = below;
  for (const sequence of session.answers.keys()) if (sequence < below) session.answers.delete(sequence);
}

function isName(text: string, longest: number): boolean {
  return text.length > 0 && text.length <= longest;
}

function isTtl(ttlMs: number): boolean {
  return ttlProblem(ttlMs) === undefined;
}

function areAttributes({ problem, zone }: SessionAttributes): boolean {
  return (problem?.length ?? 0) <= longestProblem && (zone?.length ?? 0) <= longestNode;
}
