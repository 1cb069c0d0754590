/**
 * A bucket's stream: made as asked, or compared with what was asked, each difference named with what to do. What the
 * server returns is what counts: an older one drops fields without a word.
 */
import { type Api, errorCodes, type StreamConfig, type StreamInfo } from "./api.ts";
import { BucketDiffers, BucketNotFound, NoRoom, ServerFailed, ServerTooOld } from "./errors.ts";
import type { BucketSettings } from "./options.ts";

const layoutVersion = "1";
/** Names of the bucket's metadata. */
export const layout = {
  version: "holdfast-layout",
  partitions: "holdfast-partitions",
  shards: "holdfast-shards",
  shard: "holdfast-shard",
} as const;

/** For entries of the index, leases, and records of what is parked. */
const smallestMessageBytes = 16 * 1024;
const oldestServer = [2, 10] as const;

export type ServerFacts = { readonly version: string; readonly apiLevel: number };

/** Throws ServerTooOld. */
export function serverFacts(api: Api): ServerFacts {
  const info = api.connection.info as { version?: string; api_lvl?: number } | undefined;
  const version = info?.version ?? "0.0.0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < oldestServer[0] || (major === oldestServer[0] && minor < oldestServer[1])) {
    throw new ServerTooOld(
      `the server at ${api.connection.getServer()} is nats-server ${version}; ${oldestServer.join(".")} or newer is needed: upgrade it`,
    );
  }
  return { version, apiLevel: info?.api_lvl ?? 0 };
}

/** Names of the buckets of all shards. */
export function bucketNames(bucket: string, shards: number): string[] {
  if (shards === 1) return [bucket];
  return Array.from({ length: shards }, (_, shard) => `${bucket}-${String(shard).padStart(2, "0")}`);
}

export function streamOf(bucket: string): string {
  return `KV_${bucket}`;
}

export type Prepared = {
  readonly bucket: string;
  readonly stream: string;
  readonly info: StreamInfo;
  /** What is not as asked, and does no harm. */
  readonly warnings: readonly string[];
};

/** Rejects with BucketDiffers, BucketNotFound, NoRoom, PermissionMissing, JetStreamOff, ServerFailed. */
export async function prepareBucket(
  api: Api,
  bucket: string,
  shard: number,
  settings: BucketSettings,
  create: boolean,
  facts: ServerFacts,
): Promise<Prepared> {
  const stream = streamOf(bucket);
  const wanted = configOf(bucket, shard, settings, facts);
  let info = await api.streamInfo(stream);
  if (info === undefined) {
    if (!create) throw new BucketNotFound(`there is no bucket ${bucket} on this server: the first runtime makes it`);
    info = await createStream(api, bucket, wanted);
  }
  const { errors, warnings } = compare(info.config, wanted, bucket);
  if (errors.length > 0) throw new BucketDiffers(bucket, errors);
  return { bucket, stream, info, warnings };
}

async function createStream(api: Api, bucket: string, wanted: Record<string, unknown>): Promise<StreamInfo> {
  try {
    return await api.createStream(wanted);
  } catch (error) {
    if (!(error instanceof ServerFailed)) throw error;
    switch (error.errorCode) {
      case errorCodes.streamExists: {
        // Another process was first; its bucket is compared like any other.
        const info = await api.streamInfo(streamOf(bucket));
        if (info !== undefined) return info;
        throw error;
      }
      case errorCodes.noSuitablePeers:
        throw new NoRoom(
          `the bucket ${bucket} cannot have ${String(wanted.num_replicas)} replicas: the cluster has too few servers that can take it (${error.message})`,
          { cause: error },
        );
      case errorCodes.insufficientResources:
      case errorCodes.accountResources:
      case errorCodes.storageResources:
      case errorCodes.maximumStreams:
        throw new NoRoom(`the account has no room for the bucket ${bucket}: raise its limits (${error.message})`, {
          cause: error,
        });
      case errorCodes.streamOverlap:
        throw new NoRoom(`another stream takes the subjects $KV.${bucket}.> already: choose another bucket`, {
          cause: error,
        });
      default:
        throw error;
    }
  }
}

/** The stream's configuration as a runtime with these settings makes it. */
export function configOf(
  bucket: string,
  shard: number,
  settings: BucketSettings,
  facts: ServerFacts,
): Record<string, unknown> & StreamConfig {
  return {
    name: streamOf(bucket),
    subjects: [`$KV.${bucket}.>`],
    description: "actors of holdfast",
    storage: "file",
    discard: "new",
    max_msgs_per_subject: settings.history,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    num_replicas: settings.replicas,
    allow_direct: true,
    allow_rollup_hdrs: true,
    deny_delete: true,
    ...(facts.apiLevel >= 1 && { allow_msg_ttl: true }),
    ...(settings.synced && facts.apiLevel >= 2 && { allow_atomic: true }),
    metadata: {
      [layout.version]: layoutVersion,
      [layout.partitions]: String(settings.partitions),
      [layout.shards]: String(settings.shards),
      [layout.shard]: String(shard),
    },
  };
}

/** A line for each difference that forbids use, and for each that does no harm, with what to do. */
export function compare(
  found: StreamConfig,
  wanted: StreamConfig,
  bucket: string,
): { errors: string[]; warnings: string[] } {
  const errors: string[] = [];
  const warnings: string[] = [];
  const edit = `nats stream edit ${found.name}`;
  const meta = (name: string) => found.metadata?.[name];
  if (meta(layout.version) === undefined) {
    errors.push(
      `it was made by somebody else (its metadata has no ${layout.version}): choose another bucket, or remove it with \`nats kv del ${bucket}\` if nobody needs it`,
    );
    return { errors, warnings };
  }
  if (meta(layout.version) !== layoutVersion)
    errors.push(
      `its layout is ${meta(layout.version)}, this version knows ${layoutVersion}: run the version that made it`,
    );
  for (const name of [layout.partitions, layout.shards, layout.shard]) {
    const [is, asked] = [meta(name), wanted.metadata?.[name]];
    if (is !== asked)
      errors.push(`${name} is ${is}, asked is ${asked}: it is fixed when a bucket is made; ask for ${is}`);
  }
  if (found.mirror !== undefined && found.mirror !== null)
    errors.push("it is a mirror, which takes no writes: use the bucket that it mirrors");
  if (found.sealed === true) errors.push("it is sealed: nothing can be written to it; restore a backup into a new one");
  const subjects = found.subjects ?? [];
  if (!subjects.includes(`$KV.${bucket}.>`))
    errors.push(`its subjects are ${subjects.join(", ") || "none"}: give it \`${edit} --subjects='$KV.${bucket}.>'\``);
  if (found.discard !== "new")
    errors.push(`discard is ${found.discard}: at a limit it would drop documents; \`${edit} --discard=new\``);
  if ((found.max_age ?? 0) !== 0)
    errors.push(`max_age is ${found.max_age} ns: documents would vanish by age; \`${edit} --max-age=0\``);
  if (found.retention !== undefined && found.retention !== "limits")
    errors.push(`retention is ${found.retention}: documents would vanish when read; make the bucket anew`);
  if (found.allow_rollup_hdrs !== true)
    errors.push(`allow_rollup_hdrs is off: nothing could be purged; \`${edit} --allow-rollup\``);
  if (found.storage !== "file") warnings.push(`storage is ${found.storage}: nothing survives the server's process`);
  if ((found.max_msgs ?? -1) > 0) warnings.push(`max_msgs is ${found.max_msgs}: at that number writes are refused`);
  const messageBytes = found.max_msg_size ?? -1;
  if (messageBytes > 0 && messageBytes < smallestMessageBytes)
    errors.push(
      `max_msg_size is ${messageBytes}: not even the runtime's own entries fit; \`${edit} --max-msg-size=-1\``,
    );
  else if (messageBytes > 0)
    warnings.push(`max_msg_size is ${messageBytes}: larger documents are refused; \`${edit} --max-msg-size=-1\``);
  if ((found.max_bytes ?? -1) > 0) warnings.push(`max_bytes is ${found.max_bytes}: at that size writes are refused`);
  if (found.num_replicas < wanted.num_replicas) {
    errors.push(
      `it has ${found.num_replicas} replicas, asked are ${wanted.num_replicas}: \`${edit} --replicas=${wanted.num_replicas}\``,
    );
  } else if (found.num_replicas > wanted.num_replicas) {
    warnings.push(`it has ${found.num_replicas} replicas, more than the ${wanted.num_replicas} that were asked for`);
  }
  if (found.max_msgs_per_subject !== wanted.max_msgs_per_subject) {
    warnings.push(
      `it keeps ${found.max_msgs_per_subject} revisions, asked are ${wanted.max_msgs_per_subject}: \`${edit} --max-msgs-per-subject=${wanted.max_msgs_per_subject}\``,
    );
  }
  if (wanted.allow_msg_ttl === true && found.allow_msg_ttl !== true)
    warnings.push(
      `allow_msg_ttl is off, so what removed entries of the index leave is taken away one by one: \`${edit} --allow-msg-ttl\``,
    );
  if (wanted.allow_atomic === true && found.allow_atomic !== true)
    warnings.push(`allow_atomic is off, so commits do not share a batch: \`${edit} --allow-batch\``);
  return { errors, warnings };
}
