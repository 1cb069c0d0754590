/**
 * A redis-server of one's own, for tests and trials: found by REDIS_SERVER, on PATH or in `.cache/`, started on a free
 * loopback port with a folder of its own, and stopped again. Never touches a server that it did not start.
 */
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

export type RedisBinary = ServerBinary;

export type RedisServerOptions = {
  /** Default: REDIS_SERVER, else the one on PATH, else the newest of `.cache/`. */
  readonly binary?: RedisBinary;
  /**
   * What a write survives: "none" nothing, "never" what the system has flushed, "always" each one. Default: "none".
   */
  readonly appendFsync?: "none" | "never" | "always";
  /** Copies the server on this port. */
  readonly replicaOf?: number;
  /** More of the server's configuration: `["--maxmemory", "5mb"]`. */
  readonly config?: readonly string[];
};

const serverOptions: KeysOf<RedisServerOptions> = { binary: true, appendFsync: true, replicaOf: true, config: true };

export type RedisServer = ServerProcess & {
  readonly url: string;
  readonly port: number;
  readonly version: string;
};

export const howToGetRedis =
  "no redis-server was found: set REDIS_SERVER, put one on PATH, or run scripts/get-redis-server.sh, which fills .cache/";

export function findRedisServer(environment: NodeJS.ProcessEnv = process.env): RedisBinary | undefined {
  const { named, onPath, cached } = placesOf("redis-server", "REDIS_SERVER", environment);
  for (const path of named.length > 0 ? named : [...onPath, ...cached.reverse()]) {
    const binary = binaryAt(path, /v=(\d+\.\d+\.\d+)/);
    if (binary !== undefined) return binary;
  }
  return undefined;
}

export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  refuseUnknown("options of startRedisServer", options, serverOptions, TypeError);
  const binary = options.binary ?? findRedisServer();
  if (binary === undefined) throw new Error(howToGetRedis);
  return onFreePorts(1, ([port = 0]) => launch(binary, port, options));
}

async function launch(binary: RedisBinary, port: number, options: RedisServerOptions): Promise<RedisServer> {
  const folder = serverFolder("holdfast-redis-");
  const { appendFsync = "none" } = options;
  const settings = [
    ["--bind", "127.0.0.1", "--port", `${port}`, "--dir", folder, "--daemonize", "no", "--save", ""],
    ["--appendonly", appendFsync === "none" ? "no" : "yes"],
    appendFsync === "none" ? [] : ["--appendfsync", appendFsync === "always" ? "always" : "no"],
    options.replicaOf === undefined ? [] : ["--replicaof", "127.0.0.1", `${options.replicaOf}`],
    options.config ?? [],
  ].flat();
  const own = await startServerProcess({
    name: "redis-server",
    path: binary.path,
    folder,
    parameters: settings,
    ready: /[Rr]eady to accept connections/,
  });
  return Object.assign(own, { url: `redis://127.0.0.1:${port}`, port, version: binary.version });
}
