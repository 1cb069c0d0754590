import assert from "node:assert/strict";
import { test } from "vitest";
import { assign, setup } from "xstate";
import { defineActor, definitionsOf } from "../definition.ts";
import type { SpanOptions, Telemetry } from "../ports/telemetry.ts";
import { type Input, load, step } from "../step.ts";
import { TurnSpans } from "./turn-spans.ts";

const traceparent = (digit: number) => `00-${"a".repeat(32)}-${String(digit).repeat(16)}-01`;

function recording() {
  const begun: { readonly name: string; readonly options: SpanOptions; readonly context: string; ends: number }[] = [];
  const telemetry: Telemetry = {
    isRecording: () => true,
    start: (name, options) => {
      const span = { name, options, context: traceparent(begun.length + 1), ends: 0 };
      begun.push(span);
      return { context: span.context, set() {}, fail() {}, end: () => void span.ends++ };
    },
    active: () => undefined,
    with: (_, work) => work(),
  };
  return { begun, telemetry };
}

const picky = setup({ types: { context: {} as { n: number }, events: {} as { type: "GOOD" } | { type: "BAD" } } });
const machine = picky.createMachine({
  context: { n: 0 },
  on: {
    GOOD: { actions: assign({ n: ({ context }) => context.n + 1 }) },
    BAD: {
      actions: assign(() => {
        throw new Error("refused");
      }),
    },
  },
});

const key = (name: string) => ({ kind: "caller", key: name }) as const;
const event = (type: string): Input => ({ kind: "event", event: { type }, key: key(type) });

test("what a step puts back is not what its commit hangs on, and its span is ended", () => {
  const { actor: definition } = definitionsOf({ actor: defineActor(machine) });
  assert.ok(definition);
  const context = { nowMs: 1, token: [1, 1] as const, commit: "c", born: "b" };
  const empty = load({ type: "actor", id: "1" }, definition, { onOutside: () => {} }, undefined);
  const made = step(empty, [{ kind: "create", input: undefined, key: key("make") }], context);
  const { begun, telemetry } = recording();
  // Settlements have no trace of their own, so that the first to have one is the event that will be put back.
  const taken = [{ input: { kind: "barrier" } as Input }, { input: event("BAD"), trace: traceparent(9) }];
  const spans = new TurnSpans(telemetry, "actor.1", undefined, taken);
  const inputs = taken.map(({ input }) => input);
  const result = step(made.actor, inputs, { ...context, traces: spans.contexts });
  assert.equal(result.taken, 1);
  spans.took(result.taken);
  spans.committing("c", 100);
  spans.end(result.replies, { kind: "written" });
  assert.equal(result.actor.head?.trace, undefined, "the document names no span of another turn");
  assert.deepEqual(
    begun.map(({ name, ends, options }) => [name, ends, options.parent]),
    [
      ["actor BAD", 1, traceparent(9)],
      ["commit", 1, undefined],
    ],
  );
});

test("who is asked about an actor that is not there takes nothing over", () => {
  const { begun, telemetry } = recording();
  const claim = [{ input: { kind: "claim" } as Input }];
  new TurnSpans(telemetry, "actor.1", undefined, claim);
  assert.deepEqual(begun, []);
  new TurnSpans(telemetry, "actor.1", { origin: traceparent(1), trace: traceparent(2) }, claim);
  assert.deepEqual(
    begun.map(({ name }) => name),
    ["takeover"],
  );
});
