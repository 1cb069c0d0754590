/**
 * Majorities: what a set of voters has decided, given what each has said. A joint configuration decides only what both
 * of its majorities decide; an empty one agrees to everything, so that half a joint configuration behaves as the other.
 */
import type { NodeId } from "./messages.ts";

export type Majority = ReadonlySet<NodeId>;
/** `outgoing` is empty unless a change of membership is under way. */
export type Joint = { readonly incoming: Majority; readonly outgoing: Majority };
export type VoteResult = "VotePending" | "VoteLost" | "VoteWon";
/** What a voter acknowledged; undefined: nothing is known of it. */
export type AckedIndex = (id: NodeId) => number | undefined;

export const emptyMajority: Majority = new Set();

export function sortedIds(ids: Iterable<NodeId>): NodeId[] {
  return [...ids].sort((a, b) => a - b);
}

/** All voters of both halves, ascending. */
export function votersOf(joint: Joint): NodeId[] {
  return sortedIds(new Set([...joint.incoming, ...joint.outgoing]));
}

/** The highest index that a majority acknowledged. */
export function majorityCommitted(majority: Majority, acked: AckedIndex): number {
  if (majority.size === 0) return Number.POSITIVE_INFINITY;
  const indices = [...majority].map((id) => acked(id) ?? 0).sort((a, b) => a - b);
  return indices[majority.size - (Math.floor(majority.size / 2) + 1)]!;
}

export function jointCommitted(joint: Joint, acked: AckedIndex): number {
  return Math.min(majorityCommitted(joint.incoming, acked), majorityCommitted(joint.outgoing, acked));
}

export function majorityVote(majority: Majority, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  if (majority.size === 0) return "VoteWon";
  const needed = Math.floor(majority.size / 2) + 1;
  const said = [...majority].map((id) => votes.get(id));
  const granted = said.filter((vote) => vote === true).length;
  const missing = said.filter((vote) => vote === undefined).length;
  if (granted >= needed) return "VoteWon";
  return granted + missing >= needed ? "VotePending" : "VoteLost";
}

export function jointVote(joint: Joint, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  const [incoming, outgoing] = [majorityVote(joint.incoming, votes), majorityVote(joint.outgoing, votes)];
  if (incoming === outgoing) return incoming;
  return incoming === "VoteLost" || outgoing === "VoteLost" ? "VoteLost" : "VotePending";
}

/** `(1 2 3)`, ascending. */
export function describeIds(ids: Iterable<NodeId>): string {
  return `(${sortedIds(ids).join(" ")})`;
}

/** `(1 2 3)&&(2 3 4)`: incoming, then outgoing. */
export function describeJoint(joint: Joint): string {
  const incoming = describeIds(joint.incoming);
  return joint.outgoing.size === 0 ? incoming : `${incoming}&&${describeIds(joint.outgoing)}`;
}

/** One line per voter, with a bar that is longer the more voters are behind it. */
export function describeAcked(voters: Iterable<NodeId>, acked: AckedIndex): string {
  const ids = sortedIds(voters);
  if (ids.length === 0) return "<empty majority quorum>";
  const indexOf = (id: NodeId) => acked(id) ?? 0;
  const lines = ids.map((id) => {
    const behind = ids.filter((other) => indexOf(other) < indexOf(id)).length;
    const bar =
      acked(id) === undefined ? "?" + " ".repeat(ids.length) : ("x".repeat(behind) + ">").padEnd(ids.length + 1);
    return `${bar} ${String(indexOf(id)).padStart(5)}    (id=${id})\n`;
  });
  return `${" ".repeat(ids.length)}    idx\n${lines.join("")}`;
}
