/**
 * The runtime that a service embeds: opens the store, hosts the actors, hands out typed handles. `createRuntime` is the
 * one place that chooses adapters for what the caller did not give.
 */
import type { AnyActorLogic } from "xstate";
import { LocalBus } from "./adapters/memory/local-bus.ts";
import { SystemClock } from "./adapters/system-clock.ts";
import { consoleLogger } from "./adapters/console-logger.ts";
import { SystemRandom } from "./adapters/system-random.ts";
import { ActorHandle, type ClientEnv } from "./client.ts";
import { Deadlines } from "./deadlines.ts";
import { type ActorDefinition, defineActor } from "./definition.ts";
import { type DocumentStatus, readDocument } from "./document.ts";
import { InvalidRequestError } from "./errors.ts";
import { Host, type HostInfo } from "./host/host.ts";
import type { ParkedRecord } from "./host/parking.ts";
import type { HostSettings } from "./host/settings.ts";
import { checkType, parseActorKey } from "./keys.ts";
import type { Bus } from "./ports/bus.ts";
import type { Clock } from "./ports/clock.ts";
import type { Logger } from "./ports/logger.ts";
import type { Random } from "./ports/random.ts";
import type { ActorStore, StoreInfo } from "./ports/store.ts";
import type { OpenStore, StoreProvider } from "./ports/store-provider.ts";
import { Sequences } from "./sequences.ts";
import { Watcher } from "./watcher.ts";

/** Actor types by name: definitions, or bare logic for the defaults. */
export type ActorTypes = Readonly<Record<string, ActorDefinition | AnyActorLogic>>;

export type LogicOf<TType> = TType extends ActorDefinition<infer TLogic> ? TLogic : TType extends AnyActorLogic ? TType : never;

export type RuntimeOptions<TActors extends ActorTypes> = {
  readonly actors: TActors;
  readonly store: StoreProvider;
  readonly logger?: Logger;
  readonly settings?: Partial<HostSettings>;
  /** How long a request is tried when it does not say. Default: 30 s. */
  readonly requestTimeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly bus?: Bus;
};

export type ListOptions = {
  /** Only actors in this state, or inside it: "paying", "open.editing". */
  readonly state?: string;
  readonly tag?: string;
  readonly status?: DocumentStatus;
  /** Only ids after this one, in the order of their keys. */
  readonly after?: string;
  /** Default 1,000. */
  readonly limit?: number;
};

export type ActorSummary = {
  readonly type: string;
  readonly id: string;
  readonly state: string;
  readonly status: DocumentStatus;
  readonly tags: readonly string[];
  readonly at: Date;
  readonly revision: number;
  /** Pending effects and messages. */
  readonly pending: number;
  /** The earliest timer. */
  readonly nextTimer: Date | undefined;
};

export type RuntimeInfo = HostInfo & { readonly store: StoreInfo; readonly types: readonly string[] };

export type Runtime<TActors extends ActorTypes = ActorTypes> = {
  actor<TType extends keyof TActors & string>(type: TType, id: string): ActorHandle<LogicOf<TActors[TType]>>;
  /** Actors of a type, by scanning its documents; deleted ones only when `status: "deleted"` asks for them. */
  list(type: keyof TActors & string, options?: ListOptions): Promise<ActorSummary[]>;
  parked(): ParkedRecord[];
  info(): RuntimeInfo;
  /** Takes no new requests, waits for effects up to `drainMs`, aborts the rest, closes the store. */
  stop(options?: { readonly drainMs?: number }): Promise<void>;
};

export async function createRuntime<const TActors extends ActorTypes>(options: RuntimeOptions<TActors>): Promise<Runtime<TActors>> {
  const definitions = define(options.actors);
  const logger = options.logger ?? consoleLogger("warn");
  const clock = options.clock ?? new SystemClock();
  const random = options.random ?? new SystemRandom();
  const opened = await options.store.open({ logger, clock });
  const bus = options.bus ?? new LocalBus(clock);
  try {
    const host = new Host({ store: opened.store, leases: opened.leases, clock, random, bus, logger }, definitions, options.settings);
    await host.start();
    const { info } = opened.store;
    logger.info(`hosting ${Object.keys(definitions).join(", ")} on ${info.name}; an acknowledged event survives: ${info.durability}`);
    return new HostedRuntime(opened, host, definitions, { clock, bus, random, requestTimeoutMs: options.requestTimeoutMs ?? 30_000 }) as unknown as Runtime<TActors>;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

class HostedRuntime {
  readonly #opened: OpenStore;
  readonly #host: Host;
  readonly #definitions: Readonly<Record<string, ActorDefinition>>;
  readonly #env: ClientEnv;

  constructor(
    opened: OpenStore,
    host: Host,
    definitions: Readonly<Record<string, ActorDefinition>>,
    ports: { clock: Clock; bus: Bus; random: Random; requestTimeoutMs: number },
  ) {
    this.#opened = opened;
    this.#host = host;
    this.#definitions = definitions;
    this.#env = {
      store: opened.store,
      clock: ports.clock,
      bus: ports.bus,
      host,
      watcher: new Watcher(opened.store),
      sequences: new Sequences(ports.random),
      deadlines: new Deadlines(ports.clock),
      requestTimeoutMs: ports.requestTimeoutMs,
    };
  }

  actor(type: string, id: string): ActorHandle<AnyActorLogic> {
    return new ActorHandle(this.#env, this.#definition(type), type, id);
  }

  list(type: string, options: ListOptions = {}): Promise<ActorSummary[]> {
    this.#definition(type);
    return listActors(this.#opened.store, type, options);
  }

  parked(): ParkedRecord[] {
    return this.#host.parking.all();
  }

  info(): RuntimeInfo {
    return { ...this.#host.info(), store: this.#opened.store.info, types: Object.keys(this.#definitions) };
  }

  async stop(options: { readonly drainMs?: number } = {}): Promise<void> {
    await this.#host.stop(options.drainMs);
    this.#env.watcher.stop();
    this.#env.deadlines.stop();
    await this.#opened.close();
  }

  #definition(type: string): ActorDefinition {
    const definition = Object.hasOwn(this.#definitions, type) ? this.#definitions[type] : undefined;
    if (definition === undefined) {
      throw new InvalidRequestError(`there is no actor type ${JSON.stringify(type)}; this runtime has ${Object.keys(this.#definitions).join(", ")}`);
    }
    return definition;
  }
}

function define(actors: ActorTypes): Record<string, ActorDefinition> {
  const definitions: Record<string, ActorDefinition> = {};
  for (const [type, given] of Object.entries(actors)) {
    checkType(type);
    definitions[type] = "handles" in given ? given : defineActor(given);
  }
  return definitions;
}

/** Scans the documents of one type. Costs one read per actor of the type, up to the limit of matches. */
export async function listActors(store: ActorStore, type: string, options: ListOptions = {}): Promise<ActorSummary[]> {
  const found: ActorSummary[] = [];
  const limit = options.limit ?? 1_000;
  const prefix = `${type}.`;
  let after: string | undefined = options.after === undefined ? undefined : prefix + options.after;
  while (found.length < limit) {
    const page = await store.list({ prefix, limit: 500, ...(after !== undefined && { after }) });
    for (const entry of page) {
      const summary = summaryOf(entry.key, entry.value);
      if (summary !== undefined && matches(summary, options) && found.length < limit) found.push(summary);
    }
    if (page.length < 500) break;
    after = page.at(-1)?.key;
  }
  return found;
}

function summaryOf(key: string, text: string): ActorSummary | undefined {
  const name = parseActorKey(key);
  if (name === undefined) return undefined;
  try {
    const document = readDocument(text);
    const due = Object.values(document.timers)
      .map((timer) => Date.parse(timer.due))
      .sort((a, b) => a - b)[0];
    return {
      ...name,
      state: document.state,
      status: document.status,
      tags: document.tags ?? [],
      at: new Date(document.at),
      revision: document.seq,
      pending: document.outbox.length,
      nextTimer: due === undefined ? undefined : new Date(due),
    };
  } catch {
    // A damaged document is parked as soon as it is needed; a list does not fail for it.
    return { ...name, state: "(unreadable)", status: "error", tags: [], at: new Date(0), revision: 0, pending: 0, nextTimer: undefined };
  }
}

function matches(summary: ActorSummary, options: ListOptions): boolean {
  const { state, tag, status } = options;
  if (status === undefined ? summary.status === "deleted" : summary.status !== status) return false;
  if (tag !== undefined && !summary.tags.includes(tag)) return false;
  if (state === undefined) return true;
  return summary.state.split(",").some((leaf) => leaf === state || leaf.startsWith(`${state}.`));
}
