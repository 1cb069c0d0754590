/**
 * The records of one segment of the log: `length | sum | body`. Each sum goes on from that of the record before, the first
 * from the segment's number, so that a whole record which was cut off once can never be taken for a later one.
 */
import type { Entry, EntryType } from "../raft/messages.ts";
import { crc32c } from "./crc32c.ts";

export type LogRecord =
  | {
      readonly kind: "header";
      readonly segment: number;
      /** The last entry of the log when the segment was begun: it is in older segments or in a snapshot. */
      readonly afterIndex: number;
      /** That entry is in a snapshot, and what older segments hold does not count any more. */
      readonly isNewLog: boolean;
    }
  | { readonly kind: "entry"; readonly entry: Entry };

const longestRecordBytes = 64 * 1024 * 1024;
const frameBytes = 8;
const format = 1;
const headerBytes = 19;
const entryHeadBytes = 18;
/** An entry that holds nothing. */
export const shortestEntryBytes = frameBytes + entryHeadBytes;
const entryTypes: readonly EntryType[] = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"];

/** The sum that the first record of a segment goes on from. */
export function firstSum(segment: number): number {
  return segment >>> 0;
}

/** The bytes of the records, and the sum that the next one goes on from. */
export function encodeRecords(records: readonly LogRecord[], before: number): { bytes: Uint8Array; sum: number } {
  const bodies = records.map(encodeBody);
  const bytes = new Uint8Array(bodies.reduce((total, body) => total + frameBytes + body.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  let sum = before;
  for (const body of bodies) {
    sum = crc32c(body, sum);
    view.setUint32(at, body.length);
    view.setUint32(at + 4, sum);
    bytes.set(body, at + frameBytes);
    at += frameBytes + body.length;
  }
  return { bytes, sum };
}

/** All records up to the end or to the first that is not whole: the good prefix ends at `endOffset`. */
export function decodeRecords(bytes: Uint8Array, before: number) {
  const records: LogRecord[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let sum = before;
  while (at + frameBytes < bytes.length) {
    const length = view.getUint32(at);
    if (length > longestRecordBytes || at + frameBytes + length > bytes.length) break;
    const body = bytes.subarray(at + frameBytes, at + frameBytes + length);
    const expected = crc32c(body, sum);
    if (length === 0 || expected !== view.getUint32(at + 4)) break;
    const record = decodeBody(body);
    if (record === undefined) break;
    records.push(record);
    sum = expected;
    at += frameBytes + length;
  }
  return { records, endOffset: at, sum };
}

function encodeBody(record: LogRecord): Uint8Array {
  if (record.kind === "header") {
    const body = new Uint8Array(headerBytes);
    const view = new DataView(body.buffer);
    body[0] = 0;
    body[1] = format;
    putNumber(view, 2, record.segment);
    putNumber(view, 10, record.afterIndex);
    body[18] = record.isNewLog ? 1 : 0;
    return body;
  }
  const { type, term, index, data } = record.entry;
  const body = new Uint8Array(entryHeadBytes + data.length);
  const view = new DataView(body.buffer);
  body[0] = 1;
  body[1] = entryTypes.indexOf(type);
  putNumber(view, 2, term);
  putNumber(view, 10, index);
  body.set(data, entryHeadBytes);
  return body;
}

/** Undefined: of a later release, whose sum is right. It is not guessed at. */
function decodeBody(body: Uint8Array): LogRecord | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body[0] === 0 && body[1] === format && body.length === headerBytes)
    return {
      kind: "header",
      segment: takeNumber(view, 2),
      afterIndex: takeNumber(view, 10),
      isNewLog: body[18] === 1,
    };
  const type = entryTypes[body[1] ?? -1];
  if (body[0] !== 1 || type === undefined || body.length < entryHeadBytes) return undefined;
  return {
    kind: "entry",
    entry: { type, term: takeNumber(view, 2), index: takeNumber(view, 10), data: body.slice(entryHeadBytes) },
  };
}

function putNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value >>> 0);
}

function takeNumber(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}
