/**
 * Someone who hands in programs, and the points they have earned. It believes every message: that each arrives once
 * is the runtime's promise, and a second time would show here.
 */
import { assign, setup } from "xstate";

export type AuthorInput = { readonly name: string };

export type AuthorContext = {
  readonly name: string;
  readonly points: number;
  readonly accepted: number;
  /** The latest accepted submissions, newest last, at most `recentKept`. */
  readonly recent: readonly string[];
};

export type AuthorEvent = { readonly type: "ACCEPTED"; readonly submission: string; readonly points: number };

/** Keeps the document small however long its author goes on. */
export const recentKept = 32;

export const authorMachine = setup({
  types: { input: {} as AuthorInput, context: {} as AuthorContext, events: {} as AuthorEvent },
}).createMachine({
  id: "author",
  context: ({ input }) => ({ name: input.name, points: 0, accepted: 0, recent: [] }),
  initial: "competing",
  states: {
    competing: {
      on: {
        ACCEPTED: {
          actions: assign({
            points: ({ context, event }) => context.points + event.points,
            accepted: ({ context }) => context.accepted + 1,
            recent: ({ context, event }) => [...context.recent, event.submission].slice(-recentKept),
          }),
        },
      },
    },
  },
});
