/** What a snapshot of a member holds: the members that the log has made, and the lease table beside them. */
import { ReplicatedTable } from "../../lease/table.ts";
import { type Roster, splitRoster, withRoster } from "../../raft/roster.ts";

export type MemberState = { readonly roster: Roster; readonly table: ReplicatedTable };

export function encodeState({ roster, table }: MemberState): Uint8Array {
  return withRoster(roster, table.snapshot());
}

/** Throws UnknownLeaseEntry for a table of a later release. */
export function decodeState(data: Uint8Array): MemberState {
  const { roster, data: table } = splitRoster(data);
  return { roster, table: ReplicatedTable.restore(table) };
}

/** The epoch is part of the table, and only a snapshot ever raises it: that of a cluster recovered by hand. */
export function epochIn(data: Uint8Array): number {
  return decodeState(data).table.epoch;
}
