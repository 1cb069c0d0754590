/**
 * R2 by witness: every operation carries the revision it claims, so linearizability of each key is a check in
 * O(n log n) instead of a search (Gibbons and Korach, "Testing Shared Memories"). Operations that say nothing of their
 * outcome prove nothing and are only used to explain what reads saw.
 */
import type { Violation } from "./violation.ts";

export type Operation = {
  /** True time of the call and of its answer; an operation that was never answered has `return: Infinity`. */
  readonly call: number;
  readonly return: number;
  readonly key: string;
  readonly kind: "write" | "purge" | "read";
  readonly outcome: "ok" | "conflict" | "refused" | "unknown";
  /** Of an `ok` write or purge: its own. Of an `ok` read: the one it saw, 0 for none. */
  readonly revision?: number;
  /** Of a compare-and-set: the revision it was to follow. */
  readonly expect?: number;
  /** Identity of a write, to look for it in the store. */
  readonly commit?: string;
  /** A repetition that got the first one's answer: its revision may be older than its call. */
  readonly isRepetition?: boolean;
};

export type RevisionHistory = {
  readonly operations: readonly Operation[];
  /** The revisions that the store really holds or held, by key, and what each replaced, when known. */
  readonly stored?: ReadonlyMap<string, readonly StoredRevision[]>;
};

export type StoredRevision = {
  readonly revision: number;
  /** 0: there was none. */
  readonly previous: number;
  readonly commit?: string;
};

export function checkRevisions({ operations, stored }: RevisionHistory): readonly Violation[] {
  const byKey = new Map<string, Operation[]>();
  for (const operation of operations) {
    const ofKey = byKey.get(operation.key);
    if (ofKey === undefined) byKey.set(operation.key, [operation]);
    else ofKey.push(operation);
  }
  return [...byKey].flatMap(([key, ofKey]) => {
    const witnesses = ofKey.filter(({ outcome, revision }) => outcome === "ok" && revision !== undefined);
    // After a purge, certain or only possible, "nothing" and `expect: 0` may be true again.
    const isPurged = ofKey.some(({ kind }) => kind === "purge");
    return [
      ...checkRealTime(key, witnesses, isPurged),
      ...checkCompareAndSet(key, witnesses, isPurged),
      ...(stored === undefined ? [] : checkPresent(key, ofKey, stored.get(key) ?? [])),
    ];
  });
}

/**
 * What had returned before a call is not newer than what the call saw, and older than what it wrote. One sweep: by time
 * of call, with the highest revision among all that had returned by then.
 */
function checkRealTime(key: string, operations: readonly Operation[], isPurged: boolean): readonly Violation[] {
  const violations: Violation[] = [];
  const byReturn = [...operations].sort((a, b) => a.return - b.return);
  const byCall = [...operations].sort((a, b) => a.call - b.call);
  let returned = 0;
  let newest = 0;
  for (const operation of byCall) {
    // Equal times count as overlapping.
    while (returned < byReturn.length && byReturn[returned]!.return < operation.call) {
      newest = Math.max(newest, byReturn[returned]!.revision!);
      returned++;
    }
    const revision = operation.revision!;
    if (operation.isRepetition === true || (revision === 0 && isPurged)) continue;
    if (operation.kind === "read" && revision < newest) {
      violations.push({
        rule: "stale-read",
        detail: `${key}: read ${revision} at ${operation.call}, ${newest} was known`,
      });
    }
    if (operation.kind !== "read" && revision <= newest) {
      violations.push({
        rule: "real-time-order",
        detail: `${key}: ${operation.kind} called at ${operation.call} got ${revision}, ${newest} had returned before`,
      });
    }
  }
  return violations;
}

/** Nothing lies between what a write expected and what it wrote, and no revision was given to two of them. */
function checkCompareAndSet(key: string, operations: readonly Operation[], isPurged: boolean): readonly Violation[] {
  const violations: Violation[] = [];
  const writes = operations
    .filter((operation) => operation.kind !== "read" && operation.isRepetition !== true)
    .sort((a, b) => a.revision! - b.revision!);
  let last: Operation | undefined;
  for (const write of writes) {
    const expect = write.expect === 0 && isPurged ? undefined : write.expect;
    const revision = write.revision!;
    const before = last?.revision ?? 0;
    if (before === revision) {
      // Callers without `expect` may share a commit; two compare-and-sets may not.
      const isTwice = write.expect !== undefined && last?.expect !== undefined;
      if (isTwice) violations.push({ rule: "revision-twice", detail: `${key}: ${revision} was given to two writes` });
    } else if (expect !== undefined && (expect >= revision || before > expect)) {
      violations.push({
        rule: "lost-update",
        detail: `${key}: ${revision} was to follow ${expect}, ${before} was before`,
      });
    }
    last = write;
  }
  return violations;
}

/** Acknowledged means present, refused means absent; what a read saw was written. */
function checkPresent(
  key: string,
  operations: readonly Operation[],
  known: readonly StoredRevision[],
): readonly Violation[] {
  const byRevision = new Map(known.map((stored) => [stored.revision, stored]));
  const commits = new Set(known.map(({ commit }) => commit));
  const violations: Violation[] = [];
  for (const { kind, outcome, revision, expect, commit } of operations) {
    if (outcome === "refused" && commit !== undefined && commits.has(commit)) {
      violations.push({ rule: "refused-but-present", detail: `${key}: ${commit}` });
    }
    if (outcome !== "ok" || revision === undefined || (kind === "read" && revision === 0)) continue;
    const stored = byRevision.get(revision);
    if (stored === undefined) {
      const rule = kind === "read" ? "read-of-nothing" : "acknowledged-but-absent";
      violations.push({ rule, detail: `${key}: the store never held ${revision}` });
    } else if (kind !== "read" && commit !== undefined && stored.commit !== undefined && stored.commit !== commit) {
      violations.push({
        rule: "acknowledged-but-absent",
        detail: `${key}: ${revision} is of ${stored.commit}, not ${commit}`,
      });
    } else if (kind !== "read" && expect !== undefined && stored.previous !== expect) {
      violations.push({
        rule: "wrong-predecessor",
        detail: `${key}: ${revision} replaced ${stored.previous}, not ${expect}`,
      });
    }
  }
  return violations;
}
