/**
 * What hosts say to each other over the bus, as JSON text. Bytes from outside are unknown until one of the `read…`
 * functions has accepted them.
 */
import { type ErrorCode, errorOf } from "../errors.ts";
import type { RequestNumber, Sender, Settlement } from "../inbox.ts";
import type { Json } from "../machine/codec.ts";
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

export function readBody(text: string): Body | undefined {
  const value = parse(text);
  const known = ["create", "event", "delete", "barrier", "purge", "resume", "message", "settled", "ask"];
  if (value === undefined || typeof value.actor !== "string" || !known.includes(String(value.op))) return undefined;
  return value as unknown as Body;
}

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

/** The error that a refused answer carries over the wire. */
export function errorFromAnswer(answer: Extract<RequestAnswer, { kind: "refused" }>): Error {
  return errorOf(answer.code, answer.message);
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
