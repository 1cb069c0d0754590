/**
 * One process that can crash, freeze and start again. Each incarnation gets fresh ports behind its own gate; what an
 * earlier one still holds is dead. Points are counted over all incarnations.
 */

import type { Disk } from "../../coordinator/ports/disk.ts";
import type { MemberId, Peers } from "../../coordinator/ports/peers.ts";
import { refuseUnknown } from "../../runtime/options.ts";
import type { Bus } from "../../runtime/ports/bus.ts";
import type { Clock } from "../../runtime/ports/clock.ts";
import type { FaultPoint, Hold } from "../../runtime/ports/fault-points.ts";
import type { Leases } from "../../runtime/ports/leases.ts";
import type { LogFields, Logger } from "../../runtime/ports/logger.ts";
import type { Random } from "../../runtime/ports/random.ts";
import type { ActorStore } from "../../runtime/ports/store.ts";
import type { Telemetry } from "../../runtime/ports/telemetry.ts";
import type { BusModel } from "./bus-model.ts";
import type { Dice } from "./dice.ts";
import { DiskModel } from "./disk-model.ts";
import type { FaultPlan } from "./fault-plan.ts";
import { Gate, type GateState } from "./gate.ts";
import type { Laws } from "./laws.ts";
import type { LeaseModel } from "./lease-model.ts";
import { NodeClock } from "./node-clock.ts";
import type { PeersModel } from "./peers-model.ts";
import { type PointSelector, Points } from "./points.ts";
import type { ServiceModel } from "./service-model.ts";
import { StoreHandle } from "./store-handle.ts";
import type { StoreModel } from "./store-model.ts";
import type { TelemetryModel } from "./telemetry-model.ts";

/** Everything a runtime gets, and the ways out for user effects. One incarnation's; dead after its crash. */
export type NodePorts = {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: ActorStore;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly disk: Disk;
  readonly hold: Hold;
  /** As this member of a cluster. */
  peers(self: MemberId): Peers;
  /** A user effect: `perform` happens outside, at the point `effect:call`, and is heard of at `effect:answer`. */
  effect<T>(perform: () => T | Promise<T>): Promise<T>;
  /** A client of an outside service, for user effects. */
  service<Request, Answer>(service: ServiceModel<Request, Answer>): (request: Request) => Promise<Answer>;
};

/** How long the runtime is held up at a point. */
const heldMs = [1, 3_000] as const;

export type Boot = (ports: NodePorts) => void | Promise<void>;

export type LogLine = {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: LogFields;
  readonly incarnation: number;
  readonly atMs: number;
};

/** What a planned crash or freeze waits for: the `nth` match from now (default 1). */
export type AtOptions = { readonly nth?: number };
export type CrashOptions = AtOptions & {
  readonly restartAfterMs?: number;
  /** It starts again with an empty disk. */
  readonly wiped?: boolean;
};

export type NodeModels = {
  readonly store: StoreModel;
  readonly bus: BusModel;
  readonly leases: LeaseModel;
  readonly peers: PeersModel;
  readonly telemetry: TelemetryModel;
  readonly holds: Readonly<Record<FaultPoint, FaultPlan<"held">>>;
};

export class SimulatedNode {
  readonly name: string;
  /** All that any incarnation logged; what it says after its crash is not heard. */
  readonly logs: LogLine[] = [];
  readonly clock: NodeClock;
  /** Outlives every incarnation. */
  readonly disk: DiskModel;
  readonly #laws: Laws;
  readonly #models: NodeModels;
  readonly #points = new Points();
  #incarnation = 0;
  #gate: Gate;
  #ports: NodePorts;
  #boot: Boot | undefined;
  #slownessMs = 0;

  /** `epochMs`: what a correct wall clock shows when the world begins. */
  constructor(name: string, laws: Laws, models: NodeModels, epochMs: number) {
    this.name = name;
    this.#laws = laws;
    this.#models = models;
    this.clock = new NodeClock(laws.loop, epochMs);
    this.disk = new DiskModel(laws, name);
    [this.#gate, this.#ports] = this.#incarnate();
  }

  /** How far the wall clock is from true time. May jump at any moment; the monotonic clock does not follow. */
  get wallOffsetMs(): number {
    return this.clock.wallOffsetMs;
  }

  set wallOffsetMs(offsetMs: number) {
    this.clock.wallOffsetMs = offsetMs;
  }

  /** Of the current incarnation. */
  get ports(): NodePorts {
    return this.#ports;
  }

  /** Of the current incarnation, for models of other things that it speaks to. */
  get gate(): Gate {
    return this.#gate;
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  get state(): GateState {
    return this.#gate.state;
  }

  /** The names of the points passed, in order; point n is at index n - 1. */
  get points(): readonly string[] {
    return this.#points.names;
  }

  /** What the process does when it starts: now, and again after every `restart`. */
  boot(boot: Boot): void {
    this.#boot = boot;
    this.#start();
  }

  /** From now on nothing of this incarnation has any effect or is ever answered. */
  crash(): void {
    this.#gate.crash();
  }

  /** A new incarnation, which boots at once. One that still runs crashes first. */
  restart({ wiped = false }: { readonly wiped?: boolean } = {}): void {
    this.crash();
    if (wiped) this.disk.wipe();
    [this.#gate, this.#ports] = this.#incarnate();
    this.#laws.loop.note(`${this.#gate.owner} STARTS`);
    this.#laws.loop.draw?.({ kind: "process", node: this.name, state: "starts" });
    this.#slowDown();
    this.#start();
  }

  /** Holds everything back, in and out, for this long. Its clocks go on: a stopped process, not a suspended machine. */
  freeze(forMs: number): void {
    this.#gate.freeze(forMs);
  }

  /** As `freeze`, but its monotonic clock and its timers stand still as well: a suspended virtual machine. */
  suspend(forMs: number): void {
    if (this.#gate.state === "crashed") return;
    this.clock.standStill(forMs);
    this.#gate.freeze(forMs);
  }

  /** Everything that goes in or out takes up to this much longer, in this and later incarnations; 0: no more. */
  slow(upToMs: number): void {
    this.#slownessMs = upToMs;
    this.#laws.loop.note(`${this.name} slow by up to ${upToMs} ms`);
    this.#slowDown();
  }

  /** No slowness, no drift, no faults of the disk, nothing planned for a point. What a clock shows stays; a crashed process stays down. */
  heal(): void {
    if (this.#slownessMs > 0) this.slow(0);
    this.clock.heal();
    this.#points.forget();
    this.disk.faults.off();
  }

  #slowDown(): void {
    const upToMs = this.#slownessMs;
    this.#gate.slowness = upToMs === 0 ? undefined : () => this.#laws.dice.at(`slow/${this.name}`).ms([0, upToMs]);
  }

  crashAt(point: PointSelector, options: CrashOptions = {}): void {
    refuseUnknown("options of crashAt", options, { nth: true, restartAfterMs: true, wiped: true }, RangeError);
    const { nth = 1, restartAfterMs, wiped } = options;
    this.#points.plan(point, nth, { kind: "crash", restartAfterMs, wiped: wiped === true });
  }

  freezeAt(point: PointSelector, forMs: number, options: AtOptions = {}): void {
    refuseUnknown("options of freezeAt", options, { nth: true }, RangeError);
    this.#points.plan(point, options.nth ?? 1, { kind: "freeze", forMs });
  }

  /** `ports.effect` of the incarnation that runs at the moment of the call. */
  effect<T>(perform: () => T | Promise<T>): Promise<T> {
    return this.#ports.effect(perform);
  }

  #incarnate(): readonly [Gate, NodePorts] {
    const { loop, dice } = this.#laws;
    this.#incarnation++;
    const owner = `${this.name}.${this.#incarnation}`;
    const gate = new Gate(owner, loop, this.#points, (order) => {
      if (order.kind !== "crash" || order.restartAfterMs === undefined) return;
      loop.after(order.restartAfterMs, `${this.name} restarts`, () => this.restart(order));
    });
    gate.nowMs = () => this.clock.wallMs();
    const random = dice.at(`random/${owner}`);
    const leases = this.#models.leases.open(this.name, gate);
    const clock = this.#clock(gate, dice.at(`clock/${owner}`));
    const ports: NodePorts = {
      clock,
      random: { next: () => random.next(), id: () => random.id() },
      store: new StoreHandle(this.#models.store, this.name, gate, this.#laws),
      bus: this.#models.bus.open(this.name, gate, leases),
      leases,
      logger: this.#logger(gate, this.#incarnation),
      telemetry: this.#models.telemetry.open(gate),
      disk: this.disk.open(gate),
      hold: (point) => {
        if (this.#models.holds[point].draw({ node: this.name, subject: point }) === undefined) return undefined;
        loop.note(`${owner} is held at ${point}`);
        const forMs = dice.at(`hold/${this.name}/${point}`).ms(heldMs);
        return new Promise((resolve) => void clock.after(forMs, resolve));
      },
      peers: (self) => this.#models.peers.open(self, this.name, gate),
      effect: (perform) =>
        gate.call(
          "effect",
          "",
          async () => perform(),
          () => "",
        ),
      service: (service) => (request) => service.callFrom(this.name, gate, request),
    };
    return [gate, ports];
  }

  #start(): void {
    const gate = this.#gate;
    // A process that fails to start must not look like one that has nothing to do.
    void (async () => this.#boot?.(this.#ports))().catch((error: unknown) => {
      if (gate.state !== "crashed") this.#laws.loop.fail(error);
    });
  }

  #clock(gate: Gate, dice: Dice): Clock {
    // Every process counts from another moment, so that nobody compares the monotonic times of two.
    const originMs = dice.whole(1_000, 1_000_000) - Math.floor(this.clock.monotonicMs());
    let timers = 0;
    return {
      now: () => this.clock.wallMs(),
      monotonic: () => originMs + this.clock.monotonicMs(),
      after: (delayMs, wake, options) => {
        if (gate.state === "crashed") return () => {};
        const timer = ++timers;
        let isCancelled = false;
        const fire = (): void => {
          forget();
          gate.pass("clock.fire", `timer ${timer}`, () => {
            if (!isCancelled) wake();
          });
        };
        const cancel = this.clock.after(delayMs, `clock.fire ${gate.owner}`, fire, options);
        // A dead process's timers are nothing that is left to happen.
        const forget = gate.onCrash(cancel);
        return () => {
          isCancelled = true;
          forget();
          cancel();
        };
      },
    };
  }

  #logger(gate: Gate, incarnation: number): Logger {
    const write =
      (level: LogLine["level"]) =>
      (message: string, fields: LogFields = {}): void => {
        if (gate.state === "crashed") return;
        this.#laws.loop.note(`${gate.owner} ${level} ${message}`);
        this.logs.push({ level, message, fields, incarnation, atMs: this.#laws.loop.nowMs });
      };
    return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  }
}
