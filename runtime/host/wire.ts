/**
 * What hosts say to each other over the bus, as JSON text. Bytes from outside are unknown until one of the `read…`
 * functions has accepted them.
 */
import type { ErrorCode } from "../errors.ts";
import type { RequestNumber, Sender, Settlement } from "../inbox.ts";
import type { Json } from "../machine/codec.ts";
import type { BusChannel } from "../ports/bus.ts";
import type { Key } from "../window.ts";

/** A caller's request to one actor. Values are encoded. */
export type RequestBody =
  | { readonly op: "create"; readonly actor: string; readonly key: Key; readonly input?: Json; readonly event?: Json }
  | { readonly op: "event"; readonly actor: string; readonly key: Key; readonly event: Json }
  | { readonly op: "delete"; readonly actor: string; readonly key: Key }
  | { readonly op: "barrier"; readonly actor: string }
  | { readonly op: "purge"; readonly actor: string; readonly force: boolean }
  | { readonly op: "resume"; readonly actor: string; readonly mode: "retry" | "accept" | "discard" };

export type MessageBody = {
  readonly op: "message";
  readonly actor: string;
  readonly sender: Sender;
  readonly number: RequestNumber;
  /** The receiver's life that the sender means. */
  readonly life?: string;
  readonly items: readonly { readonly n: number; readonly event: Json }[];
  readonly settlement?: Settlement;
};

export type Body =
  | RequestBody
  | MessageBody
  | { readonly op: "settled"; readonly actor: string; readonly settlement: Settlement }
  /** A receiver asks what is settled of these senders, all of one partition. */
  | { readonly op: "ask"; readonly actor: string; readonly senders: Settlement["senders"] };

export type RequestAnswer =
  | { readonly kind: "receipt"; readonly revision: number; readonly changed: boolean; readonly duplicate: boolean }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly message: string }
  /** Surely nothing was done: ask the owner again. */
  | { readonly kind: "moved" }
  /** It may have been done. */
  | { readonly kind: "unknown" };

export type MessageAnswer =
  | {
      readonly kind: "message";
      readonly upTo: number;
      readonly dead: readonly { readonly n: number; readonly reason: string }[];
    }
  | { readonly kind: "renumber"; readonly floor: RequestNumber }
  | { readonly kind: "life"; readonly life: string }
  | { readonly kind: "later" };

export function encodeMessage(
  actor: string,
  sender: Sender,
  number: RequestNumber,
  items: readonly { readonly n: number; readonly eventText: string }[],
  life: string | undefined,
  settlement: Settlement | undefined,
): string {
  const list = items.map(({ n, eventText }) => `{"n":${n},"event":${eventText}}`).join();
  const report = settlement === undefined ? "" : `,"settlement":${JSON.stringify(settlement)}`;
  const meant = life === undefined ? "" : `,"life":${JSON.stringify(life)}`;
  return `{"op":"message","actor":${JSON.stringify(actor)},"sender":${JSON.stringify(sender)},"number":[${number}]${meant},"items":[${list}]${report}}`;
}

export function encodeSettled(actor: string, settlement: Settlement): string {
  return JSON.stringify({ op: "settled", actor, settlement });
}

/** A request as it came over the bus, or undefined when it is none that this runtime understands. */
export function readBody(text: string): Body | undefined {
  const value = parse(text);
  if (value === undefined || typeof value.actor !== "string") return undefined;
  const check = Object.hasOwn(bodies, String(value.op)) ? bodies[value.op as Body["op"]] : undefined;
  return check?.(value) ? (value as unknown as Body) : undefined;
}

/** Through which of the bus's doors a request comes in; at another it is refused. */
export function channelOf(op: Body["op"]): BusChannel {
  switch (op) {
    case "purge":
    case "resume":
      return "operator";
    case "message":
    case "settled":
    case "ask":
      return "node";
    default:
      return "client";
  }
}

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isText = (value: unknown): boolean => typeof value === "string" && value.length <= 1_000;
const isEvent = (value: unknown): boolean => isObject(value) && isText(value.type);
const isNumber = (value: unknown): boolean => Array.isArray(value) && value.length === 3 && value.every(isCount);
const isListOf = (check: (value: unknown) => boolean) => (value: unknown) => Array.isArray(value) && value.every(check);

const isKey = (value: unknown): boolean =>
  isObject(value) &&
  ((value.kind === "caller" &&
    typeof value.key === "string" &&
    value.key.length > 0 &&
    value.key.length <= longestKey) ||
    (value.kind === "auto" && isText(value.client) && isCount(value.number) && isCount(value.low)));

const areSenders = isListOf((one) => isObject(one) && isText(one.key) && isText(one.born) && isCount(one.upTo));

const isSettlement = (value: unknown): boolean =>
  isObject(value) && isCount(value.partition) && isNumber(value.floor) && areSenders(value.senders);

const isSender = (value: unknown): boolean =>
  isObject(value) && isText(value.key) && isText(value.born) && isCount(value.partition);

/** Longer than any limit that a type may set for its callers' keys. */
const longestKey = 1_000;

const bodies: Record<Body["op"], (body: Fields) => boolean> = {
  create: (body) => isKey(body.key) && (body.event === undefined || isEvent(body.event)),
  event: (body) => isKey(body.key) && isEvent(body.event),
  delete: (body) => isKey(body.key),
  barrier: () => true,
  purge: (body) => typeof body.force === "boolean",
  resume: (body) => ["retry", "accept", "discard"].includes(String(body.mode)),
  message: (body) =>
    isSender(body.sender) &&
    isNumber(body.number) &&
    (body.life === undefined || isText(body.life)) &&
    (body.settlement === undefined || isSettlement(body.settlement)) &&
    isListOf((item) => isObject(item) && isCount(item.n) && isEvent(item.event))(body.items),
  settled: (body) => isSettlement(body.settlement),
  ask: (body) => areSenders(body.senders),
};

export function readMessageAnswer(text: string): MessageAnswer | undefined {
  const value = parse(text);
  if (value?.kind === "message" && typeof value.upTo === "number" && Array.isArray(value.dead))
    return value as unknown as MessageAnswer;
  const known =
    (value?.kind === "renumber" && Array.isArray(value.floor)) ||
    (value?.kind === "life" && typeof value.life === "string") ||
    value?.kind === "later";
  return known ? (value as unknown as MessageAnswer) : undefined;
}

export function readRequestAnswer(text: string): RequestAnswer | undefined {
  const value = parse(text);
  return typeof value?.kind === "string" ? (value as unknown as RequestAnswer) : undefined;
}

export function readSettlement(text: string): Settlement | undefined {
  const value = parse(text);
  return value !== undefined && Array.isArray(value.floor) && Array.isArray(value.senders)
    ? (value as unknown as Settlement)
    : undefined;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
