/** The production code of the JetStream store and of the leases over it, unchanged, on the model of NATS. */
import { describe, test } from "vitest";
import { LeaseTable } from "../../../coordinator/backends/kv/lease-table.ts";
import { type LeasesUnderTest, leaseContract } from "../../../coordinator/ports/lease-service.contract.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "../../../runtime/adapters/jetstream/jetstream-store.ts";
import { Requests } from "../../../runtime/adapters/nats/requests.ts";
import { type StoreUnderTest, storeContract } from "../../../runtime/ports/store.contract.ts";
import { createWorld, type World } from "../../world/world.ts";
import { natsPlace } from "./connection.ts";
import { NatsModel } from "./index.ts";
import type { ServerSettings } from "./server.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

async function openOn(world: World, nats: NatsModel, node: string, options: JetStreamStoreOptions) {
  const simulated = world.node(node);
  const { clock, random } = simulated.ports;
  const { connection } = nats.connect(node, simulated.gate);
  const requests = new Requests(connection, clock, `_INBOX.${random.id()}`);
  const ports = { clock, random, logger: silent };
  return { ports, store: await JetStreamStore.open(requests, options, ports) };
}

const deployments: readonly {
  readonly name: string;
  readonly server: ServerSettings;
  readonly options: JetStreamStoreOptions;
}[] = [
  { name: "one server 2.10", server: { version: "2.10.27" }, options: {} },
  { name: "one server 2.15", server: { version: "2.15.1" }, options: {} },
  { name: "three servers 2.10", server: { version: "2.10.27", servers: 3 }, options: { replicas: 3 } },
  { name: "three servers 2.15", server: { version: "2.15.1", servers: 3 }, options: { replicas: 3 } },
  { name: "shards", server: { version: "2.15.1" }, options: { shards: 3 } },
  { name: "synced", server: { version: "2.15.1", synced: true }, options: { synced: true } },
];

describe.each(deployments)("the store on the model of $name keeps the contract", ({ name, server, options }) => {
  test.each(storeContract)("$name", async (contract) => {
    const world = createWorld({ seed: `${name} ${contract.name}` });
    const nats = new NatsModel(world.laws, { server });
    let openings = 0;
    const open = async (): Promise<StoreUnderTest> => {
      const { store } = await openOn(world, nats, `n${++openings}`, options);
      return { store, token: [1, 1], reopen: open };
    };
    await world.settle(contract.run(open));
  });
});

describe.each([
  { name: "one server 2.10", server: { version: "2.10.27" }, replicas: 1 },
  { name: "three servers 2.15", server: { version: "2.15.1", servers: 3 }, replicas: 3 },
])("leases on the model of $name keep the contract", ({ name, server, replicas }) => {
  test.each(leaseContract)("$name", async (contract) => {
    const world = createWorld({ seed: `${name} ${contract.name}` });
    const nats = new NatsModel(world.laws, { server });
    const open = async (): Promise<LeasesUnderTest> => {
      const options = { bucket: "leases", replicas, history: 1, requestTimeoutMs: 250 };
      const made = await Promise.all(["a", "b"].map((node) => openOn(world, nats, node, options)));
      const [a, b] = (await Promise.all(made.map(({ store, ports }) => LeaseTable.open({ ...ports, store })))) as [
        LeaseTable,
        LeaseTable,
      ];
      return {
        a,
        b,
        ttlMs: 1_000,
        pass: (ms) => world.sleep(ms),
        freeze: () => world.links.cut("a", natsPlace),
        thaw: () => world.links.heal("a", natsPlace),
        close: async () => {
          await Promise.all([a.close(), b.close()]);
          await Promise.all(made.map(({ store }) => store.close()));
        },
      };
    };
    await world.settle(contract.run(open));
  });
});
