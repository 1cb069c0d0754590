/**
 * The active membership, and what is known of each member. Members are visited by
 * ascending id, so that what a leader sends has one order.
 */
import type { ConfState, NodeId } from "../messages.ts";
import {
  describeIds,
  describeJoint,
  emptyMajority,
  type Joint,
  jointCommitted,
  jointVote,
  type Majority,
  sortedIds,
} from "../quorum.ts";
import { Inflights } from "./inflights.ts";
import { Progress } from "./progress.ts";

/**
 * A membership. Learners and voters (of either half) do not overlap; an outgoing voter that is to become a learner waits
 * in `learnersNext` until the joint configuration is left.
 */
export type TrackedConfig = {
  readonly voters: Joint;
  readonly learners: Majority;
  readonly learnersNext: Majority;
  readonly autoLeave: boolean;
};

export type ProgressMap = ReadonlyMap<NodeId, Progress>;

const emptyConfig: TrackedConfig = {
  voters: { incoming: emptyMajority, outgoing: emptyMajority },
  learners: emptyMajority,
  learnersNext: emptyMajority,
  autoLeave: false,
};

export class ProgressTracker {
  config: TrackedConfig = emptyConfig;
  #progress: ProgressMap = new Map();
  readonly #maxInflightCount: number;
  readonly #maxInflightBytes: number;

  constructor(maxInflightCount: number, maxInflightBytes: number) {
    this.#maxInflightCount = maxInflightCount;
    this.#maxInflightBytes = maxInflightBytes;
  }

  get progress(): ProgressMap {
    return this.#progress;
  }

  /** Kept by ascending id. */
  set progress(progress: ProgressMap) {
    this.#progress = new Map([...progress].sort(([a], [b]) => a - b));
  }

  /** Back to no members at all. */
  reset(): void {
    this.config = emptyConfig;
    this.#progress = new Map();
  }

  newInflights(): Inflights {
    return new Inflights(this.#maxInflightCount, this.#maxInflightBytes);
  }

  /** Of the logs of others nothing is known any more; this node has its own up to `lastIndex`. */
  forgetProgress(self: NodeId, lastIndex: number): void {
    this.progress = new Map(
      [...this.#progress].map(([id, { isLearner }]) => {
        const match = id === self ? lastIndex : 0;
        return [id, new Progress({ match, next: lastIndex + 1, isLearner, inflights: this.newInflights() })];
      }),
    );
  }

  confState(): ConfState {
    const { voters, learners, learnersNext, autoLeave } = this.config;
    return {
      voters: sortedIds(voters.incoming),
      votersOutgoing: sortedIds(voters.outgoing),
      learners: sortedIds(learners),
      learnersNext: sortedIds(learnersNext),
      autoLeave,
    };
  }

  /** The highest index that the voters have acknowledged, as far as the leader knows. */
  committed(): number {
    return jointCommitted(this.config.voters, (id) => this.#progress.get(id)?.match);
  }

  quorumActive(): boolean {
    const active = new Map<NodeId, boolean>();
    for (const [id, { isLearner, recentActive }] of this.#progress) if (!isLearner) active.set(id, recentActive);
    return jointVote(this.config.voters, active) === "VoteWon";
  }
}

/** `voters=(1 2)&&(2 3) learners=(4) learners_next=(3) autoleave` */
export function describeConfig(config: TrackedConfig): string {
  const parts = [`voters=${describeJoint(config.voters)}`];
  if (config.learners.size > 0) parts.push(`learners=${describeIds(config.learners)}`);
  if (config.learnersNext.size > 0) parts.push(`learners_next=${describeIds(config.learnersNext)}`);
  if (config.autoLeave) parts.push("autoleave");
  return parts.join(" ");
}
