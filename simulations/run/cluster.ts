/**
 * One run of production hosts under faults: nodes that host the actors, clients that do the steps through the production
 * client, services outside. Troubles first, then everything heals and must come to rest, then whatever was still under
 * way arrives; at the end `rules.ts` judges. Start reading at `runCluster`.
 */
import type { AnyActorLogic, EventFromLogic, InputFrom, SnapshotFrom } from "xstate";
import type { ActorHandle, SendResult } from "../../runtime/client.ts";
import type { Client } from "../../runtime/connect.ts";
import { connect } from "../../runtime/connect.ts";
import { type ActorDefinition, definitionsOf, missingIn } from "../../runtime/definition.ts";
import type { HostSettings } from "../../runtime/host/settings.ts";
import { type RequestBody, readRequestAnswer } from "../../runtime/host/wire.ts";
import { refuseUnknown } from "../../runtime/options.ts";
import type { Bus } from "../../runtime/ports/bus.ts";
import type { FencedRegister } from "../../runtime/ports/fenced-register.ts";
import type { ActorTypes, LogicOf } from "../../runtime/runtime.ts";
import type { KeyedReply } from "../checkers/replies.ts";
import type { Violation } from "../checkers/violation.ts";
import { bootHosts, rigSettings } from "../protocol/rig.ts";
import type { Dice } from "../world/dice.ts";
import type { DrawnAt } from "../world/drawing.ts";
import type { NodePorts } from "../world/node.ts";
import { RegisterModel, type RegisterRequest, registerOver } from "../world/register-model.ts";
import type { ServiceModel } from "../world/service-model.ts";
import { createWorld, type World } from "../world/world.ts";
import { type Guard, guard, type RejectionWatch, watchRejections } from "./ambient.ts";
import { keyOfRequest, replyOf } from "./answers.ts";
import { type Refusal, watchedClient } from "./driven.ts";
import { type Ground, groundOf } from "./ground.ts";
import { inflict } from "./inflict.ts";
import type { Always, Verdict } from "./moments.ts";
import { named, noSuch } from "./names.ts";
import { tellStep } from "./report.ts";
import { Rest } from "./rest.ts";
import { judgeCluster } from "./rules.ts";
import { checkSteps } from "./simulate-options.ts";
import type { Looking, Plan, Ran } from "./suite.ts";

/** What a process has at hand when it makes its actors. */
export type Process = {
  /** Such as `n1`; and how often it has started, from 1. */
  readonly node: string;
  readonly start: number;
  /** A client of an outside service, for effects. Rejects when no answer comes: it may have been done. */
  service(name: string): (request: unknown) => Promise<unknown>;
  /** A resource of `services` that is `fenced()`: for effects that write with their token. */
  register(name: string): FencedRegister;
  /** Waits in virtual time, as this node's clock has it. */
  sleep(ms: number): Promise<void>;
};

/** One request that a service handled, in order. */
export type ServiceCall = { readonly request: unknown; readonly atMs: number };

/** Answers a request; throws to answer with an error. `calls`: those handled before. */
export type Service = (request: never, calls: readonly ServiceCall[]) => unknown;

/** A resource that keeps a value per key, and for which the order of the tokens that reach it is judged. */
export type FencedService = { readonly kind: "fenced"; readonly checks: boolean };

/** `checks: false`: it takes the token and looks at nothing, as a plain database; what then goes wrong is found. */
export function fenced(options: { readonly checks?: boolean } = {}): FencedService {
  refuseUnknown("options of fenced", options, { checks: true }, RangeError);
  const { checks = true } = options;
  return { kind: "fenced", checks };
}

export type Cluster<TActors extends ActorTypes = ActorTypes> = {
  readonly actors: TActors | ((process: Process) => TActors);
  readonly services?: Readonly<Record<string, Service | FencedService>>;
  /** Default 3. */
  readonly nodes?: number;
  /** Default 4. */
  readonly partitions?: number;
  /** What the hosts stand on. Default: the world's own store, leases and bus. */
  readonly ground?: (world: World) => Ground;
  readonly clients?: number;
  readonly settings?: Partial<HostSettings>;
  /** How long one request of a client is tried before it is given up as unknown. Default 2 s. */
  readonly requestTimeoutMs?: number;
  /** In place of steps: drives the clients itself. */
  readonly workload?: Workload;
  /** What must hold when everything has come to rest. */
  readonly invariants?: Invariants<TActors>;
  /** What must hold after every commit. */
  readonly always?: Always<TActors>;
  /** Rules that do not hold here, by name, because this workload breaks them on purpose. */
  readonly except?: readonly string[];
};

export type Hands = {
  /** Of the first client; `client(n)` for others. */
  actor(type: string, id: string): ActorHandle<AnyActorLogic>;
  client(number: number): Client;
  sleep(ms: number): Promise<void>;
  readonly dice: Dice;
};

export type Workload = (hands: Hands) => Promise<void>;

/**
 * What one client does next. Of anybody's actors; `CallStep<typeof actors>` is for a type that there is, and sends what its
 * machine takes.
 */
export type CallStep<TActors extends ActorTypes = ActorTypes> = StepFields &
  (string extends keyof TActors
    ? AnyRequest
    : { [TType in NamesOf<TActors>]: RequestTo<TActors, TType> }[NamesOf<TActors>]);

type NamesOf<TActors> = keyof TActors & string;

type AnyRequest = {
  /** `counter/a` */
  readonly to: string;
  /** Input of the machine. Together with `send`: created if it must be, and sent to, in one commit. */
  readonly create?: unknown;
  readonly send?: { readonly type: string; readonly [field: string]: unknown };
};

type RequestTo<TActors extends ActorTypes, TType extends NamesOf<TActors>> = {
  readonly to: `${TType}/${string}`;
  readonly create?: InputFrom<LogicOf<TActors[TType]>>;
  readonly send?: EventFromLogic<LogicOf<TActors[TType]>>;
};

type StepFields = {
  /** Which client; each does its steps one after the other. Default 1. */
  readonly client?: number;
  readonly waitMs?: number;
  /** Done, one after the other, before any that is not. */
  readonly first?: boolean;
  /** Ends the actor and leaves a tombstone. */
  readonly delete?: boolean;
  /** The caller's idempotency key. */
  readonly key?: string;
  /** How often it is asked again when no answer came. Default: 30 with a key, none without. */
  readonly retries?: number;
};

export type StepResult = {
  readonly step: CallStep;
  outcome: "acknowledged" | "refused" | "unknown" | "unfinished";
  code?: string;
  /** What the refusal said. */
  message?: string;
  revision?: number;
  duplicate?: boolean;
  callMs: number;
  returnMs: number;
  /** The keys under which it travelled: one for each time that the caller asked anew. */
  readonly keys: Set<string>;
};

/** How the world stands when everything has come to rest. */
export type End<TActors extends ActorTypes = ActorTypes> = {
  /** The revived XState snapshot; undefined: there is no such actor. */
  state<TType extends keyof TActors & string>(type: TType, id: string): StateOf<TActors, TType> | undefined;
  readonly actors: readonly string[];
  /** What a service handled. */
  calls(service: string): readonly ServiceCall[];
  /** What a `fenced()` service holds under a key. */
  stored(service: string, key: string): string | undefined;
  readonly steps: readonly StepResult[];
};

export type EndState = {
  readonly value: unknown;
  readonly context: Readonly<Record<string, unknown>>;
  readonly status: string;
  readonly output?: unknown;
};

/** A snapshot of the machine, where the types of the actors are known. */
export type StateOf<TActors extends ActorTypes, TType extends keyof TActors> = string extends keyof TActors
  ? EndState
  : SnapshotFrom<LogicOf<TActors[TType]>>;

/** By what must hold, in plain words. False, a text that says what is wrong, or a throw: it does not. */
export type Invariants<TActors extends ActorTypes = ActorTypes> = Readonly<
  Record<string, (end: End<TActors>) => Verdict>
>;

const lateMs = 45_000;
const troubleMs = 30_000;
const restMs = 900_000;

export const nodeNamesOf = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `n${index + 1}`);
export const clientNamesOf = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `c${index + 1}`);

/** How long the client that waits longest does so, in all. */
export function longestMs(steps: readonly CallStep[]): number {
  const waits = new Map<number, number>();
  for (const { client = 1, waitMs = 0 } of steps) waits.set(client, (waits.get(client) ?? 0) + waitMs);
  return Math.max(0, ...waits.values());
}

export async function runCluster(
  cluster: Cluster,
  plan: Plan,
  looking: Looking & { tripwire?: boolean } = {},
): Promise<Ran> {
  const world = createWorld({
    seed: plan.seed,
    fullTrace: looking.trace === true,
    maxSteps: 600_000,
    store: { delays: { giveUpMs: [100, 1_000], lateMs: [100, lateMs] } },
    bus: { lateMs: [500, lateMs] },
    leases: { partitions: cluster.partitions ?? 4, ttlMs: 3_000 },
  });
  const guarded = await guard(world, { tripwire: looking.tripwire === true });
  const watched = watchRejections();
  try {
    return await inWorld(world, cluster, plan, looking, { guarded, watched });
  } finally {
    await watched.end();
  }
}

async function inWorld(
  world: World,
  cluster: Cluster,
  plan: Plan,
  looking: Looking,
  { guarded, watched }: { readonly guarded: Guard; readonly watched: RejectionWatch },
): Promise<Ran> {
  const types = typesFor(cluster, "c1");
  const definitions = definitionsOf(types);
  const { reached: missing } = missingIn(definitions);
  if (missing.length > 0) throw new TypeError(`the actors of the simulation: ${missing.join("; ")}`);
  if (Object.keys(definitions).length === 0)
    throw new TypeError("a simulation needs actors, by the names of their types: { actors: { order: machine } }");
  const nodes = nodeNamesOf(cluster.nodes ?? 3);
  // Of a scenario, nobody has looked at them yet.
  const steps: unknown = plan.steps;
  checkSteps(steps);
  steps.forEach(({ to }, index) => {
    const type = to.slice(0, to.indexOf("/"));
    if (!Object.hasOwn(definitions, type))
      throw new RangeError(
        `step ${index + 1} of the workload: ${noSuch("actor type", type, Object.keys(definitions))}`,
      );
  });
  const drawn: DrawnAt[] = [];
  if (looking.picture === true) world.draw((one) => drawn.push(one));
  const services = servicesOf(world, cluster.services ?? {});
  // A name misspelt inside an effect looks to the machine like an outside that fails, which it lives with.
  const misnamed: unknown[] = [];
  const serviceNamed = (name: string): ServiceModel<never, unknown> => {
    try {
      return named("service", services.models, name);
    } catch (error) {
      misnamed.push(error);
      throw error;
    }
  };
  const ground = (cluster.ground ?? groundOf)(world);
  inflict(plan.faults, { world, nodes, services: services.models, ground });
  world.after(0, "the cluster starts", () => {
    bootHosts(
      world,
      nodes,
      [],
      (ports) => definitionsFor(cluster, processOf(world, ports, nodes, serviceNamed)),
      { ...rigSettings, ...cluster.settings },
      ground.host,
    );
  });
  const run = new Work(world, ground, cluster, steps);
  world.after(1, "the clients start", () => run.start());

  await world.run({ until: () => run.isDone, forMs: troubleMs });
  const lastMs = Math.max(0, ...plan.faults.map(({ at }) => at));
  if (world.nowMs < lastMs) await world.run({ forMs: Math.min(troubleMs, lastMs + 1_000) - world.nowMs });
  world.heal();
  ground.heal();
  const healedMs = world.nowMs;
  for (const name of nodes) {
    const node = world.node(name);
    node.wallOffsetMs = Math.max(0, node.wallOffsetMs);
    if (node.state === "crashed") node.restart();
  }
  const violations: Violation[] = [];
  const rest = new Rest(world, ground, definitions);
  for (const pauseMs of [0, lateMs + 5_000]) {
    if (violations.length > 0) break;
    if (pauseMs > 0) await world.run({ forMs: pauseMs });
    const end = await world.run({ until: () => run.isDone && rest.isReached(), forMs: restMs });
    if (end !== "until")
      violations.push({
        rule: "never-at-rest",
        detail: `after ${Math.round(world.nowMs / 1_000)} virtual seconds: ${[...run.whatIsLeft(), ...rest.whatIsLeft()].join("; ")}`,
      });
  }
  if (misnamed.length > 0) throw misnamed[0];
  const seen = await run.states();
  const states = seen.get("c1") ?? new Map<string, EndState>();
  const end: End = {
    state: (type, id) => {
      named("actor type", types, type);
      return states.get(`${type}.${id}`);
    },
    actors: [...states.keys()],
    calls: (name) => named("service", services.calls, name),
    stored: (name, key) => named("fenced() service", services.registers, name).value(key),
    steps: run.results,
  };
  const judged = judgeCluster({
    world,
    ground,
    plan,
    results: run.results,
    failure: run.failure,
    refusals: run.refusals,
    end,
    invariants: cluster.invariants ?? {},
    always: cluster.always ?? {},
    types,
    replies: run.replies,
    registers: services.registers,
    healedMs,
    sights: [...seen].flatMap(([node, ofNode]) =>
      [...ofNode].map(([actor, { value, context, status }]) => ({
        node,
        actor,
        value: JSON.stringify([value, context, status]),
      })),
    ),
  });
  const found = [...guarded.violations(), ...violations, ...(await watched.end()), ...judged.violations].filter(
    ({ rule }) => !(cluster.except ?? []).includes(rule),
  );
  return {
    violations: found,
    traceHash: world.trace.hash,
    events: world.steps,
    virtualMs: world.nowMs,
    met: judged.met,
    ...(looking.trace === true && { lines: world.trace.lines() }),
    ...(looking.picture === true && {
      picture: {
        title: `seed ${plan.seed}`,
        lanes: [...run.clientNames, ...nodes, "store", ...Object.keys(services.models)],
        drawn: [...drawn, ...judged.commits].sort((a, b) => a.atMs - b.atMs),
        faults: plan.faults,
        violations: found,
        healedMs,
        endMs: world.nowMs,
      },
    }),
  };
}

function definitionsFor(cluster: Cluster, process: Process): Readonly<Record<string, ActorDefinition>> {
  const { actors } = cluster;
  return definitionsOf(typeof actors === "function" ? actors(process) : actors);
}

function processOf(
  world: World,
  ports: NodePorts,
  nodes: readonly string[],
  serviceNamed: (name: string) => ServiceModel<never, unknown>,
): Process {
  const node = nodes.find((name) => world.node(name).ports === ports) ?? "n1";
  const service = (name: string) => ports.service(serviceNamed(name)) as (request: unknown) => Promise<unknown>;
  return {
    node,
    start: world.node(node).incarnation,
    service,
    register: (name) => registerOver(service(name)),
    sleep: (ms) => new Promise((resolve) => void ports.clock.after(ms, resolve)),
  };
}

function servicesOf(world: World, services: Readonly<Record<string, Service | FencedService>>) {
  const calls: Record<string, ServiceCall[]> = {};
  const models: Record<string, ServiceModel<never, unknown>> = {};
  const registers: Record<string, RegisterModel> = {};
  for (const [name, service] of Object.entries(services)) {
    const register = typeof service === "function" ? undefined : new RegisterModel(service.checks);
    if (register !== undefined) registers[name] = register;
    const handle = typeof service === "function" ? service : (request: RegisterRequest) => register?.handle(request);
    const handled: ServiceCall[] = [];
    calls[name] = handled;
    models[name] = world.service(name, (request: never) => {
      const before = [...handled];
      handled.push({ request, atMs: world.nowMs });
      return handle(request, before);
    });
  }
  return { calls, models, registers };
}

/** Refusals that say "not now", and silence. */
const passing = new Set(["OutcomeUnknown", "Moved", "Overloaded", "StoreFull", "Stopped"]);

/** The clients of a run, and what became of each step. */
class Work {
  readonly results: StepResult[];
  readonly replies: KeyedReply[] = [];
  /** What a workload that drives was refused, or not answered. */
  readonly refusals: Refusal[] = [];
  readonly clientNames: readonly string[];
  isDone = false;
  #isDriving = false;
  /** What the workload itself threw. */
  failure: unknown;
  readonly #world: World;
  readonly #ground: Ground;
  readonly #cluster: Cluster;
  readonly #clients: Client[] = [];
  readonly #current = new Map<string, StepResult>();

  constructor(world: World, ground: Ground, cluster: Cluster, steps: readonly CallStep[]) {
    this.#world = world;
    this.#ground = ground;
    this.#cluster = cluster;
    this.results = steps.map((step) => ({ step, outcome: "unfinished", callMs: 0, returnMs: 0, keys: new Set() }));
    const count = Math.max(cluster.clients ?? 1, ...steps.map(({ client = 1 }) => client));
    this.clientNames = clientNamesOf(count);
  }

  start(): void {
    this.#run().then(
      () => {
        this.isDone = true;
      },
      (error: unknown) => {
        this.failure = error;
        this.isDone = true;
      },
    );
  }

  /** What clients have still to do, for people. */
  whatIsLeft(): readonly string[] {
    if (this.isDone) return [];
    if (this.#isDriving)
      return ["the workload's `drive` has not ended: what it awaits does not come, or it loops for ever"];
    return this.results.flatMap((result, index) =>
      result.returnMs === 0 ? [`step ${index + 1} is not done: ${tellStep(result.step)}`] : [],
    );
  }

  /** Every actor's state as each client reads it. */
  async states(): Promise<ReadonlyMap<string, ReadonlyMap<string, EndState>>> {
    const keys = this.#ground.peekAll().flatMap(({ key }) => (key.startsWith("_") ? [] : [key]));
    const read = async (client: Client): Promise<Map<string, EndState>> => {
      const states = new Map<string, EndState>();
      for (const key of keys) {
        const dot = key.indexOf(".");
        const handle = client.actor(key.slice(0, dot), key.slice(dot + 1)) as ActorHandle<AnyActorLogic>;
        // A state that cannot be revived is none; why, the rules find by themselves.
        const state = await handle.state().catch(() => undefined);
        if (state !== undefined) states.set(key, state as unknown as EndState);
      }
      return states;
    };
    const seen = new Map<string, ReadonlyMap<string, EndState>>();
    this.#clients.forEach((client, index) => {
      this.#world.after(0, "states are read", () => {
        void read(client).then((states) => seen.set(clientNamesOf(index + 1)[index] as string, states));
      });
    });
    await this.#world.runUntil(() => seen.size === this.#clients.length);
    return seen;
  }

  async #run(): Promise<void> {
    const world = this.#world;
    for (const name of this.clientNames) this.#clients.push(await this.#open(name));
    const { workload } = this.#cluster;
    if (workload !== undefined) {
      const driven = (number: number) =>
        watchedClient(this.#client(number), (refusal) => void this.refusals.push(refusal));
      this.#isDriving = true;
      await workload({
        actor: (type, id) => driven(1).actor(type, id) as ActorHandle<AnyActorLogic>,
        client: driven,
        sleep: (ms) => world.sleep(ms),
        dice: world.dice("workload"),
      });
      this.#isDriving = false;
    }
    for (const result of this.results) if (result.step.first === true) await this.#do(result);
    await Promise.all(
      this.clientNames.map(async (_, index) => {
        const own = this.results.filter(({ step }) => step.first !== true && (step.client ?? 1) === index + 1);
        for (const result of own) await this.#do(result);
      }),
    );
  }

  async #do(result: StepResult): Promise<void> {
    const { step } = result;
    const name = `c${step.client ?? 1}`;
    await this.#world.sleep(step.waitMs ?? 0);
    result.callMs = this.#world.nowMs;
    this.#current.set(name, result);
    const retries = step.retries ?? (step.key === undefined ? 0 : 30);
    for (let asked = 0; ; asked++) {
      const code = await this.#ask(result);
      if (code === undefined || !passing.has(code) || asked >= retries) break;
      await this.#world.sleep(200);
    }
    result.returnMs = this.#world.nowMs;
  }

  /** Once, as a caller would; the code of the error, if it failed. */
  async #ask(result: StepResult): Promise<string | undefined> {
    const { step } = result;
    const slash = step.to.indexOf("/");
    const handle = this.#client(step.client ?? 1).actor(
      step.to.slice(0, slash),
      step.to.slice(slash + 1),
    ) as ActorHandle<AnyActorLogic>;
    try {
      const { revision, duplicate } = await request(handle, step);
      Object.assign(result, { outcome: "acknowledged", revision, duplicate });
      return undefined;
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === undefined) throw error;
      Object.assign(result, { outcome: code === "OutcomeUnknown" ? "unknown" : "refused", code, message });
      return code;
    }
  }

  #client(number: number): Client {
    const client = this.#clients[number - 1];
    if (client === undefined) throw new Error(`there is no client ${number}: say how many with \`clients\``);
    return client;
  }

  async #open(name: string): Promise<Client> {
    const node = this.#world.node(name);
    const { clock, random, logger, telemetry } = node.ports;
    return connect({
      actors: typesFor(this.#cluster, name),
      store: {
        open: async () => {
          throw new Error("clients of a simulation host nothing");
        },
        connect: async () => {
          const { store, bus } = await this.#ground.client(node);
          const { partitions } = this.#ground;
          return { store, bus: this.#listening(name, bus), partitions, close: async () => {} };
        },
      },
      clock,
      random,
      logger,
      telemetry,
      requestTimeoutMs: this.#cluster.requestTimeoutMs ?? 2_000,
    }) as Promise<Client>;
  }

  /** Notes under which key the present step of a client travels, and each reply. */
  #listening(name: string, bus: Bus): Bus {
    return {
      request: async (request, timeoutMs) => {
        const body = JSON.parse(request.body) as RequestBody;
        const key = keyOfRequest(body);
        if (key !== undefined) this.#current.get(name)?.keys.add(key);
        const reply = await bus.request(request, timeoutMs);
        const answer = reply.kind === "reply" ? readRequestAnswer(reply.body) : undefined;
        const heard = answer && replyOf(body, answer);
        if (heard !== undefined) this.replies.push(heard);
        return reply;
      },
      serve: (handler) => bus.serve(handler),
      publish: (topic, body, id, trace) => bus.publish(topic, body, id, trace),
      subscribe: (topic, listener) => bus.subscribe(topic, listener),
    };
  }
}

function request(
  handle: ActorHandle<AnyActorLogic>,
  { create, send, delete: ends, key }: CallStep,
): Promise<SendResult> {
  const options = key === undefined ? {} : { key };
  if (ends === true) return handle.delete(options);
  if (send === undefined) return handle.create(create as never, options);
  if (create !== undefined) return handle.createAndSend(create as never, send as never, options);
  return handle.send(send as never, options);
}

/** The machines as a client knows them. */
function typesFor({ actors }: Cluster, client: string): ActorTypes {
  return typeof actors === "function" ? actors(outsideProcess(client)) : actors;
}

/** For a client, which knows the machines and runs nothing of them. */
function outsideProcess(name: string): Process {
  const refuse = (): never => {
    throw new Error("a client runs no effects");
  };
  return {
    node: name,
    start: 1,
    service: () => refuse,
    register: () => ({ install: refuse, write: refuse, read: refuse }),
    sleep: refuse,
  };
}
