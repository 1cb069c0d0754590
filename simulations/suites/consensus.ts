/**
 * Suites over our own Raft and its leases: `raft` and `leases` under every fault of networks, processes, clocks and disks,
 * `membership` while members come and go, `corruption` with disks of a minority that rot.
 */
import type { Fault, FaultKind } from "../run/fault.ts";
import type { Plan, Step, Suite } from "../run/suite.ts";
import { swarm } from "../run/swarm.ts";
import { Dice } from "../world/dice.ts";
import { type LeaseSetup, type LeaseStep, runLeaseCluster } from "./lease-cluster.ts";
import type { Deed } from "./operator.ts";

const networks = ["cut", "partition", "flap", "clog", "link"] as const satisfies readonly FaultKind[];
const processes = ["crash", "pause", "slow"] as const satisfies readonly FaultKind[];
const clocks = ["step", "drift", "stop"] as const satisfies readonly FaultKind[];
const crashPoints = ["disk.sync:call", "disk.sync:answer", "disk.write:answer", "disk.rename:answer", "peers.send"];
const untilMs = 8_000;

function suite(name: string, about: string, kinds: readonly FaultKind[], more: More = {}): Suite {
  return { name, about, plan: (seed) => planOf(seed, kinds, more), run: runLeaseCluster };
}

type More = {
  readonly setup?: (dice: Dice) => LeaseSetup;
  readonly faults?: (dice: Dice, setup: LeaseSetup) => readonly Fault[];
  readonly steps?: (dice: Dice, setup: LeaseSetup) => readonly LeaseStep[];
};

function planOf(seed: number, kinds: readonly FaultKind[], more: More): Plan {
  const dice = new Dice(`${seed}/leases`);
  const setup = (more.setup ?? usualSetup)(dice);
  const nodes = [...setup.voters, ...setup.spares].map((id) => `n${id}`);
  const options = { kinds, nodes, clients: [], services: [], partitions: 1, untilMs, places: [], crashPoints };
  const faults = [...swarm(seed, options), ...(more.faults?.(new Dice(`${seed}/faults`), setup) ?? [])];
  const steps = [...stepsOf(dice, nodes), ...(more.steps?.(new Dice(`${seed}/changes`), setup) ?? [])];
  return { seed, faults: faults.sort((a, b) => a.at - b.at), setup, steps: steps as unknown as readonly Step[] };
}

function usualSetup(dice: Dice): LeaseSetup {
  return { voters: dice.chance(0.2) ? [1, 2, 3, 4, 5] : [1, 2, 3], spares: [] };
}

function stepsOf(dice: Dice, nodes: readonly string[]): readonly LeaseStep[] {
  return nodes.flatMap((node) =>
    Array.from({ length: dice.whole(4, 10) }, () => ({
      node,
      waitMs: dice.pick([0, 20, 300, 900]),
      key: dice.pick(["k", "k", "l"]),
      holdMs: dice.pick([0, 50, 400, 2_500]),
      ending: dice.pick(["release", "release", "close", "keep", "transfer"] as const),
    })),
  );
}

/** Added, removed, replaced, made to lead; in some runs the quorum is lost, and the old members come back. */
function deedsOf(dice: Dice, { voters, spares }: LeaseSetup): readonly LeaseStep[] {
  const fresh = spares.slice(-2);
  const usual = spares.slice(0, -2);
  const all = [...voters, ...usual];
  const deeds = Array.from({ length: dice.whole(2, 6) }, (): Deed => {
    const kind = dice.pick(["add", "add", "remove", "replace", "transfer"] as const);
    if (kind === "replace") return { kind, dead: dice.pick(all), id: dice.pick(usual) };
    return { kind, id: dice.pick(kind === "add" ? usual : all) };
  });
  const steps = deeds.map((deed) => ({ atMs: dice.whole(1_500, untilMs), deed }));
  if (!dice.chance(0.25)) return steps;
  const back = dice.pick([undefined, 200, 2_500]);
  const recover: Deed = {
    kind: "recover",
    survivor: dice.pick(voters),
    fresh,
    ...(back !== undefined && { backAfterMs: back }),
  };
  return [...steps, { atMs: dice.whole(3_000, untilMs), deed: recover }];
}

/** With as many spares as disks may be lost. */
function rottenSetup(dice: Dice): LeaseSetup {
  return dice.chance(0.2) ? { voters: [1, 2, 3, 4, 5], spares: [6, 7] } : { voters: [1, 2, 3], spares: [4] };
}

/** One of three, or two of five, have media that rot; they show it when their processes start again. */
function rotOf(dice: Dice, { voters }: LeaseSetup): readonly Fault[] {
  return voters.slice(0, (voters.length - 1) / 2).flatMap((id): readonly Fault[] => {
    const node = `n${id}`;
    const crashes = Array.from({ length: dice.whole(1, 3) }, () => {
      const at = dice.whole(1_500, untilMs);
      return { at, kind: "crash", args: { node, restartAfterMs: dice.pick([50, 500]) } } as const;
    });
    const rate = dice.pick([0.02, 0.1, 0.3]);
    return [{ at: 1_000, kind: "disk", args: { node, fault: "bit-flip", rate, forMs: untilMs } }, ...crashes];
  });
}

export const consensus: readonly Suite[] = [
  suite("raft", "three or five members of our Raft: links, processes and disks fail", [
    ...networks,
    ...processes,
    "disk",
  ]),
  suite("leases", "leases on our Raft: clocks jump and drift, machines are suspended, links and processes fail", [
    ...networks,
    ...processes,
    ...clocks,
  ]),
  suite(
    "membership",
    "members come, go, die and are replaced while links and processes fail",
    [...networks, ...processes],
    {
      setup: () => ({ voters: [1, 2, 3], spares: [4, 5, 6, 7, 8] }),
      steps: deedsOf,
    },
  ),
  suite("corruption", "disks of a minority rot, and links and processes fail", ["cut", "partition", "link", "crash"], {
    setup: rottenSetup,
    faults: rotOf,
  }),
];
