/**
 * The persisted form of one root actor: one JSON object that holds everything that must survive (state of the whole
 * tree, timers, pending effects and messages, idempotency window). Reading checks every field that the runtime relies
 * on; a document that fails is damaged and is never written over.
 */
import type { InboxRecord } from "./inbox.ts";
import type { ActionAddress } from "./machine/addresses.ts";
import type { Json } from "./machine/codec.ts";
import type { Sid } from "./machine/system.ts";
import type { ActorRecord, TimerRecord } from "./machine/tree.ts";
import type { Token } from "./ports/store.ts";
import type { WindowRecord } from "./window.ts";

/** Grows when a node of the version before could misread a document. */
export const formatVersion = 1;

export type DocumentStatus = "active" | "done" | "error" | "stopped" | "deleted";

/** The full input of a commit, for people and for replay; a type's redaction hook may have changed it. */
export type Cause = { readonly type: string; readonly [field: string]: Json };

/** A pending effect or message. `n` is its number for ever: part of its key, and of a message's identity. */
export type OutboxRecord =
  | {
      readonly n: number;
      readonly do: "action";
      readonly by?: Sid;
      /** The action's name, or `at` for an inline one. */
      readonly type: string;
      readonly at?: ActionAddress;
      readonly params?: Json;
      /** Of an action made by `enqueueActions`: what to make it again with. */
      readonly calls?: Json;
      readonly event: Json;
      /** Absent: the actor's present context. */
      readonly context?: Json;
      readonly attempt?: number;
      readonly due?: string;
    }
  | { readonly n: number; readonly do: "start"; readonly by: Sid; readonly attempt?: number; readonly due?: string }
  | { readonly n: number; readonly do: "emit"; readonly event: Json }
  | { readonly n: number; readonly do: "send"; readonly to: readonly [type: string, id: string]; readonly event: Json };

/** A message that can never be delivered, with the reason. */
export type DeadLetter = {
  readonly n: number;
  readonly to: readonly [type: string, id: string];
  readonly event: Json;
  readonly reason: string;
  readonly at: string;
};

export type Document = {
  readonly id: string;
  readonly type: string;
  /** The state value in one line: leaf paths, joined by commas. For people and for `list`. */
  readonly state: string;
  readonly status: DocumentStatus;
  /**
   * When it was committed, by the owner's clock; never before the document it replaces, unless that is more than 5 s
   * ahead of this clock: then 5 s ahead of it. ISO 8601, UTC.
   */
  readonly at: string;
  /** Commits in this life, from 1. The actor's own revision, which receipts name. */
  readonly seq: number;
  readonly format: number;
  readonly causes: readonly Cause[];
  /** Identity of this life, part of every effect key. */
  readonly born: string;
  readonly token: Token;
  readonly commit: string;
  readonly machine: { readonly version: number; readonly hash: string };
  readonly tags?: readonly string[];
  readonly actors: Readonly<Record<Sid, ActorRecord>>;
  readonly timers: Readonly<Record<string, TimerRecord>>;
  readonly outbox: readonly OutboxRecord[];
  readonly seen: WindowRecord;
  readonly next: readonly [sid: number, n: number];
  readonly inbox?: InboxRecord;
  readonly dead?: { readonly count: number; readonly last: readonly DeadLetter[] };
  /** When retention removes it. */
  readonly expires?: string;
  /** Of a tombstone: what the actor had put out when it was deleted. */
  readonly output?: Json;
  /** W3C traceparents: of what led to the first commit of this life that had one, and to the latest. */
  readonly origin?: string;
  readonly trace?: string;
};

/** A stored value that is no document, or not a whole one. It is left as it is, and its actor parked. */
export class DamagedDocumentError extends Error {
  override readonly name = "DamagedDocumentError";
}

/** A document of a newer format or machine version than this node has. Left alone: a newer node will take it. */
export class NewerDocumentError extends Error {
  override readonly name = "NewerDocumentError";
}

export function readDocument(text: string): Document {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new DamagedDocumentError(`it is not JSON: ${(thrown as Error).message}`, { cause: thrown });
  }
  if (!isObject(value)) throw new DamagedDocumentError("it is not a JSON object");
  const { format } = value;
  if (typeof format === "number" && format > formatVersion) {
    throw new NewerDocumentError(`it has format ${format}; this version of the runtime reads up to ${formatVersion}`);
  }
  for (const [field, check] of Object.entries(checks)) {
    if (!check(value[field])) throw new DamagedDocumentError(`its field "${field}" is missing or wrong`);
  }
  return value as unknown as Document;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isInstant = (value: unknown): boolean => isText(value) && !Number.isNaN(Date.parse(value));
const isPair = (value: unknown): boolean => Array.isArray(value) && value.length === 2 && value.every(isCount);
const optional = (check: (value: unknown) => boolean) => (value: unknown) => value === undefined || check(value);
const statuses = new Set<unknown>(["active", "done", "error", "stopped", "deleted"]);

const isOutboxItem = (item: unknown): boolean =>
  isObject(item) &&
  isCount(item.n) &&
  isText(item.do) &&
  optional(isInstant)(item.due) &&
  optional(isCount)(item.attempt);

const isTimer = (timer: unknown): boolean =>
  isObject(timer) && isInstant(timer.due) && isObject(timer.event) && isText(timer.id);

const isActor = (actor: unknown): boolean => isObject(actor) && isObject(actor.snap);

const everyOf = (check: (value: unknown) => boolean) => (value: unknown) =>
  isObject(value) && Object.values(value).every(check);

const checks: Record<string, (value: unknown) => boolean> = {
  id: isText,
  type: isText,
  state: isText,
  status: (value) => statuses.has(value),
  at: isInstant,
  seq: (value) => isCount(value) && value > 0,
  format: (value) => isCount(value) && value > 0,
  causes: Array.isArray,
  born: isText,
  token: isPair,
  commit: isText,
  machine: (value) => isObject(value) && isCount(value.version) && isText(value.hash),
  actors: everyOf(isActor),
  timers: everyOf(isTimer),
  outbox: (value) => Array.isArray(value) && value.every(isOutboxItem),
  seen: isObject,
  next: isPair,
  inbox: optional(isObject),
  dead: optional((value) => isObject(value) && isCount(value.count) && Array.isArray(value.last)),
  expires: optional(isInstant),
};

/** A state value in one line: `paying`, `open.editing`, `audio.on,video.playing`. */
export function stateText(value: unknown): string {
  if (typeof value === "string") return value;
  if (!isObject(value)) return "";
  const leaves: string[] = [];
  for (const [key, inner] of Object.entries(value)) {
    for (const leaf of stateText(inner).split(",")) leaves.push(leaf === "" ? key : `${key}.${leaf}`);
  }
  return leaves.join();
}
