/**
 * The consensus algorithm: one node's state, changed by messages (`step`) and by time (`tick`), never by anything else.
 * What it wants sent collects in `messages` and `messagesAfterAppend`; `raw-node.ts` turns that into orders for a driver.
 * Follows etcd-io/raft in behaviour and in the words of its log. Start reading at `step`.
 */
import { type Changed, Changer, restoreConfState } from "./changer.ts";
import {
  asV2,
  decodeConfChange,
  encodeConfChange,
  leaveJointChange,
  mannerOf,
  UnreadableConfChange,
} from "./conf-change.ts";
import { type FullRaftConfig, fullConfig, type LogLevel, type RaftConfig } from "./config.ts";
import { describeConfChange, describeConfState, describeNode as hex, sameConfState } from "./describe.ts";
import { assertRaft, RaftInvariantError } from "./invariant.ts";
import { RaftLog } from "./log.ts";
import {
  type ConfChange,
  type ConfChangeV2,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type MessageType,
  message,
  type NodeId,
  none,
  type RaftState,
  type ReadState,
  type Snapshot,
  type SoftState,
} from "./messages.ts";
import { votersOf } from "./quorum.ts";
import { ReadOnly } from "./read-only.ts";
import { entriesSizeBytes, payloadBytes } from "./size.ts";
import { Progress } from "./tracker/progress.ts";
import { describeConfig, ProgressTracker } from "./tracker/tracker.ts";

/** Dropped: there is no leader to take it, or it takes no more at present. Ask again later, or elsewhere. */
export type StepOutcome = "stepped" | "proposalDropped";

type Campaign = "preElection" | "election" | "transfer";

/** Marks the votes asked for in a campaign that the leader ordered: they are granted although it still leads. */
const transferContext = "CampaignTransfer";

/** These tell others what this node has made durable, so they are sent only after that is so. */
const sentAfterAppend: ReadonlySet<MessageType> = new Set(["MsgAppResp", "MsgVoteResp", "MsgPreVoteResp"]);
/** These are sent with a term that need not be ours. */
const carriesOwnTerm: ReadonlySet<MessageType> = new Set(["MsgVote", "MsgVoteResp", "MsgPreVote", "MsgPreVoteResp"]);
/** These are passed on to the leader as if they had been asked there. */
const withoutTerm: ReadonlySet<MessageType> = new Set(["MsgProp", "MsgReadIndex"]);
const onlyFromLeaders: ReadonlySet<MessageType> = new Set(["MsgApp", "MsgHeartbeat", "MsgSnap"]);

export class Raft {
  readonly id: NodeId;
  readonly config: FullRaftConfig;
  readonly log: RaftLog;
  readonly tracker: ProgressTracker;
  term = 0;
  vote: NodeId = none;
  lead: NodeId = none;
  state: RaftState = "StateFollower";
  isLearner = false;
  /** To whom leadership is being handed over. */
  leadTransferee: NodeId = none;
  /** At or above the index of the last membership change that may not be applied yet; only one is under way at a time. */
  pendingConfIndex = 0;
  /** Ticks until this node stands for election, drawn anew at each change of state. */
  randomElectionTicks = 0;

  /** To others, may be sent at once. */
  messages: Message[] = [];
  /** To others and to this node, to be sent once all that is unstable now is durable. */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];

  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  /** Of the payloads proposed since this node leads and not yet known to be applied; an estimate from below. */
  #uncommittedBytes = 0;
  #readOnly = new ReadOnly();
  /** Reads asked before the leader has committed anything in its term. */
  #earlyReads: Message[] = [];

  constructor(given: RaftConfig) {
    const config = fullConfig(given);
    this.config = config;
    this.id = config.id;
    this.log = new RaftLog(config.storage, config.logger, config.maxCommittedBytes);
    this.tracker = new ProgressTracker(config.maxInflightMessages, config.maxInflightBytes);
    const { hardState, confState } = config.storage.initialState();
    this.#restoreMembership(confState);
    this.#loadState(hardState);
    if (config.applied > 0) this.log.appliedTo(config.applied, 0);
    this.#becomeFollower(this.term, none);
    const { term, index } = this.log.lastEntryId();
    const peers = votersOf(this.tracker.config.voters).map(hex).join(",");
    const { committed, applied } = this.log;
    this.#info(
      `newRaft ${hex(this.id)} [peers: [${peers}], term: ${this.term}, commit: ${committed}, applied: ${applied}, ` +
        `lastindex: ${index}, lastterm: ${term}]`,
    );
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
      // Whoever was to take over had its time; go on leading.
      if (this.state === "StateLeader") this.leadTransferee = none;
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
    if (this.state === "StateLeader") return this.#stepLeader(m);
    return this.state === "StateFollower" ? this.#stepFollower(m) : this.#stepCandidate(m);
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
      this.#send({ type: "MsgAppResp", to: m.from });
    } else if (m.type === "MsgPreVote") {
      // Without an answer, a candidate with a lower term but a longer log would never learn the term it needs.
      this.#info(this.#describeVoting("rejected", m));
      this.#send({ type: "MsgPreVoteResp", to: m.from, term: this.term, reject: true });
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
      this.#send({ type: answer, to: m.from, term: m.term });
      if (m.type === "MsgVote") {
        this.#electionElapsed = 0;
        this.vote = m.from;
      }
    } else {
      this.#info(this.#describeVoting("rejected", m));
      this.#send({ type: answer, to: m.from, term: this.term, reject: true });
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
    if (last === undefined) return;
    this.#appliedTo(last.index, entriesSizeBytes(entries));
    this.#uncommittedBytes = Math.max(0, this.#uncommittedBytes - payloadBytes(entries));
  }

  // Leader

  #stepLeader(m: Message): StepOutcome {
    switch (m.type) {
      case "MsgBeat":
        this.#broadcastHeartbeat();
        return "stepped";
      case "MsgCheckQuorum":
        this.#checkQuorum();
        return "stepped";
      case "MsgProp":
        return this.#onProposal(m);
      case "MsgReadIndex":
        this.#onReadIndex(m);
        return "stepped";
      case "MsgForgetLeader":
        return "stepped";
      default:
        break;
    }
    const progress = this.tracker.progress.get(m.from);
    if (progress === undefined) this.#debug(`${hex(this.id)} no progress available for ${hex(m.from)}`);
    else if (m.type === "MsgAppResp") this.#onAppendResponse(m, progress);
    else if (m.type === "MsgHeartbeatResp") this.#onHeartbeatResponse(m, progress);
    else if (m.type === "MsgSnapStatus") this.#onSnapshotStatus(m, progress);
    else if (m.type === "MsgUnreachable") this.#onUnreachable(m, progress);
    else if (m.type === "MsgTransferLeader") this.#onTransferLeader(m, progress);
    return "stepped";
  }

  #checkQuorum(): void {
    if (!this.tracker.quorumActive()) {
      this.#log("WARN", `${hex(this.id)} stepped down to follower since quorum is not active`);
      this.#becomeFollower(this.term, none);
    }
    for (const [id, progress] of this.tracker.progress) if (id !== this.id) progress.recentActive = false;
  }

  #onProposal(m: Message): StepOutcome {
    assertRaft(m.entries.length > 0, () => `${hex(this.id)} stepped empty MsgProp`);
    // Removed while leading.
    if (!this.tracker.progress.has(this.id)) return "proposalDropped";
    if (this.leadTransferee !== none) {
      this.#debug(
        `${hex(this.id)} [term ${this.term}] transfer leadership to ${hex(this.leadTransferee)} is in progress; dropping proposal`,
      );
      return "proposalDropped";
    }
    let entries: Entry[];
    const pendingBefore = this.pendingConfIndex;
    try {
      entries = m.entries.map((entry, offset) => this.#admitted(entry, this.log.lastIndex() + 1 + offset));
    } catch (error) {
      if (!(error instanceof UnreadableConfChange)) throw error;
      this.#log("ERROR", `${hex(this.id)} dropping proposal from ${hex(m.from)}: ${error.message}`);
      this.pendingConfIndex = pendingBefore;
      return "proposalDropped";
    }
    if (!this.#appendEntries(entries)) return "proposalDropped";
    this.#broadcastAppend();
    return "stepped";
  }

  /** The entry as it goes into the log: a membership change that must not be made now is replaced by an empty entry. */
  #admitted(entry: Entry, index: number): Entry {
    if (entry.type === "EntryNormal") return entry;
    const change = asV2(decodeConfChange(entry.type, entry.data));
    const refused = this.config.disableConfChangeValidation ? undefined : this.#whyNotNow(change);
    if (refused !== undefined) {
      const [what, where] = [describeConfChange(change), describeConfig(this.tracker.config)];
      this.#info(`${hex(this.id)} ignoring conf change ${what} at config ${where}: ${refused}`);
      return { ...entry, type: "EntryNormal", data: new Uint8Array() };
    }
    this.pendingConfIndex = index;
    return entry;
  }

  #whyNotNow(change: ConfChangeV2): string | undefined {
    const isJoint = this.tracker.config.voters.outgoing.size > 0;
    const leaves = change.changes.length === 0;
    if (this.pendingConfIndex > this.log.applied)
      return `possible unapplied conf change at index ${this.pendingConfIndex} (applied to ${this.log.applied})`;
    if (isJoint && !leaves) return "must transition out of joint config first";
    if (!isJoint && leaves) return "not in joint state; refusing empty conf change";
    // Nothing is pending, so this is the membership that the change will meet, and what is refused now would be then.
    const changed = this.#changed(change);
    return changed.kind === "refused" ? changed.why : undefined;
  }

  /** False: too much is uncommitted. */
  #appendEntries(entries: readonly Entry[]): boolean {
    const last = this.log.lastIndex();
    const added = entries.map((entry, offset) => ({ ...entry, term: this.term, index: last + 1 + offset }));
    const bytes = payloadBytes(added);
    // Empty payloads are never refused: a new leader's entry, and leaving a joint configuration, depend on that.
    if (this.#uncommittedBytes > 0 && bytes > 0 && this.#uncommittedBytes + bytes > this.config.maxUncommittedBytes) {
      this.#log(
        "WARN",
        `${hex(this.id)} appending new entries to log would exceed uncommitted entry size limit; dropping proposal`,
      );
      return false;
    }
    this.#uncommittedBytes += bytes;
    // The leader's own acknowledgement, which it gets once the entries are durable here.
    this.#send({ type: "MsgAppResp", to: this.id, index: this.log.append(added) });
    return true;
  }

  #onAppendResponse(m: Message, progress: Progress): void {
    progress.recentActive = true;
    if (m.reject) {
      this.#onAppendRejected(m, progress);
      return;
    }
    // A probing follower that acknowledges what was known has at least answered: replicate to it again.
    const wasKnown = progress.match === m.index && progress.state === "StateProbe";
    if (!progress.maybeUpdate(m.index) && !wasKnown) return;
    if (progress.state === "StateProbe") progress.becomeReplicate();
    else if (progress.state === "StateReplicate") progress.inflights.freeUpTo(m.index);
    else if (progress.match + 1 >= this.log.firstIndex()) {
      // Whatever snapshot it was that it applied, it reaches into our log.
      this.#debug(
        `${hex(this.id)} recovered from needing snapshot, resumed sending replication messages to ${hex(m.from)} [${progress}]`,
      );
      progress.becomeProbe();
      progress.becomeReplicate();
    }
    if (this.#maybeCommit()) {
      this.#releaseEarlyReads();
      this.#broadcastAppend();
    } else if (m.from !== this.id && progress.canBumpCommit(this.log.committed)) {
      this.#sendAppend(m.from, progress);
    }
    if (m.from === this.id) return;
    // The window may have room for several messages now.
    while (this.#maybeSendAppend(m.from, progress, false));
    if (m.from === this.leadTransferee && progress.match === this.log.lastIndex()) {
      this.#info(`${hex(this.id)} sent MsgTimeoutNow to ${hex(m.from)} after received MsgAppResp`);
      this.#send({ type: "MsgTimeoutNow", to: m.from });
    }
  }

  #onAppendRejected(m: Message, progress: Progress): void {
    const hint = `hint: (index ${m.rejectHint}, term ${m.logTerm})`;
    this.#debug(`${hex(this.id)} received MsgAppResp(rejected, ${hint}) from ${hex(m.from)} for index ${m.index}`);
    // The follower's term there rules out all our entries of higher terms: go back to the last that is not.
    const next = m.logTerm > 0 ? this.log.findConflictByTerm(m.rejectHint, m.logTerm).index : m.rejectHint;
    if (!progress.maybeDecrease(m.index, next)) return;
    this.#debug(`${hex(this.id)} decreased progress of ${hex(m.from)} to [${progress}]`);
    if (progress.state === "StateReplicate") progress.becomeProbe();
    this.#sendAppend(m.from, progress);
  }

  #onHeartbeatResponse(m: Message, progress: Progress): void {
    progress.recentActive = true;
    progress.flowPaused = false;
    // Also to one whose window is full (an empty message: all in flight may be lost), and to one that still probes.
    if (progress.match < this.log.lastIndex() || progress.state === "StateProbe") this.#sendAppend(m.from, progress);
    if (this.config.readOnly !== "safe" || m.context === "") return;
    this.#readOnly.acknowledge(m.from, m.context);
    for (const { request, index } of this.#readOnly.release(this.tracker.config.voters))
      this.#answerRead(request, index);
  }

  #onSnapshotStatus(m: Message, progress: Progress): void {
    if (progress.state !== "StateSnapshot") return;
    if (m.reject) progress.pendingSnapshot = 0;
    progress.becomeProbe();
    const outcome = m.reject ? "failed" : "succeeded";
    this.#debug(
      `${hex(this.id)} snapshot ${outcome}, resumed sending replication messages to ${hex(m.from)} [${progress}]`,
    );
    // Succeeded: its acknowledgement comes next. Failed: not again before the next heartbeat.
    progress.flowPaused = true;
  }

  #onUnreachable(m: Message, progress: Progress): void {
    // What is in flight is probably lost.
    if (progress.state === "StateReplicate") progress.becomeProbe();
    this.#debug(`${hex(this.id)} failed to send message to ${hex(m.from)} because it is unreachable [${progress}]`);
  }

  #onTransferLeader(m: Message, progress: Progress): void {
    const [us, them] = [`${hex(this.id)} [term ${this.term}]`, hex(m.from)];
    if (progress.isLearner) {
      this.#debug(`${hex(this.id)} is learner. Ignored transferring leadership`);
      return;
    }
    if (this.leadTransferee === m.from) {
      this.#info(`${us} transfer leadership to ${them} is in progress, ignores request to same node ${them}`);
      return;
    }
    if (this.leadTransferee !== none) {
      this.#info(`${us} abort previous transferring leadership to ${hex(this.leadTransferee)}`);
      this.leadTransferee = none;
    }
    if (m.from === this.id) {
      this.#debug(`${hex(this.id)} is already leader. Ignored transferring leadership to self`);
      return;
    }
    this.#info(`${us} starts to transfer leadership to ${them}`);
    // It has one election time-out for it.
    this.#electionElapsed = 0;
    this.leadTransferee = m.from;
    if (progress.match === this.log.lastIndex()) {
      this.#send({ type: "MsgTimeoutNow", to: m.from });
      this.#info(`${hex(this.id)} sends MsgTimeoutNow to ${them} immediately as ${them} already has up-to-date log`);
    } else this.#sendAppend(m.from, progress);
  }

  // Candidate and pre-candidate

  #stepCandidate(m: Message): StepOutcome {
    const ours = this.state === "StatePreCandidate" ? "MsgPreVoteResp" : "MsgVoteResp";
    switch (m.type) {
      case "MsgProp":
        this.#info(`${hex(this.id)} no leader at term ${this.term}; dropping proposal`);
        return "proposalDropped";
      case "MsgApp":
      case "MsgHeartbeat":
      case "MsgSnap":
        this.#becomeFollower(m.term, m.from);
        return this.#stepFollower(m);
      case "MsgVoteResp":
      case "MsgPreVoteResp":
        // The other kind belongs to an earlier stage of this campaign.
        if (m.type === ours) this.#onVote(m);
        return "stepped";
      case "MsgTimeoutNow":
        this.#debug(
          `${hex(this.id)} [term ${this.term} state ${this.state}] ignored MsgTimeoutNow from ${hex(m.from)}`,
        );
        return "stepped";
      default:
        return "stepped";
    }
  }

  #onVote(m: Message): void {
    const rejection = m.reject ? " rejection" : "";
    this.#info(`${hex(this.id)} received ${m.type}${rejection} from ${hex(m.from)} at term ${this.term}`);
    this.tracker.recordVote(m.from, !m.reject);
    const { granted, rejected, result } = this.tracker.tallyVotes();
    this.#info(`${hex(this.id)} has received ${granted} ${m.type} votes and ${rejected} vote rejections`);
    if (result === "VoteLost") this.#becomeFollower(this.term, none);
    if (result !== "VoteWon") return;
    if (this.state === "StatePreCandidate") {
      this.#campaign("election");
      return;
    }
    this.#becomeLeader();
    this.#broadcastAppend();
  }

  // Follower

  #stepFollower(m: Message): StepOutcome {
    switch (m.type) {
      case "MsgProp":
        return this.#forwardProposal(m);
      case "MsgApp":
        this.#heardFromLeader(m);
        this.#handleAppend(m);
        return "stepped";
      case "MsgHeartbeat":
        this.#heardFromLeader(m);
        this.log.commitTo(m.commit);
        this.#send({ type: "MsgHeartbeatResp", to: m.from, context: m.context });
        return "stepped";
      case "MsgSnap":
        this.#heardFromLeader(m);
        this.#handleSnapshot(m);
        return "stepped";
      case "MsgTransferLeader":
        if (this.lead === none)
          this.#info(`${hex(this.id)} no leader at term ${this.term}; dropping leader transfer msg`);
        else this.#send({ ...m, to: this.lead, term: 0 });
        return "stepped";
      case "MsgForgetLeader":
        this.#forgetLeader();
        return "stepped";
      case "MsgTimeoutNow":
        this.#info(
          `${hex(this.id)} [term ${this.term}] received MsgTimeoutNow from ${hex(m.from)} and starts an election to get leadership.`,
        );
        // Without a pre-vote: this node was not cut off, and the leader wants it.
        this.#hup("transfer");
        return "stepped";
      case "MsgReadIndex":
        if (this.lead === none)
          this.#info(`${hex(this.id)} no leader at term ${this.term}; dropping index reading msg`);
        else this.#send({ ...m, to: this.lead });
        return "stepped";
      case "MsgReadIndexResp":
        this.readStates.push({ index: m.index, requestContext: m.context });
        return "stepped";
      default:
        return "stepped";
    }
  }

  #heardFromLeader(m: Message): void {
    this.#electionElapsed = 0;
    this.lead = m.from;
  }

  #forwardProposal(m: Message): StepOutcome {
    if (this.lead === none) {
      this.#info(`${hex(this.id)} no leader at term ${this.term}; dropping proposal`);
      return "proposalDropped";
    }
    if (this.config.disableProposalForwarding) {
      this.#info(`${hex(this.id)} not forwarding to leader ${hex(this.lead)} at term ${this.term}; dropping proposal`);
      return "proposalDropped";
    }
    this.#send({ ...m, to: this.lead });
    return "stepped";
  }

  #forgetLeader(): void {
    if (this.config.readOnly === "leaseBased") {
      this.#log("ERROR", "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
    } else if (this.lead !== none) {
      this.#info(`${hex(this.id)} forgetting leader ${hex(this.lead)} at term ${this.term}`);
      this.lead = none;
    }
  }

  #handleAppend(m: Message): void {
    if (m.index < this.log.committed) {
      this.#send({ type: "MsgAppResp", to: m.from, index: this.log.committed });
      return;
    }
    const last = this.log.maybeAppend({ term: m.logTerm, index: m.index }, m.entries, m.commit);
    if (last !== undefined) {
      this.#send({ type: "MsgAppResp", to: m.from, index: last });
      return;
    }
    const ours = `[logterm: ${this.log.termOrZero(m.index)}, index: ${m.index}]`;
    const theirs = `[logterm: ${m.logTerm}, index: ${m.index}]`;
    this.#debug(`${hex(this.id)} ${ours} rejected MsgApp ${theirs} from ${hex(m.from)}`);
    // All our entries of terms above the leader's at that index differ from its: it need not try them.
    const hint = this.log.findConflictByTerm(Math.min(m.index, this.log.lastIndex()), m.logTerm);
    this.#send({
      type: "MsgAppResp",
      to: m.from,
      index: m.index,
      reject: true,
      rejectHint: hint.index,
      logTerm: hint.term,
    });
  }

  #handleSnapshot(m: Message): void {
    assertRaft(m.snapshot !== undefined, () => `MsgSnap from ${hex(m.from)} without a snapshot`);
    const { index, term } = m.snapshot.metadata;
    const restored = this.#restore(m.snapshot);
    this.#info(
      `${hex(this.id)} [commit: ${this.log.committed}] ${restored ? "restored" : "ignored"} snapshot [index: ${index}, term: ${term}]`,
    );
    this.#send({ type: "MsgAppResp", to: m.from, index: restored ? this.log.lastIndex() : this.log.committed });
  }

  /** False: the snapshot is not needed, or not for this node. */
  #restore(snapshot: Snapshot): boolean {
    const { index, term, confState } = snapshot.metadata;
    if (index <= this.log.committed) return false;
    if (!membersOf(confState).includes(this.id)) {
      this.#log(
        "WARN",
        `${hex(this.id)} attempted to restore snapshot but it is not in the ConfState {${describeConfState(confState)}}; should never happen`,
      );
      return false;
    }
    const describeUs = () => {
      const last = this.log.lastEntryId();
      return `${hex(this.id)} [commit: ${this.log.committed}, lastindex: ${last.index}, lastterm: ${last.term}]`;
    };
    if (this.log.matchTerm({ term, index })) {
      this.#info(`${describeUs()} fast-forwarded commit to snapshot [index: ${index}, term: ${term}]`);
      this.log.commitTo(index);
      return false;
    }
    this.log.restore(snapshot);
    this.tracker.reset();
    this.#restoreMembership(confState);
    this.#info(`${describeUs()} restored snapshot [index: ${index}, term: ${term}]`);
    return true;
  }

  // Elections and changes of state

  #hup(campaign: Campaign): void {
    if (this.state === "StateLeader") {
      this.#debug(`${hex(this.id)} ignoring MsgHup because already leader`);
    } else if (!this.#isPromotable()) {
      this.#log("WARN", `${hex(this.id)} is unpromotable and can not campaign`);
    } else if (this.#hasUnappliedConfChanges()) {
      // It would count the votes of a membership that is no longer the one.
      this.#log(
        "WARN",
        `${hex(this.id)} cannot campaign at term ${this.term} since there are still pending configuration changes to apply`,
      );
    } else {
      this.#info(`${hex(this.id)} is starting a new election at term ${this.term}`);
      this.#campaign(campaign);
    }
  }

  #isPromotable(): boolean {
    const progress = this.tracker.progress.get(this.id);
    return progress !== undefined && !progress.isLearner && !this.log.hasSnapshot();
  }

  #hasUnappliedConfChanges(): boolean {
    let next = this.log.applied + 1;
    while (next <= this.log.committed) {
      const page = this.log.slice(next, this.log.committed + 1, this.log.maxApplyingBytes);
      // Applied and compacted already, only that this node has not been told yet: it soon will be.
      if (page === "compacted") return true;
      if (page.some(({ type }) => type !== "EntryNormal")) return true;
      next += page.length;
    }
    return false;
  }

  #campaign(campaign: Campaign): void {
    const isPreVote = campaign === "preElection";
    if (isPreVote) this.#becomePreCandidate();
    else this.#becomeCandidate();
    const term = isPreVote ? this.term + 1 : this.term;
    const last = this.log.lastEntryId();
    for (const to of votersOf(this.tracker.config.voters)) {
      if (to === this.id) {
        // Its own vote, which counts once it is durable.
        this.#send({ type: isPreVote ? "MsgPreVoteResp" : "MsgVoteResp", to, term });
        continue;
      }
      const type = isPreVote ? "MsgPreVote" : "MsgVote";
      this.#info(
        `${hex(this.id)} [logterm: ${last.term}, index: ${last.index}] sent ${type} request to ${hex(to)} at term ${this.term}`,
      );
      const context = campaign === "transfer" ? transferContext : "";
      this.#send({ type, to, term, index: last.index, logTerm: last.term, context });
    }
  }

  #becomeFollower(term: number, lead: NodeId): void {
    this.#reset(term);
    this.lead = lead;
    this.state = "StateFollower";
    this.#info(`${hex(this.id)} became follower at term ${this.term}`);
  }

  #becomePreCandidate(): void {
    assertRaft(this.state !== "StateLeader", () => "invalid transition [leader -> pre-candidate]");
    // Neither term nor vote change: nothing is lost if it does not win.
    this.tracker.resetVotes();
    this.lead = none;
    this.state = "StatePreCandidate";
    this.#info(`${hex(this.id)} became pre-candidate at term ${this.term}`);
  }

  #becomeCandidate(): void {
    assertRaft(this.state !== "StateLeader", () => "invalid transition [leader -> candidate]");
    this.#reset(this.term + 1);
    this.vote = this.id;
    this.state = "StateCandidate";
    this.#info(`${hex(this.id)} became candidate at term ${this.term}`);
  }

  #becomeLeader(): void {
    assertRaft(this.state !== "StateFollower", () => "invalid transition [follower -> leader]");
    this.#reset(this.term);
    this.lead = this.id;
    this.state = "StateLeader";
    const progress = this.tracker.progress.get(this.id);
    assertRaft(progress !== undefined, () => `${hex(this.id)} won an election without being a member`);
    progress.becomeReplicate();
    progress.recentActive = true;
    // The tail of the log may hold a membership change: no other one before all of it is applied.
    this.pendingConfIndex = this.log.lastIndex();
    // An entry of its own term: only with that can it know what is committed.
    this.#appendEntries([{ type: "EntryNormal", data: new Uint8Array(), term: 0, index: 0 }]);
    this.#info(`${hex(this.id)} became leader at term ${this.term}`);
  }

  #reset(term: number): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = none;
    }
    this.lead = none;
    this.#electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.randomElectionTicks = this.config.randomElectionTicks();
    this.leadTransferee = none;
    this.tracker.resetVotes();
    const last = this.log.lastIndex();
    this.tracker.progress = new Map(
      [...this.tracker.progress].map(([id, { isLearner }]) => {
        const match = id === this.id ? last : 0;
        return [id, new Progress({ match, next: last + 1, isLearner, inflights: this.tracker.newInflights() })];
      }),
    );
    this.pendingConfIndex = 0;
    this.#uncommittedBytes = 0;
    this.#readOnly = new ReadOnly();
    this.#earlyReads = [];
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

  // Sending

  #send(fields: Partial<Message> & Pick<Message, "type">): void {
    const sent = message({
      ...fields,
      from: fields.from === undefined || fields.from === none ? this.id : fields.from,
    });
    const hasTerm = sent.term !== 0;
    assertRaft(hasTerm === carriesOwnTerm.has(sent.type), () => `term ${sent.term} when sending ${sent.type}`);
    const stamped = hasTerm || withoutTerm.has(sent.type) ? sent : { ...sent, term: this.term };
    if (sentAfterAppend.has(stamped.type)) {
      this.messagesAfterAppend.push(stamped);
      return;
    }
    assertRaft(stamped.to !== this.id, () => `message should not be self-addressed when sending ${stamped.type}`);
    this.messages.push(stamped);
  }

  #sendAppend(to: NodeId, progress: Progress): void {
    this.#maybeSendAppend(to, progress, true);
  }

  /** Sends what the follower lacks, or a snapshot where that is compacted; empty messages tell only the commit index. */
  #maybeSendAppend(to: NodeId, progress: Progress, sendIfEmpty: boolean): boolean {
    if (progress.isPaused()) return false;
    const index = progress.next - 1;
    const logTerm = this.log.term(index);
    if (typeof logTerm !== "number") return this.#maybeSendSnapshot(to, progress);
    // With a full window an empty message: when all in flight was lost, its rejection says so.
    const isFull = progress.state === "StateReplicate" && progress.inflights.isFull();
    const entries = isFull ? [] : this.log.entries(progress.next, this.config.maxMessageBytes);
    if (entries === "compacted") return this.#maybeSendSnapshot(to, progress);
    if (entries.length === 0 && !sendIfEmpty) return false;
    this.#send({ type: "MsgApp", to, index, logTerm, entries, commit: this.log.committed });
    progress.sentEntries(entries.length, payloadBytes(entries));
    progress.sentCommitIndex(this.log.committed);
    return true;
  }

  #maybeSendSnapshot(to: NodeId, progress: Progress): boolean {
    if (!progress.recentActive) {
      this.#debug(`ignore sending snapshot to ${hex(to)} since it is not recently active`);
      return false;
    }
    const snapshot = this.log.snapshot();
    if (snapshot === "unavailable") {
      this.#debug(`${hex(this.id)} failed to send snapshot to ${hex(to)} because snapshot is temporarily unavailable`);
      return false;
    }
    const { index, term, confState } = snapshot.metadata;
    assertRaft(index > 0, () => "need non-empty snapshot");
    // It would be refused, and asked for again at once: the storage must make a newer one.
    if (!membersOf(confState).includes(to)) {
      this.#debug(`${hex(this.id)} has no snapshot for ${hex(to)}: at index ${index} it was no member`);
      return false;
    }
    const us = `${hex(this.id)} [firstindex: ${this.log.firstIndex()}, commit: ${this.log.committed}]`;
    this.#debug(`${us} sent snapshot[index: ${index}, term: ${term}] to ${hex(to)} [${progress}]`);
    progress.becomeSnapshot(index);
    this.#debug(`${hex(this.id)} paused sending replication messages to ${hex(to)} [${progress}]`);
    this.#send({ type: "MsgSnap", to, snapshot });
    return true;
  }

  #broadcastAppend(): void {
    for (const [id, progress] of this.tracker.progress) if (id !== this.id) this.#sendAppend(id, progress);
  }

  #broadcastHeartbeat(): void {
    const context = this.#readOnly.heartbeatContext();
    for (const [id, progress] of this.tracker.progress) {
      if (id === this.id) continue;
      // Never beyond what the follower is known to have: a heartbeat does not check that the logs match.
      const commit = Math.min(progress.match, this.log.committed);
      this.#send({ type: "MsgHeartbeat", to: id, commit, context });
      progress.sentCommitIndex(commit);
    }
  }

  // Commit and apply

  #maybeCommit(): boolean {
    return this.log.maybeCommit({ term: this.term, index: this.tracker.committed() });
  }

  #appliedSnapshot(snapshot: Snapshot): void {
    this.log.unstable.stableSnapshotTo(snapshot.metadata.index);
    this.#appliedTo(snapshot.metadata.index, 0);
  }

  #appliedTo(index: number, sizeBytes: number): void {
    const applied = Math.max(index, this.log.applied);
    this.log.appliedTo(applied, sizeBytes);
    const { config } = this.tracker;
    if (!config.autoLeave || applied < this.pendingConfIndex || this.state !== "StateLeader") return;
    // Whoever leads leaves it, and tries again with each entry applied: the leader that entered it may be gone.
    const outcome = this.step(proposal([leaveJointEntry]));
    if (outcome === "stepped")
      this.#info(`initiating automatic transition out of joint configuration ${describeConfig(config)}`);
    else
      this.#debug(
        `not initiating automatic transition out of joint configuration ${describeConfig(config)}: raft proposal dropped`,
      );
  }

  // Reads

  #onReadIndex(m: Message): void {
    if (this.tracker.isSingleton()) this.#answerRead(m, this.log.committed);
    // Before an entry of its own term is committed, a leader does not know how far the log is.
    else if (!this.#hasCommittedInTerm()) this.#earlyReads.push(m);
    else this.#beginRead(m);
  }

  #beginRead(m: Message): void {
    if (this.config.readOnly === "leaseBased") {
      this.#answerRead(m, this.log.committed);
      return;
    }
    this.#readOnly.add(m, this.log.committed);
    this.#readOnly.acknowledge(this.id, this.#readOnly.heartbeatContext());
    this.#broadcastHeartbeat();
  }

  #releaseEarlyReads(): void {
    if (this.#earlyReads.length === 0 || !this.#hasCommittedInTerm()) return;
    for (const read of this.#earlyReads.splice(0)) this.#beginRead(read);
  }

  #hasCommittedInTerm(): boolean {
    return this.log.termOrZero(this.log.committed) === this.term;
  }

  #answerRead(request: Message, index: number): void {
    if (request.from === none || request.from === this.id)
      this.readStates.push({ index, requestContext: request.context });
    else this.#send({ type: "MsgReadIndexResp", to: request.from, index, context: request.context });
  }

  // Membership

  applyConfChange(change: ConfChange): ConfState | "superseded" {
    // The membership is that of the snapshot already, of which this change is a part.
    if (this.log.hasSnapshot()) return "superseded";
    const changed = this.#changed(asV2(change));
    if (changed.kind === "refused") throw new RaftInvariantError(changed.why);
    return this.#switchTo(changed);
  }

  #changed(change: ConfChangeV2): Changed {
    const changer = new Changer(this.tracker, this.log.lastIndex());
    const manner = mannerOf(change);
    if (manner.kind === "leaveJoint") return changer.leaveJoint();
    if (manner.kind === "enterJoint") return changer.enterJoint(manner.autoLeave, change.changes);
    return changer.simple(change.changes);
  }

  #restoreMembership(confState: ConfState): void {
    const restored = restoreConfState(this.tracker, this.log.lastIndex(), confState);
    if (restored.kind === "refused")
      throw new RaftInvariantError(`unable to restore config ${describeConfState(confState)}: ${restored.why}`);
    const now = this.#switchTo(restored);
    assertRaft(
      sameConfState(confState, now),
      () => `ConfStates not equivalent: ${describeConfState(confState)} and ${describeConfState(now)}`,
    );
  }

  #switchTo(changed: Changed & { kind: "changed" }): ConfState {
    this.tracker.config = changed.config;
    this.tracker.progress = changed.progress;
    this.#info(`${hex(this.id)} switched to configuration ${describeConfig(changed.config)}`);
    const confState = this.tracker.confState();
    const progress = this.tracker.progress.get(this.id);
    this.isLearner = progress?.isLearner ?? false;
    if (this.state !== "StateLeader") return confState;
    if (progress === undefined || this.isLearner) {
      if (this.config.stepDownOnRemoval) this.#becomeFollower(this.term, none);
      return confState;
    }
    // More may be committed by the new voters alone; else probe those who are new at once.
    if (this.#maybeCommit()) this.#broadcastAppend();
    else for (const [id, each] of this.tracker.progress) if (id !== this.id) this.#maybeSendAppend(id, each, false);
    if (this.leadTransferee !== none && !votersOf(changed.config.voters).includes(this.leadTransferee))
      this.leadTransferee = none;
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

/** Whoever a membership counts; who is to become a learner is an outgoing voter until then. */
function membersOf({ voters, learners, votersOutgoing }: ConfState): NodeId[] {
  return [...voters, ...learners, ...votersOutgoing];
}

const leaveJointEntry = { ...encodeConfChange(leaveJointChange), term: 0, index: 0 };

/** A message that asks for entries to be appended; their term and index are the leader's to give. */
export function proposal(entries: readonly Entry[], from: NodeId = none): Message {
  return message({ type: "MsgProp", from, entries });
}
