import { hostname } from "node:os";

/** How a process is called that was given no name. */
export function defaultNodeName(): string {
  return `${hostname().replaceAll(/[^A-Za-z0-9_-]/g, "-")}-${process.pid}`;
}
