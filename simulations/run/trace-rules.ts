/** The traces of a run, held against what the store's log says led to each commit. */
import type { Cause, Document, OutboxRecord } from "../../runtime/document.ts";
import { type BegunSpan, type CommittedStep, checkSpans, type StepCause } from "../checkers/spans.ts";
import type { Violation } from "../checkers/violation.ts";
import type { World } from "../world/world.ts";
import type { Story } from "./story.ts";

/** A job's ticks come from the clock; nobody sent them. */
const ticks = new Set(["job create OWNED", "job TICK"]);
export const isTick = ({ name }: BegunSpan): boolean => ticks.has(name);

export function judgeTraces(
  world: World,
  story: Story,
  mayBeRoot?: (span: BegunSpan) => boolean,
): readonly Violation[] {
  const lives = new Map<string, number>();
  const commits: CommittedStep[] = [];
  for (const [actor, versions] of story.versions) {
    let ended = 0;
    let before: Document | undefined;
    for (const { document } of versions) {
      if (document === undefined) ended++;
      else commits.push({ actor, commit: document.commit, causes: causesOf(document, before) });
      before = document;
    }
    if (ended > 0) lives.set(actor, ended + 1);
  }
  return checkSpans({ spans: world.telemetry.spans, commits, lives, ...(mayBeRoot && { mayBeRoot }) });
}

function causesOf({ causes }: Document, before: Document | undefined): readonly StepCause[] {
  return causes.flatMap((cause) => causeOf(cause, before) ?? []);
}

/** Undefined where an event's own fields, or what has no span, leave it open. */
function causeOf(cause: Cause, before: Document | undefined): StepCause | undefined {
  const { type, key, from, timer, n } = cause;
  if (type === "holdfast.claim") return { kind: "claim" };
  if (type === "holdfast.barrier" || type === "holdfast.delivered" || "by" in cause) return undefined;
  const marks = [key, from, timer].filter((mark) => mark !== undefined);
  if (marks.length > 1) return undefined;
  if (typeof key === "string") return { kind: "request" };
  if (typeof from === "string") return { kind: "message", from };
  if (typeof timer === "string") return { kind: "timer" };
  if (typeof n !== "number" || marks.length > 0) return undefined;
  const item = before?.outbox.find((one) => one.n === n);
  return isAttempted(item) && !isInterrupted(cause) ? { kind: "effect", n } : undefined;
}

function isAttempted(item: OutboxRecord | undefined): boolean {
  return item?.do === "action" || item?.do === "start";
}

/** Its policy is not to begin it again: no attempt was made, so none has a span. */
function isInterrupted({ data }: Cause): boolean {
  return JSON.stringify(data)?.includes("EffectInterruptedError") === true;
}
