/**
 * The work of invoked and spawned logic, done for real after the commit: XState's own `start` runs against a scope
 * whose system tells the host of results. `effectOf` gives a user's function the key, token and attempt of its run.
 */
import { createActor, createMachine } from "xstate";
import type { Token } from "../ports/store.ts";
import { type Event, kindOf, promiseRejected, promiseResolved, type Ref, type Scope, stopEvent } from "./internals.ts";
import { originalOf } from "./stubs.ts";
import type { CollectedAction } from "./system.ts";

/** What an effect may know about its own run. */
export type EffectInfo = {
  /** `<type>/<id>/<born>/<sid>/<n>`: the same in every attempt, never used for another effect. */
  readonly key: string;
  /** The fencing token of the owner that runs it. Pass it to resources that can refuse a lower one. */
  readonly token: Token;
  /** 1 for the first attempt that was begun, as far as the document knows. */
  readonly attempt: number;
  /** W3C traceparent of the attempt's span, where there is telemetry: for whatever the effect calls. */
  readonly trace?: string;
};

const infos = new WeakMap<object, EffectInfo>();

/**
 * The key, token and attempt of the effect whose arguments these are: the arguments of a promise's, callback's or
 * observable's creator (`system` must be among them), or the first argument of a custom action.
 */
export function effectOf(args: { readonly system: object }): EffectInfo {
  const info = infos.get(args.system);
  if (info === undefined) {
    throw new Error(
      "effectOf(args) knows only the arguments that a durable actor passes to an effect; pass them on unchanged",
    );
  }
  return info;
}

export type LiveEvents = {
  /** A promise settled. Called at most once. */
  readonly settled: (
    outcome: { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown },
  ) => void;
  /** A callback, observable or custom logic sent this to an actor of its own tree. */
  readonly relayed: (target: Ref, event: Event) => void;
  /** The logic threw as it began. */
  readonly failed: (error: unknown) => void;
  readonly emitted: (event: Event) => void;
};

export type Live = {
  /** Aborts a promise's signal, disposes a callback, ends a subscription. Nothing is reported afterwards. */
  readonly stop: () => void;
  /** Hands an event to a callback's receivers. */
  readonly deliver: (event: Event) => void;
};

/** The actors that the stand-ins of their attempts stand for. */
const standIns = new WeakMap<object, Ref>();

/** A value that user code passes on, with the actors themselves in it: what an attempt knows as `self` stands for one. */
function withActors<T>(value: T, seen = new Set<unknown>()): T {
  if (typeof value !== "object" || value === null) return value;
  const actor = standIns.get(value);
  if (actor !== undefined) return actor as T;
  const isData = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (!isData || seen.has(value)) return value;
  seen.add(value);
  let copy: Record<string, unknown> | undefined;
  for (const [key, { value: member }] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
    const actual: unknown = withActors(member, seen);
    if (actual === member) continue;
    copy ??= (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
    copy[key] = actual;
  }
  return (copy ?? value) as T;
}

/** Begins the work of an actor. Never throws: what goes wrong is told to `events`. */
export function begin(ref: Ref, info: EffectInfo, events: LiveEvents): Live {
  const logic = originalOf(ref.logic);
  const promise = kindOf(logic) === "promise";
  let over = false;
  let settled = false;
  // A stand-in of its own for each attempt: XState keeps an attempt's abort controller and receivers by it.
  const self = Object.create(ref) as Ref;
  standIns.set(self, ref);
  self.getSnapshot = () => (over ? { ...ref._snapshot, status: "stopped" } : ref._snapshot);
  const system = Object.create(ref.system) as typeof ref.system;
  system._relay = (from, to, sent) => {
    if (over) return;
    const source = from === self ? ref : from;
    const target = withActors(to);
    const event = withActors(sent);
    if (!promise || target !== ref || (event.type !== promiseResolved && event.type !== promiseRejected)) {
      if (isOwn(source, target, ref)) events.relayed(target, event);
      else ref.system._relay(source, target, event);
      return;
    }
    if (settled) return;
    settled = true;
    events.settled(event.type === promiseResolved ? { ok: true, value: event.data } : { ok: false, error: event.data });
  };
  infos.set(system, info);
  Object.defineProperty(self, "system", { value: system });
  const emit = (event: Event) => {
    if (!over) events.emitted(withActors(event));
  };
  const scope: Scope = { ...ref._actorScope, self, system, emit };
  const snapshot = { ...ref._snapshot };
  try {
    logic.start?.(snapshot, scope);
  } catch (thrown) {
    over = true;
    events.failed(thrown);
  }
  const end = () => {
    if (over) return;
    over = true;
    try {
      logic.transition(snapshot, { type: stopEvent }, scope);
    } catch {
      // A disposer that throws cannot be told to anybody: its actor is gone from the document already.
    }
  };
  return {
    stop: end,
    deliver: (event) => {
      if (!over) logic.transition(snapshot, event, scope);
    },
  };
}

function isOwn(source: Ref | undefined, target: Ref, ref: Ref): boolean {
  return source === ref && (target === ref || target === ref._parent || target.system === ref.system);
}

/**
 * Runs a custom action as XState would have, with references to the live tree. May return a promise. `execute`: an
 * executor of XState's own, for a drop-in: XState's development build warns of `assign()` and such inside an action.
 */
export function perform(action: CollectedAction, ref: Ref, info: EffectInfo, execute: Executor = direct): unknown {
  const { exec } = action;
  if (exec === undefined) return undefined;
  const system = Object.create(ref.system) as typeof ref.system;
  infos.set(system, info);
  let result: unknown;
  execute({
    type: action.type,
    params: action.params,
    info: { context: action.context, event: action.event, self: ref, system },
    exec: (args, params) => {
      result = exec(args, params);
    },
  });
  return result;
}

export type Executor = Scope["actionExecutor"];

const direct: Executor = (action) => action.exec?.(action.info, action.params);

/** XState's own executor, of an actor that does nothing else. */
export function xstateExecutor(): Executor {
  return (createActor(createMachine({})).start() as unknown as Ref)._actorScope.actionExecutor;
}
