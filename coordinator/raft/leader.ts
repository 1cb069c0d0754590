/**
 * A node while it leads: it takes proposals, replicates and commits them (Raft, figure 2, "Leaders"), answers reads, and
 * hands leadership over (Ongaro's thesis, section 3.10). All that only a leader knows is in here, and gone with it.
 */
import type { LogLevel } from "./config.ts";
import { describeNode as hex } from "./describe.ts";
import { assertRaft } from "./invariant.ts";
import { type Message, type NodeId, none } from "./messages.ts";
import { leaveJointEntry, Proposals, proposal } from "./proposals.ts";
import { votersOf } from "./quorum.ts";
import { ReadIndex } from "./read-index.ts";
import { Replication } from "./replication.ts";
import type { StepOutcome, Turn, Workings } from "./role.ts";
import type { Progress } from "./tracker/progress.ts";
import { describeConfig } from "./tracker/tracker.ts";

export class Leader {
  readonly state = "StateLeader";
  readonly lead: NodeId;
  readonly #workings: Workings;
  readonly #id: NodeId;
  readonly #term: number;
  readonly #replication: Replication;
  readonly #proposals: Proposals;
  readonly #reads: ReadIndex;
  #transferee: NodeId = none;

  constructor(workings: Workings, term: number) {
    this.#workings = workings;
    this.lead = this.#id = workings.config.id;
    this.#term = term;
    this.#replication = new Replication(workings);
    this.#proposals = new Proposals(workings, term);
    this.#reads = new ReadIndex(workings, term, this.#replication);
  }

  /** To whom leadership is being handed over. */
  get transferee(): NodeId {
    return this.#transferee;
  }

  begin(): void {
    const progress = this.#workings.tracker.progress.get(this.#id);
    assertRaft(progress !== undefined, () => `${hex(this.#id)} won an election without being a member`);
    progress.becomeReplicate();
    progress.recentActive = true;
    // An entry of its own term: only with that can it know what is committed.
    this.#proposals.append([{ type: "EntryNormal", data: new Uint8Array(), term: 0, index: 0 }]);
    this.#replication.broadcastAppend();
  }

  step(m: Message): Turn {
    switch (m.type) {
      case "MsgBeat":
        this.#replication.broadcastHeartbeat(this.#reads.heartbeatContext());
        return "stepped";
      case "MsgCheckQuorum":
        return this.#checkQuorum();
      case "MsgProp":
        return this.#onProposal(m);
      case "MsgReadIndex":
        this.#reads.onRequest(m);
        return "stepped";
      case "MsgForgetLeader":
        return "stepped";
      default:
        break;
    }
    const progress = this.#workings.tracker.progress.get(m.from);
    if (progress === undefined) this.#tell("DEBUG", `${hex(this.#id)} no progress available for ${hex(m.from)}`);
    else if (m.type === "MsgAppResp") this.#onAppendResponse(m, progress);
    else if (m.type === "MsgHeartbeatResp") this.#onHeartbeatResponse(m, progress);
    else if (m.type === "MsgSnapStatus") this.#replication.onSnapshotStatus(m, progress);
    else if (m.type === "MsgUnreachable") this.#replication.onUnreachable(m, progress);
    else if (m.type === "MsgTransferLeader") return this.#onTransferLeader(m, progress);
    return "stepped";
  }

  #checkQuorum(): Turn {
    const { tracker } = this.#workings;
    const isActive = tracker.quorumActive();
    for (const [id, progress] of tracker.progress) if (id !== this.#id) progress.recentActive = false;
    if (isActive) return "stepped";
    this.#tell("WARN", `${hex(this.#id)} stepped down to follower since quorum is not active`);
    return "quorumLost";
  }

  // Entries

  #onProposal(m: Message): StepOutcome {
    assertRaft(m.entries.length > 0, () => `${hex(this.#id)} stepped empty MsgProp`);
    // Removed while leading.
    if (!this.#workings.tracker.progress.has(this.#id)) return "proposalDropped";
    if (this.#transferee !== none) {
      this.#tell(
        "DEBUG",
        `${hex(this.#id)} [term ${this.#term}] transfer leadership to ${hex(this.#transferee)} is in progress; dropping proposal`,
      );
      return "proposalDropped";
    }
    if (!this.#proposals.take(m)) return "proposalDropped";
    this.#replication.broadcastAppend();
    return "stepped";
  }

  #onAppendResponse(m: Message, progress: Progress): void {
    const { log, outbox } = this.#workings;
    progress.recentActive = true;
    if (m.reject) {
      this.#replication.onRejected(m, progress);
      return;
    }
    if (!this.#replication.onAcknowledged(m, progress)) return;
    if (this.#maybeCommit()) this.#replication.broadcastAppend();
    else if (m.from !== this.#id && progress.canBumpCommit(log.committed))
      this.#replication.maybeSendAppend(m.from, progress, true);
    if (m.from === this.#id) return;
    // The window may have room for several messages now.
    while (this.#replication.maybeSendAppend(m.from, progress, false));
    if (m.from === this.#transferee && progress.match === log.lastIndex()) {
      this.#tell("INFO", `${hex(this.#id)} sent MsgTimeoutNow to ${hex(m.from)} after received MsgAppResp`);
      outbox.send({ type: "MsgTimeoutNow", to: m.from });
    }
  }

  #onHeartbeatResponse(m: Message, progress: Progress): void {
    progress.recentActive = true;
    this.#replication.onHeartbeatResponse(m, progress);
    this.#reads.onHeartbeatResponse(m);
  }

  #maybeCommit(): boolean {
    const { log, tracker } = this.#workings;
    const isMore = log.maybeCommit({ term: this.#term, index: tracker.committed() });
    if (isMore) this.#reads.onCommitted();
    return isMore;
  }

  /** More is applied, with so many bytes of payload. */
  onApplied(bytes: number): void {
    if (this.#proposals.mustLeaveJoint()) this.#leaveJoint();
    this.#proposals.onApplied(bytes);
  }

  #leaveJoint(): void {
    const { config } = this.#workings.tracker;
    const outcome = this.#onProposal(proposal([leaveJointEntry]));
    if (outcome === "stepped")
      this.#tell("INFO", `initiating automatic transition out of joint configuration ${describeConfig(config)}`);
    else
      this.#tell(
        "DEBUG",
        `not initiating automatic transition out of joint configuration ${describeConfig(config)}: raft proposal dropped`,
      );
  }

  /** Another membership is in force, and this node is still a voter. */
  onMembershipChanged(): void {
    // More may be committed by the new voters alone; else probe those who are new at once.
    if (this.#maybeCommit()) this.#replication.broadcastAppend();
    else this.#replication.broadcastEntries();
    this.#reads.onMembershipChanged();
    if (!votersOf(this.#workings.tracker.config.voters).includes(this.#transferee)) this.#transferee = none;
  }

  // Handing over

  #onTransferLeader(m: Message, progress: Progress): Turn {
    const [us, them] = [`${hex(this.#id)} [term ${this.#term}]`, hex(m.from)];
    if (progress.isLearner) {
      this.#tell("DEBUG", `${hex(this.#id)} is learner. Ignored transferring leadership`);
      return "stepped";
    }
    if (this.#transferee === m.from) {
      this.#tell("INFO", `${us} transfer leadership to ${them} is in progress, ignores request to same node ${them}`);
      return "stepped";
    }
    if (this.#transferee !== none) {
      this.#tell("INFO", `${us} abort previous transferring leadership to ${hex(this.#transferee)}`);
      this.#transferee = none;
    }
    if (m.from === this.#id) {
      this.#tell("DEBUG", `${hex(this.#id)} is already leader. Ignored transferring leadership to self`);
      return "stepped";
    }
    this.#tell("INFO", `${us} starts to transfer leadership to ${them}`);
    this.#transferee = m.from;
    const { log, outbox } = this.#workings;
    if (progress.match === log.lastIndex()) {
      outbox.send({ type: "MsgTimeoutNow", to: m.from });
      this.#tell(
        "INFO",
        `${hex(this.#id)} sends MsgTimeoutNow to ${them} immediately as ${them} already has up-to-date log`,
      );
    } else this.#replication.maybeSendAppend(m.from, progress, true);
    return "transferBegun";
  }

  /** Whoever was to take over had its time; go on leading. */
  giveUpTransfer(): void {
    this.#transferee = none;
  }

  #tell(level: LogLevel, text: string): void {
    this.#workings.config.logger(level, text);
  }
}
