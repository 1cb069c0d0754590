/**
 * What a changed machine means for the timers and children of a stored tree. XState names the timers of `after` and the
 * children of `invoke` by their state, so that a renamed state, a changed delay or another place in the list of
 * invocations would leave them firing into nothing. Pure: `reconcile` plans from JSON what `Tree.adapt` then does in the
 * first step. Rules and reasons: docs/decisions/0012.
 *
 * N1 afterwards every timer of `after` is one that an active state of its machine has.
 * N2 afterwards every child that an `invoke` began is one that an active state invokes.
 * N3 a timer that goes on never fires before the moment it was armed and the delay of its new name.
 * N4 afterwards no machine is active in a state in which it is done.
 */
import type { AnyStateMachine } from "xstate";
import type { Json } from "./codec.ts";
import { isMachine, type Logic } from "./internals.ts";
import type { Sid } from "./system.ts";
import { type ActorRecord, findLogic, rootSid, type StoredTree, type TimerRecord } from "./tree.ts";

type StateNode = AnyStateMachine["root"];

/** A delay as `after` names it: milliseconds, or the name of an expression. */
type Delay = number | string;

export type TimerChange =
  | { readonly kind: "cancel"; readonly n: number }
  /** Another name; due then, or its delay after it was armed. */
  | { readonly kind: "rename"; readonly n: number; readonly event: string; readonly dueMs: number }
  | {
      readonly kind: "rearm";
      readonly n: number;
      readonly event: string;
      readonly armedMs: number;
      readonly delay: Delay;
    }
  /** Of a state that `migrate` entered: its delay from now. */
  | { readonly kind: "arm"; readonly sid: Sid; readonly event: string; readonly delay: Delay };

/** The `index`-th invocation of a state, by the state's id. */
export type InvokeToBegin = { readonly sid: Sid; readonly state: string; readonly index: number };

export type Reconciliation = {
  /** The tree to restore: without the children that end, with those that go on under their new names. */
  readonly stored: StoredTree;
  /** Actors that end, those below them included. */
  readonly dropped: ReadonlySet<Sid>;
  readonly timers: readonly TimerChange[];
  readonly invokes: readonly InvokeToBegin[];
  /** Machines that are done in the state that they are in, children before their parents. */
  readonly ends: readonly Sid[];
  /** Machines whose `always` has not been looked at in the states that `migrate` entered. */
  readonly settles: readonly Sid[];
  /** In words, what is done, what of it gives something up, and what of the machine may never begin. */
  readonly notes: readonly string[];
  readonly losses: readonly string[];
  readonly doubts: readonly string[];
};

/** `before`: as it was committed; `after`: with what `migrate` made of the root. */
export function reconcile(logic: unknown, before: StoredTree, after: StoredTree): Reconciliation {
  const plan = new Plan(after);
  const logics = new Map<Sid, Logic>();
  for (const sid of sorted(Object.keys(after.actors))) {
    const record = plan.actors[sid];
    if (record === undefined) continue;
    const parent = logics.get(record.parent ?? rootSid);
    const source = typeof record.src === "string" ? record.src : undefined;
    const own = sid === rootSid ? (logic as Logic) : parent && source !== undefined && findLogic(parent, source);
    if (!own) continue;
    logics.set(sid, own);
    if (isMachine(own) && isAtWork(record)) new MachinePlan(plan, sid, own, before.actors[sid]).make();
  }
  return plan.finish();
}

/** The whole tree's plan, in the making. */
class Plan {
  readonly before: StoredTree;
  readonly actors: Record<Sid, ActorRecord>;
  readonly dropped = new Set<Sid>();
  readonly timers: TimerChange[] = [];
  readonly invokes: InvokeToBegin[] = [];
  readonly ends: Sid[] = [];
  readonly settles: Sid[] = [];
  readonly notes: string[] = [];
  readonly losses: string[] = [];
  readonly doubts: string[] = [];

  constructor(stored: StoredTree) {
    this.before = stored;
    this.actors = { ...stored.actors };
  }

  drop(sid: Sid): void {
    if (this.dropped.has(sid)) return;
    this.dropped.add(sid);
    delete this.actors[sid];
    for (const [below, record] of Object.entries(this.before.actors))
      if (below !== rootSid && (record.parent ?? rootSid) === sid) this.drop(below);
  }

  finish(): Reconciliation {
    const { before, actors, dropped } = this;
    const isGone = (end: TimerRecord["to"]) => typeof end === "string" && dropped.has(end);
    const timers = Object.entries(before.timers).filter(([, { from, to }]) => !isGone(from) && !isGone(to));
    return { ...this, stored: { ...before, actors, timers: Object.fromEntries(timers) } };
  }
}

type Stale = {
  readonly n: number;
  readonly dueMs: number;
  /** `<delay>.<state id>`. */
  readonly name: string;
  /** The state that armed it, where it can be told. */
  readonly path: string | undefined;
  /** Undefined for a named delay. */
  readonly delayMs: number | undefined;
};

type After = { readonly node: StateNode; readonly path: string; readonly event: string; readonly delay: Delay };

type Invocation = {
  readonly node: StateNode;
  readonly path: string;
  readonly index: number;
  readonly id: string;
  readonly src: string;
  readonly syncs: boolean;
  readonly systemId: string | undefined;
};

type Child = {
  readonly key: string;
  readonly sid: Sid;
  readonly record: ActorRecord;
  readonly path: string | undefined;
};

/** One machine of the tree. Paths of states are written as `paying.card`, that of the whole machine as "". */
class MachinePlan {
  readonly #plan: Plan;
  readonly #sid: Sid;
  readonly #snap: Record<string, Json>;
  readonly #nodes: readonly StateNode[];
  readonly #was: ReadonlySet<string>;

  constructor(plan: Plan, sid: Sid, machine: AnyStateMachine, before: ActorRecord | undefined) {
    this.#plan = plan;
    this.#sid = sid;
    this.#snap = plan.actors[sid]?.snap as Record<string, Json>;
    this.#nodes = activeNodes(machine.root, this.#snap.value);
    this.#was = new Set(pathsOf((before?.snap as Record<string, Json> | undefined)?.value));
  }

  make(): void {
    this.#planTimers();
    this.#planChildren();
    this.#planRest();
  }

  #isKept(path: string): boolean {
    return this.#was.has(path);
  }

  // ---- timers ----

  #planTimers(): void {
    const afters = this.#nodes.flatMap(aftersOf);
    const armed = new Set<string>();
    let stale: Stale[] = [];
    for (const [key, { due, event, from, to }] of Object.entries(this.#plan.before.timers)) {
      const { type } = event as { type?: unknown };
      if ((from ?? rootSid) !== this.#sid || to !== undefined || typeof type !== "string") continue;
      if (!type.startsWith(afterPrefix)) continue;
      if (afters.some((after) => after.event === type)) armed.add(type);
      else stale.push(this.#stale(Number(key.slice(1)), Date.parse(due), type.slice(afterPrefix.length)));
    }
    const missing = afters.filter(({ event }) => !armed.has(event));
    const take = (timer: Stale, after: After) => {
      stale = stale.filter((one) => one !== timer);
      missing.splice(missing.indexOf(after), 1);
    };
    // A changed delay of the same state: in order of the delays.
    for (const path of new Set(missing.map((after) => after.path))) {
      const own = stale.filter((timer) => timer.path === path);
      for (const [timer, after] of pairs(
        own,
        missing.filter((one) => one.path === path),
      )) {
        take(timer, after);
        this.#rearm(timer, after);
      }
    }
    // A renamed state: the same delay. And a state whose id changed, though its place did not.
    for (const after of [...missing]) {
      const isEntered = !this.#isKept(after.path);
      const timer = stale.find(
        ({ name, path }) =>
          name.startsWith(`${after.delay}.`) && (path === undefined || (isEntered && !this.#isActive(path))),
      );
      if (timer === undefined) continue;
      take(timer, after);
      this.#plan.timers.push({ kind: "rename", n: timer.n, event: after.event, dueMs: timer.dueMs });
      this.#note(`timer t${timer.n} (after ${timer.name}) goes on as that of ${describe(after)}`);
    }
    for (const { n, name } of stale) {
      this.#plan.timers.push({ kind: "cancel", n });
      this.#lose(`timer t${n} (after ${name}) is cancelled: no active state has it`);
    }
    for (const after of missing) {
      if (this.#isKept(after.path)) {
        this.#doubt(`${describe(after)} has no timer`);
        continue;
      }
      this.#plan.timers.push({ kind: "arm", sid: this.#sid, event: after.event, delay: after.delay });
      this.#note(`the timer of ${describe(after)} is armed`);
    }
  }

  #rearm(timer: Stale, after: After): void {
    const { n, dueMs, delayMs, name } = timer;
    // When a named delay was armed nobody knows: it keeps the time that it has.
    this.#plan.timers.push(
      delayMs === undefined
        ? { kind: "rename", n, event: after.event, dueMs }
        : { kind: "rearm", n, event: after.event, armedMs: dueMs - delayMs, delay: after.delay },
    );
    this.#note(`timer t${n} (after ${name}) becomes that of ${describe(after)}`);
  }

  #stale(n: number, dueMs: number, name: string): Stale {
    // By the id that its state has now, else by the path at the end of a usual id; the longest that fits is its own.
    const byId = longest(this.#nodes.filter(({ id }) => name.endsWith(`.${id}`)).map(({ id }) => id));
    const node = this.#nodes.find(({ id }) => id === byId);
    const path = node !== undefined && node.path.length > 0 ? pathOf(node) : this.#pathEnding(name);
    const delay = byId === undefined ? name : name.slice(0, -byId.length - 1);
    const digits = /^-?\d+(?:\.\d+)?(?=\.|$)/.exec(delay)?.[0];
    return {
      n,
      dueMs,
      name,
      path: path ?? (node === undefined ? undefined : pathOf(node)),
      delayMs: digits === undefined ? undefined : Number(digits),
    };
  }

  /** The state that was active whose usual id could end so. */
  #pathEnding(name: string): string | undefined {
    return longest([...this.#was].filter((path) => path !== "" && name.endsWith(`.${path}`)));
  }

  #isActive(path: string): boolean {
    return this.#nodes.some((node) => pathOf(node) === path);
  }

  // ---- children ----

  #planChildren(): void {
    const open = this.#nodes.flatMap(invocationsOf);
    let left = this.#children();
    const before = left;
    const children = (this.#snap.children ?? {}) as Record<string, Sid>;
    const renamed: Record<string, Sid> = {};
    const take = (child: Child, invocation: Invocation) => {
      left = left.filter((one) => one !== child);
      open.splice(open.indexOf(invocation), 1);
      renamed[invocation.id] = child.sid;
    };
    for (const invocation of [...open]) {
      const child = left.find(({ key, record }) => key === invocation.id && record.src === invocation.src);
      if (child !== undefined) take(child, invocation);
    }
    // The same logic under another id: its work goes on under its key, with the input that it has.
    for (const invocation of [...open]) {
      if (isInline(invocation.src)) continue;
      const isKept = this.#isKept(invocation.path);
      const child = left.find(
        ({ record, path, key }) =>
          this.#wasInvoked(key, record) &&
          record.src === invocation.src &&
          (path === invocation.path || path === undefined || (!isKept && !this.#isActive(path))),
      );
      if (child === undefined) continue;
      take(child, invocation);
      this.#rename(child, invocation);
    }
    for (const invocation of [...open]) {
      // Another logic under the same id, in the same state: it goes on if there is such logic, else nothing fits.
      const child = left.find(({ key }) => key === invocation.id);
      if (child !== undefined && this.#isKept(invocation.path)) take(child, invocation);
    }
    for (const child of left) {
      const replaced = open.find(({ id }) => id === child.key) !== undefined;
      if (!replaced && !this.#wasInvoked(child.key, child.record)) {
        renamed[child.key] = child.sid;
        continue;
      }
      this.#plan.drop(child.sid);
      this.#lose(`the child ${child.key} (${String(child.record.src)}) ends: no active state invokes it`);
      const instead = open.find(({ path }) => path === child.path && this.#isKept(path));
      if (instead === undefined) continue;
      open.splice(open.indexOf(instead), 1);
      this.#begin(instead);
    }
    for (const invocation of open) {
      if (this.#isKept(invocation.path))
        this.#doubt(`the invocation ${invocation.id} (${invocation.src}) does not run`);
      else this.#begin(invocation);
    }
    if (before.length === 0) return;
    const same = Object.keys(renamed).length === Object.keys(children).length;
    if (same && Object.entries(children).every(([key, sid]) => renamed[key] === sid)) return;
    const record = this.#plan.actors[this.#sid] as ActorRecord;
    this.#plan.actors[this.#sid] = { ...record, snap: { ...this.#snap, children: renamed } };
  }

  #children(): Child[] {
    return Object.entries((this.#snap.children ?? {}) as Record<string, Sid>).flatMap(([key, sid]) => {
      const record = this.#plan.actors[sid];
      if (record === undefined) return [];
      const state = record.invokedBy ?? defaultInvokeId.exec(key)?.[1] ?? "";
      const node = this.#nodes.find(({ id }) => id === state);
      return [{ key, sid, record, path: node === undefined ? this.#pathEnding(`.${state}`) : pathOf(node) }];
    });
  }

  #wasInvoked(key: string, { invokedBy }: ActorRecord): boolean {
    return invokedBy !== undefined || defaultInvokeId.test(key);
  }

  #rename({ key, sid, record }: Child, { id, syncs, systemId, node }: Invocation): void {
    const { sync: _sync, systemId: _systemId, invokedBy: _invokedBy, ...rest } = record;
    this.#plan.actors[sid] = {
      ...rest,
      id,
      ...(systemId !== undefined && { systemId }),
      ...(syncs && { sync: true }),
    };
    this.#note(`the child ${key} (${String(record.src)}) goes on as ${id} of "${node.id}"`);
  }

  #begin({ id, src, index, node }: Invocation): void {
    this.#plan.invokes.push({ sid: this.#sid, state: node.id, index });
    this.#note(`the invocation ${id} (${src}) begins`);
  }

  // ---- what XState does when it has entered states ----

  #planRest(): void {
    const final = finalIn(this.#nodes);
    if (final !== undefined) {
      this.#plan.ends.unshift(this.#sid);
      this.#note(`the machine is done: "${final.id}" is final`);
      return;
    }
    const eager = this.#nodes.filter((node) => !this.#isKept(pathOf(node)) && (node.always?.length ?? 0) > 0);
    if (eager.length === 0) return;
    this.#plan.settles.push(this.#sid);
    this.#note(`what is always so in ${eager.map(({ id }) => `"${id}"`).join(", ")} is looked at`);
  }

  // ---- words ----

  #note(text: string): void {
    this.#plan.notes.push(this.#named(text));
  }

  #lose(text: string): void {
    this.#plan.losses.push(this.#named(text));
  }

  #doubt(text: string): void {
    this.#plan.doubts.push(this.#named(text));
  }

  #named(text: string): string {
    return this.#sid === rootSid ? text : `in child ${this.#plan.actors[this.#sid]?.id}: ${text}`;
  }
}

/** The state with which the whole machine is done: a final one at the top, or the parallel root itself. */
export function finalIn(nodes: readonly StateNode[]): StateNode | undefined {
  const root = nodes.find(({ parent }) => parent === undefined);
  if (root === undefined) return undefined;
  if (root.type === "parallel") return isOver(root, nodes) ? root : undefined;
  return nodes.find(({ parent, type }) => parent === root && type === "final");
}

function isOver(node: StateNode, nodes: readonly StateNode[]): boolean {
  const children = Object.values(node.states);
  if (node.type === "compound") return children.some((child) => child.type === "final" && nodes.includes(child));
  // A history state is a child that nobody is ever in.
  if (node.type === "parallel") return children.every((child) => child.type === "history" || isOver(child, nodes));
  return node.type === "final";
}

const afterPrefix = "xstate.after.";

/** What XState calls a child whose `invoke` has no id: its place in the list, and the id of the state. */
const defaultInvokeId = /^\d+\.(.+)$/s;

function isAtWork({ run, snap }: ActorRecord): boolean {
  const { status, value } = snap as Record<string, Json>;
  return run !== "stopped" && status === undefined && value !== undefined;
}

/** As far as the value fits the machine; whether it does is the question of `restore-check.ts`. */
function activeNodes(node: StateNode, value: Json | undefined): StateNode[] {
  const keys = typeof value === "string" ? [value] : Object.keys((value ?? {}) as object);
  return [
    node,
    ...keys.flatMap((key) => {
      const child = Object.hasOwn(node.states, key) ? node.states[key] : undefined;
      const inner = typeof value === "string" ? undefined : (value as Record<string, Json>)[key];
      return child === undefined ? [] : activeNodes(child, inner);
    }),
  ];
}

function pathsOf(value: Json | undefined, path = ""): string[] {
  const below = (key: string) => (path === "" ? key : `${path}.${key}`);
  if (typeof value === "string") return [path, below(value)];
  const inner = Object.entries((value ?? {}) as Record<string, Json>);
  return [path, ...inner.flatMap(([key, one]) => pathsOf(one, below(key)))];
}

function pathOf(node: StateNode): string {
  return node.path.join(".");
}

function aftersOf(node: StateNode): After[] {
  const afters = new Map<string, After>();
  for (const { delay, eventType } of node.after) {
    if (typeof delay !== "function")
      afters.set(eventType, { node, path: pathOf(node), event: eventType, delay: delay as Delay });
  }
  return [...afters.values()];
}

function invocationsOf(node: StateNode): Invocation[] {
  return node.invoke.map((invoke, index) => ({
    node,
    path: pathOf(node),
    index,
    id: invoke.id,
    src: String(invoke.src),
    syncs: invoke.onSnapshot !== undefined,
    systemId: invoke.systemId,
  }));
}

function isInline(src: string): boolean {
  return src.startsWith("xstate.invoke.");
}

/** In order of the delays; the longer list first loses those that are farthest from any of the other. */
function pairs(timers: readonly Stale[], afters: readonly After[]): [Stale, After][] {
  let stale = [...timers].sort((a, b) => delayOf(a.delayMs) - delayOf(b.delayMs));
  let missing = [...afters].sort((a, b) => delayOf(a.delay) - delayOf(b.delay));
  const most = Math.min(stale.length, missing.length);
  if (most === 0) return [];
  const staleDelays = stale.map(({ delayMs }) => delayOf(delayMs));
  const missingDelays = missing.map(({ delay }) => delayOf(delay));
  stale = nearest(stale, ({ delayMs }) => delayOf(delayMs), missingDelays, most);
  missing = nearest(missing, ({ delay }) => delayOf(delay), staleDelays, most);
  return stale.map((timer, index) => [timer, missing[index] as After]);
}

/** The `most` items that are nearest to one of these, in the order in which they came. */
function nearest<T>(items: readonly T[], of: (item: T) => number, to: readonly number[], most: number): T[] {
  const distance = (item: T) => Math.min(...to.map((one) => Math.abs(of(item) - one)));
  const kept = new Set([...items].sort((a, b) => distance(a) - distance(b)).slice(0, most));
  return items.filter((item) => kept.has(item));
}

/** Named delays come last: how long they are is not known here. */
function delayOf(delay: Delay | undefined): number {
  return typeof delay === "number" ? delay : Number.MAX_SAFE_INTEGER;
}

function longest(texts: readonly string[]): string | undefined {
  return texts.reduce<string | undefined>(
    (most, text) => (text.length > (most?.length ?? -1) ? text : most),
    undefined,
  );
}

function describe({ delay, node }: After): string {
  return `after ${delay} of "${node.id}"`;
}

function sorted(sids: string[]): string[] {
  return sids.sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
}
