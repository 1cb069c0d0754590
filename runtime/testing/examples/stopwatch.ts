/** A stopwatch that counts tenths of a second by a timer it starts again and again, with laps and an alarm. */
import { assign, setup } from "xstate";
import type { Example } from "./example.ts";

const tenthMs = 100;
const alarmTenths = 25;

export const stopwatch: Example = {
  name: "a stopwatch",
  machine: (tell) =>
    setup({
      types: {} as {
        context: { tenths: number; laps: number[] };
        events: { type: "START" } | { type: "STOP" } | { type: "LAP" } | { type: "RESET" };
      },
      delays: { tenth: tenthMs },
      actions: {
        count: assign({ tenths: ({ context }) => context.tenths + 1 }),
        lap: assign({ laps: ({ context }) => [...context.laps, context.tenths] }),
        ring: ({ context }) => tell(`alarm at ${context.tenths}`),
      },
    }).createMachine({
      id: "stopwatch",
      context: { tenths: 0, laps: [] },
      initial: "stopped",
      states: {
        stopped: {
          on: { START: "running", RESET: { actions: assign({ tenths: 0, laps: [] }) } },
        },
        running: {
          after: { tenth: { target: "running", reenter: true, actions: "count" } },
          always: { guard: ({ context }) => context.tenths >= alarmTenths, target: "ringing" },
          on: { STOP: "stopped", LAP: { actions: "lap" } },
        },
        ringing: { entry: "ring", on: { RESET: { target: "stopped", actions: assign({ tenths: 0 }) } } },
      },
    }),
  script: [
    { send: { type: "START" } },
    { advanceMs: 950 },
    { send: { type: "LAP" } },
    { advanceMs: 50 },
    { send: { type: "LAP" } },
    { send: { type: "STOP" } },
    { advanceMs: 10_000 },
    { send: { type: "START" } },
    { advanceMs: 99 },
    { send: { type: "STOP" } },
    { send: { type: "START" } },
    { advanceMs: 1_000 },
    { send: { type: "LAP" } },
    { advanceMs: 1_000 },
    { advanceMs: 1_000 },
    { send: { type: "RESET" } },
    { send: { type: "START" } },
    { advanceMs: 300 },
  ],
  endsAs: { status: "active", value: "running", told: ["alarm at 25"] },
};
