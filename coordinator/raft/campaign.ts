/**
 * A node while it stands for election: it asks the voters, and counts (Raft, section 5.2; the pre-vote: Ongaro's thesis,
 * section 9.6). A pre-election asks whether an election could be won, and changes neither term nor vote.
 */
import { describeNode as hex } from "./describe.ts";
import { type Message, type NodeId, none } from "./messages.ts";
import { jointVote, votersOf } from "./quorum.ts";
import type { Turn, Workings } from "./role.ts";

export type CampaignKind = "preElection" | "election" | "transfer";

/** Marks the votes asked for in a campaign that the leader ordered: they are granted although it still leads. */
export const transferContext = "CampaignTransfer";

export class Campaign {
  readonly lead = none;
  readonly state: "StatePreCandidate" | "StateCandidate";
  readonly #workings: Workings;
  readonly #id: NodeId;
  readonly #term: number;
  readonly #kind: CampaignKind;
  /** The first answer of a node counts. */
  readonly #votes = new Map<NodeId, boolean>();

  /** `term`: of the node, which an election has raised before it begins, and a pre-election has not. */
  constructor(workings: Workings, term: number, kind: CampaignKind) {
    this.state = kind === "preElection" ? "StatePreCandidate" : "StateCandidate";
    this.#workings = workings;
    this.#id = workings.config.id;
    this.#term = term;
    this.#kind = kind;
  }

  ask(): void {
    const { log, outbox, tracker } = this.#workings;
    const isPreVote = this.#kind === "preElection";
    const term = isPreVote ? this.#term + 1 : this.#term;
    const last = log.lastEntryId();
    for (const to of votersOf(tracker.config.voters)) {
      if (to === this.#id) {
        // Its own vote, which counts once it is durable.
        outbox.send({ type: isPreVote ? "MsgPreVoteResp" : "MsgVoteResp", to, term });
        continue;
      }
      const type = isPreVote ? "MsgPreVote" : "MsgVote";
      this.#info(
        `${hex(this.#id)} [logterm: ${last.term}, index: ${last.index}] sent ${type} request to ${hex(to)} at term ${this.#term}`,
      );
      const context = this.#kind === "transfer" ? transferContext : "";
      outbox.send({ type, to, term, index: last.index, logTerm: last.term, context });
    }
  }

  step(m: Message): Turn {
    switch (m.type) {
      case "MsgProp":
        this.#info(`${hex(this.#id)} no leader at term ${this.#term}; dropping proposal`);
        return "proposalDropped";
      case "MsgVoteResp":
        return this.state === "StateCandidate" ? this.#onVote(m) : "stepped";
      case "MsgPreVoteResp":
        // Of an earlier stage, if this is an election.
        return this.state === "StatePreCandidate" ? this.#onVote(m) : "stepped";
      case "MsgTimeoutNow":
        this.#workings.config.logger(
          "DEBUG",
          `${hex(this.#id)} [term ${this.#term} state ${this.state}] ignored MsgTimeoutNow from ${hex(m.from)}`,
        );
        return "stepped";
      default:
        return "stepped";
    }
  }

  #onVote(m: Message): Turn {
    const rejection = m.reject ? " rejection" : "";
    this.#info(`${hex(this.#id)} received ${m.type}${rejection} from ${hex(m.from)} at term ${this.#term}`);
    if (!this.#votes.has(m.from)) this.#votes.set(m.from, !m.reject);
    const { progress, config } = this.#workings.tracker;
    const counted = [...progress].filter(([, { isLearner }]) => !isLearner).map(([id]) => this.#votes.get(id));
    const granted = counted.filter((vote) => vote === true).length;
    const rejected = counted.filter((vote) => vote === false).length;
    this.#info(`${hex(this.#id)} has received ${granted} ${m.type} votes and ${rejected} vote rejections`);
    const result = jointVote(config.voters, this.#votes);
    if (result === "VoteLost") return "campaignLost";
    return result === "VoteWon" ? "campaignWon" : "stepped";
  }

  #info(text: string): void {
    this.#workings.config.logger("INFO", text);
  }
}
