/**
 * How entries lie in LMDB: one record per revision, so that a write is one put. The key is the actor's key and the
 * revision counted down, so that the latest comes first; the value is a line with the header, then the document.
 */
import type { EntryHeader, Revision, StoredEntry } from "../../ports/store.ts";

/** The end of a key within a record's key: below everything that a longer key could have there. */
const END = [0, 0] as const;
const REVISION_BYTES = 8;
/** What LMDB takes with pages of 4 KiB. */
export const MAX_RECORD_KEY_BYTES = 1_978;

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

/** The key's part of a record's key; all revisions of the key begin with it, and no other key's do. */
export function recordPrefix(key: string): Buffer {
  return Buffer.concat([encodeKey(key), Buffer.from(END)]);
}

/** Above every revision of the key, below the next key. */
export function afterRecords(prefix: Uint8Array): Buffer {
  return Buffer.concat([prefix, Buffer.alloc(REVISION_BYTES, 0xff)]);
}

/** Writes the record's key into `target` from its beginning. Returns the used part. */
export function recordKeyInto(target: Buffer, prefix: Uint8Array, revision: Revision): Buffer {
  target.set(prefix);
  const countdown = Number.MAX_SAFE_INTEGER - revision;
  target.writeUInt32BE(Math.floor(countdown / 0x1_0000_0000), prefix.length);
  target.writeUInt32BE(countdown % 0x1_0000_0000, prefix.length + 4);
  return target.subarray(0, prefix.length + REVISION_BYTES);
}

export function revisionOfRecord(recordKey: Buffer): Revision {
  const at = recordKey.length - REVISION_BYTES;
  return Number.MAX_SAFE_INTEGER - (recordKey.readUInt32BE(at) * 0x1_0000_0000 + recordKey.readUInt32BE(at + 4));
}

export function keyOfRecord(recordKey: Buffer): string {
  const end = recordKey.length - REVISION_BYTES - END.length;
  let key = "";
  for (let at = 0; at < end; ) {
    const byte = recordKey[at]!;
    if (byte === 0) {
      key += "\0";
      at += 2;
    } else if (byte < 0x80) {
      key += String.fromCharCode(byte);
      at += 1;
    } else if (byte < 0xe0) {
      key += String.fromCharCode(((byte & 0x1f) << 6) | (recordKey[at + 1]! & 0x3f));
      at += 2;
    } else {
      key += String.fromCharCode(
        ((byte & 0x0f) << 12) | ((recordKey[at + 1]! & 0x3f) << 6) | (recordKey[at + 2]! & 0x3f),
      );
      at += 3;
    }
  }
  return key;
}

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
