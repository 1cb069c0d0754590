/**
 * One root actor with all its children, as XState sees it while a step runs, and as JSON between steps. XState's own
 * actors do the work, in XState's own order; our system (`system.ts`) and scope keep everything that would escape.
 * A tree holds no time and no dice: the caller says what time it is.
 */
import { type AnyStateMachine, createActor } from "xstate";
import { Address } from "../address.ts";
import { DamagedValueError, decodeValue, encodeValue, type Json, type LiveTable, type RefTag } from "./codec.ts";
import {
  type AnySnapshot,
  type Event,
  initial,
  isMachine,
  kindOf,
  type Logic,
  type MachineState,
  notStarted,
  type Ref,
  running,
  stopped,
} from "./internals.ts";
import { finalIn, type InvokeToBegin, type Reconciliation, type TimerChange } from "./reconcile.ts";
import { type ActorRecord, rootSid, type StoredTree, sidNumber, type TimerRecord } from "./stored-tree.ts";
import { originalOf, stubFor } from "./stubs.ts";
import { type Collected, DurableSystem, isRunning, type Sid, type SystemOptions, type Timer } from "./system.ts";
import { type EncodedTree, TreeText } from "./tree-text.ts";

export { type ActorRecord, rootSid, type StoredTree, type TimerRecord } from "./stored-tree.ts";

export type TreeOptions = SystemOptions & {
  /** What `self.id` is for the root. */
  readonly rootId?: string;
  /** Given only in tests in one process: keeps values that cannot be stored. */
  readonly live?: LiveTable;
  /** Given only by a drop-in: further options of XState's `createActor`, such as `snapshot` and `systemId`. */
  readonly root?: Readonly<Record<string, unknown>>;
  /** Given only by a drop-in: observers of the whole system, in place before the root is. */
  readonly inspect?: unknown;
  /** Given only by a drop-in: which references outlive a rebuild. Default: all. */
  readonly keep?: "all" | "root";
};

/** A document whose tree cannot be rebuilt: a child's logic is gone, or a field is not what it should be. */
export class UnreadableTreeError extends Error {
  override readonly name = "UnreadableTreeError";
}

export type ValueCodec = {
  encodeValue(value: unknown, path: string): Json;
  decodeValue(json: Json): unknown;
};

/** A reference to an actor in a stored value that is read without its tree, as in a migration. */
class StoredRef {
  readonly tag: RefTag;

  constructor(tag: RefTag) {
    this.tag = tag;
  }
}

/** An address is the same everywhere; a reference to an actor of one document says nothing in another. */
function refWithoutTree(tag: RefTag): Address | StoredRef {
  return "@address" in tag ? new Address(tag["@address"][0], tag["@address"][1]) : new StoredRef(tag);
}

function tagOfStored(object: object): RefTag | undefined {
  if (object instanceof StoredRef) return object.tag;
  return object instanceof Address ? { "@address": [object.type, object.id] } : undefined;
}

export class Tree {
  readonly system: DurableSystem;
  readonly logic: Logic;
  root!: Ref;
  readonly #options: TreeOptions;
  #text: TreeText;

  private constructor(logic: Logic, options: TreeOptions) {
    this.logic = logic;
    this.#options = options;
    this.system = new DurableSystem(options);
    this.#text = new TreeText(this.system, options);
  }

  /** The initial step is done; nothing runs before `start`. */
  static create(logic: unknown, options: TreeOptions, input: unknown, nowMs: number): Tree {
    const tree = new Tree(logic as Logic, options);
    if (options.inspect !== undefined) tree.system.inspect(options.inspect);
    tree.#step(nowMs, () => {
      tree.system.rootArriving = true;
      tree.root = construct(tree.logic, {
        ...options.root,
        parent: standIn(tree.system),
        input,
        ...(options.rootId !== undefined && { id: options.rootId }),
      });
    });
    return tree;
  }

  static restore(logic: unknown, options: TreeOptions, stored: StoredTree): Tree {
    const tree = new Tree(logic as Logic, options);
    tree.#rebuild(stored, new Map());
    return tree;
  }

  /** Rebuilds every value from JSON; references that somebody holds stay usable, as addresses do. */
  rebuild(stored: StoredTree): void {
    const all = new Map(this.system.refs);
    this.system.refs.clear();
    this.system.timers.clear();
    for (const ref of all.values()) this.system._unregister(ref);
    this.#text = new TreeText(this.system, this.#options);
    this.#rebuild(stored, this.#options.keep === "root" ? new Map([[rootSid, this.root]]) : all);
  }

  /** Encodes and decodes values where there is no tree: references to actors pass through it unread. */
  static codec(options: Pick<TreeOptions, "live">): ValueCodec {
    const live = options.live && { live: options.live };
    return {
      encodeValue: (value, path) => encodeValue(value, { path, refs: tagOfStored, ...live }),
      decodeValue: (json) => decodeValue(json, { refs: refWithoutTree, ...live }),
    };
  }

  get codecOptions(): Pick<TreeOptions, "live"> {
    return this.#options;
  }

  get snapshot(): AnySnapshot {
    return this.root._snapshot;
  }

  start(nowMs: number): void {
    this.#step(nowMs, () => this.root.start());
  }

  /** Delivers an event to the root, as `actor.send` does. */
  send(event: Event, nowMs: number): void {
    this.#step(nowMs, () => this.system._relay(undefined, this.root, event));
  }

  /** Delivers what a child's work, or code outside, sent. Events for actors that are gone are dropped, as XState does. */
  relay(source: Sid | undefined, target: Sid, event: Event, nowMs: number): void {
    const ref = this.system.refs.get(target);
    if (ref === undefined) return;
    const from = source === undefined ? undefined : this.system.refs.get(source);
    this.#step(nowMs, () => this.system._relay(from, ref, event));
  }

  /** The work of a child threw as it began, or a drop-in's action threw: XState's rule for errors in an actor. */
  fail(sid: Sid, error: unknown, nowMs: number): void {
    const ref = this.system.refs.get(sid);
    if (ref === undefined) return;
    this.#step(nowMs, () => {
      ref._snapshot = { ...ref._snapshot, status: "error", error };
      ref._error(error);
    });
  }

  stop(nowMs: number): void {
    this.#step(nowMs, () => this.root._stop());
  }

  /** Timers due by then, in due order, ties in the order of their making. */
  dueTimers(byMs: number): Timer[] {
    const due: Timer[] = [];
    for (const timer of this.system.timers.values()) if (timer.dueMs <= byMs) due.push(timer);
    return due.sort((a, b) => a.dueMs - b.dueMs || a.n - b.n);
  }

  get nextDueMs(): number | undefined {
    let next: number | undefined;
    for (const timer of this.system.timers.values()) if (next === undefined || timer.dueMs < next) next = timer.dueMs;
    return next;
  }

  /** Fires one timer, if nothing has cancelled it since. */
  fire(n: number, nowMs: number): void {
    const timer = this.system.timers.get(n);
    if (timer === undefined) return;
    this.system.timers.delete(n);
    const source = this.system.refs.get(timer.source);
    const target = timer.target instanceof Address ? timer.target : this.system.refs.get(timer.target);
    if (target === undefined) return;
    this.#step(nowMs, () => this.system._relay(source, target as Ref, timer.event));
  }

  /** What a changed machine means for timers, invocations and its end: see reconcile.ts. */
  adapt(
    { timers, invokes, ends, settles }: Pick<Reconciliation, "timers" | "invokes" | "ends" | "settles">,
    nowMs: number,
  ): void {
    this.#step(nowMs, () => {
      for (const change of timers) this.#adaptTimer(change, nowMs);
      const begun = invokes.map((invoke) => this.#invoke(invoke));
      for (const child of begun) if (child._processingStatus !== stopped) child.start();
      for (const sid of ends) this.#finish(this.system.refs.get(sid) as Ref);
      // XState takes the event of its own beginning to no transition, and then looks at `always`.
      for (const sid of settles) this.system._relay(undefined, this.system.refs.get(sid) as Ref, { type: initial });
    });
  }

  /** As XState ends a machine that enters its final state; what is done on the way in and out of it is left out. */
  #finish(ref: Ref): void {
    if (!isRunning(ref)) return;
    const snapshot = ref._snapshot as MachineState & { readonly _nodes: readonly AnyStateMachine["root"][] };
    const { root } = snapshot.machine;
    const { context } = snapshot;
    const final = finalIn(snapshot._nodes) ?? root;
    const resolve = (output: unknown, event: Event): unknown =>
      typeof output === "function" ? output({ context, event, self: ref }) : output;
    const event = {
      type: `xstate.done.state.${final.id}`,
      output: final === root ? undefined : resolve(final.output, adapted),
    };
    for (const child of Object.values(snapshot.children)) {
      this.system._unregister(child);
      ref._actorScope.stopChild(child);
    }
    ref.update({ ...snapshot, children: {}, status: "done", output: resolve(root.output, event) }, adapted);
  }

  #adaptTimer(change: TimerChange, nowMs: number): void {
    const { timers, scheduler } = this.system;
    if (change.kind === "arm") {
      const ref = this.system.refs.get(change.sid) as Ref;
      const { event: type, delay } = change;
      scheduler.schedule(ref, ref, { type }, this.#delayMs(ref, delay), type);
      return;
    }
    const timer = timers.get(change.n);
    if (timer === undefined) return;
    if (change.kind === "cancel") {
      timers.delete(change.n);
      return;
    }
    const { event: type } = change;
    const ref = this.system.refs.get(timer.source) as Ref;
    const dueMs = change.kind === "rename" ? change.dueMs : change.armedMs + this.#delayMs(ref, change.delay);
    timers.set(change.n, { ...timer, id: type, event: { type }, dueMs: Number.isNaN(dueMs) ? nowMs : dueMs });
  }

  /** As XState resolves the delay of `after`; where it is no number, XState does not wait. */
  #delayMs(ref: Ref, delay: number | string): number {
    if (typeof delay === "number") return delay;
    const { machine, context } = ref._snapshot as MachineState;
    const given = machine.implementations.delays[delay] as unknown;
    const args = { context, event: adapted, self: ref, system: this.system };
    const resolved: unknown = typeof given === "function" ? given(args, undefined) : given;
    return typeof resolved === "number" ? resolved : 0;
  }

  /** As XState begins an invocation of a state that it enters. */
  #invoke({ sid, state, index }: InvokeToBegin): Ref {
    const ref = this.system.refs.get(sid) as Ref;
    const snapshot = ref._snapshot as MachineState;
    const { id, src, systemId, onSnapshot, input } = snapshot.machine.getStateNodeById(state).invoke[
      index
    ] as unknown as {
      id: string;
      src: string;
      systemId?: string;
      onSnapshot?: unknown;
      input?: unknown;
    };
    const logic = findLogic(ref.logic, src);
    if (logic === undefined) throw new Error(`"${state}" invokes "${src}", for which the machine has no logic`);
    const { context } = snapshot;
    const child = construct(logic, {
      id,
      src,
      parent: ref,
      syncSnapshot: onSnapshot !== undefined,
      systemId,
      input: typeof input === "function" ? input({ context, event: adapted, self: ref }) : input,
    });
    ref._snapshot = { ...snapshot, children: { ...snapshot.children, [id]: child } };
    return child;
  }

  /** What was collected since the last call. */
  take(): Collected[] {
    const collected = this.system.collected;
    this.system.collected = [];
    return collected;
  }

  /** Children whose work lives only in a process, and must be begun again in another: callbacks, observables, custom. */
  volatileSids(): Sid[] {
    const sids: Sid[] = [];
    for (const [sid, ref] of this.system.refs) {
      const kind = kindOf(originalOf(ref.logic));
      const works = kind === "callback" || kind === "observable" || kind === "custom";
      if (works && isRunning(ref) && ref._snapshot.status === "active") sids.push(sid);
    }
    return sids;
  }

  /** Whether the work of this actor has one result, to be recorded. */
  isPromise(sid: Sid): boolean {
    const ref = this.system.refs.get(sid);
    return ref !== undefined && kindOf(originalOf(ref.logic)) === "promise";
  }

  ref(sid: Sid): Ref | undefined {
    return this.system.refs.get(sid);
  }

  /** The logic that the actor was made from, not the one that stands for it in a step. */
  logicOf(sid: Sid): Logic | undefined {
    const ref = this.system.refs.get(sid);
    return ref && originalOf(ref.logic);
  }

  encodeValue(value: unknown, path: string): Json {
    return this.#text.encodeValue(value, path);
  }

  decodeValue(json: Json): unknown {
    return decodeValue(json, {
      refs: (tag) => this.#untag(tag),
      ...(this.#options.live && { live: this.#options.live }),
    });
  }

  /** See `TreeText.encode`. */
  encode(pinned: Iterable<Sid> = []): EncodedTree {
    return this.#text.encode(pinned);
  }

  // ---- from JSON ----

  #rebuild(stored: StoredTree, shells: ReadonlyMap<Sid, Ref>): void {
    const sids = Object.keys(stored.actors).sort((a, b) => sidNumber(a) - sidNumber(b));
    if (sids[0] !== rootSid) throw new UnreadableTreeError("the document has no root actor s0");
    for (const sid of sids) this.#place(sid, stored.actors[sid] as ActorRecord, shells.get(sid));
    for (const sid of sids) {
      const ref = this.system.refs.get(sid) as Ref;
      ref._snapshot = this.#revive(ref, (stored.actors[sid] as ActorRecord).snap);
    }
    for (const [name, record] of Object.entries(stored.timers)) this.#placeTimer(name, record);
    this.system.nextSid = stored.next[0];
    this.system.nextN = stored.next[1];
    this.system.collected = [];
  }

  #place(sid: Sid, record: ActorRecord, shell: Ref | undefined): void {
    const isRoot = sid === rootSid;
    const parent = isRoot ? undefined : this.system.refs.get(record.parent ?? rootSid);
    if (!isRoot && parent === undefined) throw new UnreadableTreeError(`actor ${sid} has no parent ${record.parent}`);
    const logic = isRoot ? this.logic : this.#logicFrom(record, parent as Ref, sid);
    const ref = shell ?? this.#construct(sid, record, parent);
    ref.logic = stubFor(logic);
    if (!isRoot) ref.src = typeof record.src === "string" ? record.src : logic;
    ref._deferred.length = 0;
    ref._processingStatus = record.run === "idle" ? notStarted : record.run === "stopped" ? stopped : running;
    if (isRunning(ref)) ref.mailbox.start();
    this.system.refs.set(sid, ref);
    if (isRoot) this.root = ref;
    if (record.systemId !== undefined) this.system._set(record.systemId, ref);
    if (shell === undefined && record.sync && isRunning(ref)) this.#follow(ref);
  }

  #construct(sid: Sid, record: ActorRecord, parent: Ref | undefined): Ref {
    this.system.rebuilding = sid;
    this.system.rootArriving = parent === undefined;
    const id = parent === undefined ? this.#options.rootId : record.id;
    return construct(placeholder, {
      parent: parent ?? standIn(this.system),
      ...(id !== undefined && { id }),
      ...(record.sync && { syncSnapshot: true }),
      // Its constructor keeps the name, in a field that XState has renamed, for `getPersistedSnapshot`.
      ...(record.systemId !== undefined && { systemId: record.systemId }),
      snapshot: { status: "active" },
    });
  }

  #logicFrom(record: ActorRecord, parent: Ref, sid: Sid): Logic {
    if (typeof record.src !== "string") {
      if (this.#options.live === undefined || record.src === undefined) {
        throw new UnreadableTreeError(`actor ${sid} has no source to find its logic by`);
      }
      return this.decodeValue(record.src) as Logic;
    }
    const found = findLogic(originalOf(parent.logic), record.src);
    if (found === undefined) {
      throw new UnreadableTreeError(
        `the logic "${record.src}" of actor ${sid} (${record.id}) is not in the machine any more`,
      );
    }
    return found;
  }

  /** What XState's `start` does for a child whose parent follows its snapshots. */
  #follow(ref: Ref): void {
    this.system.depth++;
    try {
      ref.subscribe({
        next: (snapshot: AnySnapshot) => {
          if (snapshot.status === "active" && ref._parent !== undefined) {
            this.system._relay(ref, ref._parent, { type: `xstate.snapshot.${ref.id}`, snapshot });
          }
        },
        error: () => {},
      });
    } finally {
      this.system.depth--;
    }
  }

  #revive(ref: Ref, snap: Json): AnySnapshot {
    if (typeof snap !== "object" || snap === null || Array.isArray(snap)) {
      throw new UnreadableTreeError(`actor ${ref.sid} has no snapshot`);
    }
    const stored = snap as Record<string, Json>;
    const outcome = {
      status: (stored.status ?? "active") as AnySnapshot["status"],
      output: stored.output === undefined ? undefined : this.decodeValue(stored.output),
      error: stored.error === undefined ? undefined : this.decodeValue(stored.error),
    };
    const logic = originalOf(ref.logic);
    if (isMachine(logic)) {
      if (stored.value === undefined) return outcome;
      return this.#reviveMachine(logic as unknown as Logic, ref, stored, outcome);
    }
    const { status: _status, output: _output, error: _error, ...rest } = stored;
    const decoded: AnySnapshot = { ...outcome };
    if (kindOf(logic) !== "transition") decoded.input = undefined;
    for (const [field, value] of Object.entries(rest)) decoded[field] = this.decodeValue(value);
    return logic.restoreSnapshot ? logic.restoreSnapshot(decoded, ref._actorScope) : decoded;
  }

  #reviveMachine(logic: Logic, ref: Ref, stored: Record<string, Json>, outcome: AnySnapshot): AnySnapshot {
    const historyValue: Record<string, { id: string }[]> = {};
    for (const [node, ids] of Object.entries((stored.history ?? {}) as Record<string, string[]>)) {
      historyValue[node] = ids.map((id) => ({ id }));
    }
    const shape = { ...outcome, value: stored.value, context: {}, children: {}, historyValue };
    let revived: MachineState;
    try {
      revived = logic.restoreSnapshot?.(shape as AnySnapshot, ref._actorScope) as MachineState;
    } catch (thrown) {
      throw new UnreadableTreeError(
        `the stored state of ${ref.id} does not fit the machine: ${(thrown as Error).message}`,
        {
          cause: thrown,
        },
      );
    }
    const context = this.decodeValue(stored.context ?? {});
    if (typeof context !== "object" || context === null) throw new DamagedValueError("context", "it is not an object");
    revived.context = context as Record<string, unknown>;
    for (const [key, sid] of Object.entries((stored.children ?? {}) as Record<string, Sid>)) {
      const child = this.system.refs.get(sid);
      if (child === undefined) throw new UnreadableTreeError(`child "${key}" names actor ${sid}, which is missing`);
      revived.children[key] = child;
    }
    return revived;
  }

  #placeTimer(name: string, record: TimerRecord): void {
    const n = Number(name.slice(1));
    const dueMs = Date.parse(record.due);
    if (!Number.isInteger(n) || Number.isNaN(dueMs)) throw new UnreadableTreeError(`timer ${name} has no due time`);
    const source = record.from ?? rootSid;
    const to = record.to ?? source;
    this.system.timers.set(n, {
      n,
      source,
      target: typeof to === "string" ? to : new Address(to[0], to[1]),
      id: record.id,
      event: this.decodeValue(record.event) as Event,
      dueMs,
    });
  }

  #untag(tag: RefTag): unknown {
    if ("@address" in tag) return new Address(tag["@address"][0], tag["@address"][1]);
    // A reference to an actor that was gone when the document was written stays undefined, as in XState's own restore.
    return this.system.refs.get(tag["@ref"]);
  }

  #step(nowMs: number, run: () => void): void {
    this.system.nowMs = nowMs;
    if (this.system.depth === 0) this.system.begin();
    this.system.depth++;
    try {
      run();
      if (this.system.depth === 1 && this.system.endless !== undefined) this.#end(this.system.endless);
    } finally {
      this.system.depth--;
    }
  }

  /** A step without an end is an error of the root, whoever in the tree goes round: no `onError` may begin it anew. */
  #end(error: Error): void {
    const { root } = this;
    if (root._snapshot.status === "error") return;
    root._snapshot = { ...root._snapshot, status: "error", error };
    if (isRunning(root)) root._error(error);
  }
}

/** Finds the logic that a child's source names: one of the machine's actors, or the n-th inline invoke of a state. */
export function findLogic(parent: Logic, source: string): Logic | undefined {
  if (!isMachine(parent)) return undefined;
  const inline = /^xstate\.invoke\.(\d+)\.(.*)$/s.exec(source);
  if (inline === null) return parent.implementations.actors[source] as unknown as Logic | undefined;
  const node = (parent as unknown as { idMap: Map<string, { config: { invoke?: unknown } }> }).idMap.get(
    inline[2] as string,
  );
  const invoke = node?.config.invoke;
  const one = (Array.isArray(invoke) ? invoke[Number(inline[1])] : invoke) as { src?: unknown } | undefined;
  return typeof one?.src === "object" ? (one.src as Logic) : undefined;
}

function construct(logic: Logic, options: Record<string, unknown>): Ref {
  return (createActor as unknown as (logic: Logic, options: unknown) => Ref)(logic, options);
}

/** XState takes the system of an actor from its parent; the root has none, so this stands in while it is constructed. */
function standIn(system: DurableSystem): { readonly system: DurableSystem } {
  return { system };
}

/** What guards of time and input see as the event when a migration, and no event, brought the machine into a state. */
const adapted: Event = { type: "holdfast.adapted" };

const placeholder: Logic = {
  transition: (snapshot) => snapshot,
  getInitialSnapshot: () => ({ status: "active" }),
  getPersistedSnapshot: (snapshot) => snapshot,
  restoreSnapshot: (snapshot) => snapshot,
};
