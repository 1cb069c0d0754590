/** The verbs that only read, over any store: a host's own, or a directory that no host has open. */
import { isOurs } from "../host/commit.ts";
import { type ParkedRecord, readParked } from "../host/parking.ts";
import { actorKey, checkType, parkedPrefix, parseActorKey } from "../keys.ts";
import { type ActorSummary, scanActors } from "../listing.ts";
import type { ActorStore, StoredEntry } from "../ports/store.ts";
import { ControlError } from "./errors.ts";
import { jobRows } from "./job-rows.ts";
import type { ActorRow, ParkedRow, StoredText, Verbs } from "./verbs.ts";

/** Documents that one list reads before it answers with what it has: well under a second of work. */
const maxRead = 5_000;

export type ReadingVerbs = Pick<Verbs, "ls" | "get" | "history" | "parked" | "jobs" | "backup">;

/** `parkedRecords`: all of them, by their actors' keys. */
export function readingVerbs(store: ActorStore, parkedRecords: () => Promise<readonly ParkedRecord[]>): ReadingVerbs {
  return {
    async ls({ after, limit = 1_000, ...filter }) {
      if (filter.type !== undefined) checkType(filter.type);
      const parked = new Map((await parkedRecords()).map(({ actor, reason }) => [actor, reason]));
      const scan = await scanActors(store, filter, { after, limit, maxRead });
      const actors = scan.actors.map((actor) => rowOf(actor, parked.get(actorKey(actor.type, actor.id))));
      return { actors, ...(scan.next !== undefined && { next: scan.next }) };
    },

    async get({ type, id }) {
      const key = actorKey(type, id);
      const entry = await store.read(key);
      if (entry === undefined) throw notFound(type, id);
      const record = (await parkedRecords()).find(({ actor }) => actor === key);
      return { ...textOf(entry), ...(record !== undefined && { parked: parkedRowOf(record) }) };
    },

    async history({ type, id, limit }) {
      const entries = await store.history(actorKey(type, id));
      if (entries.length === 0) throw notFound(type, id);
      return (limit === undefined ? entries : entries.slice(-limit)).map(textOf);
    },

    async parked() {
      const rows = (await parkedRecords()).map(parkedRowOf);
      return rows.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    },

    jobs: () => jobRows(store),

    async backup({ directory }) {
      if (!canBackUp(store))
        throw new ControlError("NotSupported", `${store.info.name} cannot be copied while it is in use`);
      await store.backup(directory);
      return { directory };
    },
  };
}

/** For a store without a host, which would know them. */
export async function parkedIn(store: ActorStore): Promise<readonly ParkedRecord[]> {
  const records: ParkedRecord[] = [];
  for (let after: string | undefined; ; ) {
    const page = await store.list({ prefix: parkedPrefix, limit: 1_000, ...(after !== undefined && { after }) });
    records.push(...page.map(parkedRecordOf));
    after = page.at(-1)?.key;
    if (page.length < 1_000) return records;
  }
}

function parkedRecordOf({ key, value, revision }: StoredEntry): ParkedRecord {
  const actor = key.slice(parkedPrefix.length);
  const unreadable = { reason: "foreign", message: "the parking record itself cannot be read", at: "" } as const;
  return readParked(value) ?? { actor, ...unreadable, revision, token: [0, 0] };
}

function parkedRowOf({ actor, revision, token: _, ...record }: ParkedRecord): ParkedRow {
  const name = parseActorKey(actor) ?? { type: "?", id: actor };
  return { ...name, ...record, storeRevision: revision };
}

function rowOf({ at, nextTimer, ...summary }: ActorSummary, parked: string | undefined): ActorRow {
  return {
    ...summary,
    at: summary.problem === undefined ? at.toISOString() : null,
    nextTimer: nextTimer?.toISOString() ?? null,
    ...(parked !== undefined && { parked }),
  };
}

function textOf(entry: StoredEntry): StoredText {
  return { storeRevision: entry.revision, by: isOurs(entry) ? "runtime" : "hand", text: entry.value };
}

function notFound(type: string, id: string): ControlError {
  return new ControlError("NotFound", `${type} ${JSON.stringify(id)} does not exist`);
}

function canBackUp(store: ActorStore): store is ActorStore & { backup(directory: string): Promise<void> } {
  return typeof (store as { backup?: unknown }).backup === "function";
}
