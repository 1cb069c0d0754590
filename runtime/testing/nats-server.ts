/**
 * A nats-server of one's own, for tests and trials: found by NATS_SERVER, on PATH or in `.cache/`, started on free
 * loopback ports with a folder of its own, and stopped again. Never touches a server that it did not start.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type KeysOf, refuseUnknown } from "../options.ts";
import {
  binaryAt,
  onFreePorts,
  placesOf,
  type ServerBinary,
  type ServerProcess,
  serverFolder,
  startServerProcess,
} from "./server-process.ts";

export type NatsBinary = ServerBinary;

export type NatsServerOptions = {
  /** Default: the newest that is found. */
  readonly binary?: NatsBinary;
  /** Default: true. */
  readonly jetstream?: boolean;
  /** `sync_interval: always`: every acknowledged write is on the disk. Default: false. */
  readonly synced?: boolean;
  /** More of the server's configuration, as text. */
  readonly config?: string;
  /** A limit for the file store, such as "10MB". */
  readonly maxFileStore?: string;
};

const serverOptions: KeysOf<NatsServerOptions> = {
  binary: true,
  jetstream: true,
  synced: true,
  config: true,
  maxFileStore: true,
};

export type NatsServer = ServerProcess & {
  readonly url: string;
  readonly port: number;
  /** Of the monitoring page (`/varz`). */
  readonly monitorPort: number;
  readonly version: string;
  readonly name: string;
};

export type NatsCluster = {
  readonly servers: readonly NatsServer[];
  /** Of all servers. */
  readonly urls: string[];
  stop(): Promise<void>;
};

/** All that can be found, oldest first. `NATS_SERVER` names one or several (separated like PATH) instead. */
export function findNatsServers(environment: NodeJS.ProcessEnv = process.env): NatsBinary[] {
  const { named, cached, onPath } = placesOf("nats-server", "NATS_SERVER", environment);
  const binaries = new Map<string, NatsBinary>();
  for (const path of named.length > 0 ? named : [...cached, ...onPath]) {
    const binary = binaryAt(path, /v(\d+\.\d+\.\d+)/);
    if (binary !== undefined && !binaries.has(binary.version)) binaries.set(binary.version, binary);
  }
  return [...binaries.values()].sort((a, b) => a.version.localeCompare(b.version, "en", { numeric: true }));
}

export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  refuseUnknown("options of startNatsServer", options, serverOptions, TypeError);
  const binary = options.binary ?? findNatsServers().at(-1);
  if (binary === undefined) throw new Error(howToGetOne);
  return onFreePorts(2, ([port = 0, monitorPort = 0]) => launch(binary, "n1", port, monitorPort, options, ""));
}

/** `size` servers that know each other; resolves when they have elected a leader of JetStream and taken a stream. */
export async function startNatsCluster(size = 3, options: NatsServerOptions = {}): Promise<NatsCluster> {
  refuseUnknown("options of startNatsCluster", options, serverOptions, TypeError);
  const binary = options.binary ?? findNatsServers().at(-1);
  if (binary === undefined) throw new Error(howToGetOne);
  // Servers that begin in the same moment sometimes never meet (2.10): then others are started instead.
  for (let attempt = 1; ; attempt++) {
    const servers = await onFreePorts(size * 3, (ports) => launchCluster(binary, size, ports, options));
    const stop = async () => {
      await Promise.all(servers.map((server) => server.stop()));
    };
    const urls = servers.map(({ url }) => url);
    // With a configuration of its own, only the caller knows how to log in.
    const isOpen = options.config === undefined;
    if (options.jetstream === false || ((await clusterReady(servers)) && (!isOpen || (await takesStreams(urls, size)))))
      return { servers, urls, stop };
    await stop();
    if (attempt === 5)
      throw new Error(`the servers of a cluster did not become one that takes streams, ${attempt} times`);
  }
}

async function launchCluster(
  binary: NatsBinary,
  size: number,
  ports: readonly number[],
  options: NatsServerOptions,
): Promise<NatsServer[]> {
  const routes = ports.slice(0, size).map((port) => `nats://127.0.0.1:${port}`);
  const started = await Promise.allSettled(
    routes.map((_, index) => {
      // Not told to clients: they know the addresses that they were given, so that a proxy cannot be passed by.
      const cluster = `cluster { name: "test-${ports[0]}", no_advertise: true, listen: "127.0.0.1:${ports[index]}", routes: [${routes.map((route) => `"${route}"`).join(", ")}] }`;
      const [port, monitorPort] = [ports[size + index] as number, ports[2 * size + index] as number];
      return launch(binary, `n${index + 1}`, port, monitorPort, options, cluster);
    }),
  );
  const failed = started.find((one) => one.status === "rejected");
  const servers = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  if (failed === undefined) return servers;
  await Promise.all(servers.map((server) => server.stop()));
  throw failed.reason;
}

export const howToGetOne =
  "no nats-server was found: set NATS_SERVER, put one on PATH, or run scripts/get-nats-server.sh, which fills .cache/";

async function launch(
  binary: NatsBinary,
  name: string,
  port: number,
  monitorPort: number,
  options: NatsServerOptions,
  cluster: string,
): Promise<NatsServer> {
  const folder = serverFolder("holdfast-nats-");
  mkdirSync(join(folder, "store"));
  const limit = options.maxFileStore === undefined ? "" : `, max_file_store: ${options.maxFileStore}`;
  const sync = options.synced === true ? ", sync_interval: always" : "";
  const jetstream =
    options.jetstream === false ? "" : `jetstream { store_dir: "${join(folder, "store")}"${sync}${limit} }`;
  const config = join(folder, "server.conf");
  writeFileSync(
    config,
    `server_name: ${name}\nlisten: "127.0.0.1:${port}"\nhttp: "127.0.0.1:${monitorPort}"\n${jetstream}\n${cluster}\n${options.config ?? ""}\n`,
  );
  const own = await startServerProcess({
    name: "nats-server",
    path: binary.path,
    folder,
    parameters: ["-c", config],
    ready: /Server is ready/,
  });
  return Object.assign(own, { url: `nats://127.0.0.1:${port}`, port, monitorPort, version: binary.version, name });
}

const takesStreamsWithinMs = 20_000;

/**
 * Whether a stream with a replica on each server can be made. All may look well, by each server's own account, while the
 * leader still refuses ("peer offline"): it has yet to hear the first statistics of a server that has just joined.
 */
async function takesStreams(urls: string[], size: number): Promise<boolean> {
  const name = "HOLDFAST_PROBE";
  // An optional peer: whoever imports `holdfast/testing` for its createActor need not have it.
  const { connect } = await import("@nats-io/transport-node");
  const connection = await connect({ servers: urls });
  const ask = async (call: string, body: unknown): Promise<boolean> => {
    const reply = await connection.request(`$JS.API.STREAM.${call}.${name}`, JSON.stringify(body), { timeout: 5_000 });
    return reply.json<{ readonly error?: unknown }>().error === undefined;
  };
  const deadline = performance.now() + takesStreamsWithinMs;
  try {
    while (!(await ask("CREATE", { name, subjects: [name], num_replicas: size, storage: "memory" }))) {
      if (performance.now() > deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return await ask("DELETE", {});
  } catch {
    // An answer that is lost once: what these servers say to each other is not to be relied on.
    return false;
  } finally {
    await connection.close();
  }
}

/** A cluster answers requests for streams only when its servers have met and one of them leads. */
type MetaCluster = {
  readonly leader?: string;
  readonly cluster_size?: number;
  /** At the leader: the others, as it sees them. */
  readonly replicas?: readonly { readonly current?: boolean; readonly offline?: boolean }[];
};

/** Between two servers: a pool of three by default, and one of the system account's own. */
const routesToEach = 4;

/**
 * When all know the leader, and the leader has heard of all: before, it may refuse to place a stream on some. And when
 * every route stands: servers that dial each other in the same moment may stay without one of the pool for a while,
 * and what an account sends by that one is lost, an answer included.
 */
async function clusterReady(servers: readonly NatsServer[]): Promise<boolean> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const seen = await Promise.all(servers.map(metaCluster));
    const routes = await Promise.all(servers.map(routeCount));
    const leader = seen.find((one, index) => one?.leader !== undefined && one.leader === servers[index]?.name);
    const isKnown = seen.every((one) => one?.leader === leader?.leader && one?.cluster_size === servers.length);
    const others = leader?.replicas ?? [];
    const areHeard = others.length === servers.length - 1 && others.every((one) => one.current && one.offline !== true);
    const areLinked = routes.every((count) => count >= (servers.length - 1) * routesToEach);
    if (leader !== undefined && isKnown && areHeard && areLinked) return true;
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function metaCluster(server: NatsServer): Promise<MetaCluster | undefined> {
  return (await monitored<{ readonly meta_cluster?: MetaCluster }>(server, "jsz"))?.meta_cluster;
}

async function routeCount(server: NatsServer): Promise<number> {
  return (await monitored<{ readonly routes?: number }>(server, "varz"))?.routes ?? 0;
}

function monitored<Page>({ monitorPort }: NatsServer, page: string): Promise<Page | undefined> {
  return fetch(`http://127.0.0.1:${monitorPort}/${page}`).then(
    (response) => response.json() as Promise<Page>,
    () => undefined,
  );
}
