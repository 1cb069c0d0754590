/** Checks every machine of a stored tree against the present code, before anything is restored. */
import type { Json } from "./codec.ts";
import { isMachine, kindOf, type Logic } from "./internals.ts";
import { checkCompatible, structuralHash } from "./structure.ts";
import type { Sid } from "./system.ts";
import { findLogic, rootSid, type StoredTree } from "./tree.ts";

/** The structural hash of any logic; logic that is no machine has only its kind. */
export function logicHash(logic: unknown): string {
  return isMachine(logic) ? structuralHash(logic) : kindOf(logic as Logic);
}

/** What no longer fits, in words; empty when all of it does. */
export function incompatibilities(root: unknown, stored: StoredTree): string[] {
  const problems: string[] = [];
  const logics = new Map<Sid, Logic>();
  const sids = Object.keys(stored.actors).sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  for (const sid of sids) {
    const record = stored.actors[sid];
    if (record === undefined) continue;
    const parent = logics.get(record.parent ?? rootSid);
    const source = typeof record.src === "string" ? record.src : undefined;
    const logic =
      sid === rootSid ? (root as Logic) : parent && source !== undefined ? findLogic(parent, source) : undefined;
    // A missing source is reported by the check of its parent.
    if (logic === undefined) continue;
    logics.set(sid, logic);
    const snap = record.snap as { value?: Json; history?: Record<string, string[]> };
    if (!isMachine(logic) || snap.value === undefined) continue;
    const childSources = Object.values(stored.actors).flatMap((child) =>
      child.parent === sid && typeof child.src === "string" ? [child.src] : [],
    );
    const historyValue: Record<string, { id: string }[]> = {};
    for (const [node, ids] of Object.entries(snap.history ?? {})) historyValue[node] = ids.map((id) => ({ id }));
    for (const found of checkCompatible(logic, { value: snap.value as never, historyValue, childSources })) {
      problems.push(sid === rootSid ? found.message : `child ${record.id}: ${found.message}`);
    }
  }
  return problems;
}
