/** The step (event in, document text out) against a live XState `send`, in one thread, by turns. */
import { createActor } from "xstate";
import { defineActor } from "../runtime/definition.ts";
import { load, step } from "../runtime/step.ts";
import { orderEvent, orderMachine } from "./order.ts";

export type StepFigures = {
  readonly stepUs: number;
  readonly liveUs: number;
  readonly ratio: number;
  readonly documentBytes: number;
};

export function benchStep(rounds = 7, events = 40_000): StepFigures {
  const stepTimes: number[] = [];
  const liveTimes: number[] = [];
  let documentBytes = 0;
  for (let round = 0; round < rounds; round++) {
    liveTimes.push(timeLive(events));
    const timed = timeStep(events);
    stepTimes.push(timed.us);
    documentBytes = timed.bytes;
  }
  const stepUs = median(stepTimes);
  const liveUs = median(liveTimes);
  return { stepUs, liveUs, ratio: stepUs / liveUs, documentBytes };
}

function timeLive(events: number): number {
  const actor = createActor(orderMachine, { input: { id: "o-1" } }).start();
  const started = process.hrtime.bigint();
  for (let index = 0; index < events; index++) actor.send(orderEvent(index));
  return Number(process.hrtime.bigint() - started) / 1000 / events;
}

function timeStep(events: number): { us: number; bytes: number } {
  const definition = defineActor(orderMachine);
  let actor = load({ type: "order", id: "o-1" }, definition, { onOutside: () => {} }, undefined);
  const context = { nowMs: 1_800_000_000_000, token: [1, 0] as const, commit: "c", born: "b" };
  const first = step(
    actor,
    [{ kind: "create", input: { id: "o-1" }, key: { kind: "auto", client: "c", number: 1, low: 1 } }],
    context,
  );
  actor = first.actor;
  actor.base = first.text;
  let bytes = 0;
  const started = process.hrtime.bigint();
  for (let index = 0; index < events; index++) {
    const number = index + 2;
    const result = step(
      actor,
      [{ kind: "event", event: orderEvent(index), key: { kind: "auto", client: "c", number, low: number } }],
      context,
    );
    actor = result.actor;
    actor.base = result.text;
    bytes = result.text?.length ?? 0;
  }
  return { us: Number(process.hrtime.bigint() - started) / 1000 / events, bytes };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] as number;
}
