/** What the core asserts of itself and its driver. A broken invariant must stop the node: going on could lose entries. */

/** The core, its driver or its storage broke a rule that consensus rests on: stop this node, keep its files. */
export class RaftInvariantError extends Error {
  override readonly name = "RaftInvariantError";
}

export function assertRaft(holds: boolean, otherwise: () => string): asserts holds {
  if (!holds) throw new RaftInvariantError(otherwise());
}
