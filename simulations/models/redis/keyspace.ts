/**
 * What a Redis server holds: values by key, each with the moment at which it expires. Values are never changed in place,
 * so that a copy on a disk or at a replica stays what it was.
 */

export type StreamId = readonly [ms: number, sequence: number];
export type StreamEntry = { readonly id: StreamId; readonly fields: readonly string[] };

export type Value =
  | { readonly type: "string"; readonly text: string }
  | { readonly type: "hash"; readonly fields: ReadonlyMap<string, string> }
  | { readonly type: "stream"; readonly entries: readonly StreamEntry[]; readonly last: StreamId };

export type Held = { readonly value: Value; readonly expiresMs: number | undefined };

/** One change of one key; `held` undefined: it is gone. */
export type Change = { readonly key: string; readonly held: Held | undefined };

export class Keyspace {
  readonly #held = new Map<string, Held>();
  readonly #onChange: (change: Change) => void;

  constructor(onChange: (change: Change) => void) {
    this.#onChange = onChange;
  }

  /** What is there at this moment of the server's wall clock: a key is gone when the moment of its end has passed. */
  get(key: string, nowMs: number): Held | undefined {
    const held = this.#held.get(key);
    return held?.expiresMs !== undefined && nowMs > held.expiresMs ? undefined : held;
  }

  set(key: string, value: Value, expiresMs: number | undefined): void {
    this.apply({ key, held: { value, expiresMs } });
  }

  delete(key: string): void {
    if (this.#held.has(key)) this.apply({ key, held: undefined });
  }

  /** Also for what comes from a disk or a master. */
  apply(change: Change): void {
    if (change.held === undefined) this.#held.delete(change.key);
    else this.#held.set(change.key, change.held);
    this.#onChange(change);
  }

  keys(nowMs: number): string[] {
    return [...this.#held.keys()].filter((key) => this.get(key, nowMs) !== undefined);
  }

  /** As a list of changes that would make it anew. */
  contents(): Change[] {
    return [...this.#held].map(([key, held]) => ({ key, held }));
  }
}
