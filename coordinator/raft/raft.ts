/**
 * The consensus algorithm: one node's state, changed by messages (`step`) and by time (`tick`), never by anything else.
 * Here is what outlives a role: term, vote, time, and how one role follows another (Raft, figure 4). What a node does in
 * its role is in `follower.ts`, `campaign.ts` and `leader.ts`. What it wants sent collects in `outbox`; `raw-node.ts`
 * turns that into orders for a driver. Follows etcd-io/raft in behaviour and in the words of its log. Start reading at `step`.
 */
import { Campaign, type CampaignKind, transferContext } from "./campaign.ts";
import { Changer } from "./changer.ts";
import { asV2 } from "./conf-change.ts";
import { type FullRaftConfig, fullConfig, type LogLevel, type RaftConfig } from "./config.ts";
import { describeNode as hex } from "./describe.ts";
import { Follower } from "./follower.ts";
import { assertRaft, RaftInvariantError } from "./invariant.ts";
import { Leader } from "./leader.ts";
import { RaftLog } from "./log.ts";
import { restoreMembership, switchTo } from "./membership.ts";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type MessageType,
  message,
  type NodeId,
  none,
  type RaftState,
  type Snapshot,
  type SoftState,
} from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { votersOf } from "./quorum.ts";
import type { StepOutcome, Workings } from "./role.ts";
import { entriesSizeBytes, payloadBytes } from "./size.ts";
import { ProgressTracker } from "./tracker/tracker.ts";

const onlyFromLeaders: ReadonlySet<MessageType> = new Set(["MsgApp", "MsgHeartbeat", "MsgSnap"]);

export class Raft {
  readonly id: NodeId;
  readonly config: FullRaftConfig;
  readonly log: RaftLog;
  readonly tracker: ProgressTracker;
  readonly outbox: Outbox;
  term = 0;
  vote: NodeId = none;
  /** Ticks until this node stands for election, drawn anew at each change of state. */
  randomElectionTicks = 0;
  readonly #workings: Workings;
  #role: Follower | Campaign | Leader;
  #electionElapsed = 0;
  #heartbeatElapsed = 0;

  constructor(given: RaftConfig) {
    const config = fullConfig(given);
    this.config = config;
    this.id = config.id;
    this.log = new RaftLog(config.storage, config.logger, config.maxCommittedBytes);
    this.tracker = new ProgressTracker(config.maxInflightMessages, config.maxInflightBytes);
    this.outbox = new Outbox(config.id, () => this.term);
    this.#workings = { config, log: this.log, tracker: this.tracker, outbox: this.outbox };
    const { hardState, confState } = config.storage.initialState();
    restoreMembership(this.#workings, confState);
    this.#loadState(hardState);
    if (config.applied > 0) this.log.appliedTo(config.applied, 0);
    this.#role = this.#becomeFollower(this.term, none);
    const { term, index } = this.log.lastEntryId();
    const peers = votersOf(this.tracker.config.voters).map(hex).join(",");
    const { committed, applied } = this.log;
    this.#info(
      `newRaft ${hex(this.id)} [peers: [${peers}], term: ${this.term}, commit: ${committed}, applied: ${applied}, ` +
        `lastindex: ${index}, lastterm: ${term}]`,
    );
  }

  get state(): RaftState {
    return this.#role.state;
  }

  get lead(): NodeId {
    return this.#role.lead;
  }

  get isLearner(): boolean {
    return this.tracker.progress.get(this.id)?.isLearner ?? false;
  }

  /** To whom leadership is being handed over. */
  get leadTransferee(): NodeId {
    return this.#role.state === "StateLeader" ? this.#role.transferee : none;
  }

  softState(): SoftState {
    return { lead: this.lead, raftState: this.state };
  }

  hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  // Time

  tick(): void {
    if (this.state === "StateLeader") this.#tickHeartbeat();
    else this.#tickElection();
  }

  #tickElection(): void {
    this.#electionElapsed++;
    if (!this.#isPromotable() || this.#electionElapsed < this.randomElectionTicks) return;
    this.#electionElapsed = 0;
    this.step(message({ type: "MsgHup", from: this.id }));
  }

  #tickHeartbeat(): void {
    this.#heartbeatElapsed++;
    this.#electionElapsed++;
    if (this.#electionElapsed >= this.config.electionTicks) {
      this.#electionElapsed = 0;
      if (this.config.checkQuorum) this.step(message({ type: "MsgCheckQuorum", from: this.id }));
      if (this.#role.state === "StateLeader") this.#role.giveUpTransfer();
    }
    if (this.state !== "StateLeader" || this.#heartbeatElapsed < this.config.heartbeatTicks) return;
    this.#heartbeatElapsed = 0;
    this.step(message({ type: "MsgBeat", from: this.id }));
  }

  // Messages

  step(m: Message): StepOutcome {
    if (m.term > this.term) {
      if (this.#hasLivingLeader(m)) return "stepped";
      this.#onHigherTerm(m);
    } else if (m.term !== 0 && m.term < this.term) {
      this.#onLowerTerm(m);
      return "stepped";
    }
    switch (m.type) {
      case "MsgHup":
        this.#hup(this.config.preVote ? "preElection" : "election");
        return "stepped";
      case "MsgStorageAppendResp":
        if (m.index !== 0) this.log.unstable.stableTo({ term: m.logTerm, index: m.index });
        if (m.snapshot !== undefined) this.#appliedSnapshot(m.snapshot);
        return "stepped";
      case "MsgStorageApplyResp":
        this.#onApplied(m.entries);
        return "stepped";
      case "MsgVote":
      case "MsgPreVote":
        this.#onVoteRequest(m);
        return "stepped";
      default:
        break;
    }
    if (this.#role.state !== "StateLeader" && onlyFromLeaders.has(m.type)) this.#heardFromLeader(m);
    const turn = this.#role.step(m);
    switch (turn) {
      case "stepped":
      case "proposalDropped":
        return turn;
      case "calledToLead":
        // Without a pre-vote: this node was not cut off, and the leader wants it.
        this.#hup("transfer");
        return "stepped";
      case "campaignWon":
        if (this.#role.state === "StatePreCandidate") this.#campaign("election");
        else this.#becomeLeader();
        return "stepped";
      case "campaignLost":
      case "quorumLost":
        this.#becomeFollower(this.term, none);
        return "stepped";
      case "transferBegun":
        this.#electionElapsed = 0;
        return "stepped";
    }
  }

  /** Whoever stood for election in this term has lost it. */
  #heardFromLeader(m: Message): void {
    if (this.#role.state !== "StateFollower") this.#becomeFollower(m.term, m.from);
    this.#electionElapsed = 0;
  }

  /** Whoever has heard from a leader lately does not help to replace it: not its term, nor a vote. */
  #hasLivingLeader(m: Message): boolean {
    if ((m.type !== "MsgVote" && m.type !== "MsgPreVote") || m.context === transferContext) return false;
    const { checkQuorum, electionTicks } = this.config;
    if (!checkQuorum || this.lead === none || this.#electionElapsed >= electionTicks) return false;
    const remaining = electionTicks - this.#electionElapsed;
    this.#info(`${this.#describeVoting("ignored", m)}: lease is not expired (remaining ticks: ${remaining})`);
    return true;
  }

  #onHigherTerm(m: Message): void {
    // A pre-vote never changes a term; one that was granted carries the term it asked for, not a term of the voter.
    if (m.type === "MsgPreVote" || (m.type === "MsgPreVoteResp" && !m.reject)) return;
    const [us, them] = [`${hex(this.id)} [term: ${this.term}]`, `${hex(m.from)} [term: ${m.term}]`];
    this.#info(`${us} received a ${m.type} message with higher term from ${them}`);
    this.#becomeFollower(m.term, onlyFromLeaders.has(m.type) ? m.from : none);
  }

  #onLowerTerm(m: Message): void {
    const { checkQuorum, preVote } = this.config;
    if ((checkQuorum || preVote) && (m.type === "MsgHeartbeat" || m.type === "MsgApp")) {
      // This node's term grew while it was cut off, and its requests for votes are ignored by those who have a leader.
      // Telling that leader our term makes it step down, so that this node can take part again.
      this.outbox.send({ type: "MsgAppResp", to: m.from });
    } else if (m.type === "MsgPreVote") {
      // Without an answer, a candidate with a lower term but a longer log would never learn the term it needs.
      this.#info(this.#describeVoting("rejected", m));
      this.outbox.send({ type: "MsgPreVoteResp", to: m.from, term: this.term, reject: true });
    } else if (m.type === "MsgStorageAppendResp") {
      // The entries may have been replaced since, and the replacement not be written yet. A snapshot stays valid.
      if (m.index !== 0)
        this.#info(
          `${hex(this.id)} [term: ${this.term}] ignored entry appends from a ${m.type} message with lower term [term: ${m.term}]`,
        );
      if (m.snapshot !== undefined) this.#appliedSnapshot(m.snapshot);
    } else {
      const [us, them] = [`${hex(this.id)} [term: ${this.term}]`, `${hex(m.from)} [term: ${m.term}]`];
      this.#info(`${us} ignored a ${m.type} message with lower term from ${them}`);
    }
  }

  #onVoteRequest(m: Message): void {
    const mayVote =
      this.vote === m.from ||
      (this.vote === none && this.lead === none) ||
      (m.type === "MsgPreVote" && m.term > this.term);
    const answer: MessageType = m.type === "MsgVote" ? "MsgVoteResp" : "MsgPreVoteResp";
    // A learner votes too: it may have been made a voter by a change that it has not received, and be needed.
    if (mayVote && this.log.isUpToDate({ term: m.logTerm, index: m.index })) {
      this.#info(this.#describeVoting("cast", m));
      // With the term that was asked for: ours may be lower, and the answer be ignored.
      this.outbox.send({ type: answer, to: m.from, term: m.term });
      if (m.type === "MsgVote") {
        this.#electionElapsed = 0;
        this.vote = m.from;
      }
    } else {
      this.#info(this.#describeVoting("rejected", m));
      this.outbox.send({ type: answer, to: m.from, term: this.term, reject: true });
    }
  }

  #describeVoting(verb: "cast" | "rejected" | "ignored", m: Message): string {
    const { term, index } = this.log.lastEntryId();
    const us = `${hex(this.id)} [logterm: ${term}, index: ${index}, vote: ${hex(this.vote)}]`;
    const them = `${hex(m.from)} [logterm: ${m.logTerm}, index: ${m.index}]`;
    return `${us} ${verb} ${m.type} ${verb === "cast" ? "for" : "from"} ${them} at term ${this.term}`;
  }

  #onApplied(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last !== undefined) this.#appliedTo(last.index, entriesSizeBytes(entries), payloadBytes(entries));
  }

  #appliedSnapshot(snapshot: Snapshot): void {
    this.log.unstable.stableSnapshotTo(snapshot.metadata.index);
    this.#appliedTo(snapshot.metadata.index, 0, 0);
  }

  #appliedTo(index: number, sizeBytes: number, bytes: number): void {
    this.log.appliedTo(Math.max(index, this.log.applied), sizeBytes);
    if (this.#role.state === "StateLeader") this.#role.onApplied(bytes);
  }

  // Elections and changes of state

  #hup(kind: CampaignKind): void {
    if (this.state === "StateLeader") {
      this.#debug(`${hex(this.id)} ignoring MsgHup because already leader`);
    } else if (!this.#isPromotable()) {
      this.#log("WARN", `${hex(this.id)} is unpromotable and can not campaign`);
    } else if (this.log.hasUnappliedConfChanges()) {
      // It would count the votes of a membership that is no longer the one.
      this.#log(
        "WARN",
        `${hex(this.id)} cannot campaign at term ${this.term} since there are still pending configuration changes to apply`,
      );
    } else {
      this.#info(`${hex(this.id)} is starting a new election at term ${this.term}`);
      this.#campaign(kind);
    }
  }

  #isPromotable(): boolean {
    const progress = this.tracker.progress.get(this.id);
    return progress !== undefined && !progress.isLearner && !this.log.hasSnapshot();
  }

  #campaign(kind: CampaignKind): void {
    const state = kind === "preElection" ? "pre-candidate" : "candidate";
    assertRaft(this.state !== "StateLeader", () => `invalid transition [leader -> ${state}]`);
    // A pre-election changes neither term nor vote: nothing is lost if it is not won.
    if (kind !== "preElection") {
      this.#reset(this.term + 1);
      this.vote = this.id;
    }
    const campaign = new Campaign(this.#workings, this.term, kind);
    this.#role = campaign;
    this.#info(`${hex(this.id)} became ${state} at term ${this.term}`);
    campaign.ask();
  }

  #becomeFollower(term: number, lead: NodeId): Follower {
    this.#reset(term);
    const follower = new Follower(this.#workings, term, lead);
    this.#role = follower;
    this.#info(`${hex(this.id)} became follower at term ${this.term}`);
    return follower;
  }

  #becomeLeader(): void {
    assertRaft(this.state !== "StateFollower", () => "invalid transition [follower -> leader]");
    this.#reset(this.term);
    const leader = new Leader(this.#workings, this.term);
    this.#role = leader;
    this.#info(`${hex(this.id)} became leader at term ${this.term}`);
    leader.begin();
  }

  #reset(term: number): void {
    assertRaft(term >= this.term, () => `${hex(this.id)} term ${this.term} would fall to ${term}`);
    if (this.term !== term) {
      this.term = term;
      this.vote = none;
    }
    this.#electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.randomElectionTicks = this.config.randomElectionTicks();
    this.tracker.forgetProgress(this.id, this.log.lastIndex());
  }

  /**
   * What is applied, or in a snapshot, is committed, even if the hard state does not say so yet: with async storage
   * writes, applying is not held up by it.
   */
  #loadState({ term, vote, commit }: HardState): void {
    this.term = term;
    this.vote = vote;
    this.log.committed = Math.max(commit, this.log.committed, this.config.applied);
    assertRaft(
      this.log.committed <= this.log.lastIndex(),
      () => `${hex(this.id)} state.commit ${this.log.committed} is out of range [, ${this.log.lastIndex()}]`,
    );
  }

  // Membership

  applyConfChange(change: ConfChange): ConfState | "superseded" {
    // The membership is that of the snapshot already, of which this change is a part.
    if (this.log.hasSnapshot()) return "superseded";
    const changed = new Changer(this.tracker, this.log.lastIndex()).change(asV2(change));
    if (changed.kind === "refused") throw new RaftInvariantError(changed.why);
    const confState = switchTo(this.#workings, changed);
    if (this.#role.state !== "StateLeader") return confState;
    if (this.tracker.progress.has(this.id) && !this.isLearner) this.#role.onMembershipChanged();
    else if (this.config.stepDownOnRemoval) this.#becomeFollower(this.term, none);
    return confState;
  }

  // Telling

  #log(level: LogLevel, text: string): void {
    this.config.logger(level, text);
  }

  #info(text: string): void {
    this.#log("INFO", text);
  }

  #debug(text: string): void {
    this.#log("DEBUG", text);
  }
}
