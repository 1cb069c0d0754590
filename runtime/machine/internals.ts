/**
 * The parts of XState 5 that its types do not show and that this folder leans on. Each is pinned, for the oldest and
 * the newest supported version, by `internals.contract.test.ts`. Nothing outside this folder may know them.
 */
import type { AnyActorLogic, AnyEventObject, AnyStateMachine } from "xstate";

export type Event = AnyEventObject;

/** XState's `ProcessingStatus`. */
export const notStarted = 0;
export const running = 1;
export const stopped = 2;

export const initial = "xstate.init";
export const stopEvent = "xstate.stop";
export const promiseResolved = "xstate.promise.resolve";
export const promiseRejected = "xstate.promise.reject";

export type AnySnapshot = {
  status: "active" | "done" | "error" | "stopped";
  output?: unknown;
  error?: unknown;
  [field: string]: unknown;
};

export type MachineState = AnySnapshot & {
  machine: AnyStateMachine;
  value: unknown;
  context: Record<string, unknown>;
  children: Record<string, Ref>;
  historyValue: Record<string, readonly { id: string }[]>;
};

export type CustomAction = {
  type: string;
  params: unknown;
  info: { context: unknown; event: Event; self: Ref; system: unknown };
  exec: ((info: unknown, params: unknown) => unknown) | undefined;
};

export type Scope = {
  self: Ref;
  id: string;
  sessionId: string;
  logger: (...args: unknown[]) => void;
  defer: (fn: () => void) => void;
  system: System;
  stopChild: (child: Ref) => void;
  emit: (event: Event) => void;
  actionExecutor: (action: CustomAction) => void;
};

export type Observer = {
  next?: ((snapshot: AnySnapshot) => void) | undefined;
  error?: ((error: unknown) => void) | undefined;
  complete?: (() => void) | undefined;
};

export type Mailbox = { _active: boolean; start(): void; clear(): void; enqueue(event: Event): void };

/** An XState `Actor`, children and root alike. */
export type Ref = {
  logic: Logic;
  id: string;
  /** What XState and users see; our own number of it is `sid`, put there when the actor becomes ours. */
  sessionId: string;
  sid: string;
  src: unknown;
  system: System;
  options: { input?: unknown; parent?: unknown; [option: string]: unknown };
  mailbox: Mailbox;
  observers: Set<unknown>;
  eventListeners: Map<string, Set<unknown>>;
  _snapshot: AnySnapshot;
  _processingStatus: number;
  _parent: Ref | undefined;
  _syncSnapshot: boolean | undefined;
  _actorScope: Scope;
  _deferred: (() => void)[];
  _process(event: Event): void;
  _send(event: Event): void;
  _stop(): Ref;
  _error(error: unknown): void;
  _complete(): void;
  _reportError(error: unknown): void;
  _stopProcedure(): Ref;
  update(snapshot: AnySnapshot, event: Event): void;
  start(): Ref;
  send(event: Event): void;
  subscribe(...args: unknown[]): { unsubscribe(): void };
  getSnapshot(): AnySnapshot;
};

export type Logic = {
  config?: unknown;
  transition(snapshot: AnySnapshot, event: Event, scope: Scope): AnySnapshot;
  getInitialSnapshot(scope: Scope, input: unknown): AnySnapshot;
  getPersistedSnapshot(snapshot: AnySnapshot, options?: unknown): AnySnapshot;
  restoreSnapshot?(snapshot: AnySnapshot, scope: Scope): AnySnapshot;
  start?(snapshot: AnySnapshot, scope: Scope): void;
};

/** XState's `ActorSystem`, as its actors call it. */
export type System = {
  _bookId(): string;
  _register(sessionId: string, ref: Ref): string;
  _unregister(ref: Ref): void;
  _set(systemId: string, ref: Ref): void;
  _relay(source: Ref | undefined, target: Ref, event: Event): void;
  _sendInspectionEvent(event: InspectionEvent): void;
  get(systemId: string): Ref | undefined;
  getAll(): Record<string, Ref>;
  inspect(observer: unknown): { unsubscribe(): void };
  getSnapshot(): unknown;
  start(): void;
  scheduler: {
    schedule(source: Ref, target: Ref, event: Event, delay: number, id?: string): void;
    cancel(source: Ref, id: string): void;
    cancelAll(ref: Ref): void;
  };
  _snapshot: { _scheduledEvents: Record<string, unknown> };
  _clock: unknown;
  _logger: (...args: unknown[]) => void;
};

export type InspectionEvent = { type: string; actorRef?: Ref; [field: string]: unknown };

export type LogicKind = "machine" | "promise" | "callback" | "observable" | "transition" | "custom";

const kinds = new WeakMap<object, LogicKind>();

/** What a logic is, found out by asking it: XState puts no mark on it. */
export function kindOf(logic: Logic): LogicKind {
  let kind = kinds.get(logic);
  if (kind === undefined) {
    kind = probe(logic);
    kinds.set(logic, kind);
  }
  return kind;
}

export function isMachine(logic: unknown): logic is AnyStateMachine & AnyActorLogic {
  return typeof logic === "object" && logic !== null && "__xstatenode" in logic && "root" in logic;
}

/** What the machine's own configuration says. Before 5.33 XState does not know the option, and we alone heed it. */
export function maxIterationsOf(machine: AnyStateMachine): number | undefined {
  const { options } = machine.config as { options?: { maxIterations?: unknown } };
  return typeof options?.maxIterations === "number" ? options.maxIterations : undefined;
}

function probe(logic: Logic): LogicKind {
  if (isMachine(logic)) return "machine";
  if (logic.start === undefined) return "transition";
  // XState's own creators: an observable's initial snapshot has a place for its subscription; a promise knows its own
  // result event; a callback, given a reference that it never saw, has no receivers to call and throws.
  const scope = { self: {} } as Scope;
  try {
    const first = logic.getInitialSnapshot(scope, undefined);
    if ("_subscription" in first) return "observable";
    try {
      const next = logic.transition(first, { type: promiseResolved, data: undefined }, scope);
      return next.status === "done" ? "promise" : "custom";
    } catch (thrown) {
      return thrown instanceof TypeError ? "callback" : "custom";
    }
  } catch {
    return "custom";
  }
}
