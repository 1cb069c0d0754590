/** The client for services that host nothing: sends to the nodes that do, reads from the store, owns no partition. */
import type { AnyActorLogic } from "xstate";
import { consoleLogger } from "./adapters/console-logger.ts";
import { SystemClock } from "./adapters/system-clock.ts";
import { SystemRandom } from "./adapters/system-random.ts";
import { portProblems, timeProblem } from "./argument.ts";
import { ActorHandle, type ClientEnv, type TypedListOptions } from "./client.ts";
import { Deadlines } from "./deadlines.ts";
import { type ActorDefinition, definitionNamed, definitionsOf } from "./definition.ts";
import { InvalidRequestError } from "./errors.ts";
import { type ParkedRecord, readParked } from "./host/parking.ts";
import { parkedPrefix } from "./keys.ts";
import { type ActorSummary, type ListOptions, listActors } from "./listing.ts";
import { type KeysOf, refuseUnknown } from "./options.ts";
import { partitionOf } from "./partition.ts";
import type { Clock } from "./ports/clock.ts";
import type { Logger } from "./ports/logger.ts";
import type { Random } from "./ports/random.ts";
import type { OpenClient, StoreProvider } from "./ports/store-provider.ts";
import type { Telemetry } from "./ports/telemetry.ts";
import type { ActorTypes, LogicOf } from "./runtime.ts";
import { Sequences } from "./sequences.ts";
import { Watcher } from "./watcher.ts";

export type ConnectOptions<TActors extends ActorTypes> = {
  /** The types that are used here: for types, for states that are read, and to refuse what no machine takes. */
  readonly actors: TActors;
  /** One that several processes share, such as `jetstream({ servers })`. */
  readonly store: StoreProvider;
  readonly logger?: Logger;
  /** How long a request is tried when it does not say. Default: 30 s. */
  readonly requestTimeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Traces: `openTelemetry()` from "holdfast/telemetry". Default: none, at no cost. */
  readonly telemetry?: Telemetry;
};

const connectOptions: KeysOf<ConnectOptions<ActorTypes>> = {
  actors: true,
  store: true,
  logger: true,
  requestTimeoutMs: true,
  clock: true,
  random: true,
  telemetry: true,
};

export type Client<TActors extends ActorTypes = ActorTypes> = {
  actor<TType extends keyof TActors & string>(type: TType, id: string): ActorHandle<LogicOf<TActors[TType]>>;
  /** Actors of a type, by scanning its documents; deleted ones only when `status: "deleted"` asks for them. */
  list<TType extends keyof TActors & string>(
    type: TType,
    options?: TypedListOptions<LogicOf<TActors[TType]>>,
  ): Promise<ActorSummary[]>;
  parked(): Promise<ParkedRecord[]>;
  /** Ends what waits, and the connection. */
  close(): Promise<void>;
};

export async function connect<const TActors extends ActorTypes>(
  options: ConnectOptions<TActors>,
): Promise<Client<TActors>> {
  const { store } = options ?? {};
  if (typeof store?.connect !== "function") {
    throw new InvalidRequestError(
      'connect needs a store that several processes share: jetstream({ servers }) from "holdfast/jetstream"',
    );
  }
  refuseUnknown("connect", options, connectOptions, InvalidRequestError);
  const problems = portProblems(options);
  const timeout = timeProblem(options.requestTimeoutMs);
  if (timeout !== undefined) problems.push(`requestTimeoutMs ${timeout}`);
  if (problems.length > 0) throw new InvalidRequestError(`connect: ${problems.join("; ")}`);
  const definitions = definitionsOf(options.actors);
  const logger = options.logger ?? consoleLogger("warn");
  const clock = options.clock ?? new SystemClock();
  const random = options.random ?? new SystemRandom();
  const opened = await store.connect({ logger, clock, random });
  const client = new ConnectedClient(
    opened,
    definitions,
    clock,
    random,
    options.requestTimeoutMs ?? 30_000,
    options.telemetry,
  );
  return client as unknown as Client<TActors>;
}

class ConnectedClient {
  readonly #opened: OpenClient;
  readonly #definitions: Readonly<Record<string, ActorDefinition>>;
  readonly #env: ClientEnv;
  #closed = false;

  constructor(
    opened: OpenClient,
    definitions: Readonly<Record<string, ActorDefinition>>,
    clock: Clock,
    random: Random,
    requestTimeoutMs: number,
    telemetry: Telemetry | undefined,
  ) {
    this.#opened = opened;
    this.#definitions = definitions;
    this.#env = {
      store: opened.store,
      clock,
      bus: opened.bus,
      host: undefined,
      telemetry,
      partitionOf: (key) => partitionOf(key, opened.partitions),
      watcher: new Watcher(opened.store),
      sequences: new Sequences(random),
      deadlines: new Deadlines(clock),
      requestTimeoutMs,
      isStopped: () => this.#closed,
    };
  }

  actor(type: string, id: string): ActorHandle<AnyActorLogic> {
    return new ActorHandle(this.#env, definitionNamed(this.#definitions, type), type, id);
  }

  list(type: string, options: ListOptions = {}): Promise<ActorSummary[]> {
    return listActors(this.#opened.store, type, options, definitionNamed(this.#definitions, type).logic);
  }

  async parked(): Promise<ParkedRecord[]> {
    const records: ParkedRecord[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#opened.store.list({
        prefix: parkedPrefix,
        limit: pageSize,
        ...(after !== undefined && { after }),
      });
      records.push(...page.map(({ value }) => readParked(value)).filter((record) => record !== undefined));
      if (page.length < pageSize) return records;
      after = page.at(-1)?.key;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#env.watcher.stop();
    this.#env.deadlines.stop();
    await this.#opened.close();
  }
}

const pageSize = 1_000;
