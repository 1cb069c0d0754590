/**
 * A small world in one thread: virtual time, seeded dice, nodes behind gates, one store, one bus, one coordinator.
 * The same seed gives the same trace, byte for byte. Start reading at `createWorld`; the loop itself is in `loop.ts`.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { FaultPoint } from "../../runtime/ports/fault-points.ts";
import { BusModel, type BusSettings } from "./bus-model.ts";
import { type Dice, DiceTable } from "./dice.ts";
import type { DrawnAt } from "./drawing.ts";
import { FaultPlan } from "./fault-plan.ts";
import type { Laws } from "./laws.ts";
import { LeaseModel, type LeaseSettings } from "./lease-model.ts";
import { Links } from "./links.ts";
import { type Cancel, Loop, type RunEnd, type RunOptions, WorldError } from "./loop.ts";
import { SimulatedNode } from "./node.ts";
import { PeersModel, type PeersSettings } from "./peers-model.ts";
import { ServiceModel, type ServiceSettings } from "./service-model.ts";
import { StoreModel, type StoreSettings } from "./store-model.ts";
import { TelemetryModel } from "./telemetry-model.ts";
import { Trace } from "./trace.ts";

export type WorldSettings = {
  readonly seed: number | string;
  /** A run that takes more is taken for endless. Default one million. */
  readonly maxSteps?: number;
  /** Keep every line of the trace, not only the last ones. */
  readonly fullTrace?: boolean;
  /** A turn of the real event loop per event, as on engines that offer nothing faster. The trace is the same. */
  readonly portable?: boolean;
  /** Wall time at the beginning, in milliseconds since 1970. Default 2026-01-01. */
  readonly epochMs?: number;
  readonly store?: StoreSettings;
  readonly bus?: BusSettings;
  readonly leases?: LeaseSettings;
  readonly peers?: PeersSettings;
};

const worldSettings: KeysOf<WorldSettings> = {
  seed: true,
  maxSteps: true,
  fullTrace: true,
  portable: true,
  epochMs: true,
  store: true,
  bus: true,
  leases: true,
  peers: true,
};

export type World = {
  readonly seed: string;
  readonly trace: Trace;
  /** For models of other things that live in this world. */
  readonly laws: Laws;
  readonly links: Links;
  readonly store: StoreModel;
  readonly bus: BusModel;
  readonly leases: LeaseModel;
  readonly peers: PeersModel;
  /** The spans of all processes. */
  readonly telemetry: TelemetryModel;
  /** Where and how often the runtime itself is held up. */
  readonly holds: Readonly<Record<FaultPoint, FaultPlan<"held">>>;
  /** True milliseconds since the world began. */
  readonly nowMs: number;
  /** True wall time, as a correct clock shows it. */
  readonly wallMs: number;
  readonly steps: number;
  /** The generator of this place; the same one for the same name. */
  dice(place: string): Dice;
  /** The node of this name, made at the first call. */
  node(name: string): SimulatedNode;
  readonly nodes: readonly SimulatedNode[];
  /** An outside service; nodes call it through `ports.service(service)`. */
  service<Request, Answer>(
    name: string,
    handle: (request: Request) => Answer,
    settings?: ServiceSettings,
  ): ServiceModel<Request, Answer>;
  /** Plans something from outside: a fault, a step of the workload. */
  after(delayMs: number, label: string, run: () => void): Cancel;
  /** Waits outside of every node: for clients and workloads. */
  sleep(delayMs: number): Promise<void>;
  /** A line of the test's own in the trace. */
  note(text: string): void;
  /** `enter` is called before the world moves and returns what is called when it rests: between them only it runs. */
  onTurn(enter: () => () => void): void;
  /** Told of what a diagram shows, from now on. */
  draw(onDrawn: (drawn: DrawnAt) => void): void;
  /** What the wall clock shows of the process whose code runs just now; true wall time outside of any. */
  ambientNowMs(): number;
  /** Moves time on until a reason to stop; with no option until nothing is left but background. */
  run(options?: RunOptions): Promise<RunEnd>;
  /** As `run`, but the condition must come true, by default within ten virtual minutes. */
  runUntil(condition: () => boolean, withinMs?: number): Promise<void>;
  /** Moves time on until the promise settles, and gives its result. */
  settle<T>(promise: Promise<T>, withinMs?: number): Promise<T>;
  /** Ends every fault by chance or by script, every cut, slowness and drift; clocks that were stepped stay. Frozen nodes thaw by themselves, crashed ones stay down. */
  heal(): void;
};

const tenMinutesMs = 600_000;

export function createWorld(settings: WorldSettings): World {
  refuseUnknown("settings of createWorld", settings, worldSettings, RangeError);
  const seed = String(settings.seed);
  const epochMs = settings.epochMs ?? Date.UTC(2026, 0, 1);
  const trace = new Trace(settings.fullTrace ?? false);
  const loop = new Loop(seed, trace, settings.maxSteps ?? 1_000_000, settings.portable);
  const dice = new DiceTable(seed);
  const links = new Links(
    (text) => loop.note(text),
    dice,
    () => loop.nowMs,
  );
  const laws = { loop, dice, links };
  const store = new StoreModel(laws, settings.store);
  const bus = new BusModel(laws, settings.bus);
  const leases = new LeaseModel(laws, settings.leases);
  const peers = new PeersModel(laws, settings.peers);
  const telemetry = new TelemetryModel(() => loop.nowMs);
  const holds = {
    "commit.confirmed": new FaultPlan<"held">("hold/commit", dice),
    "index.confirmed": new FaultPlan<"held">("hold/index", dice),
    "effect.ended": new FaultPlan<"held">("hold/effect", dice),
  };
  const nodes = new Map<string, SimulatedNode>();
  const services: ServiceModel<never, unknown>[] = [];

  const runUntil = async (condition: () => boolean, withinMs = tenMinutesMs): Promise<void> => {
    const end = await loop.run({ until: condition, forMs: withinMs });
    if (end === "until" || condition()) return;
    const lines = trace.lines(25).join("\n  ");
    throw new WorldError(`seed ${seed}: still not so after ${withinMs} virtual ms (${end}): ${condition}\n  ${lines}`);
  };

  return {
    seed,
    trace,
    laws,
    links,
    store,
    bus,
    leases,
    peers,
    telemetry,
    holds,
    get nowMs() {
      return loop.nowMs;
    },
    get wallMs() {
      return Math.floor(epochMs + loop.nowMs);
    },
    get steps() {
      return loop.steps;
    },
    get nodes() {
      return [...nodes.values()];
    },
    dice: (place) => dice.at(place),
    node: (name) => {
      const models = { store, bus, leases, peers, telemetry, holds };
      const node = nodes.get(name) ?? new SimulatedNode(name, laws, models, epochMs);
      nodes.set(name, node);
      return node;
    },
    service: (name, handle, serviceSettings) => {
      const service = new ServiceModel(laws, name, handle, serviceSettings);
      services.push(service as ServiceModel<never, unknown>);
      return service;
    },
    after: (delayMs, label, run) => loop.after(delayMs, label, run),
    sleep: (delayMs) => loop.sleep(delayMs, "sleep"),
    note: (text) => loop.note(text),
    onTurn: (enter) => {
      loop.enter = enter;
    },
    draw: (onDrawn) => {
      loop.draw = (drawn) => onDrawn({ ...drawn, atMs: loop.nowMs });
    },
    ambientNowMs: () => loop.currentNowMs?.() ?? Math.floor(epochMs + loop.nowMs),
    run: (options) => loop.run(options),
    runUntil,
    settle: async (promise, withinMs) => {
      let isSettled = false;
      const settled = (): void => {
        isSettled = true;
      };
      promise.then(settled, settled);
      await runUntil(function promiseSettled() {
        return isSettled;
      }, withinMs);
      return promise;
    },
    heal: () => {
      store.faults.off();
      bus.faultsOff();
      for (const service of services) service.faults.off();
      for (const hold of Object.values(holds)) hold.off();
      for (const node of nodes.values()) node.heal();
      links.healAll();
    },
  };
}
