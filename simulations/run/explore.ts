/**
 * Runs a suite for many seeds, one after the other; shrinks the first failure of each rule. It never throws for a
 * violation: what was found is in the answer.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { Violation } from "../checkers/violation.ts";
import { WorldError } from "../world/loop.ts";
import { AmbientAccessError, realWorldRule, withCulprit } from "./ambient.ts";
import { type Shrunk, shrink } from "./shrink.ts";
import type { Plan, Ran, Suite } from "./suite.ts";

export type ExploreOptions = {
  readonly seeds: Iterable<number>;
  /** Real time after which no new seed begins. */
  readonly forMs?: number;
  /** Real time, for that. Default: the process's. */
  readonly nowMs?: () => number;
  /** How many failing seeds end it. Default 1. */
  readonly maxFailures?: number;
  /** How often a failing plan is run again to make it smaller. Default 300. */
  readonly shrinkRuns?: number;
  readonly onProgress?: (progress: Explored) => void;
};

const exploreOptions: KeysOf<ExploreOptions> = {
  seeds: true,
  forMs: true,
  nowMs: true,
  maxFailures: true,
  shrinkRuns: true,
  onProgress: true,
};

export type Failure = {
  readonly suite: string;
  readonly violation: Violation;
  /** What the seed gave. */
  readonly plan: Plan;
  /** The same failure, as small as it was got. */
  readonly shrunk: Shrunk;
  /** Whether the same plan gave the same run again. If not, it was not shrunk: that would only lead astray. */
  readonly isRepeatable: boolean;
};

export type Explored = {
  readonly suite: string;
  seeds: number;
  events: number;
  virtualMs: number;
  seconds: number;
  readonly failures: Failure[];
  /** How many runs met each `state × fault`. */
  readonly met: Map<string, number>;
  /** What runs measured, by what it is. */
  readonly measuredMs: Map<string, number[]>;
  /** Seed and trace hash of every run. */
  readonly hashes: Map<number, string>;
};

export async function explore(suite: Suite, options: ExploreOptions): Promise<Explored> {
  refuseUnknown("options of explore", options, exploreOptions, RangeError);
  const nowMs = options.nowMs ?? (() => performance.now());
  const startedMs = nowMs();
  const explored: Explored = {
    suite: suite.name,
    seeds: 0,
    events: 0,
    virtualMs: 0,
    seconds: 0,
    failures: [],
    met: new Map(),
    measuredMs: new Map(),
    hashes: new Map(),
  };
  for (const seed of options.seeds) {
    if (options.forMs !== undefined && nowMs() - startedMs >= options.forMs) break;
    const plan = suite.plan(seed);
    const ran = await runOrExplain(suite, plan);
    note(explored, seed, ran);
    const [violation] = ran.violations;
    if (violation !== undefined) {
      const again = await runOrExplain(suite, plan);
      const isRepeatable = again.traceHash === ran.traceHash;
      const shrunk = isRepeatable
        ? await shrink((smaller) => runOrExplain(suite, smaller), plan, ran, violation.rule, options.shrinkRuns)
        : { plan, ran, runs: 0 };
      const same = shrunk.ran.violations.find(({ rule }) => rule === violation.rule) ?? violation;
      explored.failures.push({ suite: suite.name, violation: same, plan, shrunk, isRepeatable });
    }
    explored.seconds = (nowMs() - startedMs) / 1_000;
    options.onProgress?.(explored);
    if (explored.failures.length >= (options.maxFailures ?? 1)) break;
  }
  return explored;
}

function note(explored: Explored, seed: number, ran: Ran): void {
  explored.seeds++;
  explored.events += ran.events;
  explored.virtualMs += ran.virtualMs;
  explored.hashes.set(seed, ran.traceHash);
  for (const met of ran.met) explored.met.set(met, (explored.met.get(met) ?? 0) + 1);
  for (const [what, some] of Object.entries(ran.measuredMs ?? {})) {
    const all = explored.measuredMs.get(what) ?? [];
    for (const ms of some) all.push(ms);
    explored.measuredMs.set(what, all);
  }
}

/** A world that broke is a failure of this seed, not of the exploration. */
async function runOrExplain(suite: Suite, plan: Plan): Promise<Ran> {
  try {
    return await suite.run(plan);
  } catch (error) {
    const reached = error instanceof AmbientAccessError;
    if (!reached && !(error instanceof WorldError)) throw error;
    const rule = reached ? realWorldRule : "the run broke";
    const detail = reached ? withCulprit(error) : error.message;
    return { violations: [{ rule, detail }], traceHash: "", events: 0, virtualMs: 0, met: [] };
  }
}
