/** A music player whose track, volume and controls are regions of their own; controls fade out by themselves. */
import { assign, cancel, emit, raise, setup } from "xstate";
import type { Example } from "./example.ts";

export const parallelPlayer: Example = {
  name: "a player with parallel regions",
  machine: (tell) =>
    setup({
      types: {} as {
        context: { track: number; secondsPlayed: number; volume: number };
        events:
          | { type: "PLAY" }
          | { type: "PAUSE" }
          | { type: "SKIP" }
          | { type: "MUTE" }
          | { type: "LOUDER" }
          | { type: "TOUCH" }
          | { type: "FADE" }
          | { type: "UNPLUG" };
        emitted: { type: "trackStarted"; track: number };
        tags: "audible";
      },
      actions: {
        announce: emit(({ context }) => ({ type: "trackStarted" as const, track: context.track })),
        sound: ({ context }) => tell(`track ${context.track} at volume ${context.volume}`),
      },
    }).createMachine({
      id: "player",
      type: "parallel",
      context: { track: 1, secondsPlayed: 0, volume: 5 },
      states: {
        track: {
          initial: "paused",
          states: {
            paused: { on: { PLAY: { target: "playing", actions: "sound" } } },
            playing: {
              tags: "audible",
              entry: "announce",
              initial: "second",
              on: {
                PAUSE: "paused",
                SKIP: {
                  target: "playing",
                  reenter: true,
                  actions: assign({ track: ({ context }) => context.track + 1, secondsPlayed: 0 }),
                },
              },
              states: {
                second: {
                  after: {
                    1000: {
                      target: "second",
                      reenter: true,
                      actions: assign({ secondsPlayed: ({ context }) => context.secondsPlayed + 1 }),
                    },
                  },
                },
              },
            },
            off: { type: "final" },
          },
          on: { UNPLUG: ".off" },
        },
        volume: {
          initial: "normal",
          states: {
            normal: {
              on: { MUTE: "muted", LOUDER: { actions: assign({ volume: ({ context }) => context.volume + 1 }) } },
            },
            muted: { on: { MUTE: "last" } },
            last: { type: "history", target: "normal" },
            off: { type: "final" },
          },
          on: { UNPLUG: ".off" },
        },
        controls: {
          initial: "shown",
          states: {
            shown: {
              entry: raise({ type: "FADE" }, { delay: 2_500, id: "fade" }),
              exit: cancel("fade"),
              on: { FADE: "hidden", TOUCH: { target: "shown", reenter: true } },
            },
            hidden: { on: { TOUCH: "shown" } },
            off: { type: "final" },
          },
          on: { UNPLUG: ".off" },
        },
      },
    }),
  script: [
    { send: { type: "PLAY" } },
    { advanceMs: 2_000 },
    { send: { type: "TOUCH" } },
    { advanceMs: 1_000 },
    { send: { type: "MUTE" } },
    { send: { type: "LOUDER" } },
    { advanceMs: 1_500 },
    { send: { type: "SKIP" } },
    { send: { type: "MUTE" } },
    { send: { type: "LOUDER" } },
    { advanceMs: 999 },
    { send: { type: "PAUSE" } },
    { advanceMs: 5_000 },
    { send: { type: "PLAY" } },
    { advanceMs: 1_000 },
    { send: { type: "UNPLUG" } },
    { advanceMs: 5_000 },
  ],
  endsAs: {
    status: "done",
    value: { track: "off", volume: "off", controls: "off" },
    told: ["emitted trackStarted 1", "emitted trackStarted 2", "track 1 at volume 5", "track 2 at volume 6"],
  },
};
