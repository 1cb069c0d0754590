/**
 * The step of one actor: document and inputs in; document, replies and orders out. Pure: no clock, no dice, no I/O;
 * what it is told in `StepContext` is all it knows. The hot tree is consumed: after a step that was not committed, or
 * that failed, the actor is loaded again from its last committed text (`load`), which `step` does itself on a throw.
 *
 * Start reading here; `step/` holds what is given and answered (`input.ts`, `output.ts`), the actor between steps
 * (`actor.ts`), one step in the making (`run.ts`), and a handler for each input.
 *
 * S1 every new input that is acknowledged is in the returned text, also one that changes nothing.
 * S2 nothing of an input that was refused is in it.
 * S3 orders name only work that the returned text holds, or that is volatile by nature.
 */
import { isReplyError } from "./errors.ts";
import { compareTokens } from "./ports/store.ts";
import { type Actor, load, nameOf } from "./step/actor.ts";
import type { Input, StepContext } from "./step/input.ts";
import { onDelivered, onMessage } from "./step/messages.ts";
import { type Reply, refuse, type Step } from "./step/output.ts";
import { fire, onFailed, onRelay, onResult, onRetry, onTimers } from "./step/own-inputs.ts";
import { onBarrier, onCreate, onDelete, onEvent } from "./step/requests.ts";
import { onExpire } from "./step/retention.ts";
import { MachineThrew, Run } from "./step/run.ts";

export { type Actor, type ActorName, dueMs, load } from "./step/actor.ts";
export type { Input, StepContext } from "./step/input.ts";
export type { Order, Reply, Step } from "./step/output.ts";

export function step(actor: Actor, inputs: readonly Input[], context: StepContext): Step {
  const run = new Run(actor, context);
  const replies: Reply[] = [];
  let firstBad = 0;
  try {
    adapt(run);
    for (const input of inputs) {
      firstBad = replies.length;
      replies.push(apply(run, input));
      // What comes after it meets an actor that does not exist.
      if (run.removes) break;
    }
    firstBad = -1;
    return run.finish(replies);
  } catch (thrown) {
    const fresh = load(actor.name, actor.definition, actor.options, actor.base);
    // Keep what went well: up to the input that threw, or half of them when the result as a whole is refused.
    const good = firstBad > 0 ? firstBad : firstBad < 0 ? Math.floor(inputs.length / 2) : 0;
    if (good > 0) return step(fresh, inputs.slice(0, good), context);
    const input = inputs[0] as Input;
    return { actor: fresh, replies: [refusal(input, thrown, actor)], taken: 1, text: undefined, orders: [] };
  }
}

function adapt(run: Run): void {
  const { adaptation } = run.actor;
  run.actor.adaptation = undefined;
  if (!adaptation?.isPending) return;
  const { notes, losses, event } = adaptation;
  const changes = [...losses, ...notes];
  if (changes.length > 0) {
    const told = bounded(changes);
    run.note({ type: "holdfast.adapted", changes: told });
    run.adapt(adaptation);
    run.order({
      kind: "notice",
      level: losses.length > 0 ? "warn" : "info",
      text: `the machine has changed: ${told.join("; ")}`,
    });
  }
  // A machine that is done takes no event.
  if (event === undefined || run.actor.head?.status !== "active") return;
  run.noteEvent(event, "by", "migration");
  run.inTree((tree) => tree.send(event, run.nowMs));
}

const mostChangesTold = 12;

function bounded(changes: readonly string[]): string[] {
  const more = changes.length - mostChangesTold;
  return more <= 0 ? [...changes] : [...changes.slice(0, mostChangesTold), `and ${more} more`];
}

function apply(run: Run, input: Input): Reply {
  const { actor } = run;
  switch (input.kind) {
    case "create":
      return onCreate(run, input);
    case "event":
      return onEvent(run, input);
    case "delete":
      return onDelete(run, input);
    case "barrier":
      return onBarrier(run);
    case "message":
      return onMessage(run, input);
    case "delivered":
      return onDelivered(run, input);
    case "settled":
      if (actor.inbox.settle(input.settlement)) run.note({ type: "holdfast.settled" });
      return { kind: "done" };
    case "timers":
      return onTimers(run);
    case "timer":
      fire(run, input.n);
      return { kind: "done" };
    case "result":
      return onResult(run, input);
    case "relay":
      return onRelay(run, input);
    case "failed":
      return onFailed(run, input);
    case "acted":
      if (actor.outbox.delete(input.n)) run.note({ type: "holdfast.acted", n: input.n });
      return { kind: "done" };
    case "retry":
      return onRetry(run, input);
    case "stop":
      run.note({ type: "xstate.stop" });
      run.inTree((tree) => tree.stop(run.nowMs));
      return { kind: "done" };
    case "expire":
      return onExpire(run);
    case "claim":
      if (actor.head !== undefined && compareTokens(actor.head.token, run.context.token) !== 0)
        run.note({ type: "holdfast.claim" });
      return { kind: "done" };
  }
}

function refusal(input: Input, thrown: unknown, actor: Actor): Reply {
  const error = thrown instanceof MachineThrew ? thrown.thrown : thrown;
  const fromCaller =
    input.kind === "event" || input.kind === "create" || input.kind === "delete" || input.kind === "barrier";
  if (!fromCaller) return { kind: "park", error };
  if (isReplyError(error)) return { kind: "refused", error };
  if (thrown instanceof MachineThrew) {
    const message = error instanceof Error ? error.message : String(error);
    return refuse("Rejected", `${nameOf(actor)} refused the ${input.kind}: ${message}`, error);
  }
  throw thrown;
}
