/**
 * Between actors: what a receiver applied from one sender is what that sender sent, in its order, each once, without
 * holes. Senders and receivers are told apart by name and life (`born`), so a new life is a new sender.
 */
import type { Violation } from "./violation.ts";

export type OrderHistory = {
  /** In the order of sending, per sender and receiver. */
  readonly sent: readonly { readonly sender: string; readonly receiver: string; readonly message: string }[];
  /** In the order of application, per receiver. */
  readonly applied: readonly { readonly sender: string; readonly receiver: string; readonly message: string }[];
  /** The run has come to rest and nothing was refused: everything sent must have been applied. */
  readonly isComplete: boolean;
};

export function checkOrder({ sent, applied, isComplete }: OrderHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const sentBy = group(sent);
  const appliedBy = group(applied);
  for (const [pair, messages] of appliedBy) violations.push(...checkPair(pair, sentBy.get(pair) ?? [], messages));
  if (!isComplete) return violations;
  for (const [pair, messages] of sentBy) {
    const seen = new Set(appliedBy.get(pair) ?? []);
    for (const message of messages) {
      if (!seen.has(message)) violations.push({ rule: "lost", detail: `${pair}: ${message} was never applied` });
    }
  }
  return violations;
}

function checkPair(pair: string, sent: readonly string[], applied: readonly string[]): readonly Violation[] {
  const violations: Violation[] = [];
  const position = new Map(sent.map((message, index) => [message, index]));
  const seen = new Set<string>();
  let next = 0;
  for (const message of applied) {
    const index = position.get(message);
    if (index === undefined) violations.push({ rule: "invented", detail: `${pair}: ${message} was never sent` });
    else if (seen.has(message)) violations.push({ rule: "applied-twice", detail: `${pair}: ${message}` });
    else if (index < next)
      violations.push({ rule: "out-of-order", detail: `${pair}: ${message} after ${sent[next - 1]}` });
    else {
      const skipped = sent.slice(next, index);
      if (skipped.length > 0)
        violations.push({ rule: "gap", detail: `${pair}: ${message} before ${skipped.join(", ")}` });
      next = index + 1;
    }
    seen.add(message);
  }
  return violations;
}

function group(
  messages: readonly { readonly sender: string; readonly receiver: string; readonly message: string }[],
): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const { sender, receiver, message } of messages) {
    const pair = `${sender} to ${receiver}`;
    const ofPair = groups.get(pair);
    if (ofPair === undefined) groups.set(pair, [message]);
    else ofPair.push(message);
  }
  return groups;
}
