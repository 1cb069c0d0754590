/**
 * A tree as JSON text, which is made after every step: what has not changed since is kept as it was written. Start reading at
 * `encode`.
 */
import { Address } from "../address.ts";
import { encodeValue, type Json, type LiveTable, NotStorableError, type RefTag } from "./codec.ts";
import {
  type AnySnapshot,
  isMachine,
  type Logic,
  type MachineState,
  notStarted,
  type Ref,
  stopped,
} from "./internals.ts";
import { rootSid, sidNumber, type TimerRecord } from "./stored-tree.ts";
import { originalOf } from "./stubs.ts";
import { type DurableSystem, isRunning, type Sid, type SystemOptions, type Timer } from "./system.ts";

/** The JSON of one part of a tree, ready to be joined. */
export type EncodedTree = { readonly actors: string; readonly timers: string; readonly next: string };

/** The JSON of a context, by identity: XState replaces a context that `assign` changes, and never changes one. */
type ContextText = { readonly of: object; readonly text: string; readonly reaches: readonly Sid[] };

type Remembered = {
  readonly snapshot: AnySnapshot;
  readonly run: number;
  readonly systemId: string | undefined;
  readonly context: ContextText | undefined;
  readonly text: string;
  readonly reaches: readonly Sid[];
};

type TreeTextOptions = Pick<SystemOptions, "inProcess"> & { readonly live?: LiveTable };

export class TreeText {
  readonly #system: DurableSystem;
  readonly #options: TreeTextOptions;
  readonly #remembered = new WeakMap<Ref, Remembered>();

  constructor(system: DurableSystem, options: TreeTextOptions) {
    this.#system = system;
    this.#options = options;
  }

  encodeValue(value: unknown, path: string): Json {
    return encodeValue(value, {
      path,
      refs: (object) => this.#tagOf(object),
      ...(this.#options.live && { live: this.#options.live }),
    });
  }

  /**
   * The tree as JSON; `pinned` actors are kept though nothing in the tree names them (work that is still to be done
   * needs their logic). Throws NotStorableError, naming the path, for what cannot be kept.
   */
  encode(pinned: Iterable<Sid> = []): EncodedTree {
    const next = `[${this.#system.nextSid},${this.#system.nextN}]`;
    if (this.#system.refs.size === 1) {
      const { text, reaches } = this.#record(this.#system.refs.get(rootSid) as Ref);
      if (reaches.length === 0) return { actors: `{"${rootSid}":${text}}`, timers: this.#timersText(), next };
    }
    const reached = new Set<Sid>([rootSid, ...pinned]);
    for (const [sid, ref] of this.#system.refs) if (isRunning(ref)) reached.add(sid);
    if (this.#options.inProcess !== undefined) {
      // XState warns of an event that comes too late for its actor; only a drop-in can be heard doing so.
      for (const { target } of this.#system.timers.values()) if (typeof target === "string") reached.add(target);
    }
    const texts = new Map<Sid, string>();
    // A set grows while it is walked: actors that a context or a children map names are reached in turn.
    for (const sid of reached) {
      const ref = this.#system.refs.get(sid);
      if (ref === undefined) continue;
      const { text, reaches } = this.#record(ref);
      texts.set(sid, text);
      for (const other of reaches) reached.add(other);
    }
    for (const sid of this.#system.refs.keys()) if (!texts.has(sid)) this.#system.refs.delete(sid);
    const actors = [...texts]
      .sort((a, b) => sidNumber(a[0]) - sidNumber(b[0]))
      .map(([sid, text]) => `"${sid}":${text}`)
      .join();
    return { actors: `{${actors}}`, timers: this.#timersText(), next };
  }

  #record(ref: Ref): Remembered {
    const systemId = this.#system.nameOf(ref);
    const known = this.#remembered.get(ref);
    if (
      known !== undefined &&
      known.snapshot === ref._snapshot &&
      known.run === ref._processingStatus &&
      known.systemId === systemId
    ) {
      return known;
    }
    const reaches: Sid[] = [];
    const context = this.#contextText(ref, known?.context);
    const snap = this.#snap(ref, context, reaches);
    const text = this.#recordText(ref, systemId, snap, reaches);
    const remembered = { snapshot: ref._snapshot, run: ref._processingStatus, systemId, context, text, reaches };
    this.#remembered.set(ref, remembered);
    return remembered;
  }

  #recordText(ref: Ref, systemId: string | undefined, snap: string, reaches: Sid[]): string {
    let text = "{";
    if (ref.sid !== rootSid) {
      if (ref._parent) reaches.push(ref._parent.sid);
      const parent = ref._parent?.sid ?? rootSid;
      text += `"id":${JSON.stringify(ref.id)},"src":${JSON.stringify(this.#source(ref))},"parent":"${parent}",`;
    }
    if (systemId !== undefined) text += `"systemId":${JSON.stringify(systemId)},`;
    if (ref._syncSnapshot) text += `"sync":true,`;
    const invoker = invokerOf(ref);
    if (invoker !== undefined) text += `"invokedBy":${JSON.stringify(invoker)},`;
    if (ref._processingStatus === notStarted) text += `"run":"idle",`;
    else if (ref._processingStatus === stopped) text += `"run":"stopped",`;
    return `${text}"snap":${snap}}`;
  }

  /** JSON text of an actor's snapshot. */
  #snap(ref: Ref, context: ContextText | undefined, reaches: Sid[]): string {
    const snapshot = ref._snapshot;
    const encode = (value: unknown, path: string) => this.#encodeOf(ref, value, path, reaches);
    let text = "";
    const add = (field: string, json: Json) => {
      text += `${text === "" ? "" : ","}"${field}":${JSON.stringify(json)}`;
    };
    const isMachineSnapshot = isMachineState(snapshot);
    if (isMachineSnapshot && context !== undefined) {
      for (const sid of context.reaches) reaches.push(sid);
      text = `"value":${JSON.stringify(snapshot.value)},"context":${context.text}`;
    }
    if (snapshot.status !== "active") add("status", snapshot.status);
    if (snapshot.output !== undefined) add("output", encode(snapshot.output, "output"));
    if (snapshot.error !== undefined) add("error", encode(snapshot.error, "error"));
    if (isMachineSnapshot) {
      const history = historyOf(snapshot);
      if (history !== undefined) add("history", history);
      const children = childSidsOf(snapshot, reaches);
      if (children !== undefined) add("children", children);
      return `{${text}}`;
    }
    const { status: _status, output: _output, error: _error, ...rest } = persisted(originalOf(ref.logic), snapshot);
    for (const [field, value] of Object.entries(rest)) if (value !== undefined) add(field, encode(value, field));
    return `{${text}}`;
  }

  /** Undefined: it is no machine, and has none. */
  #contextText(ref: Ref, known: ContextText | undefined): ContextText | undefined {
    if (!isMachineState(ref._snapshot)) return undefined;
    const { context } = ref._snapshot;
    if (known?.of === context) return known;
    const reaches: Sid[] = [];
    return { of: context, text: JSON.stringify(this.#encodeOf(ref, context, "context", reaches)), reaches };
  }

  #encodeOf(ref: Ref, value: unknown, path: string, reaches: Sid[]): Json {
    return encodeValue(value, {
      path: ref.sid === rootSid ? path : `actors.${ref.id}.${path}`,
      refs: (object) => this.#tagOf(object, reaches),
      ...(this.#options.live && { live: this.#options.live }),
    });
  }

  #source(ref: Ref): Json {
    if (typeof ref.src === "string") return ref.src;
    if (this.#options.live !== undefined) return this.encodeValue(originalOf(ref.logic), `actors.${ref.id}`);
    throw new NotStorableError(
      `actors.${ref.id}`,
      "spawned from inline logic, which has no name to find it by",
      "name the logic in setup({ actors }) and spawn it by that name",
    );
  }

  #timersText(): string {
    let text = "";
    for (const timer of this.#system.timers.values())
      text += text === "" ? this.#timerText(timer) : `,${this.#timerText(timer)}`;
    return `{${text}}`;
  }

  #timerText(timer: Timer): string {
    const to = timer.target instanceof Address ? ([timer.target.type, timer.target.id] as const) : timer.target;
    const record: TimerRecord = {
      due: new Date(timer.dueMs).toISOString(),
      id: timer.id,
      event: this.encodeValue(timer.event, `timers.${timer.id}.event`),
      ...(timer.source !== rootSid && { from: timer.source }),
      ...(to !== timer.source && { to }),
    };
    return `"t${timer.n}":${JSON.stringify(record)}`;
  }

  #tagOf(object: object, reaches?: Sid[]): RefTag | undefined {
    if (object instanceof Address) return { "@address": [object.type, object.id] };
    const ref = object as Partial<Ref>;
    if (ref.system !== (this.#system as unknown) || typeof ref.sid !== "string") return undefined;
    if (ref.sid !== rootSid || ref._parent === undefined) this.#system.refs.set(ref.sid, ref as Ref);
    reaches?.push(ref.sid);
    return { "@ref": ref.sid };
  }
}

/** XState says in an invoked child's id by whom it was invoked, unless the machine gives it one. */
function invokerOf(ref: Ref): string | undefined {
  const parent = ref._parent?._snapshot;
  if (parent === undefined || !isMachineState(parent) || /^\d+\./.test(ref.id)) return undefined;
  const { _nodes: nodes } = parent as unknown as {
    _nodes: readonly { id: string; invoke: readonly { id: string }[] }[];
  };
  return nodes.find(({ invoke }) => invoke.some(({ id }) => id === ref.id))?.id;
}

function persisted(logic: Logic, snapshot: AnySnapshot): AnySnapshot {
  if (isMachine(logic)) return snapshot;
  return logic.getPersistedSnapshot ? logic.getPersistedSnapshot(snapshot) : snapshot;
}

function isMachineState(snapshot: AnySnapshot): snapshot is MachineState {
  return "machine" in snapshot && "value" in snapshot;
}

function historyOf(snapshot: MachineState): Json | undefined {
  let history: Record<string, string[]> | undefined;
  for (const node in snapshot.historyValue) {
    history ??= {};
    history[node] = (snapshot.historyValue[node] ?? []).map((state) => state.id);
  }
  return history;
}

/** The numbers of the children by the keys under which the machine knows them. */
function childSidsOf(snapshot: MachineState, reaches: Sid[]): Json | undefined {
  let children: Record<string, Sid> | undefined;
  for (const key in snapshot.children) {
    const child = snapshot.children[key];
    if (child === undefined) continue;
    children ??= {};
    children[key] = child.sid;
    reaches.push(child.sid);
  }
  return children;
}
