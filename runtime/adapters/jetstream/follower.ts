/**
 * The one consumer by which this process follows a bucket: all watches share it. It is made anew, from where it had got
 * to, whenever messages are missing, the server forgets it, or the connection was lost. It acknowledges nothing and
 * costs the server little; what it delivers may repeat, and each listener drops what it has seen.
 */
import type { Msg, Subscription } from "@nats-io/transport-node";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Logger } from "../../ports/logger.ts";
import type { Revision, StoreChange } from "../../ports/store.ts";
import { Seldom } from "../../seldom.ts";
import type { Api } from "./api.ts";
import { changeOf, type RawMessage } from "./entry.ts";

export type FollowerOptions = {
  readonly api: Api;
  readonly bucket: string;
  readonly stream: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly id: () => string;
  readonly inboxPrefix: string | undefined;
  /** A sequence that was the stream's last one recently: what is asked for now comes after it. */
  readonly floor: () => Revision;
};

type Listener = {
  readonly prefix: string;
  readonly onChange: (change: StoreChange) => void;
  /** The latest revision told, or that the listener has no use for. */
  last: Revision;
};

const heartbeatMs = 2_000;
/** Whoever hears nothing for so long is forgotten by the server, or the server is gone. */
const silenceMs = 2.5 * heartbeatMs;
const firstRetryMs = 50;
const longestRetryMs = 1_000;
/** While the servers elect who places consumers, they drop what they are asked. The same consumer asked for twice is one. */
const createAgainMs = 500;

export class Follower {
  readonly #options: FollowerOptions;
  readonly #seldom: Seldom;
  readonly #listeners = new Set<Listener>();
  #subscription: Subscription | undefined;
  #consumer: string | undefined;
  /** The subjects that the present consumer has, to see whether a new listener needs another. */
  #filters: readonly string[] = [];
  /** The stream sequence up to which everything of these subjects was delivered. */
  #position: Revision = 0;
  /** The consumer's own number of its latest delivery. */
  #delivered = 0;
  #heardMs = 0;
  #watchdog: Cancel | undefined;
  #retry: Cancel | undefined;
  #retryMs = firstRetryMs;
  /** Grows with each consumer; what an earlier one still does is ignored. */
  #generation = 0;
  #stopped = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#seldom = new Seldom(options.clock);
  }

  watch(prefix: string, onChange: (change: StoreChange) => void): () => void {
    const listener: Listener = { prefix, onChange, last: this.#options.floor() };
    const first = this.#listeners.size === 0;
    this.#listeners.add(listener);
    if (first) this.#position = listener.last;
    const covered = covers(this.#filters, this.#filterOf(prefix)) && this.#position <= listener.last;
    if (first || !covered) {
      this.#position = Math.min(this.#position, listener.last);
      this.#renew();
    }
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#end();
    };
  }

  /** The connection is new: the old consumer delivers to nobody. */
  reconnected(): void {
    if (this.#listeners.size > 0 && !this.#stopped) this.#renew();
  }

  stop(): void {
    this.#stopped = true;
    this.#listeners.clear();
    this.#end();
  }

  #filterOf(prefix: string): string {
    const { bucket } = this.#options;
    // Only whole words of a subject can be asked for; the rest is sorted out here.
    const whole = prefix.slice(0, prefix.lastIndexOf(".") + 1);
    return `$KV.${bucket}.${whole}>`;
  }

  #renew(): void {
    this.#forget();
    const generation = this.#generation;
    void this.#create(generation).catch((error: unknown) => {
      if (this.#stopped || generation !== this.#generation) return;
      const { bucket, logger } = this.#options;
      this.#seldom.say("follow", (held) =>
        logger.warn(`the bucket ${bucket} could not be followed; trying again`, { error, unsaid: held || undefined }),
      );
      this.#retryLater();
    });
  }

  #retryLater(): void {
    this.#retry?.();
    this.#retry = this.#options.clock.after(this.#retryMs, () => this.#renew(), { background: true });
    this.#retryMs = Math.min(this.#retryMs * 2, longestRetryMs);
  }

  async #create(generation: number): Promise<void> {
    const { api, stream, clock, id, inboxPrefix } = this.#options;
    const { connection } = api;
    const filters = minimal([...this.#listeners].map(({ prefix }) => this.#filterOf(prefix)));
    const inbox = `${inboxPrefix ?? "_INBOX"}.${id()}`;
    const name = `holdfast-${id()}`;
    this.#filters = filters;
    this.#delivered = 0;
    this.#consumer = name;
    this.#subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null && generation === this.#generation) this.#arrived(message);
      },
    });
    const wanted = {
      stream_name: stream,
      config: {
        name,
        deliver_subject: inbox,
        deliver_policy: "by_start_sequence",
        opt_start_seq: this.#position + 1,
        ack_policy: "none",
        max_deliver: 1,
        ...(filters.length === 1 ? { filter_subject: filters[0] } : { filter_subjects: filters }),
        flow_control: true,
        idle_heartbeat: heartbeatMs * 1_000_000,
        inactive_threshold: 60_000_000_000,
        mem_storage: true,
        num_replicas: 1,
      },
    };
    await api.ask(`CONSUMER.CREATE.${stream}.${name}`, wanted, { againMs: createAgainMs });
    if (generation !== this.#generation) return;
    this.#retryMs = firstRetryMs;
    this.#heardMs = clock.monotonic();
    this.#watch(generation);
  }

  #arrived(message: Msg): void {
    this.#heardMs = this.#options.clock.monotonic();
    if (message.headers !== undefined && message.headers.code === 100) {
      // The server asks whether we keep up.
      if (message.reply !== undefined && message.reply !== "") message.respond();
      const stalled = message.headers.get("Nats-Consumer-Stalled");
      if (stalled !== "") this.#options.api.connection.publish(stalled);
      const last = Number(message.headers.get("Nats-Last-Consumer"));
      if (message.headers.has("Nats-Last-Consumer") && last !== this.#delivered) this.#renew();
      return;
    }
    const place = placeOf(message.reply);
    if (place === undefined) return;
    if (place.delivered !== this.#delivered + 1) return this.#renew();
    this.#delivered = place.delivered;
    this.#position = place.revision;
    this.#tell(changeOf(rawOfDelivery(this.#options.bucket, message, place.revision)));
  }

  #tell(change: StoreChange): void {
    const key = change.kind === "put" ? change.entry.key : change.key;
    const revision = change.kind === "put" ? change.entry.revision : change.revision;
    for (const listener of [...this.#listeners]) {
      if (revision <= listener.last || !key.startsWith(listener.prefix)) continue;
      listener.last = revision;
      try {
        listener.onChange(change);
      } catch (error) {
        this.#options.logger.error(`a listener to changes of ${key} threw`, { error });
      }
    }
  }

  /** A consumer that the server forgot is silent for ever. */
  #watch(generation: number): void {
    this.#watchdog?.();
    const leftMs = this.#heardMs + silenceMs - this.#options.clock.monotonic();
    this.#watchdog = this.#options.clock.after(
      // Not less: the clock's fractions may hide what is left.
      Math.max(1, leftMs),
      () => {
        if (generation !== this.#generation) return;
        if (this.#options.clock.monotonic() - this.#heardMs >= silenceMs) this.#renew();
        else this.#watch(generation);
      },
      { background: true },
    );
  }

  /** Stops what there is; the server is told, so that it need not find out. */
  #forget(): void {
    this.#generation++;
    this.#watchdog?.();
    this.#retry?.();
    const { api, stream } = this.#options;
    const { connection } = api;
    if (this.#subscription !== undefined && !connection.isClosed()) {
      this.#subscription.unsubscribe();
      if (this.#consumer !== undefined) void api.ask(`CONSUMER.DELETE.${stream}.${this.#consumer}`, {}).catch(() => {}); // it ends by itself soon
    }
    this.#subscription = undefined;
    this.#consumer = undefined;
  }

  #end(): void {
    this.#forget();
    this.#filters = [];
  }
}

/** `$JS.ACK.<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time>.<pending>`, longer where domains are used. */
function placeOf(reply: string | undefined): { revision: Revision; delivered: number } | undefined {
  const tokens = (reply ?? "").split(".");
  const first = tokens.length >= 11 ? 2 : 0;
  const revision = Number(tokens[first + 5]);
  const delivered = Number(tokens[first + 6]);
  return tokens[1] === "ACK" && revision > 0 && delivered > 0 ? { revision, delivered } : undefined;
}

function rawOfDelivery(bucket: string, message: Msg, revision: Revision): RawMessage {
  const { headers } = message;
  return {
    key: message.subject.slice(`$KV.${bucket}.`.length),
    revision,
    header: (name) => (headers?.has(name) === true ? headers.get(name) : undefined),
    value: () => message.string(),
  };
}

function covers(filters: readonly string[], wanted: string): boolean {
  return filters.some((filter) => wanted.startsWith(filter.slice(0, -1)));
}

/** Without those that another covers: the server refuses filters that overlap. */
function minimal(filters: readonly string[]): string[] {
  const all = [...new Set(filters)];
  return all.filter((one) => !all.some((other) => other !== one && one.startsWith(other.slice(0, -1))));
}
