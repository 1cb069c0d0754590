/**
 * A card game: the table (the root) deals cards to two players, all of them its child actors. Players hold references
 * to cards that are their siblings, trade them with each other, and talk to a card that has come to them.
 */
import { type AnyActorRef, assign, enqueueActions, sendParent, setup, stopChild } from "xstate";
import type { Example } from "./example.ts";

const card = setup({
  types: {} as {
    context: { face: string; owners: string[] };
    events: { type: "OWNED"; by: string } | { type: "PLAYED" };
    input: { face: string };
    output: string;
  },
}).createMachine({
  id: "card",
  context: ({ input }) => ({ face: input.face, owners: [] }),
  initial: "held",
  output: ({ context }) => `${context.face} of ${context.owners.join(" and ")}`,
  states: {
    held: {
      on: {
        OWNED: { actions: assign({ owners: ({ context, event }) => [...context.owners, event.by] }) },
        PLAYED: "played",
      },
    },
    played: { type: "final" },
  },
});

const player = setup({
  types: {} as {
    context: { name: string; hand: AnyActorRef[] };
    events: { type: "TAKE"; card: AnyActorRef } | { type: "GIVE"; to: AnyActorRef } | { type: "PLAY" };
    input: { name: string };
  },
}).createMachine({
  id: "player",
  context: ({ input }) => ({ name: input.name, hand: [] }),
  on: {
    TAKE: {
      actions: enqueueActions(({ context, event, enqueue }) => {
        enqueue.assign({ hand: [...context.hand, event.card] });
        enqueue.sendTo(event.card, { type: "OWNED", by: context.name });
      }),
    },
    GIVE: {
      guard: ({ context }) => context.hand.length > 0,
      actions: enqueueActions(({ context, event, enqueue }) => {
        const [first, ...rest] = context.hand;
        enqueue.assign({ hand: rest });
        enqueue.sendTo(event.to, { type: "TAKE", card: first });
        enqueue(sendParent({ type: "TRADED", by: context.name }));
      }),
    },
    PLAY: {
      guard: ({ context }) => context.hand.length > 0,
      actions: enqueueActions(({ context, enqueue }) => {
        const [first, ...rest] = context.hand;
        enqueue.assign({ hand: rest });
        if (first !== undefined) enqueue.sendTo(first, { type: "PLAYED" });
      }),
    },
  },
});

export const tradedChildren: Example = {
  name: "a parent whose child actors are traded",
  machine: (tell) =>
    setup({
      types: {} as {
        context: {
          players: { ada: AnyActorRef; bob: AnyActorRef };
          dealt: AnyActorRef | null;
          played: string[];
          trades: number;
        };
        events:
          | { type: "DEAL"; face: string; to: "ada" | "bob" }
          | { type: "TRADE"; from: "ada" | "bob" }
          | { type: "TURN"; of: "ada" | "bob" }
          | { type: "TRADED"; by: string }
          | { type: "xstate.done.actor.*"; output: string }
          | { type: "LEAVE"; who: "ada" | "bob" };
        output: string[];
      },
      actors: { card, player },
      actions: { cheer: (_, params: { for: string }) => tell(`played ${params.for}`) },
    }).createMachine({
      id: "table",
      context: ({ spawn }) => ({
        players: {
          ada: spawn("player", { id: "ada", input: { name: "Ada" } }),
          bob: spawn("player", { id: "bob", input: { name: "Bob" } }),
        },
        dealt: null,
        played: [],
        trades: 0,
      }),
      initial: "playing",
      output: ({ context }) => context.played,
      states: {
        playing: {
          on: {
            // The card has no id: the name is given by whoever runs the machine, and must never be given again.
            DEAL: {
              actions: enqueueActions(({ event, enqueue }) => {
                enqueue.assign({ dealt: ({ spawn }) => spawn("card", { input: { face: event.face } }) });
                enqueue.sendTo(
                  ({ context }) => context.players[event.to],
                  ({ context }) => ({ type: "TAKE", card: context.dealt }),
                );
              }),
            },
            TRADE: {
              actions: enqueueActions(({ context, event, enqueue }) => {
                const { ada, bob } = context.players;
                const [from, to] = event.from === "ada" ? [ada, bob] : [bob, ada];
                enqueue.sendTo(from, { type: "GIVE", to });
              }),
            },
            TURN: {
              actions: enqueueActions(({ context, event, enqueue }) => {
                enqueue.sendTo(context.players[event.of], { type: "PLAY" });
              }),
            },
            TRADED: { actions: assign({ trades: ({ context }) => context.trades + 1 }) },
            "xstate.done.actor.*": {
              actions: [
                assign({ played: ({ context, event }) => [...context.played, event.output] }),
                { type: "cheer", params: ({ event }) => ({ for: event.output }) },
              ],
            },
            LEAVE: { actions: stopChild(({ event }) => event.who), target: "checking" },
          },
        },
        checking: { always: [{ guard: ({ context }) => context.played.length >= 3, target: "over" }, "playing"] },
        over: { type: "final" },
      },
    }),
  script: [
    { send: { type: "DEAL", face: "seven", to: "ada" } },
    { send: { type: "DEAL", face: "queen", to: "ada" } },
    { send: { type: "DEAL", face: "ace", to: "bob" } },
    { send: { type: "TRADE", from: "ada" } },
    { send: { type: "TRADE", from: "bob" } },
    { send: { type: "TURN", of: "ada" } },
    { send: { type: "DEAL", face: "three", to: "bob" } },
    { send: { type: "TRADE", from: "ada" } },
    { send: { type: "TURN", of: "bob" } },
    { send: { type: "LEAVE", who: "ada" } },
    { send: { type: "TURN", of: "bob" } },
    { send: { type: "TURN", of: "bob" } },
    { send: { type: "LEAVE", who: "bob" } },
  ],
  endsAs: {
    status: "done",
    value: "over",
    output: ["queen of Ada", "seven of Ada and Bob", "three of Bob", "ace of Bob and Ada and Bob"],
    told: [
      "played ace of Bob and Ada and Bob",
      "played queen of Ada",
      "played seven of Ada and Bob",
      "played three of Bob",
    ],
  },
};
