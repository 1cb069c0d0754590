/**
 * The lease service on a member: sessions that renew themselves, and whose orders are numbered, so that one which is asked
 * again, or comes late, is done once. What is true is in the table; a session only knows how long it may believe in it.
 */
import type { Cancel, Clock } from "../../../runtime/ports/clock.ts";
import type { Random } from "../../../runtime/ports/random.ts";
import type { Order, Renewal, Request } from "../../lease/entry.ts";
import { LeaseInvalidOption } from "../../lease/errors.ts";
import { longestKey, type Outcome, type ReplicatedTable } from "../../lease/table.ts";
import { renewEveryMs, ttlProblem, validUntilMs } from "../../lease/validity.ts";
import type {
  AcquireOutcome,
  LeaseService,
  LeaseView,
  Session,
  SessionAttributes,
  SessionInfo,
} from "../../ports/lease-service.ts";

/** What a member is for its leases. */
export interface LeaseMember {
  readonly identity: string;
  readonly table: ReplicatedTable;
  ask(request: Request, untilMs: number): Promise<Outcome | undefined>;
  renew(renewal: Renewal, untilMs: number): Promise<boolean | undefined>;
  onChange(listener: () => void): () => void;
}

/** The member stays the caller's to close. */
export type RaftLeasesPorts = { readonly member: LeaseMember; readonly clock: Clock; readonly random: Random };

export class RaftLeases implements LeaseService<"log-index"> {
  readonly fencing = "log-index";
  readonly #ports: RaftLeasesPorts;
  readonly #open = new Set<RaftSession>();

  constructor(ports: RaftLeasesPorts) {
    this.#ports = ports;
  }

  get identity(): string {
    return this.#ports.member.identity;
  }

  async openSession(options: {
    readonly node: string;
    readonly ttlMs: number;
    readonly attributes?: SessionAttributes;
  }): Promise<Session> {
    const { node, ttlMs, attributes = {} } = options;
    const problem = ttlProblem(ttlMs);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    if (typeof node !== "string" || node.length === 0 || node.length > 200)
      throw new LeaseInvalidOption("`node` must be a text of 1 to 200 characters");
    const { member, clock, random } = this.#ports;
    const info: SessionInfo = { id: random.id(), node, ttlMs, attributes };
    const untilMs = clock.monotonic() + ttlMs;
    for (;;) {
      const sentMs = clock.monotonic();
      const asOfMs = member.table.leaseMs;
      const outcome = await member.ask({ kind: "open", session: info.id, node, ttlMs, attributes, asOfMs }, untilMs);
      if (outcome?.kind === "opened") {
        const session = new RaftSession(this.#ports, info, sentMs, () => this.#open.delete(session));
        this.#open.add(session);
        return session;
      }
      // Nobody has asked anything for long, so this member's lease time was of long ago. The answer has brought it up.
      if (outcome?.kind === "refused" && outcome.reason === "stale" && clock.monotonic() < untilMs) continue;
      if (outcome?.kind === "refused" && outcome.reason === "invalid")
        throw new LeaseInvalidOption("the session's attributes are too long");
      if (outcome?.kind === "refused" && outcome.reason === "full")
        throw new Error("no session could be opened: there are as many as the table takes; close some");
      throw new Error(`no session could be opened within ${ttlMs} ms: the back end does not answer`);
    }
  }

  view(): LeaseView {
    const { table } = this.#ports.member;
    const sessions = new Map<string, SessionInfo>();
    for (const [id, { info }] of table.sessions) sessions.set(id, info);
    return { sessions, leases: table.leases };
  }

  onChange(listener: () => void): () => void {
    return this.#ports.member.onChange(listener);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((session) => session.close()));
  }
}

class RaftSession implements Session {
  readonly id: string;
  readonly #ports: RaftLeasesPorts;
  readonly #onOver: () => void;
  readonly #ttlMs: number;
  #attributes: SessionAttributes | undefined;
  #validUntilMs = 0;
  #state: "open" | "lost" | "closed" = "open";
  #beat = 0;
  #sequence = 0;
  /** Orders without an answer, whose time is not over. */
  readonly #asking = new Set<number>();
  #renewing: Promise<void> | undefined;
  #timer: Cancel | undefined;
  #lapse: Cancel | undefined;
  readonly #listeners = new Set<(reason: string) => void>();

  constructor(ports: RaftLeasesPorts, info: SessionInfo, sentMs: number, onOver: () => void) {
    this.#ports = ports;
    this.#onOver = onOver;
    this.id = info.id;
    this.#ttlMs = info.ttlMs;
    this.#renewed(sentMs);
  }

  get isValid(): boolean {
    return this.#state === "open" && this.#ports.clock.monotonic() < this.#validUntilMs;
  }

  get validUntilMs(): number {
    return this.#validUntilMs;
  }

  async acquire(key: string): Promise<AcquireOutcome> {
    mustBeKey(key);
    if (!this.isValid) return { kind: "lost" };
    const outcome = await this.#order({ kind: "acquire", key, wait: false }, this.#validUntilMs);
    switch (outcome?.kind) {
      case "granted":
        return this.isValid ? { kind: "granted", index: outcome.index } : { kind: "lost" };
      case "held":
        return { kind: "held", by: outcome.by };
      case "lost":
        this.#lose("its time was over");
        return { kind: "lost" };
      default:
        return { kind: "unknown" };
    }
  }

  async release(key: string): Promise<boolean> {
    mustBeKey(key);
    const outcome = await this.#order({ kind: "release", key }, this.#ports.clock.monotonic() + this.#ttlMs);
    return outcome?.kind === "released" || outcome?.kind === "lost";
  }

  async transfer(key: string, to: string): Promise<boolean> {
    mustBeKey(key);
    const outcome = await this.#order({ kind: "transfer", key, to }, this.#ports.clock.monotonic() + this.#ttlMs);
    return outcome?.kind === "granted" || outcome?.kind === "notHeld" || outcome?.kind === "lost";
  }

  async update(attributes: SessionAttributes): Promise<void> {
    this.#attributes = attributes;
    await this.#renewing;
    await this.#renew();
  }

  onLost(listener: (reason: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    this.#stopTimers();
    this.#onOver();
    const untilMs = this.#ports.clock.monotonic() + this.#ttlMs;
    if (wasOpen) await this.#ports.member.ask({ kind: "close", session: this.id }, untilMs);
  }

  async #order(order: Order, untilMs: number): Promise<Outcome | undefined> {
    const sequence = ++this.#sequence;
    this.#asking.add(sequence);
    const [answeredBelow = sequence] = this.#asking;
    try {
      return await this.#ports.member.ask({ kind: "order", session: this.id, sequence, answeredBelow, order }, untilMs);
    } finally {
      this.#asking.delete(sequence);
    }
  }

  #renew(): Promise<void> {
    if (this.#state !== "open") return Promise.resolve();
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewOnce(): Promise<void> {
    // From before it is sent: the table may count from any moment after.
    const sentMs = this.#ports.clock.monotonic();
    const renewal: Renewal = { session: this.id, beat: ++this.#beat, attributes: this.#attributes };
    const isRenewed = await this.#ports.member.renew(renewal, this.#validUntilMs);
    if (this.#state !== "open") return;
    if (isRenewed === undefined) return this.#lose("it could not be renewed in time");
    if (!isRenewed) return this.#lose("its time was over");
    this.#attributes = this.#attributes === renewal.attributes ? undefined : this.#attributes;
    this.#renewed(sentMs);
  }

  /** One that was long under way leaves little of its time: then the next is made at once. */
  #renewed(sentMs: number): void {
    this.#stopTimers();
    const { clock } = this.#ports;
    const now = clock.monotonic();
    this.#validUntilMs = validUntilMs(sentMs, this.#ttlMs);
    const renewInMs = Math.max(0, sentMs + renewEveryMs(this.#ttlMs) - now);
    this.#timer = clock.after(renewInMs, () => void this.#renew(), { background: true });
    this.#lapse = clock.after(
      Math.max(0, this.#validUntilMs - now),
      () => this.#lose("its time to live has passed without a renewal"),
      { background: true },
    );
  }

  #stopTimers(): void {
    this.#timer?.();
    this.#lapse?.();
  }

  #lose(reason: string): void {
    if (this.#state !== "open") return;
    this.#state = "lost";
    this.#stopTimers();
    this.#onOver();
    for (const listener of [...this.#listeners]) listener(reason);
  }
}

function mustBeKey(key: string): void {
  if (typeof key !== "string" || key.length === 0 || key.length > longestKey)
    throw new LeaseInvalidOption(`the key of a lease must be a text of 1 to ${longestKey} characters`);
}
