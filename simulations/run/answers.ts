/**
 * What callers were told, held against the store's log: replies of one key, one order of all that was asked of an actor,
 * and an answer for everybody in time. The search for that order believes no revision, only times and the log's keys.
 */
import type { Cause } from "../../runtime/document.ts";
import type { RequestAnswer, RequestBody } from "../../runtime/host/wire.ts";
import { checkConvergence } from "../checkers/convergence.ts";
import { type Call, checkLinearizability, type SequentialModel } from "../checkers/linearizability.ts";
import { checkReplies, type KeyedReply } from "../checkers/replies.ts";
import type { Violation } from "../checkers/violation.ts";
import type { StepResult } from "./cluster.ts";
import type { Story } from "./story.ts";

/** Longer histories are left to the witness of revisions, which is never at a loss. */
const longestSearched = 48;
/** Thirty attempts of two seconds and their pauses, and the step that a client does before. */
const answeredWithinMs = 180_000;

/** The key under which a request travels: the caller's, or of its client. */
export function keyOfRequest(body: RequestBody): string | undefined {
  if (!("key" in body)) return undefined;
  return body.key.kind === "caller" ? String(body.key.key) : `${body.key.client}.${body.key.number}`;
}

/** One answer to one attempt; undefined: it tells nothing of what its key came to. */
export function replyOf(body: RequestBody, answer: RequestAnswer): KeyedReply | undefined {
  const key = keyOfRequest(body);
  if (key === undefined) return undefined;
  const { key: _, ...rest } = body as RequestBody & { readonly key: unknown };
  const reply = { actor: body.actor, key, body: JSON.stringify(rest) };
  if (answer.kind === "receipt")
    return { ...reply, outcome: "acknowledged", revision: answer.revision, isDuplicate: answer.duplicate };
  if (answer.kind !== "refused") return undefined;
  return { ...reply, outcome: answer.code === "KeyReused" ? "keyReused" : "refused" };
}

export function keyOf(cause: Cause): string | undefined {
  const key = cause["@key"] ?? cause.key;
  return typeof key === "string" ? key : undefined;
}

/** Whether an actor was deleted or removed: its keys may begin anew. */
export function isEnded(story: Story, actor: string): boolean {
  return (
    story.versions.get(actor)?.some(({ document }) => document === undefined || document.status === "deleted") === true
  );
}

export function judgeReplies(replies: readonly KeyedReply[], story: Story): readonly Violation[] {
  const applied = new Map<string, Map<number, readonly string[]>>();
  for (const [actor, versions] of story.versions) {
    const commits = new Map<number, readonly string[]>();
    for (const { document } of versions)
      if (document !== undefined)
        commits.set(
          document.seq,
          document.causes.flatMap((cause) => keyOf(cause) ?? []),
        );
    applied.set(actor, commits);
  }
  return checkReplies({ replies: replies.filter(({ actor }) => !isEnded(story, actor)), applied });
}

/** An actor to its callers: a log to which each key is added once. How far it has come is its state. */
function logOf(keys: readonly string[]): SequentialModel<number, string, "done"> {
  return {
    initial: 0,
    textOf: String,
    step: (length, key, output) => {
      if (keys[length] === key) return { state: length + 1 };
      const isThere = keys.indexOf(key);
      if (isThere >= 0 && isThere < length) return { state: length };
      return output === undefined ? { state: length } : undefined;
    },
  };
}

export function judgeLinearizability(results: readonly StepResult[], story: Story): readonly Violation[] {
  const calls = new Map<string, Call<string, "done">[]>();
  for (const { step, outcome, callMs, returnMs, keys } of results) {
    const actor = step.to.replace("/", ".");
    const last = [...keys].at(-1);
    for (const input of keys) {
      const isAnswered = outcome === "acknowledged" && input === last;
      const answer = isAnswered ? { return: returnMs, output: "done" as const } : { return: Number.POSITIVE_INFINITY };
      calls.set(actor, [...(calls.get(actor) ?? []), { key: actor, call: callMs, input, ...answer }]);
    }
  }
  return [...calls].flatMap(([actor, ofActor]) => {
    if (ofActor.length > longestSearched || isEnded(story, actor)) return [];
    const asked = new Set(ofActor.map(({ input }) => input));
    const keys = new Set<string>();
    for (const { document } of story.versions.get(actor) ?? [])
      for (const cause of document?.causes ?? []) {
        const key = "from" in cause || "timer" in cause ? undefined : keyOf(cause);
        if (key !== undefined && asked.has(key)) keys.add(key);
      }
    return checkLinearizability(ofActor, logOf([...keys]), 20_000);
  });
}

/** Who asked was answered, and when all is at rest every client sees the same. */
export function judgeConvergence(
  results: readonly StepResult[],
  healedMs: number,
  sights: readonly { readonly node: string; readonly actor: string; readonly value: string }[],
): readonly Violation[] {
  const withinMs = answeredWithinMs;
  return checkConvergence({
    healedMs,
    withinMs,
    left: [],
    sights: sights.map((sight) => ({ ...sight, atMs: Number.POSITIVE_INFINITY })),
    operations: results.map(({ step, outcome, callMs, returnMs }) => ({
      name: `${step.send?.type ?? (step.delete === true ? "delete" : "create")} for ${step.to}`,
      callMs,
      ...(outcome !== "unfinished" && { returnMs }),
    })),
  });
}
