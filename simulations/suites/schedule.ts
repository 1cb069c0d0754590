/**
 * Jobs on a schedule, by period and by cron, under every kind of fault, pauses, triggers, backfills and removals, two releases
 * that schedule a job differently, and old ticks that are sent again: no slot is begun twice or early, in one life of a job
 * or in two, none is lost unseen, and each policy's count is exact. It measures how long jobs stand still when their owner
 * changes.
 */
import type { Misfire, Overlap } from "../../coordinator/schedule/schedule.ts";
import { checkSuccessions, type SuccessionRule } from "../checkers/succession.ts";
import { nodeNames } from "../protocol/case.ts";
import { watchRejections } from "../run/ambient.ts";
import { type Fault, type FaultKind, lastsMs } from "../run/fault.ts";
import { commitsOf, whatWasMet } from "../run/rules.ts";
import { readLog } from "../run/story.ts";
import type { Looking, Plan, Ran, Suite } from "../run/suite.ts";
import { everyKind, swarm } from "../run/swarm.ts";
import { type JobSpec, runSchedule, successionsOf, takeoversOf, troubledMs } from "../schedule/case.ts";
import { Dice } from "../world/dice.ts";
import type { DrawnAt } from "../world/drawing.ts";

type Setup = { readonly jobs: readonly JobSpec[]; readonly replays: number; readonly interventions?: number };

const overlaps: readonly Overlap[] = ["skip", "bufferOne", "bufferAll", "cancelOther", "terminateOther", "allowAll"];

function job(dice: Dice): JobSpec {
  const everyMs = dice.pick([500, 1_000, 1_000, 2_000]);
  return {
    everyMs,
    isCron: everyMs % 1_000 === 0 && dice.chance(0.4),
    jitterMs: dice.pick([0, 0, 300]),
    misfire: dice.pick<Misfire>(["fireLatest", "skip", { fireAll: 3 }, { fireAll: 100 }]),
    overlap: dice.pick(overlaps),
    catchUpMs: dice.pick([3_000, 600_000]),
    graceMs: dice.pick([0, 200, 1_000]),
    workMs: dice.pick([0, 20, 700, 2_600]),
    failsOneIn: dice.pick([0, 0, 3]),
  };
}

export const schedule: Suite = {
  name: "schedule",
  about: "jobs every second, by period and by cron, under all kinds of faults, and old ticks that come again",
  plan: (seed) => {
    const dice = new Dice(`${seed}/jobs`);
    // Where owners only die, it can be judged how soon another goes on.
    const options = {
      kinds: new Dice(`${seed}/kinds`).chance(0.25) ? (["crash"] as const) : everyKind,
      nodes: nodeNames,
      clients: [],
      services: [],
      partitions: 2,
      untilMs: troubledMs - 1_000,
    };
    const jobs = Array.from({ length: dice.whole(1, 3) }, () => job(dice));
    const replays = dice.whole(0, 8);
    // Nobody pauses what is to be seen going on.
    const interventions = options.kinds === everyKind ? dice.whole(0, 8) : 0;
    // As during a roll-out.
    const isRollOut = interventions > 0 && dice.chance(0.3);
    const elsewhere = () => ({ everyMs: dice.pick([500, 1_000, 3_000, 3_600_000]), overlap: dice.pick(overlaps) });
    const setup: Setup = {
      jobs: isRollOut ? jobs.map((one) => ({ ...one, elsewhere: elsewhere() })) : jobs,
      replays,
      interventions,
    };
    return { seed, faults: swarm(seed, options), steps: [], setup };
  },
  run,
};

async function run({ seed, faults, setup }: Plan, looking: Looking = {}): Promise<Ran> {
  const { jobs, replays, interventions = 0 } = setup as Setup;
  const drawn: DrawnAt[] = [];
  const onDrawn = looking.picture === true ? (one: DrawnAt) => drawn.push(one) : undefined;
  const watched = watchRejections();
  const given = {
    seed,
    jobs,
    replays,
    interventions,
    troubles: [],
    faults,
    rates: { store: {}, request: {}, publish: {} },
  };
  const outcome = await runSchedule(given, looking.trace === true, onDrawn).finally(() => watched.end());
  const { world, performed } = outcome;
  const violations = [...(await watched.end()), ...outcome.violations];
  const story = readLog(world.store.log, Math.round(world.wallMs - world.nowMs));
  const takeovers = takeoversOf(outcome);
  const { ttlMs } = world.leases;
  // Whoever pauses and removes jobs is why they stand still.
  const judged = interventions > 0 ? [] : successionsOf(outcome);
  const successions = checkSuccessions(judged, {
    ttlMs,
    troubles: troublesIn(faults, [...outcome.deaths.values()]),
    endMs: world.nowMs,
  });
  return {
    violations: [...violations, ...successions.violations],
    traceHash: world.trace.hash,
    events: world.steps,
    virtualMs: world.nowMs,
    met: whatWasMet(faults, story),
    measuredMs: {
      [`death to the next run, without the lease back end's own delay (at most ${ttlMs} and a period)`]:
        successions.beyondMs,
      "grant to the new owner's first run": takeovers.map(({ toTickMs }) => toTickMs),
      "the old owner's last run to the new one's first": takeovers.map(({ silentMs }) => silentMs),
    },
    ...(looking.trace === true && { lines: world.trace.lines() }),
    ...(looking.picture === true && {
      picture: {
        title: `seed ${seed}, ${performed.length} runs of ${jobs.length} jobs`,
        lanes: [...nodeNames, "store"],
        drawn: [...drawn, ...commitsOf(story)].sort((a, b) => a.atMs - b.atMs),
        faults,
        violations,
        healedMs: troubledMs,
        endMs: world.nowMs,
      },
    }),
  };
}

/** All that is wrong but a single death: the others of another process, and what clocks and untold owners leave behind. */
function troublesIn(faults: readonly Fault[], deathsMs: readonly number[]): SuccessionRule["troubles"] {
  const staying: readonly FaultKind[] = ["step", "drift", "stop", "takeover"];
  const others = faults.filter(({ kind }) => kind !== "crash");
  return [
    ...others.map((fault) => ({
      fromMs: fault.at,
      untilMs: staying.includes(fault.kind) ? Number.POSITIVE_INFINITY : fault.at + lastsMs(fault),
    })),
    // A death does not disturb itself: what is over at its moment is over.
    ...deathsMs.map((atMs) => ({ fromMs: atMs, untilMs: atMs })),
  ];
}
