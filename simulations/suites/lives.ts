/**
 * Whole lives of actors: created by their first event, with children of their own (spawned, invoked, delayed), ended by
 * themselves and removed by retention, or deleted by callers, while all kinds of faults go on. An effect of an actor that
 * was deleted may have been done; one of an actor that ended by itself must have been.
 */
import { assign, enqueueActions, fromPromise, sendParent, sendTo, setup } from "xstate";
import { address, defineActor } from "../../runtime/index.ts";
import { type CallStep, type Cluster, clientNamesOf, type End, nodeNamesOf, runCluster } from "../run/cluster.ts";
import type { Step, Suite } from "../run/suite.ts";
import { everyKind, swarm } from "../run/swarm.ts";
import { Dice } from "../world/dice.ts";

type Context = { readonly id: string; readonly parts: number; readonly done: number };

/** A child that works for a while, twice, and reports. */
const part = setup({ types: { input: {} as { delayMs: number }, context: {} as { delayMs: number } } })
  .createMachine({
    context: ({ input }) => input,
    initial: "cutting",
    states: {
      cutting: { after: { 30: "gluing" } },
      gluing: { after: { glue: "ready" } },
      ready: { type: "final", entry: sendParent({ type: "PART" }) },
    },
  })
  .provide({ delays: { glue: ({ context }: { context: { delayMs: number } }) => context.delayMs } });

const job = (deliver: (id: string) => Promise<unknown>) =>
  setup({
    types: {
      input: {} as { id: string },
      context: {} as Context,
      events: {} as { type: "ORDER"; parts: number } | { type: "PART" } | { type: "NUDGE" },
    },
    actors: { part, deliver: fromPromise<unknown, string>(({ input }) => deliver(input)) },
  }).createMachine({
    context: ({ input }) => ({ id: input.id, parts: 0, done: 0 }),
    initial: "idle",
    on: { NUDGE: {}, ORDER: {}, PART: {} },
    states: {
      idle: {
        on: {
          ORDER: {
            target: "making",
            actions: [
              assign({ parts: ({ event }) => event.parts }),
              enqueueActions(({ enqueue, event }) => {
                for (let index = 0; index < event.parts; index++)
                  enqueue.spawnChild("part", { id: `part${index}`, input: { delayMs: 40 + 300 * index } });
              }),
              sendTo(
                () => address("ledger", "all"),
                ({ context }) => ({ type: "STARTED", id: context.id }),
              ),
            ],
          },
        },
      },
      making: {
        on: { PART: { actions: assign({ done: ({ context }) => context.done + 1 }) } },
        always: { guard: ({ context }) => context.done === context.parts, target: "delivering" },
      },
      delivering: { invoke: { src: "deliver", input: ({ context }) => context.id, onDone: "delivered" } },
      delivered: {
        type: "final",
        entry: sendTo(
          () => address("ledger", "all"),
          ({ context }) => ({ type: "DELIVERED", id: context.id, parts: context.done }),
        ),
      },
    },
  });

type Ledger = { readonly started: readonly string[]; readonly delivered: readonly string[] };

const ledger = setup({
  types: {
    context: {} as Ledger,
    events: {} as { type: "STARTED"; id: string } | { type: "DELIVERED"; id: string; parts: number },
  },
}).createMachine({
  context: { started: [], delivered: [] },
  on: {
    STARTED: { actions: assign({ started: ({ context, event }) => [...context.started, event.id] }) },
    DELIVERED: {
      actions: assign({ delivered: ({ context, event }) => [...context.delivered, `${event.id} ${event.parts}`] }),
    },
  },
});

const partsOf = (step: CallStep): number => Number(step.send?.parts ?? 0);
const ledgerOf = ({ state }: End): Ledger =>
  (state("ledger", "all")?.context as Ledger | undefined) ?? { started: [], delivered: [] };

/** The jobs that were surely ordered, that nobody tried to delete. */
function kept({ steps }: End): readonly CallStep[] {
  const deleted = new Set(steps.flatMap(({ step }) => (step.delete === true ? [step.to] : [])));
  return steps.flatMap(({ step, outcome }) =>
    step.send?.type === "ORDER" && outcome === "acknowledged" && !deleted.has(step.to) ? [step] : [],
  );
}

const idOf = (step: CallStep): string => step.to.slice("job/".length);

const cluster: Omit<Cluster, "workload"> = {
  actors: ({ service, node }) => ({
    job: defineActor(
      job((id) => (node.startsWith("c") ? Promise.resolve() : service("post")({ id }))),
      {
        effects: { deliver: { retry: { attempts: 1_000, initialMs: 50, maxMs: 1_000 } } },
        retain: { done: "20s" },
      },
    ),
    ledger,
  }),
  services: { post: () => "delivered" },
  clients: 2,
  invariants: {
    "every job that was ordered is in the ledger, started and delivered, once": (end) => {
      const { started, delivered } = ledgerOf(end);
      const wrong = kept(end).filter(
        (step) =>
          started.filter((id) => id === idOf(step)).length !== 1 ||
          delivered.filter((line) => line === `${idOf(step)} ${partsOf(step)}`).length !== 1,
      );
      return (
        wrong.length === 0 ||
        `${wrong.map(idOf).join(" ")}: started ${started.join(" ")}, delivered ${delivered.join(", ")}`
      );
    },
    "no job, deleted or not, is in the ledger twice": (end) => {
      const { started, delivered } = ledgerOf(end);
      return (
        (new Set(started).size === started.length && new Set(delivered).size === delivered.length) ||
        `started ${started.join(" ")}, delivered ${delivered.join(", ")}`
      );
    },
    "what is in the ledger was delivered": (end) => {
      const posted = new Set(end.calls("post").map(({ request }) => (request as { id: string }).id));
      return ledgerOf(end).delivered.every((line) => posted.has(line.split(" ")[0] as string));
    },
    "what ended is gone when its retention is over": ({ actors }) =>
      actors.filter((name) => name.startsWith("job.")).join(" ") || true,
  },
};

function steps(dice: Dice): readonly CallStep[] {
  const jobs = Array.from({ length: dice.whole(1, 4) }, (_, index): readonly CallStep[] => {
    const id = `j${index + 1}`;
    const to = `job/${id}`;
    const client = 1 + (index % 2);
    const order = { type: "ORDER", parts: dice.whole(1, 3) };
    const waitMs = dice.pick([0, 20, 600, 2_000]);
    const started: readonly CallStep[] = dice.chance(0.5)
      ? [{ client, to, create: { id }, send: order, key: `order-${id}`, waitMs }]
      : [
          { client, to, create: { id }, key: `make-${id}`, waitMs },
          { client, to, send: order, key: `order-${id}` },
        ];
    const nudges = Array.from(
      { length: dice.whole(0, 3) },
      (): CallStep => ({ client, to, send: { type: "NUDGE" }, waitMs: 150 }),
    );
    const end: readonly CallStep[] = dice.chance(0.25)
      ? [{ client, to, delete: true, key: `delete-${id}`, waitMs: dice.pick([0, 100, 700]) }]
      : [];
    return [...started, ...nudges, ...end];
  });
  return [{ to: "ledger/all", create: undefined, key: "make", first: true }, ...jobs.flat()];
}

export const lives: Suite = {
  name: "lives",
  about: "actors with children are created, end, are deleted and removed by retention, under every kind of fault",
  plan: (seed) => {
    const options = {
      kinds: everyKind,
      nodes: nodeNamesOf(3),
      clients: clientNamesOf(2),
      services: ["post"],
      partitions: 4,
      untilMs: 6_000,
    };
    return {
      seed,
      faults: swarm(seed, options),
      steps: steps(new Dice(`${seed}/steps`)) as unknown as readonly Step[],
    };
  },
  run: (plan, looking) => runCluster(cluster, plan, looking),
};
