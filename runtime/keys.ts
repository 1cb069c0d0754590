/**
 * Keys of the store: `<type>.<id>` for documents, `_<kind>.<type>.<id>` for what is the runtime's own. A key is a
 * valid NATS KV key whatever the id: other characters are escaped as `=XX` per UTF-8 byte, as in quoted-printable.
 */

import { described } from "./argument.ts";
import { InvalidKeyError } from "./errors.ts";

export const maxKeyBytes = 200;

export type ActorName = { readonly type: string; readonly id: string };

export function actorKey(type: string, id: string): string {
  checkType(type);
  if (typeof id !== "string" || id.length === 0)
    throw new InvalidKeyError(
      `an id of the type "${type}" must be a text of at least one character; it is ${described(id)}`,
    );
  // Longer than this it cannot fit, escaped or not: refused before any work is done on it.
  if (id.length > maxKeyBytes) throw tooLong(type, id, id.length + type.length + 1);
  const key = `${type}.${escapeId(id)}`;
  if (key.length > maxKeyBytes) throw tooLong(type, id, key.length);
  return key;
}

export function parseActorKey(key: string): ActorName | undefined {
  const dot = key.indexOf(".");
  if (dot <= 0 || key.startsWith("_")) return undefined;
  const id = unescapeId(key.slice(dot + 1));
  return id === undefined ? undefined : { type: key.slice(0, dot), id };
}

export const pendingPrefix = "_pending.";
export const parkedPrefix = "_parked.";

export function pendingKey(actor: string): string {
  return pendingPrefix + actor;
}

export function parkedKey(actor: string): string {
  return parkedPrefix + actor;
}

/** Keys that a store holds for the runtime itself. */
export function isOwnKey(key: string): boolean {
  return key.startsWith("_");
}

export function checkType(type: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(type)) {
    throw new InvalidKeyError(
      `actor type ${JSON.stringify(String(type).slice(0, 80))} is not usable: 1 to 64 letters, digits, "-" and "_", beginning with a letter or digit`,
    );
  }
}

const plain = /^[A-Za-z0-9_/-]+(\.[A-Za-z0-9_/-]+)*$/;

function escapeId(id: string): string {
  if (plain.test(id)) return id;
  let escaped = "";
  for (let index = 0; index < id.length; ) {
    const point = id.codePointAt(index) as number;
    const text = String.fromCodePoint(point);
    // A dot separates tokens of a NATS subject, so none may be empty: a dot at an end or after a dot is escaped.
    const bareDot = text === "." && index > 0 && index < id.length - 1 && id[index - 1] !== ".";
    escaped += bareDot || /^[A-Za-z0-9_/-]$/.test(text) ? text : escapeBytes(text, id);
    index += text.length;
  }
  return escaped;
}

function escapeBytes(text: string, id: string): string {
  if (/^[\ud800-\udfff]$/.test(text)) {
    throw new InvalidKeyError(
      `the id ${JSON.stringify(id.slice(0, 80))} holds half of a surrogate pair, which is no text`,
    );
  }
  let escaped = "";
  for (const byte of new TextEncoder().encode(text)) escaped += `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return escaped;
}

function unescapeId(text: string): string | undefined {
  if (!text.includes("=")) return text;
  const bytes: number[] = [];
  for (let index = 0; index < text.length; index++) {
    if (text[index] !== "=") {
      bytes.push(text.charCodeAt(index));
      continue;
    }
    const digits = text.slice(index + 1, index + 3);
    if (!/^[0-9A-F]{2}$/.test(digits)) return undefined;
    bytes.push(Number.parseInt(digits, 16));
    index += 2;
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

function tooLong(type: string, id: string, bytes: number): InvalidKeyError {
  return new InvalidKeyError(
    `the id of ${type} ${JSON.stringify(id.slice(0, 40))}… makes a key of ${bytes} bytes or more; at most ${maxKeyBytes} are allowed: use a shorter id (a hash, say) and keep the long one in the context`,
  );
}
