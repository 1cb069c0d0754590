import { describe, expect, test } from "vitest";
import { memory } from "../../runtime/adapters/memory/index.ts";
import { SystemRandom } from "../../runtime/adapters/system-random.ts";
import type { LeaseChange } from "../../runtime/ports/leases.ts";
import type { Logger } from "../../runtime/ports/logger.ts";
import type { ActorStore } from "../../runtime/ports/store.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { LeaseTable } from "../backends/kv/lease-table.ts";
import { RaftLeases } from "../backends/raft/leases.ts";
import { memberAlone } from "../backends/raft/member-alone.fixture.ts";
import { adoptBackend, attachBackend } from "../lease/epoch.ts";
import { PartitionLeases } from "./partition-leases.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

type Node = {
  readonly leases: PartitionLeases;
  readonly changes: LeaseChange[];
  readonly owned: () => number[];
  /** The process stops as it stands: nothing reaches the store any more. */
  readonly crash: () => void;
  /** What it asks of its leases fails, until it does not. */
  readonly failing: (is: boolean) => void;
};

type NodeOptions = {
  readonly offsetMs?: () => number;
  readonly done?: boolean;
  readonly reachStore?: () => Promise<unknown>;
  readonly logger?: Logger;
};

async function world(partitions = 8) {
  const clock = new ManualClock();
  const { store } = await memory().open();
  /** How long each request takes, there and back, and how late news of changes is. */
  const slow = { ms: 0, givingBackMs: 0 };
  const late = async <TResult>(ask: () => Promise<TResult>, moreMs = 0): Promise<TResult> => {
    const ms = slow.ms + moreMs;
    if (ms > 0) await new Promise<void>((resolve) => void clock.after(ms, () => resolve()));
    return ask();
  };
  const moreFor = (key: string) => (key.startsWith("lease.") ? slow.givingBackMs : 0);
  const ports = { clock, random, logger: silent };

  async function node(name: string, more: NodeOptions = {}): Promise<Node> {
    let isDead = false;
    let isFailing = false;
    const mine: ActorStore = {
      info: store.info,
      read: async (key) => {
        if (isFailing) throw new Error("no answer");
        return isDead ? new Promise(() => {}) : store.read(key);
      },
      write: async (write) => {
        if (isFailing) return { kind: "unknown" };
        return isDead ? new Promise(() => {}) : late(() => store.write(write));
      },
      purge: (key, expect, token) =>
        isDead ? new Promise(() => {}) : late(() => store.purge(key, expect, token), moreFor(key)),
      list: (options) => (isDead ? new Promise(() => {}) : store.list(options)),
      history: (key) => store.history(key),
      watch: (prefix, onChange) => store.watch(prefix, (change) => void late(async () => !isDead && onChange(change))),
      close: () => store.close(),
    };
    const service = await LeaseTable.open({ ...ports, store: mine });
    const { offsetMs, reachStore } = more;
    const leases = await PartitionLeases.start({
      service,
      partitions,
      node: name,
      ttlMs: 3_000,
      clock,
      logger: more.logger ?? silent,
      epoch: () => attachBackend({ ...ports, store }, service.identity),
      ...(offsetMs && { clockOffset: async () => ({ offsetMs: offsetMs(), errorMs: 5 }) }),
      ...(reachStore && { reachStore }),
    });
    const changes: LeaseChange[] = [];
    leases.onChange((change) => {
      changes.push(change);
      if (change.kind === "leaving" && more.done !== false) change.done();
    });
    const owned = () => Array.from({ length: partitions }, (_, one) => one).filter((one) => leases.token(one));
    return {
      leases,
      changes,
      owned,
      crash: () => {
        isDead = true;
      },
      failing: (is) => {
        isFailing = is;
      },
    };
  }
  return { clock, store, ports, node, slow };
}

describe("partitions over live sessions", () => {
  test("the first takes all; the second gets half, each announced before it is lost; tokens grow", async () => {
    const { clock, node } = await world();
    const one = await node("one");
    await clock.advance(100);
    expect(one.owned().length).toBe(8);
    const before = new Map(one.owned().map((partition) => [partition, one.leases.token(partition)]));
    const two = await node("two");
    await clock.advance(2_000);
    expect(one.owned().length).toBe(4);
    expect(two.owned().length).toBe(4);
    expect([...one.owned(), ...two.owned()].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    for (const partition of two.owned()) {
      const told = one.changes.filter((change) => change.partition === partition).map(({ kind }) => kind);
      expect(told.slice(-2)).toEqual(["leaving", "lost"]);
      expect(two.leases.token(partition)?.[1]).toBeGreaterThan(before.get(partition)?.[1] as number);
    }
    for (const partition of one.owned()) expect(one.leases.token(partition)).toEqual(before.get(partition));
  });

  test("what is being handed over is not taken back, however late the news of it is", async () => {
    const { clock, node, slow } = await world(16);
    const one = await node("one");
    const two = await node("two");
    await clock.advance(2_000);
    expect([one.owned().length, two.owned().length]).toEqual([8, 8]);
    const before = one.changes.length;
    slow.ms = 7;
    const drained = one.leases.drain(10_000);
    await clock.advance(3_000);
    await drained;
    const told = one.changes.slice(before).map(({ kind }) => kind);
    expect(told.filter((kind) => kind === "granted")).toEqual([]);
    expect(told.filter((kind) => kind === "lost").length).toBe(8);
    expect(two.owned().length).toBe(16);
  });

  test("one that falls silent is taken over from, and by then it holds nothing", async () => {
    const { clock, node } = await world();
    const one = await node("one");
    const two = await node("two");
    await clock.advance(2_000);
    two.crash();
    let gapMs = 0;
    for (; one.owned().length < 8; gapMs += 50) {
      expect(gapMs).toBeLessThan(10_000);
      for (const partition of one.owned()) expect(two.owned()).not.toContain(partition);
      await clock.advance(50);
    }
    expect(two.owned()).toEqual([]);
    expect(two.changes.filter(({ kind }) => kind === "lost").length).toBeGreaterThan(0);
    expect(gapMs).toBeGreaterThanOrEqual(2_000);
    expect(gapMs).toBeLessThan(4_500);
  });

  test("one that was stopped sees at its first look that its time is over, before any timer has told it", async () => {
    const { clock, node } = await world();
    const one = await node("one");
    await clock.advance(100);
    const monotonic = clock.monotonic();
    const token = one.leases.token(0);
    // Time passes without a single timer of the process.
    Object.defineProperty(clock, "monotonic", { value: () => monotonic + 3_100 });
    expect(token).toBeDefined();
    expect(one.leases.token(0)).toBeUndefined();
  });

  test("one that drains hands everything over while others are there, and gives it back when alone", async () => {
    const { clock, node } = await world();
    const one = await node("one");
    const two = await node("two");
    await clock.advance(2_000);
    const draining = one.leases.drain(60_000);
    await clock.advance(500);
    await draining;
    expect(one.owned()).toEqual([]);
    await clock.advance(100);
    expect(two.owned().length).toBe(8);
    await one.leases.release();
    const alone = two.leases.drain(60_000);
    await clock.advance(500);
    await alone;
    expect(two.owned()).toEqual([]);
    await two.leases.release();
  });

  test.each([
    ["within its time to drain", 10_000],
    ["beyond its time to drain", 75],
  ])("what is being given back, %s, is waited for: no lease is left behind", async (_, drainMs) => {
    const { clock, node, slow, store } = await world(16);
    const one = await node("one");
    await clock.advance(2_000);
    expect(one.owned().length).toBe(16);
    slow.ms = 5;
    slow.givingBackMs = 200;
    let isOver = false;
    void one.leases
      .drain(drainMs)
      .then(() => one.leases.release())
      .then(() => {
        isOver = true;
      });
    for (let waitedMs = 0; !isOver && waitedMs < 3_000; waitedMs++) await clock.advance(1);
    expect(isOver).toBe(true);
    const left = await store.list({ prefix: "", limit: 100 });
    expect(left.map(({ key }) => key)).toEqual(["_epoch"]);
  });

  test("a partition that does not come to rest is handed over all the same, after a while", async () => {
    const { clock, node } = await world();
    const one = await node("one", { done: false });
    const two = await node("two");
    await clock.advance(5_000);
    expect(one.owned().length).toBe(8);
    expect(one.changes.filter(({ kind }) => kind === "leaving").length).toBe(4);
    await clock.advance(7_000);
    expect(one.owned().length).toBe(4);
    expect(two.owned().length).toBe(4);
  });

  test("one whose clock is off takes nothing and says why, gives up what it has, and comes back", async () => {
    const { clock, node } = await world();
    let offsetMs = 0;
    const one = await node("one", { offsetMs: () => offsetMs });
    const two = await node("two");
    await clock.advance(2_000);
    expect(one.owned().length).toBe(4);
    offsetMs = -6_000;
    await clock.advance(32_000);
    expect(one.leases.status().problem).toMatch(/6.0 s behind the server's, more than 5 s: set it/);
    expect(one.owned()).toEqual([]);
    expect(two.owned().length).toBe(8);
    offsetMs = 4_000;
    await clock.advance(35_000);
    expect(one.leases.status().problem).toBeUndefined();
    expect(one.owned().length).toBe(4);
  });

  describe("whose leases are kept elsewhere than the actors", () => {
    async function two() {
      const { clock, node } = await world();
      const cut = new Set<string>();
      const start = (name: string) =>
        node(name, { reachStore: () => (cut.has(name) ? new Promise(() => {}) : Promise.resolve()) });
      const nodes = [await start("one"), await start("two")] as const;
      await clock.advance(3_000);
      expect(nodes.map(({ owned }) => owned().length)).toEqual([4, 4]);
      return { clock, cut, nodes };
    }

    test("one that does not reach the actors lets go of all, at once and not when its time is over, and comes back", async () => {
      const { clock, cut, nodes } = await two();
      const [one, other] = nodes;
      cut.add("one");
      await clock.advance(3_000);
      expect(one.leases.status().problem).toBe("the store of the actors does not answer");
      expect(one.owned().length).toBe(4);
      await clock.advance(2_100);
      expect([one.owned().length, other.owned().length]).toEqual([0, 8]);
      await clock.advance(10_000);
      expect([one.owned().length, other.owned().length]).toEqual([0, 8]);
      cut.delete("one");
      await clock.advance(5_000);
      expect(one.leases.status().problem).toBeUndefined();
      expect([one.owned().length, other.owned().length]).toEqual([4, 4]);
    });

    test.each([0, 250, 500, 750, 900, 950, 970, 980, 990, 999])(
      "nobody lets go when nobody reaches them, where the other's turns lie %i ms behind and the telling takes its time",
      async (behindMs) => {
        for (const cutAfterMs of [100, 500, 900, 980, 1_000]) {
          const { clock, node, slow } = await world();
          const after = clock.after.bind(clock);
          // Timers of real machines are late.
          clock.after = (ms, wake) => after(ms > 100 ? ms + 2 : ms, wake);
          let isCut = false;
          const reachStore = () => (isCut ? new Promise(() => {}) : Promise.resolve());
          const one = await node("one", { reachStore });
          await clock.advance(behindMs);
          const two = await node("two", { reachStore });
          await clock.advance(10_000 - behindMs);
          slow.ms = 20;
          await clock.advance(cutAfterMs);
          isCut = true;
          for (let step = 0; step < 100; step++) await clock.advance(100);
          expect([one.owned().length, two.owned().length], `cut after ${cutAfterMs} ms`).toEqual([4, 4]);
          await Promise.all([one.leases.release(), two.leases.release(), clock.advance(1_000)]);
        }
      },
    );

    test("one that goes while nobody reaches them gives away what it has, and does not wait", async () => {
      const { clock, cut, nodes } = await two();
      const [one, other] = nodes;
      cut.add("one").add("two");
      await clock.advance(10_000);
      expect(one.owned().length).toBe(4);
      const drained = one.leases.drain(60_000);
      await clock.advance(1_000);
      await drained;
      expect(one.owned()).toEqual([]);
      await one.leases.release();
      cut.clear();
      await clock.advance(5_000);
      expect(other.owned().length).toBe(8);
    });

    test("all keep what they have when nobody reaches the actors, and when they answer in time", async () => {
      const { clock, cut, nodes } = await two();
      const tokens = () => nodes.map(({ leases, owned }) => owned().map((partition) => leases.token(partition)));
      const before = tokens();
      cut.add("two");
      await clock.advance(2_500);
      cut.add("one");
      cut.delete("two");
      await clock.advance(1_000);
      cut.add("two");
      await clock.advance(30_000);
      expect(tokens()).toEqual(before);
      expect(nodes.map(({ leases }) => leases.status().problem)).not.toContain(undefined);
      cut.clear();
      await clock.advance(5_000);
      expect(tokens()).toEqual(before);
      expect(nodes.map(({ leases }) => leases.status().problem)).toEqual([undefined, undefined]);
    });
  });

  test("one that finds no room for what it is to take says so, once, and takes it when there is", async () => {
    const clock = new ManualClock();
    const service = new RaftLeases({ member: await memberAlone(clock, { limits: { leases: 8 } }), clock, random });
    const opening = service.openSession({ node: "else", ttlMs: 3_000, attributes: { draining: true } });
    await clock.advance(100);
    const elsewhere = await opening;
    const take = (from: number, to: number) => {
      for (let key = from; key < to; key++) void elsewhere.acquire(`k${key}`);
      return clock.advance(100);
    };
    await take(0, 8);
    const told: string[] = [];
    const tell = (text: string) => void told.push(text);
    const logger = { ...silent, info: tell, error: tell };
    const ports = { service, clock, logger, epoch: async () => 1 };
    const starting = PartitionLeases.start({ ...ports, partitions: 4, node: "one", ttlMs: 3_000 });
    await clock.advance(10_000);
    const leases = await starting;
    const owned = () => [0, 1, 2, 3].filter((partition) => leases.token(partition)).length;
    expect(leases.status().problem).toMatch(/no room for their leases: all 8 leases that the table takes are held/);
    expect([owned(), told.length], JSON.stringify(told)).toEqual([0, 1]);
    void elsewhere.release("k0");
    await clock.advance(2_000);
    expect([owned(), leases.status().problem, told.length], "it takes part").toEqual([1, undefined, 1]);
    void elsewhere.close();
    await clock.advance(2_000);
    expect([owned(), leases.status().problem]).toEqual([4, undefined]);
    expect(told.slice(1)).toEqual(["there is room for the leases of partitions again"]);
  });

  test("one whose leases do not answer says so, in its log once a minute, and takes part when they do", async () => {
    const { clock, node } = await world();
    const told: string[] = [];
    const one = await node("one", { logger: { ...silent, warn: (text) => void told.push(text) } });
    await clock.advance(1_000);
    expect([one.owned().length, one.leases.status().problem]).toEqual([8, undefined]);
    one.failing(true);
    await clock.advance(300_000);
    expect(one.leases.status().problem).toMatch(/can hold no partitions: no session could be opened/);
    expect(told.filter((text) => text.startsWith("no new session")).length).toBeLessThanOrEqual(6);
    one.failing(false);
    await clock.advance(20_000);
    expect([one.owned().length, one.leases.status().problem]).toEqual([8, undefined]);
  });

  test("a session that others ended begins anew, with higher tokens", async () => {
    const { clock, node, store } = await world();
    const one = await node("one");
    await clock.advance(100);
    const token = one.leases.token(0);
    const [session] = await store.list({ prefix: "session." });
    await store.purge(session?.key as string, session?.revision as number, [Number.MAX_SAFE_INTEGER, 0]);
    await clock.advance(3_000);
    expect(one.owned().length).toBe(8);
    expect(one.leases.token(0)?.[1]).toBeGreaterThan(token?.[1] as number);
  });

  test("an epoch that was raised is in every token granted after", async () => {
    const { clock, node, ports, store } = await world();
    const one = await node("one");
    await clock.advance(100);
    expect(one.leases.token(0)?.[0]).toBe(1);
    await one.leases.release();
    await adoptBackend({ ...ports, store }, store.info.identity);
    const two = await node("two");
    await clock.advance(500);
    expect(two.leases.token(0)?.[0]).toBe(2);
  });
});
