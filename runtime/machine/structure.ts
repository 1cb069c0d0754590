/**
 * The shape of a machine: states, transitions, invocations and names, without the bodies of functions. Its hash is kept
 * in every document, so that a change of shape is noticed at load; a change of a body is not one. What a changed shape
 * means for a stored state is the question of `restore-check.ts`. Start reading at `structureOf`.
 */
import type { AnyStateMachine } from "xstate";
import { hashText } from "../hash.ts";
import { isMachine, kindOf, type Logic } from "./internals.ts";

export { checkCompatible, type Incompatibility, type StoredState } from "./restore-check.ts";

/** Plain data, equal for equal shapes under every supported version of XState. */
export type Structure = {
  readonly id: string;
  readonly root: StateStructure;
  /** The logic of each name in `implementations.actors`, and of each inline invocation. */
  readonly actors: Readonly<Record<string, LogicStructure>>;
};

/** A machine by its shape, other logic by its kind, a machine that contains itself by how many levels above it is. */
export type LogicStructure = Structure | string;

export type StateStructure = {
  readonly id: string;
  readonly key: string;
  readonly type: string;
  readonly history?: string;
  readonly initial?: TransitionStructure;
  readonly entry?: readonly string[];
  readonly exit?: readonly string[];
  /** All transitions by event descriptor, those of `after`, `onDone` and invocations included, sorted by descriptor. */
  readonly on?: readonly (readonly [descriptor: string, transitions: readonly TransitionStructure[]])[];
  readonly always?: readonly TransitionStructure[];
  readonly invoke?: readonly { readonly id: string; readonly src: string }[];
  readonly states?: readonly StateStructure[];
};

export type TransitionStructure = {
  /** Missing: the event is taken, and no state is left. */
  readonly targets?: readonly string[];
  readonly guard?: GuardStructure;
  readonly actions?: readonly string[];
  readonly reenter?: true;
};

export type GuardStructure = string | { readonly [combination: string]: readonly GuardStructure[] };

const hashes = new WeakMap<object, string>();

/** 16 hex digits. */
export function structuralHash(machine: AnyStateMachine): string {
  let hash = hashes.get(machine);
  if (hash === undefined) {
    hash = hashText(JSON.stringify(structureOf(machine)));
    hashes.set(machine, hash);
  }
  return hash;
}

export function structureOf(machine: AnyStateMachine): Structure {
  return machineStructure(machine, []);
}

type StateNode = AnyStateMachine["root"];

function machineStructure(machine: AnyStateMachine, above: readonly object[]): Structure {
  const actors: Record<string, LogicStructure> = {};
  const path = [...above, machine];
  const logics = [
    ...Object.entries(machine.implementations.actors as Record<string, unknown>),
    ...inlineLogics(machine),
  ];
  for (const [name, logic] of logics.sort(([a], [b]) => (a < b ? -1 : 1))) actors[name] = logicStructure(logic, path);
  return { id: machine.id, root: stateStructure(machine.root), actors };
}

function logicStructure(logic: unknown, above: readonly object[]): LogicStructure {
  if (typeof logic !== "object" || logic === null) return "unknown";
  const level = above.indexOf(logic);
  if (level >= 0) return `the machine ${above.length - level} above`;
  return isMachine(logic) ? machineStructure(logic, above) : kindOf(logic as Logic);
}

function inlineLogics(machine: AnyStateMachine): [name: string, logic: unknown][] {
  return nodesOf(machine.root).flatMap((node) =>
    toArray(node.config.invoke).flatMap((invoke, index): [string, unknown][] => {
      const src = (invoke as { src?: unknown }).src;
      return typeof src === "string" ? [] : [[node.invoke[index]?.src as string, src]];
    }),
  );
}

function nodesOf(node: StateNode): StateNode[] {
  return [node, ...Object.values(node.states).flatMap(nodesOf)];
}

function stateStructure(node: StateNode): StateStructure {
  const on = [...node.transitions]
    .map(([descriptor, transitions]) => [descriptor, transitions.map(transitionStructure)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const states = Object.values(node.states).map(stateStructure);
  return {
    id: node.id,
    key: node.key ?? "",
    type: node.type,
    ...(node.history && { history: node.history }),
    ...(node.type === "compound" && { initial: transitionStructure(node.initial) }),
    ...(node.type === "history" && node.config.target !== undefined && { initial: historyDefault(node) }),
    // Of the configuration: XState adds the timers of `after` to the lists of the node.
    ...some("entry", toArray(node.config.entry).map(actionName)),
    ...some("exit", toArray(node.config.exit).map(actionName)),
    ...some("on", on),
    ...some("always", (node.always ?? []).map(transitionStructure)),
    ...some(
      "invoke",
      node.invoke.map(({ id, src }) => ({
        id,
        src: String(src).startsWith("xstate.invoke.") ? "inline" : String(src),
      })),
    ),
    ...some("states", states),
  };
}

function historyDefault(node: StateNode): TransitionStructure {
  return { targets: toArray(node.config.target).map((target) => (typeof target === "string" ? target : idOf(target))) };
}

type TransitionLike = {
  readonly target?: readonly { readonly id: string }[] | undefined;
  readonly guard?: unknown;
  readonly actions: readonly unknown[];
  readonly reenter: boolean;
};

function transitionStructure(transition: TransitionLike): TransitionStructure {
  return {
    ...(transition.target !== undefined && { targets: transition.target.map(({ id }) => id) }),
    ...(transition.guard !== undefined && { guard: guardStructure(transition.guard) }),
    ...some("actions", transition.actions.map(actionName)),
    ...(transition.reenter && { reenter: true }),
  };
}

/** A name, "inline", or the parts of `and`, `or`, `not` under that word. */
export function guardStructure(guard: unknown): GuardStructure {
  if (typeof guard === "string") return guard;
  if (typeof guard === "function") {
    if ("guards" in guard && Array.isArray(guard.guards)) return { [guard.name]: guard.guards.map(guardStructure) };
    return "check" in guard ? guard.name : "inline";
  }
  return typeOf(guard);
}

/** A name, "inline", or the type of one of XState's own actions, such as `xstate.raise`. */
export function actionName(action: unknown): string {
  if (typeof action === "string") return action;
  if (typeof action === "function") return "resolve" in action ? typeOf(action) : "inline";
  return typeOf(action);
}

function typeOf(value: unknown): string {
  return String((value as { type?: unknown } | null | undefined)?.type);
}

function idOf(value: unknown): string {
  return String((value as { id?: unknown } | null | undefined)?.id);
}

function some<Key extends string, Item>(key: Key, list: readonly Item[]): { readonly [K in Key]?: readonly Item[] } {
  return (list.length > 0 ? { [key]: list } : {}) as { readonly [K in Key]?: readonly Item[] };
}

function toArray(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}
