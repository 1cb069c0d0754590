/** Which slot of a key holds what: revisions by slot, 0 for an empty one. A key that exists always has slot 0. */
import type { Revision } from "../../ports/store.ts";

const NONE: readonly number[] = [];

/** -1 if the key has no value. */
export function latestSlot(revisions: readonly Revision[]): number {
  return revisions.indexOf(Math.max(...revisions));
}

export function usedSlots(revisions: readonly Revision[]): number[] {
  return [...revisions.keys()].filter((slot) => revisions[slot] !== 0);
}

/** Where a new revision goes, and what becomes empty besides, so that `historyDepth` are kept. */
export function slotsForWrite(
  revisions: readonly Revision[],
  historyDepth: number,
): { readonly slot: number; readonly removed: readonly number[] } {
  if (revisions.length < historyDepth) return { slot: revisions.length, removed: NONE };
  if (revisions.length === historyDepth) return { slot: lowestSlot(revisions), removed: NONE };
  // The history is or was deeper elsewhere: more than one may have to leave.
  const leaving = usedSlots(revisions)
    .sort((a, b) => revisions[b]! - revisions[a]!)
    .slice(historyDepth - 1);
  const slot = leaving.includes(0) ? 0 : (leaving[0] ?? revisions.indexOf(0));
  return { slot, removed: leaving.filter((old) => old !== slot) };
}

/** An empty one before the oldest. */
function lowestSlot(revisions: readonly Revision[]): number {
  let lowest = 0;
  for (let slot = 1; slot < revisions.length; slot++) if (revisions[slot]! < revisions[lowest]!) lowest = slot;
  return lowest;
}
