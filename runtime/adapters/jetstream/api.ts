/**
 * The part of JetStream's API that a bucket needs, as requests with JSON answers. Every answer is one of: the value, an
 * error of the server with its number, or an error that says that nobody answered.
 */
import type { NatsConnection } from "@nats-io/transport-node";
import type { Requests } from "../nats/requests.ts";
import { JetStreamOff, PermissionMissing, ServerFailed } from "./errors.ts";

/** The server's numbers of errors that mean something here. */
export const errorCodes = {
  wrongLastSequence: 10071,
  /** Another write of the subject is under way on a replicated stream. */
  wrongLastSequenceInFlight: 10164,
  messageNotFound: 10037,
  streamNotFound: 10059,
  messageTooLarge: 10054,
  notEnabled: 10076,
  notEnabledForAccount: 10039,
  noSuitablePeers: 10005,
  insufficientResources: 10023,
  accountResources: 10002,
  memoryResources: 10028,
  storageResources: 10047,
  maximumStreams: 10027,
  storeFailed: 10077,
  streamOverlap: 10065,
  streamExists: 10058,
} as const;

export type StreamConfig = {
  readonly name: string;
  readonly subjects?: readonly string[];
  readonly max_msgs_per_subject: number;
  readonly max_msgs?: number;
  readonly max_bytes?: number;
  readonly max_age?: number;
  readonly max_msg_size?: number;
  readonly max_consumers?: number;
  readonly storage: string;
  readonly discard: string;
  readonly retention?: string;
  readonly num_replicas: number;
  readonly allow_direct?: boolean;
  readonly allow_rollup_hdrs?: boolean;
  readonly deny_delete?: boolean;
  readonly allow_atomic?: boolean;
  readonly allow_msg_ttl?: boolean;
  readonly sealed?: boolean;
  readonly mirror?: unknown;
  readonly sources?: readonly { readonly name: string }[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly duplicate_window?: number;
};

export type StreamInfo = {
  readonly config: StreamConfig;
  readonly created: string;
  /** The server's time of the answer. */
  readonly ts?: string;
  readonly state: {
    readonly last_seq: number;
    readonly messages: number;
    readonly bytes?: number;
    readonly consumer_count?: number;
    readonly subjects?: Readonly<Record<string, number>>;
  };
  readonly total?: number;
  readonly limit?: number;
  readonly offset?: number;
  /** Undefined on a server that is alone. */
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly name: string; readonly current?: boolean; readonly offline?: boolean }[];
  };
  /** Of a stream that copies from others. */
  readonly sources?: readonly { readonly name: string; readonly lag: number }[];
};

export type StoredMessage = {
  readonly subject: string;
  readonly seq: number;
  /** Base64 of the header block. */
  readonly hdrs?: string;
  /** Base64 of the value. */
  readonly data?: string;
  readonly time: string;
};

type ApiError = { readonly code: number; readonly err_code?: number; readonly description: string };

const encoder = new TextEncoder();
/** A read that is not answered is asked again after this time, and then at growing distances. */
const readAgainMs = 500;
/** A list of subjects is work for the server: two at the same time each take longer. */
const listAgainMs = 2_500;
/** A cluster elects a leader for a new stream before it answers; where two stood for it, once more after up to 9 s. */
const creationMs = 15_000;
/** A server that has just joined is offline to the leader until its first statistics are heard, which takes seconds. */
const peerOffline = /\bpeers? offline\b/;
const peerAgainMs = 250;

export class Api {
  readonly requests: Requests;
  readonly timeoutMs: number;
  readonly #prefix: string;

  /** `domain` where JetStream is that of another account or of a hub: its API is under `$JS.<domain>.API` then. */
  constructor(requests: Requests, timeoutMs: number, domain?: string) {
    this.requests = requests;
    this.timeoutMs = timeoutMs;
    this.#prefix = domain === undefined ? "$JS.API" : `$JS.${domain}.API`;
  }

  get connection(): NatsConnection {
    return this.requests.connection;
  }

  /** `$JS.API`, or that of the domain. */
  get prefix(): string {
    return this.#prefix;
  }

  /** Undefined: there is no such stream. */
  async streamInfo(
    stream: string,
    ask?: { readonly subjects_filter: string; readonly offset: number },
  ): Promise<StreamInfo | undefined> {
    const againMs = ask === undefined ? readAgainMs : listAgainMs;
    return this.#maybe<StreamInfo>(`STREAM.INFO.${stream}`, ask ?? {}, errorCodes.streamNotFound, againMs);
  }

  /** While the cluster misses a peer for the replicas it is asked again, for as long as an answer may take. */
  async createStream(config: Record<string, unknown>): Promise<StreamInfo> {
    const { clock } = this.requests;
    const untilMs = clock.monotonic() + Math.max(this.timeoutMs, creationMs);
    for (;;) {
      const timeoutMs = untilMs - clock.monotonic();
      try {
        return await this.ask<StreamInfo>(`STREAM.CREATE.${String(config.name)}`, config, { timeoutMs });
      } catch (error) {
        const mayCome =
          error instanceof ServerFailed &&
          error.errorCode === errorCodes.noSuitablePeers &&
          peerOffline.test(error.message);
        if (!mayCome || clock.monotonic() + peerAgainMs >= untilMs) throw error;
      }
      await new Promise<void>((resolve) => void clock.after(peerAgainMs, resolve));
    }
  }

  /** From whoever decides writes. Undefined: the subject has no message. */
  async lastOf(stream: string, subject: string): Promise<StoredMessage | undefined> {
    return this.#message(stream, { last_by_subj: subject });
  }

  /** The first message of the subject at or after the sequence. */
  async nextOf(stream: string, subject: string, seq: number): Promise<StoredMessage | undefined> {
    return this.#message(stream, { seq, next_by_subj: subject });
  }

  /** Removes what the subject has up to this sequence, and nothing that came later. */
  async forget(stream: string, subject: string, upTo: number): Promise<void> {
    await this.ask(`STREAM.PURGE.${stream}`, { filter: subject, seq: upTo + 1 });
  }

  /** Rejects with ServerFailed, JetStreamOff. `againMs`: of what may be asked more than once, within the same time. */
  async ask<TAnswer>(
    call: string,
    body: unknown,
    { timeoutMs = this.timeoutMs, againMs }: { readonly timeoutMs?: number; readonly againMs?: number } = {},
  ): Promise<TAnswer> {
    const subject = `${this.#prefix}.${call}`;
    const bytes = encoder.encode(JSON.stringify(body));
    const reply =
      againMs === undefined
        ? await this.requests.ask(subject, bytes, undefined, timeoutMs)
        : await this.requests.askAgain(subject, bytes, timeoutMs, againMs);
    switch (reply.kind) {
      case "reply": {
        const answer = reply.message.json<TAnswer & { readonly error?: ApiError }>();
        if (answer.error === undefined) return answer;
        throw failureOf(subject, answer.error);
      }
      case "noResponders":
        throw new JetStreamOff(
          `nobody answers on ${subject}: JetStream is off on this server or for this account (start the server with \`nats-server -js\`)`,
        );
      case "silence":
        throw new ServerFailed(`no answer on ${subject} (${reply.cause})`, 0);
      case "notSent":
        throw new ServerFailed(`${subject} was not sent: ${reply.error.message}`, 0, { cause: reply.error });
    }
  }

  /**
   * Runs what is asked of the server, and tells a permission that is missing from a server that is silent: the server
   * answers the former with a notice to the connection only.
   */
  async naming<TAnswer>(work: () => Promise<TAnswer>): Promise<TAnswer> {
    const statuses = this.connection.status();
    let forbid: (error: PermissionMissing) => void = () => {};
    const forbidden = new Promise<never>((_, reject) => {
      forbid = reject;
    });
    forbidden.catch(() => {});
    void (async () => {
      for await (const status of statuses) {
        if (status.type !== "error") continue;
        const { name, operation, subject = "" } = status.error as Error & { operation?: string; subject?: string };
        if (name !== "PermissionViolationError") continue;
        // Emitted events and the like are the bus's to speak of: nothing here waits for them.
        if (operation === "publish" && /^\$(JS|KV)\./.test(subject))
          forbid(new PermissionMissing("publish on", subject, { cause: status.error }));
        if (operation === "subscription" && subject === this.requests.answers)
          forbid(new PermissionMissing("subscribe to", subject, { cause: status.error }));
      }
    })();
    try {
      return await Promise.race([work(), forbidden]);
    } finally {
      (statuses as { stop?: () => void }).stop?.();
    }
  }

  async #message(stream: string, ask: Record<string, unknown>): Promise<StoredMessage | undefined> {
    const answer = await this.#maybe<{ readonly message: StoredMessage }>(
      `STREAM.MSG.GET.${stream}`,
      ask,
      errorCodes.messageNotFound,
    );
    return answer?.message;
  }

  async #maybe<TAnswer>(
    call: string,
    body: unknown,
    absent: number,
    againMs = readAgainMs,
  ): Promise<TAnswer | undefined> {
    try {
      // Servers of a cluster that is electing a leader drop what they are asked, without a word.
      return await this.ask<TAnswer>(call, body, { againMs });
    } catch (error) {
      if (error instanceof ServerFailed && error.errorCode === absent) return undefined;
      throw error;
    }
  }
}

function failureOf(subject: string, error: ApiError): Error {
  const number = error.err_code ?? error.code;
  if (number === errorCodes.notEnabled || number === errorCodes.notEnabledForAccount) {
    return new JetStreamOff(`${error.description}: switch JetStream on for this server and account`);
  }
  return new ServerFailed(`${subject}: ${error.description} (${number})`, number);
}
