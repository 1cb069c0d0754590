/** What invoked and spawned actors, observers and inspectors of the drop-in may expect, as under XState's own actor. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AnyActorRef,
  assign,
  createMachine,
  fromCallback,
  fromTransition,
  type InspectionEvent,
  SimulatedClock,
  sendTo,
  setup,
} from "xstate";
import { createActor, createActorWith } from "./drop-in.ts";
import { everyMode } from "./every-mode.ts";

const failing = setup({
  actions: {
    fail: () => {
      throw new Error("the printer is on fire");
    },
  },
}).createMachine({ on: { PRINT: { actions: "fail" }, WAIT: {} } });

describe("observers", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("an observer's error reaches the process, not the sender", () => {
    const actor = createActor(createMachine({ on: { A: { actions: () => {} } } })).start();
    let told = 0;
    actor.subscribe(() => {
      told++;
      throw new Error("an observer's own");
    });
    actor.send({ type: "A" });
    actor.send({ type: "A" });
    expect(told).toBe(2);
    expect(actor.getSnapshot().status).toBe("active");
    expect(() => vi.runAllTimers()).toThrow("an observer's own");
  });

  it("the snapshot of a step whose action throws is not told after the error", () => {
    const seen: string[] = [];
    const actor = createActor(failing);
    actor.subscribe({ next: (snapshot) => void seen.push(snapshot.status), error: () => void seen.push("failed") });
    actor.start();
    actor.send({ type: "PRINT" });
    expect(seen).toEqual(["active", "failed"]);
  });
});

describe("a callback that introduces itself", () => {
  const machine = setup({
    types: { context: {} as { worker?: unknown; heard: number } },
    actors: {
      worker: fromCallback(({ self, sendBack, receive }) => {
        receive((event) => event.type === "WORK" && sendBack({ type: "WORKED" }));
        sendBack({ type: "HELLO", from: self, also: [{ self }] });
      }),
    },
  }).createMachine({
    context: { heard: 0 },
    invoke: { id: "worker", src: "worker" },
    on: {
      HELLO: { actions: assign({ worker: ({ event }) => event.from }) },
      GO: { actions: sendTo(({ context }) => context.worker as AnyActorRef, { type: "WORK" }) },
      WORKED: { actions: assign({ heard: ({ context }) => context.heard + 1 }) },
    },
  });

  it.each(everyMode)("is the child itself in the parent's context ($mode)", ({ modes }) => {
    const actor = createActorWith(modes)(machine).start();
    expect(actor.getSnapshot().context.worker).toBe(actor.getSnapshot().children.worker);
    actor.send({ type: "GO" });
    expect(actor.getSnapshot().context.heard).toBe(1);
    actor.stop();
  });
});

describe("a callback that speaks as it begins", () => {
  it("comes to rest when every event is preceded by a crash", () => {
    const machine = setup({
      types: { context: {} as { greetings: number } },
      actors: { greeter: fromCallback(({ sendBack }) => sendBack({ type: "HELLO" })) },
    }).createMachine({
      context: { greetings: 0 },
      invoke: { src: "greeter" },
      on: {
        HELLO: { actions: assign({ greetings: ({ context }) => context.greetings + 1 }) },
        GO: { actions: () => {} },
      },
    });
    const actor = createActorWith({ strict: true, crash: true })(machine).start();
    expect(actor.getSnapshot().context.greetings).toBe(1);
    actor.send({ type: "GO" });
    expect(actor.getSnapshot().context.greetings).toBe(2);
    actor.stop();
  });

  it("comes to rest also when it speaks to itself", () => {
    const heard: string[] = [];
    const echo = fromCallback(({ self, receive }) => {
      receive((event) => {
        heard.push(event.type);
        if (event.type === "ECHO") self.send({ type: "ECHO OF ECHO" });
      });
      self.send({ type: "ECHO" });
    });
    const actor = createActorWith({ strict: true, crash: true })(echo).start();
    expect(heard).toEqual(["ECHO", "ECHO OF ECHO"]);
    actor.stop();
  });
});

describe("onSnapshot of a child machine", () => {
  const door = createMachine({
    initial: "shut",
    states: { shut: { on: { OPEN: "open" } }, open: { tags: "draughty" } },
  });

  it.each(everyMode)("can be followed by a custom action ($mode)", ({ modes }) => {
    const seen: unknown[] = [];
    const machine = setup({ actors: { door } }).createMachine({
      invoke: { id: "door", src: "door", onSnapshot: { actions: ({ event }) => void seen.push(event.snapshot.value) } },
      on: { OPEN: { actions: sendTo("door", { type: "OPEN" }) } },
    });
    const actor = createActorWith(modes)(machine).start();
    actor.send({ type: "OPEN" });
    expect(seen.at(-1)).toBe("open");
    actor.stop();
  });
});

describe("session ids", () => {
  it("are counted through the whole process and stay through a crash", () => {
    const told: InspectionEvent[] = [];
    const machine = setup({ actors: { counter: fromTransition((n: number) => n + 1, 0) } }).createMachine({
      invoke: { id: "counter", src: "counter" },
      on: { COUNT: { actions: sendTo("counter", { type: "COUNT" }) } },
    });
    const create = createActorWith({ strict: true, crash: true });
    const first = create(machine, { inspect: (event) => told.push(event) }).start();
    const child = first.getSnapshot().children.counter?.sessionId;
    const second = create(machine).start();
    const all = [first.sessionId, child, second.sessionId, second.getSnapshot().children.counter?.sessionId];
    const start = Number(first.sessionId.slice(2));
    expect(all).toEqual([0, 1, 2, 3].map((n) => `x:${start + n}`));
    first.send({ type: "COUNT" });
    expect(first.getSnapshot().children.counter?.sessionId).toBe(child);
    expect(new Set(told.map((event) => event.rootId))).toEqual(new Set([first.sessionId]));
  });
});

describe("an actor of another root", () => {
  it("gets a delayed event, which the sender's own timers do not", () => {
    const clock = new SimulatedClock();
    const got: string[] = [];
    const neighbour = createActor(
      createMachine({ on: { KNOCK: { actions: () => void got.push("neighbour") } } }),
    ).start();
    const machine = createMachine({
      on: {
        GO: { actions: sendTo(neighbour, { type: "KNOCK" }, { delay: 10 }) },
        KNOCK: { actions: () => void got.push("self") },
      },
    });
    createActor(machine, { clock }).start().send({ type: "GO" });
    expect(got).toEqual([]);
    clock.increment(10);
    expect(got).toEqual(["neighbour"]);
  });
});
