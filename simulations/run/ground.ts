/**
 * What the hosts of a run stand on: their store, their leases and their bus, and the truth about what is stored, for those
 * who judge. The world's own models by default; `suites/jetstream.ts` has the production adapters over a model of NATS.
 */
import type { Bus } from "../../runtime/ports/bus.ts";
import type { Leases } from "../../runtime/ports/leases.ts";
import type { ActorStore } from "../../runtime/ports/store.ts";
import type { SimulatedNode } from "../world/node.ts";
import type { AppliedChange } from "../world/store-data.ts";
import type { World } from "../world/world.ts";
import type { FaultOf } from "./fault.ts";

export type Ground = {
  readonly partitions: number;
  /** Every change of the store, in order; and what it holds now. */
  readonly log: readonly AppliedChange[];
  peekAll(): readonly { readonly key: string; readonly value: string }[];
  /** For the present incarnation of a node. May reject: then the process ends and starts again. */
  host(node: SimulatedNode): Promise<{ readonly store: ActorStore; readonly leases: Leases; readonly bus: Bus }>;
  /** For a client. */
  client(node: SimulatedNode): Promise<{ readonly store: ActorStore; readonly bus: Bus }>;
  inflict(fault: FaultOf<"nats">): void;
  heal(): void;
};

export function groundOf(world: World): Ground {
  const { store, leases } = world;
  return {
    partitions: leases.partitions,
    get log() {
      return store.log;
    },
    peekAll: () => store.peekAll(),
    host: async ({ ports }) => ({ store: ports.store, leases: ports.leases, bus: ports.bus }),
    client: async ({ ports }) => ({ store: ports.store, bus: ports.bus }),
    inflict: () => world.note("there is no NATS in this world"),
    heal: () => {},
  };
}
