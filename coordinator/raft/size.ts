/**
 * How large an entry counts when messages, inflight windows and the uncommitted tail are bounded: its size in etcd's
 * own encoding (protobuf). Ours on the wire and on disk may differ by a few bytes; limits need no more than that.
 */
import type { Entry } from "./messages.ts";

/** Type, term, index and data, each with its tag. */
export function entrySizeBytes(entry: Entry): number {
  const dataBytes = entry.data.length === 0 ? 0 : 1 + varintBytes(entry.data.length) + entry.data.length;
  return 2 + (1 + varintBytes(entry.term)) + (1 + varintBytes(entry.index)) + dataBytes;
}

export function entriesSizeBytes(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entrySizeBytes(entry), 0);
}

/** Only the data: zero for a leader's first entry and for leaving a joint configuration, which must never be refused. */
export function payloadBytes(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entry.data.length, 0);
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
