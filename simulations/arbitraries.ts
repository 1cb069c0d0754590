/**
 * `holdfast/simulations/arbitraries`: fault schedules and workloads for fast-check, which then shrinks them its own way.
 * Apart from the rest, so that only who uses it needs fast-check.
 */
import type * as FastCheck from "fast-check";
import { type KeysOf, refuseUnknown } from "../runtime/options.ts";
import { type CallStep, clientNamesOf, nodeNamesOf } from "./run/cluster.ts";
import type { Fault, FaultKind } from "./run/fault.ts";
import { drawFault, everyKind } from "./run/swarm.ts";
import { Dice } from "./world/dice.ts";

/** The optional peer is not installed. */
export class FastCheckMissing extends Error {
  override readonly name = "FastCheckMissing";
  readonly code = "FastCheckMissing";

  constructor(cause: unknown) {
    super("holdfast/simulations/arbitraries needs the package fast-check: npm install --save-dev fast-check", {
      cause,
    });
  }
}

const { default: fc } = await import("fast-check").catch((error: unknown) => {
  throw new FastCheckMissing(error);
});

export type FaultScheduleOptions = {
  /** Default: all that can be done to hosts over a shared store. */
  readonly kinds?: readonly FaultKind[];
  /** As the simulation has them. Default 3, 1, none and 4. */
  readonly nodes?: number;
  readonly clients?: number;
  readonly services?: readonly string[];
  readonly partitions?: number;
  /** Faults begin before this time. Default 8,000. */
  readonly untilMs?: number;
  readonly maxLength?: number;
};

const faultScheduleOptions: KeysOf<FaultScheduleOptions> = {
  kinds: true,
  nodes: true,
  clients: true,
  services: true,
  partitions: true,
  untilMs: true,
  maxLength: true,
};

/** Schedules as `simulate({ faults })` takes them. They shrink by leaving faults out. */
export function faultSchedules(options: FaultScheduleOptions = {}): FastCheck.Arbitrary<readonly Fault[]> {
  refuseUnknown("options of faultSchedules", options, faultScheduleOptions, RangeError);
  const { kinds = everyKind, services = [], maxLength = 8 } = options;
  const drawing = {
    kinds,
    nodes: nodeNamesOf(options.nodes ?? 3),
    clients: clientNamesOf(options.clients ?? 1),
    services,
    partitions: options.partitions ?? 4,
    untilMs: options.untilMs ?? 8_000,
  };
  const usable = kinds.filter((kind) => kind !== "service" || services.length > 0);
  const fault = fc
    .tuple(fc.constantFrom(...usable), fc.noShrink(fc.nat()))
    .map(([kind, number]) => drawFault(kind, new Dice(String(number)), drawing) as Fault);
  return fc.array(fault, { maxLength });
}

export type CallStepOptions = {
  /** `counter/a`; each is created first. */
  readonly actors: readonly string[];
  readonly events: FastCheck.Arbitrary<NonNullable<CallStep["send"]>>;
  /** Input of each create. */
  readonly input?: unknown;
  /** Whether callers give their requests keys of their own, and ask again under them. Default true. */
  readonly keys?: boolean;
  readonly clients?: number;
  readonly maxLength?: number;
};

const callStepOptions: KeysOf<CallStepOptions> = {
  actors: true,
  events: true,
  input: true,
  keys: true,
  clients: true,
  maxLength: true,
};

/** Workloads as `simulate({ workload })` takes them. */
export function callSteps(options: CallStepOptions): FastCheck.Arbitrary<readonly CallStep[]> {
  refuseUnknown("options of callSteps", options, callStepOptions, RangeError);
  const { actors, events, input, keys = true, clients = 1, maxLength = 20 } = options;
  const made = actors.map((to): CallStep => ({ to, create: input, key: "make", first: true }));
  const step = fc.record({
    to: fc.constantFrom(...actors),
    send: events,
    client: fc.integer({ min: 1, max: clients }),
    waitMs: fc.constantFrom(0, 0, 20, 300, 2_000),
  });
  return fc
    .array(step, { maxLength })
    .map((steps) => [
      ...made,
      ...steps.map((one, index) => (keys ? { ...one, key: `k${index}` } : { ...one, retries: 3 })),
    ]);
}
