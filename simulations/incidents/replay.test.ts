/** Histories that the production host wrote, among crashes and takeovers, come out the same again; changed ones do not. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, test } from "vitest";
import { assign, fromCallback, fromPromise, setup } from "xstate";
import { defineActor } from "../../runtime/definition.ts";
import { readDocument } from "../../runtime/document.ts";
import { type KeptRevision, replayHistory } from "../../runtime/replay.ts";
import { anyCase } from "../protocol/any-case.ts";
import { runCase } from "../protocol/case.ts";
import { defineMachine } from "../protocol/machines.ts";
import { type Attempt, bootHosts, Client } from "../protocol/rig.ts";
import { FencedRecorder } from "../world/fenced-recorder.ts";
import { createWorld, type World } from "../world/world.ts";
import { forkIncident } from "./fork.ts";

/** All revisions of each actor, in order. */
function historiesOf(world: World): ReadonlyMap<string, readonly KeptRevision[]> {
  const histories = new Map<string, KeptRevision[]>();
  for (const { key, value } of world.store.log) {
    if (key.startsWith("_") || value === undefined) continue;
    histories.set(key, [...(histories.get(key) ?? []), { text: value, by: "runtime" }]);
  }
  return histories;
}

test("every commit of 15 random cases, troubles and all, comes out the same", async () => {
  let commits = 0;
  for (const given of fc.sample(anyCase, { numRuns: 15, seed: 7 })) {
    const { world } = await runCase(given);
    const histories = historiesOf(world);
    const names = [...histories.keys()].map((key) => ({
      type: key.slice(0, key.indexOf(".")),
      id: key.slice(key.indexOf(".") + 1),
    }));
    // The order in which the case named its actors.
    names.sort((a, b) => (a.id < b.id ? -1 : 1));
    const recorder = new FencedRecorder({ fenced: true, nowMs: () => 0 });
    const environment = { ports: world.node("n1").ports, recorder, performed: [], nowMs: () => 0 };
    for (const [key, history] of histories) {
      const spec = given.machines[Number(key.slice(1, key.indexOf(".")))];
      assert.ok(spec);
      const steps = replayHistory(defineMachine(spec, names, environment), history);
      commits += steps.length;
      const wrong = steps.filter(({ verdict }) => verdict.kind !== "same");
      assert.deepEqual(wrong.slice(0, 2), [], `${key} of seed ${given.seed}`);
    }
  }
  assert.ok(commits > 150, `${commits} commits`);
});

const machineOf = (price: number) =>
  setup({
    types: { context: {} as { total: number; receipt?: string }, events: {} as { type: "ADD" } | { type: "PAY" } },
    actors: { charge: fromPromise(async ({ input }: { input: number }) => `paid ${input}`) },
  }).createMachine({
    context: { total: 0 },
    initial: "open",
    states: {
      open: {
        on: { ADD: { actions: assign({ total: ({ context }) => context.total + price }) }, PAY: "paying" },
        after: { 60000: "forgotten" },
      },
      paying: {
        invoke: {
          src: "charge",
          input: ({ context }) => context.total,
          onDone: { target: "paid", actions: assign({ receipt: ({ event }) => event.output }) },
        },
      },
      paid: {},
      forgotten: {},
    },
  });

async function order(): Promise<readonly KeptRevision[]> {
  const world = createWorld({ seed: "an order", leases: { partitions: 1 } });
  bootHosts(world, ["n1"], [], () => ({ order: defineActor(machineOf(5)) }));
  const attempts: Attempt[] = [];
  const client = new Client(world, "c", attempts);
  const run = async () => {
    await client.run({ actor: "order.o", id: "c", op: "create", value: undefined, callersKey: true });
    for (const [id, type] of [
      ["a1", "ADD"],
      ["a2", "ADD"],
      ["p", "PAY"],
    ] as const)
      await client.run({ actor: "order.o", id, op: "event", value: { type }, callersKey: true });
  };
  await world.settle(run());
  await world.run({ forMs: 2_000 });
  return historiesOf(world).get("order.o") ?? [];
}

describe("an incident", () => {
  test("shows each commit: its cause, what it changed, what it began and ended", async () => {
    const steps = replayHistory(defineActor(machineOf(5)), await order());
    assert.deepEqual(new Set(steps.map(({ verdict }) => verdict.kind)), new Set(["same"]));
    const add = steps.find(({ causes }) => causes[0]?.type === "ADD");
    assert.deepEqual(add?.changes, [{ path: "actors.s0.snap.context.total", before: 0, after: 5 }]);
    const pay = steps.find(({ causes }) => causes[0]?.type === "PAY");
    assert.match(pay?.begun.join() ?? "", /work of/);
    assert.match(pay?.ended.join() ?? "", /timer/);
    assert.equal(steps.at(-1)?.state, "paid");
  });

  test("of another machine is disproved at the first commit that differs, with both values", async () => {
    const steps = replayHistory(defineActor(machineOf(6)), await order());
    const wrong = steps.filter(({ verdict }) => verdict.kind !== "same");
    const verdict = wrong[0]?.verdict;
    assert.equal(verdict?.kind, "differs");
    assert.deepEqual(verdict?.kind === "differs" && verdict.differences, [
      { path: "actors.s0.snap.context.total", before: 5, after: 6 },
    ]);
  });

  test("with gaps, and with revisions by hand, proves what it can", async () => {
    const history = await order();
    const [first, second, third, ...rest] = history as [KeptRevision, KeptRevision, KeptRevision, ...KeptRevision[]];
    const kinds = (given: readonly KeptRevision[]) =>
      replayHistory(defineActor(machineOf(5)), given).map(({ verdict }) => verdict.kind);
    assert.deepEqual(kinds([second, third]), ["unproved", "same"]);
    assert.deepEqual(kinds([first, third]), ["same", "unproved"]);
    assert.deepEqual(kinds([first, { text: "{}", by: "hand" }, ...rest]).slice(0, 2), ["same", "unproved"]);
  });

  test.each(["none", "crash", "freeze", "unknown", "duplicate"] as const)(
    "forked with the fault %s ends the same",
    async (fault) => {
      const history = await order();
      const revision = history
        .map(({ text }) => readDocument(text))
        .find(({ causes }) => causes[0]?.type === "ADD")?.seq;
      const outcome = await forkIncident({
        definition: defineActor(machineOf(5)),
        history,
        revision: revision ?? 0,
        fault,
      });
      assert.deepEqual(outcome.differences, []);
      assert.ok(outcome.steps.length > 2);
    },
  );

  test("forked under another machine ends otherwise, and says where", async () => {
    const outcome = await forkIncident({
      definition: defineActor(machineOf(6)),
      history: await order(),
      revision: 1,
      fault: "none",
    });
    assert.equal(outcome.isSameEnd, false);
    assert.deepEqual(
      outcome.differences.map(({ path, before, after }) => [path, before, after]),
      [["context.total", 10, 12]],
    );
  });

  /** A child machine charges, a second work pays back; a callback that would go outside says once that it is there. */
  const nested = () => {
    const outside: string[] = [];
    const asked = async ({ input }: { input: string }) => {
      outside.push(input);
      return `${input} done`;
    };
    const seller = setup({ actors: { reserve: fromPromise(asked) } }).createMachine({
      initial: "reserving",
      states: {
        reserving: { invoke: { src: "reserve", input: "reserve", onDone: "reserved" } },
        reserved: { type: "final" },
      },
    });
    const machine = setup({
      types: { context: {} as { receipts: string[] }, events: {} as { type: "PAY" } },
      actors: { seller, charge: fromPromise(asked), hooks: fromCallback(() => void outside.push("listens")) },
    }).createMachine({
      context: { receipts: [] },
      invoke: { src: "hooks" },
      initial: "open",
      states: {
        open: { on: { PAY: "reserving" } },
        reserving: { invoke: { src: "seller", onDone: "charging" } },
        charging: {
          invoke: {
            src: "charge",
            input: "charge",
            onDone: {
              target: "shipping",
              actions: assign({ receipts: ({ context, event }) => [...context.receipts, event.output] }),
            },
          },
        },
        shipping: {
          invoke: {
            src: "charge",
            input: "ship",
            onDone: {
              target: "shipped",
              actions: assign({ receipts: ({ context, event }) => [...context.receipts, event.output] }),
            },
          },
        },
        shipped: {},
      },
    });
    return { machine, outside };
  };

  test.each(["none", "crash", "freeze", "unknown", "duplicate"] as const)(
    "with work in a child, forked with %s, ends the same: work that runs again gives the same again, and none goes outside",
    async (fault) => {
      const { machine, outside } = nested();
      const world = createWorld({ seed: "nested", leases: { partitions: 1 } });
      bootHosts(world, ["n1"], [], () => ({ order: defineActor(machine) }));
      const client = new Client(world, "c", []);
      const run = async () => {
        await client.run({ actor: "order.o", id: "c", op: "create", value: undefined, callersKey: true });
        await client.run({ actor: "order.o", id: "p", op: "event", value: { type: "PAY" }, callersKey: true });
      };
      await world.settle(run());
      await world.run({ forMs: 2_000 });
      const history = historiesOf(world).get("order.o") ?? [];
      assert.deepEqual(outside.splice(0), ["listens", "reserve", "charge", "ship"]);
      const outcome = await forkIncident({ definition: defineActor(machine), history, revision: 1, fault });
      assert.deepEqual(outcome.differences, []);
      assert.deepEqual(outside, []);
    },
  );

  test("forked where two ran at once: each gives what it gave, also where the later one ended first", async () => {
    const world = createWorld({ seed: "two", leases: { partitions: 1 } });
    const giving = (result: string, ms: number) =>
      fromPromise(async () => {
        await world.sleep(ms);
        return result;
      });
    const machine = setup({
      types: { context: {} as { slow?: unknown; fast?: unknown }, events: {} as { type: "GO" } },
      actors: { slow: giving("slow", 500), fast: giving("fast", 20) },
    }).createMachine({
      context: {},
      initial: "open",
      states: {
        open: { on: { GO: "both" } },
        both: {
          invoke: [
            { src: "slow", onDone: { actions: assign({ slow: ({ event }) => event.output }) } },
            { src: "fast", onDone: { actions: assign({ fast: ({ event }) => event.output }) } },
          ],
        },
      },
    });
    bootHosts(world, ["n1"], [], () => ({ order: defineActor(machine) }));
    const client = new Client(world, "c", []);
    const run = async () => {
      await client.run({ actor: "order.o", id: "c", op: "create", value: undefined, callersKey: true });
      await client.run({ actor: "order.o", id: "g", op: "event", value: { type: "GO" }, callersKey: true });
    };
    await world.settle(run());
    await world.run({ forMs: 2_000 });
    const history = historiesOf(world).get("order.o") ?? [];
    for (const revision of [1, 2]) {
      const outcome = await forkIncident({ definition: defineActor(machine), history, revision, fault: "none" });
      assert.deepEqual(outcome.differences, []);
    }
  });

  test("forked where work was pending: what was sent soon after comes after its result, as it did", async () => {
    const machine = setup({
      types: { context: {} as { paid: boolean }, events: {} as { type: "CANCEL" } },
      actors: { charge: fromPromise(async () => "paid") },
    }).createMachine({
      context: { paid: false },
      initial: "paying",
      states: {
        paying: {
          invoke: { src: "charge", onDone: { target: "paid", actions: assign({ paid: true }) } },
          on: { CANCEL: "cancelled" },
        },
        paid: { on: { CANCEL: "cancelled" } },
        cancelled: {},
      },
    });
    const world = createWorld({ seed: "pending", leases: { partitions: 1 } });
    bootHosts(world, ["n1"], [], () => ({ order: defineActor(machine) }));
    const client = new Client(world, "c", []);
    const run = async () => {
      await client.run({ actor: "order.o", id: "c", op: "create", value: undefined, callersKey: true });
      await world.sleep(30);
      await client.run({ actor: "order.o", id: "x", op: "event", value: { type: "CANCEL" }, callersKey: true });
    };
    await world.settle(run());
    const history = historiesOf(world).get("order.o") ?? [];
    const outcome = await forkIncident({ definition: defineActor(machine), history, revision: 1, fault: "none" });
    assert.deepEqual(outcome.differences, []);
  });
});
