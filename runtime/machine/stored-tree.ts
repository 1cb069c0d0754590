/** What a tree is in a document. */
import type { Json } from "./codec.ts";
import type { Sid } from "./system.ts";

export const rootSid: Sid = "s0";

/** An actor in a document. Absent fields have their usual value: running, active, no parent (the root). */
export type ActorRecord = {
  readonly id?: string;
  readonly src?: Json;
  readonly parent?: Sid;
  readonly systemId?: string;
  /** The parent follows its snapshots. */
  readonly sync?: true;
  readonly run?: "idle" | "stopped";
  /** The id of the state that invoked it, where its own id does not say so. */
  readonly invokedBy?: string;
  readonly snap: Json;
};

export type TimerRecord = {
  /** ISO 8601, UTC. */
  readonly due: string;
  readonly id: string;
  readonly event: Json;
  readonly from?: Sid;
  readonly to?: Sid | readonly [type: string, id: string];
};

export type StoredTree = {
  readonly actors: Readonly<Record<Sid, ActorRecord>>;
  readonly timers: Readonly<Record<string, TimerRecord>>;
  /** The next actor number and the next number of an effect, timer or message. */
  readonly next: readonly [sid: number, n: number];
};

/** In the order in which they were made. */
export function sidNumber(sid: Sid): number {
  return Number(sid.slice(1));
}
