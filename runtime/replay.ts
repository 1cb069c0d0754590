/**
 * An actor's stored history once more through its machine, commit by commit: each starts from the document before it and
 * gets the causes that it names, at the time, with the token and under the ids that it has. What comes out must be what
 * is stored; where it is not, today's code is not what made it, or the machine is not a function of its inputs.
 *
 * Compared is all that the machine makes: state, actors, timers, outbox, output, dead letters. The window of keys and the
 * inbox depend on numbers that causes do not hold, and are left out.
 */
import type { ActorDefinition } from "./definition.ts";
import { type Cause, type Document, readDocument } from "./document.ts";
import type { Json } from "./machine/codec.ts";
import { promiseRejected, promiseResolved } from "./machine/internals.ts";
import { Tree } from "./machine/tree.ts";
import { type Actor, type Input, load, type Step, step } from "./step.ts";

/** One kept revision, oldest first. `by` "hand": no runtime wrote it. */
export type KeptRevision = { readonly text: string; readonly by: "runtime" | "hand" };

export type ReplayedStep = {
  /** The actor's own revision; undefined where the text is no document. */
  readonly revision: number | undefined;
  readonly at: string | undefined;
  readonly state: string | undefined;
  readonly causes: readonly Cause[];
  /** Paths of the document that this commit changed, with the values before and after. */
  readonly changes: readonly Difference[];
  /** Effects, messages and timers that it set, and those that it ended. */
  readonly begun: readonly string[];
  readonly ended: readonly string[];
  readonly verdict: ReplayVerdict;
};

export type ReplayVerdict =
  | { readonly kind: "same" }
  /** What is stored against what the machine makes of it now. */
  | { readonly kind: "differs"; readonly differences: readonly Difference[] }
  /** The machine, or the step, refuses what it once took. */
  | { readonly kind: "refused"; readonly why: string }
  /** Nothing to prove it with. */
  | { readonly kind: "unproved"; readonly why: string };

/** A side is undefined where there is nothing. */
export type Difference = {
  readonly path: string;
  readonly before: Json | undefined;
  readonly after: Json | undefined;
};

const made = ["state", "status", "tags", "actors", "timers", "outbox", "next", "output", "dead"] as const;

export function replayHistory(definition: ActorDefinition, history: readonly KeptRevision[]): ReplayedStep[] {
  let before: Document | undefined;
  let beforeText: string | undefined;
  return history.map(({ text, by }) => {
    let document: Document;
    try {
      document = readDocument(text);
    } catch (error) {
      before = undefined;
      beforeText = undefined;
      const why = by === "hand" ? "written by hand" : (error as Error).message;
      const nothing = { revision: undefined, at: undefined, state: undefined };
      return { ...nothing, causes: [], changes: [], begun: [], ended: [], verdict: { kind: "unproved", why } };
    }
    const verdict: ReplayVerdict =
      by === "hand"
        ? { kind: "unproved", why: "written by hand" }
        : before === undefined && document.seq > 1
          ? { kind: "unproved", why: "the revision before it is not kept" }
          : before !== undefined && document.seq !== before.seq + 1 && document.seq !== 1
            ? { kind: "unproved", why: `revisions ${before.seq + 1} to ${document.seq - 1} are not kept` }
            : judged(definition, document.seq === 1 ? undefined : beforeText, document);
    const replayed = describe(before, document, verdict);
    before = document;
    beforeText = text;
    return replayed;
  });
}

function judged(definition: ActorDefinition, base: string | undefined, document: Document): ReplayVerdict {
  let closest: readonly Difference[] | undefined;
  let why = "";
  // A relayed event does not say to whom it went: each actor of the tree may have got it.
  const targets = ["s0", ...Object.keys(document.actors).filter((sid) => sid !== "s0")];
  const isRelayed = document.causes.some(isRelay);
  for (const target of isRelayed ? targets : ["s0"]) {
    let outcome: Step | string;
    try {
      outcome = again(definition, base, document, target);
    } catch (error) {
      outcome = (error as Error).message;
    }
    if (typeof outcome === "string" || outcome.text === undefined) {
      why ||= typeof outcome === "string" ? outcome : "nothing would be committed";
      continue;
    }
    const differences = differencesOf(document, readDocument(outcome.text), made);
    if (differences.length === 0) return { kind: "same" };
    if (closest === undefined || differences.length < closest.length) closest = differences;
  }
  return closest === undefined ? { kind: "refused", why } : { kind: "differs", differences: closest };
}

function again(
  definition: ActorDefinition,
  base: string | undefined,
  document: Document,
  target: string,
): Step | string {
  const name = { type: document.type, id: document.id };
  const actor = load(name, definition, { onOutside: () => {} }, base);
  const inputs = inputsOf(document, actor, target);
  const result = step(actor, inputs, {
    nowMs: Date.parse(document.at),
    token: document.token,
    commit: document.commit,
    born: document.born,
    traces: [document.trace],
  });
  const bad = result.replies.find((reply) => reply.kind === "refused" || reply.kind === "park");
  if (bad?.kind === "refused") return bad.error.message;
  if (bad?.kind === "park") return bad.error instanceof Error ? bad.error.message : String(bad.error);
  return result.taken < inputs.length ? "the causes are too many for one commit now" : result;
}

function inputsOf(document: Document, actor: Actor, target: string): Input[] {
  const inputs = document.causes.flatMap((cause, index) => inputOf(cause, index, document, actor, target) ?? []);
  // What only the inbox remembers commits nothing here: a barrier does.
  return [...inputs, { kind: "barrier" }];
}

function inputOf(cause: Cause, index: number, document: Document, actor: Actor, target: string): Input | undefined {
  const codec = Tree.codec({});
  const { type, n } = cause as { type: string; n: number };
  const key = { kind: "caller", key: String(cause["@key"] ?? cause.key ?? `replayed ${index}`) } as const;
  const decode = (value: Json | undefined) =>
    value === undefined
      ? undefined
      : actor.tree === undefined
        ? codec.decodeValue(value)
        : actor.tree.decodeValue(value);
  switch (type) {
    case "xstate.init":
      return { kind: "create", input: decode(cause.input), key };
    case "xstate.stop":
      return { kind: "stop" };
    case promiseResolved:
      return { kind: "result", n, outcome: { ok: true, value: decode(cause.data) } };
    case promiseRejected:
      return { kind: "result", n, outcome: { ok: false, error: decode(cause.data) } };
    case "holdfast.acted":
      return { kind: "acted", n };
    case "holdfast.delivered": {
      const letter = document.dead?.last.find((one) => one.n === n);
      const dead = letter === undefined ? [] : [{ n, reason: letter.reason }];
      return { kind: "delivered", to: String(cause.to), upTo: n, dead };
    }
    case "holdfast.retry": {
      const due = document.outbox.find((item) => item.n === n) as { due?: string } | undefined;
      return { kind: "retry", n, attempt: Number(cause.attempt), dueMs: Date.parse(due?.due ?? document.at) };
    }
    case "holdfast.failed":
      return { kind: "failed", sid: String(cause.sid) as never, error: decode(cause.error) };
    case "holdfast.delete":
      return { kind: "delete", key };
    case "holdfast.expire":
      return { kind: "expire" };
    case "holdfast.claim":
      return { kind: "claim" };
    case "holdfast.barrier":
    case "holdfast.settled":
    // Done when the document is loaded.
    case "holdfast.adapted":
      return undefined;
    default:
      return eventInput(cause, key, index, actor, target, decode);
  }
}

function eventInput(
  cause: Cause,
  key: Extract<Input, { kind: "event" }>["key"],
  index: number,
  actor: Actor,
  target: string,
  decode: (value: Json) => unknown,
): Input | undefined {
  const keyed = origin(cause, "key");
  if (keyed !== undefined) return { kind: "event", event: decode(keyed.event) as never, key };
  const timer = origin(cause, "timer");
  if (timer !== undefined && /^t\d+$/.test(timer.value)) return { kind: "timer", n: Number(timer.value.slice(1)) };
  const by = origin(cause, "by");
  // The event of a createAndSend stands after its create, whatever fields it has.
  if (actor.head === undefined && index > 0) return { kind: "event", event: decode(cause) as never, key };
  // Applied when the document is loaded.
  if (by?.value === "migration") return undefined;
  if (by !== undefined) {
    const source = by.value === "outside" ? undefined : (by.value as never);
    return { kind: "relay", source, target: target as never, event: decode(by.event) as never };
  }
  const from = origin(cause, "from");
  if (from !== undefined) {
    const sender = { key: from.value, born: "replay", partition: -1 };
    // Numbers that nothing before can have used: what the inbox makes of them is not compared.
    const number = [Number.MAX_SAFE_INTEGER, 0, index] as const;
    const items = [{ n: Number.MAX_SAFE_INTEGER - 10_000 + index, event: decode(from.event) as never }];
    return { kind: "message", sender, number, life: actor.head?.born, items };
  }
  return { kind: "event", event: decode(cause) as never, key };
}

/** What stands beside an event to say where it came from, and the event without it. */
function origin(
  cause: Cause,
  field: "by" | "from" | "key" | "timer",
): { readonly value: string; readonly event: Cause } | undefined {
  const name = Object.hasOwn(cause, `@${field}`) ? `@${field}` : field;
  const { [name]: value, ...event } = cause;
  return typeof value === "string" ? { value, event: event as Cause } : undefined;
}

function isRelay(cause: Cause): boolean {
  const by = origin(cause, "by")?.value;
  return by !== undefined && by !== "migration" && !cause.type.startsWith("holdfast.");
}

// ---- what a commit did ----

function describe(before: Document | undefined, document: Document, verdict: ReplayVerdict): ReplayedStep {
  const old = document.seq === 1 ? undefined : before;
  const items = (of: Document | undefined) => new Map((of?.outbox ?? []).map((item) => [item.n, outboxText(item)]));
  const timers = (of: Document | undefined) =>
    new Map(Object.entries(of?.timers ?? {}).map(([name, { id, due }]) => [name, `timer ${id} due ${due}`]));
  const parts = [[items(old), items(document)] as const, [timers(old), timers(document)] as const];
  return {
    revision: document.seq,
    at: document.at,
    state: document.state,
    causes: document.causes,
    changes: old === undefined ? [] : differencesOf(old, document, ["state", "status", "actors", "output"]),
    begun: parts.flatMap(([was, is]) => without<string | number>(is, was)),
    ended: parts.flatMap(([was, is]) => without<string | number>(was, is)),
    verdict,
  };
}

function without<TName>(all: ReadonlyMap<TName, string>, those: ReadonlyMap<TName, string>): string[] {
  return [...all].filter(([name]) => !those.has(name)).map(([, text]) => text);
}

function outboxText(item: Document["outbox"][number]): string {
  switch (item.do) {
    case "action":
      return `action ${item.type} (${item.n})`;
    case "start":
      return `work of ${item.by} (${item.n})`;
    case "emit":
      return `emit ${JSON.stringify(item.event)} (${item.n})`;
    case "send":
      return `message ${JSON.stringify(item.event)} to ${item.to.join(".")} (${item.n})`;
  }
}

/** Where two documents differ, down to the smallest parts, in the named fields. */
function differencesOf(before: Document, after: Document, fields: readonly (keyof Document)[]): Difference[] {
  return fields.flatMap((field) =>
    differing(field, before[field] as Json | undefined, after[field] as Json | undefined),
  );
}

/** Where two values differ, down to the smallest parts. */
export function differing(path: string, before: Json | undefined, after: Json | undefined): Difference[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (!isComposite(before) || !isComposite(after) || Array.isArray(before) !== Array.isArray(after))
    return [{ path, before, after }];
  const [old, now] = [before, after] as unknown as Readonly<Record<string, Json | undefined>>[];
  const names = new Set([...Object.keys(old ?? {}), ...Object.keys(now ?? {})]);
  return [...names].flatMap((name) => differing(`${path}.${name}`, old?.[name], now?.[name]));
}

function isComposite(value: Json | undefined): boolean {
  return typeof value === "object" && value !== null;
}
