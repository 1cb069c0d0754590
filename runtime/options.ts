/**
 * Options that nobody knows: a misspelt `key` would cost an event its idempotency, and JavaScript says nothing. The keys
 * of each kind of options stand beside its type, which makes the compiler see to it that none is missing.
 */

/** Every key of the options `T`. */
export type KeysOf<T> = { readonly [Key in keyof Required<T>]: unknown };

/** What is wrong with the names of the options, in words; empty when all are known. `path` stands before each: "retry.". */
export function unknownOptions<T>(given: T | undefined, keys: KeysOf<T>, path = ""): string[] {
  if (given === undefined) return [];
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const name = path === "" ? "" : `${path.slice(0, -1)} `;
    return [`${name}is ${Array.isArray(given) ? "a list" : String(given)}; it must be an object of options`];
  }
  const problems: string[] = [];
  for (const name in given) {
    if (!Object.hasOwn(keys, name)) problems.push(`${path}${name} is no option; ${advice(name, Object.keys(keys))}`);
  }
  return problems;
}

/** Throws a Refusal that says whose options these are, and each name in them that nobody knows. */
export function refuseUnknown<T>(
  what: string,
  given: T | undefined,
  keys: KeysOf<T>,
  Refusal: new (message: string) => Error,
): void {
  const problems = unknownOptions(given, keys);
  if (problems.length > 0) throw new Refusal(`${what}: ${problems.join("; ")}`);
}

function advice(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  const all = `there ${known.length === 1 ? "is" : "are"} ${known.join(", ")}`;
  return near === undefined ? all : `did you mean ${near}? (${all})`;
}

/** The one that a typing error or two, a missing unit or another case may have made the name of. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  const begun = (one: string) => lower.length > 2 && one.toLowerCase().startsWith(lower);
  const [best] = known
    .map((one) => ({ one, edits: begun(one) ? 0 : editsBetween(lower, one.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= Math.max(1, Math.floor(name.length / 3)) ? best.one : undefined;
}

/** How many letters must be changed, left out, put in or swapped with their neighbour to make one of the other. */
function editsBetween(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number) => rows[row]?.[column] ?? 0;
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    rows.push(line);
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let edits = Math.min(at(row - 1, column) + 1, at(row, column - 1) + 1, at(row - 1, column - 1) + same);
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) edits = Math.min(edits, at(row - 2, column - 2) + 1);
      line.push(edits);
    }
  }
  return at(a.length, b.length);
}
