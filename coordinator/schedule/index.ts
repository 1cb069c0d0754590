/** Schedules as pure data and functions: what is due, and what a job does next. */
export {
  advance,
  type Counts,
  type Job,
  type JobInput,
  type JobOrder,
  type LogEntry,
  newJob,
  type Run,
  type RunOutcome,
  type RunResult,
} from "./job.ts";
export {
  type Misfire,
  type Moment,
  type Overlap,
  type Schedule,
  type ScheduleOptions,
  scheduleOf,
} from "./schedule.ts";
export { offsetMs, type Slots, slotsOf } from "./slots.ts";
