/**
 * What callers ask for. Each request has a key: a known one is answered with its stored receipt, and a new one that is
 * accepted is written with its receipt, also where it changes nothing (S1).
 */
import { hashText } from "../hash.ts";
import type { Event } from "../machine/internals.ts";
import { Tree } from "../machine/tree.ts";
import { describeKey, type Key } from "../window.ts";
import { nameOf } from "./actor.ts";
import type { Input } from "./input.ts";
import { type Reply, refuse } from "./output.ts";
import { bury } from "./retention.ts";
import type { Run } from "./run.ts";

export function onCreate(run: Run, input: Extract<Input, { kind: "create" }>): Reply {
  const { actor, context } = run;
  const hash = hashText(
    JSON.stringify([run.plain(input.input, "input"), input.event ? run.plain(input.event, "event") : 0]),
  );
  const known = lookUp(run, input.key, hash);
  if (known !== undefined) return known;
  if (actor.head !== undefined) {
    if (input.event !== undefined && actor.head.status !== "deleted") {
      return onEvent(run, { kind: "event", event: input.event, key: input.key }, hash);
    }
    const was =
      actor.head.status === "deleted"
        ? "was deleted, and its tombstone still guards keys: use another id, or purge it"
        : "exists: repeat create under its first key, or use createAndSend";
    return refuse("AlreadyExists", `${nameOf(actor)} ${was}`);
  }
  if (input.event !== undefined) {
    const wrong = unusable(run, input.event);
    if (wrong !== undefined) return wrong;
  }
  actor.head = {
    seq: 0,
    atMs: run.nowMs,
    status: "active",
    born: context.born,
    token: context.token,
    expiresMs: undefined,
    dead: undefined,
    output: undefined,
    origin: undefined,
    trace: undefined,
  };
  run.note(
    { type: "xstate.init", ...(input.input !== undefined && { input: run.plain(input.input, "input") }) },
    input.key,
  );
  // A drop-in has made its tree already, and shows its initial snapshot before the start.
  actor.tree =
    actor.options.handle ??
    Tree.create(actor.definition.logic, { ...actor.options, rootId: actor.name.id }, input.input, run.nowMs);
  run.inTree((tree) => tree.start(run.nowMs), true);
  if (input.event !== undefined) {
    const event = input.event;
    run.note(run.encodeEvent(event));
    run.inTree((tree) => tree.send(event, run.nowMs));
  }
  return accept(run, input.key, hash, true);
}

export function onEvent(run: Run, input: Extract<Input, { kind: "event" }>, givenHash?: string): Reply {
  const { actor } = run;
  const body = run.encodeEvent(input.event);
  const text = JSON.stringify(body);
  // Automatic keys are never used for another body.
  const hash = input.key.kind === "auto" ? "" : (givenHash ?? hashText(text));
  const known = lookUp(run, input.key, hash);
  if (known !== undefined) return known;
  if (actor.head === undefined || actor.head.status === "deleted") return missing(run);
  const wrong = unusable(run, input.event);
  if (wrong !== undefined) return wrong;
  run.noteText(text, body, input.key);
  // The machine gets what the document holds, not an object that the caller may still change.
  const event = actor.options.live === undefined ? run.received(text, body === input.event) : input.event;
  const changed = run.inTree((tree) => tree.send(event, run.nowMs));
  return accept(run, input.key, hash, changed);
}

export function onDelete(run: Run, input: Extract<Input, { kind: "delete" }>): Reply {
  const { actor } = run;
  const hash = "delete";
  const known = lookUp(run, input.key, hash);
  if (known !== undefined) return known;
  if (actor.head === undefined || actor.head.status === "deleted") return missing(run);
  run.note({ type: "holdfast.delete" }, input.key);
  bury(run, actor.head);
  return accept(run, input.key, hash, true);
}

export function onBarrier(run: Run): Reply {
  if (run.actor.head === undefined) return missing(run);
  run.note({ type: "holdfast.barrier" });
  return { kind: "receipt", receipt: { revision: run.seq, changed: false }, duplicate: false };
}

function lookUp(run: Run, key: Key, hash: string): Reply | undefined {
  const found = run.actor.window.lookup(key, hash, run.actor.definition.limits);
  switch (found.kind) {
    case "new":
      return undefined;
    case "known":
      return { kind: "receipt", receipt: found.receipt, duplicate: true };
    case "reused":
      return refuse("KeyReused", `key ${describeKey(key)} of ${nameOf(run.actor)} was used for another body`);
    case "malformed":
      return refuse("InvalidRequest", `the name of a client is 1 to 64 letters, digits, ".", "-" and "_"`);
    case "tooManyGaps":
      return refuse(
        "Overloaded",
        `${found.gaps} earlier requests of this client to ${nameOf(run.actor)} have no outcome yet`,
      );
  }
}

function accept(run: Run, key: Key, hash: string, changed: boolean): Reply {
  const receipt = { revision: run.seq, changed };
  run.actor.window.add(key, hash, receipt, run.nowMs, run.actor.definition.limits);
  run.commits = true;
  return { kind: "receipt", receipt, duplicate: false };
}

function unusable(run: Run, event: Event): Reply | undefined {
  if (reserved(event.type)) {
    return refuse(
      "UnknownEvent",
      `the type "${event.type}" is reserved: types beginning with "xstate." or "holdfast." come only from inside`,
    );
  }
  if (run.actor.definition.handles(event.type)) return undefined;
  return refuse("UnknownEvent", `no state of ${run.actor.name.type} ever handles "${event.type}"`);
}

function missing(run: Run): Reply {
  const deleted = run.actor.head?.status === "deleted";
  const why = deleted ? "was deleted: use another id" : "does not exist: create it first, or use createAndSend";
  return refuse("NotFound", `${nameOf(run.actor)} ${why}`);
}

/** Types that only the inside may send. */
export function reserved(type: string): boolean {
  return type.startsWith("xstate.") || type.startsWith("holdfast.");
}
