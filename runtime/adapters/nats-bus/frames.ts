/** What requests, answers and published events look like on the wire beside their bodies: headers and statuses. */
import { Buffer } from "node:buffer";
import type { Msg } from "@nats-io/transport-node";
import { EncodedHeaders } from "../nats/requests.ts";
import type { Encodable } from "./link.ts";

const encoder = new TextEncoder();

export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

export function sizeOf(text: string): number {
  return Buffer.byteLength(text, "utf8");
}

/** The answer of an owner that did nothing, as `host/wire.ts` has it. */
export function refused(code: "Overloaded" | "TooLarge" | "InvalidRequest", message: string): string {
  return JSON.stringify({ kind: "refused", code, message });
}

/** An answer without a body: nobody serves here, so nothing was done. As the server itself says it. */
export const nobodyStatus: Encodable = status(503);
/** An answer without a body: whoever handled it failed to answer, so it may have been done. */
export const failedStatus: Encodable = status(500);

export function isFailed(message: Msg): boolean {
  return message.data.length === 0 && message.headers?.code === 500;
}

function status(code: number): Encodable {
  const bytes = encoder.encode(`NATS/1.0 ${code}\r\n\r\n`);
  return { encode: () => bytes };
}

/** Headers of a request, undefined for none. What is no W3C traceparent is left out: it could end the headers. */
export function requestHeaders(trace: string | undefined): EncodedHeaders | undefined {
  return trace !== undefined && isTrace(trace) ? new EncodedHeaders([["traceparent", trace]]) : undefined;
}

export function emittedHeaders(id: string, trace: string | undefined): EncodedHeaders {
  const fields: (readonly [string, string])[] = [["Nats-Msg-Id", escapeId(id)]];
  if (trace !== undefined && isTrace(trace)) fields.push(["traceparent", trace]);
  return new EncodedHeaders(fields);
}

export function traceIn(message: Msg): string | undefined {
  const trace = message.headers?.get("traceparent");
  return trace !== undefined && isTrace(trace) ? trace : undefined;
}

export function idIn(message: Msg): string | undefined {
  const text = message.headers?.get("Nats-Msg-Id");
  if (text === undefined || text === "") return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not escaped here
  }
}

function isTrace(text: string): boolean {
  return /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(text);
}

/** An id holds an actor's id, in which any character may stand: what is no visible ASCII is escaped as in URLs. */
function escapeId(id: string): string {
  return id.replace(/[^\x21-\x24\x26-\x7e]+/gu, (part) =>
    encodeURIComponent(part.replace(/\p{Surrogate}/gu, "\ufffd")),
  );
}
