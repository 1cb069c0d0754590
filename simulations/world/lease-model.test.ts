import assert from "node:assert/strict";
import { test } from "vitest";
import type { LeaseChange } from "../../runtime/ports/leases.ts";
import { compareTokens } from "../../runtime/ports/store.ts";
import type { LeaseSettings } from "./lease-model.ts";
import { createWorld } from "./world.ts";

/** Nodes that take part, and what each was told. */
function worldWith(names: readonly string[], leases: LeaseSettings = {}) {
  const world = createWorld({ seed: 1, leases });
  const told = new Map<string, LeaseChange[]>();
  for (const name of names) {
    world.node(name).boot((ports) => {
      const changes: LeaseChange[] = [];
      told.set(name, changes);
      ports.leases.onChange((change) => changes.push(change));
    });
  }
  return { world, told };
}

test("nodes that start together share the partitions, and tokens grow with every grant", async () => {
  const { world, told } = worldWith(["n1", "n2"]);
  await world.run();
  assert.deepEqual(
    [0, 1, 2, 3].map((partition) => world.leases.ownerOf(partition)),
    ["n1", "n2", "n1", "n2"],
  );
  assert.equal(told.get("n1")?.length, 2);
  assert.deepEqual(world.node("n1").ports.leases.token(0), world.leases.grants[0]?.token);
  assert.equal(world.node("n1").ports.leases.token(1), undefined);
  const tokens = world.leases.grants.map(({ token }) => token);
  for (const [index, token] of tokens.slice(1).entries()) assert.ok(compareTokens(token, tokens[index]!) > 0);
});

test("renewal keeps the token as long as the node lives", async () => {
  const { world } = worldWith(["n1", "n2"]);
  await world.run();
  await world.run({ forMs: 600_000 });
  assert.equal(world.leases.grants.length, 4);
});

test("a crashed owner's partitions move after its ttl, not before", async () => {
  const { world } = worldWith(["n1", "n2"]);
  await world.run();
  world.node("n1").crash();
  await world.run({ forMs: 3_000 });
  assert.equal(world.leases.ownerOf(0), "n1");
  await world.run({ forMs: 6_000 });
  assert.equal(world.leases.ownerOf(0), "n2");
  assert.deepEqual(world.leases.believersIn(0), ["n2"]);
});

test("a node that restarts is a new session, and waits for its old one to expire", async () => {
  const { world } = worldWith(["n1"]);
  await world.run();
  world.node("n1").restart();
  await world.run({ forMs: 2_000 });
  assert.equal(world.node("n1").ports.leases.token(0), undefined);
  await world.run({ forMs: 8_000 });
  assert.deepEqual(world.node("n1").ports.leases.token(0), [1, 5]);
});

test("a frozen owner still believes when it wakes, while another owns; then it is told", async () => {
  const { world, told } = worldWith(["n1", "n2"]);
  await world.run();
  world.node("n1").freeze(20_000);
  await world.run({ forMs: 19_000 });
  assert.deepEqual(world.leases.believersIn(0), ["n1", "n2"]);
  await world.run({ forMs: 5_000 });
  assert.deepEqual(world.leases.believersIn(0), ["n2"]);
  assert.ok(told.get("n1")?.some(({ kind, partition }) => kind === "lost" && partition === 0));
});

test("an owner that is cut off believes until the link is healed, or until its ttl where holders stop", async () => {
  for (const holderStops of [false, true]) {
    const { world } = worldWith(["n1", "n2"], { holderStops });
    await world.run();
    world.links.cut("n1", "leases");
    await world.run({ forMs: 10_000 });
    assert.deepEqual(world.leases.believersIn(0), holderStops ? ["n2"] : ["n1", "n2"]);
    world.links.heal("n1", "leases");
    await world.run({ forMs: 5_000 });
    assert.deepEqual(world.leases.believersIn(0), ["n2"]);
  }
});

test("a move tells both", async () => {
  const { world, told } = worldWith(["n1", "n2"]);
  await world.run();
  world.leases.move(0, "n2");
  await world.run({ forMs: 100 });
  assert.deepEqual(told.get("n1")?.at(-1), { kind: "lost", partition: 0 });
  assert.deepEqual(told.get("n2")?.at(-1), { kind: "granted", partition: 0, token: [1, 5] });
});

test("a move may leave the old owner in its belief, for good", async () => {
  const { world } = worldWith(["n1", "n2"]);
  await world.run();
  world.leases.move(0, "n2", { tellOldOwner: false, delayMs: 1_000 });
  await world.run({ forMs: 60_000 });
  assert.deepEqual(world.leases.believersIn(0), ["n1", "n2"]);
  world.leases.move(0, "n1");
  await world.run({ forMs: 100 });
  assert.deepEqual(world.leases.believersIn(0), ["n1"]);
  assert.deepEqual(world.node("n1").ports.leases.token(0), [1, 6]);
});

test("a move to the same node is a new token", async () => {
  const { world, told } = worldWith(["n1"]);
  await world.run();
  world.leases.move(0, "n1");
  await world.run({ forMs: 100 });
  assert.deepEqual(told.get("n1")?.slice(-1), [{ kind: "granted", partition: 0, token: [1, 5] }]);
});

test("release gives everything back at once and tells of it", async () => {
  const { world, told } = worldWith(["n1", "n2"]);
  await world.run();
  await world.settle(world.node("n1").ports.leases.release());
  assert.deepEqual(world.leases.believersIn(0), []);
  assert.equal(told.get("n1")?.filter(({ kind }) => kind === "lost").length, 2);
  await world.run({ forMs: 100 });
  assert.deepEqual(
    [0, 1, 2, 3].map((partition) => world.leases.ownerOf(partition)),
    ["n2", "n2", "n2", "n2"],
  );
});
