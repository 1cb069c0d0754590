/** Machines, actors and workloads by chance, as `simulations/protocol` takes them; judged by all that it knows. */
import { type Command, nodeNames, runCase } from "../protocol/case.ts";
import type { Doing, MachineSpec, StateSpec, TransitionSpec } from "../protocol/machines.ts";
import { watchRejections } from "../run/ambient.ts";
import { commitsOf, whatWasMet } from "../run/rules.ts";
import { readLog } from "../run/story.ts";
import type { Looking, Plan, Ran, Step } from "../run/suite.ts";
import type { Dice } from "../world/dice.ts";
import type { DrawnAt } from "../world/drawing.ts";

export type RandomSetup = { readonly machines: readonly MachineSpec[]; readonly actors: readonly number[] };

export function randomSetup(dice: Dice): RandomSetup {
  const machines = many(dice, 1, 2, () => ({ regions: many(dice, 1, 2, () => many(dice, 1, 3, () => state(dice))) }));
  return { machines, actors: many(dice, 1, 3, () => dice.whole(0, 1)) };
}

/** Commands of up to three clients, each step naming its own. */
export function randomSteps(dice: Dice): readonly Step[] {
  return many(dice, 1, 3, (client) =>
    many(dice, 1, 6, () => ({
      client,
      actor: dice.whole(0, 3),
      type: dice.pick(["A", "A", "B", "B", "C", "C", "N"]),
      throws: dice.chance(0.1),
      callersKey: dice.chance(0.5),
      again: dice.chance(0.5),
      waitMs: dice.pick([0, 0, 1, 30, 400, 2_500]),
    })),
  ).flat();
}

export async function runRandom({ seed, faults, steps, setup }: Plan, looking: Looking = {}): Promise<Ran> {
  const { machines, actors } = setup as RandomSetup;
  const clients = [0, 1, 2].map(
    (client) => steps.filter((step) => step.client === client) as unknown as readonly Command[],
  );
  const drawn: DrawnAt[] = [];
  const given = {
    seed,
    machines,
    actors,
    clients,
    troubles: [],
    faults,
    rates: { store: {}, request: {}, publish: {} },
  };
  const onDrawn = looking.picture === true ? (one: DrawnAt) => drawn.push(one) : undefined;
  const watched = watchRejections();
  const outcome = await runCase(given, looking.trace === true, onDrawn).finally(() => watched.end());
  const { world, healedMs } = outcome;
  const violations = [...(await watched.end()), ...outcome.violations];
  const story = readLog(world.store.log, Math.round(world.wallMs - world.nowMs));
  return {
    violations,
    traceHash: world.trace.hash,
    events: world.steps,
    virtualMs: world.nowMs,
    met: whatWasMet(faults, story).map((met) => met.replace(/:[^×]*/, (value) => value.replace(/journal,?/, ""))),
    ...(looking.trace === true && { lines: world.trace.lines() }),
    ...(looking.picture === true && {
      picture: {
        title: `seed ${seed}, random machines`,
        lanes: [...world.nodes.map(({ name }) => name).filter((name) => name.startsWith("c")), ...nodeNames, "store"],
        drawn: [...drawn, ...commitsOf(story)].sort((a, b) => a.atMs - b.atMs),
        faults,
        violations,
        healedMs,
        endMs: world.nowMs,
      },
    }),
  };
}

function state(dice: Dice): StateSpec {
  return {
    on: Object.fromEntries(["A", "B", "C"].flatMap((type) => (dice.chance(0.6) ? [[type, transition(dice)]] : []))),
    entry: many(dice, 0, 1, () => doing(dice)),
    exit: many(dice, 0, 1, () => doing(dice)),
    ...(dice.chance(0.5) && { after: { delayMs: dice.pick([10, 200, 3_000]), target: dice.whole(0, 2) } }),
    ...(dice.chance(0.5) && {
      invoke: { failures: dice.whole(0, 3), done: dice.whole(0, 2), error: dice.whole(0, 2) },
    }),
    ...(dice.chance(0.3) && { innerMs: dice.pick([20, 500]) }),
  };
}

function transition(dice: Dice): TransitionSpec {
  return {
    target: dice.chance(0.6) ? dice.whole(0, 2) : undefined,
    throws: dice.chance(0.5),
    doing: many(dice, 0, 3, () => doing(dice)),
  };
}

function doing(dice: Dice): Doing {
  switch (dice.pick(["count", "named", "inline", "flaky", "send", "send", "emit", "timer", "cancel"] as const)) {
    case "count":
      return { do: "count" };
    case "named":
      return { do: "named" };
    case "inline":
      return { do: "inline" };
    case "flaky":
      return { do: "flaky" };
    case "send":
      return { do: "send", to: dice.whole(0, 3) };
    case "emit":
      return { do: "emit" };
    case "timer":
      return { do: "timer", delayMs: dice.pick([5, 100, 1_500, 9_000]), id: dice.pick(["x", "y"]) };
    case "cancel":
      return { do: "cancel", id: dice.pick(["x", "y"]) };
  }
}

function many<T>(dice: Dice, from: number, to: number, make: (index: number) => T): T[] {
  return Array.from({ length: dice.whole(from, to) }, (_, index) => make(index));
}
