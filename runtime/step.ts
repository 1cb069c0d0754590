/**
 * The step of one actor: document and inputs in; document, replies and orders out. Pure: no clock, no dice, no I/O;
 * what it is told in `StepContext` is all it knows. The hot tree is consumed: after a step that was not committed, or
 * that failed, the actor is loaded again from its last committed text (`load`), which `step` does itself on a throw.
 *
 * S1 every new input that is acknowledged is in the returned text, also one that changes nothing.
 * S2 nothing of an input that was refused is in it.
 * S3 orders name only work that the returned text holds, or that is volatile by nature.
 */
import type { Address } from "./address.ts";
import type { ActorDefinition } from "./definition.ts";
import {
  type Cause,
  type DeadLetter,
  type Document,
  type DocumentStatus,
  formatVersion,
  readDocument,
  stateText,
} from "./document.ts";
import { type ErrorCode, errorOf, HoldfastError } from "./errors.ts";
import { hashText } from "./hash.ts";
import { Inbox, type RequestNumber, type Sender, type Settlement } from "./inbox.ts";
import { type Json, NotStorableError } from "./machine/codec.ts";
import { type Event, promiseRejected, promiseResolved } from "./machine/internals.ts";
import type { Collected, Sid, SystemOptions } from "./machine/system.ts";
import { Tree, type TreeOptions } from "./machine/tree.ts";
import { restoreTree } from "./migration.ts";
import { actionItem, itemText, type OutboxItem, readItem, readSend } from "./outbox.ts";
import { compareTokens, type Token } from "./ports/store.ts";
import { isTraceparent } from "./ports/telemetry.ts";
import { type Key, type Receipt, Window } from "./window.ts";

// ---- what goes in ----

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
  /** W3C traceparent of what led to this step; kept in the document. */
  readonly trace?: string | undefined;
  /** The largest document that the store will take, where it has shown less room than the definition's limit. */
  readonly documentBytes?: number | undefined;
};

// ---- what comes out ----

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

// ---- the actor in memory ----

/** The part of a document that is not the tree, the outbox, the window or the inbox. */
type Head = {
  seq: number;
  atMs: number;
  status: DocumentStatus;
  born: string;
  token: Token;
  expiresMs: number | undefined;
  dead: { count: number; last: DeadLetter[] };
  /** Of a tombstone. */
  output: Json | undefined;
  /** W3C traceparents of what led to the first commit that had one, and to the latest. */
  origin: string | undefined;
  trace: string | undefined;
};

export type ActorName = { readonly type: string; readonly id: string };

export type Actor = {
  readonly name: ActorName;
  readonly definition: ActorDefinition;
  readonly options: SystemOptions & Pick<TreeOptions, "live"> & { readonly handle?: Tree };
  /** How its documents begin, and what they say of the machine. */
  readonly prefix: string;
  readonly stamp: string;
  /** The committed document; undefined: there is none. */
  base: string | undefined;
  head: Head | undefined;
  tree: Tree | undefined;
  outbox: Map<number, OutboxItem>;
  window: Window;
  inbox: Inbox;
  /** Applied before anything else, in the next step: what a migration asked for. */
  pendingEvents: Event[];
};

/** Reads a committed document, or makes an actor that does not exist yet. Throws what `readDocument` and `restoreTree` throw. */
export function load(
  name: ActorName,
  definition: ActorDefinition,
  options: Actor["options"],
  base: string | undefined,
): Actor {
  const actor: Actor = {
    name,
    definition,
    options,
    prefix: `{"id":${JSON.stringify(name.id)},"type":"${name.type}","state":`,
    stamp: `","machine":{"version":${definition.version},"hash":"${definition.hash}"}`,
    base,
    head: undefined,
    tree: undefined,
    outbox: new Map(),
    window: new Window(),
    inbox: new Inbox(),
    pendingEvents: [],
  };
  if (base === undefined) return actor;
  const document = readDocument(base);
  actor.head = {
    seq: document.seq,
    atMs: Date.parse(document.at),
    status: document.status,
    born: document.born,
    token: document.token,
    expiresMs: document.expires === undefined ? undefined : Date.parse(document.expires),
    dead: { count: document.dead?.count ?? 0, last: [...(document.dead?.last ?? [])] },
    output: document.output,
    origin: isTraceparent(document.origin) ? document.origin : undefined,
    trace: isTraceparent(document.trace) ? document.trace : undefined,
  };
  actor.window = Window.read(document.seen);
  actor.inbox = Inbox.read(document.inbox);
  if (document.status === "deleted") {
    readTombstoneOutbox(actor, document);
    return actor;
  }
  const { tree, event } = restoreTree(document, definition, { ...options, rootId: name.id }, options.handle);
  actor.tree = tree;
  if (event !== undefined) actor.pendingEvents.push(event);
  for (const record of document.outbox) actor.outbox.set(record.n, readItem(record, tree));
  return actor;
}

/** When the actor next needs to be looked at without being asked: 0 for pending work, a time for timers, else undefined. */
export function dueMs(actor: Actor): number | undefined {
  const { head, tree } = actor;
  if (head === undefined) return undefined;
  let due: number | undefined = head.expiresMs;
  const consider = (ms: number | undefined) => {
    if (ms !== undefined && (due === undefined || ms < due)) due = ms;
  };
  for (const item of actor.outbox.values()) consider(item.dueMs ?? 0);
  if (actor.pendingEvents.length > 0) consider(0);
  // An actor that ended fires no timers, though children that outlived it may have left some.
  if (tree !== undefined && head.status === "active") {
    consider(tree.nextDueMs);
    if (tree.volatileSids().length > 0) consider(0);
  }
  return due;
}

// ---- the step ----

export function step(actor: Actor, inputs: readonly Input[], context: StepContext): Step {
  const run = new Run(actor, context);
  const replies: Reply[] = [];
  let firstBad = 0;
  try {
    run.migrate();
    for (const input of inputs) {
      firstBad = replies.length;
      replies.push(run.apply(input));
      // What comes after it meets an actor that does not exist.
      if (run.removes) break;
    }
    firstBad = -1;
    return run.finish(replies);
  } catch (thrown) {
    const fresh = load(actor.name, actor.definition, actor.options, actor.base);
    // Keep what went well: up to the input that threw, or half of them when the result as a whole is refused.
    const good = firstBad > 0 ? firstBad : firstBad < 0 ? Math.floor(inputs.length / 2) : 0;
    if (good > 0) return step(fresh, inputs.slice(0, good), context);
    const input = inputs[0] as Input;
    return { actor: fresh, replies: [refusal(input, thrown, actor)], taken: 1, text: undefined, orders: [] };
  }
}

/** One step in the making. */
class Run {
  readonly actor: Actor;
  readonly context: StepContext;
  readonly #causes: string[] = [];
  readonly #orders: Order[] = [];
  /** The time of this step: never before the document's own, unless that is more than 5 s ahead of our clock. */
  readonly #nowMs: number;
  /** The number that the commit will have. */
  readonly #seq: number;
  #commits = false;
  #purge = false;

  constructor(actor: Actor, context: StepContext) {
    this.actor = actor;
    this.context = context;
    const at = actor.head?.atMs ?? 0;
    this.#nowMs = Math.max(context.nowMs, Math.min(at, context.nowMs + 5_000));
    this.#seq = (actor.head?.seq ?? 0) + 1;
  }

  /** The document is to be removed: nothing of a later input could be kept. */
  get removes(): boolean {
    return this.#purge;
  }

  migrate(): void {
    for (const event of this.actor.pendingEvents.splice(0)) {
      this.#noteEvent(event, "by", "migration");
      this.#inTree((tree) => tree.send(event, this.#nowMs));
    }
  }

  apply(input: Input): Reply {
    switch (input.kind) {
      case "create":
        return this.#create(input);
      case "event":
        return this.#event(input);
      case "message":
        return this.#message(input);
      case "settled":
        if (this.actor.inbox.settle(input.settlement)) this.#note({ type: "holdfast.settled" });
        return { kind: "done" };
      case "timers":
        return this.#timers();
      case "timer":
        this.#fire(input.n);
        return { kind: "done" };
      case "stop":
        this.#note({ type: "xstate.stop" });
        this.#inTree((tree) => tree.stop(this.#nowMs));
        return { kind: "done" };
      case "result":
        return this.#result(input);
      case "relay":
        return this.#relay(input);
      case "failed":
        if (this.actor.head?.status === "deleted") return { kind: "done" };
        this.#note({ type: "holdfast.failed", sid: input.sid, error: this.#lossy(input.error) });
        this.#inTree((tree) => tree.fail(input.sid, input.error, this.#nowMs));
        return { kind: "done" };
      case "acted":
        if (this.actor.outbox.delete(input.n)) this.#note({ type: "holdfast.acted", n: input.n });
        return { kind: "done" };
      case "retry":
        return this.#retry(input);
      case "delivered":
        return this.#delivered(input);
      case "delete":
        return this.#delete(input);
      case "expire":
        return this.#expire();
      case "claim":
        if (this.actor.head !== undefined && compareTokens(this.actor.head.token, this.context.token) !== 0)
          this.#note({ type: "holdfast.claim" });
        return { kind: "done" };
      case "barrier":
        if (this.actor.head === undefined) return this.#missing();
        this.#note({ type: "holdfast.barrier" });
        return { kind: "receipt", receipt: { revision: this.#seq, changed: false }, duplicate: false };
    }
  }

  finish(replies: readonly Reply[]): Step {
    const { actor } = this;
    const taken = replies.length;
    if (this.#purge) return { actor, replies, taken, text: undefined, orders: this.#orders, purge: true };
    if (!this.#commits || actor.head === undefined)
      return { actor, replies, taken, text: undefined, orders: this.#orders };
    const text = this.#write(actor.head);
    return { actor, replies, taken, text, orders: this.#liveOrders() };
  }

  // ---- requests ----

  #create(input: Extract<Input, { kind: "create" }>): Reply {
    const { actor, context } = this;
    const hash = hashText(
      JSON.stringify([this.#plain(input.input, "input"), input.event ? this.#plain(input.event, "event") : 0]),
    );
    const known = this.#known(input.key, hash);
    if (known !== undefined) return known;
    if (actor.head !== undefined) {
      if (input.event !== undefined && actor.head.status !== "deleted") {
        return this.#event({ kind: "event", event: input.event, key: input.key }, hash);
      }
      const was =
        actor.head.status === "deleted"
          ? "was deleted, and its tombstone still guards keys: use another id, or purge it"
          : "exists: repeat create under its first key, or use createAndSend";
      return refuse("AlreadyExists", `${nameOf(actor)} ${was}`);
    }
    if (input.event !== undefined) {
      const wrong = this.#unusable(input.event);
      if (wrong !== undefined) return wrong;
    }
    actor.head = {
      seq: 0,
      atMs: this.#nowMs,
      status: "active",
      born: context.born,
      token: context.token,
      expiresMs: undefined,
      dead: { count: 0, last: [] },
      output: undefined,
      origin: undefined,
      trace: undefined,
    };
    this.#note(
      { type: "xstate.init", ...(input.input !== undefined && { input: this.#plain(input.input, "input") }) },
      input.key,
    );
    // A drop-in has made its tree already, and shows its initial snapshot before the start.
    actor.tree =
      actor.options.handle ??
      Tree.create(actor.definition.logic, { ...actor.options, rootId: actor.name.id }, input.input, this.#nowMs);
    this.#inTree((tree) => tree.start(this.#nowMs), true);
    if (input.event !== undefined) {
      const event = input.event;
      this.#note(this.#encodeEvent(event));
      this.#inTree((tree) => tree.send(event, this.#nowMs));
    }
    return this.#accept(input.key, hash, true);
  }

  #event(input: Extract<Input, { kind: "event" }>, givenHash?: string): Reply {
    const { actor } = this;
    const body = this.#encodeEvent(input.event);
    const text = JSON.stringify(body);
    // Automatic keys are never used for another body.
    const hash = input.key.kind === "auto" ? "" : (givenHash ?? hashText(text));
    const known = this.#known(input.key, hash);
    if (known !== undefined) return known;
    if (actor.head === undefined || actor.head.status === "deleted") return this.#missing();
    const wrong = this.#unusable(input.event);
    if (wrong !== undefined) return wrong;
    this.#noteText(text, body, input.key);
    // The machine gets what the document holds, not an object that the caller may still change.
    const event = actor.options.live === undefined ? this.#received(text, body === input.event) : input.event;
    const changed = this.#inTree((tree) => tree.send(event, this.#nowMs));
    return this.#accept(input.key, hash, changed);
  }

  #delete(input: Extract<Input, { kind: "delete" }>): Reply {
    const { actor } = this;
    const hash = "delete";
    const known = this.#known(input.key, hash);
    if (known !== undefined) return known;
    if (actor.head === undefined || actor.head.status === "deleted") return this.#missing();
    this.#note({ type: "holdfast.delete" }, input.key);
    this.#bury(actor.head);
    return this.#accept(input.key, hash, true);
  }

  #known(key: Key, hash: string): Reply | undefined {
    const found = this.actor.window.lookup(key, hash, this.actor.definition.limits);
    switch (found.kind) {
      case "new":
        return undefined;
      case "known":
        return { kind: "receipt", receipt: found.receipt, duplicate: true };
      case "reused":
        return refuse("KeyReused", `key ${describeKey(key)} of ${nameOf(this.actor)} was used for another body`);
      case "malformed":
        return refuse("InvalidRequest", `the name of a client is 1 to 64 letters, digits, ".", "-" and "_"`);
      case "tooManyGaps":
        return refuse(
          "Overloaded",
          `${found.gaps} earlier requests of this client to ${nameOf(this.actor)} have no outcome yet`,
        );
    }
  }

  #accept(key: Key, hash: string, changed: boolean): Reply {
    const receipt = { revision: this.#seq, changed };
    this.actor.window.add(key, hash, receipt, this.#nowMs, this.actor.definition.limits);
    this.#commits = true;
    return { kind: "receipt", receipt, duplicate: false };
  }

  #unusable(event: Event): Reply | undefined {
    if (reserved(event.type)) {
      return refuse(
        "UnknownEvent",
        `the type "${event.type}" is reserved: types beginning with "xstate." or "holdfast." come only from inside`,
      );
    }
    if (this.actor.definition.handles(event.type)) return undefined;
    return refuse("UnknownEvent", `no state of ${this.actor.name.type} ever handles "${event.type}"`);
  }

  #missing(): Reply {
    const deleted = this.actor.head?.status === "deleted";
    const why = deleted ? "was deleted: use another id" : "does not exist: create it first, or use createAndSend";
    return refuse("NotFound", `${nameOf(this.actor)} ${why}`);
  }

  // ---- messages between actors ----

  #message(input: Extract<Input, { kind: "message" }>): Reply {
    const { actor } = this;
    const { sender, number } = input;
    if (actor.head === undefined || actor.head.status !== "active") {
      const reason =
        actor.head === undefined
          ? "does not exist"
          : actor.head.status === "deleted"
            ? "was deleted"
            : `is ${actor.head.status}`;
      const upTo = actor.inbox.appliedUpTo(sender);
      const dead = input.items.filter((item) => item.n > upTo);
      return { kind: "message", upTo, dead: dead.map(({ n }) => ({ n, reason: `${nameOf(actor)} ${reason}` })) };
    }
    // A request that is older than this life may be one whose messages became dead letters for want of a receiver.
    if (input.life !== actor.head.born) return { kind: "life", life: actor.head.born };
    const floor = actor.inbox.refuses(sender.partition, number);
    if (floor !== undefined) return { kind: "renumber", floor };
    if (!actor.inbox.hasRoomFor(sender, actor.definition.limits)) {
      return refuse("Overloaded", `${nameOf(actor)} waits for ${actor.inbox.size} senders to settle`);
    }
    let upTo = actor.inbox.appliedUpTo(sender);
    const dead: { n: number; reason: string }[] = [];
    for (const { n, event } of input.items) {
      // Said again in every repetition: the first answer may not have been heard.
      const unusable = reserved(event.type) || !actor.definition.handles(event.type);
      if (unusable) dead.push({ n, reason: `no state of ${actor.name.type} ever handles "${event.type}"` });
      if (n <= upTo) continue;
      upTo = n;
      if (unusable) continue;
      this.#noteEvent(event, "from", sender.key);
      this.#inTree((tree) => tree.send(event, this.#nowMs));
    }
    actor.inbox.mark(sender, upTo, number, this.#nowMs);
    this.#commits = true;
    return { kind: "message", upTo, dead };
  }

  #delivered(input: Extract<Input, { kind: "delivered" }>): Reply {
    const reasons = new Map(input.dead.map(({ n, reason }) => [n, reason]));
    for (const item of this.actor.outbox.values()) {
      if (item.kind !== "send" || item.to.key !== input.to) continue;
      const reason = reasons.get(item.n);
      if (reason === undefined && item.n > input.upTo) continue;
      this.actor.outbox.delete(item.n);
      this.#note({ type: "holdfast.delivered", n: item.n, to: input.to });
      if (reason !== undefined) this.#deadLetter(item.n, item.to, item.event, reason);
    }
    return { kind: "done" };
  }

  #deadLetter(n: number, to: Address, event: Event, reason: string): void {
    const { dead } = this.actor.head as Head;
    dead.count++;
    dead.last.push({
      n,
      to: [to.type, to.id],
      event: this.#plain(event, "event"),
      reason,
      at: new Date(this.#nowMs).toISOString(),
    });
    while (dead.last.length > this.actor.definition.limits.deadLetters) dead.last.shift();
  }

  // ---- the actor's own inputs ----

  #timers(): Reply {
    const { tree, head, definition } = this.actor;
    if (tree === undefined || head?.status !== "active") return { kind: "done" };
    for (let fired = 0; fired < definition.limits.firesPerStep; fired++) {
      const timer = tree.dueTimers(this.#nowMs)[0];
      if (timer === undefined) break;
      this.#fire(timer.n);
      if (this.actor.head?.status !== "active") break;
    }
    return { kind: "done" };
  }

  #fire(n: number): void {
    const timer = this.actor.tree?.system.timers.get(n);
    if (timer === undefined) return;
    this.#noteEvent(timer.event, "timer", `t${n}`);
    this.#inTree((tree) => tree.fire(n, this.#nowMs));
  }

  #result(input: Extract<Input, { kind: "result" }>): Reply {
    const item = this.actor.outbox.get(input.n);
    const { tree } = this.actor;
    // Stopped since, or recorded before: this result is of no use to anybody.
    if (item?.kind !== "start" || tree === undefined) return { kind: "done" };
    let event: Event;
    let data: Json;
    try {
      if (input.outcome.ok) {
        data = tree.encodeValue(input.outcome.value, "result");
        event = { type: promiseResolved, data: input.outcome.value };
      } else {
        data = tree.encodeValue(input.outcome.error, "error");
        event = { type: promiseRejected, data: input.outcome.error };
      }
    } catch (thrown) {
      if (!(thrown instanceof NotStorableError)) throw thrown;
      data = tree.encodeValue(thrown, "error");
      event = { type: promiseRejected, data: thrown };
    }
    this.actor.outbox.delete(input.n);
    this.#note({ type: event.type, sid: item.sid, n: item.n, data });
    this.#inTree(() => tree.relay(item.sid, item.sid, event, this.#nowMs));
    return { kind: "done" };
  }

  #relay(input: Extract<Input, { kind: "relay" }>): Reply {
    const { tree, head } = this.actor;
    if (tree?.ref(input.target) === undefined || head?.status !== "active") return { kind: "done" };
    this.#noteEvent(input.event, "by", input.source ?? "outside");
    this.#inTree(() => tree.relay(input.source, input.target, input.event, this.#nowMs));
    return { kind: "done" };
  }

  #retry(input: Extract<Input, { kind: "retry" }>): Reply {
    const item = this.actor.outbox.get(input.n);
    if (item === undefined) return { kind: "done" };
    item.attempt = input.attempt;
    item.dueMs = input.dueMs;
    this.#note({ type: "holdfast.retry", n: input.n, attempt: input.attempt });
    return { kind: "done" };
  }

  #expire(): Reply {
    const { head, window, definition } = this.actor;
    if (head?.expiresMs === undefined || head.expiresMs > this.#nowMs) return { kind: "done" };
    if (head.status !== "deleted" && [...this.actor.outbox.values()].some((item) => item.kind !== "send")) {
      // Actions that wait for their turn, or for their next attempt, come first.
      this.#note({ type: "holdfast.expire" });
      head.expiresMs = this.#nowMs + 60_000;
      return { kind: "done" };
    }
    const openUntilMs = window.openUntilMs(definition.limits) ?? 0;
    const settled =
      ![...this.actor.outbox.values()].some((item) => item.kind === "send") && this.actor.inbox.size === 0;
    if (openUntilMs <= this.#nowMs && settled) {
      this.#purge = true;
      return { kind: "done" };
    }
    this.#note({ type: "holdfast.expire" });
    if (head.status !== "deleted") this.#bury(head);
    head.expiresMs = Math.max(openUntilMs, this.#nowMs + 60_000);
    this.#commits = true;
    return { kind: "done" };
  }

  /** Leaves a tombstone: born, counters, window and output stay; messages that are on their way are still delivered. */
  #bury(head: Head): void {
    const { actor } = this;
    const { tree } = actor;
    if (tree === undefined) return;
    head.output = tree.snapshot.output === undefined ? undefined : this.#plain(tree.snapshot.output, "output");
    tree.stop(this.#nowMs);
    this.#collect(tree.take());
    for (const sid of tree.volatileSids()) this.#orders.push({ kind: "stop", sid });
    tree.system.timers.clear();
    for (const item of actor.outbox.values()) {
      if (item.kind === "send") itemText(item, tree);
      else actor.outbox.delete(item.n);
      if (item.kind === "start") this.#orders.push({ kind: "stop", sid: item.sid });
    }
    head.status = "deleted";
    const openUntilMs = actor.window.openUntilMs(actor.definition.limits) ?? 0;
    head.expiresMs = Math.max(openUntilMs, this.#nowMs + actor.definition.limits.keyWindowMs);
  }

  // ---- the tree ----

  /** Runs one cascade and takes what it collected. Answers whether anything changed; throws when the machine threw. */
  #inTree(cascade: (tree: Tree) => void, initial = false): boolean {
    const { actor } = this;
    const { tree, head } = actor;
    if (tree === undefined || head === undefined) return false;
    this.#commits = true;
    const before = tree.snapshot;
    cascade(tree);
    const collected = tree.take();
    const after = tree.snapshot;
    const failed = after.status === "error" && (initial || before.status !== "error");
    if (failed && actor.definition.onError === "reject") {
      throw new MachineThrew(after.error);
    }
    this.#collect(collected);
    head.status = after.status;
    if (after.status !== "active") this.#end(tree, head);
    return after !== before || collected.length > 0;
  }

  #collect(collected: readonly Collected[]): void {
    const { actor } = this;
    const tree = actor.tree as Tree;
    for (const item of collected) {
      switch (item.kind) {
        case "action":
          this.#put(actionItem(tree.system.nextN++, item.sid, item.action, tree));
          break;
        case "emit":
          // Only the root's emitted events can be heard outside: `runtime.actor(…).on(…)`.
          if (item.sid === "s0") this.#put({ ...this.#pending(tree), kind: "emit", event: item.event });
          break;
        case "send":
          this.#put({ ...this.#pending(tree), kind: "send", sid: item.sid, to: item.to, event: item.event });
          break;
        case "start":
          if (tree.isPromise(item.sid)) this.#put({ ...this.#pending(tree), kind: "start", sid: item.sid });
          else this.#orders.push({ kind: "begin", sid: item.sid });
          break;
        case "stop":
          this.#forget(item.sid);
          break;
        default:
          this.#orders.push(item);
      }
    }
  }

  #pending(tree: Tree): { n: number; attempt: number; dueMs: undefined } {
    return { n: tree.system.nextN++, attempt: 1, dueMs: undefined };
  }

  #put(item: OutboxItem): void {
    this.actor.outbox.set(item.n, item);
    this.#orders.push({ kind: "outbox", item });
  }

  /** The work of this child is of no use any more. */
  #forget(sid: Sid): void {
    for (const item of this.actor.outbox.values()) {
      if (item.kind === "start" && item.sid === sid) this.actor.outbox.delete(item.n);
    }
    this.#orders.push({ kind: "stop", sid });
  }

  /** The root has ended: nothing of it may go on working, and retention begins. */
  #end(tree: Tree, head: Head): void {
    for (const item of this.actor.outbox.values()) if (item.kind === "start") this.#forget(item.sid);
    for (const sid of tree.volatileSids()) this.#orders.push({ kind: "stop", sid });
    const { retainDoneMs } = this.actor.definition;
    if (head.expiresMs === undefined && retainDoneMs !== undefined) head.expiresMs = this.#nowMs + retainDoneMs;
  }

  /** Without the work that ended within this same step. */
  #liveOrders(): Order[] {
    const { outbox } = this.actor;
    return this.#orders.filter((order) => order.kind !== "outbox" || outbox.has(order.item.n));
  }

  // ---- the text ----

  #write(head: Head): string {
    const { actor, context } = this;
    const { definition, tree } = actor;
    head.seq = this.#seq;
    head.atMs = this.#nowMs;
    head.token = context.token;
    if (context.trace !== undefined) {
      head.trace = context.trace;
      head.origin ??= context.trace;
    }
    const pinned: Sid[] = [];
    for (const item of actor.outbox.values()) if (item.kind === "action") pinned.push(item.sid);
    const encoded = head.status === "deleted" || tree === undefined ? undefined : tree.encode(pinned);
    let items = "";
    for (const item of actor.outbox.values()) {
      const text = tree === undefined ? (item as { text: string }).text : itemText(item, tree);
      items += items === "" ? text : `,${text}`;
    }
    const { limits } = definition;
    bound("pending effects and messages", actor.outbox.size, limits.outbox);
    bound("timers", tree?.system.timers.size ?? 0, limits.timers);
    const snapshot = tree?.snapshot;
    const tags = snapshot?.tags as Set<string> | undefined;
    const inbox = actor.inbox.text();
    const text =
      `${actor.prefix}${JSON.stringify(head.status === "deleted" ? "" : stateText(snapshot?.value))}` +
      `,"status":"${head.status}","at":"${new Date(head.atMs).toISOString()}","seq":${head.seq},"format":${formatVersion}` +
      `,"causes":[${this.#causes.join()}],"born":"${head.born}","token":[${head.token}],"commit":"${context.commit}${actor.stamp}` +
      (tags === undefined || tags.size === 0 ? "" : `,"tags":${JSON.stringify([...tags])}`) +
      `,"actors":${encoded?.actors ?? "{}"},"timers":${encoded?.timers ?? "{}"},"outbox":[${items}]` +
      `,"seen":${actor.window.text()},"next":${encoded?.next ?? "[0,0]"}` +
      (inbox === "" ? "" : `,"inbox":${inbox}`) +
      (head.dead.count === 0 ? "" : `,"dead":${JSON.stringify(head.dead)}`) +
      (head.expiresMs === undefined ? "" : `,"expires":"${new Date(head.expiresMs).toISOString()}"`) +
      (head.status !== "deleted" || head.output === undefined ? "" : `,"output":${JSON.stringify(head.output)}`) +
      (head.trace === undefined ? "}" : `,"origin":"${head.origin}","trace":"${head.trace}"}`);
    // A UTF-16 unit has at most 3 bytes: only texts near the bound are measured exactly.
    const mostBytes = Math.min(limits.documentBytes, context.documentBytes ?? Number.POSITIVE_INFINITY);
    if (text.length * 3 > mostBytes) {
      const bytes = new TextEncoder().encode(text).length;
      if (bytes > mostBytes) {
        throw errorOf(
          "TooLarge",
          `the document of ${nameOf(actor)} would have ${bytes} bytes; at most ${mostBytes} are allowed`,
        );
      }
    }
    return text;
  }

  /** An event as its JSON gives it back; without any tag in it, that is just what was parsed. */
  #received(text: string, plain: boolean): Event {
    const parsed = JSON.parse(text) as Json;
    return (plain ? parsed : this.actor.tree?.decodeValue(parsed)) as Event;
  }

  /** As `#note`, for a cause whose JSON is there already. */
  #noteText(text: string, cause: Cause, key: Key): void {
    // An event may have a field `key` of its own, which must not hide that of the request.
    if (this.actor.definition.redact !== undefined || Object.hasOwn(cause, "key")) return this.#note(cause, key);
    this.#commits = true;
    const described = key.kind === "auto" ? `"${describeKey(key)}"` : JSON.stringify(key.key);
    this.#causes.push(`${text.slice(0, -1)},"key":${described}}`);
  }

  #note(cause: Cause, key?: Key): void {
    this.#commits = true;
    const field = Object.hasOwn(cause, "key") ? "@key" : "key";
    const full: Cause = key === undefined ? cause : { ...cause, [field]: describeKey(key) };
    this.#causes.push(JSON.stringify(this.#redacted(full)));
  }

  /** An event and where it came from. A field of that name of the event's own stays as it is. */
  #noteEvent(event: Event, field: "by" | "from" | "timer", origin: string): void {
    const body = this.#encodeEvent(event);
    this.#note({ ...body, [Object.hasOwn(body, field) ? `@${field}` : field]: origin });
  }

  #redacted(cause: Cause): Cause {
    const { redact } = this.actor.definition;
    if (redact === undefined) return cause;
    try {
      return redact(cause);
    } catch (thrown) {
      // Nothing may be stored that the hook has not seen: the input is refused, as when the machine throws.
      throw new MachineThrew(thrown);
    }
  }

  #encodeEvent(event: Event): Cause {
    return this.#plain(event, `event ${event.type}`) as Cause;
  }

  #plain(value: unknown, path: string): Json {
    return (this.actor.tree ?? Tree.codec(this.actor.options)).encodeValue(value, path);
  }

  /** For what only people will read. */
  #lossy(value: unknown): Json {
    try {
      return this.#plain(value, "error");
    } catch {
      return String(value);
    }
  }
}

/** The machine's own error, on its way out of a step. */
class MachineThrew extends Error {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    super("the machine threw");
    this.thrown = thrown;
  }
}

function refusal(input: Input, thrown: unknown, actor: Actor): Reply {
  const error = thrown instanceof MachineThrew ? thrown.thrown : thrown;
  const fromCaller =
    input.kind === "event" || input.kind === "create" || input.kind === "delete" || input.kind === "barrier";
  if (!fromCaller) return { kind: "park", error };
  if (error instanceof HoldfastError) return { kind: "refused", error };
  if (thrown instanceof MachineThrew) {
    const message = error instanceof Error ? error.message : String(error);
    return refuse("Rejected", `${nameOf(actor)} refused the ${input.kind}: ${message}`, error);
  }
  throw thrown;
}

function refuse(code: ErrorCode, message: string, cause?: unknown): Reply {
  return { kind: "refused", error: errorOf(code, message, cause) };
}

function bound(what: string, count: number, limit: number): void {
  if (count > limit) throw errorOf("Overloaded", `the actor would have ${count} ${what}; at most ${limit} are allowed`);
}

function reserved(type: string): boolean {
  return type.startsWith("xstate.") || type.startsWith("holdfast.");
}

function nameOf(actor: Actor): string {
  return `${actor.name.type} ${JSON.stringify(actor.name.id)}`;
}

function describeKey(key: Key): string {
  return key.kind === "caller" ? key.key : `${key.client}.${key.number}`;
}

function readTombstoneOutbox(actor: Actor, document: Document): void {
  const codec = Tree.codec(actor.options);
  for (const record of document.outbox) {
    if (record.do !== "send") continue;
    actor.outbox.set(record.n, { ...readSend(record, codec), text: JSON.stringify(record) });
  }
}
