/**
 * The suites by name: each family of faults over the shipped judge (even seeds) and over random machines (odd seeds),
 * `upgrades`, releases side by side, `schedule`, jobs, and those over our own Raft. `npm run simulate` runs them all.
 */
import { type CallStep, clientNamesOf, nodeNamesOf, runCluster } from "../run/cluster.ts";
import type { FaultKind } from "../run/fault.ts";
import type { Plan, Step, Suite } from "../run/suite.ts";
import { everyKind, faultFamilies, swarm } from "../run/swarm.ts";
import { Dice } from "../world/dice.ts";
import { consensus } from "./consensus.ts";
import { jetstreamSuite } from "./jetstream.ts";
import { judgeCluster, judgeSteps } from "./judge-cluster.ts";
import { lives } from "./lives.ts";
import { randomSetup, randomSteps, runRandom } from "./random-machines.ts";
import { schedule } from "./schedule.ts";
import { upgrades } from "./upgrades.ts";

function hosts(name: string, about: string, kinds: readonly FaultKind[]): Suite {
  return {
    name,
    about,
    // Random machines call no service.
    plan: (seed) => (seed % 2 === 0 || name === "services" ? judgePlan(seed, kinds) : randomPlan(seed, kinds)),
    run: (plan, looking) =>
      plan.setup === undefined ? runCluster(judgeCluster, plan, looking) : runRandom(plan, looking),
  };
}

export function judgePlan(seed: number, kinds: readonly FaultKind[]): Plan {
  const nodes = nodeNamesOf(3);
  const options = { kinds, nodes, clients: clientNamesOf(3), services: ["sandbox"], partitions: 4, untilMs: 8_000 };
  const steps: readonly CallStep[] = judgeSteps(new Dice(`${seed}/steps`));
  return { seed, faults: swarm(seed, options), steps: steps as unknown as readonly Step[] };
}

function randomPlan(seed: number, kinds: readonly FaultKind[]): Plan {
  const dice = new Dice(`${seed}/case`);
  const options = {
    kinds,
    nodes: nodeNamesOf(2),
    clients: clientNamesOf(3),
    services: [],
    partitions: 2,
    untilMs: 10_000,
  };
  return { seed, faults: swarm(seed, options), setup: randomSetup(dice), steps: randomSteps(dice) };
}

const families: Readonly<Record<keyof typeof faultFamilies, string>> = {
  partitions: "links are cut, one way and both, flap, clog, lose and repeat",
  crashes: "processes die at any point and start again, stand still, go slowly",
  clocks: "wall clocks jump, stop and drift; machines are suspended",
  disks: "the store is full, loses, delays, answers wrongly, cannot be read; watches lag and skip",
  duplicates: "requests, messages and writes arrive twice, soon or minutes later",
  takeovers: "partitions move while the old owner still believes, crashes, or is cut off",
  services: "the services outside do not answer, or too late, or twice",
};

export const suites: readonly Suite[] = [
  ...Object.entries(families).map(([name, about]) =>
    hosts(name, about, faultFamilies[name as keyof typeof faultFamilies]),
  ),
  hosts("everything", "all of it at once, each run with a choice of its own", everyKind),
  lives,
  upgrades,
  jetstreamSuite,
  schedule,
  ...consensus,
];

export function suiteNamed(name: string): Suite | undefined {
  return suites.find((suite) => suite.name === name);
}
