/** Which events a machine can ever handle, read from its configuration, and its version. */
import { isMachine } from "./internals.ts";

type Node = { readonly transitions: ReadonlyMap<string, unknown> };

/**
 * Whether any state of the machine has a transition for this type, exactly or by wildcard. Logic that is no machine
 * takes everything. States that are not active now count too: the answer says "never", not "not now".
 */
export function handledEvents(logic: unknown): (eventType: string) => boolean {
  if (!isMachine(logic)) return () => true;
  let handles = handled.get(logic);
  if (handles === undefined) {
    handles = handlesOf(logic);
    handled.set(logic, handles);
  }
  return handles;
}

const handled = new WeakMap<object, (eventType: string) => boolean>();

function handlesOf(logic: object): (eventType: string) => boolean {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  let everything = false;
  for (const node of (logic as unknown as { idMap: ReadonlyMap<string, Node> }).idMap.values()) {
    for (const descriptor of node.transitions.keys()) {
      if (descriptor === "*") everything = true;
      else if (descriptor.endsWith(".*")) prefixes.push(descriptor.slice(0, -1));
      else exact.add(descriptor);
    }
  }
  // `user.*` also takes `user` itself, as in XState.
  return (type) =>
    everything || exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix) || `${type}.` === prefix);
}

type Named = { readonly type?: unknown; readonly src?: unknown };

/**
 * The names by which a machine, and the machines in it, call actions and invoked logic: what an effect policy can be
 * for. Undefined for logic that is no machine.
 */
export function effectNames(logic: unknown, seen = new Set<unknown>()): Set<string> | undefined {
  if (!isMachine(logic) || seen.has(logic)) return undefined;
  seen.add(logic);
  const names = new Set<string>();
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(collect);
    if (typeof value === "function" && !("resolve" in value) && value.name !== "") names.add(value.name);
    if (typeof value === "string") names.add(value);
    const { type, src } = (typeof value === "object" && value !== null ? value : {}) as Named;
    if (typeof type === "string") names.add(type);
    if (typeof src === "string") names.add(src);
  };
  const { actors, actions } = logic.implementations;
  for (const name of [...Object.keys(actors), ...Object.keys(actions)]) names.add(name);
  for (const actor of Object.values(actors)) for (const name of effectNames(actor, seen) ?? []) names.add(name);
  for (const node of (logic as unknown as { idMap: ReadonlyMap<string, ConfiguredNode> }).idMap.values()) {
    collect(node.entry);
    collect(node.exit);
    collect(node.invoke);
    for (const transitions of node.transitions.values()) for (const { actions: own } of transitions) collect(own);
    for (const { actions: own } of node.always ?? []) collect(own);
    for (const { src } of node.config.invoke === undefined ? [] : [node.config.invoke].flat()) {
      for (const name of effectNames(src, seen) ?? []) names.add(name);
    }
  }
  return names;
}

type ConfiguredNode = {
  readonly entry: readonly unknown[];
  readonly exit: readonly unknown[];
  readonly invoke: readonly unknown[];
  readonly transitions: ReadonlyMap<string, readonly { readonly actions: readonly unknown[] }[]>;
  readonly always?: readonly { readonly actions: readonly unknown[] }[];
  readonly config: { readonly invoke?: Named | readonly Named[] };
};

/** The machine's own version when it is a whole number. */
export function machineVersion(logic: unknown): number | undefined {
  const version = (logic as { version?: unknown } | undefined)?.version;
  if (version === undefined) return undefined;
  const number = Number(version);
  return Number.isSafeInteger(number) ? number : undefined;
}
