/** Inputs of the actor's own: timers that are due, results of its work, events of its live children, retries. */
import { type Json, NotStorableError } from "../machine/codec.ts";
import { handledEvents } from "../machine/events.ts";
import { type Event, promiseRejected, promiseResolved } from "../machine/internals.ts";
import { hasStopped } from "../machine/system.ts";
import { rootSid } from "../machine/tree.ts";
import type { Input } from "./input.ts";
import type { Reply } from "./output.ts";
import type { Run } from "./run.ts";

export function onTimers(run: Run): Reply {
  const { tree, head, definition } = run.actor;
  if (tree === undefined || head?.status !== "active") return { kind: "done" };
  for (let fired = 0; fired < definition.limits.firesPerStep; fired++) {
    const timer = tree.dueTimers(run.nowMs)[0];
    if (timer === undefined) break;
    fire(run, timer.n);
    if (run.actor.head?.status !== "active") break;
  }
  return { kind: "done" };
}

/** Fires this one, whatever its time. */
export function fire(run: Run, n: number): void {
  const timer = run.actor.tree?.system.timers.get(n);
  if (timer === undefined) return;
  run.noteEvent(timer.event, "timer", `t${n}`);
  const { target, event } = timer;
  const logic = typeof target === "string" ? run.actor.tree?.logicOf(target) : undefined;
  if (logic !== undefined && !handledEvents(logic)(event.type)) {
    const text = `timer t${n} fired ${event.type}, which no state of ${target === rootSid ? "the machine" : `the child ${target}`} handles`;
    run.order({ kind: "notice", level: "warn", text });
  }
  run.inTree((tree) => tree.fire(n, run.nowMs));
}

export function onResult(run: Run, input: Extract<Input, { kind: "result" }>): Reply {
  const item = run.actor.outbox.get(input.n);
  const { tree } = run.actor;
  // Stopped since, or recorded before: this result is of no use to anybody.
  if (item?.kind !== "start" || tree === undefined) return { kind: "done" };
  let event: Event;
  let data: Json;
  try {
    if (input.outcome.ok) {
      data = tree.encodeValue(input.outcome.value, "result");
      event = { type: promiseResolved, data: input.outcome.value };
    } else {
      data = tree.encodeValue(input.outcome.error, "error");
      event = { type: promiseRejected, data: input.outcome.error };
    }
  } catch (thrown) {
    if (!(thrown instanceof NotStorableError)) throw thrown;
    data = tree.encodeValue(thrown, "error");
    event = { type: promiseRejected, data: thrown };
  }
  run.actor.outbox.delete(input.n);
  run.note({ type: event.type, sid: item.sid, n: item.n, data });
  run.inTree(() => tree.relay(item.sid, item.sid, event, run.nowMs));
  return { kind: "done" };
}

export function onRelay(run: Run, input: Extract<Input, { kind: "relay" }>): Reply {
  const { tree, head } = run.actor;
  const target = tree?.ref(input.target);
  if (tree === undefined || target === undefined || head?.status !== "active") return { kind: "done" };
  if (hasStopped(target)) {
    // XState warns of it, and nothing changes: there is nothing to keep, and so no need that it can be kept.
    tree.relay(input.source, input.target, input.event, run.nowMs);
    run.collect(tree.take());
    return { kind: "done" };
  }
  run.noteEvent(input.event, "by", input.source ?? "outside");
  run.inTree(() => tree.relay(input.source, input.target, input.event, run.nowMs));
  return { kind: "done" };
}

export function onFailed(run: Run, input: Extract<Input, { kind: "failed" }>): Reply {
  if (run.actor.head?.status === "deleted") return { kind: "done" };
  run.note({ type: "holdfast.failed", sid: input.sid, error: run.lossy(input.error) });
  run.inTree((tree) => tree.fail(input.sid, input.error, run.nowMs));
  return { kind: "done" };
}

export function onRetry(run: Run, input: Extract<Input, { kind: "retry" }>): Reply {
  const item = run.actor.outbox.get(input.n);
  if (item === undefined) return { kind: "done" };
  item.attempt = input.attempt;
  item.dueMs = input.dueMs;
  run.note({ type: "holdfast.retry", n: input.n, attempt: input.attempt });
  return { kind: "done" };
}
