/** What JavaScript lets pass: options of a wrong name or kind, actors that are missing, logic that nobody gave. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMachine, fromPromise, setup } from "xstate";
import { LocalBus } from "./adapters/memory/local-bus.ts";
import { SystemClock } from "./adapters/system-clock.ts";
import { connect, createRuntime, defineActor, type Logger, memory } from "./index.ts";
import { unknownOptions } from "./options.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const order = setup({ actors: { charge: fromPromise(async () => 1) } }).createMachine({
  initial: "open",
  states: { open: { on: { PAY: "paid" } }, paid: { invoke: { src: "charge" } } },
});
const start = (options: object) =>
  createRuntime({ actors: { order }, store: memory(), logger: silent, ...options } as never);

let runtime: Awaited<ReturnType<typeof start>>;
beforeAll(async () => {
  runtime = await createRuntime({ actors: { order }, store: memory(), logger: silent });
});
afterAll(() => runtime.stop());

/** As JavaScript sees it: without types. */
// biome-ignore lint/suspicious/noExplicitAny: the point of these tests
const untyped = (): any => runtime;
const handle = () => untyped().actor("order", "o");
const define = (options: object) => async () => defineActor(order, options as never);

const refused: [what: string, call: () => Promise<unknown>, message: string | RegExp][] = [
  ["create", () => handle().create(undefined, { kye: "a" }), /create: kye is no option; did you mean key\?/],
  ["send", () => handle().send({ type: "PAY" }, { timeout: 5 }), /did you mean timeoutMs\?/],
  ["send, a text", () => handle().send({ type: "PAY" }, "k-1"), /is k-1; it must be an object of options/],
  ["createAndSend", () => handle().createAndSend(undefined, { type: "PAY" }, { Key: "a" }), /did you mean key\?/],
  ["delete", () => handle().delete({ idempotency: "a" }), /idempotency is no option; there are key, timeoutMs, trace/],
  ["purge", () => handle().purge({ forse: true }), /did you mean force\?/],
  ["state", () => handle().state({ linearisable: true }), /did you mean linearizable\?/],
  ["waitFor", () => handle().waitFor("done", { timeout: 5 }), /did you mean timeoutMs\?/],
  ["the key of an event", () => handle().send({ type: "PAY" }, { key: 5 }), /the key of an event must be a text/],
  ["an id", async () => untyped().actor("order", ""), /an id of the type "order" must be a text/],
  ["list", () => untyped().list("order", { sate: "open" }), /list: sate is no option; did you mean state\?/],
  [
    "list, a status",
    () => untyped().list("order", { status: "actve" }),
    /status is "actve"; it must be one of active,/,
  ],
  ["list, a limit", () => untyped().list("order", { limit: "x" }), /limit is "x"; it must be a whole number/],
  [
    "schedule",
    () => untyped().schedule("j", { cron: "0 9 * * *", timezone: "Europe/Berlin" }, () => {}),
    /timezone is no option; did you mean timeZone\?/,
  ],
  ["defineActor", define({ versoin: 2 }), /versoin is no option; did you mean version\?/],
  [
    "an effect",
    define({ effects: { charge: { timeout: 1 } } }),
    /effects\.charge\.timeout is no option; did you mean timeoutMs/,
  ],
  [
    "a retry",
    define({ effects: { charge: { retry: { atempts: 1 } } } }),
    /charge\.retry\.atempts .* did you mean attempts\?/,
  ],
  ["retain", define({ retain: { don: "1d" } }), /retain\.don is no option; did you mean done\?/],
  ["limits", define({ limits: { mailbx: 5 } }), /limits\.mailbx is no option; did you mean mailbox\?/],
  ["createRuntime", () => start({ settngs: {} }), /createRuntime: settngs is no option; did you mean settings\?/],
  ["settings", () => start({ settings: { idelMs: 5 } }), /settings\.idelMs is no option; did you mean idleMs\?/],
  ["no actors", () => start({ actors: undefined }), /it needs actors, by the names of their types/],
  ["actors that are one machine", () => start({ actors: order }), /it needs actors, by the names of their types/],
  [
    "a missing src",
    () =>
      start({ actors: { m: createMachine({ id: "m", initial: "a", states: { a: { invoke: { src: "nope" } } } }) } }),
    /actors\.m: "m\.a" invokes "nope", for which the machine has no logic/,
  ],
  [
    "a missing src of a child",
    () => {
      const child = createMachine({ id: "kid", invoke: { src: "nope" } });
      return start({ actors: { m: createMachine({ invoke: { src: child } }) } });
    },
    /"kid" invokes "nope"/,
  ],
];

test.each(refused)("%s is refused, by name", async (_what, call, message) => {
  const outcome = (async () => call())();
  await expect(outcome).rejects.toThrow(message);
  await expect(outcome).rejects.toMatchObject({ code: expect.stringMatching(/^Invalid(Request|Key)$/) });
});

test("logic that is missing where nothing leads is told, and let pass", async () => {
  const told: string[] = [];
  const logger = { ...silent, warn: (message: string) => void told.push(message) };
  const draft = createMachine({ id: "m", initial: "a", states: { a: {}, later: { invoke: { src: "nope" } } } });
  await (await start({ actors: { draft }, logger })).stop();
  expect(told).toEqual([
    expect.stringMatching(/actors\.draft: "m\.later" invokes "nope".*nothing leads to that state/),
  ]);
});

test("whoever hosts nothing may know a machine without its logic", async () => {
  const bare = defineActor(createMachine({ invoke: { src: "nope" } }));
  const { store, close } = await memory().open();
  const bus = new LocalBus(new SystemClock());
  const client = await connect({
    actors: { bare },
    store: { ...memory(), connect: async () => ({ store, bus, partitions: 1, close }) },
    logger: silent,
  });
  expect(await client.actor("bare", "b").state()).toBeUndefined();
  await client.close();
});

test("inline logic and options that are known, or undefined, are taken", async () => {
  const inline = createMachine({ invoke: { src: fromPromise(async () => 1) } });
  await (await start({ actors: { inline }, settings: { effects: 5 }, bus: undefined })).stop();
  await (await start({ actors: {} })).stop();
  expect(unknownOptions({ key: "k" }, { key: true })).toEqual([]);
  expect(unknownOptions<object>(undefined, { key: true })).toEqual([]);
});
