/**
 * What members say to each other, as frames: messages of the core, requests for the leader, and the repair of a damaged
 * log. A frame is a kind, the sender's epoch, a head of JSON and the bytes that it counts; what is no such thing is dropped
 * whole.
 */
import { decodeLeaseEntry, encodeLeaseEntry, type Renewal, type Request } from "../../lease/entry.ts";
import {
  type ConfState,
  type Entry,
  type Message,
  type MessageType,
  message,
  type Snapshot,
} from "../../raft/messages.ts";

export type Frame =
  | { readonly kind: "raft"; readonly message: Message }
  /** To be proposed by whoever leads. Answered by the log itself: who asked sees the entry applied. */
  | { readonly kind: "ask"; readonly renewals: readonly Renewal[]; readonly requests: readonly Request[] }
  /** From a member whose log is damaged, to everybody. */
  | { readonly kind: "repair"; readonly neededIndex: number }
  /** The state of a member that has applied at least so much. */
  | { readonly kind: "repaired"; readonly snapshot: Snapshot }
  /** A change of the membership, for whoever leads. Done, the log itself answers; else the leader says why not. */
  | { readonly kind: "manage"; readonly ask: string; readonly wish: Wish }
  | { readonly kind: "refused"; readonly ask: string; readonly reason: string }
  /** To one that must not take part in this cluster any more. */
  | { readonly kind: "foreign"; readonly reason: string };

export type Wish =
  /** As a learner, which is made a voter once it has caught up: in the place of another, if it replaces one. */
  | { readonly kind: "add"; readonly id: number; readonly address: string; readonly replaces: number }
  | { readonly kind: "remove"; readonly id: number }
  | { readonly kind: "transfer"; readonly id: number }
  /** Where a member is reached, and the folder that it lives in. */
  | { readonly kind: "announce"; readonly id: number; readonly address: string; readonly life: string };

const kinds = ["raft", "ask", "repair", "repaired", "manage", "refused", "foreign"] as const;
/** The kind, the epoch, and the length of the head. */
const preambleBytes = 9;

/** The frame was made by no release of ours, or damaged on its way. */
export class UnreadableFrame extends Error {
  override readonly name = "UnreadableFrame";
}

const messageTypes: ReadonlySet<string> = new Set<MessageType>([
  "MsgProp",
  "MsgApp",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgSnap",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgTransferLeader",
  "MsgTimeoutNow",
  "MsgReadIndex",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
]);
/** Passed on to the leader as if they had been asked there. */
const withoutTerm: ReadonlySet<string> = new Set<MessageType>(["MsgProp", "MsgReadIndex"]);
const entryTypes = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"] as const;

/** `epoch`: the sender's. 0: it knows nothing of its cluster yet. */
export function encodeFrame(frame: Frame, epoch = 0): Uint8Array {
  const bytes = encode(frame);
  new DataView(bytes.buffer).setUint32(1, epoch);
  return bytes;
}

/** Whatever else the frame is. */
export function epochOf(bytes: Uint8Array): number {
  if (bytes.length < preambleBytes) throw new UnreadableFrame("a frame of no known kind");
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

function encode(frame: Frame): Uint8Array {
  switch (frame.kind) {
    case "raft":
      return encodeMessage(frame.message);
    case "ask":
      return join("ask", {}, [encodeLeaseEntry({ atMs: 0, renewals: frame.renewals, requests: frame.requests })]);
    case "repair":
      return join("repair", { neededIndex: frame.neededIndex }, []);
    case "repaired":
      return join("repaired", frame.snapshot.metadata, [frame.snapshot.data]);
    case "manage":
      return join("manage", { ask: frame.ask, wish: frame.wish }, []);
    case "refused":
      return join("refused", { ask: frame.ask, reason: frame.reason }, []);
    case "foreign":
      return join("foreign", { reason: frame.reason }, []);
  }
}

/** Throws UnreadableFrame, or UnknownLeaseEntry. */
export function decodeFrame(bytes: Uint8Array): Frame {
  const { kind, head, data } = split(bytes);
  switch (kind) {
    case "raft":
      return { kind, message: decodeMessage(head, data) };
    case "ask": {
      const { renewals, requests } = decodeLeaseEntry(data);
      return { kind, renewals, requests };
    }
    case "repair":
      return { kind, neededIndex: number(head.neededIndex) };
    case "repaired":
      return { kind, snapshot: { data, metadata: metadataOf(head) } };
    case "manage":
      return { kind, ask: text(head.ask), wish: wishOf(object(head.wish)) };
    case "refused":
      return { kind, ask: text(head.ask), reason: text(head.reason) };
    case "foreign":
      return { kind, reason: text(head.reason) };
  }
}

function wishOf(row: Readonly<Record<string, unknown>>): Wish {
  const { kind } = row;
  const id = number(row.id);
  switch (kind) {
    case "add":
      return { kind, id, address: text(row.address), replaces: number(row.replaces) };
    case "remove":
    case "transfer":
      return { kind, id };
    case "announce":
      return { kind, id, address: text(row.address), life: text(row.life) };
    default:
      throw new UnreadableFrame("a wish of no known kind");
  }
}

function encodeMessage(m: Message): Uint8Array {
  const { entries, snapshot, responses: _, ...head } = m;
  const rows = entries.map(({ type, term, index, data }) => [entryTypes.indexOf(type), term, index, data.length]);
  const parts = entries.map(({ data }) => data);
  if (snapshot !== undefined) parts.push(snapshot.data);
  const sent: Record<string, unknown> = { entries: rows, ...(snapshot && { snapshot: snapshot.metadata }) };
  for (const [name, value] of Object.entries(head))
    if (value !== 0 && value !== false && value !== "") sent[name] = value;
  return join("raft", sent, parts);
}

function decodeMessage(head: Readonly<Record<string, unknown>>, data: Uint8Array): Message {
  const { type } = head;
  if (typeof type !== "string" || !messageTypes.has(type)) throw new UnreadableFrame("no message between members");
  let at = 0;
  const take = (length: number) => {
    if (at + length > data.length) throw new UnreadableFrame("a message is cut short");
    at += length;
    return data.slice(at - length, at);
  };
  const entries = list(head.entries).map((row): Entry => {
    const [kind, term, index, length] = list(row).map(number);
    const entryType = entryTypes[kind ?? -1];
    if (entryType === undefined) throw new UnreadableFrame("an entry of no known type");
    return { type: entryType, term: number(term), index: number(index), data: take(number(length)) };
  });
  const snapshot =
    head.snapshot === undefined ? undefined : { metadata: metadataOf(head.snapshot), data: data.slice(at) };
  const term = number(head.term ?? 0);
  // The core would take such a message for one of its own term, and the term is what must never fall.
  if ((term === 0) !== withoutTerm.has(type)) throw new UnreadableFrame(`${type} of term ${term}`);
  if (type === "MsgSnap" && snapshot === undefined) throw new UnreadableFrame("MsgSnap without a snapshot");
  return message({
    type: type as MessageType,
    to: number(head.to),
    from: number(head.from),
    term,
    logTerm: number(head.logTerm ?? 0),
    index: number(head.index ?? 0),
    commit: number(head.commit ?? 0),
    rejectHint: number(head.rejectHint ?? 0),
    reject: head.reject === true,
    context: typeof head.context === "string" ? head.context : "",
    entries,
    snapshot,
  });
}

function metadataOf(value: unknown): Snapshot["metadata"] {
  const { index, term, confState } = object(value);
  const { voters, learners, votersOutgoing, learnersNext, autoLeave } = object(confState);
  const ids = (of: unknown) => list(of).map(number);
  const members: ConfState = {
    voters: ids(voters),
    learners: ids(learners),
    votersOutgoing: ids(votersOutgoing),
    learnersNext: ids(learnersNext),
    autoLeave: autoLeave === true,
  };
  return { index: number(index), term: number(term), confState: members };
}

function join(kind: Frame["kind"], head: object, parts: readonly Uint8Array[]): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(preambleBytes + text.length + parts.reduce((total, { length }) => total + length, 0));
  bytes[0] = kinds.indexOf(kind);
  new DataView(bytes.buffer).setUint32(5, text.length);
  bytes.set(text, preambleBytes);
  let at = preambleBytes + text.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function split(bytes: Uint8Array) {
  const kind = kinds[bytes[0] ?? -1];
  if (kind === undefined || bytes.length < preambleBytes) throw new UnreadableFrame("a frame of no known kind");
  const end = preambleBytes + new DataView(bytes.buffer, bytes.byteOffset).getUint32(5);
  if (end > bytes.length) throw new UnreadableFrame("a frame is cut short");
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(preambleBytes, end));
    return { kind, head: object(JSON.parse(text)), data: bytes.slice(end) };
  } catch (cause) {
    throw new UnreadableFrame("the head of a frame is no JSON", { cause });
  }
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null)
    throw new UnreadableFrame("something else in the place of an object");
  return value as Record<string, unknown>;
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new UnreadableFrame("something else in the place of a list");
  return value;
}

/** Names and addresses: short ones. */
function text(value: unknown): string {
  if (typeof value !== "string" || value.length > 500)
    throw new UnreadableFrame("something else in the place of a text");
  return value;
}

function number(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw new UnreadableFrame(`${String(value)} in the place of a number`);
  return value;
}
