/** What can be known of a deployment on NATS. Start reading at `DeploymentFacts`. */
import type { NodeRow } from "../../control/verbs.ts";

export type ServerFacts = {
  readonly name: string;
  readonly url: string;
  readonly version: string;
  /** Of JetStream's API; undefined before 2.11. */
  readonly apiLevel: number | undefined;
  readonly cluster: string | undefined;
  readonly maxPayloadBytes: number;
};

/** Where a stream lives. A server that is alone is its own leader. */
export type ReplicaFacts = {
  readonly leader: string | undefined;
  readonly followers: readonly { readonly name: string; readonly current: boolean; readonly offline: boolean }[];
};

export type StreamFacts = {
  readonly name: string;
  readonly storage: string;
  readonly discard: string;
  readonly replicas: number;
  readonly placed: ReplicaFacts;
  readonly messages: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly maxMessages: number;
  readonly consumers: number;
  /** -1: whatever the server's default is. */
  readonly maxConsumers: number;
  readonly denyDelete: boolean;
  readonly allowAtomic: boolean;
};

export type BucketFacts = {
  readonly bucket: string;
  /** Undefined: there is no such bucket. */
  readonly stream: StreamFacts | undefined;
  /** Undefined: its metadata is not ours. */
  readonly partitions: number | undefined;
  /** Set where it holds what a runtime writes first, whatever its metadata says. */
  readonly runtimeKeys: RuntimeKeys | undefined;
  /** Each is `what: why`, with a command in backquotes where one helps. */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
};

/** The fixed numbers of a bucket as they can be told without its metadata. */
export type RuntimeKeys = {
  /** As many as were ever leased; undefined where the leases are not to be seen. */
  readonly partitions: number | undefined;
  readonly shards: number;
  readonly shard: number;
};

export type JournalFacts = {
  readonly name: string;
  readonly sources: readonly { readonly name: string; readonly lag: number }[];
  readonly isLimited: boolean;
};

export type AccountFacts = {
  readonly usedBytes: number;
  /** -1: no limit. */
  readonly maxBytes: number;
  readonly streams: number;
  readonly maxStreams: number;
  readonly consumers: number;
  readonly maxConsumers: number;
};

export type PermissionFacts = {
  readonly operation: "publish" | "subscribe";
  readonly subject: string;
  /** "see the bucket": what the role needs it for. */
  readonly use: string;
  /** "nobody": it may be published, and nobody is there to answer, as where an account does not import it. */
  readonly outcome: "allowed" | "denied" | "nobody";
};

/** One server's monitoring page. */
export type MonitorFacts =
  | { readonly url: string; readonly problem: string }
  | {
      readonly url: string;
      readonly server: string;
      readonly isSynced: boolean;
      readonly syncIntervalMs: number;
      readonly clusterSize: number | undefined;
      readonly defaultMaxConsumers: number | undefined;
      /** What this server keeps on its disk for all accounts, and may keep. */
      readonly usedBytes: number;
      readonly maxBytes: number;
    };

export type DeploymentFacts = {
  readonly server: ServerFacts;
  /** Why JetStream does not answer; undefined: it does. */
  readonly jetstreamProblem: string | undefined;
  readonly role: string;
  readonly permissions: readonly PermissionFacts[];
  readonly account: AccountFacts | undefined;
  /** One per shard. */
  readonly buckets: readonly BucketFacts[];
  /** Undefined: not to be seen by this role. */
  readonly leases: BucketFacts | undefined;
  /** Under whose leases the actors were run last. Undefined: nobody's yet, or not to be seen. */
  readonly grantor: string | undefined;
  /** What that has to be where the lease bucket grants. */
  readonly leaseIdentity: string | undefined;
  readonly nodes: readonly NodeRow[];
  /** Partitions whose owner is gone, or that never had one. */
  readonly unowned: number;
  readonly journal: JournalFacts | undefined;
  /** How far this machine's clock is ahead of the server's. Undefined: it could not be measured. */
  readonly clock: { readonly offsetMs: number; readonly errorMs: number } | undefined;
  readonly roundTrip:
    | { readonly samples: number; readonly p50Ms: number; readonly p90Ms: number; readonly of: string }
    | undefined;
  readonly monitors: readonly MonitorFacts[];
};
