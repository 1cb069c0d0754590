/**
 * Gathers what can be known of a deployment on NATS, in the order in which one thing makes the next possible. Asks only
 * what it was found to be allowed to ask, and changes nothing. `grades.ts` says what the facts mean.
 */
import type { StreamInfo } from "../../adapters/jetstream/api.ts";
import { JetStreamOff, PermissionMissing, ServerFailed } from "../../adapters/jetstream/errors.ts";
import { journalName } from "../../adapters/jetstream/journal.ts";
import { type BucketSettings, bucketSettings } from "../../adapters/jetstream/options.ts";
import { bucketNames, compare, configOf, layout, streamOf } from "../../adapters/jetstream/setup.ts";
import type { Clock } from "../../ports/clock.ts";
import { grantorOf, type LeaseEntries, partitionIn, readLeases, unownedOf } from "../lease-entries.ts";
import type { NatsLink } from "../nats-target.ts";
import type {
  AccountFacts,
  BucketFacts,
  DeploymentFacts,
  JournalFacts,
  ReplicaFacts,
  RuntimeKeys,
  ServerFacts,
  StreamFacts,
} from "./facts.ts";
import { readMonitor } from "./monitor-page.ts";
import {
  firstProbes,
  type Probe,
  type ProbePlace,
  type ProbeResult,
  probesOf,
  type Role,
  tryProbes,
} from "./permission-probes.ts";

export type GatherOptions = {
  readonly role: Role;
  /** Monitoring pages, one per server. */
  readonly monitors: readonly string[];
  readonly clock: Clock;
};

const roundTrips = 20;

/** Rejects when the connection is lost meanwhile. */
export async function gatherFacts(link: NatsLink, { role, monitors, clock }: GatherOptions): Promise<DeploymentFacts> {
  const { requests, api, inbox, target } = link;
  const leaseBucket = `${target.bucket}-leases`;
  const place: ProbePlace = { api: api.prefix, app: target.app, buckets: [target.bucket], leaseBucket };
  const tried = (probes: readonly Probe[]) => tryProbes(requests.connection, probes, inbox, clock);
  const seenMonitors = await Promise.all(monitors.map(readMonitor));
  const first = await tried(firstProbes(role, place, inbox));
  const outside: DeploymentFacts = {
    ...{ server: serverOf(link), role, monitors: seenMonitors, permissions: first },
    ...{ buckets: [], nodes: [], unowned: 0 },
    ...{ jetstreamProblem: undefined, account: undefined, leases: undefined, journal: undefined },
    ...{ clock: undefined, roundTrip: undefined, grantor: undefined, leaseIdentity: undefined },
  };
  // Without an inbox nothing is answered, and without the bucket's configuration nothing can be compared.
  if (role === "sender" || first.some(({ outcome }) => outcome === "denied"))
    return { ...outside, permissions: [...first, ...(await tried(probesOf(role, place)))] };
  try {
    const account = await accountOf(link);
    const buckets = await bucketsOf(link);
    const permissions = [...first, ...(await tried(probesOf(role, { ...place, buckets })))];
    return { ...outside, permissions, account, ...(await inside(link, buckets, leaseBucket, permissions, clock)) };
  } catch (error) {
    // Off, or silent, as while a cluster elects a leader.
    if (!(error instanceof JetStreamOff || error instanceof ServerFailed)) throw error;
    return { ...outside, permissions: [], jetstreamProblem: error.message };
  }
}

type Inside = Pick<
  DeploymentFacts,
  "buckets" | "leases" | "grantor" | "leaseIdentity" | "nodes" | "unowned" | "journal" | "clock" | "roundTrip"
>;

/** What lies in JetStream, as far as these permissions let it be seen. Rejects as the API does. */
async function inside(
  link: NatsLink,
  names: readonly string[],
  leaseBucket: string,
  permissions: readonly ProbeResult[],
  clock: Clock,
): Promise<Inside> {
  const { api } = link;
  const may = (call: string) =>
    permissions.some(({ subject, outcome }) => subject === `${api.prefix}.${call}` && outcome === "allowed");
  const mayRead = (bucket: string) => may(`STREAM.MSG.GET.${streamOf(bucket)}`);
  const infos = await Promise.all(names.map((name) => api.streamInfo(streamOf(name))));
  const seesLeases = may(`STREAM.INFO.${streamOf(leaseBucket)}`);
  const leaseInfo = seesLeases ? await api.streamInfo(streamOf(leaseBucket)) : undefined;
  const entries = leaseInfo !== undefined && mayRead(leaseBucket) ? await readLeases(api, leaseBucket) : undefined;
  const numbers = { partitions: partitionsSeen(entries), shards: names.length };
  const buckets = await Promise.all(
    names.map((name, shard) => bucketFacts(link, name, infos[shard], { ...numbers, shard }, mayRead(name))),
  );
  const partitions = buckets[0]?.partitions ?? 0;
  const [name, info] = [names[0] as string, infos[0]];
  return {
    buckets,
    leases: seesLeases
      ? await bucketFacts(link, leaseBucket, leaseInfo, { ...numbers, shards: 1, shard: 0 }, false)
      : undefined,
    grantor: mayRead(name) ? await grantorOf(api, name) : undefined,
    leaseIdentity: leaseInfo && `${streamOf(leaseBucket)} ${leaseInfo.created}`,
    nodes: entries?.nodes ?? [],
    unowned: entries === undefined ? 0 : unownedOf(entries, partitions).length,
    journal: await journalFacts(link),
    clock: info && (await clockOffset(link, name, clock)),
    roundTrip: info && mayRead(name) ? await timeReads(link, name, clock) : undefined,
  };
}

function serverOf({ requests: { connection } }: NatsLink): ServerFacts {
  const info = connection.info as
    | (NonNullable<typeof connection.info> & { readonly api_lvl?: number; readonly cluster?: string })
    | undefined;
  return {
    name: info?.server_name ?? "?",
    url: connection.getServer(),
    version: info?.version ?? "?",
    apiLevel: info?.api_lvl,
    cluster: info?.cluster,
    maxPayloadBytes: info?.max_payload ?? 0,
  };
}

type AccountAnswer = {
  readonly storage: number;
  readonly streams: number;
  readonly consumers: number;
  readonly limits: { readonly max_storage: number; readonly max_streams: number; readonly max_consumers: number };
};

/** Undefined: this role may not see it. Rejects with JetStreamOff or ServerFailed where JetStream does not answer. */
async function accountOf({ api, target }: NatsLink): Promise<AccountFacts | undefined> {
  try {
    const answer = await api.naming(() => api.ask<AccountAnswer>("INFO", {}));
    return {
      usedBytes: answer.storage,
      maxBytes: answer.limits.max_storage,
      streams: answer.streams,
      maxStreams: answer.limits.max_streams,
      consumers: answer.consumers,
      maxConsumers: answer.limits.max_consumers,
    };
  } catch (error) {
    if (error instanceof PermissionMissing) return undefined;
    // Not imported, where the bucket is.
    if (error instanceof JetStreamOff && (await isThere(() => api.streamInfo(streamOf(target.bucket)))))
      return undefined;
    throw error;
  }
}

async function isThere(ask: () => Promise<unknown>): Promise<boolean> {
  try {
    await ask();
    return true;
  } catch {
    return false;
  }
}

/** Names of the buckets of all shards: as the first one says, or as many as there are where it says nothing. */
async function bucketsOf({ api, target: { bucket } }: NatsLink): Promise<readonly string[]> {
  const sharded = `${bucket}-00`;
  for (const name of [bucket, sharded]) {
    const info = await api.naming(() => api.streamInfo(streamOf(name))).catch(() => undefined);
    if (info === undefined) continue;
    const shards = Number(info.config.metadata?.[layout.shards] ?? Number.NaN);
    if (Number.isSafeInteger(shards) && shards >= 1 && shards <= 64) return bucketNames(bucket, shards);
    if (name === bucket) return [bucket];
    const names = [sharded];
    for (let shard = 1; shard < 64; shard++) {
      const next = `${bucket}-${String(shard).padStart(2, "0")}`;
      if ((await api.streamInfo(streamOf(next))) === undefined) break;
      names.push(next);
    }
    return names;
  }
  return [bucket];
}

async function bucketFacts(
  { api, requests }: NatsLink,
  bucket: string,
  info: StreamInfo | undefined,
  numbers: RuntimeKeys,
  mayRead: boolean,
): Promise<BucketFacts> {
  if (info === undefined)
    return { bucket, stream: undefined, partitions: undefined, runtimeKeys: undefined, errors: [], warnings: [] };
  const meta = (name: string) => Number(info.config.metadata?.[name] ?? Number.NaN);
  const isOurs = info.config.metadata?.[layout.version] !== undefined;
  const apiLevel = (requests.connection.info as { readonly api_lvl?: number } | undefined)?.api_lvl ?? 0;
  // What a runtime would make of the same numbers: everything else has to be as it makes it.
  const settings: BucketSettings = {
    ...bucketSettings({}),
    bucket,
    partitions: meta(layout.partitions),
    shards: meta(layout.shards),
    replicas: info.config.num_replicas,
    history: info.config.max_msgs_per_subject,
  };
  const { errors, warnings } = compare(
    info.config,
    configOf(bucket, numbers.shard, settings, { version: "", apiLevel }),
    bucket,
  );
  const wroteHere = !isOurs && mayRead && (await hasRuntimeKeys(api, bucket));
  return {
    bucket,
    stream: streamFacts(info, requests.connection.info?.server_name),
    partitions: isOurs ? meta(layout.partitions) : undefined,
    runtimeKeys: wroteHere ? numbers : undefined,
    errors,
    warnings,
  };
}

/** Each runtime records the epoch before it does anything else; it lies in the first shard. */
async function hasRuntimeKeys(api: NatsLink["api"], bucket: string): Promise<boolean> {
  const first = bucket.replace(/-\d\d$/, "-00");
  const epoch = await api.lastOf(streamOf(first), `$KV.${first}._epoch`).catch(() => undefined);
  return epoch !== undefined || (await api.lastOf(streamOf(bucket), `$KV.${bucket}._epoch`)) !== undefined;
}

/** As many as were ever leased: the assignment leaves none out. */
function partitionsSeen(leases: LeaseEntries | undefined): number | undefined {
  const numbers = (leases?.names ?? []).map((name) => partitionIn(name) ?? -1);
  const most = Math.max(-1, ...numbers);
  return most < 0 ? undefined : most + 1;
}

function streamFacts({ config, state, cluster }: StreamInfo, serverName: string | undefined): StreamFacts {
  const placed: ReplicaFacts = {
    leader: cluster === undefined ? serverName : cluster.leader,
    followers: (cluster?.replicas ?? []).map(({ name, current, offline }) => ({
      name,
      current: current === true,
      offline: offline === true,
    })),
  };
  return {
    name: config.name,
    storage: config.storage,
    discard: config.discard,
    replicas: config.num_replicas,
    placed,
    messages: state.messages,
    bytes: state.bytes ?? 0,
    maxBytes: config.max_bytes ?? -1,
    maxMessages: config.max_msgs ?? -1,
    consumers: state.consumer_count ?? 0,
    maxConsumers: config.max_consumers ?? -1,
    denyDelete: config.deny_delete === true,
    allowAtomic: config.allow_atomic === true,
  };
}

/** Undefined: there is none, or this role may not see it. */
async function journalFacts({ api, target }: NatsLink): Promise<JournalFacts | undefined> {
  const name = journalName(target.bucket);
  const info = await api.naming(() => api.streamInfo(name)).catch(() => undefined);
  if (info === undefined) return undefined;
  const { max_age: maxAge = 0, max_bytes: maxBytes = -1 } = info.config;
  return {
    name,
    // The server names them in no order of its own.
    sources: (info.sources ?? []).map(({ name, lag }) => ({ name, lag })).sort((a, b) => (a.name < b.name ? -1 : 1)),
    isLimited: maxAge > 0 || maxBytes > 0,
  };
}

/** How far this clock is ahead of the server's, by the quickest of a few answers: the least time was lost on the way. */
async function clockOffset({ api }: NatsLink, bucket: string, clock: Clock): Promise<DeploymentFacts["clock"]> {
  let best: DeploymentFacts["clock"];
  for (let sample = 0; sample < 5; sample++) {
    const before = clock.monotonic();
    const info = await api.streamInfo(streamOf(bucket));
    const halfMs = (clock.monotonic() - before) / 2;
    const serverMs = Date.parse(info?.ts ?? "");
    if (Number.isNaN(serverMs)) return undefined;
    const measured = { offsetMs: clock.now() - halfMs - serverMs, errorMs: halfMs + 1 };
    if (best === undefined || measured.errorMs < best.errorMs) best = measured;
  }
  return best;
}

async function timeReads({ api }: NatsLink, bucket: string, clock: Clock): Promise<DeploymentFacts["roundTrip"]> {
  const tookMs: number[] = [];
  for (let sample = 0; sample < roundTrips; sample++) {
    const before = clock.monotonic();
    await api.lastOf(streamOf(bucket), `$KV.${bucket}._none`);
    tookMs.push(clock.monotonic() - before);
  }
  tookMs.sort((a, b) => a - b);
  const at = (part: number) => tookMs[Math.ceil(tookMs.length * part) - 1] as number;
  return { samples: tookMs.length, p50Ms: at(0.5), p90Ms: at(0.9), of: "reads from the leader" };
}
