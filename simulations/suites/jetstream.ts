/**
 * The production JetStream store, its leases, partitions and bus, unchanged, on the model of NATS: requests and answers
 * are lost, late and doubled, servers restart and change their leader, a server that syncs always loses its power.
 * The workload and its rules are the judge's. Start reading at `natsGround`.
 */
import { LeaseTable, sessionPrefix } from "../../coordinator/backends/kv/lease-table.ts";
import { attachBackend } from "../../coordinator/lease/epoch.ts";
import { PartitionLeases } from "../../coordinator/placement/partition-leases.ts";
import { changeOf, headerNames } from "../../runtime/adapters/jetstream/entry.ts";
import { JetStreamStore } from "../../runtime/adapters/jetstream/jetstream-store.ts";
import { Requests } from "../../runtime/adapters/nats/requests.ts";
import { NatsBus } from "../../runtime/adapters/nats-bus/nats-bus.ts";
import type { Token } from "../../runtime/ports/store.ts";
import { natsPlace } from "../models/jetstream/connection.ts";
import { NatsModel } from "../models/jetstream/index.ts";
import type { Stored } from "../models/jetstream/stream.ts";
import { fieldOf, textOf } from "../models/jetstream/wire.ts";
import { clientNamesOf, nodeNamesOf, runCluster } from "../run/cluster.ts";
import type { Fault, FaultOf } from "../run/fault.ts";
import type { Ground } from "../run/ground.ts";
import type { Step, Suite } from "../run/suite.ts";
import { swarm } from "../run/swarm.ts";
import { Dice } from "../world/dice.ts";
import type { SimulatedNode } from "../world/node.ts";
import type { AppliedChange } from "../world/store-data.ts";
import type { World } from "../world/world.ts";
import { judgeCluster, judgeSteps } from "./judge-cluster.ts";

/** `synced`: what is acknowledged is on the disk. */
export type Deployment = { readonly version: string; readonly servers: 1 | 3; readonly synced: boolean };

const stream = "KV_actors";
const subjects = "$KV.actors.";
const partitions = 4;
const ttlMs = 3_000;

export function natsGround(world: World, { version, servers, synced }: Deployment): Ground {
  const nats = new NatsModel(world.laws, {
    server: { version, servers, synced },
    connection: { lateMs: [500, 30_000] },
    epochMs: world.wallMs - world.nowMs,
  });
  const log: AppliedChange[] = [];
  const values = new Map<string, AppliedChange>();
  nats.server.onStored = (name, stored) => {
    if (name !== stream) return;
    const change = appliedBy(stored, world.nowMs, values);
    log.push(change);
    if (change.value === undefined) values.delete(change.key);
    else values.set(change.key, change);
  };
  const open = async (node: SimulatedNode, isHost: boolean) => {
    const { clock, random, logger } = node.ports;
    const ports = { clock, random, logger };
    const { connection } = nats.connect(node.name, node.gate);
    const requests = new Requests(connection, clock, `_INBOX.${random.id()}`);
    const options = { replicas: servers, requestTimeoutMs: 1_000, synced, partitions };
    const store = await JetStreamStore.open(requests, isHost ? options : { ...options, create: false }, ports);
    return { ports, requests, store };
  };
  return {
    partitions,
    log,
    peekAll: () => [...values].map(([key, { value = "" }]) => ({ key, value })),
    async host(node) {
      const { ports, requests, store } = await open(node, true);
      const leaseOptions = {
        bucket: "actors-leases",
        history: 1,
        fleeting: sessionPrefix,
        requestTimeoutMs: 750,
        replicas: servers,
      };
      const leaseStore = await JetStreamStore.open(requests, leaseOptions, ports);
      const service = await LeaseTable.open({ ...ports, store: leaseStore });
      const leases = await PartitionLeases.start({
        service,
        partitions,
        node: node.name,
        ttlMs,
        clock: ports.clock,
        logger: ports.logger,
        epoch: () => attachBackend({ ...ports, store }, service.identity),
        clockOffset: () => store.clockOffset(),
      });
      return { store, leases, bus: new NatsBus({ requests, app: "actors", leases, ...ports }) };
    },
    async client(node) {
      for (;;) {
        try {
          const { ports, requests, store } = await open(node, false);
          return { store, bus: new NatsBus({ requests, app: "actors", ...ports }) };
        } catch {
          // No host has made the bucket yet, or nobody answers.
          await world.sleep(200);
        }
      }
    },
    inflict: (fault) => inflict(world, nats, fault),
    heal: () => nats.faults.off(),
  };
}

function appliedBy(stored: Stored, atMs: number, values: ReadonlyMap<string, AppliedChange>): AppliedChange {
  const { subject, seq: revision, fields, data } = stored;
  const key = subject.slice(subjects.length);
  const change = changeOf({ key, revision, header: (name) => fieldOf(fields, name), value: () => textOf(data) });
  const commit = fieldOf(fields, headerNames.commit);
  const token = fieldOf(fields, headerNames.token);
  return {
    key,
    revision,
    previous: values.get(key)?.revision ?? 0,
    value: change.kind === "put" ? change.entry.value : undefined,
    header: change.kind === "put" ? change.entry.header : undefined,
    token: token?.split(".").map(Number) as unknown as Token | undefined,
    // The host that made the commit's id.
    node: commit?.slice(0, commit.lastIndexOf(".")) ?? "",
    atMs,
  };
}

function inflict(world: World, nats: NatsModel, { args }: FaultOf<"nats">): void {
  const { fault, rate, forMs } = args;
  switch (fault) {
    case "restart":
      if (nats.server.isUp) nats.server.restart(forMs);
      break;
    case "power":
      if (nats.server.isUp) nats.server.losePower(forMs);
      break;
    case "leader":
      nats.server.changeLeader(stream, forMs);
      break;
    case "lose":
    case "slow": {
      const { deliveries } = nats.faults;
      deliveries.rates = { ...deliveries.rates, [fault]: rate };
      world.after(forMs, "fault nats ends", () => {
        deliveries.rates = { ...deliveries.rates, [fault]: 0 };
      });
      break;
    }
    default: {
      const { requests } = nats.faults;
      requests.rates = { ...requests.rates, [fault]: rate };
      world.after(forMs, "fault nats ends", () => {
        requests.rates = { ...requests.rates, [fault]: 0 };
      });
    }
  }
}

const nodes = nodeNamesOf(3);

/** Nodes and clients lose NATS for a while, not each other: everything goes through it. */
function cuts(dice: Dice): readonly Fault[] {
  return Array.from({ length: dice.whole(0, 2) }, () => ({
    at: dice.whole(0, 9_000),
    kind: "cut" as const,
    args: {
      from: dice.pick([...nodes, ...clientNamesOf(3)]),
      to: natsPlace,
      oneWay: false,
      forMs: dice.pick([300, 2_500, 9_000]),
    },
  }));
}

export const jetstreamSuite: Suite = {
  name: "jetstream",
  about: "the JetStream adapters on a model of NATS: lost and late answers, restarts, leader changes, power loss",
  plan: (seed) => {
    const dice = new Dice(`${seed}/deployment`);
    const servers = dice.pick([1, 3] as const);
    const deployment: Deployment = {
      version: dice.pick(["2.10.27", "2.15.1"]),
      servers,
      // Power is what `sync_interval: always` is for; without it a run has none of that.
      synced: dice.chance(0.5),
    };
    const options = {
      kinds: ["crash", "pause", "slow", "step", "drift", "service", "nats"] as const,
      nodes,
      clients: clientNamesOf(3),
      services: ["sandbox"],
      partitions,
      untilMs: 10_000,
    };
    const possible = (fault: Fault) => fault.kind !== "nats" || deployment.synced || fault.args.fault !== "power";
    const faults = [...swarm(seed, options).filter(possible), ...cuts(dice)].sort((a, b) => a.at - b.at);
    const steps = judgeSteps(new Dice(`${seed}/steps`)) as unknown as readonly Step[];
    return { seed, faults, steps, setup: deployment };
  },
  run: (plan, looking) =>
    runCluster({ ...judgeCluster, ground: (world) => natsGround(world, plan.setup as Deployment) }, plan, looking),
};
