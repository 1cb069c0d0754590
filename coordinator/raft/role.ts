/** What a follower, a campaign and a leader have in common: each lives for at most one term, and is told messages. */
import type { FullRaftConfig } from "./config.ts";
import type { RaftLog } from "./log.ts";
import type { Outbox } from "./outbox.ts";
import type { ProgressTracker } from "./tracker/tracker.ts";

/** Dropped: there is no leader to take it, or it takes no more at present. Ask again later, or elsewhere. */
export type StepOutcome = "stepped" | "proposalDropped";

/** What a message to a role means for the node: whoever holds term, vote and time acts on it, not the role. */
export type Turn =
  | StepOutcome
  /** To a follower: stand for election now, the leader wants it. */
  | "calledToLead"
  | "campaignWon"
  | "campaignLost"
  /** Of a leader: no quorum was heard of lately. */
  | "quorumLost"
  /** Of a leader: whoever is to take over has one election time-out for it, from now on. */
  | "transferBegun";

/** What outlives every role of a node. Its term, its vote and its time are not in here: they are `Raft`'s alone. */
export type Workings = {
  readonly config: FullRaftConfig;
  readonly log: RaftLog;
  readonly tracker: ProgressTracker;
  readonly outbox: Outbox;
};
