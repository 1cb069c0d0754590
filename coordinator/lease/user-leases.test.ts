import { describe, expect, test } from "vitest";
import { memory } from "../../runtime/adapters/memory/index.ts";
import { SystemRandom } from "../../runtime/adapters/system-random.ts";
import type { ActorStore } from "../../runtime/ports/store.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { describeWithNats } from "../../runtime/testing/nats.fixture.ts";
import { startNatsServer } from "../../runtime/testing/nats-server.ts";
import { LeaseTable } from "../backends/kv/lease-table.ts";
import { RaftLeases } from "../backends/raft/leases.ts";
import { memberAlone } from "../backends/raft/member-alone.fixture.ts";
import { jetstreamLeases } from "../jetstream-leases.ts";
import type { LeaseService } from "../ports/lease-service.ts";
import { attachBackend } from "./epoch.ts";
import { SessionNotOpened } from "./errors.ts";
import { UserLeases } from "./user-leases.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

/** Processes over one store, which may take its time. */
async function processes(count: number) {
  const clock = new ManualClock();
  const { store } = await memory().open();
  const slow = { ms: 0 };
  const epochs = { failures: 0 };
  const read: string[] = [];
  const pause = () =>
    slow.ms === 0 ? undefined : new Promise<void>((resolve) => void clock.after(slow.ms, () => resolve()));
  const slowed: ActorStore = {
    ...bound(store),
    read: async (key) => {
      read.push(key);
      await pause();
      return store.read(key);
    },
    write: async (write) => {
      await pause();
      const outcome = await store.write(write);
      await pause();
      return outcome;
    },
    purge: async (...purge) => {
      await pause();
      const outcome = await store.purge(...purge);
      await pause();
      return outcome;
    },
  };
  const ports = { clock, random, logger: silent };
  const all: UserLeases[] = [];
  for (let index = 1; index <= count; index++) {
    const service = await LeaseTable.open({ ...ports, store: slowed });
    const epoch = async () => {
      if (epochs.failures-- > 0) throw new Error("no epoch");
      return attachBackend({ ...ports, store }, service.identity);
    };
    all.push(
      new UserLeases({
        service,
        node: `n${index}`,
        ttlMs: 3_000,
        clock,
        logger: silent,
        epoch,
        onClosed: () => service.close(),
      }),
    );
  }
  const reads = (name: string) => read.filter((key) => key.endsWith(name)).length;
  return { clock, store, all, slow, epochs, reads };
}

function bound(store: ActorStore): ActorStore {
  return {
    info: store.info,
    read: (key) => store.read(key),
    list: (options) => store.list(options),
    history: (key) => store.history(key),
    watch: (prefix, onChange) => store.watch(prefix, onChange),
    write: (write) => store.write(write),
    purge: (key, expect, token) => store.purge(key, expect, token),
    close: () => store.close(),
  };
}

/** As the promise ends, while time goes on. */
async function settled<TResult>(clock: ManualClock, promise: Promise<TResult>): Promise<TResult> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  promise.then(over, over);
  for (let turn = 0; turn < 2_000 && !isOver; turn++) await clock.advance(10);
  return promise;
}

describe("a service's own leases", () => {
  test("are held by one, and named by the one who holds them", async () => {
    const { all } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    const lease = await one.acquire("job/settle");
    expect(lease.isValid).toBe(true);
    await expect(two.acquire("job/settle")).rejects.toThrow(/job\/settle is held by n1/);
    await expect(one.acquire("job/settle")).rejects.toThrow(/held by this process already/);
    const other = await two.acquire("job/other");
    expect(other.token[1]).toBeGreaterThan(lease.token[1]);
  });

  test("whoever waits gets it when it is given back, with a higher token", async () => {
    const { all, clock } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    const lease = await one.acquire("job/settle");
    const waiting = two.acquire("job/settle", { waitMs: 10_000 });
    await clock.advance(100);
    await lease.release();
    await clock.advance(1_100);
    const next = await waiting;
    expect(next.token[1]).toBeGreaterThan(lease.token[1]);
    expect(lease.isValid).toBe(false);
    expect(lease.signal.aborted).toBe(false);
  });

  test("whoever waits does not ask after every change of other leases", async () => {
    const { all, clock, reads } = await processes(3);
    const [one, two, other] = all as [UserLeases, UserLeases, UserLeases];
    const lease = await one.acquire("job/settle");
    const waiting = two.acquire("job/settle", { waitMs: 60_000 });
    await clock.advance(50);
    const before = reads("job/settle");
    for (let index = 0; index < 100; index++) {
      await other.run("job/other", async () => await clock.advance(1));
      await clock.advance(1);
    }
    expect(reads("job/settle") - before).toBeLessThan(5);
    await lease.release();
    await clock.advance(10);
    expect((await waiting).token[1]).toBeGreaterThan(lease.token[1]);
  });

  test("of many in one process that wait for keys of others, none makes the others ask again", async () => {
    const { all, clock, reads, slow } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    const held = await Promise.all(["a", "b"].map((name) => one.acquire(name)));
    slow.ms = 5;
    const startMs = clock.monotonic();
    const waiting = ["a", "b", "b"].map((name) => two.acquire(name, { waitMs: 60_000 }));
    await clock.advance(5_000);
    expect(reads("user.a") + reads("user.b")).toBeLessThan(25);
    for (const lease of held) void lease.release();
    const last = Promise.race([waiting[1]!, waiting[2]!]);
    for (const lease of await settled(clock, Promise.all([waiting[0]!, last]))) void lease.release();
    await settled(clock, Promise.all(waiting));
    expect(clock.monotonic() - startMs, "asked again at once").toBeLessThan(7_000);
  });

  test("no room is told as such, and whoever waits for it gets it when any other lease is given back", async () => {
    const clock = new ManualClock();
    const member = await memberAlone(clock, { limits: { leases: 2 } });
    const service = new RaftLeases({ member, clock, random });
    const [one, two] = ["n1", "n2"].map(
      (node) => new UserLeases({ service, node, ttlMs: 3_000, clock, logger: silent, epoch: async () => 1 }),
    ) as [UserLeases, UserLeases];
    const acquire = (leases: UserLeases, name: string, waitMs = 0) => settled(clock, leases.acquire(name, { waitMs }));
    const [a, b] = [await acquire(one, "a"), await acquire(one, "b")];
    const cause = { code: "LeaseTableFull", message: expect.stringMatching(/all 2 leases .* are held; have fewer/) };
    for (const leases of [one, two])
      await expect(acquire(leases, "c")).rejects.toMatchObject({ code: "LeaseNotAcquired", cause });
    await expect(acquire(two, "a"), "one that is held is held").rejects.toThrow(/held by n1/);
    const elsewhere = acquire(two, "c", 20_000);
    await clock.advance(100);
    void a.release();
    expect((await elsewhere).isValid).toBe(true);
    const here = acquire(one, "d", 20_000);
    await clock.advance(100);
    const startMs = clock.monotonic();
    void b.release();
    expect((await here).isValid).toBe(true);
    expect(clock.monotonic() - startMs, "told here").toBeLessThan(500);
  });

  test("waiting ends with its time, or with its signal", async () => {
    const { all, clock } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    await one.acquire("k");
    const bounded = expect(two.acquire("k", { waitMs: 500 })).rejects.toMatchObject({ code: "LeaseNotAcquired" });
    await clock.advance(600);
    await bounded;
    const stop = new AbortController();
    const aborted = expect(two.acquire("k", { waitMs: 60_000, signal: stop.signal })).rejects.toThrow("enough");
    await clock.advance(100);
    stop.abort(new Error("enough"));
    await aborted;
    await expect(two.acquire("k", { waitMs: Number.NaN })).rejects.toThrow(/`waitMs` is NaN/);
  });

  test("a lost lease aborts what is done under it, with the reason", async () => {
    const { all, clock, store } = await processes(1);
    const [one] = all as [UserLeases];
    const lease = await one.acquire("k");
    const [session] = await store.list({ prefix: "session." });
    await store.purge(session?.key as string, session?.revision as number, [Number.MAX_SAFE_INTEGER, 0]);
    await clock.advance(1_500);
    expect(lease.signal.aborted).toBe(true);
    expect(String(lease.signal.reason)).toMatch(/LeaseLost: k is lost: others took it for dead/);
    expect(lease.isValid).toBe(false);
    expect((await one.acquire("k")).token[1]).toBeGreaterThan(lease.token[1]);
  });

  test("work is done under a lease that is given back afterwards, however it ends", async () => {
    const { all } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    expect(await one.run("k", async ({ token }) => token[0])).toBe(1);
    await expect(one.run("k", () => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
    expect(await two.run("k", async () => "free")).toBe("free");
  });

  test("work under a lease that is lost is not waited for, and its signal says why", async () => {
    const { all, clock, store } = await processes(1);
    const [one] = all as [UserLeases];
    const lease = await one.acquire("k");
    let seen: AbortSignal | undefined;
    const endless = lease.run(async ({ signal }) => {
      seen = signal;
      await new Promise(() => {});
    });
    const over = expect(endless).rejects.toMatchObject({ code: "LeaseLost" });
    const [session] = await store.list({ prefix: "session." });
    await store.purge(session?.key as string, session?.revision as number, [Number.MAX_SAFE_INTEGER, 0]);
    await clock.advance(1_500);
    await over;
    expect(seen?.aborted).toBe(true);
    await expect(lease.run(async () => "late")).rejects.toMatchObject({ code: "LeaseLost" });
  });

  test("two who ask at once in one process are two: one gets it", async () => {
    const { all } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    const [first, second] = await Promise.allSettled([one.acquire("k"), one.acquire("k")]);
    expect([first?.status, second?.status]).toEqual(["fulfilled", "rejected"]);
    expect(String((second as PromiseRejectedResult).reason)).toMatch(/k is held by this process already/);
    await expect(two.acquire("k")).rejects.toThrow(/held by n1/);
  });

  test("one that is being given back is not given out again under its old token", async () => {
    const { all, clock, slow } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    const lease = await one.acquire("k");
    slow.ms = 5;
    const released = lease.release();
    await clock.advance(1);
    await expect(one.acquire("k")).rejects.toThrow(/held by this process already/);
    const again = one.acquire("k", { waitMs: 10_000 });
    await clock.advance(2_000);
    await released;
    const next = await again;
    expect(next.token[1]).toBeGreaterThan(lease.token[1]);
    await expect(settled(clock, two.acquire("k"))).rejects.toThrow(/held by n1/);
  });

  test("a grant of which nobody learns, since the epoch cannot be read, goes back", async () => {
    const { all, clock, epochs } = await processes(2);
    const [one, two] = all as [UserLeases, UserLeases];
    epochs.failures = 1;
    await expect(one.acquire("k")).rejects.toThrow("no epoch");
    await clock.advance(1_000);
    expect((await two.acquire("k")).token[1]).toBeGreaterThan(0);
  });

  test("a grant whose answer is lost goes back", async () => {
    const { all, clock, store } = await processes(1);
    const [other] = all as [UserLeases];
    const service = await LeaseTable.open({ clock, random, logger: silent, store });
    const deaf: LeaseService<"kv-revision"> = {
      fencing: service.fencing,
      identity: service.identity,
      view: () => service.view(),
      onChange: (listener) => service.onChange(listener),
      close: () => service.close(),
      openSession: async (options) => {
        const session = await service.openSession(options);
        return {
          id: session.id,
          get isValid() {
            return session.isValid;
          },
          get validUntilMs() {
            return session.validUntilMs;
          },
          acquire: async (key) => {
            await session.acquire(key);
            return { kind: "unknown" };
          },
          release: (key) => session.release(key),
          transfer: (key, to) => session.transfer(key, to),
          update: (attributes) => session.update(attributes),
          onLost: (listener) => session.onLost(listener),
          close: () => session.close(),
        };
      },
    };
    const one = new UserLeases({
      service: deaf,
      node: "n2",
      ttlMs: 3_000,
      clock,
      logger: silent,
      epoch: async () => 1,
    });
    await expect(one.acquire("k")).rejects.toThrow(/did not answer in time/);
    await clock.advance(1_000);
    expect((await other.acquire("k")).isValid).toBe(true);
  });

  test("a back end that gives no session is asked again until the time is over, unless it never will", async () => {
    const { all, clock, store } = await processes(1);
    const [other] = all as [UserLeases];
    const service = await LeaseTable.open({ clock, random, logger: silent, store });
    const refusals: SessionNotOpened[] = [];
    const late: LeaseService<"kv-revision"> = {
      fencing: service.fencing,
      identity: service.identity,
      view: () => service.view(),
      onChange: (listener) => service.onChange(listener),
      close: () => service.close(),
      openSession: async (options) => {
        const refusal = refusals.shift();
        if (refusal !== undefined) throw refusal;
        return service.openSession(options);
      },
    };
    const ports = { clock, logger: silent, epoch: async () => 1 };
    const one = new UserLeases({ ...ports, service: late, node: "n2", ttlMs: 3_000 });
    const notYet = () => new SessionNotOpened("nobody is there");
    refusals.push(notYet());
    await expect(one.acquire("k")).rejects.toMatchObject({
      code: "LeaseNotAcquired",
      message: "k: no session could be opened: nobody is there",
    });
    refusals.push(notYet(), notYet(), notYet());
    const lease = await settled(clock, one.acquire("k", { waitMs: 20_000 }));
    expect([lease.isValid, refusals.length]).toEqual([true, 0]);
    await expect(other.acquire("k")).rejects.toThrow(/held by n2/);
    await one.close();

    const two = new UserLeases({ ...ports, service: late, node: "n3", ttlMs: 3_000 });
    refusals.push(new SessionNotOpened("this member was removed", true));
    const cause = { code: "SessionNotOpened", isFinal: true };
    await expect(two.acquire("k", { waitMs: 20_000 })).rejects.toMatchObject({ code: "LeaseNotAcquired", cause });
    refusals.push(...Array.from({ length: 100 }, notYet));
    const startMs = clock.monotonic();
    await expect(settled(clock, two.acquire("k", { waitMs: 5_000 }))).rejects.toMatchObject({
      code: "LeaseNotAcquired",
    });
    const waitedMs = clock.monotonic() - startMs;
    expect(waitedMs >= 5_000 && waitedMs < 6_000).toBe(true);
  });

  test("names are any text, and two texts are two leases", async () => {
    const { all } = await processes(1);
    const [one] = all as [UserLeases];
    const names = ["a.b", "a b", "ä", "a=2Eb", "*", "a/b"];
    const leases = await Promise.all(names.map((name) => one.acquire(name)));
    expect(new Set(leases.map(({ token }) => token[1])).size).toBe(names.length);
    await expect(one.acquire("")).rejects.toThrow(/1 to 150 characters/);
    await expect(one.acquire("x".repeat(151))).rejects.toThrow(/1 to 150 characters/);
  });
});

describeWithNats("leases of a service on JetStream", () => {
  test("two processes, one lease", async () => {
    const server = await startNatsServer();
    const one = await jetstreamLeases({ servers: server.url, node: "one", logger: silent });
    const two = await jetstreamLeases({ servers: server.url, node: "two", logger: silent });
    const lease = await one.leases.acquire("job/settle");
    await expect(two.leases.acquire("job/settle")).rejects.toThrow(/is held by one/);
    const next = two.leases.acquire("job/settle", { waitMs: 20_000 });
    await one.close();
    expect((await next).token[1]).toBeGreaterThan(lease.token[1]);
    expect(lease.signal.aborted).toBe(true);
    await two.close();
    await expect(jetstreamLeases({ servers: server.url, ttlMs: 0 })).rejects.toThrow(/`ttlMs`: .*0 ms/);
    await server.stop();
  });
});
