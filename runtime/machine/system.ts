/**
 * The ActorSystem that our actors live in: ids and time come from the document, sends to other documents and every
 * wish for an effect are collected as data. XState's actors call it; `tree.ts` drives it. One per tree.
 */
import { Address } from "../address.ts";
import { type ActionAddress, addressBookOf } from "./addresses.ts";
import {
  type AnySnapshot,
  type CustomAction,
  type Event,
  type InspectionEvent,
  isMachine,
  maxIterationsOf,
  type Observer,
  type Ref,
  running,
  type Scope,
  type System,
  stopped,
} from "./internals.ts";
import { NotStorableError } from "./not-storable.ts";
import { tellAfterStep } from "./observers.ts";
import { stubFor } from "./stubs.ts";

/** The id of an actor inside its document: `s` and a number never used twice in one life of the root. */
export type Sid = string;

/** What a step wants done, in the order in which XState would have done it. */
export type Collected =
  /** Run a user's action. `exec` is missing when the machine has no implementation of that name. */
  | { readonly kind: "action"; readonly sid: Sid; readonly action: CollectedAction }
  | { readonly kind: "emit"; readonly sid: Sid; readonly event: Event }
  /** Begin, end, or hand an event to, a promise, callback, observable or custom logic. */
  | { readonly kind: "start"; readonly sid: Sid }
  | { readonly kind: "stop"; readonly sid: Sid }
  | { readonly kind: "deliver"; readonly sid: Sid; readonly event: Event }
  | { readonly kind: "send"; readonly sid: Sid; readonly to: Address; readonly event: Event }
  /** A line of XState's `log` action. */
  | { readonly kind: "log"; readonly sid: Sid; readonly values: readonly unknown[] }
  /** Only in tests in one process: tell observers, inspectors, actors of other systems. */
  | { readonly kind: "notify"; readonly run: () => void };

export type CollectedAction = {
  readonly type: string;
  readonly params: unknown;
  readonly event: Event;
  readonly context: unknown;
  readonly exec: CustomAction["exec"];
  /** The machine that the action is of: the logic of the actor `sid`. */
  readonly address?: ActionAddress;
};

export type Timer = {
  /** From the document's counter: identity of this one firing. */
  readonly n: number;
  readonly source: Sid;
  readonly target: Sid | Address;
  /** What `cancel(id)` names; unique per source among the latest. */
  readonly id: string;
  readonly event: Event;
  /** Milliseconds since 1970. */
  readonly dueMs: number;
};

/** An event sent by code that runs outside a step: a promise's body, a callback, a person holding a reference. */
export type OutsideEvent = { readonly source: Sid | undefined; readonly target: Ref; readonly event: Event };

export type SystemOptions = {
  readonly onOutside: (event: OutsideEvent) => void;
  /** Given only by a drop-in: what `sessionId` shall be. Default: the id in the document. */
  readonly nameSession?: () => string;
  /** A drop-in in one process tells observers after the step, and may send to actors of other systems. */
  readonly inProcess?: {
    readonly clock: { setTimeout(fn: () => void, timeout: number): unknown };
    readonly logger: (...args: unknown[]) => void;
    /** Throws it where nobody can catch it, as XState does with errors that belong to no actor. */
    readonly reportUnhandled: (error: unknown) => void;
  };
};

const builtIns = new Set([
  "xstate.raise",
  "xstate.sendTo",
  "xstate.cancel",
  "xstate.spawnChild",
  "xstate.stopChild",
  "xstate.emit",
  "xstate.log",
]);

export class DurableSystem implements System {
  readonly refs = new Map<Sid, Ref>();
  readonly timers = new Map<number, Timer>();
  readonly options: SystemOptions;
  /** The time of the step, set by the tree before each input. */
  nowMs = 0;
  nextSid = 0;
  nextN = 1;
  /** Actors whose actions a drop-in runs at this moment: to XState they are in the middle of an event, and others wait. */
  readonly busy = new Set<Sid>();
  /** How deep we are inside steps; events sent at depth 0 come from outside. */
  depth = 0;
  /** Why the step that runs is to be refused: it has no end. Until it is, events are dropped and microsteps throw. */
  endless: Error | undefined;
  collected: Collected[] = [];
  /** Set while an actor of the document is rebuilt: its recorded id, instead of a new one. */
  rebuilding: Sid | undefined;
  /** Set while the root is constructed under its stand-in parent. */
  rootArriving = false;

  readonly _snapshot: { _scheduledEvents: Record<string, unknown> } = { _scheduledEvents: {} };
  readonly _clock: unknown;
  readonly _logger: (...args: unknown[]) => void;
  readonly scheduler: System["scheduler"];
  readonly #named = new Map<string, Ref>();
  readonly #nameOf = new WeakMap<Ref, string>();
  readonly #inspectors = new Set<Observer>();
  readonly #sessions = new Map<Sid, string>();
  /** The actor that is under construction. */
  #booked: Sid = "s0";
  /** Microsteps and events between actors in the step that runs, and how many it may have. */
  #moves = 0;
  #maxMoves = defaultMaxMoves;

  constructor(options: SystemOptions) {
    this.options = options;
    this._clock = options.inProcess?.clock ?? refusingClock;
    this._logger = options.inProcess?.logger ?? (() => {});
    this.scheduler = {
      schedule: (source, target, event, delay, id) => this.#schedule(source, target, event, delay, id),
      cancel: (source, id) => this.#cancel(source, id),
      cancelAll: (ref) => {
        for (const timer of this.timers.values()) if (timer.source === ref.sid) this.timers.delete(timer.n);
      },
    };
    this._relay = this._relay.bind(this);
    this.get = this.get.bind(this);
    this.getAll = this.getAll.bind(this);
    this.inspect = this.inspect.bind(this);
  }

  collect(item: Collected): void {
    this.collected.push(item);
  }

  // ---- a step's end ----

  /** The outermost step begins. */
  begin(): void {
    this.#moves = 0;
    this.#maxMoves = defaultMaxMoves;
    this.endless = undefined;
  }

  #move(ref: Ref, event: Event, snapshot: AnySnapshot): void {
    this.#moves++;
    if (this.#moves <= this.#maxMoves || this.endless !== undefined) return;
    const own = isMachine(ref.logic) ? maxIterationsOf(ref.logic) : undefined;
    if (own !== undefined) this.#maxMoves = Math.max(this.#maxMoves, own);
    if (this.#moves > this.#maxMoves) this.endless = endlessError(this.#maxMoves, ref, event, snapshot);
  }

  // ---- what XState's actors call ----

  /** XState asks at the head of an actor's constructor, and tells of the actor (see `#adopt`) before it makes another. */
  _bookId(): string {
    this.#booked = this.rebuilding ?? `s${this.nextSid++}`;
    this.rebuilding = undefined;
    return this.#sessionOf(this.#booked);
  }

  #sessionOf(sid: Sid): string {
    const { nameSession } = this.options;
    if (nameSession === undefined) return sid;
    let session = this.#sessions.get(sid);
    if (session === undefined) {
      session = nameSession();
      this.#sessions.set(sid, session);
    }
    return session;
  }

  _register(sessionId: string, ref: Ref): string {
    this.refs.set(ref.sid, ref);
    return sessionId;
  }

  _unregister(ref: Ref): void {
    const name = this.#nameOf.get(ref);
    if (name === undefined) return;
    this.#named.delete(name);
    this.#nameOf.delete(ref);
  }

  _set(systemId: string, ref: Ref): void {
    const existing = this.#named.get(systemId);
    if (existing !== undefined && existing !== ref) {
      throw new Error(`Actor with system ID '${systemId}' already exists.`);
    }
    this.#named.set(systemId, ref);
    this.#nameOf.set(ref, systemId);
  }

  get(systemId: string): Ref | undefined {
    return this.#named.get(systemId);
  }

  getAll(): Record<string, Ref> {
    return Object.fromEntries(this.#named);
  }

  /** The name under which the system finds this actor now. */
  nameOf(ref: Ref): string | undefined {
    return this.#nameOf.get(ref);
  }

  start(): void {}

  getSnapshot(): unknown {
    const scheduled: Record<string, unknown> = {};
    for (const timer of this.timers.values()) scheduled[`${this.#sessionOf(timer.source)}.${timer.id}`] = { ...timer };
    return { _scheduledEvents: scheduled };
  }

  inspect(observerOrFunction: unknown): { unsubscribe(): void } {
    const observer = (
      typeof observerOrFunction === "function" ? { next: observerOrFunction } : observerOrFunction
    ) as Observer;
    this.#inspectors.add(observer);
    return { unsubscribe: () => void this.#inspectors.delete(observer) };
  }

  _sendInspectionEvent(event: InspectionEvent): void {
    // XState tells of a new actor inside its constructor, before its first snapshot: the moment to make it ours.
    if (event.type === "@xstate.actor" && event.actorRef !== undefined) this.#adopt(event.actorRef);
    // And of each microstep, inside the transition: what is thrown here, the machine has thrown.
    if (event.type === "@xstate.microstep" && this.depth > 0) {
      this.#move(event.actorRef as Ref, event.event as Event, event.snapshot as AnySnapshot);
      if (this.endless !== undefined) throw this.endless;
    }
    if (this.#inspectors.size === 0) return;
    const resolved = { ...event, rootId: this.#sessionOf("s0") };
    const tell = () => {
      for (const inspector of this.#inspectors) inspector.next?.(resolved as never);
    };
    if (this.depth > 0) this.collect({ kind: "notify", run: tell });
    else tell();
  }

  _relay(source: Ref | undefined, target: Ref | Address, event: Event): void {
    if (target instanceof Address) {
      // An id that can be no key is the machine's error, here and now.
      const { key } = target;
      if (this.depth === 0) throw new Error(`sending to ${key} from outside a step does nothing durable`);
      this.collect({ kind: "send", sid: source?.sid ?? "s0", to: target, event });
      return;
    }
    if (this.depth === 0) {
      this.options.onOutside({ source: source?.sid, target, event });
      return;
    }
    if (this.busy.size > 0 && target?.system === (this as unknown) && this.busy.has(target.sid)) {
      this.collect({ kind: "notify", run: () => this.options.onOutside({ source: source?.sid, target, event }) });
      return;
    }
    if (target?.system === (this as unknown)) {
      this.#move(target, event, target._snapshot);
      // Not thrown: XState lets an error of an observer escape from the process.
      if (this.endless !== undefined) return;
    }
    this._sendInspectionEvent({ type: "@xstate.event", sourceRef: source, actorRef: target, event });
    // Without a target XState itself fails here with its own TypeError; machines may rely on it.
    if (target?.system === (this as unknown)) hand(target, event);
    else this.#relayToStranger(target, event);
  }

  #relayToStranger(target: Ref, event: Event): void {
    if (typeof target?._send !== "function") return target._send(event);
    if (this.options.inProcess === undefined) {
      throw strange(target, `event ${event.type}`);
    }
    this.collect({ kind: "notify", run: () => target.system._relay(undefined, target, event) });
  }

  // ---- timers ----

  #schedule(source: Ref, target: Ref | Address, event: Event, delay: number, id: string | undefined): void {
    if (!(target instanceof Address) && target.system !== (this as unknown)) {
      const { inProcess } = this.options;
      if (inProcess === undefined) throw strange(target, `delayed event ${event.type}`);
      // Only this process knows that actor, and so only its clock can keep the timer.
      const fire = () => target.system._relay(undefined, target, event);
      this.collect({ kind: "notify", run: () => void inProcess.clock.setTimeout(fire, delay) });
      return;
    }
    const n = this.nextN++;
    const finite = Number.isNaN(delay) ? 0 : Math.min(Math.max(delay, 0), longestDelayMs);
    this.timers.set(n, {
      n,
      source: source.sid,
      target: target instanceof Address ? target : target.sid,
      id: id ?? `t${n}`,
      event,
      dueMs: this.nowMs + finite,
    });
  }

  #cancel(source: Ref, id: string): void {
    let latest: Timer | undefined;
    for (const timer of this.timers.values()) {
      if (timer.source === source.sid && timer.id === id) latest = timer;
    }
    if (latest !== undefined) this.timers.delete(latest.n);
  }

  // ---- making an XState actor ours ----

  #adopt(ref: Ref): void {
    if (this.rootArriving) {
      this.rootArriving = false;
      ref._parent = undefined;
      delete ref.options.parent;
    }
    ref.sid = this.#booked;
    this.refs.set(ref.sid, ref);
    // The book must know the machine before its first step: see addresses.ts.
    if (isMachine(ref.logic)) addressBookOf(ref.logic);
    ref.logic = stubFor(ref.logic);
    this.#adoptScope(ref._actorScope, ref);
    this.#adoptObservers(ref);
  }

  #adoptScope(scope: Scope, ref: Ref): void {
    const original = scope.actionExecutor;
    const { sid } = ref;
    // XState's own executor keeps an action that is met before the start until the start; so it decides when.
    scope.actionExecutor = (action) => {
      if (action.exec === undefined || builtIns.has(action.type)) return original(action);
      original({ ...action, exec: () => this.collect({ kind: "action", sid, action: toCollected(action) }) });
    };
    const emit = scope.emit;
    scope.emit = (event) => {
      this.collect({ kind: "emit", sid, event });
      if (this.options.inProcess !== undefined) this.collect({ kind: "notify", run: () => emit(event) });
    };
    scope.logger = (...values) => this.collect({ kind: "log", sid, values });
  }

  #adoptObservers(ref: Ref): void {
    const { inProcess } = this.options;
    if (inProcess === undefined) {
      // Nobody in the process listens to a durable actor; its error is in its snapshot, where the step looks.
      ref._reportError = () => {};
      return;
    }
    const afterStep = (run: () => void) => {
      if (this.depth > 0) this.collect({ kind: "notify", run });
      else run();
    };
    tellAfterStep(ref, () => this.depth > 0, afterStep, inProcess.reportUnhandled);
  }
}

/** Of a step, unless a machine in it asks for more with `options: { maxIterations }`. Far above what work needs. */
export const defaultMaxMoves = 10_000;

function endlessError(max: number, ref: Ref, event: Event, snapshot: AnySnapshot): Error {
  const state = "value" in snapshot ? ` in state ${JSON.stringify(snapshot.value)}` : "";
  return new Error(
    `the step has no end: after ${max} microsteps and events between its actors, "${ref.id}"${state} is still at work on ` +
      `"${event.type}"; look for a cycle of \`always\`, \`raise\` or sends (a machine that needs more says so with ` +
      "`options: { maxIterations }`)",
  );
}

/** About 285,000 years: what a date can hold. */
const longestDelayMs = 8.64e15 / 2;

const refusingClock = {
  setTimeout: () => {
    throw new Error("a durable actor has no clock of its own: use `after` or a delayed event, which are kept");
  },
  clearTimeout: () => {},
};

/**
 * Gives an actor an event as XState does. All that one which has ended does with it is to warn in the development build,
 * with the event as JSON; XState before 5.32.5 fails there when JSON cannot hold it.
 */
export function hand(target: Ref, event: Event): void {
  if (!hasStopped(target)) return target._send(event);
  try {
    target._send(event);
  } catch {
    target._send({ type: event.type });
  }
}

function strange(target: Ref, what: string): NotStorableError {
  const reason = `sent to "${target.id}", an actor of another system`;
  return new NotStorableError(what, reason, "send it to address(type, id)");
}

function toCollected(action: CustomAction): CollectedAction {
  return {
    type: action.type,
    params: action.params,
    event: action.info.event,
    context: action.info.context,
    exec: action.exec,
  };
}

export function isRunning(ref: Ref): boolean {
  return ref._processingStatus === running;
}

export function hasStopped(ref: Ref): boolean {
  return ref._processingStatus === stopped;
}
