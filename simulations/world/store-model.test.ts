import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { hashText } from "../../runtime/hash.ts";
import { fencingContract, type StoreUnderTest, storeContract } from "../../runtime/ports/store.contract.ts";
import type { StoreWrite } from "../../runtime/ports/store.ts";
import type { ReadFault, WriteFault } from "./store-faults.ts";
import { createWorld, type World } from "./world.ts";

describe("the store model keeps the store's contract", () => {
  for (const { name, run } of [...storeContract, ...fencingContract]) {
    test(name, async () => {
      let stores = 0;
      const world = createWorld({ seed: name, store: { historyDepth: 4 } });
      // Each opening is a process of its own; all share the world's one store, which only one case at a time uses.
      const open = async (): Promise<StoreUnderTest> => {
        const epoch = ++stores;
        world.store.data.lowestEpoch = epoch;
        return { store: world.node(`n${epoch}`).ports.store, token: [epoch, 1], reopen: open };
      };
      await world.settle(run(open));
    });
  }
});

const writeOf = (value: string, expect: number, key = "a"): StoreWrite => ({
  key,
  value,
  header: { commit: `c${value}`, hash: hashText(value) },
  expect,
  token: [1, 1],
});

describe("each fault of a write", () => {
  const cases: readonly {
    readonly fault: WriteFault;
    readonly answer: string;
    /** Whether the write is there when it is answered, and at the end. */
    readonly atAnswer: boolean;
    readonly atEnd: boolean;
  }[] = [
    { fault: "conflict", answer: "conflict", atAnswer: false, atEnd: false },
    { fault: "conflict-applied", answer: "conflict", atAnswer: true, atEnd: true },
    { fault: "unknown-applied", answer: "unknown", atAnswer: true, atEnd: true },
    { fault: "unknown-lost", answer: "unknown", atAnswer: false, atEnd: false },
    { fault: "duplicate", answer: "written", atAnswer: true, atEnd: true },
    { fault: "slow-answer", answer: "written", atAnswer: true, atEnd: true },
    { fault: "full", answer: "refused", atAnswer: false, atEnd: false },
  ];
  for (const { fault, answer, atAnswer, atEnd } of cases) {
    test(`${fault}: answered ${answer}, ${atEnd ? "applied" : "never applied"}`, async () => {
      const world = createWorld({ seed: fault });
      world.store.faults.next("write", 1, fault);
      const outcome = await world.settle(world.node("n1").ports.store.write(writeOf("1", 0)));
      assert.equal(outcome.kind, answer);
      assert.equal(world.store.peek("a") !== undefined, atAnswer);
      await world.run();
      assert.equal(world.store.peek("a") !== undefined, atEnd);
      assert.equal(world.store.log.length, atEnd ? 1 : 0);
    });
  }

  test("unknown-late: applied after the answer, if nobody wrote meanwhile", async () => {
    const world = lateWorld();
    const { store } = world.node("n1").ports;
    assert.equal((await world.settle(store.write(writeOf("1", 0)))).kind, "unknown");
    assert.equal(world.store.peek("a"), undefined);
    await world.run();
    assert.equal(world.store.peek("a")?.value, "1");
  });

  test("unknown-late: a conflict that nobody hears of, if somebody wrote meanwhile", async () => {
    const world = lateWorld();
    const { store } = world.node("n1").ports;
    await world.settle(store.write(writeOf("1", 0)));
    await world.settle(store.write(writeOf("2", 0)));
    await world.run();
    assert.equal(world.store.peek("a")?.value, "2");
    assert.equal(world.store.log.length, 1);
  });

  test("unknown-late: the identical repetition lands, the straggler is harmless", async () => {
    const world = lateWorld();
    const { store } = world.node("n1").ports;
    await world.settle(store.write(writeOf("1", 0)));
    assert.equal((await world.settle(store.write(writeOf("1", 0)))).kind, "written");
    await world.run();
    assert.equal(world.store.log.length, 1);
  });

  test("duplicate: the second copy of a creation lands again where the key was purged meanwhile", async () => {
    const world = createWorld({ seed: 1 });
    world.store.faults.next("write", 1, "duplicate");
    const { store } = world.node("n1").ports;
    await world.settle(store.write(writeOf("1", 0)));
    await world.settle(store.purge("a", 1, [1, 1]));
    assert.equal(world.store.peek("a"), undefined);
    await world.run();
    assert.equal(world.store.peek("a")?.revision, 3);
  });

  test("an answer after the crash is never seen, and the write stays", async () => {
    const world = createWorld({ seed: 1 });
    world.store.faults.next("write", 1, "slow-answer");
    const node = world.node("n1");
    let isAnswered = false;
    void node.ports.store.write(writeOf("1", 0)).then(() => {
      isAnswered = true;
    });
    await world.run({ until: () => world.store.peek("a") !== undefined });
    node.crash();
    await world.run();
    assert.equal(isAnswered, false);
    assert.equal(world.store.peek("a")?.value, "1");
  });

  function lateWorld(): World {
    // Later than any giving up, so that the answer comes first.
    const world = createWorld({ seed: 1, store: { delays: { lateMs: [10_000, 20_000] } } });
    world.store.faults.next("write", 1, "unknown-late");
    return world;
  }
});

describe("faults of reads", () => {
  const cases: readonly { readonly fault: ReadFault; readonly value: string | undefined }[] = [
    { fault: "stale", value: "1" },
    { fault: "slow-answer", value: "2" },
    { fault: "unreachable", value: undefined },
  ];
  for (const { fault, value } of cases) {
    test(`${fault}: ${value === undefined ? "rejects" : `answers ${value}`}`, async () => {
      const world = createWorld({ seed: fault });
      const { store } = world.node("n1").ports;
      await world.settle(store.write(writeOf("1", 0)));
      await world.settle(store.write(writeOf("2", 1)));
      world.store.faults.next("read", 1, fault);
      if (value === undefined) await assert.rejects(world.settle(store.read("a")), /cannot be reached/);
      else assert.equal((await world.settle(store.read("a")))?.value, value);
    });
  }
});

describe("the watch", () => {
  async function watched(seed: number, plan: (world: World) => void): Promise<readonly number[]> {
    const world = createWorld({ seed });
    const revisions: number[] = [];
    world.node("n2").ports.store.watch("a", (change) => {
      revisions.push(change.kind === "put" ? change.entry.revision : change.revision);
    });
    plan(world);
    const { store } = world.node("n1").ports;
    for (let count = 1; count <= 10; count++) await world.settle(store.write(writeOf(String(count), count - 1)));
    await world.run();
    return revisions;
  }
  const all = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

  test("keeps its order whatever the delays", async () => {
    for (let seed = 0; seed < 20; seed++) {
      assert.deepEqual(await watched(seed, (world) => world.store.faults.set({ watch: { slow: 0.3 } })), all);
    }
  });

  test("may skip what was overwritten, never the latest", async () => {
    const revisions = await watched(1, (world) => world.store.faults.set({ watch: { skip: 1 } }));
    assert.ok(revisions.length < 10);
    assert.equal(revisions.at(-1), 10);
  });

  test("waits behind a cut link and then tells all, in order", async () => {
    const revisions = await watched(1, (world) => {
      world.links.cut("n2", "store");
      world.after(5_000, "heal", () => world.links.heal("n2", "store"));
    });
    assert.deepEqual(revisions, all);
  });
});

test("a node that is cut off writes into the void and cannot read, others go on", async () => {
  const world = createWorld({ seed: 1 });
  const [alone, other] = [world.node("n1").ports.store, world.node("n2").ports.store];
  world.links.cut("n1", "store");
  assert.equal((await world.settle(alone.write(writeOf("1", 0)))).kind, "unknown");
  await assert.rejects(world.settle(alone.read("a")));
  assert.equal((await world.settle(other.write(writeOf("2", 0)))).kind, "written");
  world.links.heal("n1", "store");
  assert.equal((await world.settle(alone.read("a")))?.value, "2");
});

test("a link that is cut between request and answer makes a landed write unknown", async () => {
  const world = createWorld({ seed: 1 });
  const write = world.node("n1").ports.store.write(writeOf("1", 0));
  await world.run({ until: () => world.store.peek("a") !== undefined });
  world.links.cut("n1", "store");
  assert.equal((await world.settle(write)).kind, "unknown");
});

test("a script counts only the calls that it asks for", async () => {
  const world = createWorld({ seed: 1 });
  const { store } = world.node("n1").ports;
  world.store.faults.next("write", 2, "full", ({ subject }) => subject === "b");
  const kinds: string[] = [];
  for (const key of ["a", "b", "c", "b", "b"]) {
    const expect = world.store.peek(key)?.revision ?? 0;
    kinds.push((await world.settle(store.write(writeOf("1", expect, key)))).kind);
  }
  assert.deepEqual(kinds, ["written", "written", "written", "refused", "written"]);
});

test("chance faults come about as often as asked, and one switched off leaves the others where they were", async () => {
  const faultsOf = async (rates: { conflict?: number; full?: number }) => {
    const world = createWorld({ seed: 9 });
    world.store.faults.set({ write: rates });
    const { store } = world.node("n1").ports;
    const kinds: string[] = [];
    for (let count = 0; count < 500; count++) {
      kinds.push((await world.settle(store.write(writeOf("1", 0, `k${count}`)))).kind);
    }
    return kinds;
  };
  const both = await faultsOf({ conflict: 0.2, full: 0.2 });
  const conflicts = await faultsOf({ conflict: 0.2 });
  const positions = (kinds: readonly string[]) => kinds.flatMap((kind, index) => (kind === "conflict" ? [index] : []));
  assert.ok(positions(both).length > 70 && positions(both).length < 130);
  assert.deepEqual(positions(both), positions(conflicts));
});

test("a person's edit has no header", async () => {
  const world = createWorld({ seed: 1 });
  world.store.edit("a", "{}");
  const entry = await world.settle(world.node("n1").ports.store.read("a"));
  assert.deepEqual(entry, { key: "a", value: "{}", revision: 1, header: undefined });
});
