/** The machine that the figures are of: an order of six states with a guard and assigns, a context of about 130 bytes. */
import { assign, fromPromise, setup } from "xstate";
import type { ActorHandle } from "../runtime/index.ts";

type Item = { readonly sku: string; readonly count: number };

export const orderMachine = setup({
  types: {
    context: {} as { id: string; items: Item[]; total: number; note: string },
    input: {} as { id: string },
    events: {} as
      | { type: "ADD"; sku: string; price: number }
      | { type: "PAY" }
      | { type: "PACK" }
      | { type: "SHIP" }
      | { type: "RETURN" }
      | { type: "REOPEN" },
  },
  guards: { worthIt: ({ context }) => context.total > 0 },
  actions: {
    add: assign(({ context, event }) =>
      event.type === "ADD"
        ? {
            items: [...context.items.slice(-4), { sku: event.sku, count: 1 }],
            total: context.total + event.price,
          }
        : {},
    ),
  },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ id: input.id, items: [], total: 0, note: "" }),
  initial: "open",
  states: {
    open: { on: { ADD: { actions: "add" }, PAY: { guard: "worthIt", target: "paid" } } },
    paid: { on: { PACK: "packed" } },
    packed: { on: { SHIP: "shipped", REOPEN: "open" } },
    shipped: { on: { RETURN: "returned" } },
    returned: { on: { REOPEN: "open" } },
    closed: {},
  },
});

/** Event number `index` of an endless, legal life of one order. */
export function orderEvent(
  index: number,
): { type: "ADD"; sku: string; price: number } | { type: "PAY" | "PACK" | "REOPEN" } {
  switch (index % 4) {
    case 0:
      return { type: "ADD", sku: `sku-${index % 97}`, price: 5 };
    case 1:
      return { type: "PAY" };
    case 2:
      return { type: "PACK" };
    default:
      return { type: "REOPEN" };
  }
}

/** The same order, with one effect at each event: an action whose outcome is committed after the event. */
export const orderWithEffects = setup({
  types: { context: {} as { count: number }, events: {} as { type: "NEXT" } },
  actions: {
    tell: async () => {
      told.count++;
    },
  },
}).createMachine({
  id: "order",
  context: { count: 0 },
  initial: "open",
  states: {
    open: { on: { NEXT: { actions: [assign({ count: ({ context }) => context.count + 1 }), { type: "tell" }] } } },
  },
});

/** What the effects of this process have done. */
export const told = { count: 0 };

/** Waits at once for an effect that takes as long as its host makes it. */
export function heldSleeper(hold: () => Promise<void>) {
  return setup({ actors: { hold: fromPromise(hold) } }).createMachine({
    initial: "held",
    states: { held: { invoke: { src: "hold", onDone: "free" } }, free: {} },
  });
}

/** Sends one of the orders its next event. `counts`: how many each has got. */
export function nextEventTo(
  orders: readonly ActorHandle<typeof orderMachine>[],
  counts: number[] = [],
): (caller: number) => Promise<void> {
  return async (caller) => {
    const index = counts[caller] ?? 0;
    counts[caller] = index + 1;
    await (orders[caller] as ActorHandle<typeof orderMachine>).send(orderEvent(index));
  };
}
