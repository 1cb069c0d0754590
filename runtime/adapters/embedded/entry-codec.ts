/**
 * How entries lie in LMDB. A key has as many slots as its history is deep, and each write goes into the slot of its oldest
 * revision: one put, no delete, no index. Slots come first in a record's key, so that what is written together lies
 * together. A record says its own revision.
 */
import type { EntryHeader, Revision, StoredEntry } from "../../ports/store.ts";

/** What LMDB takes with pages of 4 KiB is 1,978 bytes; a UTF-16 unit takes at most three. */
export const MAX_KEY_LENGTH = 650;

/** A record's key with room for the slot in front; see `inSlot`. */
export type RecordKey = Buffer;

/** Sets the slot, in place: LMDB's functions copy the key before they return. */
export function inSlot(recordKey: RecordKey, slot: number): Buffer {
  recordKey[0] = slot;
  return recordKey;
}

/** In slot 0. Sorts as the text does by UTF-16 code units: each becomes one to three bytes, 0 becomes (0, 1). */
export function recordKeyOf(key: string): RecordKey {
  const bytes = Buffer.allocUnsafe(1 + key.length * 3);
  bytes[0] = 0;
  let end = 1;
  for (let index = 0; index < key.length; index++) {
    const unit = key.charCodeAt(index);
    if (unit > 0 && unit < 0x80) {
      bytes[end++] = unit;
    } else if (unit === 0) {
      bytes[end++] = 0;
      bytes[end++] = 1;
    } else if (unit < 0x800) {
      bytes[end++] = 0xc0 | (unit >> 6);
      bytes[end++] = 0x80 | (unit & 0x3f);
    } else {
      bytes[end++] = 0xe0 | (unit >> 12);
      bytes[end++] = 0x80 | ((unit >> 6) & 0x3f);
      bytes[end++] = 0x80 | (unit & 0x3f);
    }
  }
  return bytes.subarray(0, end);
}

export function keyOfRecord(bytes: Uint8Array): string {
  let key = "";
  for (let at = 1; at < bytes.length; ) {
    const byte = bytes[at]!;
    if (byte === 0) {
      key += "\0";
      at += 2;
    } else if (byte < 0x80) {
      key += String.fromCharCode(byte);
      at += 1;
    } else if (byte < 0xe0) {
      key += String.fromCharCode(((byte & 0x1f) << 6) | (bytes[at + 1]! & 0x3f));
      at += 2;
    } else {
      key += String.fromCharCode(((byte & 0x0f) << 12) | ((bytes[at + 1]! & 0x3f) << 6) | (bytes[at + 2]! & 0x3f));
      at += 3;
    }
  }
  return key;
}

/** The first place in slot 0 after a key: below every longer key, since no key goes on with a single 0. */
export function afterKey(key: string): Buffer {
  return Buffer.concat([recordKeyOf(key), Buffer.of(0)]);
}

/** The first place in slot 0 after all keys with this prefix, since no key has the byte 255. */
export function afterPrefix(prefix: string): Buffer {
  return Buffer.concat([recordKeyOf(prefix), Buffer.of(0xff)]);
}

/** A line with the revision and the header, then the document: `strings` shows what is there. */
export function encodeRecord(value: string, revision: Revision, { commit, hash, trace }: EntryHeader): Buffer {
  const line = trace === undefined ? [revision, commit, hash] : [revision, commit, hash, trace];
  // JSON has no line break of its own, so the first one ends the line.
  return Buffer.from(`${JSON.stringify(line)}\n${value}`);
}

/** Throws when the bytes are not a record. */
export function decodeRecord(key: string, record: Buffer): StoredEntry {
  const end = record.indexOf(0x0a);
  const line: unknown = JSON.parse(record.toString("utf8", 0, end));
  const [revision, commit, hash, trace] = Array.isArray(line) ? (line as readonly unknown[]) : [];
  if (typeof revision !== "number" || typeof commit !== "string" || typeof hash !== "string")
    throw new TypeError("the first line is not a revision and a header");
  const header = typeof trace === "string" ? { commit, hash, trace } : { commit, hash };
  return { key, value: record.toString("utf8", end + 1), revision, header };
}

/** Only the revision, without making a text of the document. */
export function revisionOfRecord(record: Buffer): Revision {
  const revision = Number.parseInt(record.toString("latin1", 1, 20), 10);
  if (record[0] !== 0x5b || !Number.isSafeInteger(revision)) throw new TypeError("it does not begin with a revision");
  return revision;
}
