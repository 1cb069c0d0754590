/**
 * Messages between actors, both sides: the receiver applies each once and marks it, the sender strikes off what was
 * applied. What can never be applied becomes a dead letter of its sender.
 */
import type { Address } from "../address.ts";
import type { Event } from "../machine/internals.ts";
import { type Head, nameOf } from "./actor.ts";
import type { Input } from "./input.ts";
import { type Reply, refuse } from "./output.ts";
import { reserved } from "./requests.ts";
import type { Run } from "./run.ts";

export function onMessage(run: Run, input: Extract<Input, { kind: "message" }>): Reply {
  const { actor } = run;
  const { sender, number } = input;
  if (actor.head === undefined || actor.head.status !== "active") {
    const reason =
      actor.head === undefined
        ? "does not exist"
        : actor.head.status === "deleted"
          ? "was deleted"
          : `is ${actor.head.status}`;
    const upTo = actor.inbox.appliedUpTo(sender);
    const dead = input.items.filter((item) => item.n > upTo);
    return { kind: "message", upTo, dead: dead.map(({ n }) => ({ n, reason: `${nameOf(actor)} ${reason}` })) };
  }
  // A request that is older than this life may be one whose messages became dead letters for want of a receiver.
  if (input.life !== actor.head.born) return { kind: "life", life: actor.head.born };
  const floor = actor.inbox.refuses(sender.partition, number);
  if (floor !== undefined) return { kind: "renumber", floor };
  if (!actor.inbox.hasRoomFor(sender, actor.definition.limits)) {
    return refuse("Overloaded", `${nameOf(actor)} waits for ${actor.inbox.size} senders to settle`);
  }
  let upTo = actor.inbox.appliedUpTo(sender);
  const dead: { n: number; reason: string }[] = [];
  for (const { n, event } of input.items) {
    // Said again in every repetition: the first answer may not have been heard.
    const unusable = reserved(event.type) || !actor.definition.handles(event.type);
    if (unusable) dead.push({ n, reason: `no state of ${actor.name.type} ever handles "${event.type}"` });
    if (n <= upTo) continue;
    upTo = n;
    if (unusable) continue;
    run.noteEvent(event, "from", sender.key);
    run.inTree((tree) => tree.send(event, run.nowMs));
  }
  actor.inbox.mark(sender, upTo, number, run.nowMs);
  run.commits = true;
  return { kind: "message", upTo, dead };
}

export function onDelivered(run: Run, input: Extract<Input, { kind: "delivered" }>): Reply {
  const reasons = new Map(input.dead.map(({ n, reason }) => [n, reason]));
  for (const item of run.actor.outbox.values()) {
    if (item.kind !== "send" || item.to.key !== input.to) continue;
    const reason = reasons.get(item.n);
    if (reason === undefined && item.n > input.upTo) continue;
    run.actor.outbox.delete(item.n);
    run.note({ type: "holdfast.delivered", n: item.n, to: input.to });
    if (reason !== undefined) noteDeadLetter(run, item.n, item.to, item.event, reason);
  }
  return { kind: "done" };
}

function noteDeadLetter(run: Run, n: number, to: Address, event: Event, reason: string): void {
  const head = run.actor.head as Head;
  head.dead ??= { count: 0, last: [] };
  const { dead } = head;
  dead.count++;
  dead.last.push({
    n,
    to: [to.type, to.id],
    event: run.plain(event, "event"),
    reason,
    at: new Date(run.nowMs).toISOString(),
  });
  while (dead.last.length > run.actor.definition.limits.deadLetters) dead.last.shift();
}
