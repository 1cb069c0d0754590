/**
 * A suite is one family of simulated runs. `plan` turns a seed into plain data, `run` runs such data and judges it; who
 * explores, shrinks, draws and reports knows no more of a suite than this. The same plan must give the same trace.
 */
import type { Violation } from "../checkers/violation.ts";
import type { Fault } from "./fault.ts";
import type { Picture } from "./picture.ts";

/** One thing that somebody outside does: JSON, and its meaning is the suite's own. */
export type Step = { readonly [field: string]: unknown };

/** A run as data. Faults and steps are what shrinking may leave out. */
export type Plan = {
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly steps: readonly Step[];
  /** What else the seed decided: machines, sizes. JSON. */
  readonly setup?: unknown;
};

export type Looking = {
  /** Keep every line of the trace. */
  readonly trace?: boolean;
  /** Keep what a diagram shows. */
  readonly picture?: boolean;
};

/** What a run came to. No violation: it held. */
export type Ran = {
  readonly violations: readonly Violation[];
  readonly traceHash: string;
  /** How many things happened in the world. */
  readonly events: number;
  readonly virtualMs: number;
  /** What was met, as `state × fault`: for the table of coverage. */
  readonly met: readonly string[];
  /** What the run measured, by what it is: virtual milliseconds, told as a distribution over all runs. */
  readonly measuredMs?: Readonly<Record<string, readonly number[]>>;
  readonly lines?: readonly string[];
  readonly picture?: Picture;
};

export type Suite = {
  /** One word; `holdfast simulate <name>`. */
  readonly name: string;
  /** One line for people: what is done to what, and what must hold. */
  readonly about: string;
  plan(seed: number): Plan;
  run(plan: Plan, looking?: Looking): Promise<Ran>;
};
