/** What goes wrong in the model, and what the production store makes of it. */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { JetStreamStore, type JetStreamStoreOptions } from "../../../runtime/adapters/jetstream/jetstream-store.ts";
import { Requests } from "../../../runtime/adapters/nats/requests.ts";
import { hashText } from "../../../runtime/hash.ts";
import type { ActorStore, StoreLoss, WriteOutcome } from "../../../runtime/ports/store.ts";
import {
  type Call,
  checkLinearizability,
  type RegisterInput,
  type RegisterOutput,
  register,
} from "../../checkers/linearizability.ts";
import { checkRevisions, type Operation } from "../../checkers/revisions.ts";
import { createWorld, type World } from "../../world/world.ts";
import { natsPlace, type RequestFault } from "./connection.ts";
import { NatsModel } from "./index.ts";
import type { ServerSettings } from "./server.ts";

type Opened = { readonly world: World; readonly nats: NatsModel; open(node: string): Promise<JetStreamStore> };

function begin(seed: string, server: ServerSettings, options: JetStreamStoreOptions = {}): Opened {
  const world = createWorld({ seed });
  const nats = new NatsModel(world.laws, { server, connection: { lateMs: [2_000, 4_000] } });
  const open = (name: string) => {
    const node = world.node(name);
    const { clock, random, logger } = node.ports;
    const requests = new Requests(nats.connect(name, node.gate).connection, clock, `_INBOX.${random.id()}`);
    return world.settle(
      JetStreamStore.open(requests, { requestTimeoutMs: 1_000, ...options }, { clock, random, logger }),
    );
  };
  return { world, nats, open };
}

let commits = 0;
const write = (store: ActorStore, key: string, value: string, expect: number) =>
  store.write({ key, value, expect, token: [1, 1], header: { commit: `c${++commits}`, hash: hashText(value) } });

const one: ServerSettings = { version: "2.15.1" };

describe("a request", () => {
  const cases: readonly {
    readonly fault: RequestFault;
    readonly kind: WriteOutcome["kind"];
    readonly isThere: boolean;
  }[] = [
    { fault: "lose-request", kind: "unknown", isThere: false },
    { fault: "lose-reply", kind: "unknown", isThere: true },
    { fault: "late", kind: "unknown", isThere: true },
    { fault: "duplicate", kind: "written", isThere: true },
    { fault: "slow-reply", kind: "unknown", isThere: true },
  ];
  test.each(cases)("$fault: $kind", async ({ fault, kind, isThere }) => {
    const { world, nats, open } = begin(fault, one);
    const store = await open("n1");
    nats.faults.requests.next(1, fault, ({ subject }) => subject.startsWith("$KV."));
    assert.equal((await world.settle(write(store, "order.a", "1", 0))).kind, kind);
    await world.run({ forMs: 10_000 });
    const found = await world.settle(store.read("order.a"));
    assert.equal(found?.value, isThere ? "1" : undefined);
    // What came twice, or late, changed nothing more.
    assert.equal(nats.server.stream("KV_actors")?.lastSeq, isThere ? 1 : 0);
  });
});

test("a stream that takes longer to make than a request may take is waited for", async () => {
  const { world, nats, open } = begin("slow stream", one);
  nats.faults.requests.next(1, "slow-reply", ({ subject }) => subject.includes(".STREAM.CREATE."));
  const store = await open("n1");
  assert.equal(await world.settle(store.read("order.a")), undefined);
  assert.ok(world.nowMs >= 2_000);
});

test("a watch that lost deliveries is made anew, and ends at the truth", async () => {
  const { world, nats, open } = begin("gap", one);
  const store = await open("n1");
  const seen = new Map<string, number>();
  store.watch("order.", (change) => {
    if (change.kind === "put") seen.set(change.entry.key, change.entry.revision);
  });
  await world.run({ forMs: 100 });
  nats.faults.set({ deliveries: { lose: 0.3 } });
  const latest = new Map<string, number>();
  for (let n = 0; n < 60; n++) {
    const key = `order.${n % 4}`;
    const outcome = await world.settle(write(store, key, String(n), latest.get(key) ?? 0));
    assert.equal(outcome.kind, "written");
    if (outcome.kind === "written") latest.set(key, outcome.revision);
  }
  nats.faults.off();
  await world.run({ forMs: 30_000 });
  assert.deepEqual(new Map([...seen].sort()), new Map([...latest].sort()));
});

test("a restart loses connections and consumers, and nothing that was acknowledged", async () => {
  const { world, nats, open } = begin("restart", one);
  const store = await open("n1");
  const seen: number[] = [];
  store.watch("order.", (change) => change.kind === "put" && seen.push(change.entry.revision));
  await world.settle(write(store, "order.a", "1", 0));
  nats.server.restart(2_000);
  const lost = await world.settle(write(store, "order.b", "1", 0));
  assert.equal(lost.kind, "unknown");
  await world.run({ forMs: 20_000 });
  assert.equal((await world.settle(store.read("order.a")))?.value, "1");
  const after = await world.settle(write(store, "order.c", "1", 0));
  assert.equal(after.kind, "written");
  await world.run({ forMs: 5_000 });
  assert.ok(after.kind === "written" && seen.includes(after.revision));
});

describe("a loss of power", () => {
  const lose = async (synced: boolean) => {
    const { world, nats, open } = begin(`power ${synced}`, { ...one, synced }, { synced });
    const store = await open("n1");
    const losses: StoreLoss[] = [];
    store.onLoss((loss) => losses.push(loss));
    for (let n = 0; n < 20; n++) await world.settle(write(store, `order.${n}`, "1", 0));
    nats.server.losePower(1_000);
    await world.run({ forMs: 30_000 });
    return { left: nats.server.stream("KV_actors")?.lastSeq ?? 0, losses, world, store };
  };

  test("takes what was not synced, and the store sees that it went back, and stops", async () => {
    const { left, losses, world, store } = await lose(false);
    assert.ok(left < 20, `${left} left`);
    assert.deepEqual(
      losses.map(({ reason }) => reason),
      ["wentBack"],
    );
    assert.equal((await world.settle(write(store, "order.x", "1", 0))).kind, "refused");
  });

  test("takes nothing from a server that syncs always", async () => {
    const { left, losses } = await lose(true);
    assert.deepEqual({ left, losses }, { left: 20, losses: [] });
  });
});

test("a full account refuses, and stays readable", async () => {
  const { world, open } = begin("full", { ...one, maxStoreBytes: 3_000 });
  const store = await open("n1");
  let outcome: WriteOutcome = { kind: "unknown" };
  for (let n = 0; n < 20 && outcome.kind !== "refused"; n++)
    outcome = await world.settle(write(store, `order.${n}`, "x".repeat(300), 0));
  assert.equal(outcome.kind === "refused" && outcome.reason, "full");
  assert.equal((await world.settle(store.read("order.0")))?.value.length, 300);
});

test("a cut is silence, then a broken connection, and what waited goes on after it", async () => {
  const { world, open } = begin("cut", one);
  const store = await open("n1");
  world.links.cut("n1", natsPlace);
  assert.equal((await world.settle(write(store, "order.a", "1", 0))).kind, "unknown");
  await world.run({ forMs: 10_000 });
  world.links.heal("n1", natsPlace);
  await world.run({ forMs: 2_000 });
  assert.equal((await world.settle(write(store, "order.b", "1", 0))).kind, "written");
});

test("a direct get may be stale, a read of the store is not", async () => {
  const { world, nats, open } = begin("stale", { ...one, servers: 3 }, { replicas: 3 });
  const store = await open("n1");
  nats.server.staleReads = 1;
  const first = await world.settle(write(store, "order.a", "1", 0));
  assert.ok(first.kind === "written");
  await world.settle(write(store, "order.a", "2", first.revision));
  const requests = new Requests(nats.connect("n2").connection, world.node("n2").ports.clock, "_INBOX.x");
  const direct = await world.settle(
    requests.ask("$JS.API.DIRECT.GET.KV_actors.$KV.actors.order.a", new Uint8Array(0), undefined, 1_000),
  );
  assert.equal(direct.kind === "reply" && direct.message.string(), "1");
  assert.equal((await world.settle(store.read("order.a")))?.value, "2");
});

/** Two nodes write the same keys by compare-and-set, among all of it. */
async function compete(
  seed: number,
): Promise<{ readonly operations: readonly Operation[]; readonly calls: Call<RegisterInput, RegisterOutput>[] }> {
  const servers = seed % 2 === 0 ? 3 : 1;
  const { world, nats, open } = begin(`compete ${seed}`, { ...one, servers }, { replicas: servers });
  const stores = [await open("n1"), await open("n2")];
  nats.faults.set({
    requests: { "lose-request": 0.05, "lose-reply": 0.08, late: 0.05, duplicate: 0.08, "slow-reply": 0.03 },
  });
  world.after(300, "trouble", () =>
    servers === 3 ? nats.server.changeLeader("KV_actors", 200) : nats.server.restart(300),
  );
  const operations: Operation[] = [];
  const calls: Call<RegisterInput, RegisterOutput>[] = [];
  const work = stores.map(async (store, node) => {
    const dice = world.dice(`work ${node}`);
    for (let n = 0; n < 12; n++) {
      const key = `order.${dice.whole(0, 1)}`;
      const readAt = world.nowMs;
      const entry = await store.read(key).catch(() => "unread" as const);
      if (entry === "unread") continue;
      const seen = entry?.value ?? null;
      const revision = entry?.revision ?? 0;
      operations.push({ call: readAt, return: world.nowMs, key, kind: "read", outcome: "ok", revision });
      calls.push({
        call: readAt,
        return: world.nowMs,
        key,
        input: { kind: "read" },
        output: { kind: "read", value: seen },
      });
      const value = `${node}.${n}`;
      const call = world.nowMs;
      const outcome = await write(store, key, value, revision);
      const isKnown = outcome.kind === "written" || outcome.kind === "conflict";
      const end = isKnown ? world.nowMs : Number.POSITIVE_INFINITY;
      operations.push({
        call,
        return: end,
        key,
        kind: "write",
        outcome: outcome.kind === "written" ? "ok" : outcome.kind,
        expect: revision,
        ...(outcome.kind === "written" && { revision: outcome.revision }),
      });
      calls.push({
        call,
        return: end,
        key,
        input: { kind: "write", value, expect: seen },
        ...(isKnown && { output: { kind: outcome.kind === "written" ? "done" : "conflict" } }),
      });
      await world.sleep(dice.whole(0, 60));
    }
  });
  await world.settle(Promise.all(work));
  return { operations, calls };
}

test("two nodes that compete see one order of all writes, by revisions and without them", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const { operations, calls } = await compete(seed);
    assert.deepEqual(checkRevisions({ operations }), [], `seed ${seed}`);
    assert.deepEqual(checkLinearizability(calls, register), [], `seed ${seed}`);
  }
});

test("the same seed is the same run", async () => {
  assert.deepEqual(await compete(4), await compete(4));
});
