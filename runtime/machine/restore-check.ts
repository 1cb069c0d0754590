/**
 * May a stored state go on under a machine whose structure has changed? Asked before a restore, which would enter new
 * states in silence, drop children whose logic is gone, or fail half-way. Start reading at `checkCompatible`.
 */
import type { AnyStateMachine, StateValue } from "xstate";

export type Incompatibility = {
  readonly kind:
    | "state gone"
    | "region gone"
    | "new region"
    | "became compound"
    | "became parallel"
    | "became atomic"
    | "no longer parallel"
    | "history target gone"
    | "child logic gone";
  /** The state, as `paying.card`; the history state's id, or the source of the child. */
  readonly where: string;
  readonly message: string;
};

export type StoredState = {
  readonly value: StateValue;
  readonly historyValue?: Readonly<Record<string, readonly { readonly id: string }[]>> | undefined;
  /** The `src` of every living child that has one by name, `xstate.invoke.<n>.<state id>` included. */
  readonly childSources: readonly string[];
};

/** Empty: the stored state can be restored as it is. */
export function checkCompatible(machine: AnyStateMachine, stored: StoredState): Incompatibility[] {
  return [
    ...checkState(machine.root, stored.value, []),
    ...checkHistory(machine, stored.historyValue ?? {}),
    ...checkChildren(machine, stored.childSources),
  ];
}

type StateNode = AnyStateMachine["root"];
type Value = StateValue | undefined;

/**
 * XState writes an active atomic state as its key, but `{}` when it is a region or the whole machine; a compound state
 * as its one active child, and a parallel one as all its regions.
 */
function checkState(node: StateNode, value: Value, path: readonly string[]): Incompatibility[] {
  const active = typeof value === "string" ? [value] : Object.keys(value ?? {});
  const children = Object.keys(node.states).filter((key) => node.states[key]?.type !== "history");
  const where = path.length === 0 ? "(the whole machine)" : path.join(".");
  if (children.length === 0) {
    if (active.length === 0) return [];
    return [is("became atomic", where, `it was in ${list(active)} inside ${where}, which has no states inside now`)];
  }
  if (active.length === 0) {
    if (node.type === "parallel") {
      return [is("became parallel", where, `${where} had no states inside, and now has the regions ${list(children)}`)];
    }
    return [is("became compound", where, `${where} had no states inside, and now has ${list(children)}`)];
  }
  return node.type === "parallel"
    ? checkRegions(node, value, children, path, where)
    : checkChild(node, value, active, path, where);
}

function checkRegions(
  node: StateNode,
  value: Value,
  regions: readonly string[],
  path: readonly string[],
  where: string,
): Incompatibility[] {
  if (typeof value !== "object") {
    return [is("became parallel", where, `${where} was in ${value}, and now has the regions ${list(regions)} at once`)];
  }
  const gone = Object.keys(value).filter((key) => !regions.includes(key));
  return [
    ...gone.map((key) => is("region gone", [...path, key].join("."), `${where} has no region ${key} any more`)),
    ...regions.flatMap((key) => {
      const inside = [...path, key];
      if (Object.hasOwn(value, key)) return checkState(node.states[key]!, value[key], inside);
      return [is("new region", inside.join("."), `the region ${key} of ${where} is new, and would never be entered`)];
    }),
  ];
}

function checkChild(
  node: StateNode,
  value: Value,
  active: readonly string[],
  path: readonly string[],
  where: string,
): Incompatibility[] {
  const [key = ""] = active;
  const child = node.states[key];
  const inner = typeof value === "object" ? value[key] : {};
  const wasRegion = typeof inner === "object" && Object.keys(inner).length === 0 && typeof value === "object";
  if (active.length > 1 || wasRegion) {
    return [
      is("no longer parallel", where, `${where} was in ${list(active)} at once, and now is in one state at a time`),
    ];
  }
  const inside = [...path, key];
  if (child === undefined || child.type === "history") {
    return [is("state gone", inside.join("."), `${where} has no state ${key} any more`)];
  }
  return checkState(child, inner, inside);
}

function checkHistory(
  machine: AnyStateMachine,
  history: Readonly<Record<string, readonly { readonly id: string }[]>>,
): Incompatibility[] {
  return Object.entries(history).flatMap(([historyId, remembered]) => {
    const parent = nodesById(machine).get(historyId)?.parent;
    // What a history state remembered that is no more can never be asked for.
    if (parent === undefined) return [];
    return remembered
      .filter(({ id }) => !isInside(nodeById(machine, id), parent))
      .map(({ id }) => is("history target gone", historyId, `the history ${historyId} remembers ${id}, which is gone`));
  });
}

function isInside(node: StateNode | undefined, parent: StateNode): boolean {
  for (let at = node?.parent; at !== undefined; at = at.parent) if (at === parent) return true;
  return false;
}

function checkChildren(machine: AnyStateMachine, sources: readonly string[]): Incompatibility[] {
  return [...new Set(sources)]
    .filter((source) => !isResolvable(machine, source))
    .map((source) => is("child logic gone", source, `it has a child of "${source}", which the machine does not have`));
}

/** As XState resolves the source of a child; but a place that holds a name now is not the logic that was started. */
function isResolvable(machine: AnyStateMachine, source: string): boolean {
  const inline = /^xstate\.invoke\.(\d+)\.(.*)$/s.exec(source);
  if (inline === null) return Object.hasOwn(machine.implementations.actors, source);
  const [, index, id = ""] = inline;
  const invoke: unknown = nodeById(machine, id)?.config.invoke;
  const invokes: readonly unknown[] = Array.isArray(invoke) ? invoke : [invoke];
  const src = (invokes[Number(index)] as { src?: unknown } | undefined)?.src;
  return typeof src === "object" && src !== null;
}

/** Every state by its id: a field that XState's types hide. */
function nodesById(machine: AnyStateMachine): ReadonlyMap<string, StateNode> {
  return (machine as unknown as { idMap: ReadonlyMap<string, StateNode> }).idMap;
}

/** By XState's own lookup, as the restore would do it. */
function nodeById(machine: AnyStateMachine, id: string): StateNode | undefined {
  try {
    return machine.getStateNodeById(id);
  } catch {
    return undefined; // XState throws for an id that it does not know
  }
}

function is(kind: Incompatibility["kind"], where: string, message: string): Incompatibility {
  return { kind, where, message };
}

function list(keys: readonly string[]): string {
  return keys.join(", ");
}
