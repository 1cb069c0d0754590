/**
 * The contracts of store and bus under Deno, from source and without a test framework: on memory and on the nats-servers
 * that are found. `npx deno run -A runtime/testing/deno-suite.fixture.ts` prints a line per adapter and ends with the number of
 * cases; it fails at the first case that does not hold. Runs on any other runtime of TypeScript just as well.
 */
import { createInbox } from "@nats-io/transport-node";
import { JetStreamStore, type JetStreamStoreOptions } from "../adapters/jetstream/jetstream-store.ts";
import { memory } from "../adapters/memory/index.ts";
import { LocalBus } from "../adapters/memory/local-bus.ts";
import { connectNats } from "../adapters/nats/connection.ts";
import { Requests } from "../adapters/nats/requests.ts";
import { Rig } from "../adapters/nats-bus/rig.fixture.ts";
import { SystemClock } from "../adapters/system-clock.ts";
import { SystemRandom } from "../adapters/system-random.ts";
import { busContract, listenerContract, type OpenBusUnderTest } from "../ports/bus.contract.ts";
import { type OpenStoreUnderTest, storeContract } from "../ports/store.contract.ts";
import { findNatsServers, type NatsServer, startNatsCluster, startNatsServer } from "./nats-server.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const clock = new SystemClock();
const random = new SystemRandom();
let cases = 0;

async function judge<TOpen>(
  name: string,
  contract: readonly { readonly name: string; readonly run: (open: TOpen) => Promise<void> }[],
  open: () => TOpen,
): Promise<void> {
  for (const one of contract) {
    try {
      await one.run(open());
    } catch (error) {
      throw new Error(`${name}: ${one.name}`, { cause: error });
    }
    cases++;
  }
  console.log(`${name}: ${contract.length} cases hold`);
}

async function judgeJetStream(name: string, servers: readonly string[], options: JetStreamStoreOptions): Promise<void> {
  const link = await connectNats({ servers });
  const requests = new Requests(link.connection, clock, createInbox());
  let buckets = 0;
  const opening =
    (bucket: string): OpenStoreUnderTest =>
    async () => {
      const store = await JetStreamStore.open(requests, { ...options, bucket }, { clock, random, logger: silent });
      return { store, token: [1, 1] as const, reopen: opening(bucket) };
    };
  await judge(name, storeContract, () => opening(`b${++buckets}`));
  requests.stop();
  await link.close();
}

async function judgeBus(name: string, server: NatsServer): Promise<void> {
  const rig = new Rig(() => server.url);
  let apps = 0;
  const opening: OpenBusUnderTest = async () => {
    const app = `deno-${++apps}`;
    const [owner, other] = [await rig.node({ app }), await rig.node({ app })];
    owner.leases.grant(0);
    const settled = async () => {
      // Twice: what the first has sent may be on its way from the server to the second.
      for (let round = 0; round < 2; round++) await Promise.all([owner.connection.flush(), other.connection.flush()]);
    };
    return { owner: owner.bus, other: other.bus, partition: 0, unowned: 1, clock: rig.clock, settled };
  };
  await judge(name, [...busContract, ...listenerContract], () => opening);
  await rig.close();
}

const runtime = "Deno" in globalThis ? "Deno" : "another runtime";
console.log(`contracts on ${runtime}`);

await judge<OpenStoreUnderTest>("the store in memory", storeContract, () => {
  const provider = memory();
  const open: OpenStoreUnderTest = async () => {
    const { store, leases } = await provider.open();
    return { store, token: leases.token(0) ?? [1, 0], reopen: open };
  };
  return open;
});
await judge<OpenBusUnderTest>("the bus of one process", [...busContract, ...listenerContract], () => async () => {
  const bus = new LocalBus(clock);
  return { owner: bus, other: bus, partition: 0, clock, settled: async () => {} };
});
const binaries = findNatsServers();
if (binaries.length === 0) console.log("no nats-server was found: JetStream and the bus were not judged");
for (const binary of binaries) {
  const server = await startNatsServer({ binary });
  await judgeJetStream(`the store on JetStream ${binary.version}`, [server.url], {});
  await judgeBus(`the bus on NATS ${binary.version}`, server);
  await server.stop();
}
if (binaries.length > 0) {
  const cluster = await startNatsCluster();
  await judgeJetStream("the store on three servers", cluster.urls, { replicas: 3 });
  await cluster.stop();
}
console.log(`${cases} cases hold`);
process.exit(0);
