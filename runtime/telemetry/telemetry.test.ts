import assert from "node:assert/strict";
import { SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { afterEach, describe, test } from "vitest";
import { assign, fromPromise, sendTo, setup } from "xstate";
import { checkTraces } from "../../simulations/checkers/traces.ts";
import { memory } from "../adapters/memory/index.ts";
import { address, createRuntime, defineActor, effectOf, type Runtime } from "../index.ts";
import { actorKey } from "../keys.ts";
import { until } from "../testing/until.fixture.ts";
import { openTelemetry } from "./index.ts";
import { Tracing } from "./tracing.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** What a charge that was begun saw of its trace, and what it called. */
type Seen = { readonly info: string | undefined; readonly active: string | undefined };
type Bank = { charge: (attempt: number) => Promise<string>; readonly seen: Seen[] };

const printerMachine = setup({
  types: { context: {} as { pages: number }, events: {} as { type: "PRINT" } },
}).createMachine({
  context: { pages: 0 },
  on: { PRINT: { actions: assign({ pages: ({ context }) => context.pages + 1 }) } },
});

function orderMachine(bank: Bank) {
  return setup({
    types: { context: {} as { paid: string }, events: {} as { type: "PAY" } | { type: "SHIP" } },
    actors: {
      charge: fromPromise(async (args) => {
        const { trace: info, attempt } = effectOf(args);
        bank.seen.push({ info, active: openTelemetry().active() });
        return bank.charge(attempt);
      }),
    },
    actions: { tell: () => {} },
    delays: { packing: 5 },
  }).createMachine({
    context: { paid: "" },
    initial: "waiting",
    states: {
      waiting: { on: { PAY: "paying" } },
      paying: {
        invoke: { src: "charge", onDone: { target: "packing", actions: assign({ paid: "yes" }) } },
      },
      packing: { entry: "tell", after: { packing: "printing" } },
      printing: { entry: sendTo(address("printer", "p-1"), { type: "PRINT" }), on: { SHIP: "shipped" } },
      shipped: { type: "final" },
    },
  });
}

const actorsWith = (bank: Bank) => ({
  order: defineActor(orderMachine(bank), { effects: { charge: { retry: { attempts: 3, initialMs: 1 } } } }),
  printer: printerMachine,
});
type Actors = ReturnType<typeof actorsWith>;

const running: Runtime<Actors>[] = [];
afterEach(async () => {
  for (const runtime of running.splice(0)) await runtime.stop();
});

async function hosted(bank: Bank, options: Partial<Parameters<typeof createRuntime<Actors>>[0]> = {}) {
  const runtime = await createRuntime({ actors: actorsWith(bank), store: memory(), logger: silent, ...options });
  running.push(runtime);
  return runtime;
}

async function live(runtime: Runtime<Actors>, id: string) {
  const order = runtime.actor("order", id);
  const printer = runtime.actor("printer", "p-1");
  await printer.create();
  await order.create();
  await order.send({ type: "PAY" });
  await order.waitFor((snapshot) => snapshot.matches("printing"));
  await until(async () => (await printer.state())?.context.pages === 1);
  await order.send({ type: "SHIP" });
}

const contextOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;
const parentOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId;

describe("with telemetry", () => {
  test("one life is one connected graph: sends, events, commits, effects, timers, messages", async () => {
    const tracing = new Tracing();
    const bank: Bank = { charge: async () => "ok", seen: [] };
    const runtime = await hosted(bank, { telemetry: tracing.process() });
    await live(runtime, "o-1");
    const expected = [
      "send create",
      "send PAY",
      "send SHIP",
      "order create",
      "order PAY",
      "order SHIP",
      "effect charge",
      "effect tell",
      "timer",
      "printer PRINT",
      "commit",
    ];
    const ofOrder = tracing.exported().filter(({ name }) => name !== "printer create");
    // The printer was created by somebody else, before: its life is joined where the order's message meets it.
    assert.deepEqual(checkTraces({ spans: ofOrder, expected }), []);
    const [pay] = tracing.named("order PAY");
    const [charge] = tracing.named("effect charge");
    assert.equal(parentOf(pay), contextOf(tracing.named("send PAY")[0]));
    assert.equal(parentOf(charge), contextOf(pay), "begun at once, so a part of what began it");
    assert.equal(parentOf(tracing.named("effect tell")[0]), contextOf(charge), "the trace of a result goes on");
    const [timer] = tracing.named("timer");
    assert.equal(parentOf(timer), undefined);
    assert.ok(timer?.links.some(({ context }) => context.traceId === pay?.spanContext().traceId));
    assert.equal(parentOf(tracing.named("printer PRINT")[0]), contextOf(timer), "a message goes on, too");
    const sentBack = tracing.named("printer PRINT").map(({ attributes }) => attributes["holdfast.sent_back"]);
    assert.deepEqual(sentBack, [true, undefined], "the first of all told the sender in which life the printer is");
    assert.deepEqual(pay?.attributes["holdfast.actor"], actorKey("order", "o-1"));
  });

  test("an effect finds its span in hand, and active", async () => {
    const tracing = new Tracing();
    const bank: Bank = { charge: async () => "ok", seen: [] };
    await live(await hosted(bank, { telemetry: tracing.process() }), "o-1");
    const [charge] = tracing.named("effect charge");
    assert.equal(bank.seen.length, 1);
    assert.equal(bank.seen[0]?.info?.split("-")[2], contextOf(charge));
    assert.equal(bank.seen[0]?.active, bank.seen[0]?.info);
  });

  test("each attempt is a span of its own, with its error", async () => {
    const tracing = new Tracing();
    const charge = async (attempt: number) => {
      if (attempt < 3) throw new Error(`no money at attempt ${attempt}`);
      return "ok";
    };
    await live(await hosted({ charge, seen: [] }, { telemetry: tracing.process() }), "o-1");
    const attempts = tracing.named("effect charge");
    assert.deepEqual(
      attempts.map(({ status, attributes }) => [attributes["holdfast.attempt"], status.code, status.message]),
      [
        [1, SpanStatusCode.ERROR, "no money at attempt 1"],
        [2, SpanStatusCode.ERROR, "no money at attempt 2"],
        [3, SpanStatusCode.UNSET, undefined],
      ],
    );
    assert.equal(parentOf(attempts[1]), undefined, "a retry came later: linked, not a part");
    assert.deepEqual(checkTraces({ spans: tracing.exported().filter(({ name }) => name.includes("effect")) }), []);
  });

  test("an action that loses its actor ends its span: what it called would hang on nothing", async () => {
    const tracing = new Tracing();
    const bank: Bank = { charge: async () => "ok", seen: [] };
    let begun = false;
    const actors = actorsWith(bank);
    const order = orderMachine(bank).provide({
      actions: {
        tell: () => {
          begun = true;
          return new Promise<void>(() => {}) as never;
        },
      },
    });
    const runtime = await createRuntime({
      actors: { ...actors, order: defineActor(order) },
      store: memory(),
      logger: silent,
      telemetry: tracing.process(),
    });
    await runtime.actor("order", "o-1").createAndSend(undefined as never, { type: "PAY" });
    await until(() => begun);
    assert.equal(tracing.named("effect tell").length, 0);
    await runtime.stop({ drainMs: 0 });
    assert.equal(tracing.named("effect tell").length, 1);
  });

  test("a refused event and a repeated one say so", async () => {
    const tracing = new Tracing();
    const runtime = await hosted({ charge: async () => "ok", seen: [] }, { telemetry: tracing.process() });
    const order = runtime.actor("order", "o-1");
    await order.create();
    await assert.rejects(order.send({ type: "FLY" } as never));
    await order.send({ type: "PAY" }, { key: "k-1" });
    await order.send({ type: "PAY" }, { key: "k-1" });
    assert.equal(tracing.named("order FLY")[0]?.attributes["error.type"], "UnknownEvent");
    assert.equal(tracing.named("send FLY")[0]?.status.code, SpanStatusCode.ERROR);
    assert.deepEqual(
      tracing.named("order PAY").map(({ attributes }) => attributes["holdfast.duplicate"]),
      [false, true],
    );
  });

  test("a caller's own span is the beginning; a traceparent given by hand is taken instead", async () => {
    const tracing = new Tracing();
    const telemetry = tracing.process();
    const runtime = await hosted({ charge: async () => "ok", seen: [] }, { telemetry });
    const request = telemetry.start("POST /orders", {});
    assert.ok(request);
    await telemetry.with(request, () => runtime.actor("order", "o-1").create());
    const given = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    await runtime.actor("order", "o-1").send({ type: "PAY" }, { trace: given });
    assert.equal(parentOf(tracing.named("send create")[0]), request.context.split("-")[2]);
    assert.equal(parentOf(tracing.named("send PAY")[0]), "b".repeat(16));
    await assert.rejects(
      runtime.actor("order", "o-1").send({ type: "PAY" }, { trace: "00-no\r\nsuch" }),
      /traceparent/,
    );
  });

  test("a host that goes on after another links what it inherits, although the other exported nothing", async () => {
    const tracing = new Tracing();
    const store = memory();
    const client = tracing.process();
    const bank: Bank = { charge: () => new Promise(() => {}), seen: [] };
    const unexported = new Tracing();
    const first = await hosted(bank, { store, telemetry: unexported.process() });
    const order = first.actor("order", "o-1");
    await first.actor("printer", "p-1").create();
    const request = client.start("POST /orders", {});
    await order.create(undefined as never, { trace: request?.context ?? "" });
    await order.send({ type: "PAY" });
    await until(() => bank.seen.length === 1);
    request?.end();
    await first.stop({ drainMs: 0 });
    bank.charge = async () => "ok";
    const second = await hosted(bank, { store, telemetry: tracing.process() });
    await second.actor("order", "o-1").waitFor((snapshot) => snapshot.matches("printing"));
    const spans = tracing.exported();
    assert.deepEqual(checkTraces({ spans, expected: ["takeover", "effect charge", "timer"] }), []);
    const [charge] = tracing.named("effect charge");
    assert.equal(parentOf(charge), undefined, "begun again by another owner");
    assert.ok(spans.find(({ name }) => name === "POST /orders"));
  });
});

describe("without telemetry", () => {
  test("nothing of it is in the document, and openTelemetry() without an SDK does nothing, too", async () => {
    trace.disable();
    for (const telemetry of [undefined, openTelemetry()]) {
      const runtime = await hosted({ charge: async () => "ok", seen: [] }, telemetry && { telemetry });
      await live(runtime, "o-1");
      const history = await runtime.actor("order", "o-1").history();
      assert.equal(history.length > 0 && JSON.stringify(history).includes('"trace"'), false);
    }
  });
});
