/** Machines that go round for ever within one step: refused by actor and state, and the host and all others go on. */
import { describe, expect, test } from "vitest";
import { type AnyActorLogic, assign, createMachine, fromTransition, raise, sendParent, sendTo } from "xstate";
import { createRuntime, type Logger, memory } from "../index.ts";
import { createActor, ManualClock } from "../testing/index.ts";
import { defaultMaxMoves } from "./system.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const circle = { b: { always: "c" }, c: { always: "b" } } as const;
const child = createMachine({ id: "child", initial: "a", states: { a: { on: { GO: "b" } }, ...circle } });
const echo = createMachine({ on: { PING: { actions: sendParent({ type: "PONG" }) } } });
const talker = createMachine({
  on: { SAY: { actions: sendTo(({ system }) => system.get("other"), { type: "SAY" }) } },
});
const other = createMachine({
  on: { SAY: { actions: sendTo(({ system }) => system.get("talker"), { type: "SAY" }) } },
});
const toItself = fromTransition((count: number, _event, { self }) => {
  self.send({ type: "AGAIN" });
  return count + 1;
}, 0);

const endless: [what: string, machine: AnyActorLogic, message: RegExp][] = [
  [
    "always",
    createMachine({ initial: "a", states: { a: { on: { GO: "b" }, after: { 500: "b" } }, ...circle } }),
    /state "[bc]".*"GO"/,
  ],
  ["raise", createMachine({ on: { GO: { actions: raise({ type: "GO" }) } } }), /state \{\}.*"GO"/],
  [
    "a child, and a parent that would begin it anew",
    createMachine({
      initial: "on",
      states: { on: { invoke: { id: "kid", src: "child", onError: { target: "on", reenter: true } } } },
      on: { GO: { actions: sendTo("kid", { type: "GO" }) } },
    }).provide({ actors: { child } as never }),
    /"kid" in state "[bc]"/,
  ],
  [
    "a child and its parent",
    createMachine({
      invoke: { id: "kid", src: "echo" },
      on: { GO: { actions: sendTo("kid", { type: "PING" }) }, PONG: { actions: sendTo("kid", { type: "PING" }) } },
    }).provide({ actors: { echo } as never }),
    /"P[IO]NG"/,
  ],
  [
    "two children",
    createMachine({
      invoke: [
        { id: "talker", systemId: "talker", src: "talker" },
        { id: "other", systemId: "other", src: "other" },
      ],
      on: { GO: { actions: sendTo("talker", { type: "SAY" }) } },
    }).provide({ actors: { talker, other } as never }),
    /"(talker|other)".*"SAY"/,
  ],
  [
    "logic that is no machine",
    createMachine({
      invoke: { id: "self", src: "toItself" },
      on: { GO: { actions: sendTo("self", { type: "AGAIN" }) } },
    }).provide({ actors: { toItself } as never }),
    /"self".*"AGAIN"/,
  ],
];

describe.each(endless)("an endless round of %s", (_what, machine, message) => {
  test("is a caller's error: nothing of it is kept, and the actor goes on", async () => {
    const runtime = await createRuntime({ actors: { machine }, store: memory(), logger: silent });
    const actor = runtime.actor("machine", "1");
    const { revision } = await actor.create();
    const before = (await actor.document())?.actors;
    for (let times = 0; times < 2; times++)
      await expect(actor.send({ type: "GO" } as never)).rejects.toMatchObject({
        code: "Rejected",
        message: expect.stringMatching(message),
      });
    expect((await actor.document())?.seq).toBe(revision);
    expect((await actor.document())?.actors).toEqual(before);
    await runtime.stop();
  });

  test("is an error of the drop-in's actor", () => {
    const actor = createActor(machine);
    const errors: unknown[] = [];
    actor.subscribe({ error: (error) => errors.push(error) });
    actor.start();
    actor.send({ type: "GO" } as never);
    expect(actor.getSnapshot().status).toBe("error");
    expect(errors).toMatchObject([{ message: expect.stringMatching(message) }]);
  });
});

test("in the first step, the actor is not created", async () => {
  const machine = createMachine({ initial: "b", states: circle });
  const runtime = await createRuntime({ actors: { machine }, store: memory(), logger: silent });
  await expect(runtime.actor("machine", "1").create()).rejects.toThrow(/no end/);
  expect(await runtime.actor("machine", "1").document()).toBeUndefined();
  await runtime.stop();
});

test("after a timer, the actor is parked, here and after a restart, and others are served", async () => {
  const machine = createMachine({ initial: "a", states: { a: { after: { 500: "b" } }, ...circle } });
  const quiet = createMachine({ on: { NOTE: {} } });
  const clock = new ManualClock();
  const store = memory();
  for (const ids of [["1"], ["1", "2"]]) {
    const runtime = await createRuntime({ actors: { machine, quiet }, store, logger: silent, clock });
    await runtime.actor("machine", ids.at(-1) as string).create();
    await clock.advance(600);
    const parked = { reason: "threw", message: expect.stringMatching(/no end.*in state "[bc]"/) };
    expect(runtime.parked()).toMatchObject(ids.map((id) => ({ ...parked, actor: `machine.${id}` })));
    expect(await runtime.actor("quiet", "q").createAndSend(undefined, { type: "NOTE" })).toMatchObject({
      duplicate: false,
    });
    await Promise.all([runtime.stop(), clock.advance(30_000)]);
  }
});

const counting = (to: number, options?: object) =>
  createMachine({
    context: { n: 0 },
    initial: "idle",
    states: {
      idle: { on: { GO: "work" } },
      work: {
        always: [
          { guard: ({ context }) => context.n >= to, target: "idle" },
          { actions: assign({ n: ({ context }) => context.n + 1 }) },
        ],
      },
    },
    ...options,
  });

test.each([
  ["a long chain of work", counting(defaultMaxMoves - 10), true],
  ["a longer one", counting(defaultMaxMoves + 10), false],
  ["a longer one, as the machine asks for", counting(25_000, { options: { maxIterations: 30_000 } }), true],
])("%s", async (_what, machine, ends) => {
  const runtime = await createRuntime({ actors: { machine }, store: memory(), logger: silent });
  const actor = runtime.actor("machine", "1");
  await actor.create();
  const sent = actor.send({ type: "GO" });
  if (ends) expect(await sent).toMatchObject({ changed: true });
  else await expect(sent).rejects.toMatchObject({ code: "Rejected" });
  await runtime.stop();
});
