/**
 * Actors found by scanning documents, in the order of their keys. A scan reads a bounded number of documents and says
 * where to go on, so that no question, however rare its answers, holds up a host. Never fails for a damaged document.
 */

import type { AnyActorLogic } from "xstate";
import { type DocumentStatus, readDocument } from "./document.ts";
import { InvalidRequestError } from "./errors.ts";
import { actorKey, isOwnKey, parseActorKey } from "./keys.ts";
import { unknownName } from "./machine/names.ts";
import { type KeysOf, unknownOptions } from "./options.ts";
import type { ActorStore, StoredEntry } from "./ports/store.ts";

export type ActorFilter = {
  /** Every type, when it is not given. */
  readonly type?: string;
  /** Only actors in this state, or inside it: "paying", "open.editing"; in all of several: "packing.sealed,payment.paid". */
  readonly state?: string;
  readonly tag?: string;
  /** Deleted actors only when "deleted" asks for them. */
  readonly status?: DocumentStatus;
};

export type ListOptions = Omit<ActorFilter, "type"> & {
  /** Only ids after this one, in the order of their keys. */
  readonly after?: string;
  /** Default 1,000. */
  readonly limit?: number;
};

const listOptions: KeysOf<ListOptions> = { state: true, tag: true, status: true, after: true, limit: true };
const statuses: KeysOf<Record<DocumentStatus, true>> = {
  active: true,
  done: true,
  error: true,
  stopped: true,
  deleted: true,
};

export type ActorSummary = {
  readonly type: string;
  readonly id: string;
  readonly state: string;
  readonly status: DocumentStatus;
  readonly tags: readonly string[];
  readonly at: Date;
  readonly revision: number;
  /** Pending effects and messages. */
  readonly pending: number;
  /** The earliest timer. */
  readonly nextTimer: Date | undefined;
  /** Why the document cannot be read, if it cannot: then the fields above, but for type and id, say nothing. */
  readonly problem?: string;
};

export type ScanBounds = {
  /** Only keys after this one. */
  readonly after?: string | undefined;
  /** Most actors to find. */
  readonly limit: number;
  /** Most documents to read. */
  readonly maxRead: number;
};

export type Scan = {
  readonly actors: readonly ActorSummary[];
  /** The key to go on after; undefined when everything was seen. */
  readonly next: string | undefined;
};

const pageSize = 250;
/** Above all keys of the runtime itself, which stand in the middle of the others, and below every type's after them. */
const afterOwnKeys = "`";

export async function scanActors(store: ActorStore, filter: ActorFilter, bounds: ScanBounds): Promise<Scan> {
  const actors: ActorSummary[] = [];
  const prefix = filter.type === undefined ? "" : `${filter.type}.`;
  let { after } = bounds;
  for (let read = 0; read < bounds.maxRead; ) {
    const limit = Math.min(pageSize, bounds.maxRead - read);
    const page = await store.list({ prefix, limit, ...(after !== undefined && { after }) });
    for (const entry of page) {
      if (actors.length >= bounds.limit) return { actors, next: after };
      after = isOwnKey(entry.key) ? afterOwnKeys : entry.key;
      if (after === afterOwnKeys) break;
      const summary = summaryOf(entry);
      if (summary !== undefined && matches(summary, filter)) actors.push(summary);
    }
    if (page.length < limit && after !== afterOwnKeys) return { actors, next: undefined };
    if (page.length === 0) return { actors, next: undefined };
    read += page.length;
  }
  return { actors, next: after };
}

/** Costs one read per actor of the type, up to the limit of matches. `logic`: of the type, where it is known. */
export async function listActors(
  store: ActorStore,
  type: string,
  options: ListOptions = {},
  logic?: AnyActorLogic,
): Promise<ActorSummary[]> {
  checkList(options);
  const { tag } = options;
  const unknown = logic === undefined || tag === undefined ? undefined : unknownName(logic, { tag });
  if (unknown !== undefined) throw new InvalidRequestError(`list: ${type} has ${unknown}`);
  const { after: afterId, limit = 1_000, ...filter } = options;
  const found: ActorSummary[] = [];
  let after = afterId === undefined ? undefined : actorKey(type, afterId);
  while (found.length < limit) {
    const scan = await scanActors(store, { ...filter, type }, { after, limit: limit - found.length, maxRead: 10_000 });
    found.push(...scan.actors);
    if (scan.next === undefined) break;
    after = scan.next;
  }
  return found;
}

function checkList(options: ListOptions): void {
  const { status, limit } = options;
  const problems = unknownOptions(options, listOptions);
  if (status !== undefined && !Object.hasOwn(statuses, status))
    problems.push(`status is ${JSON.stringify(status)}; it must be one of ${Object.keys(statuses).join(", ")}`);
  if (limit !== undefined && !(limit >= 1 && (Number.isInteger(limit) || limit === Number.POSITIVE_INFINITY)))
    problems.push(`limit is ${JSON.stringify(limit)}; it must be a whole number, 1 or more`);
  if (problems.length > 0) throw new InvalidRequestError(`list: ${problems.join("; ")}`);
}

function summaryOf({ key, value }: StoredEntry): ActorSummary | undefined {
  const name = parseActorKey(key);
  if (name === undefined) return undefined;
  try {
    const document = readDocument(value);
    const due = Object.values(document.timers)
      .map((timer) => Date.parse(timer.due))
      .sort((a, b) => a - b)[0];
    return {
      ...name,
      state: document.state,
      status: document.status,
      tags: document.tags ?? [],
      at: new Date(document.at),
      revision: document.seq,
      pending: document.outbox.length,
      nextTimer: due === undefined ? undefined : new Date(due),
    };
  } catch (error) {
    // A damaged document is parked as soon as it is needed; a list does not fail for it.
    return {
      ...name,
      state: "(unreadable)",
      status: "error",
      tags: [],
      at: new Date(0),
      revision: 0,
      pending: 0,
      nextTimer: undefined,
      problem: (error as Error).message,
    };
  }
}

function matches(summary: ActorSummary, { state, tag, status }: ActorFilter): boolean {
  if (status === undefined ? summary.status === "deleted" : summary.status !== status) return false;
  if (tag !== undefined && !summary.tags.includes(tag)) return false;
  if (state === undefined) return true;
  const leaves = summary.state.split(",");
  return state.split(",").every((wanted) => leaves.some((leaf) => leaf === wanted || leaf.startsWith(`${wanted}.`)));
}
