/**
 * One actor in memory: its committed document, taken apart. Hot between steps, and consumed by them: what was not
 * committed is thrown away, and `load` reads the committed text again.
 */
import type { ActorDefinition } from "../definition.ts";
import { type DeadLetter, type Document, type DocumentStatus, readDocument } from "../document.ts";
import { Inbox } from "../inbox.ts";
import type { Json } from "../machine/codec.ts";
import type { SystemOptions } from "../machine/system.ts";
import { Tree, type TreeOptions } from "../machine/tree.ts";
import { type Adaptation, restoreTree } from "../migration.ts";
import { type OutboxItem, readItem, readSend } from "../outbox.ts";
import type { Token } from "../ports/store.ts";
import { isTraceparent } from "../ports/telemetry.ts";
import { Window } from "../window.ts";

/** The part of a document that is not the tree, the outbox, the window or the inbox. */
export type Head = {
  seq: number;
  atMs: number;
  status: DocumentStatus;
  born: string;
  token: Token;
  expiresMs: number | undefined;
  /** Missing until there is one. */
  dead: { count: number; last: DeadLetter[] } | undefined;
  /** Of a tombstone. */
  output: Json | undefined;
  /** W3C traceparents of what led to the first commit that had one, and to the latest. */
  origin: string | undefined;
  trace: string | undefined;
};

export type ActorName = { readonly type: string; readonly id: string };

export type Actor = {
  readonly name: ActorName;
  readonly definition: ActorDefinition;
  readonly options: SystemOptions & Pick<TreeOptions, "live"> & { readonly handle?: Tree };
  /** How its documents begin. */
  readonly prefix: string;
  /** The committed document; undefined: there is none. */
  base: string | undefined;
  head: Head | undefined;
  tree: Tree | undefined;
  outbox: Map<number, OutboxItem>;
  window: Window;
  inbox: Inbox;
  /** Done before anything else, in the next step: what a changed machine asks for. */
  adaptation: Adaptation | undefined;
};

/** Reads a committed document, or makes an actor that does not exist yet. Throws what `readDocument` and `restoreTree` throw. */
export function load(
  name: ActorName,
  definition: ActorDefinition,
  options: Actor["options"],
  base: string | undefined,
): Actor {
  const actor: Actor = {
    name,
    definition,
    options,
    prefix: `{"id":${JSON.stringify(name.id)},"type":"${name.type}","state":`,
    base,
    head: undefined,
    tree: undefined,
    outbox: new Map(),
    window: new Window(),
    inbox: new Inbox(),
    adaptation: undefined,
  };
  if (base === undefined) return actor;
  const document = readDocument(base);
  actor.head = {
    seq: document.seq,
    atMs: Date.parse(document.at),
    status: document.status,
    born: document.born,
    token: document.token,
    expiresMs: document.expires === undefined ? undefined : Date.parse(document.expires),
    dead: document.dead && { count: document.dead.count, last: [...document.dead.last] },
    output: document.output,
    origin: isTraceparent(document.origin) ? document.origin : undefined,
    trace: isTraceparent(document.trace) ? document.trace : undefined,
  };
  actor.window = Window.read(document.seen);
  actor.inbox = Inbox.read(document.inbox);
  if (document.status === "deleted") {
    readTombstoneOutbox(actor, document);
    return actor;
  }
  const { tree, adaptation } = restoreTree(document, definition, { ...options, rootId: name.id }, options.handle);
  actor.tree = tree;
  actor.adaptation = adaptation;
  for (const record of document.outbox) {
    const isOfDropped = "by" in record && record.by !== undefined && adaptation?.dropped.has(record.by);
    if (!isOfDropped) actor.outbox.set(record.n, readItem(record, tree));
  }
  return actor;
}

function readTombstoneOutbox(actor: Actor, document: Document): void {
  const codec = Tree.codec(actor.options);
  for (const record of document.outbox) {
    if (record.do !== "send") continue;
    actor.outbox.set(record.n, { ...readSend(record, codec), text: JSON.stringify(record) });
  }
}

/** When the actor next needs to be looked at without being asked: 0 for pending work, a time for timers, else undefined. */
export function dueMs(actor: Actor): number | undefined {
  const { head, tree } = actor;
  if (head === undefined) return undefined;
  let due: number | undefined = head.expiresMs;
  const consider = (ms: number | undefined) => {
    if (ms !== undefined && (due === undefined || ms < due)) due = ms;
  };
  for (const item of actor.outbox.values()) consider(item.dueMs ?? 0);
  if (actor.adaptation?.isPending) consider(0);
  // An actor that ended fires no timers, though children that outlived it may have left some.
  if (tree !== undefined && head.status === "active") {
    consider(tree.nextDueMs);
    if (tree.volatileSids().length > 0) consider(0);
  }
  return due;
}

/** How messages to people name it. */
export function nameOf(actor: Actor): string {
  return `${actor.name.type} ${JSON.stringify(actor.name.id)}`;
}
