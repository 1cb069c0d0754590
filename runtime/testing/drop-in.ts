/**
 * A drop-in for XState's `createActor`: the same signature and surface, synchronous, in memory, with XState's own error
 * semantics; but every event goes through document, JSON, step, commit and effects, as in the runtime. The modes make
 * it hostile: strict storage, objects rebuilt from JSON, a crash before each event, everything delivered twice.
 */
import { type Actor, type ActorOptions, type AnyActorLogic, createActor as createXStateActor } from "xstate";
import { defineActor } from "../definition.ts";
import type { Document } from "../document.ts";
import { LiveTable } from "../machine/codec.ts";
import type { AnySnapshot, Event, Ref } from "../machine/internals.ts";
import { begin, type EffectInfo, type Executor, type Live, perform, xstateExecutor } from "../machine/live.ts";
import { hand, type OutsideEvent, type Sid } from "../machine/system.ts";
import { Tree, type TreeOptions } from "../machine/tree.ts";
import { type KeysOf, refuseUnknown } from "../options.ts";
import type { ActionItem, OutboxItem } from "../outbox.ts";
import { type Actor as DurableActor, type Input, load, type Order, step } from "../step.ts";

export type DropInModes = {
  /** Refuse what cannot be stored, as the runtime does, instead of keeping it in memory. */
  readonly strict?: boolean;
  /** Rebuild every value from JSON before each event and after the last. References to actors stay usable. */
  readonly rebuild?: boolean;
  /** Crash and recover from JSON before each event and timer and after the last: only the root's handle survives. */
  readonly crash?: boolean;
  /** Deliver each event twice under one key; the second delivery must change nothing. */
  readonly duplicate?: boolean;
  /** The clock of actors that are given none. */
  readonly clock?: DropInClock;
};

const dropInModes: KeysOf<DropInModes> = { strict: true, rebuild: true, crash: true, duplicate: true, clock: true };

/** XState's clock: SimulatedClock is one. */
export type DropInClock = {
  setTimeout(fn: (...args: unknown[]) => void, timeout: number): unknown;
  clearTimeout(id: unknown): void;
  now?(): number;
};

type CreateActor = <TLogic extends AnyActorLogic>(
  logic: TLogic,
  options?: Partial<ActorOptions<TLogic>>,
) => Actor<TLogic>;

/** As XState's own: what cannot be stored stays in memory. */
export const createActor: CreateActor = createActorWith({});

/** A `createActor` in which the given things go wrong at every opportunity. */
export function createActorWith(modes: DropInModes): CreateActor {
  refuseUnknown("modes of createActorWith", modes, dropInModes, TypeError);
  return (logic, options) => {
    // A child of somebody's own actor lives in that actor's system.
    if ((options as { parent?: unknown } | undefined)?.parent !== undefined)
      return createXStateActor(logic, options as never);
    return new DropIn(logic, (options ?? {}) as Record<string, unknown>, modes).root as unknown as Actor<typeof logic>;
  };
}

const systemClock: DropInClock = {
  setTimeout: (fn, timeout) => setTimeout(fn, timeout),
  clearTimeout: (id) => clearTimeout(id as ReturnType<typeof setTimeout>),
};

/** XState numbers the actors of all systems of a process together; tests that print ids see the same ones. */
let nextSession = 0;

class DropIn {
  readonly root: Ref;
  readonly #modes: DropInModes;
  readonly #clock: DropInClock;
  readonly #logger: (...values: unknown[]) => void;
  readonly #tree: Tree;
  #actor: DurableActor;
  readonly #queue: Input[] = [];
  #draining = false;
  #executor: Executor | undefined;
  #commits = 0;
  #events = 0;
  readonly #live = new Map<Sid, Live>();
  /** A callback or observable is at work; what it sends meanwhile, it would send again after a crash. */
  #atWork = false;
  readonly #saidAtWork = new WeakSet<Input>();
  /** Timers that the clock knows, by their number. */
  readonly #scheduled = new Map<number, unknown>();
  /** Outbox items that are done: their removal rides with the next step. */
  readonly #acted: number[] = [];

  constructor(logic: AnyActorLogic, options: Record<string, unknown>, modes: DropInModes) {
    this.#modes = modes;
    this.#clock = (options.clock as DropInClock | undefined) ?? modes.clock ?? systemClock;
    this.#logger = (options.logger as ((...values: unknown[]) => void) | undefined) ?? console.log.bind(console);
    const { id, input, inspect, snapshot, state, systemId } = options;
    const restored = resumable(snapshot ?? state);
    const treeOptions: TreeOptions = {
      onOutside: (event) => this.#outside(event),
      inProcess: { clock: this.#clock, logger: this.#logger, reportUnhandled },
      nameSession: () => `x:${nextSession++}`,
      ...(!modes.strict && { live: new LiveTable() }),
      ...(id !== undefined && { rootId: id as string }),
      ...(inspect !== undefined && { inspect }),
      root: {
        ...(systemId !== undefined && { systemId }),
        ...(restored !== undefined && { snapshot: restored }),
      },
      keep: modes.crash ? "root" : "all",
    };
    this.#tree = Tree.create(logic, treeOptions, input, this.#now());
    this.root = this.#tree.root;
    const definition = {
      ...defineActor(logic, { onError: "error" }),
      handles: () => true,
    };
    this.#actor = load({ type: "test", id: "root" }, definition, { ...treeOptions, handle: this.#tree }, undefined);
    // Inspectors were told of the new actor; the effects of its first step wait for the start.
    this.#perform(this.#tree.system.collected.filter((item) => item.kind === "notify") as Order[]);
    this.#tree.system.collected = this.#tree.system.collected.filter((item) => item.kind !== "notify");
    this.#restoreTimers(restored?.timers);
    this.#extendPersistence();
    const start = this.root.start.bind(this.root);
    this.root.start = () => {
      if (this.#tree.system.depth > 0 || this.root._processingStatus !== 0) return start();
      this.#offer({ kind: "create", input: undefined, key: this.#key() });
      return this.root;
    };
    (this.root as Ref & { stop(): Ref }).stop = () => {
      if (this.root._processingStatus === 1) this.#stop();
      else this.root._stop();
      return this.root;
    };
  }

  // ---- what comes in ----

  #outside({ source, target, event }: OutsideEvent): void {
    if (target.system !== (this.#tree.system as unknown)) {
      target.system._relay(undefined, target, event);
      return;
    }
    if (target._processingStatus !== 1) {
      // Before the start XState keeps events, after the end it ignores them.
      this.#tree.system._sendInspectionEvent({ type: "@xstate.event", sourceRef: undefined, actorRef: target, event });
      hand(target, event);
      return;
    }
    if (target.sid === "s0" && source === undefined && !event.type.startsWith("xstate.")) {
      const input: Input = { kind: "event", event, key: this.#key() };
      if (this.#atWork) this.#saidAtWork.add(input);
      this.#offer(input);
      return;
    }
    const relay: Input = { kind: "relay", source, target: target.sid, event };
    if (this.#atWork) this.#saidAtWork.add(relay);
    // An action that sends to a child has its answer before the next action runs, as in XState.
    if (this.#draining && target.sid !== "s0" && !this.#tree.system.busy.has(target.sid)) this.#take(relay);
    else this.#offer(relay);
  }

  /** XState forgets the events that wait for an actor which is told to stop. */
  #stop(): void {
    const kept = this.#queue.filter(
      (input) => input.kind !== "event" && (input.kind !== "relay" || input.target !== "s0"),
    );
    this.#queue.splice(0, this.#queue.length, ...kept);
    this.#offer({ kind: "stop" });
  }

  #key(): Extract<Input, { kind: "event" }>["key"] {
    this.#events++;
    return { kind: "auto", client: "test", number: this.#events, low: this.#events };
  }

  #offer(input: Input): void {
    this.#queue.push(input);
    if (this.#draining) return;
    this.#draining = true;
    try {
      while (this.#queue.length > 0) {
        let last = input;
        for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
          this.#take(next);
          last = next;
        }
        // Whoever looks now sees what was stored. What begins anew may speak at once, and is heard in the next round.
        this.#lose(last);
      }
    } finally {
      this.#draining = false;
    }
  }

  // ---- one step ----

  #take(input: Input): void {
    if (input.kind !== "create") this.#lose(input);
    this.#step(input);
    if (this.#modes.duplicate && (input.kind === "event" || input.kind === "result" || input.kind === "timer"))
      this.#again(input);
  }

  /** Before each input and after the last, what the mode takes away. */
  #lose(input: Input): void {
    if (this.#actor.base === undefined) return;
    // While an action runs, a crash would take with it the code that waits for this very step.
    const crash = this.#tree.system.busy.size === 0 && !ofThisProcess(input) && !this.#saidAtWork.has(input);
    if (this.#modes.crash && crash) this.#crash();
    else if (!this.#modes.crash && this.#modes.rebuild) this.#reload();
  }

  #step(input: Input): void {
    const inputs: Input[] = [...this.#acted.splice(0).map((n) => ({ kind: "acted" as const, n })), input];
    const before = new Map<Sid, AnySnapshot>();
    for (const [sid, ref] of this.#tree.system.refs) before.set(sid, ref._snapshot);
    for (let rest = inputs; rest.length > 0; ) {
      const result = step(this.#actor, rest, this.#context());
      this.#actor = result.actor;
      if (result.text !== undefined) {
        this.#actor.base = result.text;
        this.#commits++;
      }
      const refused = result.replies.find((reply) => reply.kind === "refused" || reply.kind === "park");
      if (refused !== undefined)
        throw refused.kind === "refused" ? (refused.error.cause ?? refused.error) : refused.error;
      rest = rest.slice(result.taken);
      this.#schedule();
      this.#perform(result.orders, before);
    }
  }

  #again(input: Input): void {
    const before = this.#actor.base;
    const result = step(this.#actor, [input], this.#context());
    this.#actor = result.actor;
    const duplicate = result.replies.every(
      (reply) => reply.kind === "done" || (reply.kind === "receipt" && reply.duplicate),
    );
    if (!duplicate || result.text !== undefined || result.orders.length > 0) {
      throw new Error(`the second delivery of ${input.kind} changed something: ${before} -> ${result.text}`);
    }
  }

  #context(): Parameters<typeof step>[2] {
    return { nowMs: this.#now(), token: [1, 0], commit: `c${this.#commits}`, born: "test" };
  }

  #now(): number {
    return this.#clock.now?.() ?? Date.now();
  }

  // ---- rebuild and crash ----

  #reload(): void {
    this.#actor = load(this.#actor.name, this.#actor.definition, this.#actor.options, this.#actor.base);
    this.#tree.system.collected = [];
  }

  #crash(): void {
    for (const live of this.#live.values()) live.stop();
    this.#live.clear();
    for (const handle of this.#scheduled.values()) this.#clock.clearTimeout(handle);
    this.#scheduled.clear();
    this.#reload();
    this.#schedule();
    const acted = new Set(this.#acted);
    for (const item of this.#actor.outbox.values()) if (!acted.has(item.n)) this.#run(item);
    for (const sid of this.#tree.volatileSids()) this.#begin(sid, 0, 1);
  }

  // ---- effects ----

  /** `before` holds the snapshots that an actor falls back to when its action throws. */
  #perform(orders: readonly Order[], before: ReadonlyMap<Sid, AnySnapshot> = new Map()): void {
    const failed = new Set<Sid>();
    for (const order of orders) {
      switch (order.kind) {
        case "outbox":
          if (order.item.kind === "action" && failed.has(order.item.sid)) this.#acted.push(order.item.n);
          else if (!this.#run(order.item, before)) failed.add((order.item as ActionItem).sid);
          break;
        case "begin":
          this.#begin(order.sid, 0, 1);
          break;
        case "deliver":
          this.#deliver(order.sid, order.event);
          break;
        case "stop":
          this.#live.get(order.sid)?.stop();
          this.#live.delete(order.sid);
          break;
        case "log":
          this.#logger(...order.values);
          break;
        case "notice":
          break;
        case "notify":
          order.run();
          break;
      }
    }
  }

  /** Answers false when an action threw: the later ones of the same actor are not run, as in XState. */
  #run(item: OutboxItem, before: ReadonlyMap<Sid, AnySnapshot> = new Map()): boolean {
    switch (item.kind) {
      case "start":
        this.#begin(item.sid, item.n, item.attempt);
        return true;
      case "action":
        return this.#act(item, before.get(item.sid));
      default:
        // Emitted events reach their listeners as notifications; there is no other root actor to send to.
        this.#acted.push(item.n);
        return true;
    }
  }

  #act(item: ActionItem, before: AnySnapshot | undefined): boolean {
    // A crash since its step was committed has led to its being run already.
    if (!this.#actor.outbox.has(item.n) || this.#acted.includes(item.n)) return true;
    this.#acted.push(item.n);
    const ref = this.#tree.ref(item.sid);
    if (ref === undefined) return true;
    if (item.missing !== undefined) throw new Error(item.missing);
    const { busy } = this.#tree.system;
    const inner = busy.has(item.sid);
    busy.add(item.sid);
    try {
      this.#executor ??= xstateExecutor();
      perform(item.action, ref, this.#info(item.sid, item.n, item.attempt), this.#executor);
      return true;
    } catch (error) {
      if (before?.status === "active") this.#fallBack(ref, before);
      this.#step({ kind: "failed", sid: item.sid, error });
      return false;
    } finally {
      if (!inner) busy.delete(item.sid);
    }
  }

  /** To XState, a transition whose action throws never was. */
  #fallBack(ref: Ref, before: AnySnapshot): void {
    ref._snapshot = before;
    for (const child of Object.values(childrenOf(ref))) this.#tree.system.refs.set(child.sid, child);
  }

  #begin(sid: Sid, n: number, attempt: number): void {
    const ref = this.#tree.ref(sid);
    if (ref === undefined || this.#live.has(sid)) return;
    const outer = this.#atWork;
    this.#atWork = true;
    // Never throws.
    const live = begin(ref, this.#info(sid, n, attempt), {
      settled: (outcome) => {
        this.#live.delete(sid);
        this.#offer({ kind: "result", n, outcome });
      },
      failed: (error) => this.#offer({ kind: "failed", sid, error }),
      relayed: (target, event) => this.#offer({ kind: "relay", source: sid, target: target.sid, event }),
      emitted: (event) => {
        this.#tree.system.depth++;
        ref._actorScope.emit(event);
        this.#tree.system.depth--;
        this.#perform(
          this.#tree.take().filter((item): item is Extract<Order, { kind: "notify" }> => item.kind === "notify"),
        );
      },
    });
    this.#atWork = outer;
    this.#live.set(sid, live);
  }

  #deliver(sid: Sid, event: Event): void {
    const outer = this.#atWork;
    this.#atWork = true;
    try {
      this.#live.get(sid)?.deliver(event);
    } catch (error) {
      this.#step({ kind: "failed", sid, error });
    } finally {
      this.#atWork = outer;
    }
  }

  #info(sid: Sid, n: number, attempt: number): EffectInfo {
    return { key: `test/root/test/${sid}/${n}`, token: [1, 0], attempt };
  }

  // ---- timers ----

  /** Lets the clock know exactly the timers that the tree holds. */
  #schedule(): void {
    const { timers } = this.#tree.system;
    for (const [n, handle] of this.#scheduled) {
      if (timers.has(n)) continue;
      this.#clock.clearTimeout(handle);
      this.#scheduled.delete(n);
    }
    for (const timer of timers.values()) {
      if (this.#scheduled.has(timer.n)) continue;
      const delayMs = Math.max(0, timer.dueMs - this.#now());
      const fire = () => {
        this.#scheduled.delete(timer.n);
        this.#offer({ kind: "timer", n: timer.n });
      };
      this.#scheduled.set(timer.n, this.#clock.setTimeout(fire, delayMs));
    }
  }

  // ---- XState's own persistence, with the timers that it leaves out ----

  #extendPersistence(): void {
    const root = this.root as Ref & { getPersistedSnapshot(options?: unknown): Record<string, unknown> };
    const persist = root.getPersistedSnapshot.bind(root);
    root.getPersistedSnapshot = (options) => {
      const { timers } = this.#tree.system;
      const snapshot = persist(options);
      if (timers.size === 0) return snapshot;
      const kept: PersistedTimer[] = [];
      for (const { source, target, id, event, dueMs } of timers.values()) {
        const from = this.#pathOf(source);
        const to = typeof target === "string" ? this.#pathOf(target) : undefined;
        if (from !== undefined && to !== undefined)
          kept.push({ id, from, to, event, due: new Date(dueMs).toISOString() });
      }
      return { ...snapshot, timers: kept };
    };
  }

  #restoreTimers(timers: readonly PersistedTimer[] | undefined): void {
    for (const { id, from, to, event, due } of timers ?? []) {
      const source = this.#sidAt(from);
      const target = this.#sidAt(to);
      if (source === undefined || target === undefined) continue;
      const n = this.#tree.system.nextN++;
      this.#tree.system.timers.set(n, { n, id, source, target, event, dueMs: Date.parse(due) });
    }
  }

  /** The keys under which an actor is found from the root: restoring gives actors new numbers. */
  #pathOf(sid: Sid): string[] | undefined {
    const ref = this.#tree.ref(sid);
    if (ref === undefined || ref === this.root) return ref && [];
    const parent = ref._parent && this.#pathOf(ref._parent.sid);
    const entry = Object.entries(childrenOf(ref._parent)).find(([, child]) => child === ref);
    return parent && entry && [...parent, entry[0]];
  }

  #sidAt(path: readonly string[]): Sid | undefined {
    let ref: Ref | undefined = this.root;
    for (const key of path) ref = childrenOf(ref)[key];
    return ref?.sid;
  }

  /** The last committed document, for tests of the drop-in itself. */
  get document(): Document | undefined {
    return this.#actor.base === undefined ? undefined : (JSON.parse(this.#actor.base) as Document);
  }
}

/**
 * What a callback or observable of this process says would be lost with it: a crash before it makes another one say
 * it anew, and one that speaks as it begins would do so for ever.
 */
function ofThisProcess(input: Input): boolean {
  return (input.kind === "relay" && input.source !== undefined) || input.kind === "failed";
}

/** A pending timer in a persisted snapshot. */
type PersistedTimer = {
  readonly id: string;
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly event: Event;
  readonly due: string;
};

type Restored = { readonly status?: string; readonly timers?: readonly PersistedTimer[] };

/** A snapshot that was taken after `stop` goes on where it was stopped. */
function resumable(snapshot: unknown): Restored | undefined {
  const restored = snapshot as Restored | undefined;
  return restored?.status === "stopped" ? { ...restored, status: "active" } : restored;
}

function reportUnhandled(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}

function childrenOf(ref: Ref | undefined): Record<string, Ref> {
  return (ref?._snapshot.children as Record<string, Ref> | undefined) ?? {};
}
