/**
 * What a node of the consensus core is made with. Times are in ticks of its driver; no dice are rolled inside: each
 * election time-out is asked for. Pre-vote, the check of the quorum and stepping down on removal are on unless a test of
 * the protocol turns them off: a cluster without them can be kept without a leader by one node that is cut off.
 */
import { type NodeId, none } from "./messages.ts";
import type { Storage } from "./storage.ts";

export type LogLevel = "DEBUG" | "INFO" | "WARN" | "ERROR";
/** Told what the core decides and why, in etcd's words. Must not call back into the core. */
export type Logger = (level: LogLevel, text: string) => void;

/** Safe: asks a quorum. Lease-based: trusts the clocks of all nodes to run alike; never use it where that matters. */
export type ReadOnlyOption = "safe" | "leaseBased";

export type RaftConfig = {
  readonly id: NodeId;
  /** Without a word from the leader for this long, others may be voted for. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** How long until this node stands for election, asked anew at each change of its state: [electionTicks, twice that). */
  readonly randomElectionTicks: () => number;
  readonly storage: Storage;
  /** What the state machine has already applied, when a node starts again. */
  readonly applied?: number;
  /** The driver gets MsgStorageAppend and MsgStorageApply, and returns their responses, instead of calling `advance`. */
  readonly asyncStorageWrites?: boolean;
  /** Of one append message; one entry may exceed it. Zero: one entry in each. */
  readonly maxMessageBytes?: number;
  /** Of committed entries handed out and not yet applied. */
  readonly maxCommittedBytes?: number;
  /** Of proposals not yet committed: beyond it, proposals are dropped. One alone is always taken. */
  readonly maxUncommittedBytes?: number;
  readonly maxInflightMessages?: number;
  readonly maxInflightBytes?: number;
  readonly checkQuorum?: boolean;
  readonly preVote?: boolean;
  readonly readOnly?: ReadOnlyOption;
  /** Followers drop proposals: for state machines whose leader computes something (the time) into them. */
  readonly disableProposalForwarding?: boolean;
  readonly disableConfChangeValidation?: boolean;
  readonly stepDownOnRemoval?: boolean;
  readonly logger?: Logger;
};

export type FullRaftConfig = Required<RaftConfig>;

const unlimited = Number.POSITIVE_INFINITY;

/** With all defaults filled in; throws a RangeError that says what is wrong. */
export function fullConfig(config: RaftConfig): FullRaftConfig {
  const maxMessageBytes = config.maxMessageBytes ?? unlimited;
  const full: FullRaftConfig = {
    applied: 0,
    asyncStorageWrites: false,
    maxUncommittedBytes: unlimited,
    maxInflightMessages: 256,
    maxInflightBytes: unlimited,
    checkQuorum: true,
    preVote: true,
    readOnly: "safe",
    disableProposalForwarding: false,
    disableConfChangeValidation: false,
    stepDownOnRemoval: true,
    logger: () => {},
    ...config,
    maxMessageBytes,
    maxCommittedBytes: config.maxCommittedBytes ?? Math.max(1, maxMessageBytes),
  };
  const wrong = wrongIn(full);
  if (wrong !== undefined) throw new RangeError(wrong);
  return full;
}

function wrongIn(config: FullRaftConfig): string | undefined {
  if (config.id === none) return "cannot use none as id";
  if (!Number.isSafeInteger(config.id) || config.id < 0) return "an id is a positive safe integer";
  if (!(config.heartbeatTicks > 0)) return "heartbeat tick must be greater than 0";
  if (!(config.electionTicks > config.heartbeatTicks)) return "election tick must be greater than heartbeat tick";
  // At zero, nothing would ever be handed out.
  if (!(config.maxCommittedBytes > 0)) return "max committed bytes must be greater than 0";
  if (!(config.maxInflightMessages > 0)) return "max inflight messages must be greater than 0";
  if (config.maxInflightBytes < config.maxMessageBytes && config.maxInflightBytes !== unlimited)
    return "max inflight bytes must be >= max message size";
  if (config.readOnly === "leaseBased" && !config.checkQuorum)
    return "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased";
  return undefined;
}
