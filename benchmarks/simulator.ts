/** How fast the simulated world goes: with real hosts that have work, and with real hosts whose actors rest. */
import { assign, setup } from "xstate";
import { type CallStep, runCluster } from "../simulations/run/cluster.ts";
import { createWorld } from "../simulations/world/world.ts";

export type SimulatorFigures = {
  /** Messages, timers and steps of processes and stores, with nothing but the world's own code. */
  readonly bareEventsPerSecond: number;
  /** The same with three production hosts, a production client, and everything that judges. */
  readonly eventsPerSecond: number;
  /** Of three nodes that host a hundred actors at rest. */
  readonly restVirtualSecondsPerSecond: number;
};

const counter = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
  context: { n: 0 },
  on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

const actorCount = 100;

export async function benchSimulator(rounds: number): Promise<SimulatorFigures> {
  const bare: number[] = [];
  const busy: number[] = [];
  const resting: number[] = [];
  // The first run compiles the code; a suite runs hundreds.
  await busyCluster(40);
  for (let round = 0; round < rounds; round++) {
    bare.push(await bareWorld(200_000));
    busy.push(await busyCluster(40));
    resting.push(await restingCluster(800_000));
  }
  return {
    bareEventsPerSecond: median(bare),
    eventsPerSecond: median(busy),
    restVirtualSecondsPerSecond: median(resting),
  };
}

async function bareWorld(events: number): Promise<number> {
  const world = createWorld({ seed: 1, maxSteps: 10 * events });
  for (let node = 0; node < 64; node++)
    world.node(`n${node}`).boot(async ({ clock, random }) => {
      for (;;) await new Promise<void>((resolve) => void clock.after(random.next() * 10, resolve));
    });
  const started = process.cpuUsage();
  await world.run({ until: () => world.steps >= events });
  return perSecond(world.steps, started);
}

async function busyCluster(perClient: number): Promise<number> {
  const steps = Array.from({ length: actorCount }, (_, index): readonly CallStep[] => [
    { to: `counter/a${index}`, create: undefined, key: "make", client: 1 + (index % 20) },
    ...Array.from(
      { length: perClient },
      (): CallStep => ({ to: `counter/a${index}`, send: { type: "INC" }, client: 1 + (index % 20) }),
    ),
  ]).flat();
  const started = process.cpuUsage();
  const { events, violations } = await runCluster(
    { actors: { counter } },
    { seed: 1, faults: [], steps: steps as never },
  );
  if (violations.length > 0) throw new Error(`the bench is wrong: ${JSON.stringify(violations[0])}`);
  return perSecond(events, started);
}

/** Actors are made, and then nobody asks for anything for a quarter of an hour. */
async function restingCluster(restMs: number): Promise<number> {
  const steps = Array.from({ length: actorCount }, (_, index) => ({
    to: `counter/a${index}`,
    create: undefined,
    key: "make",
  }));
  const started = process.cpuUsage();
  // The run goes on until its last step.
  const last = { to: "counter/a0", send: { type: "INC" }, key: "end", waitMs: restMs };
  const { virtualMs } = await runCluster({ actors: { counter } }, { seed: 1, faults: [], steps: [...steps, last] });
  return perSecond(virtualMs / 1_000, started);
}

/** Of processor time: the simulator is one thread, and what else the machine does must not count. */
function perSecond(count: number, started: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(started);
  return count / ((user + system) / 1_000_000);
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}
