/** What each kind of fault does to a world. Everything is planned at once, before the world moves. */
import type { FaultPlan } from "../world/fault-plan.ts";
import type { SimulatedNode } from "../world/node.ts";
import type { ServiceModel } from "../world/service-model.ts";
import type { World } from "../world/world.ts";
import type { Fault } from "./fault.ts";
import type { Ground } from "./ground.ts";

export type Targets = {
  readonly world: World;
  /** The nodes that faults may name. */
  readonly nodes: readonly string[];
  readonly services?: Readonly<Record<string, ServiceModel<never, unknown>>>;
  readonly ground?: Ground;
};

/** The schedule names something that is not there, or says nothing that a simulation could do. */
export class FaultScheduleError extends Error {
  override readonly name = "FaultScheduleError";
}

export function inflict(faults: readonly Fault[], targets: Targets): void {
  for (const fault of faults) {
    check(fault, targets);
    targets.world.after(fault.at, `fault ${fault.kind}`, () => {
      targets.world.note(`fault ${JSON.stringify(fault)}`);
      begin(fault, targets);
    });
  }
}

function check(fault: Fault, { nodes, services }: Targets): void {
  const { at, args } = fault;
  if (!(at >= 0))
    throw new FaultScheduleError(`a fault must say at which millisecond it begins: ${JSON.stringify(fault)}`);
  if ("node" in args && !nodes.includes(args.node))
    throw new FaultScheduleError(`there is no node ${args.node}, only ${nodes.join(", ")}: ${JSON.stringify(fault)}`);
  if (fault.kind === "service" && services?.[fault.args.service] === undefined)
    throw new FaultScheduleError(`there is no service ${fault.args.service}: ${JSON.stringify(fault)}`);
}

function begin(fault: Fault, { world, services, ground }: Targets): void {
  const { links, store, bus, leases } = world;
  const later = (delayMs: number, run: () => void) => world.after(delayMs, `fault ${fault.kind} ends`, run);
  switch (fault.kind) {
    case "crash":
      crash(world, world.node(fault.args.node), fault.args);
      break;
    case "pause": {
      const node = world.node(fault.args.node);
      if (fault.args.clock === "frozen") node.suspend(fault.args.forMs);
      else node.freeze(fault.args.forMs);
      break;
    }
    case "slow": {
      const node = world.node(fault.args.node);
      node.slow(fault.args.upToMs);
      later(fault.args.forMs, () => node.slow(0));
      break;
    }
    case "cut": {
      const { from, to, oneWay = false, forMs } = fault.args;
      later(forMs, links.cut(from, to, { oneWay }));
      break;
    }
    case "partition": {
      const heals = apart(fault.args.groups).map(([a, b]) => links.cut(a, b));
      later(fault.args.forMs, () => {
        for (const heal of heals) heal();
      });
      break;
    }
    case "flap": {
      const { from, to, everyMs, forMs } = fault.args;
      const endMs = world.nowMs + forMs;
      const flap = (): void => {
        if (world.nowMs >= endMs) return;
        later(everyMs / 2, links.cut(from, to));
        later(everyMs, flap);
      };
      flap();
      break;
    }
    case "clog":
      links.clog(fault.args.from, fault.args.to, fault.args.forMs);
      break;
    case "link": {
      const { from, to, quality, forMs } = fault.args;
      links.setQuality(from, to, quality);
      later(forMs, () => links.setQuality(from, to, undefined));
      break;
    }
    case "step":
      world.node(fault.args.node).wallOffsetMs += fault.args.byMs;
      break;
    case "drift": {
      const { clock } = world.node(fault.args.node);
      clock.drift(fault.args.rate);
      later(fault.args.forMs, () => clock.drift(1));
      break;
    }
    case "stop": {
      const { clock } = world.node(fault.args.node);
      clock.stop();
      later(fault.args.forMs, () => clock.go());
      break;
    }
    case "write":
      raise(store.faults.write, fault.args, later);
      break;
    case "read":
      raise(store.faults.read, fault.args, later);
      break;
    case "watch":
      raise(store.faults.watch, fault.args, later);
      break;
    case "request":
      raise(bus.requestFaults, fault.args, later);
      break;
    case "publish":
      raise(bus.publishFaults, fault.args, later);
      break;
    case "service":
      raise(
        (services as Readonly<Record<string, ServiceModel<never, unknown>>>)[fault.args.service]!.faults,
        fault.args,
        later,
      );
      break;
    case "disk":
      raise(world.node(fault.args.node).disk.faults, fault.args, later);
      break;
    case "hold":
      raise(world.holds[fault.args.point], { ...fault.args, fault: "held" }, later);
      break;
    case "nats":
      ground?.inflict(fault);
      break;
    case "takeover": {
      const { partition, node, told } = fault.args;
      try {
        leases.move(partition % leases.partitions, node, { tellOldOwner: told });
      } catch {
        world.note(`${node} has no session that could take a partition over`);
      }
      break;
    }
  }
}

function crash(world: World, node: SimulatedNode, args: Extract<Fault, { kind: "crash" }>["args"]): void {
  const { point, nth = 1, restartAfterMs, wiped = false } = args;
  if (point !== undefined) {
    node.crashAt(point, { nth, wiped, ...(restartAfterMs !== undefined && { restartAfterMs }) });
    return;
  }
  node.crash();
  const { incarnation } = node;
  if (restartAfterMs === undefined) return;
  world.after(restartAfterMs, `${node.name} restarts`, () => {
    if (node.incarnation === incarnation) node.restart({ wiped });
  });
}

/** Every pair that no group has in common. */
function apart(groups: readonly (readonly string[])[]): readonly (readonly [string, string])[] {
  const all = [...new Set(groups.flat())];
  const together = (a: string, b: string) => groups.some((group) => group.includes(a) && group.includes(b));
  return all.flatMap((a, index) => all.slice(index + 1).flatMap((b) => (together(a, b) ? [] : [[a, b] as const])));
}

/** The rate for a while; of two at once the higher, and the last to end switches it off. */
function raise<Kind extends string>(
  plan: FaultPlan<Kind>,
  { fault, rate, forMs }: { readonly fault: Kind; readonly rate: number; readonly forMs: number },
  later: (delayMs: number, run: () => void) => void,
): void {
  plan.rates = { ...plan.rates, [fault]: Math.max(rate, plan.rates[fault] ?? 0) };
  later(forMs, () => {
    plan.rates = { ...plan.rates, [fault]: 0 };
  });
}
