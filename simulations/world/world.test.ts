import assert from "node:assert/strict";
import { test } from "vitest";
import { hashText } from "../../runtime/hash.ts";
import { WorldError } from "./loop.ts";
import { createWorld, type World } from "./world.ts";

/** Three nodes that increase one counter by compare-and-set, under faults, crashes and freezes. */
async function contend(seed: number, change: (world: World) => void = () => {}): Promise<World> {
  const world = createWorld({ seed });
  world.store.faults.set({
    write: { conflict: 0.1, "unknown-applied": 0.1, "unknown-late": 0.1, "unknown-lost": 0.1, duplicate: 0.1 },
    read: { unreachable: 0.1, stale: 0.1 },
  });
  change(world);
  for (const name of ["n1", "n2", "n3"]) {
    world.node(name).boot(async ({ store, clock, random, logger, leases }) => {
      leases.onChange((granted) => logger.info(`${granted.kind} ${granted.partition}`));
      store.watch("", (told) => logger.debug(told.kind));
      for (let round = 0; round < 20; round++) {
        await new Promise<void>((resolve) => clock.after(random.next() * 100, resolve));
        const entry = await store.read("count").catch(() => undefined);
        const value = String(Number(entry?.value ?? "0") + 1);
        const header = { commit: random.id(), hash: hashText(value) };
        const outcome = await store.write({
          key: "count",
          value,
          header,
          expect: entry?.revision ?? 0,
          token: leases.token(0) ?? [0, 0],
        });
        logger.info(outcome.kind);
      }
    });
  }
  world.node("n1").crashAt("store.write:answer", { nth: 3, restartAfterMs: 500 });
  world.node("n2").freezeAt("store.write:call", 2_000, { nth: 2 });
  await world.run({ forMs: 120_000 });
  return world;
}

test("the same seed is the same run, byte for byte", async () => {
  for (const seed of [1, 2, 3]) {
    const first = await contend(seed);
    const second = await contend(seed);
    assert.ok(first.trace.count > 500);
    assert.equal(first.trace.hash, second.trace.hash);
    assert.deepEqual(first.trace.lines(), second.trace.lines());
    assert.deepEqual(first.store.log, second.store.log);
  }
});

test("other seeds are other runs", async () => {
  const hashes = await Promise.all([1, 2, 3, 4].map(async (seed) => (await contend(seed)).trace.hash));
  assert.equal(new Set(hashes).size, 4);
});

test("two worlds that run side by side do not disturb each other", async () => {
  const alone = (await contend(7)).trace.hash;
  const [beside] = await Promise.all([contend(7), contend(8)]);
  assert.equal(beside.trace.hash, alone);
});

test("dice belong to their place: others roll on as they did", () => {
  const first = createWorld({ seed: 5 });
  const second = createWorld({ seed: 5 });
  second.dice("a place that the first world never asked").next();
  const rolls = (world: World) => Array.from({ length: 100 }, () => world.dice("store/n1").next());
  assert.deepEqual(rolls(first), rolls(second));
  assert.notDeepEqual(rolls(createWorld({ seed: 6 })), rolls(createWorld({ seed: 5 })));
  assert.notEqual(first.dice("store/n1").id(), first.dice("store/n2").id());
});

test("dice are fair enough", () => {
  const dice = createWorld({ seed: 1 }).dice("fair");
  const counts = new Array<number>(10).fill(0);
  for (let roll = 0; roll < 100_000; roll++) counts[dice.whole(0, 9)]!++;
  for (const count of counts) assert.ok(count > 9_600 && count < 10_400, String(counts));
});

test("events happen by time, and at one instant in the order of planning", async () => {
  const world = createWorld({ seed: 1 });
  const seen: string[] = [];
  world.after(2, "b", () => seen.push("b"));
  world.after(1, "a", () => seen.push("a"));
  world.after(2, "c", () => seen.push("c"));
  world.after(3, "cancelled", () => seen.push("cancelled"))();
  assert.equal(await world.run(), "quiet");
  assert.deepEqual(seen, ["a", "b", "c"]);
  assert.equal(world.nowMs, 2);
});

test("every promise that an event woke has run before the next event", async () => {
  const world = createWorld({ seed: 1 });
  const seen: string[] = [];
  world.after(1, "first", () => {
    void (async () => {
      for (let hop = 0; hop < 1_000; hop++) await undefined;
      seen.push("promises of the first");
    })();
  });
  world.after(1, "second", () => seen.push("second"));
  await world.run();
  assert.deepEqual(seen, ["promises of the first", "second"]);
});

test("a run ends at its time, at its condition, or when only background is left", async () => {
  const world = createWorld({ seed: 1 });
  world.node("n1").boot(({ leases }) => {
    leases.onChange(() => {});
  });
  assert.equal(await world.run(), "quiet");
  assert.equal(await world.run({ forMs: 60_000 }), "time");
  const beganMs = world.nowMs;
  assert.equal(await world.run({ until: () => world.nowMs > beganMs + 10_000 }), "until");
  assert.equal(await createWorld({ seed: 1 }).run({ forMs: 5 }), "time");
  assert.equal(await createWorld({ seed: 1 }).run({ until: () => false }), "quiet");
});

test("an endless world stops at its limit and shows the seed and its last lines", async () => {
  const world = createWorld({ seed: 42, maxSteps: 100 });
  const again = (): void => {
    world.note("again");
    world.after(1, "again", again);
  };
  again();
  await assert.rejects(
    world.run(),
    (error) => error instanceof WorldError && /seed 42.*100 steps[\s\S]*again/.test(error.message),
  );
});

test("an error in an event, in a listener of a node, or in a boot ends the run with its cause", async () => {
  const boom = new Error("boom");
  const fails = (): never => {
    throw boom;
  };
  const inEvent = createWorld({ seed: 1 });
  inEvent.after(1, "event", fails);
  const inTimer = createWorld({ seed: 1 });
  inTimer.node("n1").boot(({ clock }) => {
    clock.after(1, fails);
  });
  const inBoot = createWorld({ seed: 1 });
  inBoot.node("n1").boot(async ({ store }) => {
    await store.read("a");
    fails();
  });
  for (const world of [inEvent, inTimer, inBoot]) {
    await assert.rejects(world.run({ forMs: 1_000 }), (error) => error instanceof WorldError && error.cause === boom);
  }
});

test("settle gives the result or the error, and says when nothing is left that could bring one", async () => {
  const world = createWorld({ seed: 1 });
  assert.equal(await world.settle(world.sleep(10).then(() => "done")), "done");
  await assert.rejects(world.settle(world.sleep(10).then(() => Promise.reject(new Error("no")))), /no/);
  await assert.rejects(world.settle(new Promise(() => {})), /quiet/);
});

test("a hundred thousand events take seconds, not minutes", async () => {
  const world = createWorld({ seed: 1 });
  let left = 100_000;
  const tick = async (): Promise<void> => {
    for (; left > 0; left--) await world.sleep(1);
  };
  await Promise.all([world.settle(tick(), 1_000_000)]);
  assert.equal(world.steps, 100_000);
});
