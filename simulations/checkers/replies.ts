/**
 * R5 from the callers' side: one key has one answer, however often and of whomever it is asked. Which keys a document
 * applied in which commit is read from the documents; the runtime's window of keys is not asked.
 */
import type { Violation } from "./violation.ts";

/** One answer to one attempt. */
export type KeyedReply = {
  readonly actor: string;
  readonly key: string;
  /** What was sent under the key. */
  readonly body: string;
  readonly outcome: "acknowledged" | "keyReused" | "refused";
  /** Of an acknowledgement: the commit that it names, and whether it says that this was a repetition. */
  readonly revision?: number;
  readonly isDuplicate?: boolean;
};

export type ReplyHistory = {
  readonly replies: readonly KeyedReply[];
  /** The keys that each commit of an actor applied, by its own revision. */
  readonly applied: ReadonlyMap<string, ReadonlyMap<number, readonly string[]>>;
};

export function checkReplies({ replies, applied }: ReplyHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const byKey = new Map<string, KeyedReply[]>();
  for (const reply of replies) {
    const name = `${reply.actor}/${reply.key}`;
    byKey.set(name, [...(byKey.get(name) ?? []), reply]);
  }
  for (const [name, ofKey] of byKey) {
    const acknowledged = ofKey.filter(({ outcome }) => outcome === "acknowledged");
    const revisions = new Set(acknowledged.map(({ revision }) => revision));
    if (revisions.size > 1)
      violations.push({ rule: "replies-differ", detail: `${name} was told commits ${[...revisions].join(" and ")}` });
    if (new Set(acknowledged.map(({ body }) => body)).size > 1)
      violations.push({ rule: "key-reused-unnoticed", detail: `${name} was acknowledged for two bodies` });
    const fresh = acknowledged.filter(({ isDuplicate }) => isDuplicate === false);
    if (fresh.length > 1)
      violations.push({ rule: "new-twice", detail: `${name} was called new ${fresh.length} times` });
    const isRefusedAsReused = ofKey.some(({ outcome }) => outcome === "keyReused");
    if (isRefusedAsReused && new Set(ofKey.map(({ body }) => body)).size === 1)
      violations.push({ rule: "key-refused-wrongly", detail: `${name} was refused as reused; it had one body` });
    for (const { actor, key, revision } of acknowledged) {
      const commits = applied.get(actor);
      if (revision === undefined || commits === undefined || commits.get(revision)?.includes(key) === true) continue;
      violations.push({ rule: "receipt-of-another-commit", detail: `${name}: commit ${revision} did not apply it` });
      break;
    }
  }
  return violations;
}
