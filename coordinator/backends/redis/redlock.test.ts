import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRedis, type RedisConnection } from "../../../runtime/adapters/redis-link/connection.ts";
import type { RedisLink, RedisOutcome } from "../../../runtime/adapters/redis-link/link.ts";
import { SystemClock } from "../../../runtime/adapters/system-clock.ts";
import { SystemRandom } from "../../../runtime/adapters/system-random.ts";
import type { Clock } from "../../../runtime/ports/clock.ts";
import type { Claim, FencedRegister } from "../../../runtime/ports/fenced-register.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { describeWithRedis } from "../../../runtime/testing/redis.fixture.ts";
import { type RedisServer, startRedisServer } from "../../../runtime/testing/redis-server.ts";
import { RedisModel } from "../../../simulations/models/redis/redis-model.ts";
import { UserLeases, type UserLeasesOptions } from "../../lease/user-leases.ts";
import { PartitionLeases, type PartitionLeasesOptions } from "../../placement/partition-leases.ts";
import type { LeaseService } from "../../ports/lease-service.ts";
import { type LocksUnderTest, lockContract } from "../../ports/unfenced-locks.contract.ts";
import type { UnfencedLock } from "../../ports/unfenced-locks.ts";
import { RedLock } from "./redlock.ts";

const random = new SystemRandom();

/** Links that a process may be cut off from: nothing gets through, nobody is told. */
function cuttable(links: readonly RedisLink[], clock: Clock) {
  let isCut = false;
  const silence = (timeoutMs: number) =>
    new Promise<RedisOutcome>((resolve) => {
      clock.after(timeoutMs, () => resolve({ kind: "unknown", cause: "cut off" }));
    });
  return {
    links: links.map((link) => ({
      name: link.name,
      send: (command: readonly string[], timeoutMs: number) =>
        isCut ? silence(timeoutMs) : link.send(command, timeoutMs),
    })),
    set: (value: boolean) => {
      isCut = value;
    },
  };
}

/** Time as the models want it, by a clock of a test. */
function timeOf(clock: ManualClock) {
  const startMs = clock.monotonic();
  return {
    get nowMs() {
      return clock.monotonic() - startMs;
    },
    after: (delayMs: number, _: string, run: () => void) => clock.after(delayMs, run),
  };
}

function modelled(count: number, travelMs = 0) {
  const clock = new ManualClock();
  const models = Array.from(
    { length: count },
    (_, index) => new RedisModel({ name: `r${index}`, time: timeOf(clock), network: { travelMs: () => travelMs } }),
  );
  const during = async <T>(promise: Promise<T>): Promise<T> => {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    while (!isSettled) await clock.advance(5);
    return promise;
  };
  return { clock, models, during };
}

for (const count of [1, 3, 5]) {
  describe(`RedLock over ${count} in the model`, () => {
    const open = async (): Promise<LocksUnderTest> => {
      const { clock, models } = modelled(count);
      const cut = cuttable(
        models.map((model) => model.link("a")),
        clock,
      );
      const links = models.map((model) => model.link("b"));
      // One clock for all: whoever waits lets it go on, and only one may.
      let waiting = 0;
      const during = async <T>(promise: Promise<T>): Promise<T> => {
        let isSettled = false;
        const settled = () => {
          isSettled = true;
        };
        promise.then(settled, settled);
        waiting++;
        while (!isSettled) {
          if (waiting === 1) await clock.advance(5);
          else await new Promise((resolve) => setImmediate(resolve));
        }
        waiting--;
        return promise;
      };
      return {
        a: new RedLock(cut.links, { clock, random }),
        b: new RedLock(links, { clock, random }),
        ttlMs: 2_000,
        pass: async (ms) => {
          await new Promise<void>((resolve) => {
            clock.after(ms, resolve);
            if (waiting === 0) void clock.advance(ms);
          });
        },
        during,
        freeze: () => cut.set(true),
        thaw: () => cut.set(false),
        close: async () => {},
      };
    };
    test.each(lockContract)("$name", ({ run }) => run(open));
  });
}

/** A machine that is busy with other tests must not look like a server that is silent. */
const patient = (link: RedisLink): RedisLink => ({
  name: link.name,
  send: (command, timeoutMs) => link.send(command, timeoutMs * 10),
});

/**
 * On real servers what a machine that stops for a second cannot spoil: extending in time is judged on the model, where time
 * is ours, and here without a hurry.
 */
const cases = lockContract.filter(({ name }) => !/extended/.test(name));

for (const count of [1, 5]) {
  describeWithRedis(`RedLock over ${count} real servers`, () => {
    let servers: RedisServer[];
    let own: [RedisConnection[], RedisConnection[]];
    const clock = new SystemClock();
    let opened = 0;
    beforeAll(async () => {
      servers = await Promise.all(Array.from({ length: count }, () => startRedisServer()));
      const connect = () => Promise.all(servers.map(({ url }) => openRedis(url, clock)));
      own = [await connect(), await connect()];
      await Promise.all(own.flat().map((connection) => connection.ready()));
    });
    afterAll(async () => {
      await Promise.all((own ?? []).flat().map((connection) => connection.close()));
      await Promise.all((servers ?? []).map((server) => server.stop()));
    });
    const open = async (): Promise<LocksUnderTest> => {
      const cut = cuttable(own[0].map(patient), clock);
      const options = { prefix: `case${++opened}:` };
      return {
        a: new RedLock(cut.links, { clock, random }, options),
        b: new RedLock(own[1].map(patient), { clock, random }, options),
        ttlMs: 2_000,
        pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        during: (promise) => promise,
        freeze: () => cut.set(true),
        thaw: () => cut.set(false),
        close: async () => {},
      };
    };
    test.concurrent.each(cases)("$name", ({ run }) => run(open));

    test("a lock is extended at the servers, and gone from them after the work", async () => {
      const locks = new RedLock(own[0].map(patient), { clock, random }, { prefix: "slow:" });
      const ask = async (command: string) => {
        const answers = await Promise.all(own[1].map((link) => link.send([command, "slow:k"], 5_000)));
        return answers.map((answer) => (answer.kind === "reply" ? Number(answer.value) : undefined));
      };
      const outcome = await locks.acquire("k", { ttlMs: 60_000 });
      const { lock } = outcome as { lock: UnfencedLock };
      const firstMs = lock.validUntilMs;
      await Promise.all(own[1].map((link) => link.send(["PEXPIRE", "slow:k", "40000"], 5_000)));
      expect(await lock.extend()).toBe(true);
      expect(lock.validUntilMs).toBeGreaterThan(firstMs);
      for (const leftMs of await ask("PTTL")) expect(leftMs).toBeGreaterThan(40_000);
      await lock.release();
      expect(await ask("EXISTS")).toEqual(own[1].map(() => 0));
      const during = await locks.run("k", { ttlMs: 60_000 }, async ({ isValid }) => ({
        isValid,
        at: await ask("EXISTS"),
      }));
      expect(during).toEqual({ isValid: true, at: own[1].map(() => 1) });
      expect(await ask("EXISTS")).toEqual(own[1].map(() => 0));
    });
  });
}

describe("RedLock", () => {
  const ttlMs = 10_000;

  test("refuses a lock that took so long that too little of it is left, and gives it back", async () => {
    const { clock, models, during } = modelled(5, 450);
    const links = models.map((model) => model.link("a"));
    const locks = new RedLock(links, { clock, random }, { instanceTimeoutMs: 1_000, minValidityMs: 9_000 });
    const outcome = await during(locks.acquire("k", { ttlMs }));
    expect(outcome).toMatchObject({ kind: "late" });
    expect((outcome as { leftMs: number }).leftMs).toBeLessThan(8_700);
    await clock.advance(1_000);
    for (const model of models) expect(model.execute("GET", "holdfast:lock:k")).toEqual({ kind: "reply", value: null });
  });

  test("counts its time from before it asked, by the monotonic clock", async () => {
    const { clock, models, during } = modelled(5, 300);
    const locks = new RedLock(
      models.map((model) => model.link("a")),
      { clock, random },
      { instanceTimeoutMs: 1_000 },
    );
    const sentMs = clock.monotonic();
    const outcome = await during(locks.acquire("k", { ttlMs }));
    const { lock } = outcome as { lock: UnfencedLock };
    expect(lock.validUntilMs).toBe(sentMs + 9_500);
  });

  test("needs a majority: with two of five down it works, with three it does not, and says who was silent", async () => {
    const { clock, models, during } = modelled(5, 1);
    const locks = new RedLock(
      models.map((model) => model.link("a")),
      { clock, random },
    );
    models[0]?.crash();
    models[1]?.crash();
    expect(await during(locks.acquire("k", { ttlMs }))).toMatchObject({ kind: "granted" });
    models[2]?.crash();
    expect(await during(locks.acquire("l", { ttlMs }))).toMatchObject({
      kind: "unknown",
      cause: expect.stringMatching(/r0: .*; r1: .*; r2: /),
    });
    expect(models[3]?.execute("GET", "holdfast:lock:l")).toEqual({ kind: "reply", value: null });
  });

  test("takes no options that would make it worse than it is", async () => {
    const { clock, models } = modelled(1);
    const links = models.map((model) => model.link("a"));
    const locks = (options: object) => new RedLock(links, { clock, random }, options).acquire("k", { ttlMs });
    await expect(locks({ instanceTimeoutMs: 1_001 })).rejects.toThrow(/`instanceTimeoutMs` is 1001; .* a tenth/);
    await expect(locks({ instanceTimeoutMs: 0 })).rejects.toThrow(/`instanceTimeoutMs` is 0/);
    await expect(locks({ minValidityMs: 9_500 })).rejects.toThrow(/`minValidityMs` is 9500; .* below 9500/);
    expect(() => new RedLock([], { clock, random })).toThrow(/needs a Redis server/);
    expect(() => new RedLock([...links, ...links], { clock, random })).toThrow(/named twice/);
  });

  test("does not compile where a fenced lease is needed", () => {
    const proof = (locks: RedLock, lock: UnfencedLock, unfenced: LeaseService<"none">, register: FencedRegister) => {
      // @ts-expect-error locks are no lease service
      const forUsers: UserLeasesOptions["service"] = locks;
      // @ts-expect-error nor is a lease service that says that it cannot be fenced
      const unfencedForUsers: UserLeasesOptions["service"] = unfenced;
      // @ts-expect-error partitions are owned under fenced leases
      const forPartitions: PartitionLeasesOptions["service"] = locks;
      // @ts-expect-error and under no others
      const unfencedForPartitions: PartitionLeasesOptions["service"] = unfenced;
      // @ts-expect-error a lock has no token, so it makes no claim
      const claim: Claim = lock;
      // @ts-expect-error and nothing can be written under it
      void register.install("k", lock);
      return { forUsers, unfencedForUsers, forPartitions, unfencedForPartitions, claim, UserLeases, PartitionLeases };
    };
    expect(proof).toBeTypeOf("function");
  });
});
