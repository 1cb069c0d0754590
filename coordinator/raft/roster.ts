/**
 * What a cluster knows of its members beyond their ids: where they are reached, which folder each lives in, and who was
 * ever removed. It follows from the membership changes of the log, whose contexts say it, and travels with snapshots.
 */
import { asV2 } from "./conf-change.ts";
import type { ConfChange, ConfState, NodeId } from "./messages.ts";

export type Listed = {
  /** Empty: not told yet. */
  readonly address: string;
  /** Of its folder: another one under the same id has forgotten its votes. Empty: it has never been there. */
  readonly life: string;
  /** The voter whose place it takes once it has caught up; 0: nobody's. */
  readonly replaces: NodeId;
};

export type Roster = {
  /** The first life that was told: tells this cluster from every other of its name. Empty: nobody has told one. */
  readonly founded: string;
  readonly members: ReadonlyMap<NodeId, Listed>;
  /** For good: an id is used once. */
  readonly removed: ReadonlySet<NodeId>;
};

/** The context of a change. `ask` names the request that it answers. */
export type ChangeNote = Partial<Listed> & { readonly ask?: string };

export const emptyRoster: Roster = { founded: "", members: new Map(), removed: new Set() };
const unlisted: Listed = { address: "", life: "", replaces: 0 };

export function listedAs(roster: Roster, id: NodeId): Listed {
  return roster.members.get(id) ?? unlisted;
}

/** Everybody who takes part in any way, by ascending id. */
export function idsOf({ voters, learners, votersOutgoing, learnersNext }: ConfState): NodeId[] {
  return [...new Set([...voters, ...learners, ...votersOutgoing, ...learnersNext])].sort((a, b) => a - b);
}

export function formatNote(note: ChangeNote): string {
  return JSON.stringify(note);
}

export function noteOf({ context }: ConfChange): ChangeNote {
  if (context === "") return {};
  const { ask, address, life, replaces } = JSON.parse(context) as Record<string, unknown>;
  return {
    ...(typeof ask === "string" && { ask }),
    ...(typeof address === "string" && { address }),
    ...(typeof life === "string" && { life }),
    ...(typeof replaces === "number" && { replaces }),
  };
}

/** The roster after a change that led from one membership to the next. */
export function changedRoster(roster: Roster, change: ConfChange, before: ConfState, after: ConfState): Roster {
  const present = new Set(idsOf(after));
  const members = new Map(roster.members);
  const removed = new Set(roster.removed);
  const { ask: _, ...said } = noteOf(change);
  const [first] = asV2(change).changes;
  if (first !== undefined) members.set(first.nodeId, { ...listedAs(roster, first.nodeId), ...said });
  for (const id of [...members.keys(), ...idsOf(before)]) {
    if (present.has(id)) continue;
    members.delete(id);
    removed.add(id);
  }
  return { founded: roster.founded || (said.life ?? ""), members, removed };
}

/** The roster and the state machine's own snapshot, as one. */
export function withRoster({ founded, members, removed }: Roster, data: Uint8Array): Uint8Array {
  const rows = [...members]
    .sort(([a], [b]) => a - b)
    .map(([id, { address, life, replaces }]) => [id, address, life, replaces]);
  const head = new TextEncoder().encode(`${JSON.stringify([founded, rows, [...removed].sort((a, b) => a - b)])}\n`);
  const bytes = new Uint8Array(head.length + data.length);
  bytes.set(head);
  bytes.set(data, head.length);
  return bytes;
}

/** The inverse. Snapshots travel and are stored with a checksum, so this reads what `withRoster` wrote. */
export function splitRoster(bytes: Uint8Array): { readonly roster: Roster; readonly data: Uint8Array } {
  const end = bytes.indexOf(10);
  const [founded, rows, removed] = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))) as [
    string,
    [NodeId, string, string, NodeId][],
    NodeId[],
  ];
  const members = new Map(rows.map(([id, address, life, replaces]) => [id, { address, life, replaces }]));
  return { roster: { founded, members, removed: new Set(removed) }, data: bytes.subarray(end + 1) };
}
