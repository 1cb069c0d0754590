/** Names that a user wrote, held against those that there are: a misspelt one is refused, with the one that was meant. */

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

/** The one that takes the fewest letters to get to, if they are few. */
function nearest(name: string, all: readonly string[]): string | undefined {
  let best: { readonly name: string; readonly letters: number } | undefined;
  for (const other of all) {
    const letters = lettersBetween(name.toLowerCase(), other.toLowerCase());
    if (letters <= Math.max(2, name.length / 3) && letters < (best?.letters ?? Number.POSITIVE_INFINITY))
      best = { name: other, letters };
  }
  return best?.name;
}

/** Letters to add, to leave out or to change (Levenshtein). */
function lettersBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const change = (row[j - 1] as number) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[to.length] as number;
}
