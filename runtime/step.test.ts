import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { defineActor } from "./definition.ts";
import type { Document } from "./document.ts";
import { requestNumber } from "./inbox.ts";
import { type Actor, type Input, load, step } from "./step.ts";

const counter = defineActor(
  setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
    context: { n: 0 },
    on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
  }),
);

const create: Input = { kind: "create", input: undefined, key: { kind: "caller", key: "make" } };

function message(life: string | undefined, counter = 1): Input {
  const sender = { key: "s.a", born: "b", partition: 3 };
  return {
    kind: "message",
    sender,
    number: requestNumber([1, 0], counter),
    life,
    items: [{ n: 1, event: { type: "INC" } }],
  };
}

function take(actor: Actor, ...inputs: Input[]) {
  const result = step(actor, inputs, { nowMs: 1_000, token: [1, 0], commit: "c", born: "life-1" });
  result.actor.base = result.text ?? result.actor.base;
  return result;
}

test("a message that became a dead letter for want of a receiver is not applied when the receiver is created", () => {
  const absent = load({ type: "counter", id: "all" }, counter, { onOutside: () => {} }, undefined);
  const early = take(absent, message(undefined));
  expect(early.replies).toMatchObject([{ kind: "message", upTo: 0, dead: [{ n: 1 }] }]);
  const { actor } = take(early.actor, create);
  expect(take(actor, message(undefined)).replies).toEqual([{ kind: "life", life: "life-1" }]);
  expect(take(actor, message("another life")).replies).toEqual([{ kind: "life", life: "life-1" }]);
  expect((JSON.parse(actor.base ?? "") as Document).actors.s0?.snap).toMatchObject({ context: { n: 0 } });
});

test("a message for this life is applied once, however often it comes", () => {
  const { actor } = take(load({ type: "counter", id: "all" }, counter, { onOutside: () => {} }, undefined), create);
  for (const number of [1, 2, 3]) {
    expect(take(actor, message("life-1", number)).replies).toEqual([{ kind: "message", upTo: 1, dead: [] }]);
  }
  expect((JSON.parse(actor.base ?? "") as Document).actors.s0?.snap).toMatchObject({ context: { n: 1 } });
});
