/**
 * The partitions of actors, spread over the processes that are alive: implements the runtime's `Leases` over any fenced
 * lease service. Every process computes the same assignment from what it sees; compare-and-set settles where they differ.
 * A process takes what is free and assigned to it, and hands over what is assigned to another, one step for both.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { Cancel, Clock } from "../../runtime/ports/clock.ts";
import type { LeaseChange, LeaseStatus, Leases } from "../../runtime/ports/leases.ts";
import type { Logger } from "../../runtime/ports/logger.ts";
import type { Token } from "../../runtime/ports/store.ts";
import { Seldom } from "../../runtime/seldom.ts";
import { LeaseInvalidOption } from "../lease/errors.ts";
import { weightProblem } from "../lease/validity.ts";
import type { Fencing, LeaseService, Session, SessionAttributes } from "../ports/lease-service.ts";
import { assign, type Member } from "./assign.ts";

export type PartitionLeasesOptions = {
  /** Back ends without fencing do not fit: a token that no resource can compare would be a promise that nobody keeps. */
  readonly service: LeaseService<Exclude<Fencing, "none">>;
  readonly partitions: number;
  readonly node: string;
  /** How much of the work this process takes beside the others, and where it stands: see `assign`. */
  readonly weight?: number | undefined;
  readonly zone?: string | undefined;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Read after every grant: the upper part of the tokens. */
  readonly epoch: () => Promise<number>;
  /** How far this machine's wall clock is from the store's, and how exact that is, in milliseconds. */
  readonly clockOffset?: () => Promise<{ readonly offsetMs: number; readonly errorMs: number }>;
  /** Rejects, or takes long, when the store of the actors cannot be reached. Default: the leases are kept in that store. */
  readonly reachStore?: () => Promise<unknown>;
};

const partitionLeasesOptions: KeysOf<PartitionLeasesOptions> = {
  service: true,
  partitions: true,
  node: true,
  weight: true,
  zone: true,
  ttlMs: true,
  clock: true,
  logger: true,
  epoch: true,
  clockOffset: true,
  reachStore: true,
};

type Held = {
  readonly index: number;
  readonly token: Token;
  leaving: boolean;
};

/** Beyond it timers of one node would come due on another at the wrong time. */
const largestOffsetMs = 5_000;
const clockCheckMs = 30_000;
/** How long a partition may take to come to rest before it is handed over all the same. */
const leavingMs = 10_000;
const reopenFirstMs = 100;
const reopenMaxMs = 5_000;
const acquiresAtATime = 16;

export class PartitionLeases implements Leases {
  readonly partitions: number;
  readonly #options: PartitionLeasesOptions;
  readonly #seldom: Seldom;
  readonly #listeners = new Set<(change: LeaseChange) => void>();
  readonly #held = new Map<number, Held>();
  /** Grants that are being handed over, by partition: the view may show them as this process's for a while. */
  readonly #givenUp = new Map<number, number>();
  readonly #handingOver = new Set<Promise<void>>();
  #session: Session | undefined;
  #isOpening = false;
  #epoch = 0;
  #problem: string | undefined;
  /** While there is no room for the leases of partitions that are free, and assigned to this process. */
  #roomProblem: string | undefined;
  /** While this process has no session, and could not open one. */
  #sessionProblem: string | undefined;
  /** While the store does not answer. */
  #storeProblem: string | undefined;
  /** When the first question to the store was asked that is not answered yet. */
  #unansweredSinceMs: number | undefined;
  #storeTimer: Cancel | undefined;
  /** How often in a row it was found that others, it seems, reach the store, and this process does not. */
  #turnsOthersReach = 0;
  #looking = false;
  #lookAgain = false;
  #timer: Cancel | undefined;
  #clockTimer: Cancel | undefined;
  #unfollow: (() => void) | undefined;
  #state: "new" | "running" | "draining" | "released" = "new";
  #drained: (() => void) | undefined;

  /** Rejects when no session can be opened, with LeaseInvalidOption for a time to live that is none. */
  static async start(options: PartitionLeasesOptions): Promise<PartitionLeases> {
    refuseUnknown("options of PartitionLeases", options, partitionLeasesOptions, LeaseInvalidOption);
    const leases = new PartitionLeases(options);
    await leases.#start();
    return leases;
  }

  private constructor(options: PartitionLeasesOptions) {
    this.#options = options;
    this.#seldom = new Seldom(options.clock);
    this.partitions = options.partitions;
  }

  token(partition: number): Token | undefined {
    const held = this.#held.get(partition);
    // Asked, not remembered: a process that was stopped must see that its time is over before any timer tells it.
    return held !== undefined && this.#session?.isValid === true ? held.token : undefined;
  }

  onChange(listener: (change: LeaseChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  status(): LeaseStatus {
    const roomProblem = this.#held.size === 0 ? this.#roomProblem : undefined;
    return { session: this.#session?.id, problem: this.#ownProblem() ?? this.#sessionProblem ?? roomProblem };
  }

  async drain(boundMs: number): Promise<void> {
    if (this.#state !== "running") return;
    this.#state = "draining";
    const { clock } = this.#options;
    const over = new Promise<void>((resolve) => {
      this.#drained = resolve;
      clock.after(boundMs, resolve, { background: true });
    });
    // What the others do not know costs them one wait for this session's end, no more.
    await Promise.race([this.#session?.update(this.#attributes()).catch(() => {}) ?? Promise.resolve(), over]);
    this.#look();
    if (!this.#hasNothing()) await over;
  }

  async release(): Promise<void> {
    if (this.#state === "released") return;
    this.#state = "released";
    this.#timer?.();
    this.#clockTimer?.();
    this.#storeTimer?.();
    this.#unfollow?.();
    const session = this.#session;
    for (const partition of [...this.#held.keys()]) this.#drop(partition);
    this.#session = undefined;
    // Whoever closes the back end next would cut off what is on its way, and leave leases of nobody behind.
    await Promise.all([session?.close(), ...this.#handingOver]);
  }

  async #start(): Promise<void> {
    const { service, clock } = this.#options;
    this.#epoch = await this.#options.epoch();
    await this.#checkClock();
    await this.#openSession();
    this.#state = "running";
    this.#unfollow = service.onChange(() => this.#look());
    const arm = () => {
      this.#clockTimer = clock.after(
        clockCheckMs,
        () => {
          void this.#checkClock().finally(() => {
            if (this.#state !== "released") arm();
          });
        },
        { background: true },
      );
    };
    if (this.#options.clockOffset !== undefined) arm();
    this.#watchStore();
    this.#look();
  }

  // ---- the session ----

  /** What others need not have: they are to take what this process does not. */
  #ownProblem(): string | undefined {
    return this.#problem ?? this.#storeProblem;
  }

  #attributes(): SessionAttributes {
    const { weight, zone } = this.#options;
    const problem = this.#ownProblem();
    return {
      ...(this.#state === "draining" && { draining: true }),
      ...(problem !== undefined && { problem }),
      ...(weight !== undefined && { weight }),
      ...(zone !== undefined && { zone }),
    };
  }

  async #openSession(): Promise<void> {
    const { service, node, ttlMs } = this.#options;
    const session = await service.openSession({
      node,
      ttlMs,
      attributes: this.#attributes(),
    });
    if (this.#state === "released") return session.close();
    this.#session = session;
    session.onLost((reason) => this.#lost(session, reason));
  }

  /** Everything stops at once (C9), and a new session begins with nothing. */
  #lost(session: Session, reason: string): void {
    if (this.#session !== session) return;
    this.#options.logger.warn(`this node's session is over: ${reason}; its partitions are let go`, {
      session: session.id,
      partitions: this.#held.size,
    });
    this.#session = undefined;
    for (const partition of [...this.#held.keys()]) this.#drop(partition);
    this.#reopen(reopenFirstMs);
  }

  #reopen(waitMs: number): void {
    if (this.#state === "released" || this.#state === "draining") return;
    this.#options.clock.after(
      waitMs,
      () => {
        if (this.#state !== "running" || this.#session !== undefined) return;
        // It would be granted what it cannot run. Opened when the store answers again.
        if (this.#storeProblem !== undefined || this.#isOpening) return;
        this.#isOpening = true;
        this.#openSession().then(
          () => {
            this.#isOpening = false;
            this.#sessionProblem = undefined;
            this.#look();
          },
          (error: unknown) => {
            this.#isOpening = false;
            this.#sessionProblem = `this node can hold no partitions: ${(error as Error).message}`;
            this.#seldom.say("session", (held) =>
              this.#options.logger.warn("no new session could be opened; trying again", {
                error,
                unsaid: held || undefined,
              }),
            );
            this.#reopen(Math.min(waitMs * 2, reopenMaxMs));
          },
        );
      },
      { background: true },
    );
  }

  // ---- the clock ----

  async #checkClock(): Promise<void> {
    const { clockOffset, logger } = this.#options;
    if (clockOffset === undefined) return;
    let problem: string | undefined;
    try {
      const { offsetMs, errorMs } = await clockOffset();
      if (Math.abs(offsetMs) - errorMs > largestOffsetMs) {
        const way = offsetMs > 0 ? "ahead of" : "behind";
        problem = `this machine's clock is ${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${way} the server's, more than ${largestOffsetMs / 1000} s: set it (NTP), and this node takes partitions`;
      }
    } catch {
      return; // an outage says nothing of the clock
    }
    if (problem === this.#problem || (problem !== undefined && this.#problem !== undefined)) return;
    this.#problem = problem;
    if (problem !== undefined) logger.error(problem);
    else logger.info("this machine's clock agrees with the server's again");
    await this.#session?.update(this.#attributes()).catch(() => {}); // told with the next renewal
    this.#look();
  }

  // ---- the store ----

  /** Leases that are kept elsewhere outlive the way to the store: whoever cannot run what it holds must let it go. */
  #watchStore(): void {
    const { reachStore, clock, ttlMs } = this.#options;
    if (reachStore === undefined || this.#state === "released") return;
    const dueMs = clock.monotonic() + ttlMs / 3;
    this.#storeTimer = clock.after(
      ttlMs / 3,
      () => {
        const nowMs = clock.monotonic();
        // Later than that, this process stood still: the answer may be there already, and be read next.
        if (nowMs - dueMs < ttlMs / 6) this.#judgeStore(nowMs);
        this.#unansweredSinceMs ??= nowMs;
        reachStore().then(
          () => this.#storeAnswered(),
          () => {}, // told by its silence
        );
        this.#watchStore();
      },
      { background: true },
    );
  }

  /**
   * Told after half the time to live; acted on two turns later, when those who are cut off as well have told it too: their
   * turns lie up to one later than ours, and the telling takes its time.
   */
  #judgeStore(nowMs: number): void {
    const { ttlMs, logger } = this.#options;
    const silentMs = nowMs - (this.#unansweredSinceMs ?? nowMs);
    if (this.#storeProblem === undefined) {
      if (silentMs <= ttlMs / 2) return;
      this.#storeProblem = "the store of the actors does not answer";
      this.#turnsOthersReach = 0;
      logger.warn(`${this.#storeProblem}: this node takes no partitions`);
      void this.#session?.update(this.#attributes()).catch(() => {}); // told with the next renewal
      return;
    }
    const session = this.#session;
    if (session === undefined) return;
    // Where nobody reaches it, letting go helps nobody, and costs everybody when it is back. Then one is the first to learn
    // that it is: the others must have had the time to learn it too.
    const others = this.#members(session).some((member) => member.session !== session.id);
    this.#turnsOthersReach = others ? this.#turnsOthersReach + 1 : 0;
    if (this.#turnsOthersReach < 2) return;
    this.#lost(session, `${this.#storeProblem}, and others reach it`);
    void session.close().catch(() => {}); // it ends by itself
  }

  #storeAnswered(): void {
    this.#unansweredSinceMs = undefined;
    if (this.#storeProblem === undefined) return;
    this.#storeProblem = undefined;
    this.#options.logger.info("the store of the actors answers again");
    if (this.#session === undefined) return this.#reopen(0);
    void this.#session.update(this.#attributes()).catch(() => {}); // told with the next renewal
    this.#look();
  }

  // ---- what is ours ----

  /** Compares what is with what should be, and does the difference; once at a time, and again if things changed. */
  #look(): void {
    if (this.#looking) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = true;
    void this.#settle()
      .catch((error: unknown) =>
        this.#options.logger.warn("the partitions could not be looked at; trying again", { error }),
      )
      .finally(() => {
        this.#looking = false;
        this.#timer?.();
        if (this.#state === "released") return;
        this.#checkDrained();
        if (this.#lookAgain) {
          this.#lookAgain = false;
          this.#look();
        } else {
          this.#timer = this.#options.clock.after(this.#options.ttlMs / 3, () => this.#look(), { background: true });
        }
      });
  }

  async #settle(): Promise<void> {
    const session = this.#session;
    if (session === undefined || !session.isValid || this.#state === "released") return;
    const { sessions, leases } = this.#options.service.view();
    const holders = Array.from({ length: this.partitions }, (_, partition) => {
      const holder = leases.get(leaseName(partition))?.session;
      return holder !== undefined && (sessions.has(holder) || holder === session.id) ? holder : undefined;
    });
    await this.#adopt(session, holders);
    // Until it lets go it keeps what it holds: see `#judgeStore`. Whoever drains gives it away all the same.
    if (this.#storeProblem !== undefined && this.#state === "running") return;
    const mayTake = this.#state === "running" && this.#problem === undefined;
    const targets = assign(holders, this.#members(session));
    if (mayTake) await this.#take(session, targets, holders);
    for (const [partition, held] of this.#held) {
      const to = targets[partition];
      const isElsewhere = to !== undefined && to !== session.id;
      if (!held.leaving && (isElsewhere || !mayTake)) this.#leave(session, partition, held);
    }
  }

  /** What another handed to us, or what we were granted without learning it (C8). */
  async #adopt(session: Session, holders: readonly (string | undefined)[]): Promise<void> {
    const { leases } = this.#options.service.view();
    const news: [number, number][] = [];
    holders.forEach((holder, partition) => {
      const index = leases.get(leaseName(partition))?.index;
      if (holder !== session.id || index === undefined || index <= (this.#givenUp.get(partition) ?? 0)) return;
      if (this.#held.get(partition)?.index !== index) news.push([partition, index]);
    });
    if (news.length > 0) await this.#granted(session, news);
    for (const partition of [...this.#held.keys()])
      if (holders[partition] !== session.id) {
        const holder = leases.get(leaseName(partition));
        // Only what was seen after our grant can have ended it.
        if (holder !== undefined && holder.index > (this.#held.get(partition)?.index ?? 0)) this.#drop(partition);
      }
  }

  async #take(
    session: Session,
    targets: readonly (string | undefined)[],
    holders: readonly (string | undefined)[],
  ): Promise<void> {
    const wanted = targets.flatMap((target, partition) =>
      target === session.id && holders[partition] === undefined ? [partition] : [],
    );
    let why: string | undefined;
    for (let at = 0; at < wanted.length && session.isValid; at += acquiresAtATime) {
      const some = wanted.slice(at, at + acquiresAtATime);
      const outcomes = await Promise.all(some.map((partition) => session.acquire(leaseName(partition))));
      const news = outcomes.flatMap((outcome, index) =>
        outcome.kind === "granted" ? [[some[index] as number, outcome.index] as [number, number]] : [],
      );
      if (news.length > 0) await this.#granted(session, news);
      why ??= outcomes.find((outcome) => outcome.kind === "full")?.why;
    }
    this.#judgeRoom(why);
  }

  #judgeRoom(why: string | undefined): void {
    const problem = why && `partitions that are free cannot be taken, as there is no room for their leases: ${why}`;
    if (problem === this.#roomProblem) return;
    this.#roomProblem = problem;
    const { logger } = this.#options;
    if (problem !== undefined) logger.error(`${problem}; have fewer leases, or give some back`);
    else logger.info("there is room for the leases of partitions again");
  }

  async #granted(session: Session, grants: readonly (readonly [partition: number, index: number])[]): Promise<void> {
    // After the grants: an epoch that was raised before them is seen.
    this.#epoch = Math.max(this.#epoch, await this.#options.epoch());
    for (const [partition, index] of grants) {
      if (this.#session !== session || !session.isValid) return;
      const known = this.#held.get(partition);
      if (known !== undefined && known.index >= index) continue;
      if (known !== undefined) this.#drop(partition);
      const token: Token = [this.#epoch, index];
      this.#held.set(partition, { index, token, leaving: false });
      this.#tell({ kind: "granted", partition, token });
    }
  }

  #leave(session: Session, partition: number, held: Held): void {
    held.leaving = true;
    let isDone = false;
    const done = () => {
      if (isDone) return;
      isDone = true;
      cancel();
      if (this.#held.get(partition) === held) this.#beginHandOver(session, partition);
    };
    const cancel = this.#options.clock.after(leavingMs, done, { background: true });
    if (this.#listeners.size === 0) return done();
    // The first to say so is enough: there is one host.
    this.#tell({ kind: "leaving", partition, done });
  }

  #beginHandOver(session: Session, partition: number): void {
    const handOver = this.#handOver(session, partition)
      .catch((error: unknown) => this.#options.logger.warn("a partition could not be handed over", { error }))
      .finally(() => {
        this.#handingOver.delete(handOver);
        this.#checkDrained();
      });
    this.#handingOver.add(handOver);
  }

  /** Nothing is done here any more before the other may begin. */
  async #handOver(session: Session, partition: number): Promise<void> {
    const to = this.#successor(session, partition);
    if (to === undefined && this.#state === "running" && this.#problem === undefined) {
      const held = this.#held.get(partition);
      if (held !== undefined) held.leaving = false;
      return;
    }
    const index = this.#held.get(partition)?.index ?? 0;
    this.#givenUp.set(partition, index);
    this.#drop(partition);
    const isGone = await (to === undefined
      ? session.release(leaseName(partition))
      : session.transfer(leaseName(partition), to));
    // Otherwise it may be ours still, and somebody has to run it.
    if (!isGone && this.#givenUp.get(partition) === index) this.#givenUp.delete(partition);
    this.#look();
  }

  #successor(session: Session, partition: number): string | undefined {
    const { sessions, leases } = this.#options.service.view();
    const holders = Array.from({ length: this.partitions }, (_, one) => {
      const holder = leases.get(leaseName(one))?.session;
      return holder !== undefined && sessions.has(holder) ? holder : undefined;
    });
    const target = assign(holders, this.#members(session))[partition];
    return target === session.id ? undefined : target;
  }

  /** Those that may have partitions. This process speaks for itself: the view may not show it yet, or not any more. */
  #members(session: Session): Member[] {
    const { weight, zone } = this.#options;
    const others = [...this.#options.service.view().sessions.values()]
      .filter(({ id }) => id !== session.id)
      .filter(({ attributes }) => attributes.draining !== true && attributes.problem === undefined)
      .map(({ id, attributes: { weight: said, zone: where } }): Member => {
        // One that says nonsense of itself must not stop the others from computing the same.
        return { session: id, weight: weightProblem(said) === undefined ? said : undefined, zone: where };
      });
    const mayHave = this.#state === "running" && this.#problem === undefined;
    return mayHave ? [...others, { session: session.id, weight, zone }] : others;
  }

  #drop(partition: number): void {
    if (!this.#held.delete(partition)) return;
    this.#tell({ kind: "lost", partition });
    this.#checkDrained();
  }

  #hasNothing(): boolean {
    return this.#held.size === 0 && this.#handingOver.size === 0;
  }

  #checkDrained(): void {
    if (this.#state === "draining" && this.#hasNothing()) this.#drained?.();
  }

  #tell(change: LeaseChange): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (error) {
        this.#options.logger.error("a listener to leases threw", { error });
      }
    }
  }
}

/** The lease of a partition: `p07`, with as many digits as sort well. */
export function leaseName(partition: number): string {
  return `p${String(partition).padStart(2, "0")}`;
}
