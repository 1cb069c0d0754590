/**
 * Every public entrance that takes an object of options refuses a name that nobody knows, with the one that was meant and all
 * that there are. A new export is missing below until it is said what options it takes, or that it takes none.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KV } from "@nats-io/kv";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMachine } from "xstate";
import { createSandbox } from "../actors/index.ts";
import type { LeaseService } from "../coordinator/index.ts";
import * as coordinator from "../coordinator/index.ts";
import * as arbitraries from "../simulations/arbitraries.ts";
import * as simulations from "../simulations/index.ts";
import { EmbeddedStore, embedded } from "./adapters/embedded/index.ts";
import { jetstream } from "./adapters/jetstream/index.ts";
import { busLimits } from "./adapters/nats-bus/limits.ts";
import { connectRedLock, RedisExecutionLog, RedisRegister, RedLock } from "./adapters/redis/index.ts";
import { SystemClock } from "./adapters/system-clock.ts";
import { SystemRandom } from "./adapters/system-random.ts";
import { Entrance } from "./entrance.ts";
import { connect, createRuntime, defineActor, type Logger, memory, type Runtime } from "./index.ts";
import { setUpTracing } from "./telemetry/index.ts";
import { createActorWith, startNatsCluster, startNatsServer, startRedisServer } from "./testing/index.ts";

const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const clock = new SystemClock();
const random = new SystemRandom();
const order = createMachine({ initial: "open", states: { open: { on: { PAY: "paid" } }, paid: {} } });
const folder = mkdtempSync(join(tmpdir(), "holdfast-options-"));
let runtime: Runtime;
let fenced: LeaseService<"log-index">;
let close: () => Promise<void>;
beforeAll(async () => {
  runtime = await createRuntime({ actors: { order }, store: memory(), logger });
  ({ service: fenced, close } = await coordinator.raftLeases({ logger }));
});
afterAll(async () => {
  await runtime.stop();
  await close();
  rmSync(folder, { recursive: true, force: true });
});

/** What is handed over: one name, misspelt. It is of no type. */
// biome-ignore lint/suspicious/noExplicitAny: as JavaScript sees it
type Wrong = any;
/** By the option that was meant: who is given it misspelt. */
type Entrances = Readonly<Record<string, (wrong: Wrong) => unknown>>;

const handle = () => runtime.actor("order", "o") as Wrong;
const world = () => simulations.createWorld({ seed: 1 });
const laws = () => world().laws;
const create = createMachine({ context: { n: 0 }, on: { INC: {} } });
const simulated = (options: object) =>
  simulations.suiteOf({ actors: { create }, workload: [{ to: "create/a" }], ...options } as Wrong).plan(1);
const crash = (fault: object) =>
  simulated({ faults: [{ at: 1, kind: "crash", args: { node: "n1", ...fault } }] as Wrong });
const none = (why: string) => why;
const checker = none("a history: all of its fields are there, or it is no history");

const exported: Readonly<Record<string, Readonly<Record<string, Entrances | string>>>> = {
  ".": {
    createRuntime: {
      requestTimeoutMs: (wrong) => createRuntime({ actors: {}, store: memory(), ...wrong }),
      "settings.drainMs": (settings) => createRuntime({ actors: {}, store: memory(), settings }),
      "stop: drainMs": (wrong) => runtime.stop(wrong),
      "drain: drainMs": (wrong) => runtime.drain(wrong),
      "list: limit": (wrong) => runtime.list("order", wrong),
      "schedule: timeout": (wrong) => runtime.schedule("j", { every: "1s", ...wrong }, () => {}),
      "its entrance for plain requests: timeoutMs": (limits) =>
        new Entrance({ requests: {} as Wrong, actor: () => ({}) as Wrong, clock, logger, limits }),
    },
    ActorHandle: {
      "create: timeoutMs": (wrong) => handle().create(undefined, wrong),
      "createAndSend: key": (wrong) => handle().createAndSend(undefined, { type: "PAY" }, wrong),
      "send: timeoutMs": (wrong) => handle().send({ type: "PAY" }, wrong),
      "delete: key": (wrong) => handle().delete(wrong),
      "purge: force": (wrong) => handle().purge(wrong),
      "state: linearizable": (wrong) => handle().state(wrong),
      "waitFor: timeoutMs": (wrong) => handle().waitFor("done", wrong),
    },
    JobHandle: {
      "backfill: from": async (wrong) => {
        const job = await runtime.schedule("backfilled", { at: "2100-01-01T00:00:00Z" }, () => {});
        return job.backfill("b", { from: 0, to: 1, ...wrong });
      },
    },
    connect: {
      requestTimeoutMs: (wrong) =>
        connect({ actors: {}, store: { ...memory(), connect: () => expect.fail("it connects") }, ...wrong }),
    },
    defineActor: {
      version: (wrong) => defineActor(order, wrong),
      "retain.done": (retain) => defineActor(order, { retain }),
      "limits.mailbox": (limits) => defineActor(order, { limits }),
      "effects.x.timeoutMs": (x) => defineActor(order, { effects: { x } }),
      "effects.x.retry.attempts": (retry) => defineActor(order, { effects: { x: { retry } } }),
    },
    memory: { historyDepth: (wrong) => memory(wrong) },
    consoleLogger: none("a level"),
    Address: none("a type and an id"),
    address: none("a type and an id"),
    mermaidOf: none("a machine"),
    effectOf: none("what XState gives an effect"),
    errorOf: none("a code and a message"),
    isReplyError: none("a code and a message"),
  },
  "./embedded": {
    embedded: { historyDepth: (wrong) => embedded(join(folder, "a"), wrong) },
    EmbeddedStore: { "open: readOnly": (wrong) => EmbeddedStore.open(join(folder, "b"), wrong) },
    holdsStore: none("a directory"),
  },
  "./jetstream": {
    jetstream: {
      leaseTtlMs: (wrong) => jetstream(wrong),
      connectTimeoutMs: (wrong) => jetstream(wrong),
      maxInFlight: (wrong) => jetstream(wrong),
      "tls.caFile": (tls) => jetstream({ tls }),
      "journal.maxAgeMs": (journal) => jetstream({ journal }),
      "limits of its bus: handling": (wrong) => busLimits(wrong),
    },
    JetStreamStore: none("a connection that only `jetstream` makes"),
    defaultNodeName: none("nothing"),
  },
  "./redis": {
    RedisRegister: { timeoutMs: (wrong) => new RedisRegister({} as Wrong, clock, wrong) },
    RedisExecutionLog: { maxRecords: (wrong) => new RedisExecutionLog({} as Wrong, clock, wrong) },
    RedLock: {
      minValidityMs: (wrong) => new RedLock([{ name: "a" } as Wrong], { clock, random }, wrong),
      "acquire: waitMs": (wrong) => {
        const locks = new RedLock([{ name: "a" } as Wrong], { clock, random });
        return locks.acquire("k", { ttlMs: 1_000, ...wrong });
      },
      "run: ttlMs": (wrong) => new RedLock([{ name: "a" } as Wrong], { clock, random }).run("k", wrong, async () => {}),
    },
    connectRedLock: { prefix: (wrong) => connectRedLock(["redis://127.0.0.1:1"], wrong) },
    connectRedis: none("an address, or options of ioredis, which are for ioredis to judge"),
    fencedScript: none("a text"),
  },
  "./coordinator": {
    raftLeases: {
      ttlMs: (wrong) => coordinator.raftLeases(wrong),
      "tls.authority": (tls) => coordinator.raftLeases({ tls }),
    },
    raft: { startWithinMs: (wrong) => coordinator.raft(wrong) },
    jetstreamLeases: {
      ttlMs: (wrong) => coordinator.jetstreamLeases(wrong),
      "tls.certFile": (tls) => coordinator.jetstreamLeases({ tls }),
    },
    UserLeases: {
      onClosed: (wrong) => new coordinator.UserLeases(wrong),
      "acquire: waitMs": (wrong) => userLeases().acquire("k", wrong),
      "run: waitMs": (wrong) => userLeases().run("k", async () => {}, wrong),
    },
    PartitionLeases: { "start: weight": (wrong) => coordinator.PartitionLeases.start(wrong) },
    LeaseTable: {
      "openSession: ttlMs": (wrong) => fenced.openSession({ node: "n", ...wrong }),
      "openSession: attributes.weight": (attributes) => fenced.openSession({ node: "n", ttlMs: 1_000, attributes }),
    },
    HttpGuard: {
      waitMs: (wrong) => new coordinator.HttpGuard({ fence: new coordinator.MemoryFence(), nameOf: String, ...wrong }),
    },
    SqlGuard: { table: (wrong) => new coordinator.SqlGuard("sqlite", wrong) },
    kvRegister: { timeoutMs: (wrong) => coordinator.kvRegister({} as KV, wrong) },
    Guard: none("a register"),
    MemoryFence: none("nothing"),
    memberName: none("a cluster and an id"),
    fencedFetch: none("a claim"),
    formatClaim: none("a claim"),
    parseClaim: none("a text"),
    adoptBackend: none("ports, all of which it needs"),
    attachBackend: none("ports, all of which it needs"),
    assign: none("members and partitions"),
    leaseName: none("a partition"),
  },
  "./actors": {
    createSandbox: {
      maxSourceBytes: (wrong) => createSandbox({ ...sandbox, ...wrong }),
      "limits.wallMs": (limits) => createSandbox({ ...sandbox, limits }),
      "interpreters.python": (wrong) => createSandbox({ ...sandbox, interpreters: { javascript: "/node", ...wrong } }),
    },
    scheduledJobMachine: none("ports, all of which it needs"),
    submissionMachine: none("a judge"),
  },
  "./simulations": {
    simulate: {
      seeds: (wrong) => simulations.simulate({ actors: { create }, workload: [], ...wrong }),
    },
    suiteOf: {
      requestTimeoutMs: (wrong) => simulated(wrong),
      "settings.idleMs": (settings) => simulated({ settings }),
      "a workload: drive": (wrong) => simulated({ workload: { drive: async () => {}, ...wrong } }),
      "a step: waitMs": (wrong) => simulated({ workload: [{ to: "create/a", ...wrong }] }),
      "a fault: kind": (wrong) => simulated({ faults: [{ at: 1, kind: "crash", args: {}, ...wrong }] }),
      "the arguments of a fault: restartAfterMs": crash,
    },
    explore: { shrinkRuns: (wrong) => simulations.explore({} as Wrong, { seeds: [], ...wrong }) },
    swarm: { untilMs: (wrong) => simulations.swarm(1, wrong) },
    fenced: { checks: (wrong) => simulations.fenced(wrong) },
    forkIncident: { seed: (wrong) => simulations.forkIncident(wrong) },
    createWorld: {
      epochMs: (wrong) => simulations.createWorld({ seed: 1, ...wrong }),
      "store: historyDepth": (store) => simulations.createWorld({ seed: 1, store }),
      "store.delays: giveUpMs": (delays) => simulations.createWorld({ seed: 1, store: { delays } }),
      "bus: travelMs": (bus) => simulations.createWorld({ seed: 1, bus }),
      "leases: holderStops": (leases) => simulations.createWorld({ seed: 1, leases }),
      "peers: queueLength": (peers) => simulations.createWorld({ seed: 1, peers }),
      "service: timeoutMs": (wrong) => world().service("s", () => 1, wrong),
      "run: until": (wrong) => world().run(wrong),
      "crashAt: restartAfterMs": (wrong) => world().node("n").crashAt("p", wrong),
      "freezeAt: nth": (wrong) => world().node("n").freezeAt("p", 1, wrong),
      "leases.move: delayMs": (wrong) => world().leases.move(0, "n", wrong),
    },
    NatsModel: {
      connection: (wrong) => new simulations.NatsModel(laws(), wrong),
      "server: commitMs": (wrong) => new simulations.NatsModel(laws(), { server: { version: "2.15.1", ...wrong } }),
    },
    ServerModel: { synced: (wrong) => new simulations.ServerModel({ version: "2.15.1", ...wrong }, {} as Wrong) },
    ConnectionModel: {
      brokenAfterMs: (wrong) =>
        new simulations.ConnectionModel("n", {} as Wrong, laws(), new simulations.NatsModel(laws()).faults, wrong),
    },
    RedisModel: {
      flushing: (wrong) => new simulations.RedisModel({ name: "r", time: {} as Wrong, ...wrong }),
      "network: travelMs": (network) => new simulations.RedisModel({ name: "r", time: {} as Wrong, network }),
    },
    FencedRecorder: {
      remembersKeys: (wrong) => new simulations.FencedRecorder({ fenced: true, nowMs: () => 0, ...wrong }),
    },
    checkConvergence: checker,
    checkEffects: checker,
    checkExactlyOnce: checker,
    checkLinearizability: checker,
    checkOrder: checker,
    checkParking: checker,
    checkReplies: checker,
    checkRevisions: checker,
    checkSchedule: checker,
    checkSpans: checker,
    checkTimers: checker,
    checkTokensAtResources: checker,
    checkTraces: checker,
    linearize: checker,
    checkScenario: none("a scenario"),
    readScenario: none("a text"),
    writeScenario: none("a scenario"),
    drawDiagram: none("a picture"),
    inPlainWords: none("a violation"),
    playRedLock: none("a schedule of the tales"),
    redisLink: none("a model"),
    seedsIn: none("a text"),
    suiteNamed: none("a name"),
    tellCoverage: none("what was explored"),
    tellFailure: none("a failure"),
    tellFault: none("a fault"),
    tellMeasured: none("what was explored"),
    tellRedLock: none("nothing"),
    tellScheduler: none("nothing"),
    tellTotals: none("what was explored"),
  },
  "./simulations/arbitraries": {
    faultSchedules: { maxLength: (wrong) => arbitraries.faultSchedules(wrong) },
    callSteps: { maxLength: (wrong) => arbitraries.callSteps({ actors: ["create/a"], events: {} as Wrong, ...wrong }) },
  },
  "./telemetry": {
    setUpTracing: { delayMs: (wrong) => setUpTracing({ serviceName: "s", exporter: {} as Wrong, ...wrong }) },
    openTelemetry: none("a tracer"),
  },
  "./testing": {
    createActorWith: { duplicate: (wrong) => createActorWith(wrong) },
    startNatsServer: { synced: (wrong) => startNatsServer(wrong) },
    startNatsCluster: { maxFileStore: (wrong) => startNatsCluster(3, wrong) },
    startRedisServer: { appendFsync: (wrong) => startRedisServer(wrong) },
    createActor: none("options of XState's createActor, which swallows as that does"),
    ManualClock: none("a moment"),
    findNatsServers: none("an environment"),
    findRedisServer: none("an environment"),
  },
};

const sandbox = { concurrency: 1, scratch: folder, interpreters: { javascript: "/node" } };

function userLeases() {
  return new coordinator.UserLeases({ service: fenced, node: "n", ttlMs: 1_000, clock, logger, epoch: async () => 1 });
}

for (const [entry, names] of Object.entries(exported)) {
  const entrances = Object.entries(names).flatMap(([name, entrance]) =>
    typeof entrance === "string"
      ? []
      : Object.entries(entrance).map(([what, give]) => [`${name}, ${what}`, what, give] as const),
  );
  test.each(entrances)(`holdfast${entry.slice(1)}: %s`, async (_name, what, give) => {
    const meant = what.split(/[ .]/).at(-1) as string;
    // As `drainMS` for `drainMs`.
    const typo = meant.slice(0, -1) + meant.slice(-1).toUpperCase();
    const said = await (async () => give({ [typo]: undefined }))().then(
      () => expect.fail(`${typo} is swallowed`),
      (error: Error) => error.message,
    );
    expect(said).toMatch(new RegExp(`\\b${typo}\\b`));
    // The sandbox of the judge has words of its own: it stands on the public API.
    if (entry !== "./actors") expect(said).toMatch(new RegExp(`did you mean ${meant}\\?|"${meant}" was meant\\?`));
    expect(said).toMatch(new RegExp(`there (is|are) .*\\b${meant}\\b`));
  });
}

describe("what is exported stands above", () => {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    readonly exports: Readonly<Record<string, { readonly default: string }>>;
  };
  test.each(Object.entries(manifest.exports))("%s", async (entry, { default: built }) => {
    const path = built.replace("./dist/", "../").replace(/js$/, "ts");
    const values = (await import(path)) as Readonly<Record<string, unknown>>;
    const callable = Object.entries(values).filter(([, value]) => typeof value === "function" && !isError(value));
    expect(Object.keys(exported[entry] ?? {}).sort()).toEqual(callable.map(([name]) => name).sort());
  });
});

function isError(value: object): boolean {
  return (value as { readonly prototype?: unknown }).prototype instanceof Error;
}
