/**
 * Fault schedules by chance, after "Swarm Testing" (Groce et al., ISSTA 2012): each run draws which kinds of faults it
 * has at all, since a run with everything rarely gets deep into anything. Each kind has dice of its own.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import { Dice } from "../world/dice.ts";
import type { Fault, FaultKind } from "./fault.ts";

export type SwarmOptions = {
  readonly kinds: readonly FaultKind[];
  readonly nodes: readonly string[];
  readonly clients: readonly string[];
  readonly services: readonly string[];
  readonly partitions: number;
  /** Faults begin before this time. */
  readonly untilMs: number;
  /** What else links lead to. Default: the store and the coordinator. */
  readonly places?: readonly string[];
  /** Where processes die, besides at any time. Default: around writes and replies. */
  readonly crashPoints?: readonly string[];
};

const swarmOptions: KeysOf<SwarmOptions> = {
  kinds: true,
  nodes: true,
  clients: true,
  services: true,
  partitions: true,
  untilMs: true,
  places: true,
  crashPoints: true,
};

/** What can be done to hosts over a shared store, by what it is done to. */
export const faultFamilies = {
  partitions: ["cut", "partition", "flap", "clog", "link"],
  crashes: ["crash", "pause", "slow"],
  clocks: ["step", "drift", "stop", "pause"],
  disks: ["write", "read", "watch"],
  duplicates: ["request", "publish", "link", "write"],
  takeovers: ["takeover", "crash", "pause", "cut", "hold"],
  services: ["service"],
} as const satisfies Readonly<Record<string, readonly FaultKind[]>>;

export const everyKind: readonly FaultKind[] = [...new Set(Object.values(faultFamilies).flat())];

export function swarm(seed: number, options: SwarmOptions): readonly Fault[] {
  refuseUnknown("options of swarm", options, swarmOptions, RangeError);
  const choice = new Dice(`${seed}/swarm`);
  const chosen = options.kinds.filter(() => choice.chance(0.6));
  const kinds = chosen.length > 0 ? chosen : [choice.pick(options.kinds)];
  const faults = kinds.flatMap((kind) => {
    const dice = new Dice(`${seed}/swarm/${kind}`);
    const count = dice.whole(1, 3);
    return Array.from({ length: count }, () => drawFault(kind, dice, options)).filter((fault) => fault !== undefined);
  });
  return faults.sort((a, b) => a.at - b.at);
}

/** Where a process that dies leaves the most behind. */
const usualCrashPoints = ["store.write:call", "store.write:answer", "bus.serve:request", "bus.serve:reply"];

const rates = [0.02, 0.1, 0.3];
const shortMs = [100, 700, 2_500];
const longMs = [500, 3_000, 9_000];

/** One fault of this kind; undefined where the cluster has nothing that it could be done to. */
export function drawFault(kind: FaultKind, dice: Dice, options: SwarmOptions): Fault | undefined {
  const { nodes, clients, services, partitions, untilMs, places = ["store", "leases"] } = options;
  const { crashPoints = usualCrashPoints } = options;
  // Clogs and bad links lead to the first of them.
  const stores = places.slice(0, 1);
  // Much of what there is to disturb happens at the beginning.
  const at = dice.whole(0, dice.chance(0.4) ? Math.min(400, untilMs) : untilMs);
  const node = dice.pick(nodes);
  const forMs = dice.pick(longMs);
  const rate = dice.pick(rates);
  switch (kind) {
    case "crash": {
      const point = dice.pick([undefined, ...crashPoints, ...services.map((name) => `service.${name}:answer`)]);
      const restartAfterMs = dice.pick([50, 1_000, 8_000]);
      return { at, kind, args: { node, ...(point && { point, nth: dice.whole(1, 5) }), restartAfterMs } };
    }
    case "pause":
      return {
        at,
        kind,
        args: { node, forMs: dice.pick([30, 2_000, 12_000]), clock: dice.pick(["running", "frozen"]) },
      };
    case "slow":
      return { at, kind, args: { node, upToMs: dice.pick([5, 100, 800]), forMs } };
    case "cut": {
      const to = dice.pick([...places, ...nodes.filter((name) => name !== node), ...clients]);
      return { at, kind, args: { from: node, to, oneWay: dice.chance(0.4), forMs: dice.pick(longMs) } };
    }
    case "partition":
      return { at, kind, args: { groups: groupsOf(dice, nodes, places), forMs } };
    case "flap": {
      const to = dice.pick([...places, ...nodes.filter((name) => name !== node)]);
      return { at, kind, args: { from: node, to, everyMs: dice.pick(shortMs), forMs } };
    }
    case "clog": {
      const to = dice.pick([...stores, ...nodes.filter((name) => name !== node), ...clients]);
      return { at, kind, args: { from: node, to, forMs: dice.pick(shortMs) } };
    }
    case "link": {
      const to = dice.pick([...stores, ...nodes.filter((name) => name !== node), ...clients]);
      const quality = {
        ...(dice.chance(0.5) && { delayMs: [0, dice.pick(shortMs)] as const }),
        ...(dice.chance(0.5) && { drop: dice.pick(rates) }),
        ...(dice.chance(0.5) && { duplicate: dice.pick(rates) }),
        ...(dice.chance(0.5) && { replay: dice.pick(rates) }),
      };
      return { at, kind, args: { from: node, to, quality, forMs } };
    }
    case "step":
      return { at, kind, args: { node, byMs: dice.pick([-2_000, -500, 700, 2_500]) } };
    case "drift":
      return { at, kind, args: { node, rate: dice.pick([0.9, 0.99, 1.01, 1.1]), forMs } };
    case "stop":
      return { at, kind, args: { node, forMs } };
    case "write": {
      const faults = [
        "conflict",
        "conflict-applied",
        "unknown-applied",
        "unknown-late",
        "unknown-lost",
        "duplicate",
        "slow-answer",
        "full",
      ] as const;
      return { at, kind, args: { fault: dice.pick(faults), rate: Math.min(rate, 0.15), forMs } };
    }
    case "read":
      // A store that answers from the past breaks what the port promises: no part of what must hold.
      return { at, kind, args: { fault: dice.pick(["unreachable", "slow-answer"]), rate, forMs } };
    case "watch":
      return { at, kind, args: { fault: dice.pick(["slow", "skip"]), rate, forMs } };
    case "request": {
      const faults = ["lose-request", "lose-reply", "duplicate", "duplicate-late", "late", "nobody"] as const;
      return { at, kind, args: { fault: dice.pick(faults), rate, forMs } };
    }
    case "publish":
      return { at, kind, args: { fault: dice.pick(["lose", "duplicate", "duplicate-late"]), rate, forMs } };
    case "service":
      if (services.length === 0) return undefined;
      return {
        at,
        kind,
        args: {
          service: dice.pick(services),
          fault: dice.pick(["lose-request", "lose-answer", "late", "slow"]),
          rate: dice.pick([0.1, 0.5]),
          forMs,
        },
      };
    case "takeover":
      return { at, kind, args: { partition: dice.whole(0, partitions - 1), node, told: dice.chance(0.3) } };
    case "hold": {
      const points = ["commit.confirmed", "index.confirmed", "effect.ended"] as const;
      return { at, kind, args: { point: dice.pick(points), rate, forMs } };
    }
    case "nats": {
      const faults = [
        "restart",
        "power",
        "leader",
        "lose-request",
        "lose-reply",
        "late",
        "duplicate",
        "slow-reply",
        "lose",
        "slow",
      ] as const;
      return {
        at,
        kind,
        args: { fault: dice.pick(faults), rate: dice.pick([0.02, 0.1]), forMs: dice.pick([200, 1_500, 5_000]) },
      };
    }
    case "disk":
      return { at, kind, args: { node, fault: dice.pick(["full", "sync-error", "sync-slow"]), rate, forMs } };
  }
}

/** Two sides, one alone, or a bridge that both sides reach; the places go with a side. */
function groupsOf(dice: Dice, nodes: readonly string[], all: readonly string[]): readonly (readonly string[])[] {
  const shape = dice.pick(["halves", "isolate", "bridge"] as const);
  const alone = dice.pick(nodes);
  const rest = nodes.filter((name) => name !== alone);
  const places = all.filter(() => dice.chance(0.6));
  if (shape === "isolate") return [[alone], [...rest, ...all]];
  if (shape === "bridge")
    return [
      [alone, ...rest.slice(0, 1), ...places],
      [...rest.slice(0, 1), ...rest.slice(1), ...all],
    ];
  const left = nodes.filter(() => dice.chance(0.5));
  return [
    [...left, ...places],
    [...nodes.filter((name) => !left.includes(name)), ...all].filter((name) => !places.includes(name)),
  ];
}
