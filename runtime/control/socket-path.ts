/**
 * Where a host's control socket is: `holdfast.sock` in the directory of its store. A socket's path has little room (104
 * bytes on macOS, 108 on Linux), so a long directory is reached by a shorter name of the same place.
 */
import { closeSync, constants, openSync } from "node:fs";
import { join, relative, resolve } from "node:path";

export const socketName = "holdfast.sock";

/** The closing zero byte included. */
const maxPathBytes = process.platform === "linux" ? 108 : 104;

/** Calls `use` with a path of `name` in the directory that a socket can have. Throws when there is none. */
export async function withSocketPath<T>(
  directory: string,
  name: string,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const absolute = join(resolve(directory), name);
  // A path within the working directory: "./" keeps it a path even if it has no slash.
  const paths = [absolute, `./${relative(process.cwd(), absolute)}`];
  const short = paths.find((path) => Buffer.byteLength(path) < maxPathBytes);
  if (short !== undefined) return use(short);
  if (process.platform !== "linux") {
    throw new Error(
      `the path ${absolute} is too long for a socket of this system (${maxPathBytes - 1} bytes): move the store to a shorter one, or start host and command line in a directory near it`,
    );
  }
  const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await use(`/proc/self/fd/${descriptor}/${name}`);
  } finally {
    closeSync(descriptor);
  }
}
