import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { busContract } from "../../runtime/ports/bus.contract.ts";
import type { RequestFault } from "./bus-model.ts";
import { createWorld } from "./world.ts";

/** Two nodes that serve, of which n1 owns the only partition, and a client that owns nothing. */
async function served(seed: number | string = 1) {
  const world = createWorld({ seed, leases: { partitions: 1 } });
  const handled: string[] = [];
  for (const name of ["n1", "n2"]) {
    world.node(name).boot(({ leases, bus }) => {
      leases.onChange(() => {});
      bus.serve(async ({ partition, body }) => {
        handled.push(`${name} ${partition} ${body}`);
        return `${body} by ${name}`;
      });
    });
  }
  await world.run();
  const ask = (body: string) =>
    world.settle(world.node("client").ports.bus.request({ partition: 0, body, channel: "client" }, 1_000));
  return { world, handled, ask };
}

describe("the bus model, without faults, keeps the bus's contract", () => {
  for (const { name, run } of busContract) {
    test(name, async () => {
      const world = createWorld({ seed: name, leases: { partitions: 1 } });
      const [owner, other] = [world.node("n1").ports, world.node("n2").ports];
      owner.leases.onChange(() => {});
      await world.run();
      const opened = {
        owner: owner.bus,
        other: other.bus,
        partition: 0,
        unowned: 1,
        clock: other.clock,
        settled: () => world.sleep(100),
      };
      await world.settle(run(async () => opened));
    });
  }
});

describe("a request", () => {
  test("goes to the owner and is answered", async () => {
    const { handled, ask } = await served();
    assert.deepEqual(await ask("a"), { kind: "reply", body: "a by n1" });
    assert.deepEqual(handled, ["n1 0 a"]);
  });

  test("follows the partition", async () => {
    const { world, ask } = await served();
    world.leases.move(0, "n2");
    await world.run({ forMs: 100 });
    assert.deepEqual(await ask("a"), { kind: "reply", body: "a by n2" });
  });

  test("finds nobody while no living node owns the partition", async () => {
    const { world, ask } = await served();
    world.node("n1").crash();
    assert.deepEqual(await ask("a"), { kind: "nobody" });
    await world.run({ forMs: 10_000 });
    assert.deepEqual(await ask("a"), { kind: "reply", body: "a by n2" });
  });

  test("to a frozen owner times out, and is handled when it wakes", async () => {
    const { world, handled, ask } = await served();
    world.node("n1").freeze(3_000);
    assert.deepEqual(await ask("a"), { kind: "timeout" });
    assert.deepEqual(handled, []);
    await world.run({ forMs: 5_000 });
    assert.deepEqual(handled, ["n1 0 a"]);
  });

  test("reaches either of two that believe", async () => {
    const { world, handled, ask } = await served();
    world.leases.move(0, "n2", { tellOldOwner: false });
    await world.run({ forMs: 100 });
    for (let count = 0; count < 20; count++) await ask("a");
    assert.deepEqual([...new Set(handled)].sort(), ["n1 0 a", "n2 0 a"]);
  });

  test("over a cut link times out", async () => {
    const { world, handled, ask } = await served();
    world.links.cut("client", "n1");
    assert.deepEqual(await ask("a"), { kind: "timeout" });
    assert.deepEqual(handled, []);
  });

  test("to an owner that crashes before its reply times out, although it was handled", async () => {
    const { world, handled, ask } = await served();
    world.node("n1").crashAt("bus.serve:reply");
    assert.deepEqual(await ask("a"), { kind: "timeout" });
    assert.deepEqual(handled, ["n1 0 a"]);
  });

  const faults: readonly {
    readonly fault: RequestFault;
    readonly answer: string;
    readonly atAnswer: number;
    readonly atEnd: number;
  }[] = [
    { fault: "lose-request", answer: "timeout", atAnswer: 0, atEnd: 0 },
    { fault: "lose-reply", answer: "timeout", atAnswer: 1, atEnd: 1 },
    { fault: "duplicate", answer: "reply", atAnswer: 1, atEnd: 2 },
    { fault: "duplicate-late", answer: "reply", atAnswer: 1, atEnd: 2 },
    { fault: "late", answer: "timeout", atAnswer: 0, atEnd: 1 },
    { fault: "nobody", answer: "nobody", atAnswer: 0, atEnd: 0 },
  ];
  for (const { fault, answer, atAnswer, atEnd } of faults) {
    test(`with ${fault}: ${answer}, handled ${atEnd} times in the end`, async () => {
      const { world, handled, ask } = await served(1);
      world.bus.requestFaults.next(1, fault);
      assert.equal((await ask("a")).kind, answer);
      // The second of two copies that travel together may overtake the answer.
      if (fault !== "duplicate") assert.equal(handled.length, atAnswer);
      await world.run({ forMs: 700_000 });
      assert.equal(handled.length, atEnd);
    });
  }
});

test("a published event reaches every listener once; lost and repeated ones as told", async () => {
  const { world } = await served();
  const heard: string[] = [];
  for (const name of ["n1", "n2"]) {
    world.node(name).ports.bus.subscribe("order", (body, id) => heard.push(`${name} ${body} ${id}`));
  }
  const publish = async (id: string) => {
    await world.settle(world.node("client").ports.bus.publish("order", "{}", id));
    await world.run({ forMs: 700_000 });
    return heard.splice(0).sort();
  };
  assert.deepEqual(await publish("1"), ["n1 {} 1", "n2 {} 1"]);
  world.bus.publishFaults.next(1, "lose", ({ node }) => node === "n1");
  assert.deepEqual(await publish("2"), ["n2 {} 2"]);
  world.bus.publishFaults.next(1, "duplicate-late", ({ node }) => node === "n2");
  assert.deepEqual(await publish("3"), ["n1 {} 3", "n2 {} 3", "n2 {} 3"]);
});
