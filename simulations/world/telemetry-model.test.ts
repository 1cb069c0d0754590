import assert from "node:assert/strict";
import { test } from "vitest";
import { createWorld, type World } from "./world.ts";

async function afterCrash(seed: number): Promise<World> {
  const world = createWorld({ seed });
  const node = world.node("n1");
  const { telemetry } = node.ports;
  const order = telemetry.start("early", { attributes: { "holdfast.actor": "order.1", "holdfast.effect": 7 } });
  const late = telemetry.start("late", { parent: order?.context, links: [order?.context, undefined, "00-nobody"] });
  const never = telemetry.start("never", {});
  order?.end();
  world.after(1_000, "late ends", () => late?.end());
  world.after(1_500, "crash", () => node.crash());
  await world.run();
  never?.end();
  assert.equal(telemetry.isRecording(), false);
  assert.equal(telemetry.start("dead", {}), undefined);
  return world;
}

test("what has ended and was not sent before the crash is cut; the dead record nothing", async () => {
  const { spans } = (await afterCrash(1)).telemetry;
  assert.deepEqual(
    spans.map(({ name, state, ends }) => [name, state, ends]),
    [
      ["early", "delivered", 1],
      ["late", "cut", 1],
      ["never", "cut", 0],
    ],
  );
  const [early, late] = spans;
  assert.deepEqual([early?.actor, early?.about, early?.owner], ["order.1", 7, "n1.1"]);
  assert.deepEqual([late?.parent, late?.links, late?.strays], [0, [], ["00-nobody"]]);
  assert.equal(late?.context.split("-")[1], early?.context.split("-")[1], "one trace");
});

test("ids belong to the process: the same in every run, others in its next life", async () => {
  const first = await afterCrash(1);
  const second = await afterCrash(2);
  const contexts = (world: World) => world.telemetry.spans.map(({ context }) => context);
  assert.deepEqual(contexts(first), contexts(second));
  for (const context of contexts(first)) assert.match(context, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  first.node("n1").restart();
  const next = first.node("n1").ports.telemetry.start("next", {});
  assert.equal(contexts(first).indexOf(next?.context ?? ""), 3);
});

test("a span is active where it is worked on, and only there", () => {
  const { telemetry } = createWorld({ seed: 1 }).node("n1").ports;
  const span = telemetry.start("effect", {});
  assert.ok(span);
  assert.equal(
    telemetry.with(span, () => telemetry.active()),
    span.context,
  );
  assert.equal(telemetry.active(), undefined);
});
