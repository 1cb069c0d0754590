/**
 * The refusal to store: thrown before anything is committed, when a value would not come back as it was.
 * It names the place and what was found there, so that the user can change the machine without searching.
 */

/** A value that cannot be kept in a document. Nothing was written. */
export class NotStorableError extends Error {
  override readonly name = "NotStorableError";
  /** Where it was found, such as `context.cart.items[2].price`. */
  readonly path: string;
  /** What was found, in words, such as `a function` or `an instance of class Cart`. */
  readonly what: string;

  constructor(path: string, what: string, advice = "store plain data instead", options?: ErrorOptions) {
    super(`${path} cannot be stored: it is ${what}; ${advice}`, options);
    this.path = path;
    this.what = what;
  }
}
