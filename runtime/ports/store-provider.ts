/**
 * What `createRuntime({ store })` takes: a recipe that opens a store together with the leases that belong to it.
 * Making a provider does nothing yet; each `open` is one host, and later ones outrank earlier ones.
 */
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { Leases } from "./leases.ts";
import type { Logger } from "./logger.ts";
import type { PlainRequests } from "./plain-requests.ts";
import type { Random } from "./random.ts";
import type { ActorStore } from "./store.ts";

export interface StoreProvider {
  /** Rejects with an error that says what to do when the store cannot be opened; nothing is left open then. */
  open(options: { readonly logger: Logger; readonly clock: Clock; readonly random: Random }): Promise<OpenStore>;
  /** For services that host nothing: reads, and requests to the nodes that do. Missing where one process has it all. */
  connect?(options: { readonly logger: Logger; readonly clock: Clock; readonly random: Random }): Promise<OpenClient>;
}

export type OpenClient = {
  /** To read from. Nothing is written through it. */
  readonly store: ActorStore;
  readonly bus: Bus;
  readonly partitions: number;
  /** May be called twice. */
  close(): Promise<void>;
};

export type OpenStore = {
  readonly store: ActorStore;
  readonly leases: Leases;
  /** How nodes of this store reach each other; without it there is only this one. */
  readonly bus?: Bus;
  /** Where those come in who know nothing of this runtime. */
  readonly plainRequests?: PlainRequests;
  /** Where the store lives on this machine, if it does; a host may put its own socket there. */
  readonly directory?: string;
  /** Why this process will never reach the store again, if so: only another one can. */
  lostForGood?(): string | undefined;
  /** Gives the leases back, waits for writes in flight, closes the store. May be called twice. */
  close(): Promise<void>;
};
