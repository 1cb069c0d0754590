/**
 * The core as its driver sees it: put messages, ticks and proposals in, take a `Ready` out, do what it says, `advance`.
 * With async storage writes there is no `advance`: the local threads' responses are stepped instead.
 */
import { encodeConfChange } from "./conf-change.ts";
import type { RaftConfig } from "./config.ts";
import { assertRaft } from "./invariant.ts";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  emptyHardState,
  type HardState,
  localAppendThread,
  localApplyThread,
  type Message,
  type MessageType,
  message,
  type NodeId,
  type Ready,
  type SoftState,
} from "./messages.ts";
import { proposal } from "./proposals.ts";
import { Raft } from "./raft.ts";
import type { StepOutcome } from "./role.ts";
import { entriesSizeBytes } from "./size.ts";
import type { Progress } from "./tracker/progress.ts";
import type { TrackedConfig } from "./tracker/tracker.ts";

/** Local: no other node may send it. Unknown peer: an answer of someone who is no member. Both are ignored. */
export type ReceiveOutcome = StepOutcome | "localMessage" | "unknownPeer";

export type Status = SoftState &
  HardState & {
    readonly id: NodeId;
    readonly applied: number;
    readonly leadTransferee: NodeId;
    readonly config: TrackedConfig;
    /** Of all members, by ascending id; empty unless this node leads. */
    readonly progress: ReadonlyMap<NodeId, Progress>;
  };

const localTypes: ReadonlySet<MessageType> = new Set([
  "MsgHup",
  "MsgBeat",
  "MsgUnreachable",
  "MsgSnapStatus",
  "MsgCheckQuorum",
  "MsgStorageAppend",
  "MsgStorageAppendResp",
  "MsgStorageApply",
  "MsgStorageApplyResp",
]);

const responseTypes: ReadonlySet<MessageType> = new Set([
  "MsgAppResp",
  "MsgVoteResp",
  "MsgHeartbeatResp",
  "MsgUnreachable",
  "MsgReadIndexResp",
  "MsgPreVoteResp",
  "MsgStorageAppendResp",
  "MsgStorageApplyResp",
]);

export function isLocalThread(id: NodeId): boolean {
  return id === localAppendThread || id === localApplyThread;
}

export class RawNode {
  readonly raft: Raft;
  readonly #isAsync: boolean;
  #softState: SoftState;
  #hardState: HardState;
  #stepsOnAdvance: Message[] = [];

  constructor(config: RaftConfig) {
    this.raft = new Raft(config);
    this.#isAsync = this.raft.config.asyncStorageWrites;
    this.#softState = this.raft.softState();
    this.#hardState = this.raft.hardState();
  }

  tick(): void {
    this.raft.tick();
  }

  /** Stands for election now. */
  campaign(): void {
    this.raft.step(message({ type: "MsgHup" }));
  }

  /** Asks for entries to be appended, all or none, in this order: many at once cost one message. */
  propose(...data: readonly Uint8Array[]): StepOutcome {
    const entries = data.map((each): Entry => ({ type: "EntryNormal", data: each, term: 0, index: 0 }));
    return this.raft.step(proposal(entries, this.raft.id));
  }

  /** A change that must not be made now becomes an empty entry; the driver sees that when it is applied. */
  proposeConfChange(change: ConfChange): StepOutcome {
    return this.raft.step(proposal([{ ...encodeConfChange(change), term: 0, index: 0 }]));
  }

  /**
   * To be called when an entry with a membership change is applied, unless the driver decides against the change; returns
   * the membership from there on. Superseded: a snapshot has arrived since the entry was handed out. Apply neither this
   * entry nor those handed out with it: the snapshot, which is about to be, has them all.
   */
  applyConfChange(change: ConfChange): ConfState | "superseded" {
    return this.raft.applyConfChange(change);
  }

  /** Takes a message from another node, or from a local thread. */
  step(m: Message): ReceiveOutcome {
    if (!isLocalThread(m.from)) {
      if (localTypes.has(m.type)) return "localMessage";
      if (responseTypes.has(m.type) && !this.raft.tracker.progress.has(m.from)) return "unknownPeer";
    }
    return this.raft.step(m);
  }

  reportUnreachable(id: NodeId): void {
    this.raft.step(message({ type: "MsgUnreachable", from: id }));
  }

  /** A snapshot was sent, or failed to be. Must be called for every MsgSnap: else its receiver gets nothing more. */
  reportSnapshot(id: NodeId, outcome: "finished" | "failed"): void {
    this.raft.step(message({ type: "MsgSnapStatus", from: id, reject: outcome === "failed" }));
  }

  transferLeader(to: NodeId): void {
    this.raft.step(message({ type: "MsgTransferLeader", from: to }));
  }

  /** A follower takes its leader for gone, and may vote for another at once. */
  forgetLeader(): void {
    this.raft.step(message({ type: "MsgForgetLeader" }));
  }

  /**
   * Asks for a ReadState with this context: reads at its index see all that is committed now. May be lost: ask again. Each
   * read has a context of its own: an answer may come late, or twice, and a later read must not take it for its own.
   */
  readIndex(context: string): void {
    this.raft.step(message({ type: "MsgReadIndex", context }));
  }

  status(): Status {
    const { raft } = this;
    return {
      id: raft.id,
      ...raft.softState(),
      ...raft.hardState(),
      applied: raft.log.applied,
      leadTransferee: raft.leadTransferee,
      config: raft.tracker.config,
      progress: raft.state === "StateLeader" ? raft.tracker.progress : new Map(),
    };
  }

  hasReady(): boolean {
    const { raft } = this;
    return (
      !sameSoftState(raft.softState(), this.#softState) ||
      !sameHardState(raft.hardState(), this.#hardState) ||
      raft.log.unstable.nextSnapshot() !== undefined ||
      raft.outbox.messages.length > 0 ||
      raft.outbox.messagesAfterAppend.length > 0 ||
      raft.log.unstable.hasNextEntries() ||
      raft.log.hasNextCommittedEntries(this.#appliesUnstable()) ||
      raft.outbox.readStates.length > 0
    );
  }

  /** What is to be done now. It must be done, and with synchronous writes `advance` be called before the next one. */
  ready(): Ready {
    assertRaft(this.#stepsOnAdvance.length === 0, () => "two accepted Ready structs without call to Advance");
    const { raft } = this;
    const [softState, hardState] = [raft.softState(), raft.hardState()];
    const snapshot = raft.log.unstable.nextSnapshot();
    const entries = raft.log.nextUnstableEntries();
    const work: Ready = {
      softState: sameSoftState(softState, this.#softState) ? undefined : softState,
      hardState: sameHardState(hardState, this.#hardState) ? undefined : hardState,
      readStates: raft.outbox.readStates,
      entries,
      snapshot,
      committedEntries: raft.log.nextCommittedEntries(this.#appliesUnstable()),
      messages: [],
      mustSync:
        entries.length > 0 || hardState.vote !== this.#hardState.vote || hardState.term !== this.#hardState.term,
    };
    const messages = this.#isAsync
      ? [...raft.outbox.messages, ...this.#storageMessages(work)]
      : [...raft.outbox.messages, ...raft.outbox.messagesAfterAppend.filter(({ to }) => to !== raft.id)];
    if (!this.#isAsync) this.#stepsOnAdvance = this.#ownResponses(work);
    this.#accept(work);
    return { ...work, messages };
  }

  /** The Ready is done: stored, sent and applied. */
  advance(): void {
    assertRaft(!this.#isAsync, () => "Advance must not be called when using AsyncStorageWrites");
    const steps = this.#stepsOnAdvance;
    this.#stepsOnAdvance = [];
    for (const m of steps) this.raft.step(m);
  }

  /**
   * Whether committed entries may be applied before they are stored here. In one step with the write they may; threads
   * of their own give no such promise.
   */
  #appliesUnstable(): boolean {
    return !this.#isAsync;
  }

  #accept(work: Ready): void {
    const { raft } = this;
    this.#softState = work.softState ?? this.#softState;
    this.#hardState = work.hardState ?? this.#hardState;
    raft.outbox.clear();
    raft.log.unstable.acceptInProgress();
    const last = work.committedEntries.at(-1);
    if (last === undefined) return;
    raft.log.acceptApplying(last.index, entriesSizeBytes(work.committedEntries), this.#appliesUnstable());
  }

  #ownResponses(work: Ready): Message[] {
    const { raft } = this;
    const responses = raft.outbox.messagesAfterAppend.filter(({ to }) => to === raft.id);
    if (this.#wantsAppendResponse(work)) responses.push(this.#appendResponse(work));
    if (work.committedEntries.length > 0) responses.push(this.#applyResponse(work.committedEntries));
    return responses;
  }

  #storageMessages(work: Ready): Message[] {
    const { id, outbox } = this.raft;
    const messages: Message[] = [];
    const { entries, snapshot, hardState, committedEntries } = work;
    if (
      entries.length > 0 ||
      hardState !== undefined ||
      snapshot !== undefined ||
      outbox.messagesAfterAppend.length > 0
    ) {
      // The node's own acknowledgements come before MsgStorageAppendResp: they read terms from the unstable log.
      const responses = [...outbox.messagesAfterAppend];
      if (this.#wantsAppendResponse(work)) responses.push(this.#appendResponse(work));
      const { term, vote, commit } = hardState ?? emptyHardState;
      const to = localAppendThread;
      messages.push(
        message({ type: "MsgStorageAppend", to, from: id, entries, term, vote, commit, snapshot, responses }),
      );
    }
    if (committedEntries.length > 0) {
      const responses = [this.#applyResponse(committedEntries)];
      const to = localApplyThread;
      messages.push(message({ type: "MsgStorageApply", to, from: id, entries: committedEntries, responses }));
    }
    return messages;
  }

  #wantsAppendResponse({ snapshot }: Ready): boolean {
    return this.raft.log.hasUnstableEntries() || snapshot !== undefined;
  }

  /**
   * Attests, once all writes up to this one are durable, that the log is stable up to its present end. It names the end
   * of the log, not of this write, and is sent with every write while anything is unstable: an answer of an earlier
   * term is ignored (its entries may have been replaced meanwhile, even by equal ones whose write is not done), and the
   * write that follows each change of term makes up for it.
   */
  #appendResponse({ snapshot }: Ready): Message {
    const { id, term, log } = this.raft;
    const last = log.hasUnstableEntries() ? log.lastEntryId() : { term: 0, index: 0 };
    const fields = { to: id, from: localAppendThread, term, index: last.index, logTerm: last.term, snapshot };
    return message({ type: "MsgStorageAppendResp", ...fields });
  }

  #applyResponse(entries: readonly Entry[]): Message {
    return message({ type: "MsgStorageApplyResp", to: this.raft.id, from: localApplyThread, entries });
  }
}

function sameSoftState(one: SoftState, other: SoftState): boolean {
  return one.lead === other.lead && one.raftState === other.raftState;
}

function sameHardState(one: HardState, other: HardState): boolean {
  return one.term === other.term && one.vote === other.vote && one.commit === other.commit;
}
