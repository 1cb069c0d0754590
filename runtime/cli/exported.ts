/** A value that a module exports, named on the command line. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ControlError } from "../control/errors.ts";

/** What `file#export` names; without #export it is the default export, or the only one. */
export async function exportedFrom(given: string): Promise<unknown> {
  const hash = given.lastIndexOf("#");
  const [file, wanted] = hash < 0 ? [given, undefined] : [given.slice(0, hash), given.slice(hash + 1)];
  const exported = await loadModule(file);
  const names = Object.keys(exported);
  const name = wanted ?? (names.includes("default") || names.length !== 1 ? "default" : (names[0] as string));
  const value = Object.hasOwn(exported, name) ? exported[name] : undefined;
  if (value === undefined)
    throw new ControlError("NoMachine", `${file} does not export ${name}; it exports ${names.join(", ") || "nothing"}`);
  return value;
}

/** Rejects with ControlError. */
async function loadModule(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(resolve(file)).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new ControlError("NoMachine", `${file} cannot be loaded: ${whyNotLoaded(cause)}`, { cause });
  }
}

/** What stopped an import, and what helps where this Node reads no TypeScript. */
export function whyNotLoaded(cause: unknown): string {
  const { code, message = String(cause) } = (cause ?? {}) as { readonly code?: unknown; readonly message?: string };
  if (code !== "ERR_UNKNOWN_FILE_EXTENSION" || !/"\.[cm]?tsx?"/.test(message)) return message;
  return `${message}\nThis Node reads no TypeScript: run it with NODE_OPTIONS="--import tsx" (npm install tsx), or with Node 22.18 or later, or with Deno`;
}
