/**
 * Two versions of a machine side by side: every node starts with the old one and, whenever it starts again, has the new
 * one, which adds a state and migrates what was stored. An old node must leave alone what a new one has written. In some
 * runs there is a release between, which has forgotten to migrate: what it sets aside must go on by itself.
 */
import { assign, fromPromise, setup } from "xstate";
import { type ActorTypes, defineActor } from "../../runtime/index.ts";
import { type CallStep, type Cluster, clientNamesOf, nodeNamesOf, runCluster } from "../run/cluster.ts";
import type { Fault } from "../run/fault.ts";
import type { Step, Suite } from "../run/suite.ts";
import { faultFamilies, swarm } from "../run/swarm.ts";
import { Dice } from "../world/dice.ts";

type Context = { readonly items: readonly number[]; readonly gift?: boolean };

type Release = "first" | "mistaken" | "second";

/** Version 2 has another word for its first state, and wraps what is paid before it ships. */
function basket(version: 1 | 2, pack: () => Promise<unknown>) {
  return setup({
    types: { context: {} as Context, events: {} as { type: "ADD"; item: number } | { type: "SHIP" } },
    actors: { pack: fromPromise(pack) },
    actions: {
      add: assign({
        items: ({ context, event }) => (event.type === "ADD" ? [...context.items, event.item] : context.items),
      }),
    },
  }).createMachine({
    context: version === 1 ? { items: [] } : { items: [], gift: true },
    initial: version === 1 ? "filling" : "collecting",
    states: {
      [version === 1 ? "filling" : "collecting"]: {
        on: { ADD: { actions: "add" }, SHIP: version === 1 ? "packing" : "wrapping" },
      },
      packing: { invoke: { src: "pack", onDone: "shipped" }, on: { ADD: {}, SHIP: {} } },
      ...(version === 2 && { wrapping: { after: { 50: "packing" }, on: { ADD: {}, SHIP: {} } } }),
      shipped: { on: { ADD: {}, SHIP: {} } },
    },
  });
}

function actors(release: Release, pack: () => Promise<unknown>): ActorTypes {
  const effects = { pack: { retry: { attempts: 1_000, initialMs: 50, maxMs: 1_000 } } };
  if (release === "first") return { basket: defineActor(basket(1, pack), { version: 1, effects }) };
  if (release === "mistaken") return { basket: defineActor(basket(2, pack), { version: 2, effects }) };
  return {
    basket: defineActor(basket(2, pack), {
      version: 2,
      effects,
      migrate: ({ value, context }) => ({
        value: value === "filling" ? "collecting" : value,
        context: { ...context, gift: true },
      }),
    }),
  };
}

/** What a node runs when it starts for the n-th time. */
function releaseOf(start: number, hasMistake: boolean): Release {
  if (start === 1) return "first";
  return hasMistake && start === 2 ? "mistaken" : "second";
}

const cluster = (hasMistake: boolean): Omit<Cluster, "workload"> => ({
  actors: ({ node, start, service }) => {
    const isClient = node.startsWith("c");
    const pack = () => (isClient ? Promise.resolve() : service("warehouse")({}));
    return actors(isClient ? "second" : releaseOf(start, hasMistake), pack);
  },
  services: { warehouse: () => "packed" },
  clients: 2,
  invariants: {
    "every item that was acknowledged is in its basket once": ({ state, steps, actors: names }) => {
      const wrong = names.flatMap((name) => {
        const items = (state("basket", name.slice("basket.".length))?.context as Context | undefined)?.items ?? [];
        return new Set(items).size === items.length ? [] : [`${name} holds ${items.join(" ")}`];
      });
      const shipped = new Set(steps.flatMap(({ step }) => (step.send?.type === "SHIP" ? [step.to] : [])));
      for (const { step, outcome } of steps) {
        if (step.send?.type !== "ADD" || outcome !== "acknowledged" || shipped.has(step.to)) continue;
        const items = (state("basket", step.to.slice("basket/".length))?.context as Context | undefined)?.items ?? [];
        if (!items.includes(Number(step.send.item))) wrong.push(`${step.to} lacks ${String(step.send.item)}`);
      }
      return wrong.join("; ") || true;
    },
    "what was told to ship has shipped": ({ state, steps }) =>
      steps
        .filter(({ step, outcome }) => step.send?.type === "SHIP" && outcome === "acknowledged")
        .filter(({ step }) => state("basket", step.to.slice("basket/".length))?.value !== "shipped")
        .map(({ step }) => step.to)
        .join(" ") || true,
  },
});

function hasMistake(seed: number): boolean {
  return new Dice(`${seed}/mistake`).chance(0.4);
}

/** Every node starts again once for each release, one after the other, whatever else happens. */
function rollout(dice: Dice, nodes: readonly string[], releases: number): readonly Fault[] {
  let at = dice.whole(200, 3_000);
  const waves = Array.from({ length: releases }, () => nodes);
  return waves.flat().map((node) => {
    at += dice.whole(100, 2_000);
    return { at, kind: "crash", args: { node, restartAfterMs: dice.pick([50, 500]) } };
  });
}

function steps(dice: Dice): readonly CallStep[] {
  const baskets = Array.from({ length: dice.whole(1, 3) }, (_, index) => `basket/b${index + 1}`);
  let item = 0;
  const made = baskets.map((to) => ({ to, create: undefined, key: "make" }));
  const filled = Array.from({ length: dice.whole(3, 10) }, (): CallStep => {
    const to = dice.pick(baskets);
    const waitMs = dice.pick([0, 50, 400, 1_500]);
    item++;
    if (dice.chance(0.2)) return { to, send: { type: "SHIP" }, key: `k${item}`, waitMs };
    return { to, send: { type: "ADD", item }, key: `k${item}`, waitMs };
  });
  return [...made, ...filled];
}

export const upgrades: Suite = {
  name: "upgrades",
  about: "two versions of a machine side by side while nodes start again one by one, and crash besides",
  plan: (seed) => {
    const nodes = nodeNamesOf(3);
    const options = {
      kinds: [...faultFamilies.crashes, "takeover", "cut"] as const,
      nodes,
      clients: clientNamesOf(2),
      services: ["warehouse"],
      partitions: 4,
      untilMs: 8_000,
    };
    const faults = [
      ...rollout(new Dice(`${seed}/rollout`), nodes, hasMistake(seed) ? 2 : 1),
      ...swarm(seed, options),
    ].sort((a, b) => a.at - b.at);
    return { seed, faults, steps: steps(new Dice(`${seed}/steps`)) as unknown as readonly Step[] };
  },
  run: (plan, looking) => runCluster(cluster(hasMistake(plan.seed)), plan, looking),
};
