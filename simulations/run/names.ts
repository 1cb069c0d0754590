/** Names that a user wrote, held against those that there are: a misspelt one is refused, with the one that was meant. */
import { nearest } from "../../runtime/options.ts";

/** What has this name, or an error that says which there are. */
export function named<T>(what: string, all: Readonly<Record<string, T>>, name: string): T {
  if (Object.hasOwn(all, name)) return all[name] as T;
  throw new RangeError(noSuch(what, name, Object.keys(all)));
}

export function noSuch(what: string, name: string, all: readonly string[]): string {
  const near = nearest(name, all);
  const meant = near === undefined ? "" : ` (${JSON.stringify(near)} was meant?)`;
  return `there is no ${what} ${JSON.stringify(name)}${meant}: there ${all.length === 0 ? "is none" : `are ${all.join(", ")}`}`;
}
