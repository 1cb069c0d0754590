/**
 * The actors of the soak. An account counts what each of its callers sends, in order, tells the recorder of each (an
 * effect), and posts every tenth to its ledger (a message). What it keeps of a caller is one number, so that a life of any
 * length fits into one document.
 */
import { assign, sendTo, setup } from "xstate";
import { address, type EffectPolicy, effectOf } from "../../runtime/index.ts";

export type Effect = {
  readonly actor: string;
  readonly key: string;
  readonly token: readonly [number, number];
  readonly client: string;
  readonly n: number;
};

/** Resolves when the recorder has it; rejects with a refusal that is not to be retried, or with an outage that is. */
export type Recording = (effect: Effect) => Promise<void>;

type Applied = Readonly<Record<string, number>>;

export type AccountContext = { readonly applied: Applied; readonly count: number; readonly disorder: number };
export type LedgerContext = { readonly last: Applied; readonly count: number; readonly disorder: number };

/** The next number of this client counts; any other is disorder, and counts too. */
function next<TContext extends { count: number; disorder: number }>(
  context: TContext,
  numbers: Applied,
  name: string,
  n: number,
  step: number,
) {
  const isNext = n === (numbers[name] ?? 0) + step;
  return {
    numbers: { ...numbers, [name]: n },
    count: context.count + 1,
    disorder: context.disorder + (isNext ? 0 : 1),
  };
}

/** How many events there are to one message. */
export const postEvery = 10;

export function accountMachine(record: Recording) {
  return setup({
    types: {
      context: {} as AccountContext & { id: string },
      input: {} as { id: string },
      events: {} as { type: "ADD"; client: string; n: number },
    },
    guards: { posts: ({ event }) => event.n % postEvery === 0 },
    actions: {
      count: assign(({ context, event }) => {
        const { numbers, count, disorder } = next(context, context.applied, event.client, event.n, 1);
        return { applied: numbers, count, disorder };
      }),
      record: async (args) => {
        const { event, context } = args;
        const { key, token } = effectOf(args);
        await record({ actor: context.id, key, token, client: event.client, n: event.n });
      },
      post: sendTo(
        ({ context }) => address("ledger", `l${Number(context.id.slice(1)) % 5}`),
        ({ context, event }) => ({ type: "POSTED", from: `${context.id}/${event.client}`, n: event.n }),
      ),
    },
  }).createMachine({
    context: ({ input }) => ({ id: input.id, applied: {}, count: 0, disorder: 0 }),
    initial: "open",
    states: {
      open: {
        on: {
          ADD: [
            { guard: "posts", actions: ["count", { type: "record" }, { type: "post" }] },
            { actions: ["count", { type: "record" }] },
          ],
        },
      },
    },
  });
}

export const ledgerMachine = setup({
  types: {
    context: {} as LedgerContext,
    events: {} as { type: "POSTED"; from: string; n: number },
  },
}).createMachine({
  context: { last: {}, count: 0, disorder: 0 },
  initial: "open",
  states: {
    open: {
      on: {
        POSTED: {
          actions: assign(({ context, event }) => {
            const { numbers, count, disorder } = next(context, context.last, event.from, event.n, postEvery);
            return { last: numbers, count, disorder };
          }),
        },
      },
    },
  },
});

/** An outage of the recorder, or of the way to it, is waited out. */
export const recordPolicy: EffectPolicy = { timeoutMs: 5_000, retry: { attempts: 100, initialMs: 50, maxMs: 1_000 } };
