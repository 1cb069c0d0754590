/**
 * One member of a cluster: the core, its log and the lease table, driven by one clock and one network. Start reading at
 * `#pump`, which does what the core wants done. What is asked here is in `requests.ts`, how it gets into the log while
 * this member leads in `leading.ts`, who belongs to the cluster in `membership.ts`.
 *
 * M1 what others are told of the log is on the disk: an answer leaves after the write that it rests on. M2 a request is
 * answered by the log alone: whoever asked sees its entry applied to his own table, so his view is never behind his
 * answer. M3 only the leader puts times into entries. M4 a member whose log is damaged runs no core until it is repaired.
 * M5 nothing is taken from a member that was removed, or is of an epoch that is over: it is told so, and stops. A damaged
 * member knows its epoch too, which is in its hard state.
 */
import type { Cancel, Clock } from "../../../runtime/ports/clock.ts";
import type { Logger } from "../../../runtime/ports/logger.ts";
import type { Random } from "../../../runtime/ports/random.ts";
import { decodeLeaseEntry, type Renewal, type Request } from "../../lease/entry.ts";
import { type Outcome, ReplicatedTable, type TableLimits, usualLimits } from "../../lease/table.ts";
import { DiskLog, type DiskLogOptions } from "../../log/disk-log.ts";
import { MemberForgot, MemberRefused } from "../../log/errors.ts";
import type { Disk } from "../../ports/disk.ts";
import type { MemberId, Peers } from "../../ports/peers.ts";
import { decodeConfChange } from "../../raft/conf-change.ts";
import {
  type Entry,
  emptyConfState,
  localAppendThread,
  localApplyThread,
  type Message,
  type Snapshot,
} from "../../raft/messages.ts";
import { RawNode } from "../../raft/raw-node.ts";
import { emptyRoster, idsOf } from "../../raft/roster.ts";
import type { Storage } from "../../raft/storage.ts";
import { Leading } from "./leading.ts";
import { type ManageOutcome, Membership, type MemberView } from "./membership.ts";
import { Requests } from "./requests.ts";
import { decodeState, encodeState, epochIn } from "./state.ts";
import { decodeFrame, encodeFrame, epochOf, type Frame, type Wish } from "./wire.ts";

export type MemberOptions = {
  readonly cluster: string;
  /** The first voters, the same on all of them. Undefined: this member joins, and learns of the others from them. */
  readonly voters: readonly MemberId[] | undefined;
  /** Where the others reach this one, as they are to be told. Default: not told. */
  readonly address?: string;
  readonly disk: Disk;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default 50. A leader is missed after 10 to 20 of them. */
  readonly tickMs?: number;
  /** Entries between two snapshots. Default 10,000. */
  readonly snapshotEvery?: number;
  readonly log?: Pick<DiskLogOptions, "segmentBytes" | "keptEntries">;
  /** Of the lease table of a new cluster, the same on all its members. */
  readonly limits?: TableLimits;
  /** Told of the core whenever one starts, and of what of its log is durable: for those who judge it from outside. */
  readonly onCore?: (core: RawNode, durable: Storage) => void;
};

export type MemberStatus = {
  readonly member: MemberId;
  readonly role: "leader" | "follower" | "candidate" | "damaged" | "failed" | "closed";
  readonly leader: MemberId | undefined;
  readonly term: number;
  readonly committed: number;
  readonly applied: number;
  readonly snapshot: number;
  readonly epoch: number;
  /** Writes wait for room on the disk. */
  readonly isFull: boolean;
};

const electionTicks = 10;
const heartbeatTicks = 2;
/** Entries that are made for one repair, each time it is asked for: as many as a message takes. */
const maxEmptyAtOnce = 10_000;

export class Member {
  readonly #options: Required<MemberOptions>;
  readonly #log: DiskLog;
  #core: RawNode | undefined;
  #table: ReplicatedTable;
  readonly #membership: Membership;
  #applied = 0;
  readonly #requests: Requests;
  /** Undefined: this member does not lead. */
  #leading: Leading | undefined;
  #leader: MemberId = 0;
  #isFlushing = false;
  #isPumping = false;
  #stored: Promise<unknown> = Promise.resolve();
  #isCompacting = false;
  #isInstalling = false;
  #nextRepairMs = Number.NEGATIVE_INFINITY;
  readonly #listeners = new Set<() => void>();
  readonly #stopReceiving: () => void;
  #ticking: Cancel | undefined;
  #onHandedOver: () => void = () => {};
  #failure: unknown;
  #isClosed = false;

  /** Rejects as DiskLog.open does. Disk and peers stay the caller's to close. */
  static async open(given: MemberOptions): Promise<Member> {
    const options = {
      tickMs: 50,
      snapshotEvery: 10_000,
      address: "",
      log: {},
      limits: usualLimits,
      onCore() {},
      ...given,
    };
    const { disk, clock, cluster, peers } = options;
    const identity = { cluster, member: peers.self };
    const log = await DiskLog.open({ ...options.log, disk, clock, identity, newLife: options.random.id(), epochIn });
    try {
      if (log.damage === undefined && options.voters !== undefined && log.storage.lastIndex() === 0) {
        // The same on all members, so that they agree on where their logs begin.
        const confState = { ...emptyConfState, voters: [...options.voters].sort((a, b) => a - b) };
        const metadata = { index: 1, term: 1, confState };
        const data = encodeState({ roster: emptyRoster, table: ReplicatedTable.empty(options.limits) });
        await log.install({ data, metadata }, { term: 1, vote: 0, commit: 1 });
      }
      return new Member(options, log);
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  private constructor(options: Required<MemberOptions>, log: DiskLog) {
    this.#options = options;
    this.#log = log;
    this.#table = ReplicatedTable.empty();
    const { address, clock, random, tickMs, peers } = options;
    const againMs = tickMs * electionTicks;
    this.#requests = new Requests({ clock, againMs, onWaiting: () => this.#flushSoon() });
    this.#membership = new Membership({
      ...{ self: peers.self, address, life: log.life, clock, random, againMs },
      core: () => this.#core,
      leads: () => this.#leading !== undefined,
      leader: () => this.#leader,
      tell: (to, frame) => this.#tell(to, frame),
      pump: () => this.#pump(),
    });
    this.#stopReceiving = options.peers.receive((from, frame) => this.#onFrame(from, frame));
    if (log.damage === undefined) this.#start();
    else {
      const { keptIndex, neededIndex } = log.damage;
      this.#recallMembers();
      const what = `this member's log is whole up to entry ${keptIndex} and was acknowledged up to ${neededIndex}`;
      options.logger.error(`${what}: it takes no part until another member repairs it`, { member: options.peers.self });
    }
    this.#armTick();
    this.#pump();
  }

  /** Of the cluster: another after it was made anew, or recovered by hand. Final once `isFounded`. */
  get identity(): string {
    return `raft:${this.#options.cluster}.${this.#membership.roster.founded}.${this.#log.epoch}`;
  }

  /** The cluster has had a quorum once, and this member knows its name. */
  get isFounded(): boolean {
    return this.#membership.roster.founded !== "";
  }

  /** 0: this member knows nothing of its cluster yet. */
  get epoch(): number {
    return this.#log.epoch;
  }

  get life(): string {
    return this.#log.life;
  }

  get table(): ReplicatedTable {
    return this.#table;
  }

  status(): MemberStatus {
    const core = this.#core?.status();
    return {
      member: this.#options.peers.self,
      role: this.#role(),
      leader: core === undefined || core.lead === 0 ? undefined : core.lead,
      term: core?.term ?? 0,
      committed: core?.commit ?? 0,
      applied: this.#applied,
      snapshot: this.#snapshotIndex(),
      epoch: this.epoch,
      isFull: this.#log.isFull,
    };
  }

  /** What has stopped this member, if something has: only a new start helps, or another member. */
  get failure(): unknown {
    return this.#failure;
  }

  /** By ascending id; empty for one that has joined and heard of nobody yet. */
  members(): readonly MemberView[] {
    return this.#membership.views();
  }

  /** Why a frame from this id must not be believed; undefined: it may. */
  whyForeign(id: MemberId, life: string): string | undefined {
    return this.#membership.whyForeign(id, life);
  }

  /** Called after every change of `members`. */
  onMembers(listener: () => void): () => void {
    return this.#membership.onChange(listener);
  }

  /** Has the leader do it, wherever it is. Resolves when it is in the log, with unknown after `untilMs`. */
  manage(wish: Wish, untilMs: number): Promise<ManageOutcome> {
    if (this.#isRunning() && this.#core !== undefined) return this.#membership.manage(wish, untilMs);
    return Promise.resolve({ kind: "refused", reason: `this member is ${this.#role()}` });
  }

  /** A snapshot of what is applied now, so that the log before it goes. Resolves with its index. */
  async takeSnapshot(): Promise<number> {
    await this.#compact();
    return this.#snapshotIndex();
  }

  /** Asks the others for what a damaged log lacks, now. Resolves when it is whole: false: not within this time. */
  async repair(untilMs: number): Promise<boolean> {
    const { clock, tickMs } = this.#options;
    this.#nextRepairMs = Number.NEGATIVE_INFINITY;
    while (this.#isRunning() && this.#core === undefined && clock.monotonic() < untilMs)
      await new Promise<void>((resolve) => void clock.after(tickMs, resolve));
    return this.#core !== undefined;
  }

  /** Called after every change of the table. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Undefined: no answer until then (C8). */
  ask(request: Request, untilMs: number): Promise<Outcome | undefined> {
    return this.#isRunning() ? this.#requests.ask(request, untilMs) : Promise.resolve(undefined);
  }

  /** False: the session is over. Undefined: no answer until then. */
  renew(renewal: Renewal, untilMs: number): Promise<boolean | undefined> {
    return this.#isRunning() ? this.#requests.renew(renewal, untilMs) : Promise.resolve(undefined);
  }

  /**
   * Moves leadership, if this member has it, to the one that is furthest: then stopping this one leaves no gap. Resolves
   * when it is done, or after the shortest election time-out.
   */
  async handOver(): Promise<void> {
    if (this.#leading === undefined || !this.#isRunning()) return;
    const { clock, tickMs, peers } = this.#options;
    const others = [...this.#core!.status().progress].filter(
      ([id, { isLearner, recentActive }]) => id !== peers.self && !isLearner && recentActive,
    );
    const [best] = others.sort(([, a], [, b]) => b.match - a.match);
    if (best === undefined) return;
    this.#core!.transferLeader(best[0]);
    await new Promise<void>((resolve) => {
      this.#onHandedOver = resolve;
      clock.after(tickMs * electionTicks, resolve);
      this.#pump();
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ticking?.();
    this.#stopReceiving();
    this.#giveUpAll();
    await this.#log.close();
  }

  // ---- the core ----

  #start(): void {
    const { peers, random } = this.#options;
    const snapshot = this.#log.storage.snapshot();
    if (snapshot !== "unavailable" && snapshot.metadata.index > 0) this.#restore(snapshot);
    this.#core = new RawNode({
      id: peers.self,
      electionTicks,
      heartbeatTicks,
      randomElectionTicks: () => electionTicks + Math.floor(random.next() * electionTicks),
      storage: this.#log.storage,
      applied: this.#applied,
      asyncStorageWrites: true,
      maxMessageBytes: 1024 * 1024,
      maxInflightBytes: 8 * 1024 * 1024,
      maxUncommittedBytes: 16 * 1024 * 1024,
      disableProposalForwarding: true,
      stepDownOnRemoval: true,
    });
    this.#options.onCore(this.#core, this.#log.storage);
    const { voters } = this.#membership.confState;
    if (voters.length === 1 && voters[0] === peers.self) this.#core.campaign();
  }

  /** Does what the core wants done, until it wants nothing. Writes answer later, and pump again. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#core?.hasReady() && this.#isRunning()) {
        const { softState, messages } = this.#core.ready();
        if (softState !== undefined) this.#onSoftState(softState.raftState === "StateLeader", softState.lead);
        for (const m of messages) {
          if (m.to === localAppendThread) this.#store(m);
          else if (m.to === localApplyThread) this.#apply(m);
          else this.#send(m);
        }
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#isPumping = false;
    }
  }

  #store(m: Message): void {
    // All three zero: no hard state in this message.
    const hardState =
      m.term === 0 && m.vote === 0 && m.commit === 0 ? undefined : { term: m.term, vote: m.vote, commit: m.commit };
    const { snapshot } = m;
    // The log does what it is asked in order: entries that follow a snapshot are behind it.
    const written =
      snapshot === undefined
        ? this.#log.append(m.entries, hardState)
        : Promise.all([this.#log.install(snapshot, hardState), this.#log.append(m.entries, undefined)]);
    // In the order in which they were asked for, however the disk joins them: the core takes them for a queue.
    this.#stored = Promise.all([this.#stored, written])
      .then(() => {
        if (!this.#isRunning()) return;
        if (snapshot !== undefined) this.#restore(snapshot);
        this.#deliver(m.responses);
        this.#pump();
      })
      .catch((error: unknown) => this.#fail(error));
  }

  #apply(m: Message): void {
    for (const entry of m.entries) if (!this.#applyEntry(entry)) break;
    this.#deliver(m.responses);
    this.#compactIfLong();
    this.#flushSoon();
  }

  /** False: a snapshot is on its way that has this entry and those after it. */
  #applyEntry(entry: Entry): boolean {
    if (entry.type !== "EntryNormal") return this.#applyChange(entry);
    this.#applied = entry.index;
    this.#leading?.onApplied(entry.index);
    if (entry.data.length === 0) return true;
    const decoded = decodeLeaseEntry(entry.data);
    const { outcomes, renewed, events } = this.#table.apply(entry.index, decoded);
    this.#requests.onApplied(decoded, renewed, outcomes);
    if (events.length > 0) this.#changed();
    return true;
  }

  #applyChange(entry: Entry): boolean {
    const change = decodeConfChange(entry.type, entry.data);
    const next = this.#core!.applyConfChange(change);
    if (next === "superseded") return false;
    const isGrown = this.#membership.applied(change, next);
    this.#applied = entry.index;
    this.#onMembersChanged();
    // A new member takes only a snapshot that has it among the members, and whoever leads must have one.
    if (isGrown) this.#compact().catch((error: unknown) => this.#fail(error));
    return true;
  }

  #deliver(responses: readonly Message[]): void {
    for (const response of responses) {
      if (response.to === this.#options.peers.self) this.#core!.step(response);
      else this.#send(response);
    }
  }

  #send(m: Message): void {
    this.#options.peers.send(m.to, encodeFrame({ kind: "raft", message: m }, this.epoch));
    // The network tells nobody what became of it: a lost one is found by the next heartbeat and sent again.
    if (m.type === "MsgSnap") this.#core!.reportSnapshot(m.to, "finished");
  }

  #restore(snapshot: Snapshot): void {
    if (snapshot.metadata.index < this.#applied) return;
    const { roster, table } = decodeState(snapshot.data);
    this.#table = table;
    this.#membership.restored(snapshot.metadata.confState, roster);
    this.#applied = snapshot.metadata.index;
    this.#changed();
    this.#onMembersChanged();
  }

  /** Those of its last snapshot, if that can be read: they know where they are, and who is none of them any more. */
  #recallMembers(): void {
    const snapshot = this.#log.storage.snapshot();
    if (snapshot === "unavailable" || snapshot.metadata.index === 0) return;
    this.#membership.restored(snapshot.metadata.confState, decodeState(snapshot.data).roster);
    this.#onMembersChanged();
  }

  #compactIfLong(): void {
    if (this.#isCompacting || this.#applied - this.#snapshotIndex() < this.#options.snapshotEvery) return;
    this.#compact().catch((error: unknown) => this.#fail(error));
  }

  async #compact(): Promise<void> {
    if (this.#core === undefined || this.#applied <= this.#snapshotIndex()) return;
    this.#isCompacting = true;
    try {
      await this.#log.compact(this.#applied, this.#membership.confState, this.#state());
    } finally {
      this.#isCompacting = false;
    }
  }

  /** All that a snapshot is of. */
  #state(): Uint8Array {
    return encodeState({ roster: this.#membership.roster, table: this.#table });
  }

  #onMembersChanged(): void {
    if (this.#membership.hasForgotten) this.#fail(new MemberForgot(this.#options.peers.self));
    else this.#membership.tellListeners();
  }

  #snapshotIndex(): number {
    const snapshot = this.#log.storage.snapshot();
    return snapshot === "unavailable" ? 0 : snapshot.metadata.index;
  }

  // ---- leading ----

  #onSoftState(leads: boolean, leader: MemberId): void {
    const { clock, tickMs } = this.#options;
    if (!leads) {
      this.#leading = undefined;
      this.#requests.dropWaiting();
    } else this.#leading ??= new Leading(this.#core!, this.#table, this.#applied, clock, tickMs * electionTicks);
    const isNew = leader !== this.#leader;
    this.#leader = leader;
    if (!leads) this.#onHandedOver();
    this.#membership.onLeader(leader);
    if (isNew && leader !== 0) this.#requests.onNewLeader();
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    // What is asked for in the same turn shares an entry.
    void Promise.resolve().then(() => {
      this.#isFlushing = false;
      if (!this.#isRunning()) return;
      this.#flush();
      this.#pump();
    });
  }

  #flush(): void {
    if (this.#leading === undefined) this.#forward();
    else if (this.#leading.propose(this.#table, this.#requests)) this.#flushSoon();
  }

  #forward(): void {
    if (this.#requests.waiting === 0) return;
    const batch = this.#requests.next(Number.POSITIVE_INFINITY);
    if (this.#leader !== 0) this.#tell(this.#leader, { kind: "ask", ...batch });
  }

  #giveUpAll(): void {
    this.#requests.giveUpAll();
    this.#membership.giveUpAll();
  }

  // ---- time and network ----

  #armTick(): void {
    this.#ticking = this.#options.clock.after(this.#options.tickMs, () => this.#onTick(), { background: true });
  }

  #onTick(): void {
    if (!this.#isRunning()) return;
    this.#armTick();
    const now = this.#options.clock.monotonic();
    this.#requests.onTick(now);
    if (this.#core === undefined) return this.#askForRepair(now);
    this.#core.tick();
    this.#membership.announceIfNew(now);
    if (this.#leading !== undefined) {
      this.#membership.promoteIfCaughtUp();
      this.#flushSoon();
    }
    this.#pump();
  }

  #onFrame(from: MemberId, bytes: Uint8Array): void {
    if (!this.#isRunning()) return;
    let frame: Frame;
    try {
      const epoch = epochOf(bytes);
      const reason = this.#whyOut(from, epoch);
      if (reason !== undefined) return this.#tell(from, { kind: "foreign", reason });
      frame = decodeFrame(bytes);
      this.#membership.heard(from);
      // Of a cluster that was recovered by hand, from this one: it says no more than that this one is out.
      if (epoch > this.epoch && this.epoch > 0 && frame.kind !== "foreign") return;
    } catch (error) {
      this.#options.logger.warn("a frame of another member could not be read, and was dropped", { from, error });
      return;
    }
    switch (frame.kind) {
      case "raft":
        if (frame.message.from !== from || frame.message.to !== this.#options.peers.self) return;
        return this.#stepThenPump(frame.message);
      case "ask":
        if (this.#leading !== undefined) this.#requests.take(frame);
        return;
      case "repair":
        return this.#helpRepair(from, frame.neededIndex);
      case "repaired":
        return this.#onRepaired(frame.snapshot);
      case "manage":
        return this.#membership.onWish(from, frame.ask, frame.wish);
      case "foreign":
        return this.#fail(new MemberRefused(frame.reason));
      case "refused":
        return this.#membership.refused(frame.ask, frame.reason);
    }
  }

  /** Why nothing from there counts (M5), for good, whoever is asked. Undefined: it does. */
  #whyOut(from: MemberId, epoch: number): string | undefined {
    if (epoch > 0 && epoch < this.epoch)
      return `member ${from} is of epoch ${epoch}, and the cluster was recovered and is at ${this.epoch}`;
    if (this.#membership.roster.removed.has(from) && epoch <= this.epoch) return `member ${from} was removed`;
    return undefined;
  }

  #stepThenPump(m: Message): void {
    const raft = this.#core?.raft;
    // A leader says what is committed up to where we have acknowledged its log: whoever has less has lost what it promised.
    if (m.type === "MsgHeartbeat" && raft !== undefined && m.term >= raft.term && m.commit > raft.log.lastIndex())
      return this.#fail(new MemberForgot(this.#options.peers.self));
    try {
      this.#core?.step(m);
    } catch (error) {
      return this.#fail(error);
    }
    this.#pump();
  }

  #tell(to: MemberId, frame: Frame): void {
    if (to !== this.#options.peers.self) this.#options.peers.send(to, encodeFrame(frame, this.epoch));
  }

  // ---- repair (M4) ----

  #askForRepair(nowMs: number): void {
    if (this.#isInstalling || nowMs < this.#nextRepairMs) return;
    // An answer may be large: time enough to arrive before the next is asked for.
    this.#nextRepairMs = nowMs + this.#options.tickMs * electionTicks;
    const neededIndex = this.#log.damage?.neededIndex ?? 0;
    const stored = this.#log.storage.initialState().confState;
    const others = new Set([...(this.#options.voters ?? []), ...idsOf(stored)]);
    for (const id of others) this.#tell(id, { kind: "repair", neededIndex });
  }

  /** What is applied is committed, so it may be given to anybody. It must cover all that the other ever acknowledged. */
  #helpRepair(to: MemberId, neededIndex: number): void {
    if (this.#leading !== undefined) this.#reach(neededIndex);
    const term = this.#log.storage.term(this.#applied);
    if (this.#core === undefined || this.#applied < neededIndex || typeof term !== "number") return;
    const metadata = { index: this.#applied, term, confState: this.#membership.confState };
    this.#tell(to, { kind: "repaired", snapshot: { data: this.#state(), metadata } });
  }

  /** The unreadable end of a log may have held more entries than there are anywhere: then there must be as many. */
  #reach(index: number): void {
    const core = this.#core!;
    const missing = Math.min(maxEmptyAtOnce, index - core.raft.log.lastIndex());
    if (missing <= 0) return;
    core.propose(...Array.from({ length: missing }, () => new Uint8Array()));
    this.#pump();
  }

  #onRepaired(snapshot: Snapshot): void {
    const { damage, storage } = this.#log;
    if (this.#core !== undefined || this.#isInstalling || snapshot.metadata.index < (damage?.neededIndex ?? 0)) return;
    // Whatever epoch its sender says it is of: what this member knew of a later one would be gone.
    if (epochIn(snapshot.data) < this.epoch) return;
    this.#isInstalling = true;
    const { hardState } = storage.initialState();
    const { term } = snapshot.metadata;
    this.#log
      .install(snapshot, term > hardState.term ? { ...hardState, term, vote: 0 } : hardState)
      .then(() => {
        this.#isInstalling = false;
        if (!this.#isRunning()) return;
        this.#options.logger.warn("this member's log is repaired", { index: snapshot.metadata.index });
        this.#start();
        this.#pump();
      })
      .catch((error: unknown) => this.#fail(error));
  }

  // ---- the rest ----

  #isRunning(): boolean {
    return !this.#isClosed && this.#failure === undefined;
  }

  #role(): MemberStatus["role"] {
    if (this.#isClosed) return "closed";
    if (this.#failure !== undefined) return "failed";
    switch (this.#core?.status().raftState) {
      case undefined:
        return "damaged";
      case "StateLeader":
        return "leader";
      case "StateFollower":
        return "follower";
      default:
        return "candidate";
    }
  }

  #fail(error: unknown): void {
    if (!this.#isRunning()) return;
    this.#failure = error;
    this.#ticking?.();
    this.#options.logger.error("this member has stopped: start its process anew", { error });
    this.#giveUpAll();
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
