/** One node of a cluster whose other members are played by the test: they send what it is given, and get what it sends. */
import { decodeConfChange } from "./conf-change.ts";
import type { RaftConfig } from "./config.ts";
import {
  type Entry,
  emptyConfState,
  type Message,
  type MessageType,
  message,
  type NodeId,
  type Ready,
} from "./messages.ts";
import { RawNode } from "./raw-node.ts";
import { MemoryStorage } from "./storage.ts";

export type Given = Partial<RaftConfig> & {
  readonly voters?: readonly NodeId[];
  readonly learners?: readonly NodeId[];
  /** The terms of its entries, from index 1 on. */
  readonly log?: readonly number[];
  readonly term?: number;
  readonly vote?: NodeId;
  readonly commit?: number;
};

export const entryOf = (index: number, term: number): Entry => ({
  index,
  term,
  type: "EntryNormal",
  data: new TextEncoder().encode(`${term}/${index}`),
});

/** Node 1 of 1, 2 and 3, without pre-vote and the check of the quorum unless they are asked for. */
export class TestNode {
  readonly storage = new MemoryStorage();
  readonly raw: RawNode;
  readonly applied: Entry[] = [];
  /** What `settle` took, in order. */
  readonly readies: Ready[] = [];

  constructor({ voters = [1, 2, 3], learners = [], log = [], term, vote = 0, commit = 0, ...config }: Given = {}) {
    const confState = { ...emptyConfState, voters, learners };
    this.storage.applySnapshot({ data: new Uint8Array(), metadata: { confState, index: 0, term: 0 } });
    this.storage.append(log.map((each, place) => entryOf(place + 1, each)));
    this.storage.setHardState({ term: term ?? log.at(-1) ?? 0, vote, commit });
    this.raw = new RawNode({
      id: 1,
      electionTicks: 10,
      heartbeatTicks: 1,
      randomElectionTicks: () => 10,
      preVote: false,
      checkQuorum: false,
      ...config,
      storage: this.storage,
    });
  }

  get raft(): RawNode["raft"] {
    return this.raw.raft;
  }

  /** The terms of all entries, from index 1 on. */
  get log(): number[] {
    const { log } = this.raft;
    return Array.from({ length: log.lastIndex() }, (_, place) => log.termOrZero(place + 1));
  }

  /** A message from a peer, in this node's term unless it says otherwise. */
  receive(type: MessageType, fields: Partial<Message> & { from: NodeId }): void {
    this.raw.step(message({ term: this.raft.term, ...fields, type, to: this.raft.id }));
  }

  tick(ticks = 1): void {
    for (let left = ticks; left > 0; left--) this.raw.tick();
  }

  /** Stores, applies and advances until nothing is left, and returns all that was sent. */
  settle(): Message[] {
    const sent: Message[] = [];
    while (this.raw.hasReady()) {
      const ready = this.raw.ready();
      this.readies.push(ready);
      if (ready.hardState !== undefined) this.storage.setHardState(ready.hardState);
      if (ready.snapshot !== undefined) this.storage.applySnapshot(ready.snapshot);
      this.storage.append(ready.entries);
      for (const entry of ready.committedEntries) {
        this.applied.push(entry);
        if (entry.type !== "EntryNormal") this.raw.applyConfChange(decodeConfChange(entry.type, entry.data));
      }
      sent.push(...ready.messages);
      this.raw.advance();
    }
    return sent;
  }

  /** Makes it the leader of the next term, by the votes of its peers. */
  lead(): this {
    this.raw.campaign();
    this.settle();
    for (const from of [2, 3]) if (this.raft.state !== "StateLeader") this.receive("MsgVoteResp", { from });
    return this;
  }

  /** A follower of `leader`, which has been heard in `term`. */
  follow(leader: NodeId, term = Math.max(1, this.raft.term)): this {
    this.receive("MsgHeartbeat", { from: leader, term });
    this.settle();
    return this;
  }
}

/** Of messages, what a test compares. */
export function briefly(messages: readonly Message[]): string[] {
  return messages.map(
    ({ type, to, reject, index, logTerm }) => `${type}->${to} ${logTerm}/${index}${reject ? " rejected" : ""}`,
  );
}
