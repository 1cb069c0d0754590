/**
 * All actors of this node: finds or makes the cell of an actor, follows the leases, puts the parts together that follow
 * the index of pending work and what is parked and that answer the bus, and stops in good order.
 */
import { type ActorDefinition, defineActor } from "../definition.ts";
import { errorOf, type HoldfastError, StoreReplacedError, StoreWentBackError } from "../errors.ts";
import { checkType, parseActorKey } from "../keys.ts";
import { partitionOf } from "../partition.ts";
import type { Bus } from "../ports/bus.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Hold } from "../ports/fault-points.ts";
import type { LeaseChange, Leases } from "../ports/leases.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import type { ActorStore, Revision } from "../ports/store.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { Seldom } from "../seldom.ts";
import type { Input } from "../step.ts";
import { BusService } from "./bus-service.ts";
import { Cell, type CellEnv } from "./cell.ts";
import { Gate } from "./gate.ts";
import { Interventions, type ResumeMode } from "./interventions.ts";
import { Messenger } from "./messenger.ts";
import type { Outcome } from "./outcome.ts";
import { Parking, whyParked } from "./parking.ts";
import { PendingSlot } from "./pending-index.ts";
import { PendingWork } from "./pending-work.ts";
import { defaultSettings, type HostSettings } from "./settings.ts";

export type HostPorts = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly leases: Leases;
  readonly bus: Bus;
  readonly logger: Logger;
  readonly telemetry?: Telemetry | undefined;
  /** A simulator's. */
  readonly hold?: Hold | undefined;
};

export type HostCounts = {
  events: number;
  commits: number;
  conflicts: number;
  unknown: number;
  refusals: number;
  expired: number;
  deadLetters: number;
  /** Idempotency keys forgotten before their window was over, because of a bound. */
  evictedKeys: number;
  /** Actors that another machine refused, and that went on by themselves under that of this node. */
  unparked: number;
};

export type HostInfo = {
  readonly counts: Readonly<HostCounts>;
  readonly hotActors: number;
  readonly pendingActors: number;
  readonly parkedActors: number;
  readonly partitionsOwned: number;
};

export class Host {
  readonly #ports: HostPorts;
  readonly #definitions: Map<string, ActorDefinition>;
  readonly #settings: HostSettings;
  readonly #cells = new Map<string, Cell>();
  readonly #pendingWork: PendingWork;
  readonly #parking: Parking;
  readonly #messenger: Messenger;
  readonly #interventions: Interventions;
  readonly #busService: BusService;
  /** Actors that are set aside and tried once more at a time. */
  readonly #trials: Gate;
  /** Those that are tried, or wait for it. */
  readonly #trying = new Set<string>();
  #trialsSoon: Cancel | undefined;
  readonly #cellEnv: CellEnv;
  readonly #counts: HostCounts = {
    events: 0,
    commits: 0,
    conflicts: 0,
    unknown: 0,
    refusals: 0,
    expired: 0,
    deadLetters: 0,
    evictedKeys: 0,
    unparked: 0,
  };
  readonly #stops: (() => void)[] = [];
  /** Of which an actor that may miss something was told. */
  readonly #doubted = new WeakSet<ActorDefinition>();
  #sweep: Cancel | undefined;
  /** The highest revision that was confirmed, by shard. */
  readonly #highest: Revision[] = [];
  /** Identity of this host's life; with a running number, of its commits. */
  readonly #life: string;
  #commits = 1;
  #state: "new" | "running" | "draining" | "stopped" = "new";
  #failure: HoldfastError | undefined;
  #draining: Promise<void> | undefined;

  constructor(
    ports: HostPorts,
    definitions: Readonly<Record<string, ActorDefinition>>,
    given: Partial<HostSettings> = {},
  ) {
    this.#ports = ports;
    this.#life = ports.random.id().slice(0, 12);
    const settings = { ...defaultSettings, ...given };
    this.#settings = settings;
    this.#definitions = bounded(definitions, ports.store.info.maxValueBytes);
    const { store, clock, random, logger, bus } = ports;
    const partitionOf = (key: string) => this.partitionOf(key);
    const token = (partition: number) => (this.#state === "stopped" ? undefined : ports.leases.token(partition));
    this.#parking = new Parking({
      store,
      clock,
      random,
      logger,
      settings,
      onChange: (actor, why) => this.#parkingChanged(actor, why),
    });
    this.#trials = new Gate(settings.recoveries);
    this.#pendingWork = new PendingWork({
      store,
      clock,
      logger,
      settings,
      isRunning: () => this.isRunning,
      isLoaded: (actor) => this.#cells.get(actor)?.isLoaded ?? false,
      mayRecover: (actor) => this.owns(actor) && this.#parking.get(actor) === undefined,
      recover: (actor, done) => this.#recover(actor, done),
      onEntry: (actor, entry) => this.#cells.get(actor)?.pendingSeen(entry),
    });
    this.#messenger = new Messenger({ bus, clock, random, logger, settings, partitionOf, token });
    this.#interventions = new Interventions({
      store,
      clock,
      random,
      parking: this.#parking,
      tokenFor: (key) => ports.leases.token(partitionOf(key)),
      forget: (key) => this.#cells.get(key)?.leaseChanged(),
      recover: (key) => this.#cell(key)?.recover(),
      settled: (key) => this.#settled(key),
    });
    this.#busService = new BusService({
      store,
      bus,
      leases: ports.leases,
      logger,
      settings,
      messenger: this.#messenger,
      interventions: this.#interventions,
      state: () => this.#state,
      partitionOf,
      cell: (key) => this.#cell(key),
    });
    this.#cellEnv = {
      store,
      clock,
      random,
      bus,
      logger,
      telemetry: ports.telemetry,
      hold: ports.hold,
      settings,
      effectGate: new Gate(settings.effects),
      messenger: this.#messenger,
      parking: this.#parking,
      seldom: new Seldom(clock),
      token,
      partition: partitionOf,
      commitId: () => `${this.#life}.${this.#commits++}`,
      confirmed: (key, sentAbove, revision) => this.#confirmed(key, sentAbove, revision),
      highestConfirmed: (key) => this.#highest[this.#shardOf(key)] ?? 0,
      fenced: (detail) => this.#fail(errorOf("Stopped", `another host has opened this store: ${detail}`)),
      left: (cell, due) => this.#left(cell, due),
      doubt: (type, definition, doubts) => this.#doubt(type, definition, doubts),
      ask: (cell, senders) => this.#busService.ask(cell, senders),
      count: (what) => {
        this.#counts[what]++;
      },
    };
  }

  #doubt(type: string, definition: ActorDefinition, doubts: readonly string[]): void {
    if (doubts.length === 0 || this.#doubted.has(definition)) return;
    this.#doubted.add(definition);
    this.#ports.logger.warn(
      `the machine of ${type} has changed, and actors are in states of which ${doubts.slice(0, 5).join(", ")}: it is over, or ` +
        `new in version ${definition.version}; what is new begins when the state is entered again, as an event that \`migrate\` ` +
        "returns can do (told once for this version)",
    );
  }

  // ---- life ----

  async start(): Promise<void> {
    this.#state = "running";
    const unheard = this.#ports.store.onLoss?.(({ reason, detail }) =>
      this.#fail(reason === "replaced" ? new StoreReplacedError(detail) : new StoreWentBackError(detail)),
    );
    if (unheard !== undefined) this.#stops.push(unheard);
    await this.#parking.start();
    this.#stops.push(this.#ports.leases.onChange((change) => this.#leaseChanged(change)));
    this.#stops.push(this.#pendingWork.watch());
    this.#stops.push(this.#ports.bus.serve((request) => this.#busService.serve(request)));
    this.#armSweep();
    await this.#pendingWork.list();
  }

  /** Takes no new requests, and waits until nothing runs here any more, at most this long. */
  drain(drainMs = this.#settings.drainMs): Promise<void> {
    if (this.#state === "stopped") return Promise.resolve();
    this.#state = "draining";
    const { leases } = this.#ports;
    // Other nodes take over one partition after the other; until then its requests are still answered here.
    this.#draining ??= leases.drain === undefined ? this.#drained(drainMs) : leases.drain(drainMs);
    return this.#draining;
  }

  /** Drains, aborts the rest, gives the leases back. */
  async stop(drainMs = this.#settings.drainMs): Promise<void> {
    if (this.#state === "stopped") return;
    await this.drain(drainMs);
    this.#close();
    await this.#ports.leases.release();
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  get failure(): HoldfastError | undefined {
    return this.#failure;
  }

  info(): HostInfo {
    let owned = 0;
    for (let partition = 0; partition < this.#ports.leases.partitions; partition++) {
      if (this.#ports.leases.token(partition) !== undefined) owned++;
    }
    return {
      counts: this.#counts,
      hotActors: this.#cells.size,
      pendingActors: this.#pendingWork.size,
      parkedActors: this.#parking.all().length,
      partitionsOwned: owned,
    };
  }

  get parking(): Parking {
    return this.#parking;
  }

  /** Takes one more type; its actors that have work pending are looked at. */
  define(type: string, definition: ActorDefinition): void {
    for (const [name, one] of bounded({ [type]: definition }, this.#ports.store.info.maxValueBytes))
      this.#definitions.set(name, one);
    this.#pendingWork.recoverDue();
    this.#tryParkedSoon();
  }

  definition(type: string): ActorDefinition | undefined {
    return this.#definitions.get(type);
  }

  partitionOf(key: string): number {
    return partitionOf(key, this.#ports.leases.partitions);
  }

  // ---- requests ----

  /** One request for one actor, answered once by this node, with its outcome or with `moved`. */
  request(key: string, input: Input, answer: (outcome: Outcome) => void, trace?: string): void {
    if (this.#failure !== undefined)
      return answer({ kind: "failed", code: this.#failure.code as "Stopped", message: this.#failure.message });
    if (this.#state !== "running")
      return answer({ kind: "failed", code: "Stopped", message: "the runtime is stopping" });
    const cell = this.#cell(key);
    if (cell === undefined) answer({ kind: "moved" });
    else cell.offer(input, answer, trace);
  }

  /** Whether this node runs the actor now. */
  owns(key: string): boolean {
    const partition = this.#cells.get(key)?.partition ?? this.partitionOf(key);
    return this.#state === "running" && this.#ports.leases.token(partition) !== undefined;
  }

  /** As `Interventions` says. */
  purge(key: string, force: boolean): Promise<Outcome> {
    return this.#interventions.purge(key, force);
  }

  resume(key: string, mode: ResumeMode): Promise<Outcome> {
    return this.#interventions.resume(key, mode);
  }

  #settled(key: string): Promise<void> {
    const { clock } = this.#ports;
    return new Promise((resolve) => {
      const cell = this.#cell(key);
      if (cell === undefined) return resolve();
      let stop = () => {};
      const tooLate = clock.after(this.#settings.resumeMs, () => {
        stop();
        resolve();
      });
      stop = cell.whenSettled(() => {
        tooLate();
        resolve();
      });
    });
  }

  // ---- cells ----

  #cell(key: string): Cell | undefined {
    const known = this.#cells.get(key);
    if (known !== undefined) return known;
    const name = parseActorKey(key);
    const definition = name && this.#definitions.get(name.type);
    if (name === undefined || definition === undefined) return undefined;
    const cell = new Cell(this.#cellEnv, key, name, definition, new PendingSlot(key, this.#pendingWork.get(key)));
    const parked = this.#parking.get(key);
    if (parked !== undefined) cell.parkingChanged(whyParked(parked));
    // Before it is one of them: where all others are busy, one that has nothing to do yet would leave at once.
    if (this.#cells.size >= this.#settings.hotActors) this.#makeRoom();
    this.#cells.set(key, cell);
    return cell;
  }

  /** A tenth of them leaves: the oldest of those that can. */
  #makeRoom(): void {
    let toLeave = Math.ceil(this.#settings.hotActors / 10);
    for (const cell of this.#cells.values()) if (cell.passivate() && --toLeave <= 0) return;
  }

  #left(cell: Cell, dueMs: number | undefined): void {
    if (this.#cells.get(cell.key) === cell) this.#cells.delete(cell.key);
    this.#pendingWork.left(cell.key, cell.slot, dueMs);
  }

  #armSweep(): void {
    const everyMs = Math.max(50, this.#settings.idleMs / 2);
    this.#sweep = this.#ports.clock.after(
      everyMs,
      () => {
        const before = this.#ports.clock.monotonic() - this.#settings.idleMs;
        for (const cell of this.#cells.values()) if (cell.lastUsedMs < before) cell.passivate();
        if (this.#state === "running") this.#armSweep();
      },
      { background: true },
    );
  }

  // ---- leases ----

  #leaseChanged(change: LeaseChange): void {
    const { partition } = change;
    if (change.kind === "leaving") return this.#leave(partition, change.done);
    for (const cell of this.#cells.values()) if (cell.partition === partition) cell.leaseChanged();
    this.#pendingWork.look(change.kind === "granted");
    if (change.kind === "granted") this.#tryParkedSoon();
  }

  /** Once for all partitions that are granted, and all records that are seen, at about the same time. */
  #tryParkedSoon(): void {
    this.#trialsSoon ??= this.#ports.clock.after(
      trialsMs,
      () => {
        this.#trialsSoon = undefined;
        for (const { actor } of this.#parking.all()) this.#tryParked(actor);
      },
      { background: true },
    );
  }

  /** Partitions come one after the other, and each has all records looked at, while those of the first still wait. */
  #tryParked(actor: string): void {
    if (this.#trying.has(actor) || !this.#mayTry(actor)) return;
    this.#trying.add(actor);
    this.#trials.enter((leave) => {
      const done = () => {
        this.#trying.delete(actor);
        leave();
      };
      // It may have been tried meanwhile, by a request.
      if (this.#mayTry(actor)) this.#recover(actor, done);
      else done();
    });
  }

  #mayTry(actor: string): boolean {
    const type = parseActorKey(actor)?.type;
    const definition = type === undefined ? undefined : this.#definitions.get(type);
    const token = this.#ports.leases.token(this.partitionOf(actor));
    return (
      this.isRunning &&
      definition !== undefined &&
      token !== undefined &&
      this.#parking.mayTry(actor, definition, token)
    );
  }

  /** Nothing is stopped: what runs comes to its end, and the next owner finds it recorded. */
  #leave(partition: number, done: () => void): void {
    for (const cell of this.#cells.values()) {
      if (cell.partition !== partition || !cell.isBusy) continue;
      this.#ports.clock.after(leavingMs, () => this.#leave(partition, done));
      return;
    }
    done();
  }

  #recover(actor: string, done: () => void): void {
    const cell = this.owns(actor) ? this.#cell(actor) : undefined;
    if (cell === undefined) done();
    else cell.recover(done);
  }

  #parkingChanged(actor: string, why: string | undefined): void {
    const cell = this.#cells.get(actor);
    if (cell !== undefined) cell.parkingChanged(why);
    else if (why === undefined && this.owns(actor)) this.#cell(actor)?.recover();
    // Of an owner before, whose verdict is not that of this node's machine.
    if (why !== undefined && this.#mayTry(actor)) this.#tryParkedSoon();
  }

  // ---- alarms ----

  #shardOf(key: string): number {
    return this.#ports.store.shardOf?.(key) ?? 0;
  }

  #confirmed(key: string, sentAbove: Revision, revision: Revision): boolean {
    if (revision <= sentAbove) {
      this.#fail(
        new StoreWentBackError(
          `a write was confirmed at revision ${revision} although ${sentAbove} had been confirmed before`,
        ),
      );
      return false;
    }
    const shard = this.#shardOf(key);
    if (revision > (this.#highest[shard] ?? 0)) this.#highest[shard] = revision;
    return true;
  }

  #fail(error: HoldfastError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#ports.logger.error(`the runtime has stopped: ${error.message}`, { error });
    this.#close();
  }

  async #drained(drainMs: number): Promise<void> {
    const busy = () => [...this.#cells.values()].some((cell) => !cell.isAtRest);
    const untilMs = this.#ports.clock.monotonic() + drainMs;
    while (busy() && this.#ports.clock.monotonic() < untilMs) {
      await new Promise<void>((resolve) => void this.#ports.clock.after(10, resolve));
    }
  }

  #close(): void {
    this.#state = "stopped";
    for (const stop of this.#stops.splice(0)) stop();
    this.#parking.stop();
    this.#messenger.stop();
    this.#pendingWork.stop();
    this.#sweep?.();
    this.#trialsSoon?.();
    for (const cell of this.#cells.values()) cell.close();
    this.#cells.clear();
  }
}

/** How often a partition that is to leave is looked at. */
const leavingMs = 20;
/** How long a grant waits for others, until all that is set aside is looked at for all of them. */
const trialsMs = 50;

/** Definitions under their type names, with no document bound above what the store takes. */
function bounded(
  definitions: Readonly<Record<string, ActorDefinition>>,
  maxBytes: number,
): Map<string, ActorDefinition> {
  const all = new Map<string, ActorDefinition>();
  for (const [type, given] of Object.entries(definitions)) {
    checkType(type);
    const definition = "handles" in given ? given : defineActor(given as never);
    const documentBytes = Math.min(definition.limits.documentBytes, maxBytes);
    all.set(type, { ...definition, limits: { ...definition.limits, documentBytes } });
  }
  return all;
}
