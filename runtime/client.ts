/**
 * The typed client: one handle per actor. Requests go to the owner (`client/requests.ts`); reads come from the store, and
 * prove nothing (a `linearizable` one commits).
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
import { described } from "./argument.ts";
import { checkFlag, checkHandler, checkOptions, checkTime } from "./client/arguments.ts";
import {
  ActorRequests,
  type AnEvent,
  type Request,
  type RequestsEnv,
  type SendOptions,
  type SendResult,
} from "./client/requests.ts";
import type { ActorDefinition } from "./definition.ts";
import { type Cause, type Document, readDocument } from "./document.ts";
import { errorOf, IncompatibleError, NotFoundError, ParkedError, StoppedError, WaitEndedError } from "./errors.ts";
import { pause } from "./host/commit.ts";
import { readParked, whyParked } from "./host/parking.ts";
import { actorKey, parkedKey } from "./keys.ts";
import type { ListOptions } from "./listing.ts";
import type { Json } from "./machine/codec.ts";
import { Tree } from "./machine/tree.ts";
import { type RestoredTree, restoreTree } from "./migration.ts";
import type { ActorStore, StoredEntry } from "./ports/store.ts";
import type { Watcher } from "./watcher.ts";

export type { SendOptions, SendResult } from "./client/requests.ts";

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

export type ClientEnv = RequestsEnv & { readonly store: ActorStore; readonly watcher: Watcher };

export class ActorHandle<TLogic extends AnyActorLogic> {
  readonly type: string;
  readonly id: string;
  readonly key: string;
  readonly #env: ClientEnv;
  readonly #definition: ActorDefinition<TLogic>;
  readonly #requests: ActorRequests;
  /** The highest revision of the store that this handle has shown: a lower read is repeated. */
  #seen = 0;

  constructor(env: ClientEnv, definition: ActorDefinition<TLogic>, type: string, id: string) {
    this.#env = env;
    this.#definition = definition;
    this.type = type;
    this.id = id;
    this.key = actorKey(type, id);
    this.#requests = new ActorRequests(env, type, this.key, definition.limits);
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
    await this.#requests.ask({ op: "purge", actor: this.key, force: options.force ?? false }, () =>
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
    await this.#requests.ask({ op: "resume", actor: this.key, mode }, () => this.#env.host?.resume(this.key, mode));
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
        if (entry === undefined || isOver) return;
        const parked = readParked(entry.value);
        const why = parked === undefined ? "the parking record cannot be read" : whyParked(parked);
        const error = new ParkedError(`${this.key} is parked: ${why}`);
        if (parked?.reason !== "incompatible") return failed(error);
        // The machine of its owner may not be the one that refused it: its answer tells.
        await this.#request({ kind: "barrier" }, undefined).catch((thrown: { readonly code?: unknown }) => {
          // Many wait: what becomes of it shows all the same.
          if (thrown.code !== "Overloaded") failed(error);
        });
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

  #request(request: Request, options: SendOptions | undefined): Promise<SendResult> {
    return this.#requests.send(request, options);
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
