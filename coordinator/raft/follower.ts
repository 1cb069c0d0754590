/**
 * A node while it follows: it takes entries, commit indexes and snapshots from whoever leads its term, and passes on to
 * it what is asked here. The receiver's side of AppendEntries and InstallSnapshot (Raft, figure 2 and section 7).
 */
import type { LogLevel } from "./config.ts";
import { describeConfState, describeNode as hex } from "./describe.ts";
import { assertRaft } from "./invariant.ts";
import { isMember, restoreMembership } from "./membership.ts";
import { type Message, type NodeId, none, type Snapshot } from "./messages.ts";
import type { StepOutcome, Turn, Workings } from "./role.ts";

export class Follower {
  readonly state = "StateFollower";
  readonly #workings: Workings;
  readonly #id: NodeId;
  readonly #term: number;
  #lead: NodeId;

  /** `lead`: none until one is heard of in this term. */
  constructor(workings: Workings, term: number, lead: NodeId) {
    this.#workings = workings;
    this.#id = workings.config.id;
    this.#term = term;
    this.#lead = lead;
  }

  get lead(): NodeId {
    return this.#lead;
  }

  step(m: Message): Turn {
    const { outbox, log } = this.#workings;
    switch (m.type) {
      case "MsgProp":
        return this.#forwardProposal(m);
      case "MsgApp":
        this.#lead = m.from;
        this.#onAppend(m);
        return "stepped";
      case "MsgHeartbeat":
        this.#lead = m.from;
        log.commitTo(m.commit);
        outbox.send({ type: "MsgHeartbeatResp", to: m.from, context: m.context });
        return "stepped";
      case "MsgSnap":
        this.#lead = m.from;
        this.#onSnapshot(m);
        return "stepped";
      case "MsgTransferLeader":
        if (this.#lead === none)
          this.#tell("INFO", `${hex(this.#id)} no leader at term ${this.#term}; dropping leader transfer msg`);
        else outbox.send({ ...m, to: this.#lead, term: 0 });
        return "stepped";
      case "MsgForgetLeader":
        this.#forgetLeader();
        return "stepped";
      case "MsgTimeoutNow":
        this.#tell(
          "INFO",
          `${hex(this.#id)} [term ${this.#term}] received MsgTimeoutNow from ${hex(m.from)} and starts an election to get leadership.`,
        );
        return "calledToLead";
      case "MsgReadIndex":
        if (this.#lead === none)
          this.#tell("INFO", `${hex(this.#id)} no leader at term ${this.#term}; dropping index reading msg`);
        else outbox.send({ ...m, to: this.#lead });
        return "stepped";
      case "MsgReadIndexResp":
        outbox.readStates.push({ index: m.index, requestContext: m.context });
        return "stepped";
      default:
        return "stepped";
    }
  }

  #forwardProposal(m: Message): StepOutcome {
    const { config, outbox } = this.#workings;
    if (this.#lead === none) {
      this.#tell("INFO", `${hex(this.#id)} no leader at term ${this.#term}; dropping proposal`);
      return "proposalDropped";
    }
    if (config.disableProposalForwarding) {
      this.#tell(
        "INFO",
        `${hex(this.#id)} not forwarding to leader ${hex(this.#lead)} at term ${this.#term}; dropping proposal`,
      );
      return "proposalDropped";
    }
    outbox.send({ ...m, to: this.#lead });
    return "stepped";
  }

  #forgetLeader(): void {
    if (this.#workings.config.readOnly === "leaseBased") {
      this.#tell("ERROR", "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
    } else if (this.#lead !== none) {
      this.#tell("INFO", `${hex(this.#id)} forgetting leader ${hex(this.#lead)} at term ${this.#term}`);
      this.#lead = none;
    }
  }

  #onAppend(m: Message): void {
    const { log, outbox } = this.#workings;
    if (m.index < log.committed) {
      outbox.send({ type: "MsgAppResp", to: m.from, index: log.committed });
      return;
    }
    const last = log.maybeAppend({ term: m.logTerm, index: m.index }, m.entries, m.commit);
    if (last !== undefined) {
      outbox.send({ type: "MsgAppResp", to: m.from, index: last });
      return;
    }
    const ours = `[logterm: ${log.termOrZero(m.index)}, index: ${m.index}]`;
    const theirs = `[logterm: ${m.logTerm}, index: ${m.index}]`;
    this.#tell("DEBUG", `${hex(this.#id)} ${ours} rejected MsgApp ${theirs} from ${hex(m.from)}`);
    // All our entries of terms above the leader's at that index differ from its: it need not try them.
    const hint = log.findConflictByTerm(Math.min(m.index, log.lastIndex()), m.logTerm);
    outbox.send({
      type: "MsgAppResp",
      to: m.from,
      index: m.index,
      reject: true,
      rejectHint: hint.index,
      logTerm: hint.term,
    });
  }

  #onSnapshot(m: Message): void {
    const { log, outbox } = this.#workings;
    assertRaft(m.snapshot !== undefined, () => `MsgSnap from ${hex(m.from)} without a snapshot`);
    const { index, term } = m.snapshot.metadata;
    const restored = this.#restore(m.snapshot);
    this.#tell(
      "INFO",
      `${hex(this.#id)} [commit: ${log.committed}] ${restored ? "restored" : "ignored"} snapshot [index: ${index}, term: ${term}]`,
    );
    outbox.send({ type: "MsgAppResp", to: m.from, index: restored ? log.lastIndex() : log.committed });
  }

  /** False: the snapshot is not needed, or not for this node. */
  #restore(snapshot: Snapshot): boolean {
    const { log, tracker } = this.#workings;
    const { index, term, confState } = snapshot.metadata;
    if (index <= log.committed) return false;
    if (!isMember(confState, this.#id)) {
      this.#tell(
        "WARN",
        `${hex(this.#id)} attempted to restore snapshot but it is not in the ConfState {${describeConfState(confState)}}; should never happen`,
      );
      return false;
    }
    const describeUs = () => {
      const last = log.lastEntryId();
      return `${hex(this.#id)} [commit: ${log.committed}, lastindex: ${last.index}, lastterm: ${last.term}]`;
    };
    if (log.matchTerm({ term, index })) {
      this.#tell("INFO", `${describeUs()} fast-forwarded commit to snapshot [index: ${index}, term: ${term}]`);
      log.commitTo(index);
      return false;
    }
    log.restore(snapshot);
    tracker.reset();
    restoreMembership(this.#workings, confState);
    this.#tell("INFO", `${describeUs()} restored snapshot [index: ${index}, term: ${term}]`);
    return true;
  }

  #tell(level: LogLevel, text: string): void {
    this.#workings.config.logger(level, text);
  }
}
