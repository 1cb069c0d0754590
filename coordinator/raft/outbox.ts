/**
 * What a node wants to leave it: messages, and reads that may be served. Knows which messages must wait for the disk,
 * and gives each its sender and its term.
 */
import { assertRaft } from "./invariant.ts";
import { type Message, type MessageType, message, type NodeId, none, type ReadState } from "./messages.ts";

/** These tell others what this node has made durable, so they are sent only after that is so. */
const sentAfterAppend: ReadonlySet<MessageType> = new Set(["MsgAppResp", "MsgVoteResp", "MsgPreVoteResp"]);
/** These are sent with a term that need not be ours. */
const carriesOwnTerm: ReadonlySet<MessageType> = new Set(["MsgVote", "MsgVoteResp", "MsgPreVote", "MsgPreVoteResp"]);
/** These are passed on to the leader as if they had been asked there. */
const withoutTerm: ReadonlySet<MessageType> = new Set(["MsgProp", "MsgReadIndex"]);

export class Outbox {
  /** To others, may be sent at once. */
  messages: Message[] = [];
  /** To others and to this node, to be sent once all that is unstable now is durable. */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];
  readonly #id: NodeId;
  readonly #term: () => number;

  /** `term`: that of the node, at the moment. */
  constructor(id: NodeId, term: () => number) {
    this.#id = id;
    this.#term = term;
  }

  send(fields: Partial<Message> & Pick<Message, "type">): void {
    const { type } = fields;
    const given = message(fields);
    const hasTerm = given.term !== 0;
    assertRaft(hasTerm === carriesOwnTerm.has(type), () => `term ${given.term} when sending ${type}`);
    const sent = {
      ...given,
      from: given.from === none ? this.#id : given.from,
      term: hasTerm || withoutTerm.has(type) ? given.term : this.#term(),
    };
    if (sentAfterAppend.has(type)) {
      this.messagesAfterAppend.push(sent);
      return;
    }
    assertRaft(sent.to !== this.#id, () => `message should not be self-addressed when sending ${type}`);
    this.messages.push(sent);
  }

  /** All of it was taken over by the driver. */
  clear(): void {
    this.messages = [];
    this.messagesAfterAppend = [];
    this.readStates = [];
  }
}
