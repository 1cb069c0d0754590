/**
 * The runtime that a service embeds: opens the store, hosts the actors, hands out typed handles. `createRuntime` is the
 * one place that chooses adapters for what the caller did not give.
 */
import type { AnyActorLogic } from "xstate";
import { consoleLogger } from "./adapters/console-logger.ts";
import { LocalBus } from "./adapters/memory/local-bus.ts";
import { SystemClock } from "./adapters/system-clock.ts";
import { SystemRandom } from "./adapters/system-random.ts";
import { described, portProblems, timeProblem } from "./argument.ts";
import { ActorHandle, type ClientEnv, type TypedListOptions } from "./client.ts";
import { startControl } from "./control/index.ts";
import type { ControlServer } from "./control/server.ts";
import { Deadlines } from "./deadlines.ts";
import { type ActorDefinition, definitionNamed, definitionsOf, missingIn } from "./definition.ts";
import { Entrance, type EntranceCounts } from "./entrance.ts";
import { InvalidRequestError } from "./errors.ts";
import { Host, type HostInfo } from "./host/host.ts";
import type { ParkedRecord } from "./host/parking.ts";
import { defaultSettings, type HostSettings } from "./host/settings.ts";
import { type ActorSummary, type ListOptions, listActors } from "./listing.ts";
import { type KeysOf, refuseUnknown, unknownOptions } from "./options.ts";
import type { Bus } from "./ports/bus.ts";
import type { Clock } from "./ports/clock.ts";
import type { LeaseStatus } from "./ports/leases.ts";
import type { Logger } from "./ports/logger.ts";
import type { Random } from "./ports/random.ts";
import type { StoreInfo } from "./ports/store.ts";
import type { OpenStore, StoreProvider } from "./ports/store-provider.ts";
import type { Telemetry } from "./ports/telemetry.ts";
import { type JobHandle, type JobHandler, type JobOptions, jobType, Schedules } from "./schedules.ts";
import { Sequences } from "./sequences.ts";
import { Watcher } from "./watcher.ts";

/** Actor types by name: definitions, or bare logic for the defaults. */
export type ActorTypes = Readonly<Record<string, ActorDefinition | AnyActorLogic>>;

export type LogicOf<TType> =
  TType extends ActorDefinition<infer TLogic> ? TLogic : TType extends AnyActorLogic ? TType : never;

export type RuntimeOptions<TActors extends ActorTypes> = {
  readonly actors: TActors;
  readonly store: StoreProvider;
  readonly logger?: Logger;
  readonly settings?: Partial<HostSettings>;
  /** How long a request is tried when it does not say. Default: 30 s. */
  readonly requestTimeoutMs?: number;
  /** Whether the command line may talk to this host, over a socket in the store's directory. Default: true. */
  readonly control?: boolean;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly bus?: Bus;
  /** Traces: `openTelemetry()` from "holdfast/telemetry". Default: none, at no cost. */
  readonly telemetry?: Telemetry;
};

const runtimeOptions: KeysOf<RuntimeOptions<ActorTypes>> = {
  actors: true,
  store: true,
  logger: true,
  settings: true,
  requestTimeoutMs: true,
  control: true,
  clock: true,
  random: true,
  bus: true,
  telemetry: true,
};

export type { ActorSummary, ListOptions } from "./listing.ts";

export type RuntimeInfo = HostInfo & {
  readonly store: StoreInfo;
  readonly types: readonly string[];
  /** This node among the others; missing where there are none. */
  readonly node?: LeaseStatus;
  /** What plain requests came in, where they can. */
  readonly plainRequests?: Readonly<EntranceCounts>;
};

/** `problem` says why it is not ok. */
export type Health = { readonly ok: true } | { readonly ok: false; readonly problem: string };

export type Runtime<TActors extends ActorTypes = ActorTypes> = {
  actor<TType extends keyof TActors & string>(type: TType, id: string): ActorHandle<LogicOf<TActors[TType]>>;
  /** Actors of a type, by scanning its documents; deleted ones only when `status: "deleted"` asks for them. */
  list<TType extends keyof TActors & string>(
    type: TType,
    options?: TypedListOptions<LogicOf<TActors[TType]>>,
  ): Promise<ActorSummary[]>;
  parked(): ParkedRecord[];
  info(): RuntimeInfo;
  /**
   * Runs the handler at every slot of the schedule, once in the whole cluster. Every node names its jobs; whoever owns a
   * job's partition runs it. Rejects with InvalidRequestError, saying all that is wrong.
   */
  schedule(name: string, options: JobOptions, handler: JobHandler): Promise<JobHandle>;
  /** A job by its name, scheduled by this process or not: to look at it, to intervene, to remove it. Reads nothing. */
  job(name: string): JobHandle;
  /** For a liveness probe: false once this process can do nothing but be started again. */
  live(): Health;
  /** For a readiness probe: whether requests are taken here, and the store answers. */
  ready(): Promise<Health>;
  /** For SIGTERM: no more ticks and requests, hands its partitions over, waits for effects. `stop` afterwards. */
  drain(options?: StopOptions): Promise<void>;
  /** Takes no new requests, waits for effects up to `drainMs`, aborts the rest, closes the store. */
  stop(options?: StopOptions): Promise<void>;
};

export type StopOptions = {
  /** How long effects are waited for, in milliseconds. Default: `drainMs` of the settings. */
  readonly drainMs?: number;
};

export async function createRuntime<const TActors extends ActorTypes>(
  options: RuntimeOptions<TActors>,
): Promise<Runtime<TActors>> {
  if (typeof options?.store?.open !== "function") {
    throw new InvalidRequestError(
      'createRuntime needs a store: embedded("./data") from "holdfast/embedded", or memory()',
    );
  }
  const problems = [
    ...unknownOptions(options, runtimeOptions),
    ...unknownOptions(options.settings, defaultSettings, "settings."),
    ...settingProblems(options.settings),
    ...portProblems(options),
    ...timeProblems({ requestTimeoutMs: options.requestTimeoutMs }),
  ];
  if (options.control !== undefined && typeof options.control !== "boolean")
    problems.push(`control is ${described(options.control)}; it must be true or false`);
  if (problems.length > 0) throw new InvalidRequestError(`createRuntime: ${problems.join("; ")}`);
  const definitions = definitionsOf(options.actors);
  const logger = options.logger ?? consoleLogger("warn");
  const missing = missingIn(definitions);
  if (missing.reached.length > 0) throw new InvalidRequestError(`createRuntime: ${missing.reached.join("; ")}`);
  for (const what of missing.unreached) logger.warn(`${what}; nothing leads to that state, so it is let pass`);
  const clock = options.clock ?? new SystemClock();
  const random = options.random ?? new SystemRandom();
  const opened = await options.store.open({ logger, clock, random });
  const bus = options.bus ?? opened.bus ?? new LocalBus(clock);
  try {
    const host = new Host(
      { store: opened.store, leases: opened.leases, clock, random, bus, logger, telemetry: options.telemetry },
      definitions,
      options.settings,
    );
    await host.start();
    const { info } = opened.store;
    logger.info(
      `hosting ${Object.keys(definitions).join(", ")} on ${info.name}; an acknowledged event survives: ${info.durability}`,
    );
    const requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
    const runtime = new HostedRuntime(opened, host, definitions, {
      clock,
      bus,
      random,
      requestTimeoutMs,
      telemetry: options.telemetry,
      logger,
    });
    if (opened.plainRequests !== undefined) {
      const { plainRequests: requests } = opened;
      runtime.entrance = new Entrance({ requests, actor: (type, id) => runtime.actor(type, id), clock, logger });
    }
    if (opened.directory !== undefined && options.control !== false) {
      const { directory, store } = opened;
      runtime.control = await startControl({ directory, store, definitions, runtime, clock, logger });
    }
    return runtime as unknown as Runtime<TActors>;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** How long a readiness probe waits for the store. */
const probeMs = 2_000;

class HostedRuntime {
  readonly #opened: OpenStore;
  readonly #host: Host;
  readonly #definitions: Record<string, ActorDefinition>;
  readonly #env: ClientEnv;
  readonly #schedules: Schedules;
  #stopped = false;
  control: ControlServer | undefined;
  entrance: Entrance | undefined;

  constructor(
    opened: OpenStore,
    host: Host,
    definitions: Record<string, ActorDefinition>,
    ports: {
      clock: Clock;
      bus: Bus;
      random: Random;
      logger: Logger;
      requestTimeoutMs: number;
      telemetry: Telemetry | undefined;
    },
  ) {
    this.#opened = opened;
    this.#host = host;
    this.#definitions = definitions;
    this.#env = {
      store: opened.store,
      clock: ports.clock,
      bus: ports.bus,
      host,
      telemetry: ports.telemetry,
      partitionOf: (key) => host.partitionOf(key),
      watcher: new Watcher(opened.store),
      sequences: new Sequences(ports.random),
      deadlines: new Deadlines(ports.clock),
      requestTimeoutMs: ports.requestTimeoutMs,
      isStopped: () => this.#stopped,
    };
    this.#schedules = new Schedules({
      host,
      leases: opened.leases,
      clock: ports.clock,
      logger: ports.logger,
      owner: () => opened.leases.status?.().session ?? "here",
      define: (type, definition) => this.#define(type, definition),
      actor: (type, id) => this.actor(type, id) as never,
    });
  }

  actor(type: string, id: string): ActorHandle<AnyActorLogic> {
    return new ActorHandle(this.#env, definitionNamed(this.#definitions, type), type, id);
  }

  list(type: string, options: ListOptions = {}): Promise<ActorSummary[]> {
    return listActors(this.#opened.store, type, options, definitionNamed(this.#definitions, type).logic);
  }

  parked(): ParkedRecord[] {
    return this.#host.parking.all();
  }

  info(): RuntimeInfo {
    const { store, leases } = this.#opened;
    const node = leases.status?.();
    return {
      ...this.#host.info(),
      store: store.info,
      types: Object.keys(this.#definitions),
      ...(node && { node }),
      ...(this.entrance && { plainRequests: this.entrance.counts }),
    };
  }

  schedule(name: string, options: JobOptions, handler: JobHandler): Promise<JobHandle> {
    return this.#schedules.schedule(name, options, handler);
  }

  job(name: string): JobHandle {
    return this.#schedules.job(name);
  }

  live(): Health {
    const { failure } = this.#host;
    if (failure !== undefined) return { ok: false, problem: failure.message };
    const problem = this.#stopped ? "the runtime has stopped" : this.#opened.lostForGood?.();
    return problem === undefined ? { ok: true } : { ok: false, problem };
  }

  async ready(): Promise<Health> {
    const live = this.live();
    if (!live.ok) return live;
    if (!this.#host.isRunning) return { ok: false, problem: "the runtime is draining" };
    const problem = this.#opened.leases.status?.().problem;
    if (problem !== undefined) return { ok: false, problem };
    return this.#storeAnswers();
  }

  async drain(options: StopOptions = {}): Promise<void> {
    checkStop("drain", options);
    this.#schedules.stop();
    this.entrance?.stop();
    return this.#host.drain(options.drainMs);
  }

  #storeAnswers(): Promise<Health> {
    return new Promise((resolve) => {
      const waits = {};
      const end = (health: Health) => {
        this.#env.deadlines.clear(waits);
        resolve(health);
      };
      this.#env.deadlines.set(waits, probeMs, () =>
        end({ ok: false, problem: `the store did not answer within ${probeMs} ms` }),
      );
      this.#opened.store.read(`${jobType}.ready`).then(
        () => end({ ok: true }),
        (error: unknown) => end({ ok: false, problem: `the store cannot be read: ${(error as Error).message}` }),
      );
    });
  }

  #define(type: string, definition: ActorDefinition): void {
    if (Object.hasOwn(this.#definitions, type))
      throw new InvalidRequestError(`the actor type "${type}" is for scheduled jobs: give yours another name`);
    this.#definitions[type] = definition;
  }

  async stop(options: StopOptions = {}): Promise<void> {
    checkStop("stop", options);
    this.#schedules.stop();
    const controlStopped = this.control?.stop();
    this.entrance?.stop();
    await this.#host.stop(options.drainMs);
    await this.#schedules.logged();
    this.#stopped = true;
    await controlStopped;
    this.#env.watcher.stop();
    this.#env.deadlines.stop();
    await this.#opened.close();
  }
}

/** Before anything has ended: whoever hears of a mistake here has a runtime still that can be stopped. */
function checkStop(call: string, options: StopOptions): void {
  refuseUnknown(`options of ${call}`, options, { drainMs: true }, InvalidRequestError);
  const [problem] = timeProblems({ drainMs: options.drainMs });
  if (problem !== undefined) throw new InvalidRequestError(`options of ${call}: ${problem}`);
}

function settingProblems(settings: Partial<HostSettings> | undefined): string[] {
  return Object.entries(typeof settings === "object" ? (settings ?? {}) : {}).flatMap(([name, value]) => {
    const least = name === "effects" || name === "recoveries" ? 1 : 0;
    if (!Object.hasOwn(defaultSettings, name) || (typeof value === "number" && value >= least)) return [];
    return [`settings.${name} is ${described(value)}; it must be a number, ${least} or more`];
  });
}

function timeProblems(times: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(times).flatMap(([name, value]) => {
    const problem = timeProblem(value);
    return problem === undefined ? [] : [`${name} ${problem}`];
  });
}
