/**
 * Every failure that a caller can meet, one class per meaning, each with one thing to do. Expected outcomes inside the
 * runtime are values; these are what a promise of the public API rejects with. `code` is the same on every transport.
 */

import { HoldfastError } from "./ports/holdfast-error.ts";

export { HoldfastError };

/** There is no such actor (never created, deleted, or purged). Create it, or use `createAndSend`. */
export class NotFoundError extends HoldfastError {
  override readonly name = "NotFoundError";
  readonly code = "NotFound";
}

/** The actor exists, or existed and its tombstone is still kept. Use another id, or `purge` the tombstone first. */
export class AlreadyExistsError extends HoldfastError {
  override readonly name = "AlreadyExistsError";
  readonly code = "AlreadyExists";
}

/** No state of the machine can ever handle this type, or it is reserved. Fix the type: sending again will not help. */
export class UnknownEventError extends HoldfastError {
  override readonly name = "UnknownEventError";
  readonly code = "UnknownEvent";
}

/** A queue or bound is full; nothing was done. Send again later, under the same key. */
export class OverloadedError extends HoldfastError {
  override readonly name = "OverloadedError";
  readonly code = "Overloaded";
}

/** This idempotency key was used for another body. Use a new key for a new event. */
export class KeyReusedError extends HoldfastError {
  override readonly name = "KeyReusedError";
  readonly code = "KeyReused";
}

/** The machine threw while it handled the event; nothing was committed and the actor goes on. `cause` is what it threw. */
export class RejectedError extends HoldfastError {
  override readonly name = "RejectedError";
  readonly code = "Rejected";
}

/** The stored document does not fit the machine. Supply `migrate` or the older machine; it then goes on by itself. */
export class IncompatibleError extends HoldfastError {
  override readonly name = "IncompatibleError";
  readonly code = "Incompatible";
}

/** The actor is set aside, untouched, with the reason. Mend the reason, then `resume` it. */
export class ParkedError extends HoldfastError {
  override readonly name = "ParkedError";
  readonly code = "Parked";
}

/** No answer in time: it may be committed, now or soon. Send again under the same key to learn the outcome. */
export class OutcomeUnknownError extends HoldfastError {
  override readonly name = "OutcomeUnknownError";
  readonly code = "OutcomeUnknown";
}

/** No node took the request before the deadline; nothing was done. Send again; where no node is there, start one. */
export class MovedError extends HoldfastError {
  override readonly name = "MovedError";
  readonly code = "Moved";
}

/** Document or event above its bound; nothing was committed. The message has both sizes. */
export class TooLargeError extends HoldfastError {
  override readonly name = "TooLargeError";
  readonly code = "TooLarge";
}

/** A value cannot be kept in a document; nothing was committed. Change the machine so that `path` holds plain data. */
export class NotStorableError extends HoldfastError {
  override readonly name = "NotStorableError";
  readonly code = "NotStorable";
  /** Where it was found, such as `context.cart.items[2].price`. */
  readonly path: string;
  /** What was found, in words, such as `a function` or `an instance of class Cart`. */
  readonly what: string;

  constructor(path: string, what: string, advice = "store plain data instead", options?: ErrorOptions) {
    super(`${path} cannot be stored: it is ${what}; ${advice}`, options);
    this.path = path;
    this.what = what;
  }

  /** As told by another node, of which only the message came. */
  static told(message: string, cause?: unknown): NotStorableError {
    const error = new NotStorableError("", "", "", cause === undefined ? undefined : { cause });
    error.message = message;
    return error;
  }
}

/** The store refused the write for want of room; nothing was committed. Make room and send again. */
export class StoreFullError extends HoldfastError {
  override readonly name = "StoreFullError";
  readonly code = "StoreFull";
}

/** The store was made anew while it was in use. The runtime has stopped; start it again if that was meant. */
export class StoreReplacedError extends HoldfastError {
  override readonly name = "StoreReplacedError";
  readonly code = "StoreReplaced";
}

/** The store lost writes that it had confirmed. The runtime has stopped: restore the store, then start again. */
export class StoreWentBackError extends HoldfastError {
  override readonly name = "StoreWentBackError";
  readonly code = "StoreWentBack";
}

/** The runtime is stopping or has stopped. Send to another node, or again after the restart. */
export class StoppedError extends HoldfastError {
  override readonly name = "StoppedError";
  readonly code = "Stopped";
}

/** An actor type or id that cannot be a key of the store. Choose a shorter id, or a type of letters, digits, `-` and `_`. */
export class InvalidKeyError extends HoldfastError {
  override readonly name = "InvalidKeyError";
  readonly code = "InvalidKey";
}

/** What was passed is not usable (an event without a type, an unknown actor type, an option out of range). */
export class InvalidRequestError extends HoldfastError {
  override readonly name = "InvalidRequestError";
  readonly code = "InvalidRequest";
}

/** `waitFor` gave up at its time limit, or because the actor ended and the condition can never hold. */
export class WaitEndedError extends HoldfastError {
  override readonly name = "WaitEndedError";
  readonly code = "WaitEnded";
}

const classes = {
  NotFound: NotFoundError,
  AlreadyExists: AlreadyExistsError,
  UnknownEvent: UnknownEventError,
  Overloaded: OverloadedError,
  KeyReused: KeyReusedError,
  Rejected: RejectedError,
  Incompatible: IncompatibleError,
  Parked: ParkedError,
  OutcomeUnknown: OutcomeUnknownError,
  Moved: MovedError,
  TooLarge: TooLargeError,
  StoreFull: StoreFullError,
  StoreReplaced: StoreReplacedError,
  StoreWentBack: StoreWentBackError,
  Stopped: StoppedError,
  InvalidRequest: InvalidRequestError,
  InvalidKey: InvalidKeyError,
} as const;

export type ErrorCode = keyof typeof classes | "NotStorable";

/** Whether it is one of those that travel by their code; those of setting up are the caller's own, and have others. */
export function isReplyError(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && (Object.hasOwn(classes, error.code) || error.code === "NotStorable");
}

/** The error of a code, as it arrives over any transport. */
export function errorOf(code: ErrorCode, message: string, cause?: unknown): HoldfastError {
  if (code === "NotStorable") return NotStorableError.told(message, cause);
  return new classes[code](message, cause === undefined ? undefined : { cause });
}
