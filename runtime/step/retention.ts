/** How an actor goes: first the document of one that ended, then its tombstone, each when nothing needs it any more. */
import { itemText } from "../outbox.ts";
import type { Head } from "./actor.ts";
import type { Reply } from "./output.ts";
import type { Run } from "./run.ts";

export function onExpire(run: Run): Reply {
  const { head, window, definition } = run.actor;
  if (head?.expiresMs === undefined || head.expiresMs > run.nowMs) return { kind: "done" };
  if (head.status !== "deleted" && [...run.actor.outbox.values()].some((item) => item.kind !== "send")) {
    // Actions that wait for their turn, or for their next attempt, come first.
    run.note({ type: "holdfast.expire" });
    head.expiresMs = run.nowMs + 60_000;
    return { kind: "done" };
  }
  const openUntilMs = window.openUntilMs(definition.limits) ?? 0;
  const settled = ![...run.actor.outbox.values()].some((item) => item.kind === "send") && run.actor.inbox.size === 0;
  if (openUntilMs <= run.nowMs && settled) {
    run.removes = true;
    return { kind: "done" };
  }
  run.note({ type: "holdfast.expire" });
  if (head.status !== "deleted") bury(run, head);
  head.expiresMs = Math.max(openUntilMs, run.nowMs + 60_000);
  run.commits = true;
  return { kind: "done" };
}

/** Leaves a tombstone: born, counters, window and output stay; messages that are on their way are still delivered. */
export function bury(run: Run, head: Head): void {
  const { actor } = run;
  const { tree } = actor;
  if (tree === undefined) return;
  head.output = tree.snapshot.output === undefined ? undefined : run.plain(tree.snapshot.output, "output");
  tree.stop(run.nowMs);
  run.collect(tree.take());
  for (const sid of tree.volatileSids()) run.order({ kind: "stop", sid });
  tree.system.timers.clear();
  for (const item of actor.outbox.values()) {
    if (item.kind === "send") itemText(item, tree);
    else actor.outbox.delete(item.n);
    if (item.kind === "start") run.order({ kind: "stop", sid: item.sid });
  }
  head.status = "deleted";
  const openUntilMs = actor.window.openUntilMs(actor.definition.limits) ?? 0;
  head.expiresMs = Math.max(openUntilMs, run.nowMs + actor.definition.limits.keyWindowMs);
}
