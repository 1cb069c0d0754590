/**
 * The types of the client: what is wrong does not compile. Each `@ts-expect-error` is such a line, checked by the
 * compiler (`npm run check`); what compiles beside it shows that the error is of that line's mistake alone.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, createMachine, emit, setup } from "xstate";
import { type ActorHandle, address, createRuntime, defineActor, memory, type Runtime } from "./index.ts";

const orderMachine = setup({
  types: {} as {
    context: { total: number };
    input: { total: number };
    events: { type: "PAY"; amount: number } | { type: "SHIP" };
    emitted: { type: "paid"; amount: number };
    output: { paid: number };
    tags: "unpaid" | "paid";
  },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ total: input.total }),
  initial: "open",
  output: ({ context }) => ({ paid: context.total }),
  states: {
    open: {
      tags: "unpaid",
      on: {
        PAY: {
          target: "paid",
          actions: [
            assign({ total: ({ event }) => event.amount }),
            emit(({ event }) => ({ type: "paid", amount: event.amount }) as const),
          ],
        },
      },
    },
    paid: { tags: "paid", on: { SHIP: "shipped" } },
    shipped: { type: "final" },
  },
});

const counterMachine = setup({
  types: {} as { context: { count: number }; events: { type: "COUNT" } },
}).createMachine({
  context: { count: 0 },
  on: { COUNT: { actions: assign({ count: ({ context }) => context.count + 1 }) } },
});

/** Its tags are in its states alone: the types of `setup` do not look there. */
const lampMachine = setup({}).createMachine({ initial: "off", states: { off: { tags: "dark" } } });

/** As `createMachine` makes it: of its type nobody can tell what states it has. */
const looseMachine = createMachine({ initial: "off", states: { off: { tags: "dark" } } });

type Actors = {
  order: ReturnType<typeof orderDefinition>;
  counter: typeof counterMachine;
  lamp: typeof lampMachine;
  loose: typeof looseMachine;
};
const orderDefinition = () => defineActor(orderMachine, { version: 1 });
let runtime: Runtime<Actors>;
beforeAll(async () => {
  runtime = await createRuntime({
    actors: { order: orderDefinition(), counter: counterMachine, lamp: lampMachine, loose: looseMachine },
    store: memory(),
  });
});
afterAll(() => runtime.stop());

test("what the types allow is what the actor does", async () => {
  const order = runtime.actor("order", "o-1");
  const emitted: number[] = [];
  order.on("paid", ({ amount }) => emitted.push(amount));
  await order.create({ total: 90 });
  await order.send({ type: "PAY", amount: 80 });
  const paid = await order.waitFor("paid");
  expect(paid.matches("paid")).toBe(true);
  await order.send({ type: "SHIP" }, { key: "k-1" });
  await order.waitFor((state) => state.matches("shipped"));
  const { output } = await order.waitFor("done");
  expect(output?.paid).toBe(80);
  expect(emitted).toEqual([80]);
});

test("tags that no type declares are asked of the state, or waited for where the type says nothing of states", async () => {
  const lamp = runtime.actor("lamp", "l-1");
  await lamp.create();
  expect((await lamp.waitFor((state) => state.hasTag("dark"))).value).toBe("off");
  const loose = runtime.actor("loose", "x-1");
  await loose.create();
  expect((await loose.waitFor("dark")).value).toBe("off");
});

test("what the types refuse is refused too when it comes untyped", async () => {
  const order = runtime.actor("order", "o-2");
  await order.create({ total: 90 });
  await expect(order.send({ type: "PAID" } as never)).rejects.toMatchObject({ code: "UnknownEvent" });
  expect(() => runtime.actor("invoice" as never, "i-1")).toThrow(/no actor type/);
  for (const [type, tag] of [
    ["order", "payd"],
    ["lamp", "drak"],
    ["counter", "any"],
  ] as const)
    await expect(runtime.list(type, { tag: tag as never })).rejects.toMatchObject({
      code: "InvalidRequest",
      message: expect.stringContaining(`list: ${type} has no tag "${tag}"`),
    });
  expect((await runtime.list("lamp", { tag: "dark" })).length).toBeLessThanOrEqual(1);
});

test("the mistakes below do not compile", () => expect(mistakes).toBeTypeOf("function"));

async function mistakes(): Promise<void> {
  const order = runtime.actor("order", "o-1");
  const counter = runtime.actor("counter", "c-1");

  // @ts-expect-error: no such actor type
  runtime.actor("invoice", "i-1");
  // @ts-expect-error: no such actor type
  await runtime.list("invoice");
  await runtime.list("order", { tag: "paid" });
  // @ts-expect-error: no such tag
  await runtime.list("order", { tag: "payd" });
  // Tags that no type declares are asked of the machine.
  await runtime.list("lamp", { tag: "dark" });
  await runtime.list("loose", { tag: "dark" });

  // @ts-expect-error: the input is missing
  await order.create();
  // @ts-expect-error: the input has another shape
  await order.create({ amount: 90 });
  // @ts-expect-error: the input is of another type
  await order.create({ total: "90" });
  await order.create({ total: 90 }, { key: "k-1" });
  await counter.create();

  // @ts-expect-error: no such event
  await order.send({ type: "PAID" });
  // @ts-expect-error: an event of another actor
  await order.send({ type: "COUNT" });
  // @ts-expect-error: the payload is missing
  await order.send({ type: "PAY" });
  // @ts-expect-error: the payload is of another type
  await order.send({ type: "PAY", amount: "90" });
  // @ts-expect-error: the payload has one field too many
  await order.send({ type: "SHIP", amount: 90 });
  // @ts-expect-error: there is no such option
  await order.send({ type: "SHIP" }, { idempotencyKey: "k-1" });
  await counter.send({ type: "COUNT" });

  // @ts-expect-error: no such tag
  await order.waitFor("payed");
  // @ts-expect-error: this machine has no tags
  await counter.waitFor("paid");
  // @ts-expect-error: the types of this machine declare no tags
  await runtime.actor("lamp", "l-1").waitFor("dark");
  await counter.waitFor("done");
  // @ts-expect-error: no such state
  await order.waitFor((state) => state.matches("delivered"));
  // @ts-expect-error: no such tag
  await order.waitFor((state) => state.hasTag("payed"));
  // @ts-expect-error: no such event
  await order.waitFor((state) => state.can({ type: "PAID" }));
  // @ts-expect-error: nothing of that name in the context
  await order.waitFor((state) => state.context.amount > 0);
  await order.waitFor((state) => state.context.total > 0 && state.hasTag("paid"));

  // @ts-expect-error: no such emitted event
  order.on("shipped", () => {});
  // @ts-expect-error: nothing of that name in the emitted event
  order.on("paid", ({ total }) => total);
  // @ts-expect-error: an order is not a counter
  const wrong: ActorHandle<typeof counterMachine> = order;
  const right: ActorHandle<typeof orderMachine> = order;

  // @ts-expect-error: a version is a number
  defineActor(orderMachine, { version: "1" });
  // @ts-expect-error: not a machine
  defineActor({ id: "order" });
  // @ts-expect-error: there must be a store
  await createRuntime({ actors: { order: orderMachine } });
  // @ts-expect-error: an address has two parts
  address("order");
  void [wrong, right];
}
