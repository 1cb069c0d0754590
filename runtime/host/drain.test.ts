/** What a stop and a hand-over wait for: work that comes to an end, and not what lives as long as its state. */
import { expect, test } from "vitest";
import { fromCallback, fromPromise, setup } from "xstate";
import { createRuntime, memory } from "../index.ts";
import type { LeaseChange } from "../ports/leases.ts";
import type { StoreProvider } from "../ports/store-provider.ts";
import { ManualClock } from "../testing/index.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

function world() {
  const clock = new ManualClock();
  const ended: string[] = [];
  let pay = () => {};
  const machine = setup({
    types: { events: {} as { type: "PAY" } },
    actors: {
      listen: fromCallback(() => () => void ended.push("listen")),
      pay: fromPromise(() => new Promise<void>((resolve) => (pay = () => resolve(void ended.push("pay"))))),
    },
  }).createMachine({
    invoke: { src: "listen" },
    initial: "open",
    states: {
      open: { on: { PAY: "paying" } },
      paying: { invoke: { src: "pay", onDone: "paid" } },
      paid: {},
    },
  });
  const listeners = new Set<(change: LeaseChange) => void>();
  const inner = memory();
  const store: StoreProvider = {
    async open() {
      const opened = await inner.open();
      const leases = {
        ...opened.leases,
        partitions: opened.leases.partitions,
        token: (partition: number) => opened.leases.token(partition),
        onChange: (listener: (change: LeaseChange) => void) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
        release: () => opened.leases.release(),
      };
      return { ...opened, leases };
    },
  };
  const start = async () => {
    const runtime = await createRuntime({ actors: { order: machine }, store, clock, logger: silent });
    await runtime.actor("order", "1").create();
    await clock.advance(0);
    return runtime;
  };
  /** All partitions leave; answers how many have come to rest so far. */
  const leave = (partitions: number) => {
    const rested = new Set<number>();
    for (let partition = 0; partition < partitions; partition++)
      for (const tell of listeners) tell({ kind: "leaving", partition, done: () => rested.add(partition) });
    return rested;
  };
  return { clock, ended, start, leave, pay: () => pay() };
}

test("a stop ends what lives as long as its state at once", async () => {
  const { clock, ended, start } = world();
  const runtime = await start();
  const stopping = runtime.stop({ drainMs: 60_000 });
  await clock.advance(0);
  await stopping;
  expect(ended).toEqual(["listen"]);
});

test("a stop waits for the end of what was invoked, and beside it the callback lives on", async () => {
  const { clock, ended, start, pay } = world();
  const runtime = await start();
  await runtime.actor("order", "1").send({ type: "PAY" });
  await clock.advance(0);
  let isStopped = false;
  const stopping = runtime.stop({ drainMs: 60_000 }).then(() => {
    isStopped = true;
  });
  await clock.advance(30_000);
  expect([isStopped, ended]).toEqual([false, []]);
  pay();
  await clock.advance(100);
  await stopping;
  expect(ended).toEqual(["pay", "listen"]);
});

test("a partition is handed over once what was invoked there has ended, whatever callbacks live", async () => {
  const { clock, start, leave, pay } = world();
  const runtime = await start();
  const all = runtime.info().partitionsOwned;
  expect(leave(all).size).toBe(all);
  await runtime.actor("order", "1").send({ type: "PAY" });
  await clock.advance(0);
  const rested = leave(all);
  await clock.advance(1_000);
  expect(rested.size).toBe(all - 1);
  pay();
  await clock.advance(100);
  expect(rested.size).toBe(all);
  await runtime.stop({ drainMs: 0 });
});
