/**
 * When a job is due: the slots of a schedule, by arithmetic. A slot is named by the instant for which it is scheduled,
 * in milliseconds since 1970, never by the time at which it is begun; so it stays the same slot whoever computes it,
 * and when the schedule is changed around it. Nothing here knows what time it is.
 */
import { hashText } from "../../runtime/hash.ts";
import type { Cron, ReadCron } from "../ports/cron.ts";
import type { Schedule, Timing } from "./schedule.ts";

export interface Slots {
  /** Whether anything here reads its pattern, as yet; if not, whatever needs it throws. */
  isReadable(): boolean;
  /** The first slot at or after this instant; undefined: none comes any more. */
  first(atOrAfterMs: number): number | undefined;
  /** The last slot at or before this instant; undefined: there was none. */
  last(atOrBeforeMs: number): number | undefined;
  /** How many slots there are from one instant up to, but without, another, and which slot is the next to be counted. */
  count(fromMs: number, beforeMs: number): { readonly count: number; readonly next: number | undefined };
}

/** What one count of a cron pattern may cost; the rest is counted the next time. */
export const countedAtOnce = 10_000;

export function slotsOf(schedule: Schedule, readCron: ReadCron | undefined): Slots {
  const { timing, fromMs, untilMs } = schedule;
  const within = (slot: number | undefined) =>
    slot !== undefined && (untilMs === null || slot < untilMs) && (fromMs === null || slot >= fromMs)
      ? slot
      : undefined;
  const { next, previous, number, isReadable = () => true } = stepsOf(timing, readCron);
  const first = (ms: number) => within(next(fromMs === null ? ms : Math.max(ms, fromMs)));
  const last = (ms: number) => within(previous(untilMs === null ? ms : Math.min(ms, untilMs - 1)));
  const count = (from: number, before: number) => {
    const begin = first(from);
    if (begin === undefined || begin >= before) return { count: 0, next: begin };
    if (number !== undefined) {
      const end = last(before - 1) as number;
      return { count: number(end) - number(begin) + 1, next: first(end + 1) };
    }
    let slot: number | undefined = begin;
    let counted = 0;
    for (; slot !== undefined && slot < before && counted < countedAtOnce; counted++) slot = first(slot + 1);
    return { count: counted, next: slot };
  };
  return { isReadable, first, last, count };
}

/** How much later than its slot a job is begun: always the same for a job, spread evenly over many (jitter). */
export function offsetMs(job: string, { jitterMs }: Schedule): number {
  return jitterMs === 0 ? 0 : Number.parseInt(hashText(job).slice(0, 8), 16) % jitterMs;
}

type Steps = {
  /** The first slot at or after. */
  readonly next: (ms: number) => number | undefined;
  /** The last slot at or before. */
  readonly previous: (ms: number) => number | undefined;
  /** Which one it is, where slots have numbers: their differences count them. */
  readonly number?: (slot: number) => number;
  /** Missing: there is nothing to be read. */
  readonly isReadable?: () => boolean;
};

function stepsOf(timing: Timing, readCron: ReadCron | undefined): Steps {
  switch (timing.kind) {
    case "every": {
      const { periodMs, anchorMs } = timing;
      return {
        next: (ms) => anchorMs + Math.ceil((ms - anchorMs) / periodMs) * periodMs,
        previous: (ms) => anchorMs + Math.floor((ms - anchorMs) / periodMs) * periodMs,
        number: (slot) => (slot - anchorMs) / periodMs,
      };
    }
    case "once":
      return {
        next: (ms) => (ms <= timing.atMs ? timing.atMs : undefined),
        previous: (ms) => (ms >= timing.atMs ? timing.atMs : undefined),
        number: () => 0,
      };
    case "cron": {
      // Read when it is asked for: a job that has to do with no slot must not need whatever reads patterns.
      let known: Cron | undefined;
      const cron = () => {
        if (readCron === undefined) throw new Error(`nothing here reads the cron pattern ${timing.pattern}`);
        known ??= readCron(timing.pattern, timing.timeZone);
        return known;
      };
      const isReadable = () => {
        try {
          cron();
          return true;
        } catch {
          return false;
        }
      };
      // Both of cron's are exclusive.
      return {
        isReadable,
        next: (ms) => cron().next(Math.ceil(ms) - 1),
        previous: (ms) => cron().previous(Math.floor(ms) + 1),
      };
    }
  }
}
