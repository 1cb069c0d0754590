/**
 * The entrance for plain requests: `nats req holdfast.shop.send.order.o-123 '{"type":"PAY"}'` and its like, from
 * whatever speaks JSON. Each becomes an event that a client sends, with a key of its own; the answer is JSON too.
 *
 * Answers: `{"revision":7,"changed":true,"duplicate":false}` or `{"error":{"code":"NotFound","message":"…"}}`.
 */
import type { SendOptions, SendResult } from "./client.ts";
import { errorOf, HoldfastError, InvalidKeyError, InvalidRequestError, OutcomeUnknownError } from "./errors.ts";
import { hashText } from "./hash.ts";
import { type ActorName, actorKey, parseActorKey } from "./keys.ts";
import { refuseUnknown } from "./options.ts";
import type { Clock } from "./ports/clock.ts";
import type { Logger } from "./ports/logger.ts";
import type { PlainAnswer, PlainRequest, PlainRequests } from "./ports/plain-requests.ts";
import { isTraceparent } from "./ports/telemetry.ts";

const keyHeader = "Idempotency-Key";
const timeoutHeader = "Holdfast-Timeout-Ms";

export type EntranceOptions = {
  readonly requests: PlainRequests;
  /** A handle of the actor, as `runtime.actor` gives it. Throws for a type that this node does not have. */
  readonly actor: (type: string, id: string) => Sendable;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<EntranceLimits>;
};

export type Sendable = { send(event: { readonly type: string }, options: SendOptions): Promise<SendResult> };

export type EntranceLimits = {
  /** Requests that this node works on at a time; beyond it callers get Overloaded. */
  readonly handling: number;
  /** How long a request without the header `Holdfast-Timeout-Ms` is tried. Below the 5 s for which `nats req` waits. */
  readonly timeoutMs: number;
  /** The longest that the header may ask for. */
  readonly maxTimeoutMs: number;
  /** Longest idempotency key, in characters. */
  readonly keyLength: number;
};

const defaultEntranceLimits: EntranceLimits = {
  handling: 1_000,
  timeoutMs: 4_500,
  maxTimeoutMs: 60_000,
  keyLength: 200,
};

export type EntranceCounts = {
  /** Answered with a receipt. */
  accepted: number;
  /** Answered with an error. */
  refused: number;
  /** Nobody waited for an answer, so nothing was done. */
  unanswerable: number;
};

export class Entrance {
  readonly #actor: EntranceOptions["actor"];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #limits: EntranceLimits;
  readonly #stop: () => void;
  readonly #counts: EntranceCounts = { accepted: 0, refused: 0, unanswerable: 0 };
  #handling = 0;
  #saidMs = Number.NEGATIVE_INFINITY;

  /** Takes requests from now on. Throws InvalidRequestError for a limit that is none. */
  constructor(options: EntranceOptions) {
    this.#actor = options.actor;
    this.#clock = options.clock;
    this.#logger = options.logger;
    refuseUnknown("limits of the entrance", options.limits, defaultEntranceLimits, InvalidRequestError);
    this.#limits = { ...defaultEntranceLimits, ...options.limits };
    for (const [name, value] of Object.entries(this.#limits)) {
      if (!Number.isSafeInteger(value) || value < 1)
        throw new InvalidRequestError(`the limit \`${name}\` is ${value}; it must be a whole number of at least 1`);
    }
    this.#stop = options.requests.serve((request) => this.#handle(request));
  }

  get counts(): Readonly<EntranceCounts> {
    return this.#counts;
  }

  /** Takes no more; what was taken is still answered. */
  stop(): void {
    this.#stop();
  }

  async #handle(request: PlainRequest): Promise<PlainAnswer> {
    if (request.replyTo === undefined) return this.#unanswerable(request);
    if (this.#handling >= this.#limits.handling)
      return this.#refuse(errorOf("Overloaded", `this node works on ${this.#handling} requests: nothing was done`));
    this.#handling++;
    try {
      return await this.#send(request, request.replyTo);
    } finally {
      this.#handling--;
    }
  }

  async #send(request: PlainRequest, replyTo: string): Promise<PlainAnswer> {
    let key: string;
    try {
      const { type, id } = targetOf(request);
      const event = eventOf(request);
      key = this.#keyOf(request, replyTo);
      const timeoutMs = this.#timeoutOf(request);
      const actor = this.#actor(type, id);
      const trace = request.header("traceparent");
      return await this.#answered(actor, event, { key, timeoutMs, ...(isTraceparent(trace) && { trace }) });
    } catch (error) {
      return this.#refuse(error);
    }
  }

  async #answered(
    actor: Sendable,
    event: { readonly type: string },
    options: SendOptions & { readonly key: string },
  ): Promise<PlainAnswer> {
    try {
      const { revision, changed, duplicate } = await actor.send(event, options);
      this.#counts.accepted++;
      return { body: JSON.stringify({ revision, changed, duplicate }) };
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError)) throw error;
      const again = `to learn the outcome, send it again with the header ${keyHeader}: ${options.key}`;
      throw new OutcomeUnknownError(`${error.message}; ${again}`, { cause: error });
    }
  }

  #keyOf({ header }: PlainRequest, replyTo: string): string {
    const given = header(keyHeader);
    // An inbox is made for one request: a repetition of the message has the same, another request never.
    if (given === undefined) return `reply-${hashText(replyTo)}`;
    const { keyLength } = this.#limits;
    if (given.length === 0 || given.length > keyLength)
      throw new InvalidRequestError(`the header ${keyHeader} must be a text of 1 to ${keyLength} characters`);
    return given;
  }

  #timeoutOf({ header }: PlainRequest): number {
    const given = header(timeoutHeader);
    if (given === undefined) return this.#limits.timeoutMs;
    const { maxTimeoutMs } = this.#limits;
    const timeoutMs = /^\d{1,9}$/.test(given) ? Number(given) : 0;
    if (timeoutMs < 1 || timeoutMs > maxTimeoutMs)
      throw new InvalidRequestError(
        `the header ${timeoutHeader} is ${JSON.stringify(given.slice(0, 40))}; it must be a whole number from 1 to ${maxTimeoutMs}`,
      );
    return timeoutMs;
  }

  #unanswerable({ target }: PlainRequest): PlainAnswer {
    this.#counts.unanswerable++;
    const now = this.#clock.monotonic();
    if (now - this.#saidMs >= sayEveryMs) {
      this.#saidMs = now;
      this.#logger.warn(
        "a plain message was refused: nobody waits for its answer, so nobody could learn what became of it; use a request (`nats req`)",
        { actor: target.slice(0, 200), refusedSoFar: this.#counts.unanswerable },
      );
    }
    return { body: "" };
  }

  #refuse(error: unknown): PlainAnswer {
    this.#counts.refused++;
    const known = error instanceof HoldfastError;
    if (!known) this.#logger.error("a plain request failed", { error });
    const code = known ? error.code : "Internal";
    const message = known ? error.message : "the node failed on this request; its log says how: it may have been done";
    return { body: JSON.stringify({ error: { code, message } }), error: { code, message } };
  }
}

/** How often a message without a reply is spoken of. */
const sayEveryMs = 60_000;

/** An actor has one key; what would only decode to it is another text for the same, and refused. */
function targetOf({ target }: PlainRequest): ActorName {
  const name = parseActorKey(target);
  if (name === undefined)
    throw new InvalidKeyError(
      `${JSON.stringify(target.slice(0, 200))} names no actor: the subject ends in <type>.<id>, as keys of the bucket do`,
    );
  const key = actorKey(name.type, name.id);
  if (key !== target)
    throw new InvalidKeyError(
      `${JSON.stringify(target.slice(0, 200))} names no actor: its key would be written ${key}`,
    );
  return name;
}

function eventOf({ body }: PlainRequest): { readonly type: string } {
  let event: unknown;
  try {
    event = JSON.parse(body);
  } catch (error) {
    throw new InvalidRequestError(
      `the body is no JSON: ${(error as Error).message.slice(0, 200)}; an event is written like {"type":"PAY","amount":90}`,
      { cause: error },
    );
  }
  const type = typeof event === "object" && event !== null ? (event as { type?: unknown }).type : undefined;
  if (typeof type !== "string" || type.length === 0 || type.length > 200 || Array.isArray(event))
    throw new InvalidRequestError(
      'an event is an object whose `type` is a text of 1 to 200 characters, like {"type":"PAY","amount":90}',
    );
  return event as { readonly type: string };
}
