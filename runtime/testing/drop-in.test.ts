/**
 * Where a step that is committed before its effects run could be told from XState, and must not be: what happens while
 * an action runs, what its failure leaves behind, and what comes too late.
 */
import { describe, expect, test, vi } from "vitest";
import {
  assign,
  emit,
  fromCallback,
  type InspectionEvent,
  raise,
  SimulatedClock,
  sendParent,
  sendTo,
  setup,
  spawnChild,
} from "xstate";
import { everyMode } from "./every-mode.ts";
import { createActorWith } from "./index.ts";

for (const { mode, modes } of everyMode)
  describe(mode, () => {
    const createActor = createActorWith(modes);

    test("an actor that is stopped by its own action forgets the events that were waiting", () => {
      const told: string[] = [];
      const shop = createActor(
        setup({}).createMachine({
          on: {
            CLOSE: {
              actions: ({ self }) => {
                self.send({ type: "BUY" });
                shop.stop();
              },
            },
            BUY: { actions: () => told.push("sold") },
          },
        }),
      ).start();
      shop.send({ type: "CLOSE" });
      expect(told).toEqual([]);
      expect(shop.getSnapshot().status).toBe("stopped");
    });

    test("a transition whose action throws never was", () => {
      const errors: unknown[] = [];
      const machine = setup({
        types: { context: {} as { paid: number } },
        actors: { clerk: setup({}).createMachine({}) },
        actions: {
          print: () => {
            throw new Error("out of paper");
          },
        },
      }).createMachine({
        context: { paid: 0 },
        initial: "open",
        states: {
          open: {
            invoke: { id: "clerk", src: "clerk" },
            on: { PAY: { target: "paid", actions: [assign({ paid: 1 }), "print"] } },
          },
          paid: {},
        },
      });
      const order = createActor(machine);
      order.subscribe({ error: (error) => errors.push((error as Error).message) });
      order.start();
      order.send({ type: "PAY" });
      expect(errors).toEqual(["out of paper"]);
      expect(order.getSnapshot()).toMatchObject({ status: "error", value: "open", context: { paid: 0 } });
      expect(Object.keys(order.getSnapshot().children)).toEqual(["clerk"]);
    });

    test("what a child answers to a running action is heard after the action, in its turn", () => {
      const heard: string[] = [];
      const echo = setup({}).createMachine({
        on: { CALL: { actions: [() => heard.push("called"), sendParent({ type: "ECHO" })] } },
      });
      const cave = createActor(
        setup({ actors: { echo } }).createMachine({
          invoke: { id: "echo", src: "echo" },
          on: {
            SHOUT: {
              actions: [
                ({ self }) => {
                  self.send({ type: "FIRST" });
                  self.getSnapshot().children.echo?.send({ type: "CALL" });
                  self.send({ type: "LAST" });
                  heard.push("shouted");
                },
                () => heard.push("listening"),
              ],
            },
            FIRST: { actions: () => heard.push("first") },
            ECHO: { actions: () => heard.push("echo") },
            LAST: { actions: () => heard.push("last") },
          },
        }),
      ).start();
      cave.send({ type: "SHOUT" });
      expect(heard).toEqual(["called", "shouted", "listening", "first", "echo", "last"]);
    });

    test("a delayed event that comes too late for its child is seen by inspectors, and changes nothing", () => {
      const clock = new SimulatedClock();
      const late: string[] = [];
      const pupil = setup({}).createMachine({
        on: { BELL: { actions: raise({ type: "RUN" }) }, RUN: { actions: emit({ type: "ran" }) } },
      });
      const inspect = (event: InspectionEvent) => {
        if (event.type === "@xstate.event" && event.event.type === "BELL")
          late.push(event.actorRef.getSnapshot().status);
      };
      const school = createActor(
        setup({ actors: { pupil } }).createMachine({
          initial: "day",
          states: {
            day: {
              invoke: { id: "pupil", src: "pupil" },
              entry: sendTo("pupil", { type: "BELL" }, { delay: 10 }),
              on: { LEAVE: "night" },
            },
            night: {},
          },
        }),
        { clock, inspect },
      ).start();
      school.send({ type: "LEAVE" });
      const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
      clock.increment(10);
      expect(warn.mock.calls).toEqual([[expect.stringMatching(/"BELL" was sent to stopped actor "pupil/)]]);
      warn.mockRestore();
      expect(late).toEqual(["stopped"]);
      expect(school.getSnapshot().value).toBe("night");
    });

    test("XState's development build warns of a built-in action that is called inside an action", () => {
      const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
      createActor(setup({}).createMachine({ entry: () => void raise({ type: "LOST" }) })).start();
      expect(warn.mock.calls).toEqual([[expect.stringMatching(/Custom actions should not call `raise\(\)` directly/)]]);
      warn.mockRestore();
    });

    test("an action that a subscriber's send has led to recovering is run once", () => {
      const done: string[] = [];
      const pen = setup({}).createMachine({ on: { INK: { actions: () => done.push("ink") } } });
      const desk = createActor(
        setup({ actors: { pen } }).createMachine({
          invoke: { id: "pen", src: "pen" },
          initial: "clear",
          states: {
            clear: {
              on: {
                WRITE: {
                  target: "full",
                  actions: [() => done.push("one"), emit({ type: "half" }), () => done.push("two")],
                },
              },
            },
            full: {},
          },
        }),
      );
      desk.on("half", () => desk.getSnapshot().children.pen?.send({ type: "INK" }));
      desk.start();
      desk.send({ type: "WRITE" });
      expect([...done].sort()).toEqual(["ink", "one", "two"]);
    });
  });

describe("after the last event, before anybody looks", () => {
  const camera = (begun: string[] = []) =>
    setup({
      types: { context: {} as { film: string[] }, events: {} as { type: "SHOOT" } },
      actors: { develop: fromCallback(() => void begun.push("developing")) },
    }).createMachine({
      context: { film: [] },
      on: {
        SHOOT: {
          actions: [
            assign({ film: ({ context }) => [...context.film, "picture"] }),
            spawnChild("develop", { id: "develop" }),
          ],
        },
      },
    });

  test.each([
    ["rebuilt from JSON", { strict: true, rebuild: true }],
    ["crashed", { strict: true, crash: true }],
  ] as const)("the actor is %s once more", (_, modes) => {
    const seen: unknown[] = [];
    const actor = createActorWith(modes)(camera());
    actor.subscribe(({ context }) => seen.push(context.film));
    actor.start();
    actor.send({ type: "SHOOT" });
    const { film } = actor.getSnapshot().context;
    expect(film).toEqual(["picture"]);
    expect(film).toEqual(seen.at(-1));
    expect(film).not.toBe(seen.at(-1));
  });

  test("a crash ends what the last event began, and begins it anew", () => {
    const begun: string[] = [];
    const actor = createActorWith({ strict: true, crash: true })(camera(begun)).start();
    actor.send({ type: "SHOOT" });
    expect(begun).toEqual(["developing", "developing"]);
    expect(actor.getSnapshot().children.develop?.getSnapshot().status).toBe("active");
  });
});
