/** A crossing with lamps on timers, a walk request kept until the next red, and a blinking mode at night. */
import { assign, setup } from "xstate";
import type { Example } from "./example.ts";

const redMs = 3_000;

export const trafficLight: Example = {
  name: "a traffic light",
  machine: (tell) =>
    setup({
      types: {} as {
        context: { cycles: number; walkers: number };
        events: { type: "REQUEST_WALK" } | { type: "NIGHT" } | { type: "MORNING" };
      },
      delays: { red: redMs, green: ({ context }) => (context.walkers > 0 ? 1_000 : 4_000), amber: 500 },
      guards: { someoneWaits: ({ context }) => context.walkers > 0 },
      actions: {
        lamp: (_, params: { colour: string }) => tell(`lamp ${params.colour}`),
        letWalk: ({ context }) => tell(`walk ${context.walkers}`),
      },
    }).createMachine({
      id: "crossing",
      context: { cycles: 0, walkers: 0 },
      initial: "day",
      states: {
        day: {
          initial: "red",
          on: {
            NIGHT: "night",
            REQUEST_WALK: { actions: assign({ walkers: ({ context }) => context.walkers + 1 }) },
          },
          states: {
            red: {
              entry: { type: "lamp", params: { colour: "red" } },
              initial: "choosing",
              after: { red: "green" },
              states: {
                choosing: { always: [{ guard: "someoneWaits", target: "walking" }, { target: "standing" }] },
                walking: { entry: ["letWalk", assign({ walkers: 0 })] },
                standing: {},
              },
            },
            green: { entry: { type: "lamp", params: { colour: "green" } }, after: { green: "amber" } },
            amber: {
              entry: { type: "lamp", params: { colour: "amber" } },
              exit: assign({ cycles: ({ context }) => context.cycles + 1 }),
              after: { amber: "red" },
            },
          },
        },
        night: {
          initial: "dark",
          on: { MORNING: "day" },
          states: {
            dark: { after: { 700: "lit" } },
            lit: { entry: { type: "lamp", params: { colour: "blinking" } }, after: { 700: "dark" } },
          },
        },
      },
    }),
  script: [
    { advanceMs: redMs - 1 },
    { advanceMs: 1 },
    { advanceMs: 4_000 },
    { send: { type: "REQUEST_WALK" } },
    { send: { type: "REQUEST_WALK" } },
    { advanceMs: 500 },
    { advanceMs: redMs },
    { send: { type: "NIGHT" } },
    { advanceMs: 4_000 },
    { advanceMs: 700 },
    { send: { type: "MORNING" } },
    { advanceMs: 10_000 },
  ],
  endsAs: {
    status: "active",
    value: { day: { red: "standing" } },
    told: ["lamp amber", "lamp blinking", "lamp green", "lamp red", "walk 2"],
  },
};
