/**
 * A schedule as users write it, and as it is kept in a job's document: plain data, every default filled in, every time
 * in milliseconds. `scheduleOf` is the one way from the first to the second, and says all that is wrong at once.
 */
import { type Duration, durationMs } from "../../runtime/duration.ts";
import { InvalidRequestError } from "../../runtime/errors.ts";
import { type KeysOf, unknownOptions } from "../../runtime/options.ts";
import type { ReadCron } from "../ports/cron.ts";
import { type Slots, slotsOf } from "./slots.ts";

/** A moment: a Date, milliseconds since 1970, or ISO 8601 text: a day ("2030-06-01", in UTC), or a time that names its zone. */
export type Moment = Date | string | number;

/** What to do with slots that were not begun in time. Those beyond `catchUp` are only counted, whatever it says. */
export type Misfire =
  /** Only the latest of them, and that only if no slot in time follows. Default. */
  | "fireLatest"
  /** None of them. */
  | "skip"
  /** The latest so many, in order. */
  | { readonly fireAll: number };

/** What to do with a slot that comes while the work of an earlier one is still running. */
export type Overlap =
  /** Leave it out. Default. */
  | "skip"
  /** Let one wait. */
  | "bufferOne"
  /** Let them all wait, up to a bound. */
  | "bufferAll"
  /** Ask the running work to end (its signal is aborted), and begin once it has. */
  | "cancelOther"
  /** End the running work without waiting for it, and begin. */
  | "terminateOther"
  /** Run beside it. */
  | "allowAll";

export type ScheduleOptions = {
  /** A slot every so often, at anchor + n × every. */
  readonly every?: Duration;
  /** Default: 1970-01-01T00:00:00Z, which puts "1s" on whole seconds. */
  readonly anchor?: Moment;
  /** Five fields, or six with seconds first. */
  readonly cron?: string;
  /** IANA name, of `cron`. Default "UTC". */
  readonly timeZone?: string;
  /** One slot only. */
  readonly at?: Moment;
  /** No slot before it. */
  readonly from?: Moment;
  /** No slot at it or later. */
  readonly until?: Moment;
  /** Jobs are begun up to this much after their slots: always the same for one job, different for many. Default 0. */
  readonly jitter?: Duration;
  readonly misfire?: Misfire;
  /** Slots older than this are never made good for, only counted. Default one day. */
  readonly catchUp?: Duration;
  /** How late a slot may be begun and still be in time. Default one second. */
  readonly grace?: Duration;
  readonly overlap?: Overlap;
  /** Work that takes longer is aborted. Default five minutes. */
  readonly timeout?: Duration;
  /** Runs that the document's log keeps. Default 5. */
  readonly log?: number;
};

const scheduleOptions: KeysOf<ScheduleOptions> = {
  every: true,
  anchor: true,
  cron: true,
  timeZone: true,
  at: true,
  from: true,
  until: true,
  jitter: true,
  misfire: true,
  catchUp: true,
  grace: true,
  overlap: true,
  timeout: true,
  log: true,
};

export type Timing =
  | { readonly kind: "every"; readonly periodMs: number; readonly anchorMs: number }
  | { readonly kind: "cron"; readonly pattern: string; readonly timeZone: string }
  | { readonly kind: "once"; readonly atMs: number };

/** Kept in the document. */
export type Schedule = {
  readonly timing: Timing;
  readonly fromMs: number | null;
  readonly untilMs: number | null;
  readonly jitterMs: number;
  readonly misfire: Misfire;
  readonly catchUpMs: number;
  readonly graceMs: number;
  readonly overlap: Overlap;
  readonly timeoutMs: number;
  readonly log: number;
};

/** Slots that may wait, and so the most that `fireAll` may ask for: they stand in the document. */
export const maxWaiting = 1_000;
/** Work of one job that may run at once under `allowAll`. */
export const maxRunning = 100;
const shortestPeriodMs = 10;
const maxLog = 50;

const overlaps: readonly Overlap[] = ["skip", "bufferOne", "bufferAll", "cancelOther", "terminateOther", "allowAll"];

/** Throws InvalidRequestError with everything that is wrong. `readCron` is needed for `cron` alone. */
export function scheduleOf(job: string, options: ScheduleOptions, readCron?: ReadCron): Schedule {
  const problems = unknownOptions(options, scheduleOptions);
  const schedule: Schedule = {
    timing: timingOf(options, readCron, problems),
    fromMs: momentOf("from", options.from, problems),
    untilMs: momentOf("until", options.until, problems),
    jitterMs: lengthOf("jitter", options.jitter, 0, problems),
    misfire: options.misfire ?? "fireLatest",
    catchUpMs: lengthOf("catchUp", options.catchUp, 86_400_000, problems),
    graceMs: lengthOf("grace", options.grace, 1_000, problems),
    overlap: options.overlap ?? "skip",
    timeoutMs: lengthOf("timeout", options.timeout, 300_000, problems),
    log: options.log ?? 5,
  };
  problems.push(...problemsOf(schedule));
  if (problems.length === 0) problems.push(...slotProblems(schedule, slotsOf(schedule, readCron)));
  if (problems.length > 0) throw new InvalidRequestError(`schedule ${JSON.stringify(job)}: ${problems.join("; ")}`);
  return schedule;
}

function timingOf(options: ScheduleOptions, readCron: ReadCron | undefined, problems: string[]): Timing {
  const { every, cron, at, timeZone = "UTC" } = options;
  const given = [every, cron, at].filter((one) => one !== undefined).length;
  if (given !== 1) problems.push("it needs one of every, cron and at, and only one");
  if (options.anchor !== undefined && every === undefined) problems.push("anchor goes with every");
  if (options.timeZone !== undefined && cron === undefined) problems.push("timeZone goes with cron");
  if (cron !== undefined) {
    problems.push(...cronProblems(cron, timeZone, readCron));
    return { kind: "cron", pattern: cron, timeZone };
  }
  if (at !== undefined) return { kind: "once", atMs: momentOf("at", at, problems) ?? 0 };
  const periodMs = every === undefined ? 1_000 : durationMs(every);
  if (periodMs === undefined || !Number.isInteger(periodMs) || periodMs < shortestPeriodMs)
    problems.push(
      `every is ${JSON.stringify(every)}; it must be ${shortestPeriodMs} ms or more, in whole milliseconds: "1s"`,
    );
  return { kind: "every", periodMs: periodMs ?? 1_000, anchorMs: momentOf("anchor", options.anchor, problems) ?? 0 };
}

function cronProblems(pattern: unknown, timeZone: string, readCron: ReadCron | undefined): string[] {
  const fields = typeof pattern === "string" ? pattern.trim().split(/\s+/).length : 0;
  if (fields !== 5 && fields !== 6)
    return [`cron is ${JSON.stringify(pattern)}; it must have five fields, or six with seconds first`];
  if (readCron === undefined) return ["nothing was given that reads cron patterns"];
  try {
    readCron("* * * * *", timeZone);
  } catch {
    return [`timeZone is ${JSON.stringify(timeZone)}; it must be an IANA name such as "Europe/Berlin"`];
  }
  try {
    readCron(pattern as string, timeZone);
    return [];
  } catch (error) {
    return [`cron is ${JSON.stringify(pattern)}: ${(error as Error).message}`];
  }
}

function problemsOf(schedule: Schedule): string[] {
  const { timing, fromMs, untilMs, jitterMs, misfire, catchUpMs, graceMs, overlap, timeoutMs, log } = schedule;
  const problems: string[] = [];
  if (fromMs !== null && untilMs !== null && untilMs <= fromMs)
    problems.push(`until (${iso(untilMs)}) is not after from (${iso(fromMs)})`);
  if (timing.kind === "every" && jitterMs > timing.periodMs)
    problems.push(`jitter is ${jitterMs} ms, more than the ${timing.periodMs} ms between two slots`);
  if (graceMs > catchUpMs) problems.push(`grace (${graceMs} ms) is longer than catchUp (${catchUpMs} ms)`);
  if (timeoutMs < 1) problems.push("timeout must be 1 ms or more");
  if (!overlaps.includes(overlap))
    problems.push(`overlap is ${JSON.stringify(overlap)}; it must be one of ${overlaps.join(", ")}`);
  if (!Number.isInteger(log) || log < 1 || log > maxLog) problems.push(`log is ${log}; it must be from 1 to ${maxLog}`);
  problems.push(...misfireProblems(misfire));
  return problems;
}

function slotProblems({ timing, fromMs, graceMs }: Schedule, slots: Slots): string[] {
  const first = slots.first(fromMs ?? (timing.kind === "once" ? timing.atMs : 0));
  if (first === undefined)
    return ["it has no slot at all: the pattern, or what from and until leave of it, never comes"];
  // All of them may be begun in one step. No two slots of a pattern are closer than a second.
  const closestMs = timing.kind === "every" ? timing.periodMs : 1_000;
  if (graceMs <= closestMs * maxRunning) return [];
  let last: number | undefined = first;
  for (let count = 0; count <= maxRunning && last !== undefined; count++) last = slots.first(last + 1);
  return last !== undefined && last - first <= graceMs
    ? [`grace (${graceMs} ms) spans more than ${maxRunning} slots`]
    : [];
}

function misfireProblems(misfire: unknown): string[] {
  if (misfire === "fireLatest" || misfire === "skip") return [];
  const max = (misfire as { fireAll?: unknown } | null)?.fireAll;
  if (Number.isInteger(max) && (max as number) >= 1 && (max as number) <= maxWaiting) return [];
  return [
    `misfire is ${JSON.stringify(misfire)}; it must be "fireLatest", "skip", or { fireAll: n } with n from 1 to ${maxWaiting}`,
  ];
}

function momentOf(name: string, given: Moment | undefined, problems: string[]): number | null {
  if (given === undefined) return null;
  const ms = momentMs(given);
  if (ms === undefined)
    problems.push(`${name} is ${String(given)}; it must be a date, milliseconds since 1970, or ${isoExample}`);
  return ms ?? null;
}

export const isoExample = 'ISO 8601 text with its zone, such as "2030-06-01T12:00:00Z"';

/** Text without a zone would be another moment on a node that is set to another: then one slot would have two names. */
const zonedText = /^[+-]?\d{4,6}-\d\d-\d\d(T.*(Z|[+-]\d\d:?\d\d))?$/;

/** Milliseconds since 1970; undefined when it is no moment, or not the same one everywhere. */
export function momentMs(given: Moment): number | undefined {
  const isText = typeof given === "string";
  if (isText && !zonedText.test(given)) return undefined;
  const ms = isText ? Date.parse(given) : given instanceof Date ? given.getTime() : given;
  return Number.isSafeInteger(ms) && Math.abs(ms) <= 8.64e15 ? ms : undefined;
}

function lengthOf(name: string, given: Duration | undefined, otherwise: number, problems: string[]): number {
  if (given === undefined) return otherwise;
  const ms = durationMs(given);
  if (ms !== undefined) return Math.round(ms);
  problems.push(`${name} is ${JSON.stringify(given)}; write a duration such as "30s", or milliseconds`);
  return otherwise;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
