/** A value that a module exports, named on the command line. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ControlError } from "../control/errors.ts";

/** What `file#export` names; without #export it is the default export, or the only one. */
export async function exportedFrom(given: string): Promise<unknown> {
  const hash = given.lastIndexOf("#");
  const [file, wanted] = hash < 0 ? [given, undefined] : [given.slice(0, hash), given.slice(hash + 1)];
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = (await import(pathToFileURL(resolve(file)).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new ControlError("NoMachine", `${file} cannot be loaded: ${(cause as Error).message}`, { cause });
  }
  const names = Object.keys(exported);
  const name = wanted ?? (names.includes("default") || names.length !== 1 ? "default" : (names[0] as string));
  const value = Object.hasOwn(exported, name) ? exported[name] : undefined;
  if (value === undefined)
    throw new ControlError("NoMachine", `${file} does not export ${name}; it exports ${names.join(", ") || "nothing"}`);
  return value;
}
