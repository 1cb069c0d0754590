/**
 * Named points inside the runtime at which a simulator may hold it up: where the world outside cannot reach, between a
 * confirmation and whatever relies on it. Outside of a simulator the port is not there, and costs one look.
 */
export type FaultPoint =
  /** A document's write is confirmed; nobody is answered yet, no effect has begun. */
  | "commit.confirmed"
  /** An entry of the index of pending work is confirmed; the document that needs it is not written yet. */
  | "index.confirmed"
  /** Invoked logic has ended; the actor is not told yet. */
  | "effect.ended";

/** A promise: go on when it resolves. Undefined: go on at once. */
export type Hold = (point: FaultPoint) => Promise<void> | undefined;
