/**
 * What locks without tokens must do on a good day: the part of the lease contract that they can keep. No test framework and
 * no timers: time passes by `pass`, really or by a manual clock.
 */
import assert from "node:assert/strict";
import type { LockOutcome, UnfencedLock, UnfencedLocks } from "./unfenced-locks.ts";

export type LocksUnderTest = {
  /** Two processes with the same servers. */
  readonly a: UnfencedLocks;
  readonly b: UnfencedLocks;
  readonly ttlMs: number;
  pass(ms: number): Promise<void>;
  /** Lets time pass while this is under way. */
  during<T>(promise: Promise<T>): Promise<T>;
  /** Cuts process `a` off from all servers; undone by `thaw`. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
};

export type LockCase = { readonly name: string; readonly run: (open: () => Promise<LocksUnderTest>) => Promise<void> };

export const lockContract: readonly LockCase[] = [
  {
    name: "C2 of two that ask at once at most one gets it, and somebody does in the end",
    run: withLocks(async ({ a, b, ttlMs, during }) => {
      for (let round = 0; round < 20; round++) {
        const outcomes = await during(Promise.all([a, b].map((locks) => locks.acquire(`k${round}`, { ttlMs }))));
        assert.ok(outcomes.filter(({ kind }) => kind === "granted").length <= 1, JSON.stringify(outcomes));
      }
      const waiting = [a, b].map(async (locks) => {
        const outcome = await locks.acquire("k", { ttlMs, waitMs: ttlMs * 20 });
        const lock = lockOf(outcome);
        await lock.release();
      });
      await during(Promise.all(waiting));
    }),
  },
  {
    name: "what is held is refused to others, also to oneself, and free when it is given back",
    run: withLocks(async ({ a, b, ttlMs, during }) => {
      const lock = await granted(a, "k", ttlMs, during);
      assert.ok(lock.isValid);
      assert.deepEqual(await during(b.acquire("k", { ttlMs })), { kind: "held" });
      assert.deepEqual(await during(a.acquire("k", { ttlMs })), { kind: "held" });
      await granted(b, "another", ttlMs, during);
      await during(lock.release());
      assert.equal(lock.isValid, false);
      await granted(b, "k", ttlMs, during);
      await during(lock.release());
      assert.deepEqual(await during(a.acquire("k", { ttlMs })), { kind: "held" });
    }),
  },
  {
    name: "C3 it outlives its time while it is extended",
    run: withLocks(async ({ a, b, ttlMs, pass, during }) => {
      const lock = await granted(a, "k", ttlMs, during);
      for (let turn = 0; turn < 3; turn++) {
        await pass(ttlMs * 0.4);
        assert.ok(await during(lock.extend()));
        assert.deepEqual(await during(b.acquire("k", { ttlMs })), { kind: "held" });
      }
      assert.ok(lock.isValid);
    }),
  },
  {
    name: "C3, C4 one that falls silent keeps it for its time and does not believe any more when another gets it",
    run: withLocks(async ({ a, b, ttlMs, pass, during, freeze }) => {
      const lock = await granted(a, "k", ttlMs, during);
      freeze();
      for (let turn = 0; ; turn++) {
        assert.ok(turn < 400, "nobody took over");
        const outcome = await during(b.acquire("k", { ttlMs }));
        if (outcome.kind === "granted") {
          assert.ok(!lock.isValid, "both believe to hold it");
          break;
        }
        await pass(ttlMs / 20);
      }
      assert.equal(lock.isValid, false);
    }),
  },
  {
    name: "C9 what is lost is lost for good, and giving it back takes it from nobody",
    run: withLocks(async ({ a, b, ttlMs, pass, during }) => {
      const lock = await granted(a, "k", ttlMs, during);
      await pass(ttlMs * 1.2);
      assert.equal(lock.isValid, false);
      const next = await granted(b, "k", ttlMs, during);
      assert.equal(await during(lock.extend()), false);
      await during(lock.release());
      assert.ok(next.isValid);
      assert.deepEqual(await during(a.acquire("k", { ttlMs })), { kind: "held" });
    }),
  },
  {
    name: "C8 without enough answers nothing is held, and nothing is extended",
    run: withLocks(async ({ a, b, ttlMs, pass, during, freeze, thaw }) => {
      const lock = await granted(a, "k", ttlMs, during);
      freeze();
      assert.equal((await during(a.acquire("l", { ttlMs }))).kind, "unknown");
      assert.equal(await during(lock.extend()), false);
      thaw();
      await granted(b, "l", ttlMs, during);
      await pass(ttlMs * 1.1);
      await granted(b, "k", ttlMs, during);
    }),
  },
  {
    name: "work is done under a lock that is extended as long as it lasts, and given back afterwards",
    run: withLocks(async ({ a, b, ttlMs, pass, during, freeze }) => {
      const done = during(
        a.run("k", { ttlMs, waitMs: ttlMs * 10 }, async ({ signal }) => {
          await pass(ttlMs * 1.2);
          assert.equal(signal.aborted, false);
          assert.deepEqual(await b.acquire("k", { ttlMs }), { kind: "held" });
          return "done";
        }),
      );
      assert.equal(await done, "done");
      await during((await granted(b, "k", ttlMs, during)).release());
      await assert.rejects(
        during(
          a.run("k", { ttlMs, waitMs: ttlMs * 10 }, async (lock) => {
            freeze();
            await pass(ttlMs * 1.5);
            assert.ok(!lock.isValid);
            lock.signal.throwIfAborted();
          }),
        ),
        { code: "LeaseLost" },
      );
      await during(b.run("k", { ttlMs, waitMs: ttlMs * 10 }, async () => {}));
    }),
  },
  {
    name: "whoever does not get it is told so, and why",
    run: withLocks(async ({ a, b, ttlMs, during }) => {
      await granted(a, "k", ttlMs, during);
      await assert.rejects(during(b.run("k", { ttlMs }, async () => {})), { code: "LeaseNotAcquired" });
      const stop = new AbortController();
      const waiting = assert.rejects(during(b.acquire("k", { ttlMs, waitMs: 60_000, signal: stop.signal })), /enough/);
      stop.abort(new Error("enough"));
      await waiting;
    }),
  },
  {
    name: "times to live and names that are none are refused with the bounds",
    run: withLocks(async ({ a, ttlMs }) => {
      for (const wrong of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 499, 365 * 86_400_000])
        await assert.rejects(a.acquire("k", { ttlMs: wrong }), /must be from 500 ms to 3600000 ms/);
      await assert.rejects(a.acquire("", { ttlMs }), /1 to 1,000 characters/);
      await assert.rejects(a.acquire("k", { ttlMs, waitMs: -1 }), /`waitMs` is -1/);
    }),
  },
];

function withLocks(run: (locks: LocksUnderTest) => Promise<void>): LockCase["run"] {
  return async (open) => {
    const locks = await open();
    try {
      await run(locks);
    } finally {
      locks.thaw();
      await locks.close();
    }
  };
}

/** Free locks are given; to whom the servers did not answer in time, at the next attempt. */
async function granted(
  locks: UnfencedLocks,
  key: string,
  ttlMs: number,
  during: LocksUnderTest["during"],
): Promise<UnfencedLock> {
  return lockOf(await during(locks.acquire(key, { ttlMs, waitMs: ttlMs / 2 })));
}

function lockOf(outcome: LockOutcome): UnfencedLock {
  assert.equal(outcome.kind, "granted", JSON.stringify(outcome));
  return (outcome as Extract<LockOutcome, { kind: "granted" }>).lock;
}
