/**
 * An incident taken up in the simulator: the document of a kept revision is put into a world's store, the production host
 * runs it there, callers send what they sent later, and one fault strikes that did not strike then.
 */

import { fromCallback, fromObservable, fromPromise } from "xstate";
import type { ActorDefinition } from "../../runtime/definition.ts";
import { type Cause, type Document, readDocument } from "../../runtime/document.ts";
import { hashText } from "../../runtime/hash.ts";
import { actorKey, pendingKey } from "../../runtime/keys.ts";
import type { Json } from "../../runtime/machine/codec.ts";
import { kindOf, type Logic } from "../../runtime/machine/internals.ts";
import { effectOf } from "../../runtime/machine/live.ts";
import { Tree } from "../../runtime/machine/tree.ts";
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import { type Difference, differing, type KeptRevision } from "../../runtime/replay.ts";
import { type Attempt, bootHosts, Client } from "../protocol/rig.ts";
import { needOf } from "../run/story.ts";
import { createWorld, type World } from "../world/world.ts";

export const forkFaults = ["none", "crash", "freeze", "unknown", "duplicate"] as const;
export type ForkFault = (typeof forkFaults)[number];

export function isForkFault(text: string): text is ForkFault {
  return (forkFaults as readonly string[]).includes(text);
}

export type Fork = {
  readonly definition: ActorDefinition;
  readonly history: readonly KeptRevision[];
  /** The actor's own revision to go on from. */
  readonly revision: number;
  readonly fault: ForkFault;
  readonly seed?: string;
};

const forkOptions: KeysOf<Fork> = { definition: true, history: true, revision: true, fault: true, seed: true };

export type ForkOutcome = {
  readonly steps: readonly { readonly at: number; readonly text: string }[];
  /** Whether state and context are in the end what they were in the last kept revision. */
  readonly isSameEnd: boolean;
  readonly differences: readonly Difference[];
};

/** What the nodes have to start in before the moment of the revision: then its work goes on ahead of what callers sent later. */
const bootMs = 1_000;

/** The work of effects is not done again: a fork is about the actor, not about the world outside. */
export async function forkIncident(options: Fork): Promise<ForkOutcome> {
  refuseUnknown("options of forkIncident", options, forkOptions, RangeError);
  const { definition, history, revision, fault, seed = "fork" } = options;
  const documents = history.flatMap(({ text }) => readable(text) ?? []);
  const start = documents.find(({ seq }) => seq === revision);
  const end = documents.at(-1);
  if (start === undefined || end === undefined)
    throw new Error(`revision ${revision} is not kept; kept are ${documents.map(({ seq }) => seq).join(", ")}`);
  const startMs = Date.parse(start.at);
  const world = createWorld({ seed, epochMs: startMs - bootMs, leases: { partitions: 1, ttlMs: 3_000 } });
  const key = actorKey(start.type, start.id);
  const later = documents.filter(({ seq }) => seq > revision);
  const then = workIn(documents, later);
  const { commit } = start;
  const needMs = needOf(start);
  const due = needMs === undefined || needMs === 0 ? 0 : new Date(needMs).toISOString();
  if (needMs !== undefined) put(world, pendingKey(key), JSON.stringify({ due, token: [0, 0], commit }), commit);
  put(world, key, JSON.stringify({ ...start, token: [0, 0] }), commit);
  bootHosts(world, ["n1", "n2"], [], () => ({ [start.type]: withResults(definition, then) }));
  // It strikes while what was pending is taken up, else what callers sent.
  world.after(start.outbox.length > 0 ? 0 : bootMs, `the fault ${fault}`, () => plan(world, fault));
  const attempts: Attempt[] = [];
  const client = new Client(world, "caller", attempts);
  const work = send(world, client, key, later, startMs - bootMs);
  await world.settle(work, 400 * 24 * 3_600_000);
  world.heal();
  for (const node of ["n1", "n2"]) if (world.node(node).state === "crashed") world.node(node).restart();
  await world.run({ forMs: Math.max(10_000, Date.parse(end.at) - startMs + bootMs - world.nowMs + 10_000) });
  return outcomeOf(world, key, end);
}

/** As it stood then: the document, and that the index of pending work names it, or nobody would take its work up. */
function put(world: World, key: string, value: string, commit: string): void {
  const header = { commit, hash: hashText(value) };
  const written = world.store.data.write({ key, value, header, expect: 0, token: [0, 0] }, "incident", 0);
  if (written.kind !== "written") throw new Error(`the document could not be put into the world: ${written.kind}`);
}

function readable(text: string): Document | undefined {
  try {
    return readDocument(text);
  } catch {
    return undefined;
  }
}

/** Invoked work as the history has it, by its actor's number and its own: `s1/7`. */
type Work = {
  readonly begun: ReadonlySet<string>;
  readonly results: ReadonlyMap<string, Cause>;
  /** Of an actor's number. */
  readonly sources: ReadonlyMap<string, Json | undefined>;
};

function workIn(documents: readonly Document[], later: readonly Document[]): Work {
  const begun = documents.flatMap(({ outbox }) =>
    outbox.flatMap((item) => (item.do === "start" ? [`${item.by}/${item.n}`] : [])),
  );
  const results = later
    .flatMap(({ causes }) => causes)
    .flatMap((cause): [string, Cause][] =>
      cause.type.startsWith("xstate.promise.") ? [[`${String(cause.sid)}/${String(cause.n)}`, cause]] : [],
    );
  const sources = documents.flatMap(({ actors }) =>
    Object.entries(actors).map(([sid, { src }]) => [sid, src] as const),
  );
  return { begun: new Set(begun), results: new Map(results), sources: new Map(sources) };
}

/**
 * Invoked work gives what it gave then, and the same again where it runs again under its key; what gave nothing then does
 * not end. What was not begun then, as the fork has left the history, gives what the next of its name gave that is still to
 * come. Callbacks and observables are silent. Actions stay, and do what they do.
 */
function withResults(definition: ActorDefinition, { begun, results, sources }: Work): ActorDefinition {
  const left = new Map(results);
  const given = new Map<string, Cause>();
  const codec = Tree.codec({});
  const causeFor = (work: string, name: string): Cause | undefined => {
    const isOfName = (one: string) => sources.get(one.slice(0, one.indexOf("/"))) === name;
    if ((results.has(work) || begun.has(work)) && isOfName(work)) return results.get(work);
    return [...left].find(([one]) => isOfName(one))?.[1];
  };
  const again = (name: string) =>
    fromPromise(async (args) => {
      const work = effectOf(args).key.split("/").slice(-2).join("/");
      const cause = given.get(work) ?? causeFor(work, name);
      if (cause === undefined) return new Promise(() => {});
      given.set(work, cause);
      for (const [one, same] of left) if (same === cause) left.delete(one);
      const value = codec.decodeValue(cause.data as never);
      if (cause.type.endsWith(".reject")) throw value;
      return value;
    });
  const standIns = { callback: fromCallback(() => {}), observable: fromObservable(silence) };
  const standInFor = (name: string, logic: Logic): unknown => {
    const kind = kindOf(logic);
    if (kind === "machine") return withStandIns(logic);
    if (kind === "promise") return again(name);
    return kind in standIns ? standIns[kind as keyof typeof standIns] : logic;
  };
  const withStandIns = (logic: Logic): Logic => {
    const { provide, implementations } = logic as unknown as Provided;
    const actors = Object.entries(implementations.actors).map(([name, one]) => [name, standInFor(name, one)]);
    return actors.length === 0 ? logic : provide.call(logic, { actors: Object.fromEntries(actors) });
  };
  const logic = definition.logic as unknown as Logic;
  return kindOf(logic) === "machine" ? { ...definition, logic: withStandIns(logic) as never } : definition;
}

type Provided = {
  readonly implementations: { readonly actors: Readonly<Record<string, Logic>> };
  provide(given: object): Logic;
};

const silence = () => ({ subscribe: () => ({ unsubscribe: () => {} }) });

function plan(world: World, fault: ForkFault): void {
  switch (fault) {
    case "crash":
      for (const node of ["n1", "n2"])
        world.node(node).crashAt("store.write:answer", { nth: 2, restartAfterMs: 1_000 });
      break;
    case "freeze":
      for (const node of ["n1", "n2"]) world.node(node).freezeAt("store.write:answer", 10_000, { nth: 2 });
      break;
    case "unknown":
      world.store.faults.next("write", 2, "unknown-applied");
      break;
    case "duplicate":
      world.bus.requestFaults.rates = { duplicate: 1 };
      break;
  }
}

/** Callers' events at the times at which they were committed. Timers, results and messages come from the world itself. */
async function send(
  world: World,
  client: Client,
  key: string,
  later: readonly Document[],
  epochMs: number,
): Promise<void> {
  for (const { at, causes } of later) {
    for (const cause of causes) {
      const field = Object.hasOwn(cause, "@key") ? "@key" : "key";
      if (cause[field] === undefined || cause.type.startsWith("xstate.") || cause.type.startsWith("holdfast."))
        continue;
      const { [field]: id, ...event } = cause;
      await world.sleep(Math.max(0, Date.parse(at) - epochMs - world.nowMs));
      await client.run({ actor: key, id: String(id), op: "event", value: event, callersKey: true });
    }
  }
}

function outcomeOf(world: World, key: string, end: Document): ForkOutcome {
  const stored = world.store.peek(key);
  const now = stored === undefined ? undefined : readDocument(stored.value);
  const steps = world.store.log.flatMap((change) => {
    if (change.key !== key || change.value === undefined) return [];
    const atMs = Math.max(0, change.atMs - bootMs);
    const document = readable(change.value);
    const causes = document?.causes.map(({ type }) => type).join(", ");
    return [{ at: atMs, text: `${document?.seq ?? "?"} ${document?.state ?? ""} by ${causes}` }];
  });
  const root = (document: Document | undefined) => {
    const snap = document?.actors.s0?.snap as { readonly context?: unknown } | undefined;
    return { state: document?.state, status: document?.status, context: snap?.context };
  };
  const [before, after] = [root(end), root(now)];
  const differences = (["state", "status", "context"] as const).flatMap((path) =>
    differing(path, before[path] as Json | undefined, after[path] as Json | undefined),
  );
  return { steps, isSameEnd: differences.length === 0, differences };
}
