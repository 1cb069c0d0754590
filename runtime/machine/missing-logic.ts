/**
 * Invocations of logic that nobody gave, found before anything runs. XState goes on without the child, with a warning at
 * most, and what waits for its end waits for ever. Start reading at `missingLogic`.
 *
 * Only for whoever hosts a machine: a client may know it without the logic, so `defineActor`, which serves both, does not ask.
 * What `provide` gives is on the machine by then. What a spawn in an action names cannot be seen from outside.
 */
import type { AnyStateMachine } from "xstate";
import { described } from "../argument.ts";
import { nearest } from "../options.ts";
import { isMachine } from "./internals.ts";

/** In words, by the state that invokes. */
export type MissingLogic = {
  /** From states that can be entered. */
  readonly reached: readonly string[];
  /** From states to which nothing leads, which do no harm unless `migrate` leads there. */
  readonly unreached: readonly string[];
};

/** What the machine, and the machines in it, invoke without having it. */
export function missingLogic(logic: unknown): MissingLogic {
  const missing = { reached: [] as string[], unreached: [] as string[] };
  collect(logic, missing, new Set());
  return missing;
}

type StateNode = AnyStateMachine["root"];
type Collected = { readonly [Kind in keyof MissingLogic]: string[] };

function collect(logic: unknown, missing: Collected, seen: Set<unknown>): void {
  if (!isMachine(logic) || seen.has(logic)) return;
  seen.add(logic);
  const actors = logic.implementations.actors as Readonly<Record<string, unknown>>;
  for (const actor of Object.values(actors)) collect(actor, missing, seen);
  const reached = reachedFrom(logic.root);
  for (const node of idsOf(logic).values()) {
    const { invoke } = node.config as {
      readonly invoke?: { readonly src?: unknown } | readonly { readonly src?: unknown }[];
    };
    for (const { src } of invoke === undefined ? [] : [invoke].flat()) {
      if (isLogic(src)) collect(src, missing, seen);
      else if (typeof src !== "string" || !isLogic(Object.hasOwn(actors, src) ? actors[src] : undefined))
        missing[reached.has(node) ? "reached" : "unreached"].push(told(node.id, src, actors));
    }
  }
}

function idsOf(machine: unknown): ReadonlyMap<string, StateNode> {
  return (machine as { readonly idMap: ReadonlyMap<string, StateNode> }).idMap;
}

function isLogic(given: unknown): boolean {
  return typeof (given as { readonly transition?: unknown } | null | undefined)?.transition === "function";
}

function told(state: string, src: unknown, actors: Readonly<Record<string, unknown>>): string {
  if (typeof src !== "string") return `"${state}" invokes ${described(src)}, which is no logic: is its import missing?`;
  const near = nearest(src, Object.keys(actors));
  const meant = near === undefined || near === src ? "" : ` (did you mean ${near}?)`;
  return `"${state}" invokes "${src}"${meant}, for which the machine has no logic; give it in setup({ actors })`;
}

/** The states that some way through the machine enters, whatever its guards say. */
function reachedFrom(root: StateNode): ReadonlySet<StateNode> {
  const reached = new Set<StateNode>();
  const entered = new Set<StateNode>();
  const enter = (node: StateNode): void => {
    enterAbove(node);
    enterInside(node);
  };
  /** On the way to a state: the regions beside it are entered as well, what would come first above it is not. */
  const enterAbove = (node: StateNode): void => {
    const { parent } = node;
    if (parent === undefined) return;
    const isNew = !reached.has(parent);
    reach(parent);
    if (parent.type === "parallel")
      for (const region of Object.values(parent.states)) if (region !== node) enterInside(region);
    if (isNew) enterAbove(parent);
  };
  const enterInside = (node: StateNode): void => {
    if (entered.has(node)) return;
    entered.add(node);
    reach(node);
    if (node.type === "parallel") for (const region of Object.values(node.states)) enterInside(region);
    if (node.type === "compound") for (const target of node.initial.target ?? []) enter(target);
    // What a history remembers was entered before.
    if (node.type === "history") for (const target of historyDefault(node)) enter(target);
  };
  const reach = (node: StateNode): void => {
    if (reached.has(node)) return;
    reached.add(node);
    for (const transitions of [...node.transitions.values(), node.always ?? []])
      for (const { target } of transitions) for (const one of target ?? []) enter(one);
  };
  enter(root);
  return reached;
}

function historyDefault(node: StateNode): readonly StateNode[] {
  const { parent } = node;
  if (parent === undefined) return [];
  const { target } = node.config as { readonly target?: unknown };
  if (target === undefined) return parent.type === "compound" ? (parent.initial.target ?? []) : [parent];
  return [target].flat().flatMap((one) => {
    if (typeof one !== "string") return [one as StateNode];
    if (one.startsWith("#")) return idsOf(node.machine).get(one.slice(1)) ?? [];
    return one.split(".").reduce<StateNode | undefined>((at, key) => at?.states[key], parent) ?? [];
  });
}
