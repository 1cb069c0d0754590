/**
 * The store's log as that of a fenced resource, held against checkers that know nothing of documents: who wrote under
 * which token, and what was set aside, why, and left as it was.
 */
import { readParked } from "../../runtime/host/parking.ts";
import { parkedPrefix } from "../../runtime/keys.ts";
import { checkParking, type ParkedActor } from "../checkers/parking.ts";
import { checkTokensAtResources, type FencedOperation } from "../checkers/tokens.ts";
import type { Violation } from "../checkers/violation.ts";
import type { AppliedChange } from "../world/store-data.ts";

/** Of one actor no two nodes write under one token, and tokens never fall; a new life begins anew. */
export function judgeTokens(log: readonly AppliedChange[]): readonly Violation[] {
  const lives = new Map<string, number>();
  const operations = log.flatMap(({ key, node, token, value }): readonly FencedOperation[] => {
    if (key.startsWith("_")) return [];
    const life = lives.get(key) ?? 1;
    if (value === undefined) lives.set(key, life + 1);
    if (token === undefined) return [];
    return [{ resource: `${key}, life ${life}`, holder: node, token, kind: "write", outcome: "accepted" }];
  });
  return checkTokensAtResources(operations);
}

/** What is set aside has its reason and stays as it was. That it was set aside at all is another rule, `parked`. */
export function judgeParkedActors(log: readonly AppliedChange[]): readonly Violation[] {
  const values = new Map<string, string | undefined>();
  const parked = new Map<string, ParkedActor>();
  for (const { key, value, atMs } of log) {
    if (!key.startsWith(parkedPrefix)) {
      values.set(key, value);
      continue;
    }
    const actor = key.slice(parkedPrefix.length);
    const record = value === undefined ? undefined : readParked(value);
    const reason = record === undefined ? "" : `${record.reason} ${record.message}`;
    const valueThen = values.get(actor);
    // Whoever removes the record lets the actor go on.
    if (value === undefined) parked.delete(actor);
    else if (!parked.has(actor)) parked.set(actor, { actor, atMs, reason, valueThen, valueNow: valueThen });
  }
  const all = [...parked.values()].map((one) => ({ ...one, valueNow: values.get(one.actor) }));
  const mishaps = all.map(({ actor, atMs }) => ({ actor, atMs }));
  return checkParking({ parked: all, mishaps, mustBeParked: [], touched: new Set() });
}
