/**
 * The typed client: one handle per actor. Requests go to the owner, here or elsewhere, and are repeated under the same
 * key until an answer or the deadline; reads come from the store, and prove nothing (a `linearizable` one commits).
 */
import type {
  AnyActorLogic,
  AnyMachineSnapshot,
  EmittedFrom,
  EventFromLogic,
  InputFrom,
  MachineSnapshot,
  SnapshotFrom,
} from "xstate";
import { described, timeProblem } from "./argument.ts";
import type { Deadlines } from "./deadlines.ts";
import type { ActorDefinition } from "./definition.ts";
import { type Cause, type Document, readDocument } from "./document.ts";
import {
  errorOf,
  IncompatibleError,
  InvalidRequestError,
  MovedError,
  NotFoundError,
  OutcomeUnknownError,
  ParkedError,
  StoppedError,
  WaitEndedError,
} from "./errors.ts";
import { pause } from "./host/commit.ts";
import type { Host } from "./host/host.ts";
import type { Outcome } from "./host/outcome.ts";
import { readParked, whyParked } from "./host/parking.ts";
import { channelOf, type RequestAnswer, type RequestBody, readRequestAnswer } from "./host/wire.ts";
import { actorKey, parkedKey } from "./keys.ts";
import type { ListOptions } from "./listing.ts";
import type { Json } from "./machine/codec.ts";
import { NotStorableError } from "./machine/codec.ts";
import { Tree } from "./machine/tree.ts";
import { type RestoredTree, restoreTree } from "./migration.ts";
import { type KeysOf, refuseUnknown } from "./options.ts";
import type { Bus } from "./ports/bus.ts";
import type { Clock } from "./ports/clock.ts";
import type { ActorStore, StoredEntry } from "./ports/store.ts";
import { isTraceparent, type Telemetry } from "./ports/telemetry.ts";
import type { Sequences } from "./sequences.ts";
import type { Input } from "./step.ts";
import type { Watcher } from "./watcher.ts";
import type { Key } from "./window.ts";

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

/** A snapshot as XState gives it (`matches`, `can`, `hasTag` work), with where it stands in the actor's history. */
export type ActorState<TLogic extends AnyActorLogic> = SnapshotFrom<TLogic> & {
  readonly status: "active" | "done" | "error" | "stopped";
  readonly revision: number;
  readonly at: Date;
};

/**
 * The tags that the types of the machine declare. Where they declare none, any text of a machine whose type says nothing
 * of its states (`createMachine`, `AnyStateMachine`), and no text at all of one that `setup` made.
 */
type TagOf<TSnapshot> =
  TSnapshot extends MachineSnapshot<
    infer _TContext,
    infer _TEvent,
    infer _TChildren,
    infer _TValue,
    infer TTag,
    infer _TOutput,
    infer _TMeta,
    infer TStates
  >
    ? string extends TTag
      ? 0 extends 1 & TStates
        ? string
        : never
      : TTag
    : never;

/** Tags that a list can ask for: those that the types declare; where they declare none, any text. */
export type TypedListOptions<TLogic extends AnyActorLogic> = Omit<ListOptions, "tag"> & {
  readonly tag?: [TagOf<SnapshotFrom<TLogic>>] extends [never] ? string : TagOf<SnapshotFrom<TLogic>>;
};
type InputArgs<TLogic extends AnyActorLogic> =
  undefined extends InputFrom<TLogic>
    ? [input?: InputFrom<TLogic>, options?: SendOptions]
    : [input: InputFrom<TLogic>, options?: SendOptions];

export type WaitCondition<TLogic extends AnyActorLogic> =
  | "done"
  | TagOf<SnapshotFrom<TLogic>>
  | ((state: ActorState<TLogic>) => boolean);

/** One commit of an actor: its document, as it stands in the store. */
export type HistoryEntry = {
  readonly revision: number;
  readonly storeRevision: number;
  readonly state: string;
  readonly at: Date;
  readonly causes: readonly Cause[];
  readonly document: Document;
};

export type ClientEnv = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly bus: Bus;
  /** The host in this process, when there is one: it is asked directly for the actors that it runs. */
  readonly host: Host | undefined;
  readonly telemetry: Telemetry | undefined;
  readonly partitionOf: (key: string) => number;
  readonly watcher: Watcher;
  readonly sequences: Sequences;
  readonly deadlines: Deadlines;
  readonly requestTimeoutMs: number;
  /** The runtime has stopped, and nobody else takes its requests. */
  readonly isStopped: () => boolean;
};

type AnEvent = { readonly type: string };

type Request =
  | { readonly kind: "create"; readonly input: unknown; readonly event?: AnEvent }
  | { readonly kind: "event"; readonly event: AnEvent }
  | { readonly kind: "delete" }
  | { readonly kind: "barrier" };

export class ActorHandle<TLogic extends AnyActorLogic> {
  readonly type: string;
  readonly id: string;
  readonly key: string;
  readonly #env: ClientEnv;
  readonly #definition: ActorDefinition<TLogic>;
  /** The highest revision of the store that this handle has shown: a lower read is repeated. */
  #seen = 0;

  constructor(env: ClientEnv, definition: ActorDefinition<TLogic>, type: string, id: string) {
    this.#env = env;
    this.#definition = definition;
    this.type = type;
    this.id = id;
    this.key = actorKey(type, id);
  }

  /** Begins the actor's life. Idempotent by key; AlreadyExists for an actor that another request created. */
  create(...[input, options]: InputArgs<TLogic>): Promise<SendResult> {
    return this.#request({ kind: "create", input }, options);
  }

  /** Creates the actor and applies the event in one commit; an actor that exists only gets the event. */
  createAndSend(input: InputFrom<TLogic>, event: EventFromLogic<TLogic>, options?: SendOptions): Promise<SendResult> {
    return this.#request({ kind: "create", input, event: event as AnEvent }, options);
  }

  /** Durable when it resolves. */
  send(event: EventFromLogic<TLogic>, options?: SendOptions): Promise<SendResult> {
    return this.#request({ kind: "event", event: event as AnEvent }, options);
  }

  /** Ends the actor at once and leaves a tombstone, so that late repetitions find their keys. */
  delete(options?: SendOptions): Promise<SendResult> {
    return this.#request({ kind: "delete" }, options);
  }

  /** Removes the tombstone with its history; refused while it guards keys, unless forced. `force` removes anything. */
  async purge(options: { readonly force?: boolean } = {}): Promise<void> {
    checkOptions("purge", options, { force: true });
    checkFlag("purge", "force", options.force);
    await this.#ask({ op: "purge", actor: this.key, force: options.force ?? false }, () =>
      this.#env.host?.purge(this.key, options.force ?? false),
    );
  }

  /** Lets a parked actor go on. After a person's write: "accept" takes it, "discard" puts the last good document back. */
  async resume(mode: "retry" | "accept" | "discard" = "retry"): Promise<void> {
    if (!["retry", "accept", "discard"].includes(mode))
      throw errorOf(
        "InvalidRequest",
        `resume: ${described(mode)} is no way to resume; there are retry, accept, discard`,
      );
    await this.#ask({ op: "resume", actor: this.key, mode }, () => this.#env.host?.resume(this.key, mode));
  }

  /** The latest committed state, undefined when there is none. Monotonic per handle; `linearizable` commits first. */
  async state(options: { readonly linearizable?: boolean } = {}): Promise<ActorState<TLogic> | undefined> {
    checkOptions("state", options, { linearizable: true });
    checkFlag("state", "linearizable", options.linearizable);
    if (options.linearizable) {
      try {
        await this.#request({ kind: "barrier" }, undefined);
      } catch (error) {
        // The owner's answer is as linearizable as a commit.
        if (error instanceof NotFoundError) return undefined;
        throw error;
      }
    }
    const entry = await this.#read();
    return entry && this.#revive(entry);
  }

  /** The committed document itself, undefined when there is none. */
  async document(): Promise<Document | undefined> {
    const entry = await this.#read();
    return entry && readDocument(entry.value);
  }

  /** The kept commits, oldest first. */
  async history(): Promise<HistoryEntry[]> {
    const entries = await this.#env.store.history(this.key);
    return entries.map((entry) => {
      const document = readDocument(entry.value);
      const { seq, state, at, causes } = document;
      return { revision: seq, storeRevision: entry.revision, state, at: new Date(at), causes, document };
    });
  }

  /** Calls back for every later commit, in order; may skip ones that were overwritten meanwhile. Returns how to stop. */
  watch(onState: (state: ActorState<TLogic> | undefined) => void): () => void {
    checkHandler("watch", onState);
    return this.#env.watcher.watch(this.key, (entry) => onState(entry && this.#revive(entry)));
  }

  /** Listens to events that the machine emits, at least once each; "*" for all. Returns how to stop. */
  on<TType extends EmittedFrom<TLogic>["type"] | "*">(
    type: TType,
    handler: (event: TType extends "*" ? EmittedFrom<TLogic> : Extract<EmittedFrom<TLogic>, { type: TType }>) => void,
  ): () => void {
    checkHandler("on", handler);
    if (typeof type !== "string")
      throw errorOf("InvalidRequest", `on: the type of an event is a text; it is ${described(type)}`);
    const codec = Tree.codec({});
    const recent = new Set<string>();
    return this.#env.bus.subscribe(this.key, (body, id) => {
      if (recent.has(id)) return;
      recent.add(id);
      if (recent.size > 1_000) recent.delete(recent.values().next().value as string);
      const event = codec.decodeValue(JSON.parse(body) as Json) as { type: string };
      if (type === "*" || event.type === type) handler(event as never);
    });
  }

  /** Resolves with the first state that fulfils the condition: a predicate, a tag, or "done". */
  async waitFor(
    condition: WaitCondition<TLogic>,
    options: { readonly timeoutMs?: number } = {},
  ): Promise<ActorState<TLogic>> {
    checkOptions("waitFor", options, { timeoutMs: true });
    checkTime("waitFor", options.timeoutMs);
    if (typeof condition !== "function" && (typeof condition !== "string" || (condition as string) === ""))
      throw errorOf(
        "InvalidRequest",
        `waitFor: it waits for "done", a tag, or a function of the state; it got ${described(condition)}`,
      );
    const holds = conditionOf(condition);
    const timeoutMs = options.timeoutMs ?? 60_000;
    const { watcher, deadlines } = this.#env;
    return new Promise((resolve, reject) => {
      let isOver = false;
      const end = (settle: () => void) => {
        isOver = true;
        stop();
        deadlines.clear(stop);
        settle();
      };
      const look = (entry: StoredEntry | undefined) => {
        try {
          const state = entry && this.#revive(entry);
          if (state === undefined) throw new NotFoundError(`${this.key} does not exist`);
          const { status } = state;
          if (holds(state)) end(() => resolve(state));
          else if (status !== "active") {
            throw new WaitEndedError(`${this.key} is ${status}, and what was waited for can never hold`);
          }
        } catch (error) {
          end(() => reject(error as Error));
        }
      };
      const failed = (error: unknown) => end(() => reject(error as Error));
      const lookParked = async (entry: StoredEntry | undefined) => {
        if (entry === undefined) return;
        const parked = readParked(entry.value);
        const why = parked === undefined ? "the parking record cannot be read" : whyParked(parked);
        const error = new ParkedError(`${this.key} is parked: ${why}`);
        // The machine of its owner may not be the one that refused it: its answer tells.
        if (parked?.reason !== "incompatible") failed(error);
        else await this.#request({ kind: "barrier" }, undefined).catch(() => failed(error));
      };
      const stops = [
        watcher.watch(this.key, look),
        watcher.watch(parkedKey(this.key), (entry) => void lookParked(entry)),
      ];
      const stop = () => {
        for (const one of stops) one();
      };
      deadlines.set(stop, timeoutMs, () =>
        end(() =>
          reject(
            this.#env.isStopped()
              ? new StoppedError(`the runtime has stopped: ${this.key} was waited for in vain`)
              : new WaitEndedError(`${this.key}: the condition did not hold within ${timeoutMs} ms`),
          ),
        ),
      );
      this.#env.store
        .read(parkedKey(this.key))
        .then(lookParked)
        .then(() => this.#read())
        .then((entry) => {
          look(entry);
          // What is waited for may be what a changed machine is still to do to an actor at rest: its owner has to look.
          if (!isOver && entry !== undefined && this.#isBehind(entry))
            this.#request({ kind: "barrier" }, undefined).catch(() => {});
        })
        .catch(failed);
    });
  }

  // ---- reading ----

  async #read(): Promise<StoredEntry | undefined> {
    for (let tries = 0; ; tries++) {
      const entry = await this.#env.store.read(this.key);
      if (entry === undefined || entry.revision >= this.#seen || tries >= 20) {
        this.#seen = entry === undefined ? 0 : Math.max(this.#seen, entry.revision);
        return entry;
      }
      await pause(this.#env.clock, 25);
    }
  }

  #revive(entry: StoredEntry): ActorState<TLogic> | undefined {
    const document = readDocument(entry.value);
    if (document.status === "deleted") return undefined;
    try {
      const { tree } = this.#restore(document);
      return Object.assign(tree.snapshot, {
        revision: document.seq,
        at: new Date(document.at),
      }) as unknown as ActorState<TLogic>;
    } catch (error) {
      throw new IncompatibleError(`${this.key}: ${(error as Error).message}`, { cause: error });
    }
  }

  #restore(document: Document): RestoredTree {
    return restoreTree(document, this.#definition as ActorDefinition, { onOutside: refuseOutside, rootId: this.id });
  }

  /** Whether the machine as it is known here has changed something that the actor is still to follow. */
  #isBehind(entry: StoredEntry): boolean {
    const document = readDocument(entry.value);
    const { version, hash } = document.machine;
    if (document.status !== "active") return false;
    if (version === this.#definition.version && hash === this.#definition.hash) return false;
    return this.#restore(document).adaptation?.isPending ?? false;
  }

  // ---- requests ----

  #request(request: Request, options: SendOptions | undefined): Promise<SendResult> {
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
        attributes: { "holdfast.actor": this.key, "messaging.system": "holdfast", "messaging.operation.type": "send" },
      });
      const trace = span?.context ?? options?.trace;
      const timeoutMs = options?.timeoutMs ?? this.#env.requestTimeoutMs;
      const repeatUntilMs = this.#env.clock.monotonic() + this.#repeatMs(key);
      const ask = (answer: Answering) => host?.request(this.key, { ...request, key } as Input, answer, trace);
      const end = (answer: Answer) => {
        sequences.close(this.key, key);
        if (answer.kind === "failed") span?.fail(answer.error);
        span?.end();
        if (answer.kind === "receipt")
          resolve({ revision: answer.revision, changed: answer.changed, duplicate: answer.duplicate });
        else reject(answer.kind === "failed" ? answer.error : new OutcomeUnknownError(`no answer for ${this.key}`));
      };
      const insist = (mayHaveLanded: boolean) => {
        this.#repeat(
          ask,
          () => encodeRequest(this.key, request, key),
          timeoutMs,
          repeatUntilMs,
          mayHaveLanded,
          trace,
        ).then(end, (error: unknown) => end({ kind: "failed", error: error as Error }));
      };
      // Nearly always the owner is here and answers: one turn, without the machinery of repetition.
      if (host === undefined || !host.owns(this.key)) return insist(false);
      this.#local(ask, timeoutMs, (answer) => {
        if (answer.kind === "receipt" || answer.kind === "failed") end(answer);
        else if (answer.kind === "timeout") end({ kind: "failed", error: unknownOutcome(this.key, timeoutMs) });
        else insist(answer.kind === "unknown");
      });
    });
  }

  /** How long one request is repeated: half the window of its key; the rest is for what is on its way, and for clocks. */
  #repeatMs(key: Key): number {
    return key.kind === "auto" ? this.#definition.limits.clientWindowMs / 2 : Number.POSITIVE_INFINITY;
  }

  #keyOf(request: Request, options: SendOptions | undefined): Key {
    if (options?.key === undefined) return this.#env.sequences.open(this.key);
    const { keyBytes } = this.#definition.limits;
    if (typeof options.key !== "string" || options.key.length === 0 || options.key.length > keyBytes) {
      throw errorOf("InvalidRequest", `the key of ${aRequest(request)} must be a text of 1 to ${keyBytes} characters`);
    }
    return { kind: "caller", key: options.key };
  }

  async #ask(body: RequestBody, local: () => Promise<Outcome> | undefined): Promise<void> {
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
            `the runtime stopped before it answered for ${this.key}: it may have been done; send again under the same key`,
          );
        throw new StoppedError(`the runtime has stopped: nothing was done for ${this.key}`);
      }
      const answer = host?.owns(this.key)
        ? await new Promise<Answer>((resolve) => this.#local(ask, leftMs, resolve))
        : await this.#remote(remote(), Math.min(leftMs, attemptMs), trace);
      if (answer.kind === "receipt") return answer;
      if (answer.kind === "failed") {
        const isDoubtful = mayHaveLanded || (wasSentAway && answersOutOfTurn(answer.error));
        throw isDoubtful ? doubted(this.key, answer.error) : answer.error;
      }
      if (answer.kind !== "nobody") metNobody = false;
      if (answer.kind === "timeout" || answer.kind === "unknown") mayHaveLanded = true;
      if (answer.kind === "moved" && answer.by === "reply") wasSentAway = true;
      // An answer that was lost on its way is asked for again soon, under the same key.
      if (answer.kind === "timeout") attemptMs = Math.min(attemptMs * 2, longestAttemptMs);
      await pause(clock, Math.min(waitMs, Math.max(1, leftMs)));
    }
    if (mayHaveLanded || wasSentAway) throw unknownOutcome(this.key, Math.round(clock.monotonic() - startedMs));
    throw new MovedError(
      metNobody
        ? `no runtime that takes requests for ${this.key} was there within ${timeoutMs} ms: nothing was done; is one running that hosts "${this.type}" on this store?`
        : `nobody ran ${this.key} within ${timeoutMs} ms: nothing was done; send again`,
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
      partition: partitionOf(this.key),
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

function checkOptions<T>(call: string, options: T | undefined, keys: KeysOf<T>): void {
  refuseUnknown(`options of ${call}`, options, keys, InvalidRequestError);
}

function checkTime(call: string, timeoutMs: unknown): void {
  const problem = timeProblem(timeoutMs);
  if (problem !== undefined) throw errorOf("InvalidRequest", `options of ${call}: timeoutMs ${problem}`);
}

/** A text would be true, whatever it says. */
function checkFlag(call: string, name: string, flag: unknown): void {
  if (flag !== undefined && typeof flag !== "boolean")
    throw errorOf("InvalidRequest", `options of ${call}: ${name} is ${described(flag)}; it must be true or false`);
}

function checkHandler(call: string, handler: unknown): void {
  if (typeof handler !== "function")
    throw errorOf("InvalidRequest", `${call}: it needs a function to call; it got ${described(handler)}`);
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

function checkEvent(event: unknown): void {
  const type = (event as { type?: unknown } | null | undefined)?.type;
  if (typeof type !== "string" || type.length === 0 || type.length > 200 || isNoEvent(event)) {
    const got =
      typeof event === "string" ? `${described(event)}: write { type: ${described(event)} }` : described(event);
    throw errorOf(
      "InvalidRequest",
      `an event is an object whose \`type\` is a text of 1 to 200 characters; it got ${got}`,
    );
  }
}

/** What could be stored, but not with a type. */
function isNoEvent(event: unknown): boolean {
  return [Array, Map, Set, Date, Error].some((kind) => event instanceof kind);
}

function conditionOf<TLogic extends AnyActorLogic>(
  condition: WaitCondition<TLogic>,
): (state: ActorState<TLogic>) => boolean {
  if (typeof condition === "function") return condition as (state: ActorState<TLogic>) => boolean;
  if (condition === "done") return (state) => (state as { status: string }).status === "done";
  return (state) => (state as unknown as AnyMachineSnapshot).hasTag(condition as never);
}

function refuseOutside(): void {
  throw new Error(
    "a state that was read is a picture: its actors take no events; use runtime.actor(type, id).send(event)",
  );
}
