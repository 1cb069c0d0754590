/**
 * Random schedules against the invariants of simulations/checkers/raft.ts. RAFT_RUNS sets how many; RAFT_SEED (printed) and RAFT_PATH
 * (in the failure) replay one, and RAFT_SHRINK=1 makes it smaller, which takes minutes.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Cluster, type ClusterOptions, electionTicks, type Member } from "./cluster.fixture.ts";
import { type ConfChangeSingle, type ConfChangeTransition, type Message, type NodeId, none } from "./messages.ts";

/** Dice that depend on a number alone (mulberry32). */
function dice(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** One step of a schedule. A burst is many small steps, chosen by dice of its own, so that shrinking leaves the rest. */
type Step =
  | { kind: "burst"; seed: number; steps: number; lossPercent: number; copyPercent: number }
  | { kind: "crash" | "crashInWrite" | "restart" | "transfer" | "forget" | "unreachable"; node: number }
  | { kind: "propose" | "read" | "isolate" | "rejoin" | "campaign"; node: number }
  /** Whoever leads, and believes it, is given proposals, and may be cut off. */
  | { kind: "lead"; count: number; isCut: boolean }
  | { kind: "compact"; node: number; keep: number }
  | { kind: "change"; node: number; transition: ConfChangeTransition; changes: ConfChangeSingle[] };

type Schedule = {
  seed: number;
  voters: number;
  isAsync: boolean;
  isProtected: boolean;
  isSmall: boolean;
  steps: Step[];
};

const ids: readonly NodeId[] = [1, 2, 3, 4, 5];
const node = fc.nat(ids.length - 1);
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("burst" as const),
      seed: fc.noShrink(fc.nat(0xffff_ffff)),
      steps: fc.integer({ min: 5, max: 300 }),
      lossPercent: fc.constantFrom(0, 0, 5, 30),
      copyPercent: fc.constantFrom(0, 10),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constantFrom("propose" as const, "read", "campaign", "campaign"), node }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("lead" as const),
      count: fc.nat(3),
      isCut: fc.constantFrom(true, false, false),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom("crash" as const, "crashInWrite", "restart", "restart"), node }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom("isolate" as const, "isolate", "rejoin", "rejoin"), node }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("transfer" as const, "forget", "unreachable"), node }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("compact" as const), node, keep: fc.nat(3) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("change" as const),
      node,
      transition: fc.constantFrom<ConfChangeTransition[]>(
        "ConfChangeTransitionAuto",
        "ConfChangeTransitionJointImplicit",
        "ConfChangeTransitionJointExplicit",
      ),
      changes: fc.array(
        fc.record({
          type: fc.constantFrom<ConfChangeSingle["type"][]>(
            "ConfChangeAddNode",
            "ConfChangeAddNode",
            "ConfChangeAddLearnerNode",
            "ConfChangeRemoveNode",
          ),
          nodeId: fc.constantFrom(...ids),
        }),
        { maxLength: 3 },
      ),
    }),
  },
);

const scheduleArbitrary: fc.Arbitrary<Schedule> = fc.record({
  seed: fc.noShrink(fc.nat(0xffff_ffff)),
  voters: fc.constantFrom(3, 3, 5),
  isAsync: fc.boolean(),
  isProtected: fc.constantFrom(true, true, true, false),
  isSmall: fc.boolean(),
  // Not biased towards short ones, from which no second leader comes.
  steps: fc.noBias(fc.array(stepArbitrary, { minLength: 20, maxLength: 80, size: "max" })),
});

type Tally = { leaders: number; committed: number; reads: number; snapshots: number };

/** Runs a schedule, then heals everything and demands a leader and progress. */
function runSchedule({ seed, voters, isAsync, isProtected, isSmall, steps }: Schedule): Tally {
  const maxMessageBytes = isSmall ? 0 : Number.POSITIVE_INFINITY;
  const options: ClusterOptions = {
    voters: ids.slice(0, voters),
    spares: ids.slice(voters),
    isAsync,
    isProtected,
    maxMessageBytes,
    random: dice(seed),
  };
  const cluster = new Cluster(options);
  const isolated = new Set<NodeId>();
  let snapshots = 0;
  const first = cluster.members[seed % voters]!;
  cluster.on(first, (raw) => raw.campaign());
  cluster.settle();
  for (const step of steps) {
    if (step.kind === "burst") burst(cluster, isolated, step);
    else takeStep(cluster, isolated, step);
    snapshots += cluster.inFlight.filter(({ type }) => type === "MsgSnap").length;
  }
  for (const member of cluster.members) cluster.restart(member);
  if (isProtected && cluster.hadEnoughVoters) recover(cluster);
  const { leaders, committed, reads } = cluster.checker;
  return { leaders, committed, reads, snapshots };
}

function takeStep(cluster: Cluster, isolated: Set<NodeId>, step: Exclude<Step, { kind: "burst" }>): void {
  if (step.kind === "lead") {
    for (const leader of cluster.members.filter(({ isUp, raw }) => isUp && raw.raft.state === "StateLeader")) {
      for (let left = step.count; left > 0; left--) cluster.propose(leader);
      cluster.read(leader);
      if (step.isCut) isolated.add(leader.id);
    }
    return;
  }
  const member = cluster.members[step.node]!;
  if (step.kind === "crash") cluster.crash(member);
  else if (step.kind === "crashInWrite") cluster.processReady(member, false);
  else if (step.kind === "restart") for (const each of cluster.members) cluster.restart(each);
  else if (step.kind === "isolate") isolated.add(member.id);
  else if (step.kind === "rejoin") isolated.clear();
  else if (step.kind === "propose") cluster.propose(member);
  else if (step.kind === "read") cluster.read(member);
  else if (step.kind === "compact" && member.isUp) member.compact(step.keep);
  else if (step.kind === "campaign") cluster.on(member, (raw) => raw.campaign());
  else if (step.kind === "forget") cluster.on(member, (raw) => raw.forgetLeader());
  else if (step.kind === "change") {
    const change = { kind: "v2" as const, transition: step.transition, changes: step.changes, context: "" };
    cluster.proposeConfChange(cluster.leader() ?? member, change);
  } else {
    const leader = cluster.leader();
    if (leader === undefined) return;
    if (step.kind === "transfer") cluster.on(leader, (raw) => raw.transferLeader(member.id));
    if (step.kind === "unreachable") cluster.on(leader, (raw) => raw.reportUnreachable(member.id));
  }
}

function burst(cluster: Cluster, isolated: ReadonlySet<NodeId>, step: Step & { kind: "burst" }): void {
  const random = dice(step.seed);
  const pick = <T>(from: readonly T[]): T | undefined => from[random(Math.max(1, from.length))];
  for (let left = step.steps; left > 0; left--) {
    const work: (() => void)[] = [];
    for (const member of cluster.members.filter(({ isUp }) => isUp)) {
      work.push(() => cluster.on(member, (raw) => raw.tick()));
      if (cluster.hasReady(member)) work.push(...Array(3).fill(() => cluster.processReady(member)));
      if (member.appendWork.length > 0) work.push(...Array(2).fill(() => cluster.processAppend(member)));
      if (member.applyWork.length > 0) work.push(...Array(2).fill(() => cluster.processApply(member)));
    }
    const m = pick(cluster.inFlight);
    if (m !== undefined) {
      const isCut = isolated.has(m.from) !== isolated.has(m.to);
      const isLost = isCut || random(100) < step.lossPercent;
      const copyStays = random(100) < step.copyPercent;
      work.push(...Array(8).fill(() => handOver(cluster, m, isLost, copyStays)));
    }
    pick(work)?.();
  }
}

/** The network loses, copies and reorders; what a node says to itself, or a thread to it, arrives once and in order. */
function handOver(cluster: Cluster, m: Message, isLost: boolean, copyStays: boolean): void {
  const isLocal = ({ from, to }: Message) => from === to || from < 0;
  if (isLocal(m)) cluster.deliver(cluster.inFlight.find((each) => each.to === m.to && isLocal(each)) ?? m);
  else if (isLost) cluster.drop(m);
  else cluster.deliver(m, copyStays);
}

/** Nothing fails any more: there must be a leader, and a proposal reach every member, within ten election time-outs. */
function recover(cluster: Cluster): void {
  const hasSettled = () => {
    const leader = cluster.leader();
    if (leader === undefined || !isEverywhere(cluster, leader)) return false;
    // While it hands over its leadership, it takes no proposals.
    return leader.applied === leader.raw.raft.log.lastIndex() && leader.raw.raft.leadTransferee === none;
  };
  const until = (ticks: number, isDone: () => boolean) => {
    for (let left = ticks; left > 0 && !isDone(); left--)
      for (const member of cluster.members) {
        cluster.on(member, (raw) => raw.tick());
        cluster.settle();
      }
    return isDone();
  };
  if (!until(10 * electionTicks, hasSettled))
    throw new Error(`no leader whom all follow within ten election time-outs of healing\n${cluster}`);
  const before = cluster.leader()!.applied;
  cluster.propose(cluster.leader()!);
  const isApplied = () => hasSettled() && cluster.leader()!.applied > before;
  if (!until(2 * electionTicks, isApplied)) throw new Error(`a proposal does not reach every member\n${cluster}`);
}

function isEverywhere(cluster: Cluster, leader: Member): boolean {
  const { progress } = leader.raw.raft.tracker;
  return cluster.members.every(({ id, applied }) => !progress.has(id) || applied === leader.applied);
}

const numRuns = Number(process.env.RAFT_RUNS ?? 100);

test(
  "no schedule of crashes, losses, copies, reorderings and changes of membership breaks an invariant",
  () => {
    const seed = process.env.RAFT_SEED === undefined ? Date.now() % 2 ** 31 : Number(process.env.RAFT_SEED);
    const total: Tally = { leaders: 0, committed: 0, reads: 0, snapshots: 0 };
    console.info(`RAFT_SEED=${seed} RAFT_RUNS=${numRuns}`);
    fc.assert(
      fc.property(scheduleArbitrary, (schedule) => {
        const tally = runSchedule(schedule);
        for (const key of Object.keys(total) as (keyof Tally)[]) total[key] += tally[key];
      }),
      { numRuns, seed, path: process.env.RAFT_PATH ?? "", endOnFailure: process.env.RAFT_SHRINK === undefined },
    );
    console.info(JSON.stringify(total));
    if (process.env.RAFT_PATH !== undefined) return;
    // That the schedules reach what they are meant to try.
    expect(total.leaders).toBeGreaterThan(numRuns);
    expect(total.committed).toBeGreaterThan(numRuns);
    expect(total.reads).toBeGreaterThan(0);
    expect(total.snapshots).toBeGreaterThan(0);
  },
  120_000 + 500 * numRuns,
);
