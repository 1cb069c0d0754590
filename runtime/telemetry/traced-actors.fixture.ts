/** An order that charges, hands on to a shipment on whatever node has it, and hears back: a life over several nodes. */
import { fromPromise, sendTo, setup } from "xstate";
import { type ActorTypes, address } from "../index.ts";

/** `begun` is told of every effect before it goes on. */
export function tracedActors(begun: (effect: string) => Promise<void>) {
  const work = fromPromise(({ input }: { input: { readonly name: string } }) => begun(input.name));
  const order = setup({
    types: { events: {} as { type: "PAY" } | { type: "DELIVERED" } },
    actors: { charge: work, thank: work },
    delays: { packing: 50 },
  }).createMachine({
    initial: "waiting",
    states: {
      waiting: { on: { PAY: "paying" } },
      paying: { invoke: { src: "charge", input: { name: "charge" }, onDone: "packing" } },
      packing: { after: { packing: "shipping" } },
      shipping: {
        entry: sendTo(address("shipment", "s-1"), { type: "SHIP" }),
        on: { DELIVERED: "thanking" },
      },
      thanking: { invoke: { src: "thank", input: { name: "thank" }, onDone: "done" } },
      done: { type: "final" },
    },
  });
  const shipment = setup({
    types: { events: {} as { type: "SHIP" } },
    actors: { carry: work },
  }).createMachine({
    initial: "waiting",
    states: {
      waiting: { on: { SHIP: "carrying" } },
      carrying: { invoke: { src: "carry", input: { name: "carry" }, onDone: "done" } },
      done: { type: "final", entry: sendTo(address("order", "o-1"), { type: "DELIVERED" }) },
    },
  });
  return { order, shipment } satisfies ActorTypes;
}
