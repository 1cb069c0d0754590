/**
 * When a run has come to rest: no effect, no message, no timer that is overdue, no entry of the index without a need. What
 * lives as long as its actor (callbacks, observables) is no work that must end, and who is parked waits for a person.
 */
import type { ActorDefinition } from "../../runtime/definition.ts";
import type { Document, OutboxRecord } from "../../runtime/document.ts";
import { parkedPrefix, pendingPrefix } from "../../runtime/keys.ts";
import { restoreTree } from "../../runtime/migration.ts";
import type { World } from "../world/world.ts";
import type { Ground } from "./ground.ts";
import { needOf } from "./story.ts";

export class Rest {
  readonly #world: World;
  readonly #ground: Ground;
  readonly #definitions: Readonly<Record<string, ActorDefinition>>;
  #looked = -1;
  #isFree = false;
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(world: World, ground: Ground, definitions: Readonly<Record<string, ActorDefinition>>) {
    this.#world = world;
    this.#ground = ground;
    this.#definitions = definitions;
  }

  isReached(): boolean {
    if (this.#ground.log.length !== this.#looked) this.#look();
    return this.#isFree && this.#nextMs > this.#world.wallMs;
  }

  /** For people: each thing that keeps it from being reached. */
  whatIsLeft(): readonly string[] {
    const { documents, entries } = this.#read();
    const nowMs = this.#world.wallMs;
    const work = [...documents].flatMap(([key, document]) => [
      ...document.outbox.map((item) => `${key}: ${tellWork(item, document)}`),
      ...Object.values(document.timers)
        .filter(({ due }) => Date.parse(due) <= nowMs)
        .map(({ id, due }) => `${key}: the timer ${id} was due at ${due}, and has not fired`),
    ]);
    const idle = this.#idle(documents, entries).map(
      (key) => `${key}: the index of pending work names it, and it has none`,
    );
    return [...work, ...idle];
  }

  #look(): void {
    this.#looked = this.#ground.log.length;
    const { documents, entries } = this.#read();
    const all = [...documents.values()];
    this.#isFree = !all.some(({ outbox }) => outbox.length > 0) && this.#idle(documents, entries).length === 0;
    this.#nextMs = Math.min(...all.map((document) => needOf(document) ?? Number.POSITIVE_INFINITY));
  }

  #read(): { readonly documents: ReadonlyMap<string, Document>; readonly entries: readonly string[] } {
    const all = this.#ground.peekAll();
    const namedBy = (prefix: string) =>
      all.filter(({ key }) => key.startsWith(prefix)).map(({ key }) => key.slice(prefix.length));
    const parked = new Set(namedBy(parkedPrefix));
    const documents = new Map<string, Document>();
    for (const { key, value } of all)
      if (!key.startsWith("_") && !parked.has(key)) documents.set(key, JSON.parse(value) as Document);
    return { documents, entries: namedBy(pendingPrefix).filter((key) => !parked.has(key)) };
  }

  /** Whom the index names, though nothing is to be done for it. */
  #idle(documents: ReadonlyMap<string, Document>, entries: readonly string[]): readonly string[] {
    return entries.filter((key) => {
      const document = documents.get(key);
      return document === undefined || (needOf(document) === undefined && !this.#lives(document));
    });
  }

  /** Whether a child of it lives in a process, to be begun again in another. */
  #lives(document: Document): boolean {
    const definition = this.#definitions[document.type];
    if (definition === undefined || document.status !== "active") return false;
    try {
      const { tree } = restoreTree(document, definition, { onOutside: () => {}, rootId: document.id });
      return tree.volatileSids().length > 0;
    } catch {
      // What cannot be revived is parked by the hosts, and the rules say so.
      return false;
    }
  }
}

function tellWork(item: OutboxRecord, { actors }: Document): string {
  switch (item.do) {
    case "start":
      return `the invoked work ${JSON.stringify(actors[item.by]?.src ?? item.by)} has not ended`;
    case "action":
      return `the action ${JSON.stringify(item.type)} has not been done`;
    case "send":
      return `a message to ${item.to.join(".")} has not arrived: ${JSON.stringify(item.event)}`;
    case "emit":
      return `an event that it emits has not been given out: ${JSON.stringify(item.event)}`;
  }
}
