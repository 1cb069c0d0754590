/** A booking form in three steps, with steps back, a help page that returns by history, and a check by a promise. */
import { assign, enqueueActions, fromPromise, setup } from "xstate";
import type { Example } from "./example.ts";

type Booking = { name?: string; day?: string; guests?: number };

export const multiStepForm: Example = {
  name: "a form of several steps",
  machine: (tell) =>
    setup({
      types: {} as {
        context: { booking: Booking; complaints: string[] };
        events:
          | { type: "FILL"; part: Booking }
          | { type: "NEXT" }
          | { type: "BACK" }
          | { type: "HELP" }
          | { type: "CLOSE" };
        output: { number: string };
      },
      actors: {
        book: fromPromise<{ number: string }, Booking>(async ({ input }) => {
          if ((input.guests ?? 0) > 8) throw new Error("too many guests");
          return { number: `${input.day}/${input.guests}` };
        }),
      },
      actions: { mail: (_, params: { to: string }) => tell(`mail to ${params.to}`) },
      guards: {
        named: ({ context }) => (context.booking.name ?? "") !== "",
        dated: ({ context }) => context.booking.day !== undefined && context.booking.guests !== undefined,
      },
    }).createMachine({
      id: "form",
      context: { booking: {}, complaints: [] },
      initial: "filling",
      output: ({ event }) => (event as unknown as { output: { number: string } }).output,
      states: {
        filling: {
          initial: "who",
          on: {
            HELP: "help",
            FILL: {
              actions: assign({ booking: ({ context, event }) => ({ ...context.booking, ...event.part }) }),
            },
          },
          states: {
            who: {
              on: {
                NEXT: [
                  { guard: "named", target: "when" },
                  {
                    actions: enqueueActions(({ context, enqueue }) => {
                      enqueue.assign({ complaints: [...context.complaints, "who are you?"] });
                    }),
                  },
                ],
              },
            },
            when: { on: { BACK: "who", NEXT: { guard: "dated", target: "review" } } },
            review: { on: { BACK: "when", NEXT: "#form.sending" } },
            back: { type: "history", history: "shallow" },
          },
        },
        help: { on: { CLOSE: "filling.back" } },
        sending: {
          invoke: {
            src: "book",
            input: ({ context }) => context.booking,
            onDone: {
              target: "booked",
              actions: { type: "mail", params: ({ context }) => ({ to: context.booking.name ?? "nobody" }) },
            },
            onError: {
              target: "filling.when",
              actions: assign({
                complaints: ({ context, event }) => [
                  ...context.complaints,
                  event.error instanceof Error ? event.error.message : "not an error",
                ],
              }),
            },
          },
        },
        booked: { type: "final", output: ({ event }) => (event as unknown as { output: unknown }).output },
      },
    }),
  script: [
    { send: { type: "NEXT" } },
    { send: { type: "FILL", part: { name: "Ada" } } },
    { send: { type: "NEXT" } },
    { send: { type: "HELP" } },
    { send: { type: "NEXT" } },
    { send: { type: "CLOSE" } },
    { send: { type: "FILL", part: { day: "2026-11-20", guests: 12 } } },
    { send: { type: "NEXT" } },
    { send: { type: "NEXT" } },
    { settle: true },
    { send: { type: "FILL", part: { guests: 4 } } },
    { send: { type: "NEXT" } },
    { send: { type: "BACK" } },
    { send: { type: "NEXT" } },
    { send: { type: "NEXT" } },
    { settle: true },
  ],
  endsAs: { status: "done", value: "booked", output: { number: "2026-11-20/4" }, told: ["mail to Ada"] },
};
