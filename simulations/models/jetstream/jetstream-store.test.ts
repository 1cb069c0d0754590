/** The production code of the JetStream store and of the leases over it, unchanged, on the model of NATS. */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { LeaseTable } from "../../../coordinator/backends/kv/lease-table.ts";
import { type LeasesUnderTest, leaseContract } from "../../../coordinator/ports/lease-service.contract.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "../../../runtime/adapters/jetstream/jetstream-store.ts";
import { Requests } from "../../../runtime/adapters/nats/requests.ts";
import { hashText } from "../../../runtime/hash.ts";
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

describe.each(deployments)("on the model of $name", ({ name, server, options }) => {
  test("entries of the index that were removed leave nothing, and those that came back stay", async () => {
    const world = createWorld({ seed: `markers ${name}` });
    const nats = new NatsModel(world.laws, { server });
    const token = [1, 1] as const;
    const write = async (store: JetStreamStore, key: string): Promise<number> => {
      const header = { commit: `c${world.laws.loop.nowMs}`, hash: hashText("{}") };
      const outcome = await store.write({ key, value: "{}", header, expect: 0, token });
      assert.equal(outcome.kind, "written");
      return (outcome as { readonly revision: number }).revision;
    };
    const left = () =>
      nats.server.streams
        .flatMap((stream) => [...stream.countsBySubject(">").keys()])
        .map((subject) => /_(?:pending|parked)\..*$/.exec(subject)?.[0])
        .filter((key) => key !== undefined)
        .sort();
    await world.settle(
      (async () => {
        const [first, second] = [await openOn(world, nats, "n1", options), await openOn(world, nats, "n2", options)];
        const seen = new Set<string>();
        second.store.watch("_pending.", (change) => {
          if (change.kind === "purge") seen.add(change.key);
        });
        const keys = Array.from({ length: 30 }, (_, n) => `_pending.order.${n}`);
        for (const key of [...keys, "_parked.order.1"]) {
          const revision = await write(first.store, key);
          assert.equal((await first.store.purge(key, revision, token)).kind, "written");
        }
        assert.equal(left().length, 31);
        const again = await write(first.store, "_pending.order.7");
        await world.sleep(1_000);
        assert.equal(seen.size, 30);
        // Its process ends before it could take away anything; another one lists, and meets what is left.
        await first.store.close();
        await second.store.list({ prefix: "_pending." });
        await world.sleep(130_000);
        assert.deepEqual(left(), ["_parked.order.1", "_pending.order.7"]);
        assert.equal((await second.store.read("_pending.order.7"))?.revision, again);
        assert.equal((await second.store.history("_pending.order.7")).length, 1);
        await write(second.store, "_pending.order.8");
        await world.sleep(130_000);
        assert.deepEqual(left(), ["_parked.order.1", "_pending.order.7", "_pending.order.8"]);
        await second.store.close();
      })(),
    );
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
