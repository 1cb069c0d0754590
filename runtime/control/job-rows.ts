/** Scheduled jobs as a list: what stands in their documents, in a few columns. */
import type { Job } from "../../coordinator/schedule/job.ts";
import { readDocument } from "../document.ts";
import { parseActorKey } from "../keys.ts";
import { rootSid } from "../machine/tree.ts";
import type { ActorStore, StoredEntry } from "../ports/store.ts";
import { jobType } from "../schedules.ts";

/** Times are ISO 8601. Counts are since the job was made. */
export type JobRow = {
  readonly name: string;
  readonly state: string;
  readonly next: string | null;
  /** The last slot that was begun. */
  readonly last: string | null;
  /** How late the latest run began, after it was due. */
  readonly lateMs: number | null;
  /** Who did the latest run: a session, on NATS. */
  readonly owner: string | null;
  /** What the owner's process calls itself, where that is known: its session may be gone. */
  readonly node?: string;
  /** Under which the document was written last. */
  readonly token: string;
  readonly running: number;
  readonly waiting: number;
  readonly begun: number;
  readonly failed: number;
  /** Slots that were not begun in time, and were not made good for. */
  readonly missed: number;
  /** Slots that were left out because earlier work was running, too many waited, or the job was paused. */
  readonly overlap: number;
  readonly full: number;
  readonly paused: number;
  /** Why its document cannot be read, if it cannot. */
  readonly problem?: string;
};

/** By name; without those that were removed. */
export async function jobRows(store: ActorStore): Promise<readonly JobRow[]> {
  const rows: JobRow[] = [];
  const prefix = `${jobType}.`;
  for (let after: string | undefined; ; ) {
    const page = await store.list({ prefix, limit: 1_000, ...(after !== undefined && { after }) });
    rows.push(...page.map(rowOf).filter(({ state }) => state !== "removed"));
    after = page.at(-1)?.key;
    if (page.length < 1_000) return rows;
  }
}

function rowOf(entry: StoredEntry): JobRow {
  const name = parseActorKey(entry.key)?.id ?? entry.key;
  try {
    const { state, token, actors } = readDocument(entry.value);
    const { context: job } = (actors[rootSid]?.snap ?? {}) as unknown as { context?: Job };
    if (job?.counts?.missed === undefined) throw new Error("it is no scheduled job");
    const { counts, log, running, waiting } = job;
    const { missed, skipped } = counts;
    const latest = log.findLast(({ owner }) => owner !== undefined);
    return {
      name,
      state,
      next: iso(job.next),
      last: iso(job.last),
      lateMs: latest?.lateMs ?? null,
      owner: latest?.owner ?? null,
      token: token.join("."),
      running: running.length,
      waiting: waiting.length,
      begun: counts.begun,
      failed: counts.failed + counts.timedOut,
      missed: missed.old + missed.superseded + missed.overMax + missed.late,
      overlap: skipped.overlap,
      full: skipped.full,
      paused: skipped.paused,
    };
  } catch (error) {
    const none = { next: null, last: null, lateMs: null, owner: null, token: "" };
    const zero = { running: 0, waiting: 0, begun: 0, failed: 0, missed: 0, overlap: 0, full: 0, paused: 0 };
    return { name, state: "", ...none, ...zero, problem: (error as Error).message };
  }
}

function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
