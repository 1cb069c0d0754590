/** Which events a machine can ever handle, read from its configuration, and its version. */
import { isMachine } from "./internals.ts";

type Node = { readonly transitions: ReadonlyMap<string, unknown> };

/**
 * Whether any state of the machine has a transition for this type, exactly or by wildcard. Logic that is no machine
 * takes everything. States that are not active now count too: the answer says "never", not "not now".
 */
export function handledEvents(logic: unknown): (eventType: string) => boolean {
  if (!isMachine(logic)) return () => true;
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
  return (type) => everything || exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix) || `${type}.` === prefix);
}

/** The machine's own version when it is a whole number. */
export function machineVersion(logic: unknown): number | undefined {
  const version = (logic as { version?: unknown } | undefined)?.version;
  if (version === undefined) return undefined;
  const number = Number(version);
  return Number.isSafeInteger(number) ? number : undefined;
}
