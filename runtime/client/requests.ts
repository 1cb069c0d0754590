/**
 * Requests for one actor to its owner, here or over the bus: repeated under the same key until there is an answer or the
 * deadline passes (R5, R6). Start reading at `send`.
 */
import type { Deadlines } from "../deadlines.ts";
import { errorOf, MovedError, OutcomeUnknownError, ParkedError, StoppedError } from "../errors.ts";
import { pause } from "../host/commit.ts";
import type { Host } from "../host/host.ts";
import type { Outcome } from "../host/outcome.ts";
import { channelOf, type RequestAnswer, type RequestBody, readRequestAnswer } from "../host/wire.ts";
import type { Limits } from "../limits.ts";
import { NotStorableError } from "../machine/codec.ts";
import { Tree } from "../machine/tree.ts";
import type { KeysOf } from "../options.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { isTraceparent, type Telemetry } from "../ports/telemetry.ts";
import type { Sequences } from "../sequences.ts";
import type { Input } from "../step.ts";
import type { Key } from "../window.ts";
import { checkEvent, checkOptions, checkTime } from "./arguments.ts";

/** What a request got. A repetition under the same key gets the same, with `duplicate`. */
export type SendResult = {
  /** The actor's own revision: its commits in this life, from 1. Several requests may share one. */
  readonly revision: number;
  /** Whether the machine took a transition or had an effect; false when it ignored the event. */
  readonly changed: boolean;
  readonly duplicate: boolean;
};

export type SendOptions = {
  /** The idempotency key, at most 200 bytes. Default: one made by this client, good for its own repetitions. */
  readonly key?: string;
  /** How long to try, in milliseconds. Default: the runtime's `requestTimeoutMs`. */
  readonly timeoutMs?: number;
  /** W3C traceparent to go on from, where there is telemetry. Default: the span that is active. */
  readonly trace?: string;
};

const sendOptions: KeysOf<SendOptions> = { key: true, timeoutMs: true, trace: true };

export type RequestsEnv = {
  readonly clock: Clock;
  readonly bus: Bus;
  /** The host in this process, when there is one: it is asked directly for the actors that it runs. */
  readonly host: Host | undefined;
  readonly telemetry: Telemetry | undefined;
  readonly partitionOf: (key: string) => number;
  readonly sequences: Sequences;
  readonly deadlines: Deadlines;
  readonly requestTimeoutMs: number;
  /** The runtime has stopped, and nobody else takes its requests. */
  readonly isStopped: () => boolean;
};

export type AnEvent = { readonly type: string };

export type Request =
  | { readonly kind: "create"; readonly input: unknown; readonly event?: AnEvent }
  | { readonly kind: "event"; readonly event: AnEvent }
  | { readonly kind: "delete" }
  | { readonly kind: "barrier" };

export class ActorRequests {
  readonly #env: RequestsEnv;
  readonly #type: string;
  readonly #key: string;
  readonly #limits: Limits;

  constructor(env: RequestsEnv, type: string, key: string, limits: Limits) {
    this.#env = env;
    this.#type = type;
    this.#key = key;
    this.#limits = limits;
  }

  /** Durable when it resolves. */
  send(request: Request, options: SendOptions | undefined): Promise<SendResult> {
    return new Promise((resolve, reject) => {
      if ("event" in request) checkEvent(request.event);
      checkOptions(request.kind, options, sendOptions);
      checkTime(request.kind, options?.timeoutMs);
      const { host, sequences } = this.#env;
      const telemetry = this.#env.telemetry?.isRecording() ? this.#env.telemetry : undefined;
      if (options?.trace !== undefined && !isTraceparent(options.trace)) {
        throw errorOf("InvalidRequest", `the trace of ${aRequest(request)} must be a W3C traceparent, version 00`);
      }
      const key = this.#keyOf(request, options);
      const span = telemetry?.start(`send ${nameOf(request)}`, {
        kind: "client",
        parent: options?.trace ?? telemetry.active(),
        attributes: { "holdfast.actor": this.#key, "messaging.system": "holdfast", "messaging.operation.type": "send" },
      });
      const trace = span?.context ?? options?.trace;
      const timeoutMs = options?.timeoutMs ?? this.#env.requestTimeoutMs;
      const repeatUntilMs = this.#env.clock.monotonic() + this.#repeatMs(key);
      const ask = (answer: Answering) => host?.request(this.#key, { ...request, key } as Input, answer, trace);
      const end = (answer: Answer) => {
        sequences.close(this.#key, key);
        if (answer.kind === "failed") span?.fail(answer.error);
        span?.end();
        if (answer.kind === "receipt")
          resolve({ revision: answer.revision, changed: answer.changed, duplicate: answer.duplicate });
        else reject(answer.kind === "failed" ? answer.error : new OutcomeUnknownError(`no answer for ${this.#key}`));
      };
      const insist = (mayHaveLanded: boolean) => {
        this.#repeat(
          ask,
          () => encodeRequest(this.#key, request, key),
          timeoutMs,
          repeatUntilMs,
          mayHaveLanded,
          trace,
        ).then(end, (error: unknown) => end({ kind: "failed", error: error as Error }));
      };
      // Nearly always the owner is here and answers: one turn, without the machinery of repetition.
      if (host === undefined || !host.owns(this.#key)) return insist(false);
      this.#local(ask, timeoutMs, (answer) => {
        if (answer.kind === "receipt" || answer.kind === "failed") end(answer);
        else if (answer.kind === "timeout") end({ kind: "failed", error: unknownOutcome(this.#key, timeoutMs) });
        else insist(answer.kind === "unknown");
      });
    });
  }

  /** How long one request is repeated: half the window of its key; the rest is for what is on its way, and for clocks. */
  #repeatMs(key: Key): number {
    return key.kind === "auto" ? this.#limits.clientWindowMs / 2 : Number.POSITIVE_INFINITY;
  }

  #keyOf(request: Request, options: SendOptions | undefined): Key {
    if (options?.key === undefined) return this.#env.sequences.open(this.#key);
    const { keyBytes } = this.#limits;
    if (typeof options.key !== "string" || options.key.length === 0 || options.key.length > keyBytes) {
      throw errorOf("InvalidRequest", `the key of ${aRequest(request)} must be a text of 1 to ${keyBytes} characters`);
    }
    return { kind: "caller", key: options.key };
  }

  /** What is no input of the actor, and has no key: the owner does it again if it is asked again. */
  async ask(body: RequestBody, local: () => Promise<Outcome> | undefined): Promise<void> {
    const ask = (answer: Answering) => {
      local()?.then(answer, (error: Error) =>
        answer({ kind: "failed", code: "OutcomeUnknown", message: error.message }),
      );
    };
    await this.#repeat(ask, () => body, this.#env.requestTimeoutMs, Number.POSITIVE_INFINITY, false);
  }

  /** Asks the owner, here or over the bus, under the same key until there is an answer or the deadline passes. */
  async #repeat(
    ask: Ask,
    remote: () => RequestBody,
    timeoutMs: number,
    repeatUntilMs: number,
    landed: boolean,
    trace?: string,
  ): Promise<Extract<Answer, { kind: "receipt" }>> {
    const { host, clock } = this.#env;
    const startedMs = clock.monotonic();
    let mayHaveLanded = landed;
    // One who believed to own the actor said so; another, to whom the same request went, may have taken it.
    let wasSentAway = false;
    let metNobody = true;
    let attemptMs = firstAttemptMs;
    for (let waitMs = 10; ; waitMs = Math.min(waitMs * 2, 1_000)) {
      const leftMs = timeoutMs - (clock.monotonic() - startedMs);
      // Past the window of its key the owner would not know it again, and do it twice (R5).
      const isTooLate = (mayHaveLanded || wasSentAway) && clock.monotonic() >= repeatUntilMs;
      if (leftMs <= 0 || isTooLate) break;
      if (host?.failure !== undefined) throw host.failure;
      if (this.#env.isStopped()) {
        if (mayHaveLanded || wasSentAway)
          throw new OutcomeUnknownError(
            `the runtime stopped before it answered for ${this.#key}: it may have been done; send again under the same key`,
          );
        throw new StoppedError(`the runtime has stopped: nothing was done for ${this.#key}`);
      }
      const answer = host?.owns(this.#key)
        ? await new Promise<Answer>((resolve) => this.#local(ask, leftMs, resolve))
        : await this.#remote(remote(), Math.min(leftMs, attemptMs), trace);
      if (answer.kind === "receipt") return answer;
      if (answer.kind === "failed") {
        const isDoubtful = mayHaveLanded || (wasSentAway && answersOutOfTurn(answer.error));
        throw isDoubtful ? doubted(this.#key, answer.error) : answer.error;
      }
      if (answer.kind !== "nobody") metNobody = false;
      if (answer.kind === "timeout" || answer.kind === "unknown") mayHaveLanded = true;
      if (answer.kind === "moved" && answer.by === "reply") wasSentAway = true;
      // An answer that was lost on its way is asked for again soon, under the same key.
      if (answer.kind === "timeout") attemptMs = Math.min(attemptMs * 2, longestAttemptMs);
      await pause(clock, Math.min(waitMs, Math.max(1, leftMs)));
    }
    if (mayHaveLanded || wasSentAway) throw unknownOutcome(this.#key, Math.round(clock.monotonic() - startedMs));
    throw new MovedError(
      metNobody
        ? `no runtime that takes requests for ${this.#key} was there within ${timeoutMs} ms: nothing was done; is one running that hosts "${this.#type}" on this store?`
        : `nobody ran ${this.#key} within ${timeoutMs} ms: nothing was done; send again`,
    );
  }

  #local(ask: Ask, leftMs: number, answer: (answer: Answer) => void): void {
    const { deadlines } = this.#env;
    let answered = false;
    const once = (given: Answer) => {
      if (answered) return;
      answered = true;
      deadlines.clear(once);
      answer(given);
    };
    deadlines.set(once, leftMs, () => once({ kind: "timeout" }));
    ask((outcome) => once(fromOutcome(outcome)));
  }

  async #remote(body: RequestBody, leftMs: number, trace: string | undefined): Promise<Answer> {
    const { bus, partitionOf } = this.#env;
    const { op } = body;
    const request = {
      partition: partitionOf(this.#key),
      body: JSON.stringify(body),
      channel: channelOf(op),
      ...(trace !== undefined && { trace }),
    };
    const reply = await bus.request(request, leftMs);
    if (reply.kind === "nobody") return reply;
    if (reply.kind === "timeout") return { kind: "timeout" };
    const answer = readRequestAnswer(reply.body);
    if (answer === undefined) return { kind: "unknown" };
    if (answer.kind === "moved") return { kind: "moved", by: "reply" };
    return answer.kind === "refused" ? { kind: "failed", error: errorOf(answer.code, answer.message) } : answer;
  }
}

type Answering = (outcome: Outcome) => void;
type Ask = (answer: Answering) => void;

function unknownOutcome(actor: string, timeoutMs: number): OutcomeUnknownError {
  return new OutcomeUnknownError(
    `no answer for ${actor} within ${timeoutMs} ms: it may have been done; send again under the same key`,
  );
}

/** What rests on the body of a request alone is so for every attempt; the rest, for this one. */
const aboutTheRequest = new Set(["UnknownEvent", "KeyReused", "InvalidRequest", "InvalidKey"]);

/** An earlier attempt may land yet, however a later one was answered (R6). */
function doubted(actor: string, error: Error): Error {
  const code = (error as { code?: string }).code ?? "";
  if (aboutTheRequest.has(code) || code === "OutcomeUnknown") return error;
  return new OutcomeUnknownError(
    `an attempt for ${actor} was not answered and may land yet; a later one was refused: ${error.message}`,
    { cause: error },
  );
}

/** Whether it says nothing of requests for the same actor that came before; all other answers come after theirs. */
function answersOutOfTurn(error: Error): boolean {
  return ["Overloaded", "Stopped"].includes((error as { code?: string }).code ?? "");
}

/** How long one attempt over the bus may take before it is repeated. */
const firstAttemptMs = 1_000;
const longestAttemptMs = 5_000;

type Answer =
  | Extract<RequestAnswer, { kind: "receipt" | "unknown" }>
  | { readonly kind: "moved"; readonly by?: "reply" }
  | { readonly kind: "nobody" }
  | { readonly kind: "timeout" }
  | { readonly kind: "failed"; readonly error: Error };

function fromOutcome(outcome: Outcome): Answer {
  switch (outcome.kind) {
    case "moved":
    case "unknown":
      return outcome;
    case "failed":
      return {
        kind: "failed",
        error:
          outcome.code === "Parked"
            ? new ParkedError(outcome.message)
            : outcome.code === "Stopped"
              ? new StoppedError(outcome.message)
              : errorOf(outcome.code, outcome.message),
      };
    case "reply": {
      const { reply } = outcome;
      if (reply.kind === "receipt") return { kind: "receipt", ...reply.receipt, duplicate: reply.duplicate };
      if (reply.kind === "refused") return { kind: "failed", error: reply.error };
      return { kind: "unknown" };
    }
  }
}

function nameOf(request: Request): string {
  if (request.kind === "event") return request.event.type;
  return request.kind === "create" && request.event !== undefined ? `create ${request.event.type}` : request.kind;
}

function aRequest({ kind }: Request): string {
  return kind === "event" ? "an event" : `a ${kind}`;
}

function encodeRequest(actor: string, request: Request, key: Key): RequestBody {
  const codec = Tree.codec({});
  try {
    switch (request.kind) {
      case "create":
        return {
          op: "create",
          actor,
          key,
          ...(request.input !== undefined && { input: codec.encodeValue(request.input, "input") }),
          ...(request.event !== undefined && { event: codec.encodeValue(request.event, "event") }),
        };
      case "event":
        return { op: "event", actor, key, event: codec.encodeValue(request.event, "event") };
      case "delete":
        return { op: "delete", actor, key };
      case "barrier":
        return { op: "barrier", actor };
    }
  } catch (error) {
    if (error instanceof NotStorableError) throw errorOf("NotStorable", error.message, error);
    throw error;
  }
}
