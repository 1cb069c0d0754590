/**
 * The lease service on a member: sessions that renew themselves, and whose orders are numbered, so that one which is asked
 * again, or comes late, is done once. What is true is in the table; a session only knows how long it may believe in it.
 */
import type { Clock } from "../../../runtime/ports/clock.ts";
import type { Random } from "../../../runtime/ports/random.ts";
import type { Order, Renewal, Request } from "../../lease/entry.ts";
import { LeaseInvalidOption, SessionNotOpened } from "../../lease/errors.ts";
import { type Renewed, SessionLife, unanswered } from "../../lease/session-life.ts";
import { longestKey, type Outcome, type RefusalReason, type ReplicatedTable } from "../../lease/table.ts";
import { sessionProblem } from "../../lease/validity.ts";
import type {
  AcquireOutcome,
  LeaseService,
  LeaseView,
  Session,
  SessionAttributes,
  SessionInfo,
  SessionOptions,
} from "../../ports/lease-service.ts";
import type { Silence } from "./silence.ts";

const endedThere = "its time was over";

/** What a member is for its leases. */
export interface LeaseMember {
  readonly identity: string;
  readonly table: ReplicatedTable;
  ask(request: Request, untilMs: number): Promise<Outcome | undefined>;
  renew(renewal: Renewal, untilMs: number): Promise<boolean | undefined>;
  onChange(listener: () => void): () => void;
}

/** The member stays the caller's to close. */
export type RaftLeasesPorts = {
  readonly member: LeaseMember;
  readonly clock: Clock;
  readonly random: Random;
  /** Why the member gets no answer, as far as it can be told. */
  readonly whySilent?: () => Silence | undefined;
};

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

  async openSession(options: SessionOptions): Promise<Session> {
    const { node, ttlMs, attributes = {} } = options;
    const problem = sessionProblem(options);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    const { member, clock, random } = this.#ports;
    const untilMs = clock.monotonic() + ttlMs;
    for (;;) {
      // Another session each time: what was sent for the one before may be answered yet, and its time began earlier.
      const info: SessionInfo = { id: random.id(), node, ttlMs, attributes };
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
        throw new SessionNotOpened("there are as many as the table takes; close some");
      const { reason = "the others do not answer", isFinal = false } = this.#ports.whySilent?.() ?? {};
      throw new SessionNotOpened(isFinal ? reason : `no answer within ${ttlMs} ms: ${reason}`, isFinal);
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
  readonly #ttlMs: number;
  readonly #life: SessionLife;
  readonly #onOver: () => void;
  #attributes: SessionAttributes | undefined;
  #beat = 0;
  #sequence = 0;
  /** Orders without an answer, whose time is not over. */
  readonly #asking = new Set<number>();

  constructor(ports: RaftLeasesPorts, { id, ttlMs }: SessionInfo, sentMs: number, onOver: () => void) {
    this.#ports = ports;
    this.#onOver = onOver;
    this.id = id;
    this.#ttlMs = ttlMs;
    const renewOnce = (untilMs: number) => this.#renewOnce(untilMs);
    this.#life = new SessionLife({ clock: ports.clock, ttlMs, sentMs, renewOnce });
    this.#life.onLost(onOver);
  }

  get isValid(): boolean {
    return this.#life.isValid;
  }

  get validUntilMs(): number {
    return this.#life.validUntilMs;
  }

  async acquire(key: string): Promise<AcquireOutcome> {
    mustBeKey(key);
    if (!this.isValid) return { kind: "lost" };
    const outcome = await this.#order({ kind: "acquire", key, wait: false }, this.validUntilMs);
    switch (outcome?.kind) {
      case "granted":
        return this.isValid ? { kind: "granted", index: outcome.index } : { kind: "lost" };
      case "held":
        return { kind: "held", by: outcome.by };
      case "lost":
        this.#life.lose(endedThere);
        return { kind: "lost" };
      case "refused":
        return { kind: "full", why: this.#whyFull(outcome.reason) };
      default:
        return { kind: "unknown" };
    }
  }

  #whyFull(reason: RefusalReason): string {
    const { leases, unanswered } = this.#ports.member.table.limits;
    return reason === "full"
      ? `all ${leases} leases that the table takes are held`
      : `more than ${unanswered} requests of this process are on their way`;
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

  update(attributes: SessionAttributes): Promise<void> {
    this.#attributes = attributes;
    return this.#life.renew();
  }

  onLost(listener: (reason: string) => void): () => void {
    return this.#life.onLost(listener);
  }

  async close(): Promise<void> {
    if (!this.#life.close()) return;
    this.#onOver();
    const untilMs = this.#ports.clock.monotonic() + this.#ttlMs;
    await this.#ports.member.ask({ kind: "close", session: this.id }, untilMs);
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

  async #renewOnce(untilMs: number): Promise<Renewed> {
    // From before it is sent: the table may count from any moment after.
    const sentMs = this.#ports.clock.monotonic();
    const renewal: Renewal = { session: this.id, beat: ++this.#beat, attributes: this.#attributes };
    const isRenewed = await this.#ports.member.renew(renewal, untilMs);
    if (isRenewed === undefined) return { kind: "over", reason: unanswered };
    if (!isRenewed) return { kind: "over", reason: endedThere };
    this.#attributes = this.#attributes === renewal.attributes ? undefined : this.#attributes;
    return { kind: "renewed", sentMs };
  }
}

function mustBeKey(key: string): void {
  if (typeof key !== "string" || key.length === 0 || key.length > longestKey)
    throw new LeaseInvalidOption(`the key of a lease must be a text of 1 to ${longestKey} characters`);
}
