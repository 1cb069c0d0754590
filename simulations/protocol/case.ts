/**
 * One run as data (machines, workload, troubles), and how it is run: troubles first, then everything heals and must
 * come to rest, then whatever was still under way arrives, and at the end the judge looks.
 */

import type { Document } from "../../runtime/document.ts";
import type { Violation } from "../checkers/violation.ts";
import { guard } from "../run/ambient.ts";
import type { Fault } from "../run/fault.ts";
import { inflict } from "../run/inflict.ts";
import { clockAheadOf, withinClocks } from "../run/rules.ts";
import type { PublishFault, RequestFault } from "../world/bus-model.ts";
import type { DrawnAt } from "../world/drawing.ts";
import type { FaultRates } from "../world/fault-plan.ts";
import { FencedRecorder } from "../world/fenced-recorder.ts";
import { leasePlace } from "../world/lease-model.ts";
import type { StoreFaultRates } from "../world/store-faults.ts";
import { storePlace } from "../world/store-model.ts";
import { createWorld, type World } from "../world/world.ts";
import { isAtRest, judge } from "./judge.ts";
import { defineMachine, type EventType, type MachineSpec, type Performed } from "./machines.ts";
import { type Attempt, bootHosts, Client, partitionOf, type WriteCall } from "./rig.ts";

export type Trouble =
  /** At the n-th point that the node passes. */
  | { readonly kind: "crash"; readonly node: number; readonly point: number; readonly restartAfterMs: number }
  | { readonly kind: "freeze"; readonly node: number; readonly point: number; readonly forMs: number }
  | {
      readonly kind: "move";
      readonly atMs: number;
      readonly partition: number;
      readonly node: number;
      readonly isTold: boolean;
    }
  | {
      readonly kind: "cut";
      readonly atMs: number;
      readonly node: number;
      readonly from: "store" | "leases";
      readonly forMs: number;
    }
  | { readonly kind: "clock"; readonly atMs: number; readonly node: number; readonly offsetMs: number };

export type Command = {
  readonly actor: number;
  readonly type: EventType | "N";
  readonly throws: boolean;
  readonly callersKey: boolean;
  /** Asked again after its acknowledgement, under the same key. */
  readonly again: boolean;
  readonly waitMs: number;
};

export type Rates = {
  readonly store: StoreFaultRates;
  readonly request: FaultRates<RequestFault>;
  readonly publish: FaultRates<PublishFault>;
};

export type Case = {
  readonly seed: number;
  readonly machines: readonly MachineSpec[];
  /** The machine of each actor. */
  readonly actors: readonly number[];
  readonly clients: readonly (readonly Command[])[];
  readonly troubles: readonly Trouble[];
  /** More troubles, as any suite has them. */
  readonly faults?: readonly Fault[];
  readonly rates: Rates;
};

export const nodeNames = ["n1", "n2"] as const;

export type Outcome = {
  readonly world: World;
  readonly violations: readonly Violation[];
  readonly healedMs: number;
};

/** How long anything can be under way. */
const lateMs = 45_000;

export async function runCase(given: Case, fullTrace = false, onDrawn?: (drawn: DrawnAt) => void): Promise<Outcome> {
  const world = createWorld({
    seed: given.seed,
    fullTrace,
    maxSteps: 400_000,
    store: { delays: { giveUpMs: [100, 1_000], lateMs: [100, lateMs] } },
    bus: { lateMs: [500, lateMs] },
    leases: { partitions: 2, ttlMs: 3_000 },
  });
  await guard(world);
  if (onDrawn !== undefined) world.draw(onDrawn);
  const performed: Performed[] = [];
  const attempts: Attempt[] = [];
  const writes: WriteCall[] = [];
  const recorder = new FencedRecorder({ fenced: true, nowMs: () => world.nowMs });
  const names = given.actors.map((machine, index) => nameIn(world, `m${machine % given.machines.length}`, index));
  world.store.faults.set(given.rates.store);
  world.bus.requestFaults.rates = given.rates.request;
  world.bus.publishFaults.rates = given.rates.publish;
  for (const trouble of given.troubles) plan(world, trouble);
  const faults = given.faults ?? [];
  inflict(faults, { world, nodes: nodeNames });
  bootHosts(world, nodeNames, writes, (ports) =>
    Object.fromEntries(
      given.machines.map((spec, index) => [
        `m${index}`,
        defineMachine(spec, names, { ports, recorder, performed, nowMs: () => world.nowMs }),
      ]),
    ),
  );
  const keys = names.map(({ type, id }) => `${type}.${id}`);
  const work = workload(world, given, keys, attempts);
  let isDone = false;
  void work.then(() => {
    isDone = true;
  });
  const settle = async (): Promise<Violation[]> => {
    const end = await world.run({ until: () => isDone && isAtRest(world), forMs: 900_000 });
    return end === "until"
      ? []
      : [{ rule: "never-at-rest", detail: `${end} at ${world.nowMs} ms: ${whatIsLeft(world, isDone)}` }];
  };

  await world.run({ until: () => isDone, forMs: 25_000 });
  const lastMs = Math.max(0, ...faults.map(({ at }) => at));
  if (world.nowMs < lastMs) await world.run({ forMs: lastMs + 500 - world.nowMs });
  world.heal();
  const healedMs = world.nowMs;
  for (const name of nodeNames) {
    const node = world.node(name);
    node.wallOffsetMs = Math.max(0, node.wallOffsetMs);
    if (node.state === "crashed") node.restart();
  }
  const violations = await settle();
  if (violations.length === 0) {
    await world.run({ forMs: lateMs + 5_000 });
    violations.push(...(await settle()));
  }
  const { request } = given.rates;
  const hasSecondCopies =
    (request.duplicate ?? 0) > 0 || (request["duplicate-late"] ?? 0) > 0 || faults.some(makesSecondCopies);
  const clockAheadMs =
    clockAheadOf(faults) +
    Math.max(0, ...given.troubles.map((trouble) => (trouble.kind === "clock" ? trouble.offsetMs : 0)));
  return {
    world,
    healedMs,
    violations: [
      ...violations,
      ...withinClocks(faults, judge({ world, attempts, performed, writes, clockAheadMs, hasSecondCopies })),
    ],
  };
}

function makesSecondCopies(fault: Fault): boolean {
  if (fault.kind === "link") return (fault.args.quality.duplicate ?? 0) > 0 || (fault.args.quality.replay ?? 0) > 0;
  return fault.kind === "request" && fault.args.fault.startsWith("duplicate");
}

export function plan(world: World, trouble: Trouble): void {
  const nodeOf = (index: number) => world.node(nodeNames[index % nodeNames.length] as string);
  const node = nodeOf(trouble.node);
  switch (trouble.kind) {
    case "crash":
      node.crashAt(trouble.point, { restartAfterMs: trouble.restartAfterMs });
      break;
    case "freeze":
      node.freezeAt(trouble.point, trouble.forMs);
      break;
    case "move":
      world.after(trouble.atMs, "a lease moves", () => {
        try {
          world.leases.move(trouble.partition % world.leases.partitions, node.name, { tellOldOwner: trouble.isTold });
        } catch {
          world.note(`${node.name} has no session to move a lease to`);
        }
      });
      break;
    case "cut": {
      const place = trouble.from === "store" ? storePlace : leasePlace;
      world.after(trouble.atMs, "a link is cut", () => world.links.cut(node.name, place));
      world.after(trouble.atMs + trouble.forMs, "a link heals", () => world.links.heal(node.name, place));
      break;
    }
    case "clock":
      world.after(trouble.atMs, "a clock jumps", () => {
        node.wallOffsetMs = trouble.offsetMs;
      });
      break;
  }
}

async function workload(world: World, given: Case, keys: readonly string[], attempts: Attempt[]): Promise<void> {
  const creator = new Client(world, "c0", attempts);
  await Promise.all(
    keys.map((actor) =>
      creator.run({ actor, id: `create-${actor}`, op: "create", value: { name: actor }, callersKey: true }),
    ),
  );
  await Promise.all(
    given.clients.map(async (commands, index) => {
      const client = new Client(world, `c${index + 1}`, attempts);
      for (const [number, { actor, type, throws, callersKey, again, waitMs }] of commands.entries()) {
        await world.sleep(waitMs);
        const id = `${type === "N" ? "noop-" : ""}${client.name}-${number}`;
        const event = { type, id, ...(throws && { throws }) };
        const command = {
          actor: keys[actor % keys.length] as string,
          id,
          op: "event",
          value: event,
          callersKey,
        } as const;
        const { outcome } = await client.run(command);
        if (again && callersKey && outcome === "acknowledged") await client.run(command);
      }
    }),
  );
  await Promise.all(
    keys.map((actor) =>
      creator.run({ actor, id: `barrier-${actor}`, op: "barrier", value: undefined, callersKey: true }),
    ),
  );
}

function whatIsLeft(world: World, isDone: boolean): string {
  const left = world.store.peekAll().map(({ key, value }) => {
    if (key.startsWith("_")) return `${key} ${value}`;
    const { outbox, timers, inbox } = JSON.parse(value) as Document;
    return `${key} ${JSON.stringify({ outbox, timers, inbox })}`;
  });
  return `${isDone ? "the clients are done" : "clients are waiting"}; ${left.join("; ")}`;
}

/** Actors are spread over the partitions by turns, whatever the hash of their names is. */
function nameIn(world: World, type: string, index: number): { readonly type: string; readonly id: string } {
  const wanted = index % world.leases.partitions;
  for (let suffix = 0; ; suffix++) {
    const id = suffix === 0 ? `a${index}` : `a${index}-${suffix}`;
    if (partitionOf(world, `${type}.${id}`) === wanted) return { type, id };
  }
}
