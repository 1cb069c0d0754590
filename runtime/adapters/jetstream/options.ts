/** What a bucket is to be, and the bounds of what is asked of it. */
import type { KeysOf } from "../../options.ts";
import { BucketInvalidOption } from "./errors.ts";

export type BucketOptions = {
  /** Name of the KV bucket. Default: "actors". */
  readonly bucket?: string;
  /** Servers that hold each document: 1, 3 or 5. Default: 1. */
  readonly replicas?: number;
  /** Revisions kept of each key, 1 to 64. Default: 10. */
  readonly history?: number;
  /** Partitions of actors, fixed when the bucket is made. Default: 64. */
  readonly partitions?: number;
  /** Streams to spread over, fixed when the bucket is made. Default: 1. */
  readonly shards?: number;
  /**
   * The server has `sync_interval: always`, so that an acknowledged write is on the disk: many commits then share one
   * atomic batch. A client cannot see that setting: this is the deployer's word for it. Default: false.
   */
  readonly synced?: boolean;
  /** Keeps what the bucket forgets, in a stream beside it. Default: no journal. */
  readonly journal?: boolean | JournalOptions;
  /** How long one write or read is waited for, in milliseconds, before its outcome is unknown. Default: 5,000. */
  readonly requestTimeoutMs?: number;
  /** Writes on their way at the same time, per shard; the others wait in order. Default: 256. */
  readonly maxInFlight?: number;
  /** Of a JetStream that is reached through another account or a leaf node. Default: this server's own. */
  readonly domain?: string;
};

export const bucketOptions: KeysOf<BucketOptions> = {
  bucket: true,
  replicas: true,
  history: true,
  partitions: true,
  shards: true,
  synced: true,
  journal: true,
  requestTimeoutMs: true,
  maxInFlight: true,
  domain: true,
};

export type JournalOptions = {
  /** How long commits are kept, in milliseconds. Default: for ever. */
  readonly maxAgeMs?: number;
  /** Most bytes, after which the oldest go. Default: no bound. */
  readonly maxBytes?: number;
};

export const journalOptions: KeysOf<JournalOptions> = { maxAgeMs: true, maxBytes: true };

export type BucketSettings = Required<Omit<BucketOptions, "journal" | "domain">> & {
  readonly domain: string | undefined;
  readonly journal: JournalOptions | undefined;
};

/** Throws BucketInvalidOption naming everything that is not usable. */
export function bucketSettings(options: BucketOptions): BucketSettings {
  const settings = {
    bucket: options.bucket ?? "actors",
    replicas: options.replicas ?? 1,
    history: options.history ?? 10,
    partitions: options.partitions ?? 64,
    shards: options.shards ?? 1,
    synced: options.synced ?? false,
    requestTimeoutMs: options.requestTimeoutMs ?? 5_000,
    maxInFlight: options.maxInFlight ?? 256,
    journal: journalOf(options.journal),
    domain: options.domain,
  };
  const problems: string[] = [];
  if (typeof settings.bucket !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(settings.bucket))
    problems.push(`\`bucket\` is ${JSON.stringify(settings.bucket)}; it must be 1 to 64 letters, digits, "-" and "_"`);
  if (![1, 3, 5].includes(settings.replicas))
    problems.push(`\`replicas\` is ${settings.replicas}; it must be 1, 3 or 5`);
  const whole = (name: keyof typeof settings, least: number, most: number) => {
    const value = settings[name];
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most)
      problems.push(`\`${name}\` is ${String(value)}; it must be a whole number from ${least} to ${most}`);
  };
  whole("history", 1, 64);
  whole("partitions", 1, 4_096);
  whole("shards", 1, 64);
  whole("requestTimeoutMs", 50, 600_000);
  whole("maxInFlight", 1, 10_000);
  for (const name of ["maxAgeMs", "maxBytes"] as const) {
    const value = settings.journal?.[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1_000))
      problems.push(`\`journal.${name}\` is ${value}; it must be a whole number of at least 1,000`);
  }
  if (settings.domain !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(settings.domain))
    problems.push(`\`domain\` is ${JSON.stringify(settings.domain)}; it must be one word of a subject`);
  if (problems.length > 0) throw new BucketInvalidOption(problems.join("; "));
  return settings;
}

function journalOf(given: BucketOptions["journal"]): JournalOptions | undefined {
  if (given === undefined || given === false) return undefined;
  return given === true ? {} : given;
}
