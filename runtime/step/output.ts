/** What a step answers, and what it orders: plain data, to be told and begun only when its text is committed. */
import { type ErrorCode, errorOf, type HoldfastError } from "../errors.ts";
import type { RequestNumber } from "../inbox.ts";
import type { Event } from "../machine/internals.ts";
import type { Sid } from "../machine/system.ts";
import type { OutboxItem } from "../outbox.ts";
import type { Receipt } from "../window.ts";
import type { Actor } from "./actor.ts";

export type Reply =
  | { readonly kind: "receipt"; readonly receipt: Receipt; readonly duplicate: boolean }
  | { readonly kind: "refused"; readonly error: HoldfastError }
  /** Answer to a message. */
  | {
      readonly kind: "message";
      readonly upTo: number;
      readonly dead: readonly { readonly n: number; readonly reason: string }[];
    }
  /** The number is below the floor: send again under a new one. */
  | { readonly kind: "renumber"; readonly floor: RequestNumber }
  /** The request was not meant for this life of the actor: send again under a new number, and for this life. */
  | { readonly kind: "life"; readonly life: string }
  /** An input of the actor's own, done or of no use any more. */
  | { readonly kind: "done" }
  /** The machine threw on an input of the actor's own: set the actor aside, with this. */
  | { readonly kind: "park"; readonly error: unknown };

/** Work to begin when the text is committed, in this order. */
export type Order =
  | { readonly kind: "outbox"; readonly item: OutboxItem }
  /** Begin the work of a callback, observable or custom logic. */
  | { readonly kind: "begin"; readonly sid: Sid }
  | { readonly kind: "deliver"; readonly sid: Sid; readonly event: Event }
  | { readonly kind: "stop"; readonly sid: Sid }
  | { readonly kind: "log"; readonly sid: Sid; readonly values: readonly unknown[] }
  /** A line of our own in the log, about what was committed. */
  | { readonly kind: "notice"; readonly level: "info" | "warn"; readonly text: string }
  | { readonly kind: "notify"; readonly run: () => void };

export type Step = {
  readonly actor: Actor;
  /** One for each input taken. */
  readonly replies: readonly Reply[];
  /** How many inputs were taken, from the first; the caller comes back with the others. */
  readonly taken: number;
  /** The document to commit; undefined: nothing to commit, answer at once. */
  readonly text: string | undefined;
  readonly orders: readonly Order[];
  /** Remove the document instead of writing it. */
  readonly purge?: true;
};

export function refuse(code: ErrorCode, message: string, cause?: unknown): Reply {
  return { kind: "refused", error: errorOf(code, message, cause) };
}
