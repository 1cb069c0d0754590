/**
 * Liveness after healing: within a stated time every operation is answered, nothing is left to do, and all nodes say the
 * same of every actor; and it stays so.
 */
import type { Violation } from "./violation.ts";

/** What one node says of one actor at one moment. */
export type Sight = { readonly atMs: number; readonly node: string; readonly actor: string; readonly value: string };

export type ConvergenceHistory = {
  readonly healedMs: number;
  readonly withinMs: number;
  readonly sights: readonly Sight[];
  /** `returnMs` undefined: never answered. */
  readonly operations: readonly { readonly name: string; readonly callMs: number; readonly returnMs?: number }[];
  /** Effects, messages and timers that were due and are still pending at the end. */
  readonly left: readonly string[];
};

export function checkConvergence(history: ConvergenceHistory): readonly Violation[] {
  const deadlineMs = history.healedMs + history.withinMs;
  const violations: Violation[] = history.left.map((detail) => ({ rule: "left-undone", detail }));
  for (const { name, callMs, returnMs } of history.operations) {
    const latestMs = Math.max(callMs, history.healedMs) + history.withinMs;
    if (returnMs === undefined) violations.push({ rule: "never-answered", detail: `${name}, called at ${callMs}` });
    else if (returnMs > latestMs)
      violations.push({ rule: "answered-too-late", detail: `${name}: at ${returnMs}, ${latestMs} was the latest` });
  }
  const late = history.sights.filter(({ atMs }) => atMs > deadlineMs);
  if (late.length === 0 && history.sights.length > 0)
    violations.push({ rule: "nobody-looked", detail: `nothing was seen after ${deadlineMs}` });
  const values = new Map<string, Map<string, string>>();
  for (const { actor, node, value } of late) {
    const ofActor = values.get(actor) ?? new Map<string, string>();
    const before = ofActor.get(node);
    if (before !== undefined && before !== value)
      violations.push({ rule: "never-at-rest", detail: `${node} still changed its mind about ${actor}` });
    values.set(actor, ofActor.set(node, value));
  }
  for (const [actor, ofActor] of values)
    if (new Set(ofActor.values()).size > 1)
      violations.push({ rule: "never-converged", detail: `${actor}: ${[...ofActor.keys()].join(" and ")} differ` });
  return violations;
}
