import { describe, expect, test } from "vitest";
import { memory } from "../../runtime/adapters/memory/index.ts";
import { SystemRandom } from "../../runtime/adapters/system-random.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { describeWithNats } from "../../runtime/testing/nats.fixture.ts";
import { startNatsServer } from "../../runtime/testing/nats-server.ts";
import { LeaseTable } from "../backends/kv/lease-table.ts";
import { jetstreamLeases } from "../jetstream-leases.ts";
import { attachBackend } from "./epoch.ts";
import { UserLeases } from "./user-leases.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

async function processes(count: number) {
  const clock = new ManualClock();
  const { store } = await memory().open();
  const ports = { clock, random, logger: silent };
  const all: UserLeases[] = [];
  for (let index = 1; index <= count; index++) {
    const service = await LeaseTable.open({ ...ports, store });
    const epoch = () => attachBackend({ ...ports, store }, service.identity);
    all.push(
      new UserLeases({ ...ports, service, node: `n${index}`, ttlMs: 3_000, epoch, onClosed: () => service.close() }),
    );
  }
  return { clock, store, all };
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
    const lease = await one.acquire("job/settle");
    await expect(two.acquire("job/settle")).rejects.toThrow(/is held by one/);
    const next = two.acquire("job/settle", { waitMs: 20_000 });
    await one.close();
    expect((await next).token[1]).toBeGreaterThan(lease.token[1]);
    expect(lease.signal.aborted).toBe(true);
    await two.close();
    await expect(jetstreamLeases({ servers: server.url, ttlMs: 0 })).rejects.toThrow(/`ttlMs`: .*0 ms/);
    await server.stop();
  });
});
