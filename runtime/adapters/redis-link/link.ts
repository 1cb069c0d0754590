/**
 * The one way to a Redis server: a command out, and one of four things back. Whatever speaks to Redis here speaks through
 * such a link, so that it runs unchanged on a real server and on the model of the simulator. Scripts are sent by their
 * digest, and by their text to a server that does not know them (yet, or since its restart).
 */
import { createHash } from "node:crypto";

export type RedisReply = string | number | null | readonly RedisReply[];

export type RedisOutcome =
  | { readonly kind: "reply"; readonly value: RedisReply }
  /** The server said no. `code` is the first word of what it said, such as `WRONGTYPE`. */
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  /** No answer: it may be done now, later, or never. */
  | { readonly kind: "unknown"; readonly cause: string }
  /** It never left this process: surely not done. */
  | { readonly kind: "unsent"; readonly cause: string };

export interface RedisLink {
  /** Where it leads, for people to read. */
  readonly name: string;
  /** Never rejects, and never repeats anything by itself. */
  send(command: readonly string[], timeoutMs: number): Promise<RedisOutcome>;
}

/** A script is one step: nobody sees the half of it, and a server that dies in the middle has done all of it or nothing. */
export type RedisScript = { readonly text: string; readonly digest: string };

export function redisScript(text: string): RedisScript {
  return { text, digest: digestOf(text) };
}

/** As `SCRIPT LOAD` gives it. */
export function digestOf(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

export async function runScript(
  link: RedisLink,
  script: RedisScript,
  keys: readonly string[],
  values: readonly string[],
  timeoutMs: number,
): Promise<RedisOutcome> {
  const rest = [String(keys.length), ...keys, ...values];
  const outcome = await link.send(["EVALSHA", script.digest, ...rest], timeoutMs);
  if (outcome.kind !== "refused" || outcome.code !== "NOSCRIPT") return outcome;
  return link.send(["EVAL", script.text, ...rest], timeoutMs);
}
