/**
 * R1 and R5 from outside: what callers were told, against what the final documents say they applied. How a document
 * tells is the user's extractor; no idempotency window or receipt of the runtime is trusted.
 */
import type { Violation } from "./violation.ts";

/** One attempt of a caller to have an event applied; attempts of one event share actor and key. */
export type SendAttempt = {
  readonly actor: string;
  readonly key: string;
  readonly outcome: "acknowledged" | "refused" | "unknown";
  /** What the caller got with the acknowledgement; the same for every acknowledgement of one key. */
  readonly receipt?: string;
};

export type ExactlyOnceHistory<Document> = {
  readonly attempts: readonly SendAttempt[];
  /** The final documents, by actor. */
  readonly documents: ReadonlyMap<string, Document>;
  /** The keys of the events that this document has applied, with repetitions. */
  readonly applied: (document: Document, actor: string) => readonly string[];
};

export function checkExactlyOnce<Document>(history: ExactlyOnceHistory<Document>): readonly Violation[] {
  const violations: Violation[] = [];
  const sends = new Map<string, SendAttempt[]>();
  for (const attempt of history.attempts) push(sends, nameOf(attempt.actor, attempt.key), attempt);
  const applications = new Map<string, number>();
  for (const [actor, document] of history.documents) {
    for (const key of history.applied(document, actor)) {
      const name = nameOf(actor, key);
      applications.set(name, (applications.get(name) ?? 0) + 1);
    }
  }

  for (const [name, count] of applications) {
    if (!sends.has(name)) violations.push({ rule: "invented", detail: `${name} was applied, nobody sent it` });
    if (count > 1) violations.push({ rule: "applied-twice", detail: `${name} was applied ${count} times` });
  }
  for (const [name, attempts] of sends) {
    const isApplied = applications.has(name);
    const isAcknowledged = attempts.some((attempt) => attempt.outcome === "acknowledged");
    const isRefused = attempts.every((attempt) => attempt.outcome === "refused");
    if (isAcknowledged && !isApplied)
      violations.push({ rule: "lost", detail: `${name} was acknowledged, not applied` });
    if (isRefused && isApplied)
      violations.push({ rule: "refused-but-applied", detail: `${name} was only ever refused` });
    const receipts = new Set(attempts.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt])));
    if (receipts.size > 1)
      violations.push({ rule: "receipts-differ", detail: `${name} got ${[...receipts].join(" and ")}` });
  }
  return violations;
}

function nameOf(actor: string, key: string): string {
  return `${actor}/${key}`;
}

function push<T>(map: Map<string, T[]>, key: string, item: T): void {
  const items = map.get(key);
  if (items === undefined) map.set(key, [item]);
  else items.push(item);
}
