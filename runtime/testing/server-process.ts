/**
 * A server of one's own as a child process with a folder of its own: found, started, killed, and removed again, also
 * when this process exits. What it is started with, and how it says that it is ready, is its caller's business.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

export type ServerBinary = { readonly path: string; readonly version: string };

export type ServerProcess = {
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

/** Where a server may lie: `named` by its variable (like PATH), which wins, on PATH, and in `.cache/`, by version. */
export function placesOf(
  name: string,
  variable: string,
  environment: NodeJS.ProcessEnv,
): { readonly named: string[]; readonly onPath: string[]; readonly cached: string[] } {
  const cache = join(process.cwd(), ".cache", name);
  return {
    named: (environment[variable] ?? "").split(delimiter).filter((path) => path !== ""),
    onPath: (environment.PATH ?? "").split(delimiter).map((folder) => join(folder, name)),
    cached: existsSync(cache) ? readdirSync(cache).map((version) => join(cache, version, name)) : [],
  };
}

/** What `--version` says; undefined: there is none that runs. */
export function binaryAt(path: string, pattern: RegExp): ServerBinary | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const version = pattern.exec(execFileSync(path, ["--version"], { encoding: "utf8" }))?.[1];
    return version === undefined ? undefined : { path, version };
  } catch {
    return undefined;
  }
}

export type StartOptions = {
  readonly name: string;
  readonly path: string;
  /** Of `serverFolder`; removed with the server, and when it does not start. */
  readonly folder: string;
  readonly parameters: readonly string[];
  /** What the server says when it is ready. */
  readonly ready: RegExp;
};

export function serverFolder(prefix: string): string {
  return mkdtempSync(join(tmpdir(), prefix));
}

export async function startServerProcess(options: StartOptions): Promise<ServerProcess> {
  const { folder } = options;
  let child: ChildProcess | undefined;
  const run = async () => {
    child = await started(options);
  };
  const kill = () =>
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
    get isRunning() {
      return child !== undefined;
    },
    kill,
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    restart: async () => {
      await kill();
      await run();
    },
    stop: async () => {
      await kill();
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
function started({ name, path, parameters, ready }: StartOptions): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, parameters, { stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    let said = "";
    const hear = (chunk: Buffer) => {
      said += chunk.toString();
      if (!ready.test(said)) return;
      // Read on, so that it may go on writing, and listen no more.
      for (const stream of streams) stream.off("data", hear).resume();
      resolve(child);
    };
    const streams = [child.stdout, child.stderr];
    for (const stream of streams) stream.on("data", hear);
    child.once("error", reject);
    child.once("exit", () => children.delete(child));
    // Not `exit`: by then what it said last may not have been read.
    child.once("close", (code, signal) => {
      reject(new Error(`${name} ended with ${code ?? signal}:\n${said.slice(-2_000)}`));
    });
  });
}

/** Below what Linux, macOS and Windows give to outgoing connections: those take none of these in the meantime. */
const portRange = { first: 15_000, last: 31_999 };

/** Loopback ports that were free a moment ago, all different. Somebody else may take one all the same. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries++) {
    if (tries === 1_000) throw new Error(`no ${count} free ports between ${portRange.first} and ${portRange.last}`);
    const port = portRange.first + Math.floor(Math.random() * (portRange.last - portRange.first + 1));
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Starts what needs ports; with others, when one of them was taken in the meantime. */
export async function onFreePorts<Started>(
  count: number,
  start: (ports: readonly number[]) => Promise<Started>,
): Promise<Started> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      if (attempt === 5 || !/address already in use/i.test(String(error))) throw error;
    }
  }
}
