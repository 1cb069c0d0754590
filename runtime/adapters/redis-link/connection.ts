/**
 * A link by ioredis, over a connection of its own. What the library would do behind one's back is switched off: it would
 * send a command again after a reconnect, which is right for a fenced script and wrong for a lock.
 */
import type { Redis, RedisOptions } from "ioredis";
import type { Clock } from "../../ports/clock.ts";
import { RedisInvalidOption, RedisMissing, RedisUnreachable } from "./errors.ts";
import type { RedisLink, RedisOutcome, RedisReply } from "./link.ts";

export type RedisServerAddress =
  /** `redis://user:password@host:port/db`, or `rediss://` over TLS. */
  | string
  /** An ioredis client that you have: its address and credentials are used, over another connection. */
  | Redis
  | RedisOptions;

export type RedisConnection = RedisLink & {
  /** Resolves when the server has answered. Rejects with RedisUnreachable. */
  ready(): Promise<void>;
  close(): Promise<void>;
};

/** Begins to connect and goes on trying for as long as it is open. Rejects with RedisMissing or RedisInvalidOption. */
export async function openRedis(server: RedisServerAddress, clock: Clock): Promise<RedisConnection> {
  const library = await import("ioredis").catch((error: unknown) => {
    throw new RedisMissing(error);
  });
  const settings = {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 2_000,
    retryStrategy: (attempts: number) => Math.min(50 * attempts, 500),
    protocol: 2 as const,
    keyPrefix: "",
    // Large numbers of others' data stay what they are; ours come as texts anyway.
    stringNumbers: false,
  } satisfies RedisOptions;
  const client = makeClient(library.Redis, server, settings);
  const name = `${client.options.host ?? "redis"}:${client.options.port ?? 6379}`;
  let lastError = "no answer yet";
  client.on("error", (error: Error) => {
    lastError = error.message;
  });
  const connected = client.connect().then(
    () => undefined,
    (error: unknown) => {
      const said = lastError === "no answer yet" ? (error as Error).message : lastError;
      return new RedisUnreachable(`no connection to Redis at ${name}: ${said}`, { cause: error });
    },
  );
  return {
    name,
    async ready() {
      const failure = await connected;
      if (failure !== undefined && client.status !== "ready") throw failure;
    },
    send: (command, timeoutMs) => sendTo(client, clock, command, timeoutMs, () => lastError),
    close: async () => client.disconnect(),
  };
}

/** Replies as they came over the wire, which is the default. */
type LegacyOptions = RedisOptions & { replyMapping?: "legacy" };

function makeClient(
  Client: typeof import("ioredis").Redis,
  server: RedisServerAddress,
  settings: LegacyOptions,
): Redis {
  if (typeof server === "string") {
    if (!/^rediss?:\/\/./.test(server))
      throw new RedisInvalidOption(`${JSON.stringify(server)} is no address of a Redis server: redis://host:port`);
    return new Client<"legacy">(server, settings);
  }
  if (server === null || typeof server !== "object")
    throw new RedisInvalidOption("a Redis server is an address (redis://host:port), options, or a client of ioredis");
  if ("duplicate" in server) return server.duplicate(settings);
  const { replyMapping: _, ...options } = server;
  return new Client<"legacy">({ ...options, ...settings } as LegacyOptions);
}

function sendTo(
  client: Redis,
  clock: Clock,
  command: readonly string[],
  timeoutMs: number,
  lastError: () => string,
): Promise<RedisOutcome> {
  if (client.status !== "ready")
    return Promise.resolve({ kind: "unsent", cause: `the connection is ${client.status}: ${lastError()}` });
  return new Promise((resolve) => {
    const cancel = clock.after(timeoutMs, () => resolve({ kind: "unknown", cause: `no answer in ${timeoutMs} ms` }));
    const [name, ...values] = command as [string, ...string[]];
    // In capitals it is not known to the library, which would make something else of some answers.
    client.call(name.toUpperCase(), ...values).then(
      (value) => {
        cancel();
        resolve({ kind: "reply", value: value as RedisReply });
      },
      (error: Error) => {
        cancel();
        if (error.name === "ReplyError")
          resolve({ kind: "refused", code: error.message.split(" ", 1)[0] as string, message: error.message });
        else resolve({ kind: "unknown", cause: error.message });
      },
    );
  });
}
