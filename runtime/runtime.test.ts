import { assign, fromPromise, setup, sendTo } from "xstate";
import { expect, test } from "vitest";
import { address, createRuntime, defineActor, effectOf, memory } from "./index.ts";

const order = setup({
  types: {
    context: {} as { total: number; paid?: string; keys: string[] },
    input: {} as { total: number },
    events: {} as { type: "PAY"; amount: number } | { type: "NOTE" },
    tags: {} as "open" | "closed",
  },
  actors: {
    charge: fromPromise(async (args: { input: { amount: number }; system: object }) => effectOf(args).key + args.input.amount),
  },
  actions: { note: () => {} },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ total: input.total, keys: [] }),
  initial: "open",
  states: {
    open: { tags: "open", on: { PAY: { guard: ({ event }) => event.amount > 0, target: "paying" }, NOTE: { actions: "note" } } },
    paying: {
      invoke: { src: "charge", input: ({ context }) => ({ amount: context.total }), onDone: { target: "wait", actions: assign({ paid: ({ event }) => event.output }) } },
    },
    wait: { after: { 50: "shipped" } },
    shipped: { tags: "closed", type: "final", entry: sendTo(address("counter", "all"), { type: "INC" }) },
  },
});

const counter = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
  context: { n: 0 },
  on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

test("an order lives through effects, timers and a message to another actor", async () => {
  const store = memory();
  const runtime = await createRuntime({ actors: { order: defineActor(order, { version: 1 }), counter }, store });
  await runtime.actor("counter", "all").create();
  const o = runtime.actor("order", "o-1");
  await o.create({ total: 90 });
  expect(await o.send({ type: "PAY", amount: 90 }, { key: "k-1" })).toEqual({ revision: 2, changed: true, duplicate: false });
  expect(await o.send({ type: "PAY", amount: 90 }, { key: "k-1" })).toEqual({ revision: 2, changed: true, duplicate: true });
  await expect(o.send({ type: "PAY", amount: 91 }, { key: "k-1" })).rejects.toMatchObject({ code: "KeyReused" });
  const state = await o.waitFor("done");
  expect(state.context.paid).toMatch(/^order\/o-1\/.*\/s1\/1/);
  const c = await runtime.actor("counter", "all").waitFor((s) => s.context.n === 1);
  expect(c.context.n).toBe(1);
  await runtime.stop();
  const again = await createRuntime({ actors: { order, counter }, store });
  expect((await again.actor("order", "o-1").state())?.value).toBe("shipped");
  expect((await again.actor("counter", "all").send({ type: "INC" })).changed).toBe(true);
  expect((await again.actor("counter", "all").state())?.context.n).toBe(2);
  console.log(JSON.stringify(await again.actor("order", "o-1").document()));
  console.log(JSON.stringify(await again.actor("counter", "all").document()));
  await again.stop();
});
