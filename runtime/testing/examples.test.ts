/** Each example is run by XState and by ours in every mode; at rest after each script item they must be the same. */
import { describe, expect, test } from "vitest";
import { type AnyActor, type AnyActorRef, SimulatedClock, createActor as xstateCreateActor } from "xstate";
import { everyMode } from "./every-mode.ts";
import type { Example } from "./examples/example.ts";
import { fetchWithRetry } from "./examples/fetch-with-retry.ts";
import { multiStepForm } from "./examples/multi-step-form.ts";
import { parallelPlayer } from "./examples/parallel-player.ts";
import { stopwatch } from "./examples/stopwatch.ts";
import { tradedChildren } from "./examples/traded-children.ts";
import { trafficLight } from "./examples/traffic-light.ts";
import { createActorWith } from "./index.ts";

const examples = [trafficLight, fetchWithRetry, multiStepForm, parallelPlayer, tradedChildren, stopwatch];

for (const example of examples)
  describe(example.name, () => {
    test("ends as its script says, with XState itself", async () => {
      const { atRest, told } = await run(example, xstateCreateActor);
      expect({ ...atRest.at(-1), told }).toMatchObject(example.endsAs);
    });

    for (const { mode, modes } of everyMode)
      test(`is at rest as XState is after each step, ${mode}`, async () => {
        const theirs = await run(example, xstateCreateActor);
        const ours = await run(example, createActorWith(modes));
        expect(ours.atRest).toEqual(theirs.atRest);
        expect(ours.told).toEqual(theirs.told);
      });
  });

type AtRest = { status: unknown; value: unknown; context: unknown; output: unknown; error: unknown; children: unknown };

async function run(example: Example, createActor: typeof xstateCreateActor) {
  const told = new Set<string>();
  const clock = new SimulatedClock();
  const machine = example.machine((what) => told.add(what));
  const actor = createActor(machine, { clock, input: example.input });
  actor.on("*", (emitted: { type: string; track?: number }) => told.add(`emitted ${emitted.type} ${emitted.track}`));
  actor.start();
  const atRest: AtRest[] = [lookAt(actor)];
  for (const item of example.script) {
    if ("send" in item) actor.send(item.send);
    else if ("advanceMs" in item) advance(clock, item.advanceMs);
    else await resultsAreIn();
    atRest.push(lookAt(actor));
  }
  actor.stop();
  return { atRest, told: [...told].sort() };
}

/** What an observer can know of an actor and its children, without the ids that whoever runs it may choose. */
function lookAt(actor: AnyActor | AnyActorRef, depth = 0): AtRest {
  const snapshot = actor.getSnapshot();
  return {
    status: snapshot.status,
    value: snapshot.value,
    context: withoutRefs(snapshot.context, depth),
    output: snapshot.output,
    error: snapshot.error,
    children: Object.values<AnyActorRef>(snapshot.children ?? {}).map((child) => lookAt(child, depth + 1)),
  };
}

/** Replaces each actor reference by what the actor is at present; two levels suffice for the examples. */
function withoutRefs(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("getSnapshot" in value) return depth > 2 ? "an actor" : { actor: lookAt(value as AnyActorRef, depth + 1) };
  if (Array.isArray(value)) return value.map((item) => withoutRefs(item, depth));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutRefs(item, depth)]));
}

function advance(clock: SimulatedClock, totalMs: number): void {
  const stepMs = 50;
  for (let leftMs = totalMs; leftMs > 0; leftMs -= stepMs) clock.increment(Math.min(stepMs, leftMs));
}

/** Promises that have nothing to wait for end within a few turns of the event loop. */
async function resultsAreIn(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resume) => setImmediate(resume));
}
