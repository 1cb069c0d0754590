/** The jobs of the soak, and what each run of one leaves behind in Redis: the same for hosts and for those who judge them. */
import { fencedScript } from "../../runtime/adapters/redis/index.ts";
import type { Duration, JobHandle, ScheduleOptions } from "../../runtime/index.ts";
import type { Stall } from "./stalls.ts";

const jobCount = 200;
export const jobNames = Array.from({ length: jobCount }, (_, index) => `job-${index}`);
export const jobsBucket = "soak-jobs";
export const periodMs = 1_000;
const jitter: Duration = "900ms";

/** Half of the jobs make good for every slot, the others for the latest, as is the default: what they leave out is counted. */
export function jobOptions(name: string, fromMs: number, untilMs: number): ScheduleOptions {
  const common = { every: periodMs, jitter, from: fromMs, until: untilMs, timeout: "20s" } as const;
  const isEven = Number(name.slice("job-".length)) % 2 === 0;
  return isEven ? { ...common, misfire: { fireAll: 1_000 }, overlap: "bufferAll" } : common;
}

/** A run whose write was taken. */
export type DoneEntry = {
  readonly job: string;
  readonly slot: number;
  /** When its handler began: really, and by the clock of its node. */
  readonly atMs: number;
  readonly clockMs: number;
  readonly owner: string;
};

export const doneKey = "soak:done";
export const repeatedKey = "soak:repeated";

/**
 * What the register's own write does, and a line for the books in the same step. ARGV: value, effect, line. KEYS: where
 * the lines go, how often an effect that wrote last came again.
 */
export const writeAndNote = fencedScript(`if redis.call('HGET', KEYS[1], 'effect') == ARGV[5] then
  redis.call('INCR', KEYS[3])
  return {'repeated'}
end
redis.call('HSET', KEYS[1], 'value', ARGV[4], 'effect', ARGV[5])
redis.call('RPUSH', KEYS[2], ARGV[6])
return {'applied'}`);

/** What a host tells of itself. `ran`: a handler began, so late. */
export type FromHost =
  | { readonly kind: "ran"; readonly lateMs: number }
  | { readonly kind: "fenced"; readonly tickId: string }
  | ({ readonly kind: "stalled" } & Stall)
  | { readonly kind: "jobs"; readonly jobs: readonly HostedJob[] };

/** Of a job's document, what the books need. */
export type HostedJob = {
  readonly name: string;
  /** The first slot of its life, and the next that is due. */
  readonly first: number | null;
  readonly next: number | null;
  /** Runs that go on or wait. */
  readonly open: number;
  readonly begun: number;
  /** Slots that were left out, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
  readonly failed: number;
};

export type ToHost = { readonly kind: "tell" } | { readonly kind: "stepClock"; readonly offsetMs: number };

export async function hostedJob(handle: JobHandle): Promise<HostedJob> {
  const job = await handle.state();
  if (job === undefined) return { name: handle.name, first: 0, next: 0, open: 0, begun: 0, leftOut: {}, failed: 0 };
  const { missed, skipped, begun, failed, timedOut, cancelled, terminated } = job.counts;
  return {
    name: handle.name,
    first: job.first,
    next: job.next,
    open: job.running.length + job.waiting.length,
    begun,
    leftOut: { ...missed, ...skipped },
    failed: failed + timedOut + cancelled + terminated,
  };
}
