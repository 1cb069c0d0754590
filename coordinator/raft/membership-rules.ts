/**
 * What consensus allows and a cluster in production must not do all the same. Asked before a change is proposed, with the
 * ids that were ever removed: whoever replicates those keeps them for good.
 */
import { asV2 } from "./conf-change.ts";
import type { ConfChange, ConfState, NodeId } from "./messages.ts";

/**
 * With two voters, a dead one could not even be removed; and a leader that left them, and stepped down with a longer log
 * than the other, would keep that one from ever being elected, whose membership still asks for its vote.
 */
const fewestVoters = 3;

/** Why a change is unsafe in production; undefined: it is not. */
export function whyUnsafe(now: ConfState, removed: ReadonlySet<NodeId>, change: ConfChange): string | undefined {
  const voters = new Set(now.voters);
  for (const { type, nodeId } of asV2(change).changes) {
    const adds = type === "ConfChangeAddNode" || type === "ConfChangeAddLearnerNode";
    // Peers may hold votes and acknowledgements of its former life, which the new one knows nothing of.
    if (adds && removed.has(nodeId)) return `node ${nodeId} was removed: an id is never used again`;
    if (type === "ConfChangeAddNode") voters.add(nodeId);
    if (type === "ConfChangeAddLearnerNode" || type === "ConfChangeRemoveNode") voters.delete(nodeId);
  }
  if (voters.size >= fewestVoters || voters.size >= now.voters.length) return undefined;
  return `it would leave ${voters.size} voters: below ${fewestVoters}, a dead one cannot be replaced`;
}
