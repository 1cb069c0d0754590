/** How long a session is good, on either side of it: pure arithmetic on monotonic milliseconds. */
import { type KeysOf, unknownOptions } from "../../runtime/options.ts";
import type { SessionAttributes, SessionOptions } from "../ports/lease-service.ts";

/** How far the rates of two clocks may differ for C4 to hold. Real ones differ by a thousandth of this. */
const rateMargin = 0.05;

const shortestTtlMs = 500;
const longestTtlMs = 3_600_000;

/** What is wrong with a time to live; undefined: nothing. */
export function ttlProblem(ttlMs: number): string | undefined {
  if (Number.isFinite(ttlMs) && ttlMs >= shortestTtlMs && ttlMs <= longestTtlMs) return undefined;
  return `the time to live of a lease is ${ttlMs} ms; it must be from ${shortestTtlMs} ms to ${longestTtlMs} ms (an hour)`;
}

const sessionOptions: KeysOf<SessionOptions> = { node: true, ttlMs: true, attributes: true };
const sessionAttributes: KeysOf<SessionAttributes> = {
  draining: true,
  problem: true,
  weight: true,
  zone: true,
};

/** What is wrong with a session that somebody wants to open; undefined: nothing. */
export function sessionProblem(options: SessionOptions): string | undefined {
  const unknown = [
    ...unknownOptions(options, sessionOptions),
    ...unknownOptions(options?.attributes, sessionAttributes, "attributes."),
  ];
  if (unknown.length > 0) return `options of a session: ${unknown.join("; ")}`;
  const { node, ttlMs } = options;
  if (typeof node !== "string" || node.length === 0 || node.length > 200)
    return "`node` must be a text of 1 to 200 characters";
  return ttlProblem(ttlMs);
}

/** The holder's side: counted from before the renewal was sent. */
export function validUntilMs(sentMs: number, ttlMs: number): number {
  return sentMs + ttlMs * (1 - rateMargin);
}

/** Everybody else's: counted from when the renewal was seen, which is later than it was sent. */
export function expiresMs(seenMs: number, ttlMs: number): number {
  return seenMs + ttlMs * (1 + rateMargin);
}

/** Three chances to renew before the time is over. */
export function renewEveryMs(ttlMs: number): number {
  return ttlMs / 3;
}

/** What a process may say of its own capacity, or why not. */
export function weightProblem(weight: unknown): string | undefined {
  if (Number.isSafeInteger(weight) && (weight as number) >= 1 && (weight as number) <= 1_000) return undefined;
  return `it is ${String(weight)}; it must be a whole number from 1 to 1000`;
}

/** How long one request may take: so that one without an answer leaves time for others before the session is over. */
export function leaseRequestTimeoutMs(ttlMs: number): number {
  return Math.round(Math.min(2_000, Math.max(200, ttlMs / 4)));
}
