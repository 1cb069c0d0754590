/**
 * The place of a value inside a larger one, as people write it: `context.cart.items[2].price`.
 * A walk keeps one step per level, and text is made only when something is refused.
 */

/** One step down: a property, an index, or a member of a Map, a Set or an entry's key. */
export type PathStep =
  | string
  | number
  | { in: "map"; key: unknown }
  | { in: "mapKeys"; index: number }
  | { in: "set"; index: number };

/** The text of the first `length` steps below `root`. */
export function pathText(root: string, steps: readonly PathStep[], length: number): string {
  let text = root;
  for (let index = 0; index < length; index++) text += stepText(steps[index] ?? "?");
  return text;
}

function stepText(step: PathStep): string {
  if (typeof step === "number") return `[${step}]`;
  if (typeof step === "string")
    return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  if (step.in === "map")
    return `.get(${typeof step.key === "string" ? JSON.stringify(step.key) : describeKey(step.key)})`;
  if (step.in === "mapKeys") return `.keys()[${step.index}]`;
  return `.values()[${step.index}]`;
}

function describeKey(key: unknown): string {
  return typeof key === "object" && key !== null ? "…" : String(key);
}
