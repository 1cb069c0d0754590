/**
 * What users of XState asked of persistence in its issue tracker, each as a story that must hold in every mode.
 * A restart is the way such users write it: persist, through JSON, and create an actor from the snapshot. The mode that
 * crashes before each event and timer restarts in between as well, and there only the handle of the root survives.
 */
import { describe, expect, test, vi } from "vitest";
import {
  type Actor,
  type ActorOptions,
  type ActorRefFrom,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyStateMachine,
  assign,
  cancel,
  createMachine,
  enqueueActions,
  forwardTo,
  fromCallback,
  fromPromise,
  raise,
  SimulatedClock,
  type Snapshot,
  sendParent,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from "xstate";
import { NotStorableError } from "../machine/not-storable.ts";
import { everyMode } from "./every-mode.ts";
import { createActorWith } from "./index.ts";

for (const { mode, stores, modes } of everyMode)
  describe(mode, () => {
    const createActor = createActorWith(modes);

    /** Stops the actor and starts another from what it persisted, with nothing but JSON in between. */
    function restart<Logic extends AnyActorLogic>(
      actor: Actor<Logic>,
      logic: Logic,
      options: ActorOptions<Logic> = {},
    ): Actor<Logic> {
      const stored = persist(actor);
      actor.stop();
      return createActor<AnyActorLogic>(logic, { ...options, snapshot: stored }).start() as Actor<Logic>;
    }

    describe("beginnings", () => {
      // https://github.com/statelyai/xstate/issues/4774: first without the input, then with it, the child twice.
      test("an actor is initialized once, with the input that it was given", () => {
        const begun: string[] = [];
        const machine = tent(begun);
        let actor = createActor(machine, { input: { guests: 2 } });
        expect(actor.getSnapshot().context).toEqual({ beds: 2 });
        expect(begun).toEqual(["tent for 2", "lamp"]);
        actor.start();
        actor.send({ type: "LIGHT" });
        actor = restart(actor, machine, { input: { guests: 5 } });
        actor.send({ type: "LIGHT" });
        expect(actor.getSnapshot().context).toEqual({ beds: 2 });
        expect(begun).toEqual(["tent for 2", "lamp"]);
      });

      // The same: "Actor with system ID 'child' already exists."
      test("a child that is invoked with a system id at the beginning is the only one of that name", () => {
        const actor = createActor(tent([]), { input: { guests: 2 } });
        expect(Object.keys(actor.system.getAll())).toEqual(["lamp"]);
        actor.start();
        actor.send({ type: "LIGHT" });
        expect(actor.getSnapshot().status).toBe("active");
        expect(Object.keys(actor.system.getAll())).toEqual(["lamp"]);
        expect(actor.system.get("lamp").getSnapshot().value).toBe("lit");
      });
    });

    describe("children", () => {
      // https://github.com/statelyai/xstate/issues/5077: the second persist fails, once JSON is in between.
      test("a restored actor with spawned children can be persisted and restored again", () => {
        let list = createActor(shoppingList).start();
        list.send({ type: "ADD", what: "milk" });
        list = restart(list, shoppingList);
        list.send({ type: "ADD", what: "bread" });
        list = restart(list, shoppingList);
        list = restart(list, shoppingList);
        list.send({ type: "ADD", what: "salt" });
        expect(itemsOf(list)).toEqual(["milk: open", "bread: open", "salt: open"]);
      });

      // The same issue: ids were given by a counter of the process, so a restored child could be overwritten.
      test("each reference kept in the context still leads to its own child after a restart", () => {
        let list = createActor(shoppingList).start();
        for (const what of ["milk", "bread"]) list.send({ type: "ADD", what });
        list = restart(list, shoppingList);
        for (const what of ["salt", "tea"]) list.send({ type: "ADD", what });
        list.send({ type: "BUY", index: 1 });
        list = restart(list, shoppingList);
        list.send({ type: "BUY", index: 2 });
        expect(itemsOf(list)).toEqual(["milk: open", "bread: bought", "salt: bought", "tea: open"]);
        expect(list.getSnapshot().context.bought).toEqual(["bread", "salt"]);
        expect(new Set(list.getSnapshot().context.items.map(({ id }) => id)).size).toBe(4);
      });

      // https://github.com/statelyai/xstate/issues/5057, and a comment there: as many children as the context says.
      test("a number of children that depends on the context can be persisted when their logic has a name", () => {
        const team = setup({
          types: {} as { input: { size: number }; context: { members: AnyActorRef[] } },
          actors: { counter },
        }).createMachine({
          context: ({ input, spawn }) => ({
            members: Array.from({ length: input.size }, (_, index) => spawn("counter", { id: `member-${index}` })),
          }),
          on: {
            CHEER: {
              actions: enqueueActions(({ context, enqueue }) => {
                for (const member of context.members) enqueue.sendTo(member, { type: "COUNT" });
              }),
            },
          },
        });
        const actor = createActor(team, { input: { size: 3 } }).start();
        actor.send({ type: "CHEER" });
        const restarted = restart(actor, team, { input: { size: 5 } });
        restarted.send({ type: "CHEER" });
        expect(Object.keys(restarted.getSnapshot().children)).toEqual(["member-0", "member-1", "member-2"]);
        expect(restarted.getSnapshot().context.members.map(countOf)).toEqual([2, 2, 2]);
      });

      // The same issue: an invocation needs no name, because its place in the machine is one.
      test("a child invoked inline can be persisted and restored", () => {
        const machine = createMachine({
          initial: "counting",
          states: {
            counting: { invoke: { id: "inline", src: counter }, on: { COUNT: { actions: forwardTo("inline") } } },
          },
        });
        let actor = createActor(machine).start();
        actor.send({ type: "COUNT" });
        actor = restart(actor, machine);
        actor.send({ type: "COUNT" });
        expect(countOf(childOf(actor, "inline"))).toBe(2);
      });

      // The same issue: spawned inline it has none. What cannot be stored is refused before the commit, not at a later
      // save; the actor stays what it was. Without the strict codec it lives, as in XState, until it is persisted.
      test.each([
        ["by an assign", assign({ child: ({ spawn }) => spawn(counter, { id: "child" }) })],
        ["by an action", spawnChild(counter, { id: "child" })],
      ])("a child spawned inline %s is refused at once by a store, with the place named", (_, spawnInline) => {
        const machine = createMachine({
          context: { child: null as unknown, pings: 0 },
          on: {
            SPAWN: { actions: spawnInline as never },
            PING: { actions: assign({ pings: ({ context }) => (context.pings as number) + 1 }) },
          },
        });
        const actor = createActor(machine).start();
        actor.send({ type: "PING" });
        if (!stores) {
          actor.send({ type: "SPAWN" });
          expect(Object.keys(actor.getSnapshot().children)).toEqual(["child"]);
          expect(() => actor.getPersistedSnapshot()).toThrow(/inline|cannot be (stored|persisted)/i);
          return;
        }
        expect(() => actor.send({ type: "SPAWN" })).toThrow(NotStorableError);
        expect(() => actor.send({ type: "SPAWN" })).toThrow(/child/);
        expect(actor.getSnapshot()).toMatchObject({
          status: "active",
          context: { child: null, pings: 1 },
          children: {},
        });
        actor.send({ type: "PING" });
        expect(restart(actor, machine).getSnapshot().context.pings).toBe(2);
      });

      // https://github.com/statelyai/xstate/issues/4410: there the logic to spawn arrives in the event.
      test("logic that arrives in an event is refused at once by a store, and the actor goes on", () => {
        const machine = setup({
          types: {} as {
            context: { atoms: Record<string, AnyActorRef>; pings: number };
            events: { type: "PUT"; atom: typeof counter } | { type: "PING" };
          },
        }).createMachine({
          context: { atoms: {}, pings: 0 },
          on: {
            PUT: {
              actions: assign({
                atoms: ({ context, event, spawn }) => ({
                  ...context.atoms,
                  atom: spawn(event.atom as never, { id: "atom" } as never) as unknown as AnyActorRef,
                }),
              }),
            },
            PING: { actions: assign({ pings: ({ context }) => context.pings + 1 }) },
          },
        });
        const actor = createActor(machine).start();
        if (!stores) {
          actor.send({ type: "PUT", atom: counter });
          expect(Object.keys(actor.getSnapshot().context.atoms)).toEqual(["atom"]);
          return;
        }
        expect(() => actor.send({ type: "PUT", atom: counter })).toThrow(NotStorableError);
        actor.send({ type: "PING" });
        expect(actor.getSnapshot()).toMatchObject({ status: "active", context: { atoms: {}, pings: 1 }, children: {} });
      });

      // https://github.com/statelyai/xstate/issues/4873: `this.logic.transition is not a function` after a restart.
      test("a child is found by its system id after a restart, and takes events through it", () => {
        let directory = createActor(switchboard).start();
        directory.send({ type: "OPEN", line: "kitchen" });
        directory.send({ type: "OPEN", line: "garden" });
        directory.send({ type: "RING", line: "kitchen" });
        directory = restart(directory, switchboard);
        directory.send({ type: "RING", line: "kitchen" });
        directory.send({ type: "RING", line: "garden" });
        expect(countOf(directory.system.get("kitchen"))).toBe(2);
        expect(countOf(directory.system.get("garden"))).toBe(1);
      });

      // https://github.com/statelyai/xstate/issues/4453
      test("a system id is free again when its actor was stopped, also after a restart", () => {
        let directory = createActor(switchboard).start();
        directory.send({ type: "OPEN", line: "kitchen" });
        directory.send({ type: "RING", line: "kitchen" });
        directory = restart(directory, switchboard);
        directory.send({ type: "CLOSE", line: "kitchen" });
        expect(directory.system.get("kitchen")).toBeUndefined();
        directory.send({ type: "OPEN", line: "kitchen" });
        directory = restart(directory, switchboard);
        directory.send({ type: "RING", line: "kitchen" });
        expect(directory.getSnapshot().status).toBe("active");
        expect(countOf(directory.system.get("kitchen"))).toBe(1);
      });

      // https://github.com/statelyai/xstate/issues/4486: three machines deep, the promise at the bottom.
      test("a promise in a grandchild survives a restart and its result climbs to the root", async () => {
        const { attempts, journey } = journeyWithPendingBooking();
        let actor = createActor(journey).start();
        actor.send({ type: "POKE" });
        actor = restart(actor, journey);
        actor.send({ type: "POKE" });
        expect(actor.getSnapshot()).toMatchObject({ status: "active", value: "travelling", context: { pokes: 2 } });
        for (const { resolve } of attempts) resolve("seat 11");
        await resultsAreIn();
        expect(actor.getSnapshot()).toMatchObject({ status: "done", output: "leg with seat 11" });
      });
    });

    describe("invocations", () => {
      // https://github.com/statelyai/xstate/issues/1476
      test("an unfinished promise runs again after a restart with the input it had, a finished one does not", async () => {
        const runs: string[] = [];
        const machine = setup({
          types: {} as { context: { parcel: string; label: string } },
          actors: {
            print: fromPromise<string, string>(async ({ input }) => {
              runs.push(`print ${input}`);
              return `label of ${input}`;
            }),
            ship: fromPromise<string, string>(({ input }) => {
              runs.push(`ship ${input}`);
              return new Promise(() => {});
            }),
          },
        }).createMachine({
          context: { parcel: "p-1", label: "" },
          initial: "printing",
          states: {
            printing: {
              invoke: {
                src: "print",
                input: ({ context }) => context.parcel,
                onDone: { target: "shipping", actions: assign({ label: ({ event }) => event.output }) },
              },
            },
            shipping: { invoke: { src: "ship", input: ({ context }) => context.label } },
          },
        });
        const actor = createActor(machine).start();
        await resultsAreIn();
        const printed = runs.filter((run) => run.startsWith("print")).length;
        const restarted = restart(actor, machine);
        await resultsAreIn();
        expect(restarted.getSnapshot().value).toBe("shipping");
        expect(runs.filter((run) => run.startsWith("print"))).toHaveLength(printed);
        expect(runs.filter((run) => run === "ship label of p-1").length).toBeGreaterThanOrEqual(2);
      });

      // https://github.com/statelyai/xstate/pull/4307
      test("a callback starts again after a restart with its input, and can talk to its parent", () => {
        const machine = setup({
          types: {} as { context: { heard: string[] }; events: { type: "SAY" } | { type: "ECHO"; text: string } },
          actors: {
            echo: fromCallback<{ type: "SAY" }, { name: string }>(({ input, receive, sendBack }) => {
              receive(() => sendBack({ type: "ECHO", text: `here is ${input.name}` }));
            }),
          },
        }).createMachine({
          context: { heard: [] },
          invoke: { id: "echo", src: "echo", input: { name: "the callback" } },
          on: {
            SAY: { actions: forwardTo("echo") },
            ECHO: { actions: assign({ heard: ({ context, event }) => [...context.heard, event.text] }) },
          },
        });
        let actor = createActor(machine).start();
        actor.send({ type: "SAY" });
        actor = restart(actor, machine);
        actor.send({ type: "SAY" });
        expect(actor.getSnapshot().context.heard).toEqual(["here is the callback", "here is the callback"]);
      });
    });

    describe("history", () => {
      // https://github.com/statelyai/xstate/issues/5178: after JSON it forgot the children of the remembered state.
      test.each(["shallow", "deep"] as const)("%s history is remembered across a restart", (history) => {
        const machine = checkout(history);
        const kept = createActor(machine).start();
        let restarted = createActor(machine).start();
        for (const type of ["LOADED", "EDIT", "PICK", "LEAVE", "RETURN", "LEAVE", "RETURN"]) {
          kept.send({ type });
          restarted.send({ type });
          restarted = restart(restarted, machine);
          expect(restarted.getSnapshot().value).toEqual(kept.getSnapshot().value);
        }
        const inside = history === "deep" ? { editing: "picked" } : { editing: "choosing" };
        expect(restarted.getSnapshot().value).toEqual({ summary: inside });
      });
    });

    describe("delays", () => {
      // https://github.com/statelyai/xstate/issues/5331 and /1334: the timer is lost, the machine stuck for ever.
      test("a delayed transition fires at its own time after a restart, not later", () => {
        const clock = new SimulatedClock();
        let egg = createActor(eggTimer, { clock }).start();
        clock.increment(400);
        egg = restart(egg, eggTimer, { clock });
        clock.increment(599);
        expect(egg.getSnapshot().value).toBe("boiling");
        clock.increment(1);
        expect(egg.getSnapshot().value).toBe("ready");
      });

      // The same without a snapshot in anybody's hands: here the only restarts are the crashes before each event.
      test("a delayed transition fires at its own time, whatever happened to the process in between", () => {
        const clock = new SimulatedClock();
        const egg = createActor(eggTimer, { clock }).start();
        for (const waitMs of [400, 350, 249]) {
          clock.increment(waitMs);
          egg.send({ type: "LOOK" });
        }
        expect(egg.getSnapshot().value).toBe("boiling");
        clock.increment(1);
        expect(egg.getSnapshot().value).toBe("ready");
      });

      // The same: "and possibly trigger its resolution condition if it is past the expected time".
      test("a delayed transition that came due while nothing ran fires at the restart", () => {
        const clock = new SimulatedClock();
        const egg = createActor(eggTimer, { clock }).start();
        clock.increment(400);
        const stored = persist(egg);
        egg.stop();
        clock.increment(3_000);
        const restarted = createActor(eggTimer, { clock, snapshot: stored }).start();
        clock.increment(0);
        expect(restarted.getSnapshot().value).toBe("ready");
      });

      // https://github.com/statelyai/xstate/issues/1334: there the machine was reloaded many times.
      test("a delayed transition fires once, however often the actor was restarted before", () => {
        const clock = new SimulatedClock();
        let clockwork = createActor(ticker, { clock }).start();
        for (let restarts = 0; restarts < 10; restarts++) {
          clock.increment(50);
          clockwork = restart(clockwork, ticker, { clock });
        }
        expect(clockwork.getSnapshot().context.ticks).toBe(5);
        clock.increment(99);
        expect(clockwork.getSnapshot().context.ticks).toBe(5);
        clock.increment(1);
        expect(clockwork.getSnapshot().context.ticks).toBe(6);
      });

      // https://github.com/statelyai/xstate/issues/4860: it was persisted before the delay began.
      test("a delay that begins after the restart is as long as it should be", () => {
        const clock = new SimulatedClock();
        let egg = createActor(eggTimer, { clock }).start();
        egg.send({ type: "PAUSE" });
        egg = restart(egg, eggTimer, { clock });
        clock.increment(5_000);
        egg.send({ type: "BOIL" });
        clock.increment(999);
        expect(egg.getSnapshot().value).toBe("boiling");
        clock.increment(1);
        expect(egg.getSnapshot().value).toBe("ready");
      });

      // The rest of what has a delay: an event raised to oneself, one sent to a child, one cancelled after the restart.
      test("delayed events to itself and to a child arrive after a restart, a cancelled one does not", () => {
        const clock = new SimulatedClock();
        let post = createActor(postOffice, { clock }).start();
        post.send({ type: "POST" });
        clock.increment(100);
        post = restart(post, postOffice, { clock });
        post.send({ type: "RECALL" });
        clock.increment(1_000);
        expect(post.getSnapshot().context.received).toEqual(["letter"]);
        expect(countOf(childOf(post, "neighbour"))).toBe(1);
      });
    });

    describe("errors and ends", () => {
      // https://github.com/statelyai/xstate/issues/5228: any throw while restoring became the actor's own error.
      test("an error of somebody else during a restart does not become the actor's error", () => {
        const actor = createActor(shoppingList).start();
        actor.send({ type: "ADD", what: "milk" });
        const stored = persist(actor);
        const before = actor.getSnapshot().context.items.length;
        actor.stop();
        const statusWithFaultyInspector = () => {
          const restored = createActor(shoppingList, {
            snapshot: structuredClone(stored),
            inspect: (event) => {
              if (event.type === "@xstate.actor" && event.actorRef.sessionId !== event.rootId)
                throw new Error("not the actor's");
            },
          });
          return restored.getSnapshot().status;
        };
        // Whoever threw may hear of it; the actor must not be changed by it.
        expect(outcomeOf(statusWithFaultyInspector)).toMatch(/^active$|^threw not the actor's$/);
        const restored = createActor(shoppingList, { snapshot: stored }).start();
        restored.send({ type: "ADD", what: "bread" });
        expect(itemsOf(restored)).toHaveLength(before + 1);
      });

      // The same: "only when the context is not able to be restored".
      test("a state that is gone is an error of the restart, with the state named", () => {
        const stored = { ...persist(createActor(eggTimer).start()), value: "poaching" } as unknown as Snapshot<unknown>;
        const result = outcomeOf(() => {
          const restored = createActor(eggTimer, { snapshot: stored });
          restored.subscribe({ error: () => {} });
          const { status, error } = restored.getSnapshot();
          return `${status} ${error instanceof Error ? error.message : String(error)}`;
        });
        expect(result).toMatch(/^(error|threw) .*poaching/);
      });

      // https://github.com/statelyai/xstate/issues/4583: it came back stopped, and deaf.
      test("an actor persisted after it was stopped goes on when restored, and tells its subscribers", () => {
        const actor = createActor(counter).start();
        actor.send({ type: "COUNT" });
        actor.stop();
        const restored = createActor(counter, { snapshot: persist(actor) });
        const seen: number[] = [];
        restored.subscribe(({ context }) => seen.push(context.count));
        restored.start();
        restored.send({ type: "COUNT" });
        expect(restored.getSnapshot()).toMatchObject({ status: "active", context: { count: 2 } });
        expect(seen.at(-1)).toBe(2);
      });

      test("a finished actor is finished after a restart, with its output, and tells its subscribers", () => {
        const machine = setup({}).createMachine({
          initial: "open",
          output: { total: 3 },
          states: { open: { on: { CLOSE: "closed" } }, closed: { type: "final" } },
        });
        const actor = createActor(machine).start();
        actor.send({ type: "CLOSE" });
        const restored = createActor(machine, { snapshot: persist(actor) });
        let completed = 0;
        restored.subscribe({ complete: () => completed++ });
        restored.start();
        expect(restored.getSnapshot()).toMatchObject({ status: "done", value: "closed", output: { total: 3 } });
        expect(completed).toBe(1);
      });

      // https://github.com/statelyai/xstate/issues/5013: the warning threw as it printed the event.
      describe.each([
        ["a circular structure", circular],
        ["a bigint", () => 2n ** 64n],
      ])("an event with %s that comes too late is warned of, and changes nothing", (_, data) => {
        const late = expect.stringMatching(/^Event "KNOCK" was sent to stopped actor/);
        const warningsOf = (act: () => void) => {
          const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
          try {
            act();
            return warn.mock.calls;
          } finally {
            warn.mockRestore();
          }
        };

        test("sent to a finished actor", () => {
          const house = createActor(houseWithRooms(data)).start();
          house.send({ type: "DEMOLISH" });
          expect(warningsOf(() => house.send({ type: "KNOCK", data: data() }))).toEqual([[late]]);
          expect(house.getSnapshot()).toMatchObject({ status: "done", context: { knocks: 0 } });
        });

        test("sent to a stopped actor", () => {
          const house = createActor(houseWithRooms(data)).start();
          house.stop();
          expect(warningsOf(() => house.send({ type: "KNOCK", data: data() }))).toEqual([[late]]);
          expect(house.getSnapshot()).toMatchObject({ status: "stopped", context: { knocks: 0 } });
        });

        test.each(["finished", "stopped"] as const)(
          "sent by a machine to a child that it keeps though it is %s",
          (how) => {
            const house = createActor(houseWithRooms(data)).start();
            house.send({ type: "EMPTY", how });
            expect(warningsOf(() => house.send({ type: "KNOCK_AT_ROOM" }))).toEqual([[late]]);
            expect(house.getSnapshot()).toMatchObject({ status: "active", context: { knocks: 1 } });
          },
        );

        test("sent to such a child by somebody who holds a reference", () => {
          const house = createActor(houseWithRooms(data)).start();
          house.send({ type: "EMPTY", how: "finished" });
          const { room } = house.getSnapshot().context;
          expect(warningsOf(() => room.send({ type: "KNOCK", data: data() }))).toEqual([[late]]);
          expect(house.getSnapshot()).toMatchObject({ status: "active", context: { knocks: 0 } });
        });
      });

      // https://github.com/statelyai/xstate/issues/4166
      test("tags and meta are there after a restart", () => {
        const machine = createMachine({
          id: "m",
          initial: "a",
          states: { a: { on: { GO: "b" } }, b: { tags: "late", meta: { text: "second" } } },
        });
        const actor = createActor(machine).start();
        actor.send({ type: "GO" });
        const snapshot = restart(actor, machine).getSnapshot();
        expect(snapshot.hasTag("late" as never)).toBe(true);
        expect(snapshot.getMeta()).toEqual({ "m.b": { text: "second" } });
      });
    });
  });

const counter = setup({
  types: {} as { context: { count: number }; events: { type: "COUNT" } },
}).createMachine({
  id: "counter",
  context: { count: 0 },
  on: { COUNT: { actions: assign({ count: ({ context }) => context.count + 1 }) } },
});

const item = setup({
  types: {} as { context: { what: string }; events: { type: "BUY" }; input: { what: string } },
}).createMachine({
  id: "item",
  context: ({ input }) => ({ what: input.what }),
  initial: "open",
  states: {
    open: {
      on: { BUY: { target: "bought", actions: sendParent(({ context }) => ({ type: "BOUGHT", what: context.what })) } },
    },
    bought: {},
  },
});

/** Its children have no ids of their own: whoever runs the machine gives them. */
const shoppingList = setup({
  types: {} as {
    context: { items: ActorRefFrom<typeof item>[]; bought: string[] };
    events: { type: "ADD"; what: string } | { type: "BUY"; index: number } | { type: "BOUGHT"; what: string };
  },
  actors: { item },
}).createMachine({
  id: "list",
  context: { items: [], bought: [] },
  on: {
    ADD: {
      actions: assign({
        items: ({ context, event, spawn }) => [...context.items, spawn("item", { input: { what: event.what } })],
      }),
    },
    BUY: { actions: sendTo(({ context, event }) => context.items[event.index] as AnyActorRef, { type: "BUY" }) },
    BOUGHT: { actions: assign({ bought: ({ context, event }) => [...context.bought, event.what] }) },
  },
});

function itemsOf(list: ActorRefFrom<typeof shoppingList>): string[] {
  return list.getSnapshot().context.items.map((ref) => {
    const { context, value } = ref.getSnapshot();
    return `${context.what}: ${value}`;
  });
}

const switchboard = setup({
  types: {} as { events: { type: "OPEN" | "RING" | "CLOSE"; line: string } },
  actors: { counter },
}).createMachine({
  id: "switchboard",
  on: {
    OPEN: {
      actions: assign(({ event, spawn }) => {
        spawn("counter", { id: `${event.line} line`, systemId: event.line });
        return {};
      }),
    },
    RING: { actions: sendTo(({ system, event }) => system.get(event.line), { type: "COUNT" }) },
    CLOSE: { actions: stopChild(({ event }) => `${event.line} line`) },
  },
});

/** It writes down what is initialized. */
function tent(begun: string[]) {
  const lamp = createMachine({
    context: () => {
      begun.push("lamp");
      return {};
    },
    initial: "dark",
    states: { dark: { on: { LIGHT: "lit" } }, lit: {} },
  });
  return setup({
    types: {} as { input: { guests: number }; context: { beds: number }; events: { type: "LIGHT" } },
    actors: { lamp },
  }).createMachine({
    context: ({ input }) => {
      begun.push(`tent for ${input?.guests}`);
      return { beds: input?.guests };
    },
    invoke: { id: "lamp", systemId: "lamp", src: "lamp" },
    on: { LIGHT: { actions: forwardTo("lamp") } },
  });
}

function circular(): unknown {
  const ring: { next?: unknown } = {};
  ring.next = ring;
  return ring;
}

/** One room that can be emptied while the house keeps a reference to it; what it then sends there holds `data`. */
const houseWithRooms = (data: () => unknown) =>
  setup({
    types: {} as {
      context: { room: AnyActorRef; knocks: number };
      events:
        | { type: "KNOCK"; data: unknown }
        | { type: "KNOCK_AT_ROOM" }
        | { type: "EMPTY"; how: "finished" | "stopped" }
        | { type: "DEMOLISH" };
    },
    actors: {
      room: createMachine({
        initial: "used",
        states: { used: { on: { LEAVE: "empty" } }, empty: { type: "final" } },
      }),
    },
  }).createMachine({
    context: ({ spawn }) => ({ room: spawn("room", { id: "room" }), knocks: 0 }),
    initial: "standing",
    states: {
      standing: {
        on: {
          KNOCK: { actions: assign({ knocks: ({ context }) => context.knocks + 1 }) },
          KNOCK_AT_ROOM: {
            actions: [
              sendTo(
                ({ context }) => context.room,
                () => ({ type: "KNOCK", data: data() }),
              ),
              assign({ knocks: ({ context }) => context.knocks + 1 }),
            ],
          },
          EMPTY: [
            {
              guard: ({ event }) => event.how === "finished",
              actions: sendTo(({ context }) => context.room, { type: "LEAVE" }),
            },
            { actions: stopChild(({ context }) => context.room) },
          ],
          DEMOLISH: "gone",
        },
      },
      gone: { type: "final" },
    },
  });

function journeyWithPendingBooking(): { attempts: { resolve: (seat: string) => void }[]; journey: AnyStateMachine } {
  const attempts: { resolve: (seat: string) => void }[] = [];
  const leg = setup({
    actors: { book: fromPromise<string>(() => new Promise((resolve) => attempts.push({ resolve }))) },
    types: {} as { context: { seat: string }; output: string },
  }).createMachine({
    id: "leg",
    context: { seat: "" },
    initial: "booking",
    output: ({ context }) => context.seat,
    states: {
      booking: {
        invoke: { src: "book", onDone: { target: "booked", actions: assign({ seat: ({ event }) => event.output }) } },
      },
      booked: { type: "final" },
    },
  });
  const trip = setup({
    actors: { leg },
    types: {} as { context: { seat: string }; output: string },
  }).createMachine({
    id: "trip",
    context: { seat: "" },
    initial: "under way",
    output: ({ context }) => `leg with ${context.seat}`,
    states: {
      "under way": {
        invoke: { src: "leg", onDone: { target: "arrived", actions: assign({ seat: ({ event }) => event.output }) } },
      },
      arrived: { type: "final" },
    },
  });
  const journey = setup({
    actors: { trip },
    types: {} as { context: { pokes: number; report: string }; events: { type: "POKE" }; output: string },
  }).createMachine({
    id: "journey",
    context: { pokes: 0, report: "" },
    initial: "travelling",
    output: ({ context }) => context.report,
    states: {
      travelling: {
        on: { POKE: { actions: assign({ pokes: ({ context }) => context.pokes + 1 }) } },
        invoke: { src: "trip", onDone: { target: "home", actions: assign({ report: ({ event }) => event.output }) } },
      },
      home: { type: "final" },
    },
  });
  return { attempts, journey };
}

const checkout = (history: "shallow" | "deep") =>
  createMachine({
    id: "checkout",
    initial: "summary",
    states: {
      summary: {
        initial: "loading",
        on: { LEAVE: "elsewhere" },
        states: {
          loading: { on: { LOADED: "ready" } },
          ready: { on: { EDIT: "editing" } },
          editing: { initial: "choosing", states: { choosing: { on: { PICK: "picked" } }, picked: {} } },
          last: { type: "history", history },
        },
      },
      elsewhere: { on: { RETURN: "summary.last" } },
    },
  });

const eggTimer = createMachine({
  id: "egg",
  initial: "boiling",
  states: {
    boiling: { after: { 1000: "ready" }, on: { PAUSE: "paused" } },
    paused: { on: { BOIL: "boiling" } },
    ready: {},
  },
});

const ticker = setup({ types: {} as { context: { ticks: number } } }).createMachine({
  id: "ticker",
  context: { ticks: 0 },
  initial: "ticking",
  states: {
    ticking: {
      after: {
        100: { target: "ticking", reenter: true, actions: assign({ ticks: ({ context }) => context.ticks + 1 }) },
      },
    },
  },
});

const postOffice = setup({
  types: {} as {
    context: { received: string[] };
    events: { type: "POST" } | { type: "RECALL" } | { type: "RECEIVED"; what: string };
  },
  actors: { counter },
}).createMachine({
  id: "post",
  context: { received: [] },
  invoke: { id: "neighbour", src: "counter" },
  on: {
    POST: {
      actions: [
        raise({ type: "RECEIVED", what: "letter" }, { delay: 500 }),
        raise({ type: "RECEIVED", what: "parcel" }, { delay: 600, id: "parcel" }),
        sendTo("neighbour", { type: "COUNT" }, { delay: 700 }),
      ],
    },
    RECALL: { actions: cancel("parcel") },
    RECEIVED: { actions: assign({ received: ({ context, event }) => [...context.received, event.what] }) },
  },
});

/** What the actor persists, after it has been through JSON. */
function persist(actor: { getPersistedSnapshot(): Snapshot<unknown> }): Snapshot<unknown> {
  return JSON.parse(JSON.stringify(actor.getPersistedSnapshot())) as Snapshot<unknown>;
}

function countOf(ref: AnyActorRef | undefined): number {
  return ref?.getSnapshot().context.count;
}

function childOf(actor: AnyActorRef, id: string): AnyActorRef | undefined {
  return actor.getSnapshot().children[id];
}

function outcomeOf(attempt: () => string): string {
  try {
    return attempt();
  } catch (error) {
    return `threw ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Promises that have nothing to wait for end within a few turns of the event loop. */
async function resultsAreIn(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resume) => setImmediate(resume));
}
