/** What a machine calls its states and tags, for questions that name one. */
import type { AnyStateMachine, StateNode } from "xstate";

/** The first of what is asked for that the machine does not have, in words; undefined also for logic that is no machine. */
export function unknownName(
  logic: unknown,
  { state, tag }: { readonly state?: string; readonly tag?: string },
): string | undefined {
  const { root } = logic as Partial<AnyStateMachine>;
  if (typeof root?.states !== "object") return undefined;
  const nodes = nodesOf(root);
  if (tag !== undefined && !nodes.some(({ tags }) => tags.includes(tag))) {
    const known = [...new Set(nodes.flatMap(({ tags }) => tags))];
    return `no tag ${JSON.stringify(tag)}; its tags are ${listed(known)}`;
  }
  for (const wanted of state?.split(",") ?? []) {
    if (nodes.some(({ path }) => path.join(".") === wanted)) continue;
    const known = nodes.map(({ path }) => path.join(".")).filter((path) => path !== "");
    return `no state ${JSON.stringify(wanted)}; its states are ${listed(known)}`;
  }
  return undefined;
}

function nodesOf(node: StateNode): StateNode[] {
  return [node, ...Object.values(node.states).flatMap((child) => nodesOf(child as StateNode))];
}

const mostListed = 30;

function listed(names: readonly string[]): string {
  if (names.length === 0) return "none";
  const more = names.length > mostListed ? ` and ${names.length - mostListed} more` : "";
  return names.slice(0, mostListed).join(", ") + more;
}
