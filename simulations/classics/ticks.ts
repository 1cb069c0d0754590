/**
 * Three more mistakes of that kind of scheduler, in how it keeps time. 1: a lock that is free again is no record of what
 * was done in this second. 5: a rounding that names a second too early. 7: a ticker that makes good for a stall by
 * accident, all at once. Each is played with their code, and with the shipped one through the same seconds.
 */

import type { Job } from "../../coordinator/schedule/job.ts";
import type { Document } from "../../runtime/document.ts";
import { rootSid } from "../../runtime/machine/tree.ts";
import type { Fault } from "../run/fault.ts";
import { runSchedule } from "../schedule/case.ts";
import { createWorld, type World } from "../world/world.ts";

export type TickMistake = {
  readonly name: string;
  readonly title: string;
  /** What goes wrong with theirs. */
  readonly breaks: "twice" | "early" | "not at all";
  /** Their two nodes; the same pause comes to one of ours. */
  readonly theirs: (world: World, run: (by: string, slot: number) => void) => void;
  readonly pause?: { readonly atMs: number; readonly forMs: number };
};

export type TickRun = { readonly by: string; readonly slot: number; readonly atMs: number };

export type TickPlay = {
  readonly runs: readonly TickRun[];
  /** Slots that were left out and that nobody counted. */
  readonly unseen: number;
  readonly counted: number;
};

/** How long both are watched, in virtual seconds, and from which on: by then both are at work. */
const fromSecond = 3;
const untilSecond = 13;
const pause = { atMs: 4_200, forMs: 4_500 };

export const tickMistakes: readonly TickMistake[] = [
  {
    name: "mistake-1",
    title: "a lock is held while the job runs, five milliseconds; the next node's second begins a little later",
    breaks: "twice",
    theirs: (world, run) => {
      let holder: string | undefined;
      for (const [by, phaseMs] of [
        ["a", 0],
        ["b", 400],
      ] as const) {
        const { clock } = world.node(by).ports;
        const tick = (): void => {
          clock.after(1_000, tick);
          if (holder !== undefined) return;
          holder = by;
          run(by, secondOf(world.nowMs));
          clock.after(5, () => {
            holder = undefined;
          });
        };
        clock.after(phaseMs, tick);
      }
    },
  },
  {
    name: "mistake-5",
    title: "a tolerance of 50 ms, taken off before the rounding down to whole seconds, takes off a whole second",
    breaks: "early",
    theirs: (world, run) => {
      const { clock } = world.node("a").ports;
      const next = (slot: number): void => {
        const dueMs = Math.floor((slot * 1_000 - 50) / 1_000) * 1_000;
        clock.after(Math.max(0, dueMs - world.nowMs), () => {
          run("a", slot);
          next(slot + 1);
        });
      };
      next(1);
    },
  },
  {
    name: "mistake-7",
    title: "a ticker adds a second to the last tick's time and waits; after a stall it has nothing to wait for",
    breaks: "twice",
    pause,
    theirs: (world, run) => {
      const { clock } = world.node("a").ports;
      const next = (dueMs: number): void => {
        clock.after(Math.max(0, dueMs - world.nowMs), () => {
          run("a", secondOf(world.nowMs));
          next(dueMs + 1_000);
        });
      };
      next(1_000);
      world.after(pause.atMs, "a stands still", () => world.node("a").suspend(pause.forMs));
    },
  },
];

function secondOf(ms: number): number {
  return Math.floor(ms / 1_000);
}

export async function playTheirTicks({ name, theirs }: TickMistake): Promise<TickPlay> {
  const world = createWorld({ seed: name });
  const runs: TickRun[] = [];
  theirs(world, (by, slot) => runs.push({ by, slot, atMs: world.nowMs }));
  await world.run({ forMs: untilSecond * 1_000 });
  const watched = inView(runs);
  return { runs: watched, unseen: missingFrom(watched), counted: 0 };
}

/** The production host, ticker and job on two nodes, judged by the checker that the simulations use as well. */
export async function playOurTicks({ pause: stall }: TickMistake): Promise<TickPlay> {
  const faults: readonly Fault[] =
    stall === undefined
      ? []
      : ["n1", "n2"].map((node) => ({
          at: stall.atMs,
          kind: "pause",
          args: { node, forMs: stall.forMs, clock: "frozen" },
        }));
  const { world, performed, violations } = await runSchedule({
    seed: 1,
    jobs: [
      {
        everyMs: 1_000,
        jitterMs: 0,
        misfire: "fireLatest",
        overlap: "skip",
        catchUpMs: 600_000,
        graceMs: 200,
        workMs: 5,
        failsOneIn: 0,
      },
    ],
    troubles: [],
    faults,
    rates: { store: {}, request: {}, publish: {} },
    replays: 0,
  });
  if (violations.length > 0) throw new Error(`ours: ${JSON.stringify(violations)}`);
  const epochMs = world.wallMs - world.nowMs;
  const runs = performed.map(({ node, slot, atMs }) => ({ by: node, slot: (slot - epochMs) / 1_000, atMs }));
  const stored = world.store.peekAll().find(({ key }) => key.startsWith("job."));
  const document = JSON.parse(stored?.value ?? "{}") as Document;
  const root = document.actors[rootSid] as unknown as { readonly snap: { readonly context: Job } };
  const { missed, skipped } = root.snap.context.counts;
  const counted = [missed, skipped].flatMap((counts) => Object.values(counts)).reduce((sum, count) => sum + count, 0);
  const watched = inView(runs);
  return { runs: watched, unseen: Math.max(0, missingFrom(watched) - counted), counted };
}

function inView(runs: readonly TickRun[]): readonly TickRun[] {
  return runs.filter(({ slot }) => slot >= fromSecond && slot < untilSecond - 1);
}

function missingFrom(runs: readonly TickRun[]): number {
  return untilSecond - 1 - fromSecond - new Set(runs.map(({ slot }) => slot)).size;
}

export type TickFaults = { readonly twice: number; readonly early: number; readonly "not at all": number };

export function faultsOf({ runs, unseen }: TickPlay): TickFaults {
  const early = runs.filter(({ slot, atMs }) => atMs < slot * 1_000).length;
  return { twice: runs.length - new Set(runs.map(({ slot }) => slot)).size, early, "not at all": unseen };
}

export function isOnTime(play: TickPlay): boolean {
  return Object.values(faultsOf(play)).every((count) => count === 0);
}

/** Prints the stories, and answers whether each went as it is told. Without a name: all. */
export async function tellTicks(say: (line: string) => void, only?: string): Promise<boolean> {
  let allAsTold = true;
  for (const mistake of tickMistakes.filter(({ name }) => only === undefined || name === only)) {
    say(`${mistake.name}: ${mistake.title}`);
    const theirs = await playTheirTicks(mistake);
    const ours = await playOurTicks(mistake);
    tell(say, "their ticker", theirs);
    tell(say, "our job, its slots by name in one document", ours);
    allAsTold &&= faultsOf(theirs)[mistake.breaks] > 0 && isOnTime(ours);
    say("");
  }
  return allAsTold;
}

function tell(say: (line: string) => void, title: string, play: TickPlay): void {
  say(`  ${title}`);
  for (const { by, slot, atMs } of play.runs)
    say(`    ${Math.round(atMs).toLocaleString("en").padStart(6)} ms  ${by} runs the job for second ${slot}`);
  const wrong = Object.entries(faultsOf(play)).filter(([, count]) => count > 0);
  const verdict = wrong.map(([what, count]) => `${what.toUpperCase()} ${count}`).join(", ");
  const counted = play.counted === 0 ? "" : `, ${play.counted} left out and counted`;
  say(`    => ${play.runs.length} runs${counted}: ${verdict || "each second once, none too early, none lost unseen"}`);
}
