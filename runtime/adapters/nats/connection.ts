/**
 * One connection to NATS: made from options or from the usual environment variables, or the caller's own. Everything
 * that speaks to a server here goes through such a connection.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Authenticator, NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import type { KeysOf } from "../../options.ts";
import { NatsInvalidOption, NatsMissing, NatsUnreachable, NatsWrongConnection } from "./errors.ts";

export type NatsOptions = {
  /** One or several of a cluster. Default: `NATS_URL`, else `nats://127.0.0.1:4222`. */
  readonly servers?: string | readonly string[];
  /** The caller's own connection (`@nats-io/transport-node`, version 3), which stays the caller's to close. */
  readonly connection?: NatsConnection;
  /** Shown by `nats server report connections`. */
  readonly name?: string;
  /** Default: `NATS_USER` and `NATS_PASSWORD`. */
  readonly user?: string;
  readonly password?: string;
  /** Default: `NATS_TOKEN`. */
  readonly token?: string;
  /** The path of a file that holds an NKey seed. Default: `NATS_NKEY`. */
  readonly nkeyFile?: string;
  /** The path of a credentials file (JWT and seed). Default: `NATS_CREDS`. */
  readonly credsFile?: string;
  /** Paths of PEM files. Default: `NATS_CA`, `NATS_CERT`, `NATS_KEY`. */
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  /** Subjects for replies, where permissions allow no `_INBOX.>`. Begins with `_INBOX`: nodes answer to nothing else. */
  readonly inboxPrefix?: string;
  /** How long the first connection may take, in milliseconds. Default: 5,000. */
  readonly connectTimeoutMs?: number;
};

export const natsOptions: KeysOf<NatsOptions> = {
  servers: true,
  connection: true,
  name: true,
  user: true,
  password: true,
  token: true,
  nkeyFile: true,
  credsFile: true,
  tls: true,
  inboxPrefix: true,
  connectTimeoutMs: true,
};

/** Of `tls`. */
export const natsTlsOptions: KeysOf<NonNullable<NatsOptions["tls"]>> = { caFile: true, certFile: true, keyFile: true };

export type NatsEnvironment = Readonly<Record<string, string | undefined>>;

export type OpenConnection = {
  readonly connection: NatsConnection;
  /** Sends what is buffered and closes; a connection that was the caller's is left open. */
  close(): Promise<void>;
};

/** Rejects with `NatsUnreachable`, `NatsWrongConnection`, `NatsInvalidOption` or `NatsMissing`. */
export async function connectNats(
  options: NatsOptions,
  environment: NatsEnvironment = process.env,
): Promise<OpenConnection> {
  if (options.connection !== undefined) {
    return { connection: ofVersion3(options.connection), close: async () => {} };
  }
  const transport = await import("@nats-io/transport-node").catch((error: unknown) => {
    throw new NatsMissing(error);
  });
  const settings = await settingsOf(options, environment, transport);
  const servers = [settings.servers ?? []].flat().join(", ");
  let connection: NatsConnection;
  try {
    connection = await transport.connect(settings);
  } catch (error) {
    throw new NatsUnreachable(`no connection to NATS at ${servers}: ${explain(error)}`, { cause: error });
  }
  return {
    connection,
    async close() {
      if (!connection.isClosed()) await connection.close();
    },
  };
}

/** Version 2 lacks what version 3's JetStream needs, and fails late and obscurely: told at once instead. */
function ofVersion3(connection: NatsConnection): NatsConnection {
  const candidate = connection as Partial<Record<"publish" | "addCloseListener", unknown>>;
  if (typeof candidate?.publish !== "function") {
    throw new NatsWrongConnection(
      "`connection` is no NATS connection: pass what connect() of @nats-io/transport-node gave",
    );
  }
  if (typeof candidate.addCloseListener !== "function") {
    throw new NatsWrongConnection(
      "`connection` was made by the package `nats`, version 2, with which JetStream 3 breaks: make it with connect() of @nats-io/transport-node",
    );
  }
  return connection;
}

async function settingsOf(
  options: NatsOptions,
  environment: NatsEnvironment,
  transport: typeof import("@nats-io/transport-node"),
): Promise<NodeConnectionOptions> {
  const servers = [options.servers ?? environment.NATS_URL?.split(",") ?? "nats://127.0.0.1:4222"].flat();
  if (servers.length === 0 || servers.some((server) => typeof server !== "string" || server.trim() === "")) {
    throw new NatsInvalidOption("`servers` must be one URL or several, such as nats://127.0.0.1:4222");
  }
  const timeout = options.connectTimeoutMs ?? 5_000;
  if (!(timeout > 0 && timeout <= 600_000)) {
    throw new NatsInvalidOption(`\`connectTimeoutMs\` is ${timeout}; it must be above 0 and at most 600,000`);
  }
  const { caFile, certFile, keyFile } = options.tls ?? {};
  const tls = dropUndefined({
    caFile: caFile ?? environment.NATS_CA,
    certFile: certFile ?? environment.NATS_CERT,
    keyFile: keyFile ?? environment.NATS_KEY,
  });
  const { inboxPrefix } = options;
  if (inboxPrefix !== undefined && !/^_INBOX[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$/.test(inboxPrefix)) {
    throw new NatsInvalidOption(
      `\`inboxPrefix\` is ${JSON.stringify(inboxPrefix)}; it must begin with _INBOX, such as _INBOX_users.client`,
    );
  }
  const authenticator = await authenticatorOf(options, environment, transport);
  return {
    servers: servers.map((server) => server.trim()),
    name: options.name ?? "holdfast",
    timeout,
    // A runtime outlives any outage: what it cannot do meanwhile it says, and goes on afterwards.
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    // A password or key may be changed at the server first and here later; the library would close for good at the second refusal.
    ignoreAuthErrorAbort: true,
    // A server that answers no ping any more is left for another after three of these, not after minutes.
    pingInterval: 1_000,
    maxPingOut: 2,
    // Each request would capture a stack of its own otherwise, at half of its cost.
    noAsyncTraces: true,
    ...(authenticator && { authenticator }),
    ...(Object.keys(tls).length > 0 && { tls }),
    ...(inboxPrefix !== undefined && { inboxPrefix }),
  };
}

async function authenticatorOf(
  options: NatsOptions,
  environment: NatsEnvironment,
  transport: typeof import("@nats-io/transport-node"),
): Promise<Authenticator | undefined> {
  const credsFile = options.credsFile ?? environment.NATS_CREDS;
  if (credsFile !== undefined) return transport.credsAuthenticator(await freshBytesOf(credsFile, "credsFile"));
  const nkeyFile = options.nkeyFile ?? environment.NATS_NKEY;
  if (nkeyFile !== undefined) {
    const bytes = await freshBytesOf(nkeyFile, "nkeyFile");
    return transport.nkeyAuthenticator(() => new TextEncoder().encode(new TextDecoder().decode(bytes()).trim()));
  }
  const token = options.token ?? environment.NATS_TOKEN;
  if (token !== undefined) return transport.tokenAuthenticator(token);
  const user = options.user ?? environment.NATS_USER;
  if (user !== undefined) {
    return transport.usernamePasswordAuthenticator(user, options.password ?? environment.NATS_PASSWORD ?? "");
  }
  return undefined;
}

/** The file is read again for each connection, since credentials expire and are replaced while a process runs. */
async function freshBytesOf(path: string, option: string): Promise<() => Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new NatsInvalidOption(`\`${option}\`: ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return () => {
    try {
      bytes = readFileSync(path);
    } catch {
      // Being replaced, or gone: what was read before may still do, and the next attempt looks again.
    }
    return bytes;
  };
}

function dropUndefined<TValue>(fields: Record<string, TValue | undefined>): Record<string, TValue> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Record<
    string,
    TValue
  >;
}

function explain(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/authorization|authentication/i.test(message)) return `${message}: the server did not accept these credentials`;
  return `${message}: start a server (\`nats-server -js\`), or set \`servers\` or NATS_URL`;
}
