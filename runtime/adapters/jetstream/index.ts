/**
 * The store provider for a cluster: `createRuntime({ store: jetstream({ servers }) })`. State in a KV bucket, requests over
 * core NATS, partitions leased to the processes that are alive. Needs the packages @nats-io/transport-node, jetstream, kv.
 */
import { LeaseTable, sessionPrefix } from "../../../coordinator/backends/kv/lease-table.ts";
import { attachBackend, epochKey } from "../../../coordinator/lease/epoch.ts";
import { LeaseInvalidOption } from "../../../coordinator/lease/errors.ts";
import { leaseRequestTimeoutMs, ttlProblem, weightProblem } from "../../../coordinator/lease/validity.ts";
import { PartitionLeases } from "../../../coordinator/placement/partition-leases.ts";
import type { LeaseProvider } from "../../../coordinator/ports/lease-service.ts";
import { type KeysOf, unknownOptions } from "../../options.ts";
import type { Bus } from "../../ports/bus.ts";
import type { OpenClient, OpenStore, StoreProvider } from "../../ports/store-provider.ts";
import { openInSteps } from "../in-steps.ts";
import { type NatsOptions, natsOptions, natsTlsOptions } from "../nats/connection.ts";
import { openLink } from "../nats/link.ts";
import type { Requests } from "../nats/requests.ts";
import { NatsBus } from "../nats-bus/nats-bus.ts";
import { defaultNodeName } from "../node-name.ts";
import { Api } from "./api.ts";
import { BucketInvalidOption } from "./errors.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "./jetstream-store.ts";
import { type BucketOptions, bucketOptions, journalOptions } from "./options.ts";

export type { NatsOptions } from "../nats/connection.ts";
export { NatsInvalidOption, NatsMissing, NatsUnreachable, NatsWrongConnection } from "../nats/errors.ts";
export { BusInvalidOption, BusNotPublished, BusTooManyTopics } from "../nats-bus/errors.ts";
export type { NatsBusLimits } from "../nats-bus/limits.ts";
export { defaultNodeName } from "../node-name.ts";
export * from "./errors.ts";
export { JetStreamStore } from "./jetstream-store.ts";
export type { BucketOptions, JournalOptions } from "./options.ts";

export type JetStreamOptions = NatsOptions &
  BucketOptions & {
    /** The word in every subject: `holdfast.<app>.send.…`. Default: the bucket's name. */
    readonly app?: string;
    /** How this process appears among the owners. Default: the host's name and the process number. */
    readonly node?: string;
    /** How much of the work this process takes beside the others, 1 to 1,000: twice the weight, twice the partitions. Default: 1. */
    readonly weight?: number;
    /** Where it stands, such as an availability zone: zones share the partitions evenly. Default: one zone for all. */
    readonly zone?: string;
    /** How soon the others take over from a process that fell silent, in milliseconds. Default: 3,000. */
    readonly leaseTtlMs?: number;
    /** Where the leases are kept. Default: in the bucket `<bucket>-leases`. `raft({ … })`: in a log of the runtimes' own. */
    readonly leases?: LeaseProvider;
  };

const jetStreamOptions: KeysOf<JetStreamOptions> = {
  ...natsOptions,
  ...bucketOptions,
  app: true,
  node: true,
  weight: true,
  zone: true,
  leaseTtlMs: true,
  leases: true,
};

export type JetStreamProvider = StoreProvider & {
  readonly kind: "jetstream";
  connect(options: Parameters<StoreProvider["open"]>[0]): Promise<OpenClient>;
};

/** Makes nothing yet; throws BucketInvalidOption for a name that no option has. `open` connects, makes the bucket if it is missing, and takes its part of the partitions. */
export function jetstream(options: JetStreamOptions = {}): JetStreamProvider {
  const unknown = [
    ...unknownOptions(options, jetStreamOptions),
    ...unknownOptions(options?.tls, natsTlsOptions, "tls."),
    ...(typeof options?.journal === "boolean" ? [] : unknownOptions(options?.journal, journalOptions, "journal.")),
  ];
  if (unknown.length > 0) throw new BucketInvalidOption(`options of jetstream: ${unknown.join("; ")}`);
  const { bucket = "actors", leaseTtlMs: ttlMs = 3_000 } = options;
  const app = options.app ?? bucket;
  return {
    kind: "jetstream",
    async open(ports): Promise<OpenStore> {
      const problem = ttlProblem(ttlMs);
      if (problem !== undefined) throw new LeaseInvalidOption(`\`leaseTtlMs\`: ${problem}`);
      const weightIs = options.weight === undefined ? undefined : weightProblem(options.weight);
      if (weightIs !== undefined) throw new LeaseInvalidOption(`\`weight\`: ${weightIs}`);
      return openInSteps(async (closing, close) => {
        const link = await openLink(options, ports.clock);
        closing.push(() => link.close());
        const { requests } = link;
        const { store, leases } = await new Api(requests, 0, options.domain).naming(async () => {
          const store = await JetStreamStore.open(requests, options, ports);
          closing.push(() => store.close());
          const provider = options.leases ?? kvLeases(requests, leaseBucket(options, bucket, ttlMs));
          const { service, close: closeLeases } = await provider.open(ports);
          closing.push(closeLeases);
          const leases = await PartitionLeases.start({
            service,
            partitions: store.partitions,
            node: options.node ?? defaultNodeName(),
            weight: options.weight,
            zone: options.zone,
            ttlMs,
            clock: ports.clock,
            logger: ports.logger,
            epoch: () => attachBackend({ ...ports, store }, service.identity),
            clockOffset: () => store.clockOffset(),
            ...(options.leases !== undefined && { reachStore: () => store.read(epochKey) }),
          });
          closing.push(() => leases.release());
          return { store, leases };
        });
        const bus = new NatsBus({ requests, app, leases, clock: ports.clock, logger: ports.logger });
        closing.push(() => bus.close());
        // A connection of ours is never given up; one of the caller's may be, by the caller or by its options.
        const lostForGood = () =>
          requests.connection.isClosed() ? "the connection to NATS is closed for good" : undefined;
        return { store, leases, bus: bus satisfies Bus, plainRequests: bus.plainRequests, lostForGood, close };
      });
    },
    connect(ports): Promise<OpenClient> {
      return openInSteps(async (closing, close) => {
        const link = await openLink(options, ports.clock);
        closing.push(() => link.close());
        const { requests } = link;
        const store = await JetStreamStore.open(requests, { ...options, create: false }, ports);
        closing.push(() => store.close());
        const bus = new NatsBus({ requests, app, clock: ports.clock, logger: ports.logger });
        closing.push(() => bus.close());
        return { store, bus, partitions: store.partitions, close };
      });
    },
  };
}

function kvLeases(requests: Requests, bucket: JetStreamStoreOptions): LeaseProvider {
  return {
    open: (ports) =>
      openInSteps(async (closing, close) => {
        const store = await JetStreamStore.open(requests, bucket, ports);
        closing.push(() => store.close());
        const service = await LeaseTable.open({ ...ports, store });
        closing.push(() => service.close());
        return { service, close };
      }),
  };
}

/** Leases have a bucket of their own: no history, and requests that fail soon enough to be repeated in time. */
function leaseBucket(options: JetStreamOptions, bucket: string, ttlMs: number): JetStreamStoreOptions {
  return {
    bucket: `${bucket}-leases`,
    history: 1,
    fleeting: sessionPrefix,
    requestTimeoutMs: leaseRequestTimeoutMs(ttlMs),
    ...(options.replicas !== undefined && { replicas: options.replicas }),
    ...(options.domain !== undefined && { domain: options.domain }),
    ...(options.inboxPrefix !== undefined && { inboxPrefix: options.inboxPrefix }),
  };
}
