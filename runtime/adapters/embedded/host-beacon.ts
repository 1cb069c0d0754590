/**
 * Shows that a host is alive: a socket of its own that exists in the directory as long as the process does, and that the
 * kernel takes away with it, however it ends. Each opening has a new name, so a dead beacon never comes to life again:
 * neither a reused process id nor a slow starter can be mistaken for the host that the store names.
 */
import { closeSync, constants, openSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { hashText } from "../../hash.ts";

/** The shortest limit of a socket's path among the systems we know, its closing zero byte included (macOS). */
const MAX_SOCKET_PATH_BYTES = 104;

export class HostBeacon {
  readonly id: string;
  readonly #directory: string;
  readonly #server: Server;

  private constructor(directory: string, id: string, server: Server) {
    this.#directory = directory;
    this.id = id;
    this.#server = server;
  }

  static async light(directory: string, id: string): Promise<HostBeacon> {
    const server = createServer((socket) => socket.destroy());
    await withSocketPath(
      directory,
      id,
      (path) =>
        new Promise<void>((resolve, reject) => {
          server.once("error", reject);
          server.listen(path, resolve);
        }),
    );
    // Left referenced on purpose: a process that hosts actors lives until it closes the store, also when all of them are idle.
    return new HostBeacon(directory, id, server);
  }

  async extinguish(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    removeBeacon(this.#directory, this.id);
  }
}

/** Whether the process that lit this beacon still runs, also when it is stopped or busy. */
export async function isLit(directory: string, id: string): Promise<boolean> {
  return withSocketPath(
    directory,
    id,
    (path) =>
      new Promise<boolean>((resolve, reject) => {
        const socket = connect(path);
        socket.once("connect", () => {
          socket.destroy();
          resolve(true);
        });
        socket.once("error", (error: NodeJS.ErrnoException) => {
          if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
          // A full queue of connections is a sign of life.
          else if (error.code === "EAGAIN") resolve(true);
          else reject(error);
        });
      }),
  );
}

/** Takes away what a killed process left behind. */
export function removeBeacon(directory: string, id: string): void {
  if (process.platform !== "win32") rmSync(join(directory, fileOf(id)), { force: true });
}

function fileOf(id: string): string {
  return `host-${id}.lock`;
}

async function withSocketPath<T>(directory: string, id: string, use: (path: string) => Promise<T>): Promise<T> {
  if (process.platform === "win32") return use(`\\\\.\\pipe\\holdfast-${hashText(directory)}-${id}`);
  const path = join(directory, fileOf(id));
  if (Buffer.byteLength(path) < MAX_SOCKET_PATH_BYTES) return use(path);
  if (process.platform !== "linux")
    throw new Error(`the path ${directory} is too long for a socket of this system: choose a shorter one`);
  const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(`/proc/self/fd/${descriptor}/${fileOf(id)}`);
  } finally {
    closeSync(descriptor);
  }
}
