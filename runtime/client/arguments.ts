/** What a caller gives to a handle, of the wrong kind: told at once, saying what came. All throw InvalidRequestError. */
import { described, timeProblem } from "../argument.ts";
import { errorOf, InvalidRequestError } from "../errors.ts";
import { type KeysOf, refuseUnknown } from "../options.ts";

export function checkOptions<T>(call: string, options: T | undefined, keys: KeysOf<T>): void {
  refuseUnknown(`options of ${call}`, options, keys, InvalidRequestError);
}

export function checkTime(call: string, timeoutMs: unknown): void {
  const problem = timeProblem(timeoutMs);
  if (problem !== undefined) throw errorOf("InvalidRequest", `options of ${call}: timeoutMs ${problem}`);
}

/** A text would be true, whatever it says. */
export function checkFlag(call: string, name: string, flag: unknown): void {
  if (flag !== undefined && typeof flag !== "boolean")
    throw errorOf("InvalidRequest", `options of ${call}: ${name} is ${described(flag)}; it must be true or false`);
}

export function checkHandler(call: string, handler: unknown): void {
  if (typeof handler !== "function")
    throw errorOf("InvalidRequest", `${call}: it needs a function to call; it got ${described(handler)}`);
}

export function checkEvent(event: unknown): void {
  const type = (event as { type?: unknown } | null | undefined)?.type;
  if (typeof type !== "string" || type.length === 0 || type.length > 200 || isNoEvent(event)) {
    const got =
      typeof event === "string" ? `${described(event)}: write { type: ${described(event)} }` : described(event);
    throw errorOf(
      "InvalidRequest",
      `an event is an object whose \`type\` is a text of 1 to 200 characters; it got ${got}`,
    );
  }
}

/** What could be stored, but not with a type. */
function isNoEvent(event: unknown): boolean {
  return [Array, Map, Set, Date, Error].some((kind) => event instanceof kind);
}
