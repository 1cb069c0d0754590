/**
 * A redis-server of one's own, for tests and trials: found by REDIS_SERVER, on PATH or in `.cache/`, started on a free
 * loopback port with a folder of its own, and stopped again. Never touches a server that it did not start.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

export type RedisBinary = { readonly path: string; readonly version: string };

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

export type RedisServer = {
  readonly url: string;
  readonly port: number;
  readonly version: string;
  readonly isRunning: boolean;
  /** SIGKILL: as a power cut to the process. Resolves when it is gone. */
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
  /** On the same port with the same folder. */
  restart(): Promise<void>;
  /** Ends the process and removes the folder. */
  stop(): Promise<void>;
};

export const howToGetRedis =
  "no redis-server was found: set REDIS_SERVER, put one on PATH, or run scripts/get-redis-server.sh, which fills .cache/";

export function findRedisServer(environment: NodeJS.ProcessEnv = process.env): RedisBinary | undefined {
  const named = (environment.REDIS_SERVER ?? "").split(delimiter).filter((path) => path !== "");
  const onPath = (environment.PATH ?? "").split(delimiter).map((folder) => join(folder, "redis-server"));
  const cache = join(process.cwd(), ".cache", "redis-server");
  const cached = existsSync(cache) ? readdirSync(cache).map((version) => join(cache, version, "redis-server")) : [];
  for (const path of named.length > 0 ? named : [...onPath, ...cached.reverse()]) {
    const version = existsSync(path) ? versionOf(path) : undefined;
    if (version !== undefined) return { path, version };
  }
  return undefined;
}

function versionOf(path: string): string | undefined {
  try {
    return /v=(\d+\.\d+\.\d+)/.exec(execFileSync(path, ["--version"], { encoding: "utf8" }))?.[1];
  } catch {
    return undefined;
  }
}

export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const binary = options.binary ?? findRedisServer();
  if (binary === undefined) throw new Error(howToGetRedis);
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "holdfast-redis-"));
  const { appendFsync = "none" } = options;
  const settings = [
    ["--bind", "127.0.0.1", "--port", `${port}`, "--dir", folder, "--daemonize", "no", "--save", ""],
    ["--appendonly", appendFsync === "none" ? "no" : "yes"],
    appendFsync === "none" ? [] : ["--appendfsync", appendFsync === "always" ? "always" : "no"],
    options.replicaOf === undefined ? [] : ["--replicaof", "127.0.0.1", `${options.replicaOf}`],
    options.config ?? [],
  ].flat();
  let child: ChildProcess | undefined;
  const run = async () => {
    child = await ready(binary.path, settings);
  };
  const gone = () =>
    new Promise<void>((resolve) => {
      const dying = child;
      child = undefined;
      if (dying === undefined || dying.exitCode !== null || dying.signalCode !== null) return resolve();
      dying.once("exit", () => resolve());
      dying.kill("SIGKILL");
    });
  try {
    await run();
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  folders.add(folder);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    version: binary.version,
    get isRunning() {
      return child !== undefined;
    },
    kill: gone,
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    restart: async () => {
      await gone();
      await run();
    },
    stop: async () => {
      await gone();
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
    },
  };
}

const folders = new Set<string>();
const children = new Set<ChildProcess>();

process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Resolves when the server says that it is ready; rejects with what it said when it ends before. */
function ready(path: string, settings: readonly string[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, settings, { stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    let said = "";
    const hear = (chunk: Buffer) => {
      if (said.length < 100_000) said += chunk.toString();
      if (/[Rr]eady to accept connections/.test(said)) resolve(child);
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      children.delete(child);
      reject(new Error(`redis-server ended with ${code ?? signal}:\n${said.slice(-2_000)}`));
    });
  });
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
