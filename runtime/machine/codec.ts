/**
 * The tagged codec: live values of a machine (context, events, inputs, outputs) to JSON-able values and back, exactly.
 * What JSON would lose is kept under a readable tag; what would not come back as it was is refused, never changed.
 * Start reading at `encodeValue`.
 *
 * Tags are objects with one key that begins with "@"; a plain object's own such key is escaped by a second "@".
 * Not kept: extra properties on arrays, dates, maps and other built-ins, non-enumerable properties, the class of a
 * user's own errors (they come back as `Error` with that name), stacks, and that one object was met at two places.
 */
export { DamagedValueError, type DecodeOptions, decodeValue } from "./decode.ts";
export { type EncodeOptions, encodeValue } from "./encode.ts";
export { NotStorableError } from "./not-storable.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** How a reference to an actor is stored: one of this document by its id, or any other by type and id. */
export type RefTag = { readonly "@ref": string } | { readonly "@address": readonly [type: string, id: string] };

/** Values deeper than this many nested objects are refused. */
export const maxNesting = 200;

/**
 * Keeps, in memory, what cannot be stored. Only for drop-in tests of machines whose values never leave the process.
 * The same value has the same number for the life of the table.
 */
export class LiveTable {
  readonly #values: unknown[] = [];
  readonly #numbers = new Map<unknown, number>();

  put(value: unknown): number {
    const known = this.#numbers.get(value);
    if (known !== undefined) return known;
    const number = this.#values.push(value) - 1;
    this.#numbers.set(value, number);
    return number;
  }

  has(number: number): boolean {
    return Number.isInteger(number) && number >= 0 && number < this.#values.length;
  }

  get(number: number): unknown {
    return this.#values[number];
  }
}
