/**
 * How entries lie in LMDB. The log has one record per revision, in order, so that a batch is appended to a few pages; the
 * index has one small record per key, with the revisions that are kept of it.
 */
import type { EntryHeader, Revision, StoredEntry } from "../../ports/store.ts";

/** What LMDB takes with pages of 4 KiB is 1,978 bytes; a UTF-16 unit takes at most three. */
export const MAX_KEY_LENGTH = 650;

/** Bytes that sort as the text does by UTF-16 code units: each unit becomes one to three bytes, 0 becomes (0, 1). */
export function encodeKey(key: string): Buffer {
  const bytes = Buffer.allocUnsafe(key.length * 3);
  let end = 0;
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

export function decodeKey(bytes: Uint8Array): string {
  let key = "";
  for (let at = 0; at < bytes.length; ) {
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

/** The first place after a key: below every longer key, since no encoded key goes on with a single 0. */
export function afterKey(key: string): Buffer {
  return Buffer.concat([encodeKey(key), Buffer.of(0)]);
}

/** The first place after all keys with this prefix, since no encoded key has the byte 255. */
export function afterPrefix(prefix: string): Buffer {
  return Buffer.concat([encodeKey(prefix), Buffer.of(0xff)]);
}

const REVISION_BYTES = 6;

/** Newest first. */
export function encodeRevisions(revisions: readonly Revision[]): Buffer {
  const bytes = Buffer.allocUnsafe(revisions.length * REVISION_BYTES);
  for (let index = 0; index < revisions.length; index++)
    bytes.writeUIntBE(revisions[index]!, index * REVISION_BYTES, REVISION_BYTES);
  return bytes;
}

export function decodeRevisions(bytes: Buffer): Revision[] {
  const revisions: Revision[] = [];
  for (let at = 0; at < bytes.length; at += REVISION_BYTES) revisions.push(bytes.readUIntBE(at, REVISION_BYTES));
  return revisions;
}

/** A line with the header, then the document: `strings` shows what is there. */
export function encodeRecord(value: string, { commit, hash, trace }: EntryHeader): Buffer {
  // JSON has no line break of its own, so the first one ends the header.
  return Buffer.from(`${JSON.stringify(trace === undefined ? [commit, hash] : [commit, hash, trace])}\n${value}`);
}

export function decodeRecord(key: string, revision: Revision, record: Buffer): StoredEntry {
  const end = record.indexOf(0x0a);
  const header: unknown = JSON.parse(record.toString("utf8", 0, end));
  return { key, value: record.toString("utf8", end + 1), revision, header: asHeader(header) };
}

function asHeader(fields: unknown): EntryHeader | undefined {
  if (!Array.isArray(fields)) return undefined;
  const [commit, hash, trace] = fields as readonly unknown[];
  if (typeof commit !== "string" || typeof hash !== "string") return undefined;
  return typeof trace === "string" ? { commit, hash, trace } : { commit, hash };
}
