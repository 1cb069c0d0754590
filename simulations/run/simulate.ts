/**
 * For users: their machines, their workload, faults by chance, and what must hold, in one call from any test. Start
 * reading at `simulate`; `suiteOf` makes the same a suite for the command line.
 */

import type { ActorTypes } from "../../runtime/runtime.ts";
import { Dice } from "../world/dice.ts";
import { AmbientAccessError } from "./ambient.ts";
import { type CallStep, type Cluster, clientNamesOf, longestMs, nodeNamesOf, runCluster } from "./cluster.ts";
import { drawDiagram } from "./diagram.ts";
import { type Explored, explore } from "./explore.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { tellFailure } from "./report.ts";
import { checkMade, checkOptions, checkSteps } from "./simulate-options.ts";
import type { Plan, Step, Suite } from "./suite.ts";
import { everyKind, faultFamilies, swarm } from "./swarm.ts";

export type FaultFamily = keyof typeof faultFamilies;

export type SimulateOptions<TActors extends ActorTypes = ActorTypes> = Omit<Cluster<TActors>, "workload"> & {
  /** For reports and scenario files. Default `simulation`. */
  readonly name?: string;
  /** What callers do: steps, steps drawn from dice, or code that drives the clients. Only steps shrink. */
  readonly workload:
    | StepsOf<TActors>
    | ((dice: Dice) => StepsOf<TActors>)
    | { readonly drive: NonNullable<Cluster["workload"]> };
  /** Families or kinds to draw from, or a schedule as it is. Default: every kind. */
  readonly faults?: readonly (FaultFamily | FaultKind)[] | readonly Fault[];
  /** How many, from 1, or which. Default 100; `HOLDFAST_SEEDS` (`7` or `1..500`) goes before it. */
  readonly seeds?: number | readonly number[];
};

/** Typed by the actors where they are so by themselves: what is written in the call is taken as it comes, and judged when it runs. */
type StepsOf<TActors extends ActorTypes> = readonly (CallStep | CallStep<NoInfer<TActors>>)[];

/** A rule was broken. The message is the report; `explored` is all of it as data. */
export class SimulationError extends Error {
  override readonly name = "SimulationError";
  readonly explored: Explored;

  constructor(message: string, explored: Explored) {
    super(message);
    this.explored = explored;
  }
}

/** Rejects with a SimulationError that tells the rule, the shrunk schedule and how to see it again. */
export async function simulate<TActors extends ActorTypes>(options: SimulateOptions<TActors>): Promise<Explored> {
  const suite = suiteOf(options);
  const explored = await explore(suite, { seeds: seedsOf(options.seeds) });
  const [failure] = explored.failures;
  if (failure === undefined) return explored;
  const replay = `run this test again with HOLDFAST_SEEDS=${failure.plan.seed}`;
  throw new SimulationError(tellFailure(failure, `${replay}${await drawn(suite, failure.shrunk.plan)}`), explored);
}

/** Draws it where `HOLDFAST_SHOW` says; else says how. */
async function drawn(suite: Suite, plan: Plan): Promise<string> {
  const file = globalThis.process?.env.HOLDFAST_SHOW;
  if (file === undefined || file === "") return ", and HOLDFAST_SHOW=simulation.html draws it";
  const { picture } = await suite.run(plan, { picture: true });
  if (picture === undefined) return "";
  const { writeFileSync } = await import("node:fs");
  writeFileSync(file, drawDiagram({ ...picture, title: `${suite.name}, ${picture.title}` }));
  return `\ndrawn: ${file}`;
}

/** Refuses what is misspelt: an option that nobody reads would be a rule that is never asked. */
export function suiteOf<TActors extends ActorTypes>(typed: SimulateOptions<TActors>): Suite {
  // Which actors there are is of use to whoever writes the rules; from here on they are all the same.
  const options = typed as unknown as SimulateOptions;
  checkOptions(options);
  const { name = "simulation", workload, faults = everyKind, ...rest } = options;
  const cluster: Cluster =
    typeof workload === "object" && "drive" in workload ? { ...rest, workload: workload.drive } : rest;
  // The first run of each suite also watches for I/O that was imported before it could be replaced. Where that finds
  // some, the next runs watch as well: it is to be shown again, and made small.
  let isFirst = true;
  let hasTripped = false;
  return {
    name,
    about: `${name}, by its own invariants`,
    plan: (seed) => {
      const steps = stepsOf(seed, options);
      return { seed, faults: scheduleOf(seed, faults, options, steps), steps: steps as unknown as readonly Step[] };
    },
    run: async (plan, looking = {}) => {
      const tripwire = isFirst || hasTripped;
      isFirst = false;
      return runCluster(cluster, plan, { ...looking, tripwire }).catch((error: unknown) => {
        hasTripped ||= error instanceof AmbientAccessError;
        throw error;
      });
    },
  };
}

function stepsOf(seed: number, { workload, except = [] }: SimulateOptions): readonly CallStep[] {
  if (typeof workload === "object" && "drive" in workload) return [];
  const steps: unknown = typeof workload === "function" ? workload(new Dice(`${seed}/steps`)) : workload;
  checkSteps(steps);
  if (steps === workload && !except.includes("step-refused")) checkMade(steps);
  return steps;
}

function scheduleOf(
  seed: number,
  faults: NonNullable<SimulateOptions["faults"]>,
  options: SimulateOptions,
  steps: readonly CallStep[],
): readonly Fault[] {
  const [first] = faults;
  if (first === undefined || typeof first === "object") return faults as readonly Fault[];
  const kinds = (faults as readonly (FaultFamily | FaultKind)[]).flatMap((name): readonly FaultKind[] =>
    name in faultFamilies ? faultFamilies[name as FaultFamily] : [name as FaultKind],
  );
  return swarm(seed, {
    kinds: [...new Set(kinds)],
    nodes: nodeNamesOf(options.nodes ?? 3),
    clients: clientNamesOf(options.clients ?? 1),
    services: Object.keys(options.services ?? {}),
    partitions: options.partitions ?? 4,
    // What comes late is disturbed as well.
    untilMs: Math.min(25_000, Math.max(8_000, longestMs(steps))),
  });
}

/** `7`, or `1..500`. */
export function seedsIn(text: string): Iterable<number> {
  const match = /^(\d+)(?:\.\.(\d+))?$/.exec(text);
  if (match === null) throw new RangeError(`seeds are written as 7 or as 1..500, not as ${JSON.stringify(text)}`);
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  if (from > to) throw new RangeError(`seeds are written from the lower to the higher, as 1..500, not as ${text}`);
  return range(from, to);
}

function seedsOf(given: SimulateOptions["seeds"]): Iterable<number> {
  const asked = globalThis.process?.env.HOLDFAST_SEEDS;
  if (asked !== undefined && asked !== "") return seedsIn(asked);
  const isList = Array.isArray(given) && given.length > 0 && given.every(isSeed);
  if (given !== undefined && !isList && !(isSeed(given) && given > 0))
    throw new RangeError(
      `seeds: ${JSON.stringify(given)} would test nothing; give how many, such as 100, or which, such as [7, 12]`,
    );
  return typeof given === "object" ? given : range(1, given ?? 100);
}

function isSeed(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function* range(from: number, to: number): Iterable<number> {
  for (let seed = from; seed <= to; seed++) yield seed;
}
