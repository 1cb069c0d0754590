/** Arguments of the wrong kind, as JavaScript lets them pass: each is refused at once, and the error says what it got. */
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createActor, createMachine } from "xstate";
import { described, isPlain } from "./argument.ts";
import { connect, consoleLogger, createRuntime, defineActor, type Logger, memory, mermaidOf } from "./index.ts";

// biome-ignore lint/suspicious/noExplicitAny: the point of these tests
type Anything = any;

const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const order = createMachine({ initial: "open", states: { open: { on: { PAY: "paid" } }, paid: {} } });
class Cart {
  readonly items = 3;
}

let runtime: Anything;
let handle: Anything;
beforeAll(async () => {
  runtime = await createRuntime({ actors: { order }, store: memory(), logger });
  handle = runtime.actor("order", "o");
  await handle.create();
});
afterAll(async () => {
  expect(await handle.document()).toMatchObject({ seq: 1, state: "open" });
  await runtime.stop();
});

async function refusalOf(call: () => unknown): Promise<Error & { readonly code?: string }> {
  return (async () => call())().then(
    () => expect.fail("it was taken"),
    (error: Error) => error,
  );
}

const noLogic: readonly [what: string, given: unknown, said: RegExp][] = [
  ["nothing", undefined, /is undefined: it has no transition\(\)/],
  ["null", null, /is null: it has no/],
  ["a text", "order", /is "order": it has no/],
  ["a number", 5, /is 5: it has no/],
  ["a list", [order], /is a list: it has no/],
  ["an empty object", {}, /is an empty object: it has no/],
  [
    "a configuration",
    { initial: "a", states: { a: {} } },
    /an object with initial, states; make it a machine with createM/,
  ],
  ["an instance", new Cart(), /is an instance of class Cart: it has no/],
  ["a class", Cart, /is the class Cart; pass the machine that it makes/],
  ["a function", () => order, /is a function; pass the machine that it makes/],
  ["an actor", createActor(order), /is an actor that runs; pass the machine/],
  ["a module", { default: order }, /an object with default; pass its `default`/],
];

test.each(noLogic)("%s is no machine for defineActor", async (_what, given, said) => {
  const refusal = await refusalOf(() => defineActor(given as Anything));
  expect(refusal).toMatchObject({
    code: "InvalidRequest",
    message: expect.stringMatching(/^defineActor takes an XState/),
  });
  expect(refusal.message).toMatch(said);
});

test.each(noLogic)(
  "%s is no machine for createRuntime and connect, which name the type",
  async (_what, given, said) => {
    const options = {
      actors: { order: given },
      store: { ...memory(), connect: () => expect.fail("it connects") },
      logger,
    };
    for (const make of [createRuntime, connect] as Anything[]) {
      const refusal = await refusalOf(() => make(options));
      expect(refusal).toMatchObject({
        code: "InvalidRequest",
        message: expect.stringMatching(/^actors\.order must be/),
      });
      expect(refusal.message).toMatch(said);
    }
  },
);

test("a definition is none for defineActor, which says so, and is taken by createRuntime", async () => {
  const definition = defineActor(order);
  expect((await refusalOf(() => defineActor(definition as Anything))).message).toMatch(/is a definition already/);
  await (await createRuntime({ actors: { order: definition }, store: memory(), logger })).stop();
});

const notByName: readonly [what: string, given: unknown][] = [
  ["nothing", undefined],
  ["null", null],
  ["a text", "order"],
  ["a list", [order]],
  ["a machine", order],
  ["a definition", defineActor(order)],
  ["a function", () => ({ order })],
  ["a Map", new Map([["order", order]])],
];

test.each(notByName)("%s is no actors by name", async (_what, actors) => {
  const refusal = await refusalOf(() => createRuntime({ actors: actors as Anything, store: memory(), logger }));
  expect(refusal).toMatchObject({
    code: "InvalidRequest",
    message: expect.stringMatching(/it needs actors, by the names/),
  });
  expect(refusal.message).toContain(described(actors));
});

test("machines may stand in an instance, and in what a module exports", async () => {
  class Machines {
    readonly order = order;
  }
  const actors = new Machines() as Anything;
  await (await createRuntime({ actors, store: memory(), logger })).stop();
  const exported = Object.assign(Object.create(null), { order });
  await (await createRuntime({ actors: exported, store: memory(), logger })).stop();
});

const start = (options: object) =>
  createRuntime({ actors: { order }, store: memory(), logger, ...options } as Anything);
const define = (options: unknown) => defineActor(order, options as Anything);

const refused: readonly [what: string, call: () => unknown, said: RegExp, code?: string][] = [
  ["no options of a definition", () => define(null), /^defineActor: is null; it must be an object of options/],
  ["a text as options", () => define("v1"), /^defineActor: is v1; it must be/],
  ["effects as a number", () => define({ effects: 5 }), /effects is 5; it must be an object of policies/],
  ["effects as a list", () => define({ effects: [1] }), /effects is a list; it must be/],
  ["a redaction that is none", () => define({ redact: "amount" }), /redact is "amount"; it must be a function/],
  ["a migration that is none", () => define({ migrate: {} }), /migrate is an empty object; it must be a function/],

  ["no options of a runtime", () => createRuntime(undefined as Anything), /createRuntime needs a store/],
  ["a store that is none", () => start({ store: "./data" }), /createRuntime needs a store/],
  [
    "a logger that is a text",
    () => start({ logger: "warn" }),
    /logger is "warn", which has no debug\(\), info\(\), warn\(\)/,
  ],
  ["a logger that lacks a level", () => start({ logger: { ...logger, warn: 1 } }), /which has no warn\(\)$/],
  ["a clock that is none", () => start({ clock: {} }), /clock is an empty object, which has no now\(\)/],
  ["dice that are none", () => start({ random: 5 }), /random is 5, which has no next\(\), id\(\)/],
  ["a bus that is none", () => start({ bus: "nats" }), /bus is "nats", which has no request\(\)/],
  [
    "telemetry that is none",
    () => start({ telemetry: () => 1 }),
    /telemetry is a function, which has no isRecording\(\)/,
  ],
  ["a time-out as a text", () => start({ requestTimeoutMs: "5s" }), /requestTimeoutMs is "5s"; it must be a number/],
  ["a negative time-out", () => start({ requestTimeoutMs: -1 }), /requestTimeoutMs is -1; it must be a number/],
  ["control as a text", () => start({ control: "no" }), /control is "no"; it must be true or false/],
  [
    "a setting as a text",
    () => start({ settings: { drainMs: "5" } }),
    /settings\.drainMs is "5"; it must be a number, 0/,
  ],
  [
    "a setting that is no number",
    () => start({ settings: { idleMs: Number.NaN } }),
    /settings\.idleMs is NaN; it must/,
  ],
  [
    "room for no effect",
    () => start({ settings: { effects: 0 } }),
    /settings\.effects is 0; it must be a number, 1 or/,
  ],
  ["drainMs as a text", () => runtime.stop({ drainMs: "5" }), /options of stop: drainMs is "5"; it must be a number/],
  ["drainMs below 0", () => runtime.drain({ drainMs: -5 }), /options of drain: drainMs is -5; it must be a number/],

  ["a type that is a number", () => runtime.actor(5, "a"), /there is no actor type 5; known here: order/],
  ["a type that is a function", () => runtime.actor(() => 1, "a"), /there is no actor type a function; known/],
  ["a type of Object's own", () => runtime.list("constructor"), /there is no actor type "constructor"/],
  ["no id", () => runtime.actor("order"), /an id of the type "order" must be a text.*it is undefined/, "InvalidKey"],
  ["an id that is a number", () => runtime.actor("order", 5), /must be a text.*it is 5/, "InvalidKey"],
  ["an id that is an object", () => runtime.actor("order", { id: 1 }), /it is an object with id/, "InvalidKey"],

  ["no event", () => handle.send(), /an event is an object whose `type` is a text.*it got undefined/],
  ["a text as an event", () => handle.send("PAY"), /it got "PAY": write \{ type: "PAY" \}/],
  ["an event without a type", () => handle.send({ amount: 1 }), /it got an object with amount/],
  ["an event whose type is a number", () => handle.send({ type: 5 }), /it got an object with type/],
  ["an event whose type is empty", () => handle.send({ type: "" }), /it got an object with type/],
  ["a list as an event", () => handle.send(Object.assign([], { type: "PAY" })), /it got a list/],
  [
    "a Map as an event",
    () => handle.send(Object.assign(new Map(), { type: "PAY" })),
    /it got an instance of class Map/,
  ],
  [
    "an error as an event",
    () => handle.send(Object.assign(new Error(), { type: "PAY" })),
    /an instance of class Error/,
  ],
  [
    "no event to create with",
    () => runtime.actor("order", "new").createAndSend(undefined, undefined),
    /it got undefined/,
  ],
  [
    "a time to wait as a text",
    () => handle.send({ type: "PAY" }, { timeoutMs: "5" }),
    /timeoutMs is "5"; it must be a/,
  ],
  ["a time to wait below 0", () => handle.send({ type: "PAY" }, { timeoutMs: -1 }), /timeoutMs is -1; it must be a/],
  [
    "nothing to wait for",
    () => handle.waitFor(undefined),
    /waitFor: it waits for "done", a tag, or .*it got undefined/,
  ],
  ["an empty tag", () => handle.waitFor(""), /waitFor: it waits for "done".*it got ""/],
  ["a wait as a text", () => handle.waitFor("done", { timeoutMs: "5" }), /options of waitFor: timeoutMs is "5"/],
  ["nobody to tell", () => handle.watch(), /watch: it needs a function to call; it got undefined/],
  ["nobody to hand events to", () => handle.on("PAID", "log"), /on: it needs a function to call; it got "log"/],
  ["no type to listen to", () => handle.on(undefined, () => {}), /on: the type of an event is a text; it is undefined/],
  ["a way to resume", () => handle.resume("retyr"), /"retyr" is no way to resume; there are retry, accept, discard/],
  ["force as a text", () => handle.purge({ force: "no" }), /options of purge: force is "no"; it must be true or false/],
  [
    "linearizable as a text",
    () => handle.state({ linearizable: "no" }),
    /linearizable is "no"; it must be true or false/,
  ],
  [
    "a drawing of no machine",
    () => mermaidOf({ states: {} } as Anything),
    /mermaidOf takes an XState machine; it got an ob/,
  ],
];

test.each(refused)("%s is refused", async (_what, call, said, code = "InvalidRequest") => {
  expect(await refusalOf(call)).toMatchObject({ code, message: expect.stringMatching(said) });
});

test("a level that there is not is refused", () =>
  expect(() => consoleLogger("wran" as Anything)).toThrow(
    /"wran" is no level of consoleLogger; there are debug, info,/,
  ));

test("whoever sends gets a rejection, and nothing is thrown at once", async () => {
  for (const sent of [handle.send(5), handle.createAndSend(undefined, null), handle.delete(5)])
    await expect(sent).rejects.toMatchObject({ code: "InvalidRequest" });
});

test("plain objects are so in other realms, and those of a prototype are not", () => {
  expect([{}, Object.create(null), runInNewContext("({})")].map(isPlain)).toEqual([true, true, true]);
  expect([new Cart(), new Map(), [], Object.create({ a: 1 }), null].map(isPlain)).toEqual(Array(5).fill(false));
});
