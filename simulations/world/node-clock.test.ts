import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { createWorld } from "./world.ts";

function open() {
  const world = createWorld({ seed: 1 });
  const node = world.node("n1");
  node.boot(() => {});
  const { clock } = node.ports;
  const [wallMs, monotonicMs] = [clock.now(), clock.monotonic()];
  return {
    world,
    node,
    clock,
    passed: () => [clock.now() - wallMs, Math.round((clock.monotonic() - monotonicMs) * 1_000) / 1_000],
    /** When a timer of this length fires, in true milliseconds. */
    fires: async (delayMs: number) => {
      let atMs: number | undefined;
      clock.after(delayMs, () => {
        atMs = world.nowMs;
      });
      await world.runUntil(() => atMs !== undefined);
      return atMs;
    },
  };
}

describe("a node's clocks", () => {
  test("go with true time", async () => {
    const { world, passed, fires } = open();
    await world.run({ forMs: 1_000 });
    assert.deepEqual(passed(), [1_000, 1_000]);
    assert.equal(await fires(500), 1_500);
  });

  test("a wall clock that jumps takes neither the monotonic clock nor timers with it", async () => {
    const { world, node, passed } = open();
    node.wallOffsetMs = -5_000;
    await world.run({ forMs: 1_000 });
    assert.deepEqual(passed(), [-4_000, 1_000]);
  });

  test("that drift take timers with them, and stay apart afterwards", async () => {
    const { world, node, passed, fires } = open();
    node.clock.drift(2);
    await world.run({ forMs: 1_000 });
    assert.deepEqual(passed(), [2_000, 2_000]);
    assert.equal(await fires(1_000), 1_500);
    node.clock.drift(1);
    await world.run({ forMs: 500 });
    assert.deepEqual(passed(), [3_500, 3_500]);
  });

  test("a wall clock that stops shows the same until it goes on", async () => {
    const { world, node, passed } = open();
    node.clock.stop();
    await world.run({ forMs: 1_000 });
    assert.deepEqual(passed(), [0, 1_000]);
    node.clock.go();
    assert.deepEqual(passed(), [1_000, 1_000]);
  });

  test("of a suspended machine: monotonic time and timers stand still, the wall clock does not", async () => {
    const { world, node, passed } = open();
    let firedMs = 0;
    node.ports.clock.after(1_000, () => {
      firedMs = world.nowMs;
    });
    await world.run({ forMs: 400 });
    node.suspend(5_000);
    await world.run({ forMs: 2_000 });
    assert.deepEqual(passed(), [2_400, 400]);
    await world.run({ forMs: 5_000 });
    assert.deepEqual(passed(), [7_400, 2_400]);
    assert.equal(firedMs, 6_000);
  });

  test("of a process that was stopped go on: what was due fires when it wakes", async () => {
    const { world, node, passed } = open();
    let firedMs = 0;
    node.ports.clock.after(1_000, () => {
      firedMs = world.nowMs;
    });
    node.freeze(5_000);
    await world.run({ forMs: 6_000 });
    assert.deepEqual(passed(), [6_000, 6_000]);
    assert.equal(firedMs, 5_000);
  });
});

test("a slow node does everything later, in order", async () => {
  const world = createWorld({ seed: 1 });
  const node = world.node("n1");
  const fired: number[] = [];
  node.boot(({ clock }) => {
    for (let timer = 0; timer < 20; timer++) clock.after(10 + timer, () => fired.push(timer));
  });
  node.slow(500);
  world.after(100, "fast again", () => node.slow(0));
  await world.run({ forMs: 20 });
  assert.ok(fired.length < 5);
  await world.run({ forMs: 1_000 });
  assert.deepEqual(
    fired,
    Array.from({ length: 20 }, (_, timer) => timer),
  );
});
