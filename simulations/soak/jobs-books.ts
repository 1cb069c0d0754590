/**
 * The books of the jobs: what was due by the calendar, what Redis was told, what the documents count. Pure, and apart from
 * what wrote any of them. Each difference is a sentence.
 */
import { type DoneEntry, type HostedJob, periodMs } from "./jobs.ts";

export type JobBooks = {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly jobs: readonly HostedJob[];
  readonly done: readonly DoneEntry[];
  /** How long after its slot a job is due: its jitter. */
  readonly offsetMsOf: (job: string) => number;
};

export type JobVerdict = {
  readonly due: number;
  readonly done: number;
  /** Left out by policy, and counted. */
  readonly leftOut: Readonly<Record<string, number>>;
  readonly lost: number;
  readonly doubled: number;
  readonly early: number;
  readonly differences: readonly string[];
};

export function checkJobs({ fromMs, untilMs, jobs, done, offsetMsOf }: JobBooks): JobVerdict {
  const differences: string[] = [];
  const leftOut: Record<string, number> = {};
  const duePerJob = Math.floor((untilMs - fromMs) / periodMs);
  let lost = 0;
  let doubled = 0;
  let early = 0;
  const slotsOf = new Map<string, Set<number>>(jobs.map(({ name }) => [name, new Set()]));
  for (const { job, slot, atMs, clockMs, owner } of done) {
    const slots = slotsOf.get(job);
    const isDue = slot >= fromMs && slot < untilMs && slot % periodMs === 0;
    if (slots === undefined || !isDue) {
      differences.push(`${job}/${slot} was done, and nobody had asked for it`);
      continue;
    }
    if (slots.has(slot)) {
      doubled++;
      differences.push(`${job}/${slot} was done twice, the second time by ${owner}`);
    }
    slots.add(slot);
    // Neither by the clock of its node nor really: one that is behind may run what another, whose clock was right, was told
    // the time for.
    const aheadMs = slot + offsetMsOf(job) - Math.max(clockMs, atMs);
    if (aheadMs > 0) {
      early++;
      differences.push(`${job}/${slot} was begun ${aheadMs} ms early by the clock of ${owner}`);
    }
  }
  for (const job of jobs) {
    let counted = 0;
    for (const [reason, count] of Object.entries(job.leftOut)) {
      counted += count;
      if (count > 0) leftOut[reason] = (leftOut[reason] ?? 0) + count;
    }
    const seen = slotsOf.get(job.name)?.size ?? 0;
    if (job.next !== null || job.open > 0)
      differences.push(`${job.name} is not over: ${job.open} runs are open, next is ${job.next ?? "none"}`);
    if (seen + counted < duePerJob) {
      lost += duePerJob - seen - counted;
      differences.push(`${job.name}: ${duePerJob} slots were due, ${seen} done and ${counted} counted as left out`);
    }
    if (seen + counted > duePerJob)
      differences.push(
        `${job.name}: ${seen} done and ${counted} left out are more than the ${duePerJob} that were due`,
      );
  }
  return { due: duePerJob * jobs.length, done: done.length, leftOut, lost, doubled, early, differences };
}
