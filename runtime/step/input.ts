/** What a step is given: everything that can happen to an actor, as plain data, and what the step may know of the world. */
import type { RequestNumber, Sender, Settlement } from "../inbox.ts";
import type { Event } from "../machine/internals.ts";
import type { Sid } from "../machine/system.ts";
import type { Token } from "../ports/store.ts";
import type { Key } from "../window.ts";

export type Input =
  | { readonly kind: "create"; readonly input: unknown; readonly event?: Event; readonly key: Key }
  | { readonly kind: "event"; readonly event: Event; readonly key: Key }
  /** Events from another root actor: all that it has outstanding for this one, in order. */
  | {
      readonly kind: "message";
      readonly sender: Sender;
      readonly number: RequestNumber;
      /** The receiver's life that the sender means, as it learnt it from an answer. */
      readonly life: string | undefined;
      readonly items: readonly { readonly n: number; readonly event: Event }[];
    }
  | { readonly kind: "settled"; readonly settlement: Settlement }
  /** Fire what is due. */
  | { readonly kind: "timers" }
  /** Fire this one now: for a drop-in whose own clock has decided. */
  | { readonly kind: "timer"; readonly n: number }
  /** End the actor as XState's `stop` does. */
  | { readonly kind: "stop" }
  /** The work of an invoked actor ended. */
  | {
      readonly kind: "result";
      readonly n: number;
      readonly outcome:
        | { readonly ok: true; readonly value: unknown }
        | { readonly ok: false; readonly error: unknown };
    }
  /** A live child, or code that holds a reference, sent an event to an actor of this tree. */
  | { readonly kind: "relay"; readonly source: Sid | undefined; readonly target: Sid; readonly event: Event }
  /** A live child threw as it began. */
  | { readonly kind: "failed"; readonly sid: Sid; readonly error: unknown }
  /** Actions performed, events published: never again. */
  | { readonly kind: "acted"; readonly n: number }
  /** An attempt failed; the next is due then. */
  | { readonly kind: "retry"; readonly n: number; readonly attempt: number; readonly dueMs: number }
  /** The receiver has applied messages up to and including `upTo`; `dead` can never be applied. */
  | {
      readonly kind: "delivered";
      readonly to: string;
      readonly upTo: number;
      readonly dead: readonly { readonly n: number; readonly reason: string }[];
    }
  | { readonly kind: "delete"; readonly key: Key }
  /** Retention: delete an actor that ended, or remove a tombstone, when its time has come. */
  | { readonly kind: "expire" }
  /** Commit the owner's token, and nothing else. */
  | { readonly kind: "claim" }
  /** Commit, to know that what is read afterwards is the latest. */
  | { readonly kind: "barrier" };

export type StepContext = {
  /** The owner's clock, milliseconds since 1970. */
  readonly nowMs: number;
  readonly token: Token;
  /** Identity for the commit that this step may lead to. */
  readonly commit: string;
  /** Identity for a life that this step may begin. */
  readonly born: string;
  /** W3C traceparents of what led to each input. The document keeps the first of those that were taken. */
  readonly traces?: readonly (string | undefined)[] | undefined;
  /** The largest document that the store will take, where it has shown less room than the definition's limit. */
  readonly documentBytes?: number | undefined;
};
