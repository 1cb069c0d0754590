/**
 * One process per folder. Whoever opens it listens on a socket of its own there, which the kernel takes away with the
 * process, however that ends; then it looks for others. Of two that come at once, the later one sees the earlier, and
 * both may refuse: never do both go on.
 */
import { randomUUID } from "node:crypto";
import { closeSync, constants, openSync, readdirSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join, resolve } from "node:path";
import { LogInUse } from "./errors.ts";

/** `owner-<process id>-<unique>.lock`. */
const ownerFile = /^owner-(\d+)-[0-9a-f]+\.lock$/;
/** The shortest limit of a socket's path, its closing zero byte included. */
const maxPathBytes = process.platform === "linux" ? 108 : 104;

export function isOwnerFile(name: string): boolean {
  return ownerFile.test(name);
}

/** Resolves with how to give it up. Rejects with LogInUse while another owner lives, also when it is stopped or busy. */
export async function ownFolder(directory: string): Promise<() => Promise<void>> {
  const name = `owner-${process.pid}-${randomUUID().slice(0, 8)}.lock`;
  const server = createServer((socket) => socket.destroy());
  await withSocketPath(directory, name, (path) => listen(server, path));
  server.unref();
  const giveUp = async () => {
    await new Promise<void>((done) => server.close(() => done()));
    rmSync(join(directory, name), { force: true });
  };
  try {
    for (const other of readdirSync(directory)) {
      if (other === name || !isOwnerFile(other)) continue;
      if (await isAlive(directory, other)) throw new LogInUse(directory, Number(ownerFile.exec(other)?.[1]));
      rmSync(join(directory, other), { force: true });
    }
  } catch (error) {
    await giveUp();
    throw error;
  }
  return giveUp;
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((done, reject) => {
    server.once("error", reject);
    server.listen(path, done);
  });
}

function isAlive(directory: string, name: string): Promise<boolean> {
  return withSocketPath(
    directory,
    name,
    (path) =>
      new Promise<boolean>((done, reject) => {
        const socket = connect(path);
        socket.once("connect", () => {
          socket.destroy();
          done(true);
        });
        socket.once("error", (error: NodeJS.ErrnoException) => {
          if (error.code === "ECONNREFUSED" || error.code === "ENOENT") done(false);
          // A full queue of connections is a sign of life.
          else if (error.code === "EAGAIN") done(true);
          else reject(error);
        });
      }),
  );
}

async function withSocketPath<T>(directory: string, name: string, use: (path: string) => Promise<T>): Promise<T> {
  if (process.platform === "win32") return use(`\\\\.\\pipe\\holdfast-${name}`);
  const path = join(resolve(directory), name);
  if (Buffer.byteLength(path) < maxPathBytes) return use(path);
  if (process.platform !== "linux")
    throw new Error(`the path ${directory} is too long for a socket of this system: choose a shorter one`);
  const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(`/proc/self/fd/${descriptor}/${name}`);
  } finally {
    closeSync(descriptor);
  }
}
