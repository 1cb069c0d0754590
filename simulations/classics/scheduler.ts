/**
 * Three mistakes of a well-known kind of scheduler, as data: a job that must run once, by whoever holds a lease, and each
 * time two run it. 2: a lease that confirms itself. 3: nothing stops, and nothing refuses, a holder whose time is over.
 * 4: a renewal that compares the wrong way round. Each is played with their code and with ours, on the same steps. Its
 * mistakes 1, 5 and 7, in how it keeps time, are in `ticks.ts`, and are told with them.
 */

import { type Play, playOurs, playTheirs, type Schedule } from "./scheduler-play.ts";
import { tellTicks } from "./ticks.ts";

export const schedules: readonly Schedule[] = [
  {
    name: "mistake-2",
    title: "whoever writes the lease reads back his own writing, and takes that for a yes",
    theirs: "selfConfirming",
    steps: [
      { atMs: 0, by: "a", does: "acquire" },
      { atMs: 50, by: "a", does: "begin" },
      { atMs: 100, by: "b", does: "acquire" },
      { atMs: 150, by: "b", does: "begin" },
      { atMs: 200, by: "b", does: "write" },
      { atMs: 250, by: "a", does: "write" },
    ],
  },
  {
    name: "mistake-3",
    title: "the work goes on after the lease is over, and nobody downstream can tell",
    theirs: "unfenced",
    steps: [
      { atMs: 0, by: "a", does: "acquire" },
      { atMs: 50, by: "a", does: "begin" },
      { atMs: 100, fault: "pause", of: "a", forMs: 12_000 },
      { atMs: 10_001, by: "b", does: "acquire" },
      { atMs: 10_050, by: "b", does: "begin" },
      { atMs: 10_100, by: "b", does: "write" },
      { atMs: 12_150, by: "a", does: "write" },
    ],
  },
  {
    name: "mistake-4",
    title: "a lease is renewed only where the stored version is above one's own: the healthy cannot, the stale can",
    theirs: "backwards",
    steps: [
      { atMs: 0, by: "a", does: "acquire" },
      { atMs: 50, by: "a", does: "begin" },
      { atMs: 3_000, by: "a", does: "renew" },
      { atMs: 6_000, by: "a", does: "renew" },
      { atMs: 10_001, by: "b", does: "acquire" },
      { atMs: 10_050, by: "b", does: "begin" },
      { atMs: 10_100, by: "b", does: "renew" },
      { atMs: 10_150, by: "a", does: "renew" },
      { atMs: 10_200, by: "b", does: "write" },
      { atMs: 10_250, by: "a", does: "write" },
    ],
  },
];

/** Prints the stories, and answers whether each went as it is told. Without a name: all. */
export async function tellScheduler(say: (line: string) => void, only?: string): Promise<boolean> {
  let allAsTold = true;
  for (const schedule of schedules.filter(({ name }) => only === undefined || name === only)) {
    say(`${schedule.name}: ${schedule.title}`);
    const theirs = await playTheirs(schedule);
    const ours = await playOurs(schedule);
    tell(say, "their lease, a resource that takes what comes", theirs);
    tell(say, "our lease in NATS KV, a resource that checks its token", ours);
    allAsTold &&= isBroken(theirs) && !isBroken(ours);
    say("");
  }
  return (await tellTicks(say, only)) && allAsTold;
}

function tell(say: (line: string) => void, title: string, play: Play): void {
  say(`  ${title}`);
  for (const line of play.story) say(`    ${line}`);
  const refused = play.refused.length === 0 ? "" : `, ${play.refused.join(" and ")} refused`;
  say(`    => ${play.written.join(" and ") || "nobody"} ran the job${refused}: ${isBroken(play) ? "TWICE" : "once"}`);
}

/** Two whose writing was taken are two runs of what must run once. */
export function isBroken({ written }: Play): boolean {
  return written.length > 1;
}
