import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { hashText } from "../../runtime/hash.ts";
import type { StoreWrite } from "../../runtime/ports/store.ts";
import { FencedRecorder } from "./fenced-recorder.ts";
import { ServiceTimeoutError } from "./service-model.ts";
import { createWorld } from "./world.ts";

const writeOf = (key: string, value = "1", expect = 0): StoreWrite => ({
  key,
  value,
  header: { commit: `c.${key}.${value}`, hash: hashText(value) },
  expect,
  token: [1, 1],
});

/** Says what became of a promise, without waiting for it. */
function watchPromise<T>(promise: Promise<T>): { state: "pending" | "done" | "failed"; value?: T } {
  const watched: { state: "pending" | "done" | "failed"; value?: T } = { state: "pending" };
  promise.then(
    (value) => {
      watched.state = "done";
      watched.value = value;
    },
    () => {
      watched.state = "failed";
    },
  );
  return watched;
}

describe("points", () => {
  test("calls, answers and timers are numbered in order, and go on counting after a restart", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.boot(async ({ store, clock }) => {
      await store.write(writeOf("a"));
      clock.after(10, () => {});
    });
    await world.run();
    assert.deepEqual(node.points, ["store.write:call", "store.write:answer", "clock.fire"]);
    node.restart();
    await world.run();
    assert.equal(node.points.length, 6);
    assert.equal(node.incarnation, 2);
  });
});

describe("a crash", () => {
  test("at :call has not reached the store", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.crashAt("store.write:call");
    const write = watchPromise(node.ports.store.write(writeOf("a")));
    await world.run();
    assert.equal(world.store.peek("a"), undefined);
    assert.equal(write.state, "pending");
    assert.equal(node.state, "crashed");
  });

  test("at :answer has been applied, and the answer is never seen", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.crashAt("store.write:answer");
    const write = watchPromise(node.ports.store.write(writeOf("a")));
    await world.run();
    assert.equal(world.store.peek("a")?.value, "1");
    assert.equal(write.state, "pending");
  });

  test("that was planned for a point does not come once the world is healed", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.crashAt("store.write:answer");
    world.heal();
    const write = watchPromise(node.ports.store.write(writeOf("a")));
    await world.run();
    assert.deepEqual([write.state, node.state], ["done", "running"]);
  });

  test("between call and answer leaves the write under way", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    const write = watchPromise(node.ports.store.write(writeOf("a")));
    node.crash();
    await world.run();
    assert.equal(world.store.peek("a")?.value, "1");
    assert.equal(write.state, "pending");
  });

  test("silences everything of that incarnation: timers, watches, logs, requests, effects", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    const { clock, store, logger, bus, leases, effect } = node.ports;
    const seen: string[] = [];
    clock.after(10, () => seen.push("timer"));
    store.watch("", () => seen.push("watch"));
    leases.onChange(() => seen.push("lease"));
    bus.subscribe("topic", () => seen.push("event"));
    node.crash();
    logger.error("from beyond");
    clock.after(10, () => seen.push("timer set afterwards"));
    const calls: readonly Promise<unknown>[] = [
      store.write(writeOf("a")),
      store.read("a"),
      bus.request({ partition: 0, body: "{}", channel: "client" }, 100),
      leases.release(),
      effect(() => seen.push("effect")),
    ];
    const watched = calls.map((call) => watchPromise(call));
    void world.node("n2").ports.bus.publish("topic", "{}", "1");
    world.store.edit("b", "2");
    await world.run({ forMs: 60_000 });
    assert.deepEqual(seen, []);
    assert.deepEqual(node.logs, []);
    assert.equal(world.store.peek("a"), undefined);
    assert.deepEqual(new Set(watched.map(({ state }) => state)), new Set(["pending"]));
  });

  test("leaves no timers of the dead behind: the world comes to rest", async () => {
    const world = createWorld({ seed: 1 });
    world.node("n1").ports.clock.after(1e12, () => {});
    world.node("n1").crash();
    assert.equal(await world.run(), "quiet");
    assert.equal(world.nowMs, 0);
  });

  test("at every point in turn: each write is there, or was never answered", async () => {
    const runWithCrash = async (at: number | undefined) => {
      const world = createWorld({ seed: 3 });
      const node = world.node("n1");
      const answered: string[] = [];
      if (at !== undefined) node.crashAt(at, { restartAfterMs: 100 });
      node.boot(async ({ store, clock }) => {
        for (const key of ["a", "b", "c"]) {
          const outcome = await store.write(writeOf(key));
          if (outcome.kind === "written") answered.push(key);
          await new Promise<void>((resolve) => clock.after(5, resolve));
        }
      });
      await world.run();
      for (const key of answered) assert.equal(world.store.peek(key)?.value, "1");
      assert.deepEqual(
        world.store.peekAll().map(({ key }) => key),
        ["a", "b", "c"],
      );
      return { points: node.points.length, incarnation: node.incarnation };
    };
    const { points } = await runWithCrash(undefined);
    assert.equal(points, 9);
    for (let point = 1; point <= points; point++) assert.equal((await runWithCrash(point)).incarnation, 2);
  });

  test("restart boots again with fresh ports and fresh dice, by name of the node", async () => {
    const world = createWorld({ seed: 1 });
    const ids: string[] = [];
    world.node("n1").boot(({ random }) => {
      ids.push(random.id());
    });
    world.node("n1").restart();
    assert.equal(world.node("n1").state, "running");
    assert.equal(new Set(ids).size, 2);
    assert.match(ids[0]!, /^[0-9a-z]{16}$/);
  });

  test("a condition on the point's detail chooses it", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.crashAt(({ name, detail }) => name === "store.write:call" && detail.startsWith("b "));
    await world.settle(node.ports.store.write(writeOf("a")));
    void node.ports.store.write(writeOf("b"));
    await world.run();
    assert.deepEqual(
      world.store.peekAll().map(({ key }) => key),
      ["a"],
    );
  });
});

describe("a freeze", () => {
  test("at :call makes the call reach the store late, after others", async () => {
    const world = createWorld({ seed: 1 });
    const [frozen, other] = [world.node("n1"), world.node("n2")];
    frozen.freezeAt("store.write:call", 5_000);
    const late = watchPromise(frozen.ports.store.write(writeOf("a", "1")));
    await world.settle(other.ports.store.write(writeOf("a", "2")));
    assert.ok(world.nowMs < 1_000);
    await world.run();
    assert.ok(world.nowMs > 5_000);
    assert.deepEqual(late.value, { kind: "conflict" });
    assert.equal(world.store.peek("a")?.value, "2");
  });

  test("at :answer holds the answer back; the write was applied in time", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.freezeAt("store.write:answer", 5_000);
    const write = watchPromise(node.ports.store.write(writeOf("a")));
    await world.run({ forMs: 1_000 });
    assert.equal(world.store.peek("a")?.value, "1");
    assert.equal(write.state, "pending");
    await world.run();
    assert.equal(write.value?.kind, "written");
    assert.ok(world.nowMs >= 5_000);
  });

  test("holds timers and lets everything through in order", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    const seen: string[] = [];
    for (const delayMs of [30, 10, 20]) {
      node.ports.clock.after(delayMs, () => {
        seen.push(`${delayMs}`);
        void Promise.resolve().then(() => seen.push(`${delayMs} and its promises`));
      });
    }
    const cancel = node.ports.clock.after(25, () => seen.push("cancelled while held"));
    node.freeze(100);
    await world.run({ forMs: 50 });
    assert.deepEqual(seen, []);
    cancel();
    await world.run();
    const ofOne = (name: string) => [name, `${name} and its promises`];
    assert.deepEqual(seen, [...ofOne("10"), ...ofOne("20"), ...ofOne("30")]);
    assert.equal(node.state, "running");
  });

  test("two freezes that overlap end with the later one", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    let firedAtMs = 0;
    node.ports.clock.after(1, () => {
      firedAtMs = world.nowMs;
    });
    node.freeze(300);
    node.freeze(100);
    await world.run();
    assert.equal(firedAtMs, 300);
  });

  test("a frozen node that crashes lets nothing through", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    node.freeze(100);
    void node.ports.store.write(writeOf("a"));
    await world.run({ forMs: 50 });
    node.crash();
    await world.run();
    assert.equal(world.store.peek("a"), undefined);
  });
});

describe("clocks", () => {
  test("a timer is never early, and cancelled ones stay silent", async () => {
    const world = createWorld({ seed: 1 });
    const { clock } = world.node("n1").ports;
    const late: number[] = [];
    for (const delayMs of [0, 0.3, 1, 7.77, 1_000, 3e9, -5]) {
      const dueMs = clock.now() + delayMs;
      const dueMonotonicMs = clock.monotonic() + delayMs;
      clock.after(delayMs, () => {
        late.push(delayMs);
        assert.ok(clock.now() >= Math.floor(dueMs));
        assert.ok(clock.monotonic() >= dueMonotonicMs - 1e-6);
      });
    }
    clock.after(5, () => assert.fail("cancelled"))();
    await world.run();
    assert.deepEqual(late, [0, -5, 0.3, 1, 7.77, 1_000, 3e9]);
  });

  test("a wall clock may jump, the monotonic one does not follow, and processes count from different moments", async () => {
    const world = createWorld({ seed: 1 });
    const node = world.node("n1");
    const { clock } = node.ports;
    const [wallMs, monotonicMs] = [clock.now(), clock.monotonic()];
    assert.equal(wallMs, Date.UTC(2026, 0, 1));
    node.wallOffsetMs = -60_000;
    assert.equal(clock.now(), wallMs - 60_000);
    assert.equal(clock.monotonic(), monotonicMs);
    assert.notEqual(world.node("n2").ports.clock.monotonic(), monotonicMs);
  });
});

describe("user effects and services", () => {
  test("an effect crashed at :call did nothing, at :answer it did", async () => {
    for (const [point, count] of [
      ["effect:call", 0],
      ["effect:answer", 1],
    ] as const) {
      const world = createWorld({ seed: 1 });
      const node = world.node("n1");
      let done = 0;
      node.crashAt(point);
      const effect = watchPromise(node.effect(() => ++done));
      await world.run();
      assert.equal(done, count);
      assert.equal(effect.state, "pending");
    }
  });

  test("a service answers, loses, repeats nothing, and does what reached it", async () => {
    const world = createWorld({ seed: 1 });
    const done: string[] = [];
    const payments = world.service("payments", (request: { readonly order: string }) => {
      done.push(request.order);
      if (request.order === "bad") throw new Error("declined");
      return { receipt: done.length };
    });
    const pay = world.node("n1").ports.service(payments);
    assert.deepEqual(await world.settle(pay({ order: "a" })), { receipt: 1 });
    await assert.rejects(world.settle(pay({ order: "bad" })), /declined/);
    payments.faults.next(1, "lose-request");
    await assert.rejects(world.settle(pay({ order: "b" })), ServiceTimeoutError);
    payments.faults.next(1, "lose-answer");
    await assert.rejects(world.settle(pay({ order: "c" })), ServiceTimeoutError);
    payments.faults.next(1, "late");
    await assert.rejects(world.settle(pay({ order: "d" })), ServiceTimeoutError);
    assert.deepEqual(done, ["a", "bad", "c"]);
    await world.run();
    assert.deepEqual(done, ["a", "bad", "c", "d"]);
  });

  test("a fenced resource refuses what a frozen owner sends late, one without fencing does not", async () => {
    for (const fenced of [true, false]) {
      const world = createWorld({ seed: 1 });
      const recorder = new FencedRecorder({ fenced, nowMs: () => world.nowMs });
      const [old, young] = [world.node("n1"), world.node("n2")];
      old.freezeAt("effect:call", 10_000);
      const application = { key: "order/a/1", fence: "order.a", value: 1 };
      const late = old.effect(() => recorder.apply({ ...application, token: [1, 1] }));
      await world.settle(young.effect(() => recorder.apply({ ...application, token: [1, 2] })));
      assert.equal((await world.settle(late)).kind, fenced ? "fenced" : "applied");
      assert.deepEqual(
        recorder.recorded.map(({ outcome }) => outcome),
        ["applied", fenced ? "fenced" : "applied"],
      );
      assert.ok(recorder.recorded[1]!.atMs >= 10_000);
    }
  });

  test("a resource that remembers keys does each once", () => {
    const recorder = new FencedRecorder({ fenced: true, remembersKeys: true, nowMs: () => 0 });
    const apply = (index: number) => recorder.apply({ key: "e1", token: [1, index], value: 1 }).kind;
    assert.deepEqual([apply(1), apply(2), apply(1)], ["applied", "repeated", "fenced"]);
  });
});
