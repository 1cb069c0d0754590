/**
 * Judges leases from outside, as they are told and believed: C1 who asks after a grant was told of gets a higher index; C2
 * one holder per key and index; C3 nobody loses a session before its time to live has passed since the last renewal that
 * was confirmed to him; C4 no two believers at once, where clocks allow it; and what was granted is held until it is
 * given back or over. Times are true milliseconds.
 */
import type { Holding } from "../../coordinator/ports/lease-service.ts";
import type { Violation } from "./violation.ts";

export type LeaseConditions = {
  /** The fastest clock there is, as a multiple of true time. */
  readonly fastestRate: number;
  /** Clock rates are within the margin, and nobody stands still without noticing: C4 is judged. */
  readonly areClocksFair: boolean;
};

/** A session as its own process sees it. */
export type SessionView = { readonly id: string; readonly isValid: boolean };

/** A replicated table at one index. */
export type TableView = {
  readonly index: number;
  readonly sessions: ReadonlyMap<string, unknown>;
  readonly leases: ReadonlyMap<string, Holding>;
};

type Known = { readonly ttlMs: number; renewedMs: number; isClosing: boolean; seenAt: number; isOver: boolean };
type Belief = { readonly session: SessionView; readonly index: number };

export class LeaseChecker {
  readonly violations: Violation[] = [];
  grants = 0;
  readonly #conditions: LeaseConditions;
  readonly #sessions = new Map<string, Known>();
  readonly #highestTold = new Map<string, number>();
  readonly #holders = new Map<string, string>();
  readonly #beliefs = new Map<string, Belief[]>();

  constructor(conditions: LeaseConditions) {
    this.#conditions = conditions;
  }

  /** `sentMs`: before the request was sent that opened the session, or renewed it, with success. */
  onRenewed(session: string, ttlMs: number, sentMs: number): void {
    const known = this.#sessions.get(session);
    if (known !== undefined) known.renewedMs = Math.max(known.renewedMs, sentMs);
    else this.#sessions.set(session, { ttlMs, renewedMs: sentMs, isClosing: false, seenAt: 0, isOver: false });
  }

  onClosing(session: string): void {
    const known = this.#sessions.get(session);
    if (known !== undefined) known.isClosing = true;
  }

  /** Returns what a grant that is asked for now must be above. */
  onAsked(key: string): number {
    return this.#highestTold.get(key) ?? 0;
  }

  onGranted(key: string, session: SessionView, index: number, above: number): void {
    this.grants++;
    this.#isHeldBy(key, index, session.id);
    const beliefs = this.#beliefs.get(key) ?? [];
    this.#beliefs.set(key, beliefs);
    const isAgain = beliefs.some((belief) => belief.session.id === session.id && belief.index === index);
    // The same index again is the same grant, or C2 is broken.
    if (index < above) this.#violated("C1-token-fell", `${key} at ${index}, after ${above} was told`);
    this.#highestTold.set(key, Math.max(above, index, this.#highestTold.get(key) ?? 0));
    if (!isAgain) beliefs.push({ session, index });
    this.judgeBeliefs(key);
  }

  /** Before it is asked for: who gives back does not believe any more. */
  onGivenBack(key: string, session: string): void {
    this.#forget(key, (belief) => belief.session.id === session);
  }

  /** Its process is gone, and what it believed with it. */
  onGone(session: string): void {
    for (const key of this.#beliefs.keys()) this.onGivenBack(key, session);
  }

  /** C4. */
  judgeBeliefs(key: string): void {
    const believers = (this.#beliefs.get(key) ?? []).filter(({ session }) => session.isValid);
    if (believers.length < 2 || !this.#conditions.areClocksFair) return;
    const who = believers.map(({ session, index }) => `${session.id} at ${index}`).join(" and ");
    this.#violated("C4-two-believers", `${key}: ${who}`);
    this.#beliefs.set(key, []);
  }

  /** `nowMs`: nobody may believe for longer than his time to live from before his last renewal was sent. */
  judgeAllBeliefs(nowMs: number): void {
    for (const [key, beliefs] of this.#beliefs) {
      this.judgeBeliefs(key);
      for (const { session } of beliefs) this.#judgeAge(session, nowMs);
    }
  }

  #judgeAge(session: SessionView, nowMs: number): void {
    const known = this.#sessions.get(session.id);
    if (known === undefined || known.isOver || !this.#conditions.areClocksFair || !session.isValid) return;
    const ageMs = nowMs - known.renewedMs;
    if (ageMs > known.ttlMs)
      this.#violated("C4-believes-too-long", `${session.id} after ${ageMs} ms, of ${known.ttlMs}`);
  }

  /** A member has come to this. */
  onTable(table: TableView, nowMs: number): void {
    for (const { key, session, index } of table.leases.values()) this.#isHeldBy(key, index, session);
    for (const [id, known] of this.#sessions) {
      if (table.sessions.has(id)) {
        known.seenAt = Math.max(known.seenAt, table.index);
        continue;
      }
      if (known.isOver || known.seenAt === 0 || known.seenAt > table.index) continue;
      known.isOver = true;
      const passedMs = (nowMs - known.renewedMs) * this.#conditions.fastestRate;
      // A millisecond for what clocks round.
      if (!known.isClosing && passedMs + 1 < known.ttlMs)
        this.#violated("C3-ended-too-early", `${id} was over ${passedMs} ms after its renewal, of ${known.ttlMs}`);
    }
  }

  /** When all is quiet: whoever still has his session holds what he was granted and did not give back. */
  judgeEnd(table: TableView): void {
    for (const [key, beliefs] of this.#beliefs)
      for (const { session, index } of beliefs) {
        if (!table.sessions.has(session.id) || table.leases.get(key)?.index === index) continue;
        this.#violated("grant-lost", `${key} was granted to ${session.id} at ${index}, and is not held`);
      }
  }

  /** C2. */
  #isHeldBy(key: string, index: number, session: string): void {
    const name = JSON.stringify([key, index]);
    const holder = this.#holders.get(name);
    if (holder === undefined) this.#holders.set(name, session);
    else if (holder !== session) this.#violated("C2-two-holders", `${key} at ${index}: ${holder} and ${session}`);
  }

  #forget(key: string, isIt: (belief: Belief) => boolean): void {
    const beliefs = this.#beliefs.get(key);
    if (beliefs !== undefined)
      this.#beliefs.set(
        key,
        beliefs.filter((belief) => !isIt(belief)),
      );
  }

  #violated(rule: string, detail: string): void {
    this.violations.push({ rule, detail });
  }
}
