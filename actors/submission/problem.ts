/**
 * A problem of the contest and how it is answered. Like the author, it removes no repetitions itself, so that its
 * counts are a test of the runtime's exactly-once delivery.
 */
import { assign, setup } from "xstate";
import type { Verdict } from "./bundle/problem.ts";

export type ProblemInput = { readonly title: string };

export type ProblemContext = { readonly title: string; readonly accepted: number; readonly attempts: number };

export type ProblemEvent = { readonly type: "JUDGED"; readonly submission: string; readonly verdict: Verdict };

export const problemMachine = setup({
  types: { input: {} as ProblemInput, context: {} as ProblemContext, events: {} as ProblemEvent },
}).createMachine({
  id: "problem",
  context: ({ input }) => ({ title: input.title, accepted: 0, attempts: 0 }),
  initial: "open",
  states: {
    open: {
      on: {
        JUDGED: {
          actions: assign({
            accepted: ({ context, event }) => context.accepted + (event.verdict === "AC" ? 1 : 0),
            attempts: ({ context }) => context.attempts + 1,
          }),
        },
      },
    },
  },
});
