/**
 * Documents in a NATS JetStream KV bucket, which `nats kv get` shows. One publish with the expected revision per commit,
 * reads from the stream's leader, one consumer per process for all watches. Start reading at `shard.ts` for what one
 * stream does, at `setup.ts` for what a bucket must be.
 *
 * J1 a write is `written` only when the server acknowledged that very publish, and `refused` only when it said so before
 *    storing anything; everything else is `unknown`. J2 nothing here repeats a write. J3 a person's write, deletion or
 *    purge is shown as an entry without our header. J4 a stream that was made anew, or ends before what it had
 *    confirmed, is never written again.
 */
import { hashText } from "../../hash.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Logger } from "../../ports/logger.ts";
import type { Random } from "../../ports/random.ts";
import type {
  ActorStore,
  ListOptions,
  Revision,
  StoreChange,
  StoredEntry,
  StoreInfo,
  StoreLoss,
  StoreWrite,
  Token,
  WriteOutcome,
} from "../../ports/store.ts";
import type { Requests } from "../nats/requests.ts";
import { Api } from "./api.ts";
import { BucketNotFound } from "./errors.ts";
import { Follower } from "./follower.ts";
import { journalSeen, prepareJournal } from "./journal.ts";
import { type BucketOptions, type BucketSettings, bucketSettings } from "./options.ts";
import { bucketNames, layout, type Prepared, prepareBucket, serverFacts, streamOf } from "./setup.ts";
import { Shard } from "./shard.ts";

export type JetStreamStoreOptions = BucketOptions & {
  /** False: a bucket that is not there is an error. Default: true. */
  readonly create?: boolean;
  /** Subjects for replies, where permissions allow no `_INBOX`. */
  readonly inboxPrefix?: string;
  /** Keys that begin so are removed all the time: what a removal leaves goes after a minute. Default: `_pending.`. */
  readonly fleeting?: string;
};

export type JetStreamStorePorts = { readonly clock: Clock; readonly logger: Logger; readonly random: Random };

/** Headers of an entry and the protocol line, at the most. */
const overheadBytes = 2_048;
const largestValueBytes = 1024 * 1024;
/** How often the stream is looked at, to see whether it is still the same. */
const checkEveryMs = 10_000;
/** How long the keys of a listing are kept for its next page. */
const listingKeptMs = 30_000;
const keptListings = 4;
/** How long a removal from the index can be seen by a watch that was interrupted. Who misses it looks once in vain. */
const markerMs = 60_000;

type Listing = { readonly keys: readonly string[]; readonly atMs: number };

export class JetStreamStore implements ActorStore {
  readonly info: StoreInfo;
  /** As the bucket has it. */
  readonly partitions: number;
  readonly #api: Api;
  readonly #shards: readonly Shard[];
  readonly #followers: readonly Follower[];
  readonly #ports: JetStreamStorePorts;
  readonly #listings = new Map<string, Listing>();
  readonly #lossListeners: Set<(loss: StoreLoss) => void>;
  #loss: StoreLoss | undefined;
  #looking: Cancel | undefined;
  #sweeping: Cancel | undefined;
  #hasWarned = false;
  #closed = false;
  #purges = 0;
  readonly #life: string;

  /**
   * Rejects with BucketInvalidOption, BucketDiffers, BucketNotFound, NoRoom, PermissionMissing, JetStreamOff,
   * ServerTooOld or ServerFailed. The connection behind `requests` stays the caller's.
   */
  static async open(
    requests: Requests,
    options: JetStreamStoreOptions,
    ports: JetStreamStorePorts,
  ): Promise<JetStreamStore> {
    const settings = bucketSettings(options);
    const api = new Api(requests, settings.requestTimeoutMs, settings.domain);
    const facts = serverFacts(api);
    const isReader = options.create === false;
    const { fleeting = "_pending." } = options;
    const { asked, prepared } = await api.naming(async () => {
      const asked = isReader ? await asFound(api, settings) : settings;
      const prepared: Prepared[] = [];
      for (const [shard, name] of bucketNames(asked.bucket, asked.shards).entries())
        prepared.push(await prepareBucket(api, name, shard, asked, !isReader, facts));
      return { asked, prepared };
    });
    for (const { bucket, warnings } of prepared)
      for (const warning of warnings) ports.logger.warn(`the bucket ${bucket}: ${warning}`);
    const names = prepared.map(({ bucket }) => bucket);
    const journal = isReader
      ? await journalSeen(api, asked)
      : await api.naming(() => prepareJournal(api, asked, names));
    const batches = asked.synced && prepared.every(({ info }) => info.config.allow_atomic === true);
    const store = new JetStreamStore(
      api,
      asked,
      ports,
      (listeners) =>
        prepared.map(
          (one) =>
            new Shard({
              api,
              prepared: one,
              journal,
              writer: {
                requests,
                timeoutMs: asked.requestTimeoutMs,
                maxInFlight: asked.maxInFlight,
                batches,
                id: () => ports.random.id(),
              },
              isFleeting: (key) => !isReader && key.startsWith(fleeting),
              markerMs,
              clock: ports.clock,
              onLost: (reason, detail) => listeners({ reason, detail }),
            }),
        ),
      options.inboxPrefix,
      prepared.every(({ info }) => info.config.num_replicas > 1),
      prepared.every(({ info }) => info.config.storage === "file"),
      Math.min(...prepared.map(({ info }) => mostBytes(info.config.max_msg_size))),
    );
    if (!isReader) store.#sweep();
    if (asked.replicas > 1 && !isReader) await Promise.all(store.#shards.map((shard) => shard.ready()));
    return store;
  }

  private constructor(
    api: Api,
    settings: BucketSettings,
    ports: JetStreamStorePorts,
    shards: (onLost: (loss: StoreLoss) => void) => readonly Shard[],
    inboxPrefix: string | undefined,
    isReplicated: boolean,
    isOnDisk: boolean,
    maxMessageBytes: number,
  ) {
    this.#api = api;
    this.#ports = ports;
    this.#lossListeners = new Set();
    this.#life = ports.random.id().slice(0, 12);
    this.#shards = shards((loss) => this.#lost(loss));
    this.partitions = settings.partitions;
    const { connection } = api;
    this.#followers = this.#shards.map(
      (shard) =>
        new Follower({
          api,
          bucket: shard.bucket,
          stream: shard.stream,
          clock: ports.clock,
          logger: ports.logger,
          id: () => ports.random.id(),
          inboxPrefix,
          floor: () => shard.floor,
        }),
    );
    const maxPayload = connection.info?.max_payload ?? largestValueBytes;
    this.info = {
      name: `the NATS bucket ${settings.bucket}`,
      identity: this.#shards.map(({ stream, created }) => `${stream} ${created}`).join(", "),
      durability: settings.synced ? "power-loss" : isReplicated ? "replicated" : isOnDisk ? "process-crash" : "none",
      maxValueBytes: Math.min(largestValueBytes, maxPayload, maxMessageBytes) - overheadBytes,
      historyDepth: settings.history,
    };
    void this.#followConnection(connection);
    this.#look();
  }

  /** `_pending.x` and `_parked.x` lie where x does, so that their order among themselves is known. */
  shardOf(key: string): number {
    if (this.#shards.length === 1) return 0;
    const actor = /^_(?:pending|parked)\.(.*)$/s.exec(key)?.[1] ?? key;
    return actor.startsWith("_") ? 0 : Number.parseInt(hashText(actor).slice(8), 16) % this.#shards.length;
  }

  async read(key: string): Promise<StoredEntry | undefined> {
    return this.#shard(key).read(key);
  }

  async write(write: StoreWrite): Promise<WriteOutcome> {
    if (this.#closed) return closed;
    const bytes = write.value.length * 3 > this.info.maxValueBytes ? byteLength(write.value) : write.value.length;
    if (bytes > this.info.maxValueBytes) {
      const detail = `a value of ${bytes} bytes; this server takes ${this.info.maxValueBytes}`;
      return { kind: "refused", reason: "tooLarge", detail };
    }
    return this.#shard(write.key).write(write);
  }

  async purge(key: string, expect: Revision, token: Token): Promise<WriteOutcome> {
    if (this.#closed) return closed;
    return this.#shard(key).purge(key, expect, token, `${this.#life}.p${++this.#purges}`);
  }

  /** Costs a list of the keys for the first page, and one read per value. */
  async list({ prefix, after, limit = 1_000 }: ListOptions): Promise<readonly StoredEntry[]> {
    if (this.#closed) throw new Error("the store is closed");
    const keys = await this.#keys(prefix, after);
    let at = after === undefined ? 0 : firstAfter(keys, after);
    const found: StoredEntry[] = [];
    // Purged keys have no value: more are read until the page is full.
    while (found.length < limit && at < keys.length) {
      const some = keys.slice(at, at + limit - found.length);
      at += some.length;
      found.push(...(await this.#readAll(some)));
    }
    return found;
  }

  async history(key: string): Promise<readonly StoredEntry[]> {
    return this.#shard(key).history(key);
  }

  watch(prefix: string, onChange: (change: StoreChange) => void): () => void {
    const stops = this.#followers.map((follower) => follower.watch(prefix, onChange));
    return () => {
      for (const stop of stops) stop();
    };
  }

  onLoss(listener: (loss: StoreLoss) => void): () => void {
    if (this.#loss !== undefined) listener(this.#loss);
    this.#lossListeners.add(listener);
    return () => this.#lossListeners.delete(listener);
  }

  /** How far this machine's clock is ahead of the server's, and how exact that is. Rejects when nobody answers. */
  async clockOffset(): Promise<{ readonly offsetMs: number; readonly errorMs: number }> {
    const { clock } = this.#ports;
    const before = clock.monotonic();
    const info = await this.#api.streamInfo((this.#shards[0] as Shard).stream);
    const roundTripMs = clock.monotonic() - before;
    const serverMs = Date.parse(info?.ts ?? "");
    if (Number.isNaN(serverMs)) throw new Error("the server did not tell its time");
    return { offsetMs: clock.now() - roundTripMs / 2 - serverMs, errorMs: roundTripMs / 2 + 1 };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#looking?.();
    this.#sweeping?.();
    for (const follower of this.#followers) follower.stop();
    await Promise.all(this.#shards.map((shard) => shard.close()));
  }

  #shard(key: string): Shard {
    if (this.#closed) throw new Error("the store is closed");
    return this.#shards[this.shardOf(key)] as Shard;
  }

  async #readAll(keys: readonly string[]): Promise<StoredEntry[]> {
    if (this.#shards.length === 1) return (this.#shards[0] as Shard).readAll(keys);
    const lists = await Promise.all(
      this.#shards.map((shard, index) => shard.readAll(keys.filter((key) => this.shardOf(key) === index))),
    );
    return lists.flat().sort(byKey);
  }

  /** The keys that begin with the prefix, in order. Those of a listing that goes on are as they were at its beginning. */
  async #keys(prefix: string, after: string | undefined): Promise<readonly string[]> {
    const now = this.#ports.clock.monotonic();
    const known = this.#listings.get(prefix);
    if (after !== undefined && known !== undefined && now - known.atMs < listingKeptMs) return known.keys;
    const words = prefix.slice(0, prefix.lastIndexOf(".") + 1);
    const lists = await Promise.all(this.#shards.map((shard) => shard.keys(words)));
    const keys = lists
      .flat()
      .filter((key) => key.startsWith(prefix))
      .sort();
    this.#listings.delete(prefix);
    this.#listings.set(prefix, { keys, atMs: now });
    if (this.#listings.size > keptListings) this.#listings.delete(this.#listings.keys().next().value as string);
    return keys;
  }

  #lost(loss: StoreLoss): void {
    this.#loss = loss;
    for (const listener of [...this.#lossListeners]) listener(loss);
  }

  /** The bucket may have been made anew while nobody looked. */
  #look(): void {
    this.#looking = this.#ports.clock.after(
      checkEveryMs,
      () => {
        void this.#check().finally(() => {
          if (!this.#closed) this.#look();
        });
      },
      { background: true },
    );
  }

  /** What an older server, or a bucket without times to live, keeps of the index. */
  #sweep(): void {
    this.#sweeping = this.#ports.clock.after(
      markerMs,
      () => {
        void Promise.all(this.#shards.map((shard) => shard.sweep()))
          .catch((error: unknown) => this.#cannotSweep(error))
          .finally(() => {
            if (!this.#closed) this.#sweep();
          });
      },
      { background: true },
    );
  }

  #cannotSweep(error: unknown): void {
    if (this.#hasWarned || this.#closed) return;
    this.#hasWarned = true;
    const [{ bucket, stream }] = this.#shards as readonly [Shard];
    this.#ports.logger.warn(
      `the bucket ${bucket}: what removed entries of the index leave could not be taken away: permit ${this.#api.prefix}.STREAM.PURGE.${stream}, or use nats-server 2.11 or newer`,
      { error },
    );
  }

  async #check(): Promise<void> {
    for (const [prefix, { atMs }] of this.#listings)
      if (this.#ports.clock.monotonic() - atMs > listingKeptMs) this.#listings.delete(prefix);
    // An outage is not news here: the writes and reads that meet it say so.
    await Promise.allSettled(this.#shards.map((shard) => shard.check()));
  }

  async #followConnection(connection: Requests["connection"]): Promise<void> {
    for await (const status of connection.status()) {
      if (this.#closed) return;
      if (status.type !== "reconnect") continue;
      await this.#check();
      for (const follower of this.#followers) follower.reconnected();
    }
  }
}

const closed: WriteOutcome = { kind: "refused", reason: "closed", detail: "the store is closed" };

/** A reader takes the bucket as it is. */
async function asFound(api: Api, settings: BucketSettings): Promise<BucketSettings> {
  for (const first of [settings.bucket, `${settings.bucket}-00`]) {
    const info = await api.streamInfo(streamOf(first));
    const meta = info?.config.metadata;
    if (info === undefined || meta?.[layout.version] === undefined) continue;
    return {
      ...settings,
      partitions: Number(meta[layout.partitions]),
      shards: Number(meta[layout.shards]),
      history: info.config.max_msgs_per_subject,
      replicas: info.config.num_replicas,
    };
  }
  throw new BucketNotFound(`there is no bucket ${settings.bucket} on this server: the first runtime makes it`);
}

function byKey(a: StoredEntry, b: StoredEntry): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/** The index of the first key that is greater, in a sorted list. */
function firstAfter(keys: readonly string[], after: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as string) <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}

const encoder = new TextEncoder();

function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** Of a limit as the server gives it: -1 or nothing means none. */
function mostBytes(limit: number | undefined): number {
  return limit !== undefined && limit > 0 ? limit : Number.POSITIVE_INFINITY;
}
