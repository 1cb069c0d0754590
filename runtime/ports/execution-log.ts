/**
 * Where a job's runs are written down for people and for accounts, beside the job's own document: one record per attempt
 * of a slot, kept up to a bound. Every adapter passes `execution-log.contract.ts`.
 */
import type { OutcomeUnknown } from "./fenced-register.ts";
import type { Token } from "./store.ts";

export type ExecutionRecord = {
  /** The job and its slot, such as `settle/1790000000`. With `token` and `attempt`, the identity of the record. */
  readonly tickId: string;
  readonly attempt: number;
  /** When the slot was due, and when this attempt began and ended: milliseconds since 1970 by the owner's clock. */
  readonly dueMs: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: "done" | "failed" | "aborted";
  /** What was thrown, or returned, in few words. */
  readonly detail?: string;
  readonly owner: string;
  readonly token: Token;
  readonly traceId?: string;
};

export type AppendOutcome =
  | { readonly kind: "appended" }
  /** A record of this attempt is there already; the first one stays. */
  | { readonly kind: "repeated" }
  | OutcomeUnknown;

export interface ExecutionLog {
  /** Not fenced: that a late owner did something is what a log is for. */
  append(job: string, record: ExecutionRecord): Promise<AppendOutcome>;
  /** The latest records, newest first. Rejects when the log cannot be reached. */
  latest(job: string, count: number): Promise<readonly ExecutionRecord[]>;
}
