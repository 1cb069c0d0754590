/**
 * The data of the consensus core: entries, hard state, snapshots, and the messages between nodes and to the local
 * storage threads. Names and meaning are those of etcd-io/raft, so that its scenario files can judge the core. All of
 * it is plain data that may be logged, encoded and compared; nothing here does anything.
 */

/** Identity of a node within its cluster: a positive safe integer that is never used again after its removal. */
export type NodeId = number;

/** No node: no leader is known, no vote was cast. */
export const none: NodeId = 0;
/** Addressee of MsgStorageAppend: whoever makes log entries, hard state and snapshots durable on this node. */
export const localAppendThread: NodeId = -1;
/** Addressee of MsgStorageApply: whoever applies committed entries to this node's state machine. */
export const localApplyThread: NodeId = -2;

export type EntryType = "EntryNormal" | "EntryConfChange" | "EntryConfChangeV2";

/** One entry of the replicated log. Empty `data` of type EntryNormal is a leader's first entry: apply nothing. */
export type Entry = {
  readonly term: number;
  readonly index: number;
  readonly type: EntryType;
  readonly data: Uint8Array;
};

/** What must be durable before any answer that follows from it is sent. `commit` alone may be written lazily. */
export type HardState = { readonly term: number; readonly vote: NodeId; readonly commit: number };

export const emptyHardState: HardState = { term: 0, vote: none, commit: 0 };

/** The membership at one index of the log. A joint configuration has `votersOutgoing`. */
export type ConfState = {
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  readonly autoLeave: boolean;
};

export const emptyConfState: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

/** The state machine, and the membership, after the entry at `metadata.index` was applied. */
export type Snapshot = {
  readonly data: Uint8Array;
  readonly metadata: { readonly confState: ConfState; readonly index: number; readonly term: number };
};

export type MessageType =
  | "MsgHup"
  | "MsgBeat"
  | "MsgProp"
  | "MsgApp"
  | "MsgAppResp"
  | "MsgVote"
  | "MsgVoteResp"
  | "MsgSnap"
  | "MsgHeartbeat"
  | "MsgHeartbeatResp"
  | "MsgUnreachable"
  | "MsgSnapStatus"
  | "MsgCheckQuorum"
  | "MsgTransferLeader"
  | "MsgTimeoutNow"
  | "MsgReadIndex"
  | "MsgReadIndexResp"
  | "MsgPreVote"
  | "MsgPreVoteResp"
  | "MsgStorageAppend"
  | "MsgStorageAppendResp"
  | "MsgStorageApply"
  | "MsgStorageApplyResp"
  | "MsgForgetLeader";

/** A message between two nodes, or between a node and its own storage threads. Unused fields hold their zero value. */
export type Message = {
  readonly type: MessageType;
  readonly to: NodeId;
  readonly from: NodeId;
  /** Zero in local messages and in proposals and reads that are forwarded to the leader. */
  readonly term: number;
  /** MsgApp: the term of the entry before the first one. MsgVote: of the last entry. MsgAppResp: of the hint. */
  readonly logTerm: number;
  readonly index: number;
  readonly entries: readonly Entry[];
  readonly commit: number;
  /** MsgStorageAppend only: with `term` and `commit`, the hard state to store; all three zero: none. */
  readonly vote: NodeId;
  readonly snapshot: Snapshot | undefined;
  readonly reject: boolean;
  readonly rejectHint: number;
  /** A read request's own name, or the mark of a campaign that was ordered by the leader. */
  readonly context: string;
  /** MsgStorageAppend, MsgStorageApply: to be delivered, in order, once the write is done (and durable, for append). */
  readonly responses: readonly Message[];
};

const zero: Message = {
  type: "MsgHup",
  to: none,
  from: none,
  term: 0,
  logTerm: 0,
  index: 0,
  entries: [],
  commit: 0,
  vote: none,
  snapshot: undefined,
  reject: false,
  rejectHint: 0,
  context: "",
  responses: [],
};

/** A message with the given fields, and the zero value in all others. */
export function message(fields: Partial<Message> & Pick<Message, "type">): Message {
  return { ...zero, ...fields };
}

export type RaftState = "StateFollower" | "StateCandidate" | "StateLeader" | "StatePreCandidate";

/** What may change at any time and is never stored. */
export type SoftState = { readonly lead: NodeId; readonly raftState: RaftState };

/** A read may be served once the state machine has applied `index`. */
export type ReadState = { readonly index: number; readonly requestContext: string };

/**
 * What the core wants done. Without async storage writes, in this order: make `snapshot`, `entries` and `hardState`
 * durable; send `messages`; apply `snapshot` and `committedEntries`; call `advance`. With async storage writes the
 * fields say what is in `messages`, and those addressed to the local threads are the orders.
 */
export type Ready = {
  /** Undefined: as before. */
  readonly softState: SoftState | undefined;
  /** Undefined: as before. */
  readonly hardState: HardState | undefined;
  readonly readStates: readonly ReadState[];
  /** To be appended to the stored log, in place of whatever is stored from the first of them on. */
  readonly entries: readonly Entry[];
  /** To be stored and applied before anything else of this Ready. */
  readonly snapshot: Snapshot | undefined;
  /** To be applied to the state machine; stored already, or in `entries`. */
  readonly committedEntries: readonly Entry[];
  /** Not to be sent before `entries`, `hardState` and `snapshot` are durable (unless async storage writes are on). */
  readonly messages: readonly Message[];
  /** Whether the write must be flushed; false: nothing in it was promised to anybody. */
  readonly mustSync: boolean;
};

export type ConfChangeType =
  | "ConfChangeAddNode"
  | "ConfChangeRemoveNode"
  | "ConfChangeUpdateNode"
  | "ConfChangeAddLearnerNode";

export type ConfChangeSingle = { readonly type: ConfChangeType; readonly nodeId: NodeId };

/**
 * How a change is made. Auto: directly if one change is all, else jointly. JointImplicit: jointly, left by itself.
 * JointExplicit: jointly, left by a further, empty change.
 */
export type ConfChangeTransition =
  | "ConfChangeTransitionAuto"
  | "ConfChangeTransitionJointImplicit"
  | "ConfChangeTransitionJointExplicit";

/** The older form: one change, made directly. `context` is the proposer's own, such as the address of a new member. */
export type ConfChangeV1 = {
  readonly kind: "v1";
  readonly type: ConfChangeType;
  readonly nodeId: NodeId;
  readonly context: string;
};

/** Any number of changes made at once. No changes, and Auto: leave the joint configuration. */
export type ConfChangeV2 = {
  readonly kind: "v2";
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  readonly context: string;
};

export type ConfChange = ConfChangeV1 | ConfChangeV2;
