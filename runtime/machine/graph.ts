/**
 * A machine as a Mermaid state diagram, the live states marked. Pure text, equal for equal machines: it may be kept in
 * a repository and compared. What Mermaid cannot draw as an arrow stands as a line in the label of its state.
 */
import type { AnyStateMachine, StateValue } from "xstate";
import { described } from "../argument.ts";
import { InvalidRequestError } from "../errors.ts";
import { isMachine } from "./internals.ts";
import { actionName, type GuardStructure, guardStructure } from "./structure.ts";

type StateNode = AnyStateMachine["root"];
type Transition = {
  readonly eventType: string;
  readonly target?: readonly StateNode[] | undefined;
  readonly guard?: unknown;
  readonly actions: readonly unknown[];
};

export function mermaidOf(machine: AnyStateMachine, live?: { readonly value: StateValue }): string {
  if (!isMachine(machine))
    throw new InvalidRequestError(`mermaidOf takes an XState machine; it got ${described(machine)}`);
  const lines = ["stateDiagram-v2", ...stateLines(machine.root, "  ")];
  if (live !== undefined) {
    const ids = [machine.root, ...activeNodes(machine.root, live.value)].map(idOf);
    lines.push("  classDef live fill:#1d4ed8,color:#ffffff,stroke:#1e3a8a", `  class ${ids.join(",")} live`);
  }
  return `${lines.join("\n")}\n`;
}

function stateLines(node: StateNode, indent: string): string[] {
  const head = `${indent}state "${labelOf(node)}" as ${idOf(node)}`;
  const children = Object.values(node.states);
  if (children.length === 0) return [head];
  const inner = `${indent}  `;
  const body = node.type === "parallel" ? regionLines(children, inner) : compoundLines(node, children, inner);
  return [`${head} {`, ...body, `${indent}}`];
}

function compoundLines(node: StateNode, children: readonly StateNode[], indent: string): string[] {
  const { target = [], actions } = node.initial as Transition;
  return [
    ...target.map((initial) => `${indent}[*] --> ${idOf(initial)}${labelled(actionText(actions))}`),
    ...children.flatMap((child) => stateLines(child, indent)),
    ...children.flatMap((child) => arrowLines(child, indent)),
  ];
}

function regionLines(regions: readonly StateNode[], indent: string): string[] {
  return regions.flatMap((region, index) => [
    ...(index > 0 ? [`${indent}--`] : []),
    ...stateLines(region, indent),
    ...arrowLines(region, indent),
  ]);
}

function arrowLines(node: StateNode, indent: string): string[] {
  const end = node.type === "final" ? [`${indent}${idOf(node)} --> [*]`] : [];
  const arrows = transitionsOf(node).flatMap((transition) =>
    (transition.target ?? [])
      .filter((target) => isArrow(node, target))
      .map((target) => `${indent}${idOf(node)} --> ${idOf(target)}${labelled(transitionText(node, transition))}`),
  );
  return [...end, ...arrows];
}

/** Mermaid's layout fails on an arrow between a composite state and itself or a state inside it. */
function isArrow(source: StateNode, target: StateNode): boolean {
  const isLoop = source === target && Object.keys(source.states).length === 0 && source.parent !== undefined;
  return isLoop || !(isWithin(source, target) || isWithin(target, source));
}

function isWithin(node: StateNode, outer: StateNode): boolean {
  for (let at: StateNode | undefined = node; at !== undefined; at = at.parent) if (at === outer) return true;
  return false;
}

/** The name, what happens on entry and exit, what is invoked, and the transitions that are no arrows. */
function labelOf(node: StateNode): string {
  const lines = [node.type === "history" ? `${node.key} (${node.history} history)` : (node.key ?? node.machine.id)];
  for (const moment of ["entry", "exit"] as const) {
    const actions = toArray(node.config[moment]);
    if (actions.length > 0) lines.push(`${moment}${actionText(actions)}`);
  }
  for (const { id, src } of node.invoke) {
    const source = String(src).startsWith("xstate.invoke.") ? "inline" : String(src);
    lines.push(id === source ? `invoke ${source}` : `invoke ${source} as ${id}`);
  }
  for (const transition of transitionsOf(node)) {
    const quiet = (transition.target ?? []).filter((target) => !isArrow(node, target));
    if (transition.target !== undefined && quiet.length === 0) continue;
    const targets = quiet.map((target) => ` → ${target.path.join(".") || target.machine.id}`).join("");
    lines.push(transitionText(node, transition) + targets);
  }
  return lines.map(escaped).join("<br/>");
}

function transitionsOf(node: StateNode): readonly Transition[] {
  return [...[...node.transitions.values()].flat(), ...(node.always ?? [])] as readonly Transition[];
}

function transitionText(node: StateNode, transition: Transition): string {
  const guard = transition.guard === undefined ? "" : ` [${guardText(guardStructure(transition.guard))}]`;
  return `${eventText(node, transition.eventType)}${guard}${actionText(transition.actions)}`;
}

function eventText(node: StateNode, event: string): string {
  if (event === "") return "always";
  const delay = node.after.find(({ eventType }) => eventType === event)?.delay;
  if (delay !== undefined) return Number.isNaN(Number(delay)) ? `after ${String(delay)}` : `after ${String(delay)}ms`;
  if (event === `xstate.done.state.${node.id}`) return "done";
  const [, what, id] = /^xstate\.(done\.actor|error\.actor|snapshot)\.(.*)$/s.exec(event) ?? [];
  return what === undefined ? event : `${what.replace(".actor", "")} ${id}`;
}

function guardText(guard: GuardStructure): string {
  if (typeof guard === "string") return guard;
  return Object.entries(guard)
    .map(([name, parts]) => `${name}(${parts.map(guardText).join(", ")})`)
    .join(", ");
}

function actionText(actions: readonly unknown[]): string {
  return actions.length === 0 ? "" : ` / ${actions.map(actionName).join(", ")}`;
}

function labelled(text: string): string {
  return text === "" ? "" : ` : ${escaped(text.trim())}`;
}

/** Mermaid's entities for all that could end a label or be read as markup. */
function escaped(text: string): string {
  return text.replace(/\s+/g, " ").replace(/["#:;<>{}\\`&]/g, (sign) => `#${sign.charCodeAt(0)};`);
}

/** Letters and digits as they are, all else by its code, so that no two states share an id and none is a keyword. */
function idOf(node: StateNode): string {
  const key = (text: string) => text.replace(/[^A-Za-z0-9]/g, (sign) => `_${sign.charCodeAt(0).toString(16)}_`);
  return ["s", ...node.path.map(key)].join("__");
}

function activeNodes(node: StateNode, value: StateValue): StateNode[] {
  const active: [string, StateValue][] = typeof value === "string" ? [[value, {}]] : Object.entries(value as never);
  return active.flatMap(([key, inner]) => {
    const child = node.states[key];
    return child === undefined ? [] : [child, ...activeNodes(child, inner)];
  });
}

function toArray(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}
