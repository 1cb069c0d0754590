/**
 * A cluster whose quorum is lost for good, begun anew by hand from one stopped survivor: alone, with all that its log
 * holds, and in a higher epoch, so that members left over from before are refused and tokens of before are outranked.
 */
import type { Clock } from "../../../runtime/ports/clock.ts";
import { decodeLeaseEntry } from "../../lease/entry.ts";
import { ReplicatedTable } from "../../lease/table.ts";
import { DiskLog } from "../../log/disk-log.ts";
import type { LogIdentity } from "../../log/hard-state.ts";
import type { Disk } from "../../ports/disk.ts";
import type { MemberId } from "../../ports/peers.ts";
import { asV2, decodeConfChange } from "../../raft/conf-change.ts";
import { type Entry, emptyConfState } from "../../raft/messages.ts";
import { changedRoster, emptyRoster, idsOf, type Roster } from "../../raft/roster.ts";
import { decodeState, encodeState, epochIn } from "./state.ts";

export type StoppedPorts = { readonly disk: Disk; readonly clock: Clock; readonly identity: LogIdentity };

export type StoppedState = {
  /** As `Member.identity`. Undefined: the cluster has never had a quorum. */
  readonly identity: string | undefined;
  readonly epoch: number;
  readonly index: number;
  readonly table: ReplicatedTable;
  readonly roster: Roster;
  /** Whoever was a member at some moment of this log. */
  readonly ids: readonly MemberId[];
};

export type Recovered = {
  readonly epoch: number;
  readonly index: number;
  /** This member was recovered before and has not run since: nothing was changed now. */
  readonly wasDone: boolean;
  /** Those who are no members any more: their folders must go. */
  readonly removed: readonly number[];
  /** Entries that this member had acknowledged and that its damaged log lacks. */
  readonly lost: number;
};

/** What a stopped member's log says, its last entries too, which a quorum may lack. Rejects as DiskLog.open does. */
export async function readStopped(ports: StoppedPorts): Promise<StoppedState> {
  const log = await DiskLog.open({ ...ports, epochIn });
  try {
    return stateOf(ports.identity.cluster, log);
  } finally {
    await log.close();
  }
}

/** The disk must be the caller's alone. May be done again after a failure. */
export async function recoverAlone(ports: StoppedPorts): Promise<Recovered> {
  const log = await DiskLog.open({ ...ports, epochIn });
  try {
    const { storage, damage } = log;
    const last = storage.lastIndex();
    // An entry of which it is not known whether a quorum has it may have been answered: so it counts.
    const { table, roster, epoch, ids } = stateOf(ports.identity.cluster, log);
    const { hardState, confState } = storage.initialState();
    const { member } = ports.identity;
    const others = ids.filter((id) => id !== member);
    const removed = [...roster.removed].sort((a, b) => a - b);
    // A member that has run alone has voted for itself.
    const isUntouched = damage === undefined && last === snapshotIndexOf(log) && hardState.vote === 0;
    if (isUntouched && epoch > 1 && confState.voters.join() === String(member))
      return { epoch, index: last, wasDone: true, removed, lost: 0 };
    const index = Math.max(last, damage?.neededIndex ?? 0, table.index) + 1;
    const term = hardState.term + 1;
    table.apply(index, {
      atMs: table.leaseMs,
      renewals: [],
      requests: [{ kind: "raiseEpoch", to: epoch + 1 }],
    });
    const listed = [...roster.members].filter(([id]) => id === member);
    const alone: Roster = {
      ...roster,
      members: new Map(listed),
      removed: new Set([...roster.removed, ...others]),
    };
    const data = encodeState({ roster: alone, table });
    const metadata = { index, term, confState: { ...emptyConfState, voters: [member] } };
    await log.install({ data, metadata }, { term, vote: 0, commit: index });
    return {
      epoch: table.epoch,
      index,
      wasDone: false,
      removed: others,
      lost: Math.max(0, (damage?.neededIndex ?? 0) - last),
    };
  } finally {
    await log.close();
  }
}

function snapshotIndexOf({ storage }: DiskLog): number {
  const snapshot = storage.snapshot();
  return snapshot === "unavailable" ? 0 : snapshot.metadata.index;
}

function stateOf(cluster: string, log: DiskLog): StoppedState {
  const { storage } = log;
  const snapshot = storage.snapshot();
  let roster = emptyRoster;
  let table = ReplicatedTable.empty();
  let index = 0;
  if (snapshot !== "unavailable" && snapshot.metadata.index > 0) {
    ({ roster, table } = decodeState(snapshot.data));
    index = snapshot.metadata.index;
  }
  const ids = new Set(idsOf(storage.initialState().confState));
  for (const entry of entriesBetween(log, index + 1, storage.lastIndex())) {
    index = entry.index;
    if (entry.type === "EntryNormal") {
      if (entry.data.length > 0) table.apply(entry.index, decodeLeaseEntry(entry.data));
      continue;
    }
    const change = decodeConfChange(entry.type, entry.data);
    for (const { nodeId } of asV2(change).changes) ids.add(nodeId);
    // As if nobody had left: who is out is told by the caller, who keeps at most one of them.
    const all = { ...emptyConfState, voters: [...ids] };
    roster = changedRoster(roster, change, all, all);
  }
  // The snapshot that says so may be what is damaged.
  const epoch = Math.max(log.epoch, table.epoch);
  const identity = roster.founded === "" ? undefined : `raft:${cluster}.${roster.founded}.${epoch}`;
  return { identity, epoch, index, table, roster, ids: [...ids].sort((a, b) => a - b) };
}

function entriesBetween({ storage }: DiskLog, from: number, to: number): readonly Entry[] {
  if (to < from) return [];
  const entries = storage.entries(from, to + 1, Number.POSITIVE_INFINITY);
  return typeof entries === "string" ? [] : entries;
}
