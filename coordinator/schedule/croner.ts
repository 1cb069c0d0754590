/**
 * Cron patterns by croner. It only ever gets dates and gives dates: no job of its own runs, and its clock is not read.
 * Croner's rule for summer time is ours: a fixed time that does not exist comes at the end of the gap, one that exists
 * twice comes once, at the first; a repeating pattern keeps to the real time that passes.
 */
import { Cron as Croner } from "croner";
import type { Cron } from "../ports/cron.ts";

export function readCron(pattern: string, timeZone: string): Cron {
  const croner = new Croner(pattern, { timezone: timeZone, paused: true });
  // A zone is looked at only when it is used.
  croner.nextRun(new Date(0));
  return {
    next: (afterMs) => croner.nextRun(new Date(afterMs))?.getTime(),
    previous: (beforeMs) => croner.previousRuns(1, new Date(beforeMs))[0]?.getTime(),
  };
}
