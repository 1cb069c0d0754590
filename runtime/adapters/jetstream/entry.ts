/** Entries of a bucket as messages of its stream: subjects, headers, and what each kind of message means. */
import { Buffer } from "node:buffer";
import type { EntryHeader, Revision, StoreChange, StoredEntry } from "../../ports/store.ts";
import type { StoredMessage } from "./api.ts";

export const headerNames = {
  commit: "Holdfast-Commit",
  hash: "Holdfast-Hash",
  token: "Holdfast-Token",
  trace: "traceparent",
  expect: "Nats-Expected-Last-Subject-Sequence",
  operation: "KV-Operation",
  rollup: "Nats-Rollup",
  ttl: "Nats-TTL",
} as const;

export function subjectOf(bucket: string, key: string): string {
  return `$KV.${bucket}.${key}`;
}

/** A message of the stream, wherever it came from. */
export type RawMessage = {
  readonly key: string;
  readonly revision: Revision;
  /** The first of that name. */
  readonly header: (name: string) => string | undefined;
  readonly value: () => string;
};

/**
 * What a message says of its key. A runtime's own purge leaves nothing; a person's `del` or `purge` is a write without
 * our header, of an empty value, so that whoever runs the actor notices it like any other foreign write.
 */
export function changeOf(message: RawMessage): StoreChange {
  const { key, revision } = message;
  const commit = message.header(headerNames.commit);
  const operation = message.header(headerNames.operation);
  if (operation !== undefined && operation !== "PUT") {
    if (commit !== undefined) return { kind: "purge", key, revision };
    return { kind: "put", entry: { key, value: "", revision, header: undefined } };
  }
  return { kind: "put", entry: { key, value: message.value(), revision, header: headerOf(message.header) } };
}

/** Undefined: the key has no value. */
export function entryOf(message: RawMessage): StoredEntry | undefined {
  const change = changeOf(message);
  return change.kind === "put" ? change.entry : undefined;
}

function headerOf(header: RawMessage["header"]): EntryHeader | undefined {
  const commit = header(headerNames.commit);
  const hash = header(headerNames.hash);
  if (commit === undefined || hash === undefined) return undefined;
  const trace = header(headerNames.trace);
  return { commit: decodeText(commit), hash, ...(trace !== undefined && { trace }) };
}

/** Commit ids are plain in practice; what a header line cannot hold is written as JSON, in ASCII. */
export function encodeText(text: string): string {
  return /^[\x21-\x7e]+$/.test(text) && !text.startsWith('"') ? text : asciiJson(text);
}

function decodeText(text: string): string {
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

function asciiJson(text: string): string {
  return JSON.stringify(text).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A message as the API gives it, in base64. */
export function rawOf(bucket: string, message: StoredMessage): RawMessage {
  let headers: Map<string, string> | undefined;
  return {
    key: message.subject.slice(`$KV.${bucket}.`.length),
    revision: message.seq,
    header: (name) => {
      headers ??= parseHeaders(message.hdrs);
      return headers.get(name);
    },
    value: () => (message.data === undefined ? "" : Buffer.from(message.data, "base64").toString("utf8")),
  };
}

/** The first value of each name, as the server wrote it. */
function parseHeaders(base64: string | undefined): Map<string, string> {
  const headers = new Map<string, string>();
  if (base64 === undefined) return headers;
  for (const line of Buffer.from(base64, "base64").toString("utf8").split("\r\n").slice(1)) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    if (colon > 0 && !headers.has(name)) headers.set(name, line.slice(colon + 1).trim());
  }
  return headers;
}
