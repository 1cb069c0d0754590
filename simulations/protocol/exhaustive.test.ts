/**
 * One story (two actors are created; events, an effect with a retry, a timer, messages both ways) with a crash at every
 * point of the node that runs it, and again with a freeze at every point while a second owner takes over.
 */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { type Case, type Command, runCase, type Trouble } from "./case.ts";
import type { MachineSpec } from "./machines.ts";

const story: MachineSpec = {
  regions: [
    [
      {
        on: { A: { target: 1, throws: false, doing: [{ do: "named" }, { do: "send", to: 1 }] } },
        entry: [{ do: "inline" }],
        exit: [],
      },
      {
        on: {
          B: { target: 0, throws: true, doing: [{ do: "flaky" }, { do: "send", to: 0 }, { do: "cancel", id: "x" }] },
        },
        entry: [{ do: "timer", delayMs: 100, id: "x" }],
        exit: [{ do: "emit" }],
        after: { delayMs: 200, target: 2 },
        invoke: { failures: 1, done: 1, error: 0 },
      },
      { on: { C: { target: 0, throws: false, doing: [{ do: "send", to: 1 }] } }, entry: [{ do: "named" }], exit: [] },
    ],
  ],
};

const say = (actor: number, type: Command["type"], waitMs: number, more: Partial<Command> = {}): Command => ({
  actor,
  type,
  throws: false,
  callersKey: true,
  again: false,
  waitMs,
  ...more,
});

const given = (troubles: readonly Trouble[]): Case => ({
  seed: 1,
  machines: [story],
  actors: [0, 0],
  clients: [
    [say(0, "A", 0), say(0, "B", 30, { throws: true }), say(0, "B", 1, { again: true }), say(1, "C", 500)],
    [say(1, "A", 5, { callersKey: false }), say(0, "C", 400, { callersKey: false })],
  ],
  troubles,
  rates: { store: {}, request: {}, publish: {} },
});

/** How many points the node passes before the story is over. */
async function pointsOf(node: number): Promise<number> {
  const { world, violations } = await runCase(given([]));
  assert.deepEqual(violations, []);
  const { points } = world.nodes.find(({ name }) => name === `n${node + 1}`) as (typeof world.nodes)[number];
  // The rest is the clock of an idle host.
  const last = points.findLastIndex((name) => !name.startsWith("clock."));
  return last + 1;
}

async function tryEveryPoint(node: number, trouble: (point: number) => readonly Trouble[]): Promise<number> {
  const points = await pointsOf(node);
  assert.ok(points > 50, `only ${points} points`);
  const wrong: string[] = [];
  for (let point = 1; point <= points; point++) {
    const { violations } = await runCase(given(trouble(point)));
    for (const { rule, detail } of violations.slice(0, 3)) wrong.push(`point ${point}: ${rule} ${detail}`);
  }
  assert.deepEqual(wrong, []);
  return points;
}

describe("a story of two actors ends right", () => {
  for (const node of [0, 1]) {
    test(`when node ${node + 1} crashes at any of its points and starts again`, { timeout: 300_000 }, async () => {
      const points = await tryEveryPoint(node, (point) => [{ kind: "crash", node, point, restartAfterMs: 200 }]);
      console.log(`exhaustive: node ${node + 1} crashed at each of ${points} points`);
    });

    test(`when node ${node + 1} crashes at any of its points and another takes over`, {
      timeout: 300_000,
    }, async () => {
      await tryEveryPoint(node, (point) => [{ kind: "crash", node, point, restartAfterMs: 9_000 }]);
    });

    test(`when node ${node + 1} freezes at any of its points and another takes over meanwhile`, {
      timeout: 300_000,
    }, async () => {
      const points = await tryEveryPoint(node, (point) => [{ kind: "freeze", node, point, forMs: 8_000 }]);
      console.log(`exhaustive: node ${node + 1} frozen at each of ${points} points`);
    });
  }
});
