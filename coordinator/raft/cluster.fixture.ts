/**
 * A cluster of nodes over a network and disks that fail, moved by single steps from outside. A crash loses what was
 * written without being flushed. After each step of a node the `RaftChecker` judges it. Start reading at `Cluster`.
 */

import { RaftChecker } from "../../simulations/checkers/raft.ts";
import { decodeConfChange } from "./conf-change.ts";
import { describeConfState, describeEntry, describeHardState, describeMessage } from "./describe.ts";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  emptyConfState,
  localAppendThread,
  localApplyThread,
  type Message,
  type NodeId,
  type Ready,
  type Snapshot,
} from "./messages.ts";
import { RawNode } from "./raw-node.ts";
import { MemoryStorage, type Storage } from "./storage.ts";
import { describeConfig } from "./tracker/tracker.ts";

export type ClusterOptions = {
  readonly voters: readonly NodeId[];
  /** Started empty, to be added later. */
  readonly spares: readonly NodeId[];
  readonly isAsync: boolean;
  /** Pre-vote and the check of the quorum. */
  readonly isProtected: boolean;
  readonly maxMessageBytes: number;
  readonly random: (below: number) => number;
};

export const electionTicks = 5;

/** A member: what lives in its process, and the disk that outlives it. */
export class Member {
  readonly id: NodeId;
  readonly #options: ClusterOptions;
  /** As a reader sees it; `durable` is what a crash leaves of it. */
  disk = new MemoryStorage();
  durable = new MemoryStorage();
  raw: RawNode;
  isUp = true;
  appendWork: Message[] = [];
  applyWork: Message[] = [];
  /** Of the state machine: how far it is, and a hash of all it applied. */
  applied = 0;
  hash = 0;
  confState: ConfState = emptyConfState;

  constructor(id: NodeId, options: ClusterOptions, snapshot: Snapshot | undefined) {
    this.id = id;
    this.#options = options;
    if (snapshot !== undefined) this.disk.applySnapshot(snapshot);
    this.sync();
    this.raw = this.#start();
  }

  #start(): RawNode {
    this.#install(this.disk.snapshot() as Snapshot);
    return new RawNode({
      id: this.id,
      electionTicks,
      heartbeatTicks: 1,
      randomElectionTicks: () => electionTicks + this.#options.random(electionTicks),
      storage: this.#storage(),
      applied: this.applied,
      asyncStorageWrites: this.#options.isAsync,
      checkQuorum: this.#options.isProtected,
      preVote: this.#options.isProtected,
      maxMessageBytes: this.#options.maxMessageBytes,
      maxInflightMessages: 4,
    });
  }

  /** The disk, with a snapshot of what is applied whenever one is asked for. */
  #storage(): Storage {
    const { disk } = this;
    return {
      initialState: () => disk.initialState(),
      entries: (low, high, maxSizeBytes) => disk.entries(low, high, maxSizeBytes),
      term: (index) => disk.term(index),
      lastIndex: () => disk.lastIndex(),
      firstIndex: () => disk.firstIndex(),
      snapshot: () => {
        this.#snapshotApplied();
        return disk.snapshot();
      },
    };
  }

  #snapshotApplied(): void {
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, this.hash);
    if (this.disk.lastIndex() >= this.applied) this.disk.createSnapshot(this.applied, this.confState, data);
  }

  sync(): void {
    this.durable = this.disk.clone();
  }

  crash(): void {
    this.isUp = false;
    this.disk = this.durable.clone();
    this.appendWork = [];
    this.applyWork = [];
  }

  restart(): void {
    this.isUp = true;
    this.raw = this.#start();
  }

  #install({ data, metadata }: Snapshot): void {
    this.applied = metadata.index;
    this.hash = new DataView(new Uint8Array([0, 0, 0, 0, ...data]).buffer).getUint32(data.length);
    this.confState = metadata.confState;
  }

  write({ hardState, entries, snapshot }: Pick<Ready, "hardState" | "entries" | "snapshot">): void {
    if (hardState !== undefined) this.disk.setHardState(hardState);
    if (snapshot !== undefined && this.disk.applySnapshot(snapshot) === "applied") this.#install(snapshot);
    this.disk.append(entries);
  }

  /** False: a snapshot is on its way that has it. */
  apply(entry: Entry): boolean {
    if (entry.type !== "EntryNormal") {
      const next = this.raw.applyConfChange(decodeConfChange(entry.type, entry.data));
      if (next === "superseded") return false;
      this.confState = next;
    }
    this.applied = entry.index;
    for (const byte of [...entry.data, entry.term & 255]) this.hash = (Math.imul(this.hash, 31) + byte + 1) >>> 0;
    return true;
  }

  /** Makes a snapshot of all that is applied, and drops the log up to `keep` entries before that. */
  compact(keep: number): void {
    const hasAll = this.disk.lastIndex() >= this.applied && this.applied >= this.disk.firstIndex();
    if (!hasAll) return;
    this.#snapshotApplied();
    this.disk.compact(Math.max(this.disk.firstIndex() - 1, this.applied - keep));
    this.sync();
  }
}

export class Cluster {
  readonly members: readonly Member[];
  readonly checker = new RaftChecker();
  inFlight: Message[] = [];
  readonly #removed = new Set<NodeId>();
  #proposed = 0;
  #fewestVoters: number;

  constructor(options: ClusterOptions) {
    const confState: ConfState = { ...emptyConfState, voters: options.voters };
    const snapshot: Snapshot = { data: new Uint8Array(4), metadata: { confState, index: 1, term: 1 } };
    this.#fewestVoters = options.voters.length;
    const founders = options.voters.map((id) => new Member(id, options, snapshot));
    this.members = [...founders, ...options.spares.map((id) => new Member(id, options, undefined))];
    for (const member of this.members) this.checker.afterStep(member);
  }

  member(id: NodeId): Member {
    const member = this.members.find((each) => each.id === id);
    if (member === undefined) throw new RangeError(`no member ${id}`);
    return member;
  }

  leader(): Member | undefined {
    const leaders = this.members.filter(({ isUp, raw }) => isUp && raw.raft.state === "StateLeader");
    return leaders.sort((a, b) => b.raw.raft.term - a.raw.raft.term)[0];
  }

  /** Runs something on a member that is up, and has it judged. */
  on(member: Member, run: (raw: RawNode) => void): void {
    if (!member.isUp) return;
    run(member.raw);
    this.checker.afterStep(member);
  }

  propose(member: Member): void {
    const data = new TextEncoder().encode(`p${++this.#proposed}`);
    this.on(member, (raw) => raw.propose(data));
  }

  /** A removed id is never used again. */
  proposeConfChange(member: Member, change: ConfChange): void {
    const changes = change.kind === "v1" ? [change] : change.changes;
    const adds = changes.filter(({ type }) => type !== "ConfChangeRemoveNode");
    if (adds.some(({ nodeId }) => this.#removed.has(nodeId))) return;
    for (const { type, nodeId } of changes) if (type === "ConfChangeRemoveNode") this.#removed.add(nodeId);
    this.on(member, (raw) => raw.proposeConfChange(change));
  }

  read(member: Member): void {
    const context = this.checker.beginRead();
    this.on(member, (raw) => raw.readIndex(context));
  }

  /** Hands a message over; a copy of it may stay in the network. */
  deliver(m: Message, copyStays = false): void {
    if (!copyStays) this.inFlight = this.inFlight.filter((each) => each !== m);
    const to = this.members.find(({ id }) => id === m.to);
    if (to === undefined || !to.isUp) return this.#reportLost(m);
    this.on(to, (raw) => raw.step(m));
    if (m.type === "MsgSnap") this.#reportSnapshot(m, "finished");
  }

  drop(m: Message): void {
    this.inFlight = this.inFlight.filter((each) => each !== m);
    this.#reportLost(m);
  }

  #reportLost(m: Message): void {
    if (m.type === "MsgSnap") this.#reportSnapshot(m, "failed");
  }

  #reportSnapshot({ from, to }: Message, outcome: "finished" | "failed"): void {
    this.on(this.member(from), (raw) => raw.reportSnapshot(to, outcome));
  }

  hasReady({ isUp, raw }: Member): boolean {
    return isUp && raw.hasReady();
  }

  /** Does what a member wants done, or, without `isWhole`, crashes it after the write and before anything is sent. */
  processReady(member: Member, isWhole = true): void {
    if (!this.hasReady(member)) return;
    const isAsync = member.raw.raft.config.asyncStorageWrites;
    const ready = member.raw.ready();
    for (const read of ready.readStates) this.checker.endRead(read);
    if (!isAsync) {
      member.write(ready);
      if (ready.mustSync || ready.snapshot !== undefined) member.sync();
      if (!isWhole) return this.crash(member);
      this.#apply(member, ready.committedEntries);
    }
    for (const m of ready.messages) {
      if (m.to === localAppendThread) member.appendWork.push(m);
      else if (m.to === localApplyThread) member.applyWork.push(m);
      else this.#send(member, m);
    }
    if (!isAsync) member.raw.advance();
    this.checker.afterStep(member);
  }

  processAppend(member: Member): void {
    const work = member.appendWork.shift();
    if (work === undefined) return;
    const { term, vote, commit, entries, snapshot, responses } = work;
    const hasHardState = term !== 0 || vote !== 0 || commit !== 0;
    member.write({ hardState: hasHardState ? { term, vote, commit } : undefined, entries, snapshot });
    if (responses.length > 0) member.sync();
    for (const m of responses) this.#send(member, m);
    this.checker.afterStep(member);
  }

  processApply(member: Member): void {
    const work = member.applyWork.shift();
    if (work === undefined) return;
    this.#apply(member, work.entries);
    for (const m of work.responses) this.#send(member, m);
    this.checker.afterStep(member);
  }

  #apply(member: Member, entries: readonly Entry[]): void {
    for (const entry of entries) {
      // Handed out before a snapshot that is newer was installed.
      if (entry.index <= member.applied) continue;
      if (!member.apply(entry)) return;
      const { voters, votersOutgoing } = member.confState;
      const isJoint = votersOutgoing.length > 0;
      this.#fewestVoters = Math.min(this.#fewestVoters, voters.length, isJoint ? votersOutgoing.length : voters.length);
      const state = `${describeEntry(entry)}, state ${member.hash}, ${describeConfState(member.confState)}`;
      this.checker.onApplied(member, entry.index, state);
    }
  }

  #send(member: Member, m: Message): void {
    this.checker.onSent(member, m);
    this.inFlight.push(m);
  }

  crash(member: Member): void {
    if (!member.isUp) return;
    member.crash();
    // What is addressed to it by itself is in its memory.
    this.inFlight = this.inFlight.filter(({ from, to }) => to !== member.id || (from !== to && from > 0));
    this.checker.onCrash(member);
  }

  restart(member: Member): void {
    if (member.isUp) return;
    member.restart();
    this.checker.afterStep(member);
  }

  /** Whether it always had three voters, in both halves of a membership: what production demands. */
  get hadEnoughVoters(): boolean {
    return this.#fewestVoters >= 3;
  }

  /** One line per member, for whoever reads a failure. */
  toString(): string {
    const lines = this.members.map(({ id, isUp, raw, applied, durable }) => {
      const { raft } = raw;
      const stored = `stored ${describeHardState(durable.initialState().hardState)} last:${durable.lastIndex()}`;
      const what = `${raft.state} term:${raft.term} vote:${raft.vote} lead:${raft.lead} ${describeConfig(raft.tracker.config)}`;
      return `${id}${isUp ? "" : " (down)"}: ${what} [${raft.log}] last:${raft.log.lastEntryId().term}/${raft.log.lastIndex()} applied:${applied} ${stored}`;
    });
    return [...lines, ...this.inFlight.map((m) => describeMessage(m))].join("\n");
  }

  /** All that can be done without time passing is done, in order. */
  settle(): void {
    for (let rounds = 0; rounds < 1_000; rounds++) {
      const hadWork = this.members.some(
        (each) => this.hasReady(each) || each.appendWork.length + each.applyWork.length > 0,
      );
      if (!hadWork && this.inFlight.length === 0) return;
      for (const member of this.members) {
        this.processReady(member);
        while (member.appendWork.length > 0) this.processAppend(member);
        while (member.applyWork.length > 0) this.processApply(member);
      }
      for (const m of [...this.inFlight]) this.deliver(m);
    }
    throw new Error(`the cluster does not settle\n${this}`);
  }
}
