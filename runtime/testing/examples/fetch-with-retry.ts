/** A page fetched by a promise that fails twice; a growing pause before each retry; giving up when asked to. */
import { assign, fromPromise, setup } from "xstate";
import type { Example } from "./example.ts";

const attemptsMax = 4;

export const fetchWithRetry: Example = {
  name: "a fetch with retries",
  machine: (tell) =>
    setup({
      types: {} as {
        context: { url: string; attempt: number; reasons: string[]; page: { title: string } | null };
        events: { type: "FETCH" } | { type: "CANCEL" };
        input: { url: string };
        output: { title: string; attempts: number };
      },
      actors: {
        // Which attempt it is decides the answer, so running an attempt again after a crash changes nothing.
        get: fromPromise<{ title: string }, { url: string; attempt: number }>(async ({ input }) => {
          tell(`GET ${input.url} #${input.attempt}`);
          if (input.attempt < 3) throw new Error(`503 on attempt ${input.attempt}`);
          return { title: `page of ${input.url}` };
        }),
      },
      delays: { pause: ({ context }) => 100 * 2 ** context.attempt },
      guards: { mayRetry: ({ context }) => context.attempt < attemptsMax },
    }).createMachine({
      id: "fetch",
      context: ({ input }) => ({ url: input.url, attempt: 0, reasons: [], page: null }),
      initial: "idle",
      output: ({ context }) => ({ title: context.page?.title ?? "nothing", attempts: context.attempt }),
      states: {
        idle: { on: { FETCH: "loading" } },
        loading: {
          entry: assign({ attempt: ({ context }) => context.attempt + 1 }),
          invoke: {
            src: "get",
            input: ({ context }) => ({ url: context.url, attempt: context.attempt }),
            onDone: { target: "success", actions: assign({ page: ({ event }) => event.output }) },
            onError: {
              target: "failed",
              actions: assign({
                reasons: ({ context, event }) => [
                  ...context.reasons,
                  event.error instanceof Error ? event.error.message : "not an error",
                ],
              }),
            },
          },
          on: { CANCEL: { target: "idle", actions: assign({ attempt: 0, reasons: [] }) } },
        },
        failed: {
          always: { guard: ({ context }) => context.attempt >= attemptsMax, target: "gaveUp" },
          after: { pause: { guard: "mayRetry", target: "loading" } },
          on: { CANCEL: { target: "idle", actions: assign({ attempt: 0, reasons: [] }) } },
        },
        gaveUp: {},
        success: { type: "final" },
      },
    }),
  input: { url: "/news" },
  script: [
    { send: { type: "FETCH" } },
    { send: { type: "CANCEL" } },
    { settle: true },
    { send: { type: "FETCH" } },
    { settle: true },
    { advanceMs: 199 },
    { advanceMs: 1 },
    { settle: true },
    { send: { type: "FETCH" } },
    { advanceMs: 400 },
    { settle: true },
  ],
  endsAs: {
    status: "done",
    value: "success",
    output: { title: "page of /news", attempts: 3 },
    told: ["GET /news #1", "GET /news #2", "GET /news #3"],
  },
};
