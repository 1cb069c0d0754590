import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, test } from "vitest";
import { storeContract } from "../../ports/store.contract.ts";
import { describeWithNats, natsVersions } from "../../testing/nats.fixture.ts";
import { startNatsCluster, startNatsServer } from "../../testing/nats-server.ts";
import { connectNats, type OpenConnection } from "../nats/connection.ts";
import { Requests } from "../nats/requests.ts";
import { SystemClock } from "../system-clock.ts";
import { SystemRandom } from "../system-random.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "./jetstream-store.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const clock = new SystemClock();
const random = new SystemRandom();

type Deployment = { readonly urls: string[]; stop(): Promise<void> };

function judge(name: string, start: () => Promise<Deployment>, options: JetStreamStoreOptions): void {
  describe(name, () => {
    let deployment: Deployment;
    let open: OpenConnection;
    let requests: Requests;
    let buckets = 0;

    beforeAll(async () => {
      deployment = await start();
      open = await connectNats({ servers: deployment.urls }, {});
      requests = new Requests(open.connection, clock, createInbox());
    });
    afterAll(async () => {
      requests?.stop();
      await open?.close();
      await deployment?.stop();
    });

    const openStore = (bucket: string) => async () => {
      const store = await JetStreamStore.open(requests, { ...options, bucket }, { clock, logger: silent, random });
      return { store, token: [1, 1] as const, reopen: openStore(bucket) };
    };

    test.each(storeContract)("$name", async ({ run }) => {
      await run(openStore(`b${++buckets}`));
    });
  });
}

describeWithNats("the store on JetStream keeps the contract", () => {
  const single =
    (binary: (typeof natsVersions)[number], synced = false) =>
    async () => {
      const server = await startNatsServer({ binary, synced });
      return { urls: [server.url], stop: () => server.stop() };
    };
  for (const binary of natsVersions) {
    judge(`one server ${binary.version}`, single(binary), {});
    judge(`three servers ${binary.version}`, () => startNatsCluster(3, { binary }), { replicas: 3 });
  }
  const newest = natsVersions.at(-1) as (typeof natsVersions)[number];
  judge(`shards, ${newest.version}`, single(newest), { shards: 3 });
  judge(`synced, ${newest.version}`, single(newest, true), { synced: true });
});
