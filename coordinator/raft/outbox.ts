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
    const sent = message({
      ...fields,
      from: fields.from === undefined || fields.from === none ? this.#id : fields.from,
    });
    const hasTerm = sent.term !== 0;
    assertRaft(hasTerm === carriesOwnTerm.has(sent.type), () => `term ${sent.term} when sending ${sent.type}`);
    const stamped = hasTerm || withoutTerm.has(sent.type) ? sent : { ...sent, term: this.#term() };
    if (sentAfterAppend.has(stamped.type)) {
      this.messagesAfterAppend.push(stamped);
      return;
    }
    assertRaft(stamped.to !== this.#id, () => `message should not be self-addressed when sending ${stamped.type}`);
    this.messages.push(stamped);
  }

  /** All of it was taken over by the driver. */
  clear(): void {
    this.messages = [];
    this.messagesAfterAppend = [];
    this.readStates = [];
  }
}
