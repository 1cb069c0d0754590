/**
 * Makes a failing plan small: faults and steps by delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating
 * Failure-Inducing Input"), then the magnitudes of what is left. Only the same violated rule counts; since dice belong
 * to places, leaving one thing out leaves the others what they were.
 */
import type { Fault } from "./fault.ts";
import type { Plan, Ran } from "./suite.ts";

export type Shrunk = {
  readonly plan: Plan;
  readonly ran: Ran;
  readonly runs: number;
  /** What it takes to break the rule: faults, or the steps alone. Undefined: it was not tried. */
  readonly brokenBy?: "faults" | "steps";
  /** The rule is broken also where nobody does anything, so that no step was left out. */
  readonly keepsSteps?: boolean;
};

export async function shrink(
  run: (plan: Plan) => Promise<Ran>,
  plan: Plan,
  ran: Ran,
  rule: string,
  maxRuns = 300,
): Promise<Shrunk> {
  let best: { plan: Plan; ran: Ran } = { plan, ran };
  let runs = 0;
  const breaks = (tried: Ran | undefined): boolean =>
    tried?.violations.some((violation) => violation.rule === rule) === true;
  const breaksAlone = async (steps: Plan["steps"]): Promise<boolean> =>
    breaks(await run({ ...plan, faults: [], steps }).catch(() => undefined));
  // What breaks by its steps alone, with the faults left out, would shrink to something else than what was found.
  const isByFaults = plan.faults.length > 0 && !(await breaksAlone(plan.steps));
  // A rule that asks for what the steps do is broken where they are left out, which says nothing of what was found.
  const asksForSteps = plan.steps.length > 0 && (await breaksAlone([]));
  const fails = async (candidate: Plan): Promise<boolean> => {
    if (runs >= maxRuns) return false;
    runs++;
    // A plan that cannot be run at all is no smaller failure.
    const tried = await run(candidate).catch(() => undefined);
    if (tried === undefined || !breaks(tried)) return false;
    if (isByFaults && (await breaksAlone(candidate.steps))) return false;
    best = { plan: candidate, ran: tried };
    return true;
  };
  for (let size = -1; size !== sizeOf(best.plan) && runs < maxRuns; ) {
    size = sizeOf(best.plan);
    await fewer(best.plan.faults, (faults) => fails({ ...best.plan, faults }));
    if (!asksForSteps) await fewer(best.plan.steps, (steps) => fails({ ...best.plan, steps }));
  }
  for (let index = 0; index < best.plan.faults.length; index++) {
    for (;;) {
      const milder = milderThan(best.plan.faults[index] as Fault);
      if (milder === undefined) break;
      const faults = best.plan.faults.map((fault, at) => (at === index ? milder : fault));
      if (!(await fails({ ...best.plan, faults }))) break;
    }
  }
  return {
    ...best,
    runs,
    keepsSteps: asksForSteps,
    brokenBy: isByFaults ? "faults" : "steps",
  };
}

function sizeOf({ faults, steps }: Plan): number {
  return faults.length + steps.length;
}

/** Leaves out halves, then quarters, and so on down to single items. */
async function fewer<T>(all: readonly T[], fails: (some: readonly T[]) => Promise<boolean>): Promise<void> {
  let left = all;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < left.length; ) {
      const without = [...left.slice(0, from), ...left.slice(from + size)];
      if (await fails(without)) left = without;
      else from += size;
    }
  }
}

/** Half as long, or undefined when it is short already. */
function milderThan(fault: Fault): Fault | undefined {
  const args = fault.args as { readonly forMs?: number; readonly restartAfterMs?: number };
  if (args.forMs !== undefined && args.forMs > 50)
    return { ...fault, args: { ...args, forMs: Math.ceil(args.forMs / 2) } } as Fault;
  if (args.restartAfterMs !== undefined && args.restartAfterMs > 50)
    return { ...fault, args: { ...args, restartAfterMs: Math.ceil(args.restartAfterMs / 2) } } as Fault;
  return undefined;
}
