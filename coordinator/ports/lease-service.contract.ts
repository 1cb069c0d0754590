/**
 * What every lease service must do, as plain functions: the cases of the contract C1 to C4, C8 and C9 that one can see
 * from outside. No test framework and no timers: time passes by `pass`, really or by a manual clock.
 */
import assert from "node:assert/strict";
import type { AcquireOutcome, LeaseService, Session } from "./lease-service.ts";

export type LeasesUnderTest = {
  /** Two processes with the same back end. */
  readonly a: LeaseService;
  readonly b: LeaseService;
  /** Time to live for the sessions of the cases; the shortest that is steady there. */
  readonly ttlMs: number;
  /** How many leases there is room for, where it is little enough to be filled. */
  readonly room?: number;
  /** Lets so much time pass. */
  pass(ms: number): Promise<void>;
  /** Cuts process `a` off from the back end, as if it were frozen or its network gone; undone by `thaw`. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
};

export type LeaseCase = {
  readonly name: string;
  readonly run: (open: () => Promise<LeasesUnderTest>) => Promise<void>;
};

export const leaseContract: readonly LeaseCase[] = [
  {
    name: "C2 of two sessions that ask, one gets the lease, and the other learns who has it",
    run: withLeases(async ({ a, b, ttlMs }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      const outcomes = await Promise.all([one.acquire("k"), two.acquire("k")]);
      const granted = outcomes.filter(({ kind }) => kind === "granted");
      assert.equal(granted.length, 1, JSON.stringify(outcomes));
      const loser = outcomes[0]?.kind === "granted" ? two : one;
      const winner = loser === one ? two : one;
      assert.deepEqual(await loser.acquire("k"), { kind: "held", by: winner.id });
    }),
  },
  {
    name: "C1 indexes of grants grow over all keys and holders, and asking again keeps one's own",
    run: withLeases(async ({ a, b, ttlMs }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      let last = 0;
      for (const key of ["k", "l", "k", "l", "k"])
        for (const session of [one, two]) {
          const index = grantedIndex(await session.acquire(key));
          assert.ok(index > last, `${index} after ${last}`);
          last = index;
          assert.equal(grantedIndex(await session.acquire(key)), index);
          assert.ok(await session.release(key));
        }
    }),
  },
  {
    name: "C1 renewing keeps the index, and C3 the lease outlives its time to live while its session is renewed",
    run: withLeases(async ({ a, b, ttlMs, pass }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      const index = grantedIndex(await one.acquire("k"));
      for (let turn = 0; turn < 4; turn++) {
        await pass(ttlMs * 0.8);
        assert.ok(one.isValid);
        assert.deepEqual(await two.acquire("k"), { kind: "held", by: one.id });
        assert.equal(grantedIndex(await one.acquire("k")), index);
      }
    }),
  },
  {
    name: "a lease that is released, or whose session is closed, is free at once",
    run: withLeases(async ({ a, b, ttlMs }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      grantedIndex(await one.acquire("k"));
      grantedIndex(await one.acquire("l"));
      assert.ok(await one.release("k"));
      grantedIndex(await two.acquire("k"));
      await one.close();
      assert.equal(one.isValid, false);
      grantedIndex(await two.acquire("l"));
      assert.deepEqual(await one.acquire("m"), { kind: "lost" });
    }),
  },
  {
    name: "a hand-over grants to the other in one step, with a higher index, and only the holder can make it",
    run: withLeases(async ({ a, b, ttlMs, pass }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      const first = grantedIndex(await one.acquire("k"));
      assert.ok(await one.transfer("k", two.id));
      const second = grantedIndex(await two.acquire("k"));
      assert.ok(second > first);
      assert.deepEqual(await one.acquire("k"), { kind: "held", by: two.id });
      assert.ok(await one.transfer("k", one.id), "not held: nothing to do");
      assert.deepEqual(await one.acquire("k"), { kind: "held", by: two.id });
      await until(
        pass,
        () => a.view().leases.get("k")?.session === two.id && b.view().leases.get("k")?.index === second,
      );
    }),
  },
  {
    name: "C3 a silent session is not ended before its time, C4 and by then it does not believe any more",
    run: withLeases(async ({ a, b, ttlMs, pass, freeze }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      const index = grantedIndex(await one.acquire("k"));
      await until(pass, () => b.view().sessions.has(one.id));
      const lost = new Promise<string>((resolve) => one.onLost(resolve));
      freeze();
      const taken = await takeOver({ b, ttlMs, pass }, two);
      // Looked at after the answer: whoever believes then did so when it was granted. Before it, time passes that nobody
      // knows the length of, in which one may rightly cease to believe and two be granted.
      assert.ok(!one.isValid, "both believed to hold it");
      assert.ok(taken.index > index);
      assert.notEqual(await lost, "");
    }),
  },
  {
    name: "C9 one that wakes after its time has lost everything, for good, and a new session begins with nothing",
    run: withLeases(async ({ a, b, ttlMs, pass, freeze, thaw }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      grantedIndex(await one.acquire("k"));
      freeze();
      const { by } = await takeOver({ b, ttlMs, pass }, two);
      thaw();
      assert.equal(one.isValid, false);
      assert.deepEqual(await one.acquire("k"), { kind: "lost" });
      const again = await a.openSession({ node: "a", ttlMs });
      assert.notEqual(again.id, one.id);
      assert.deepEqual(await again.acquire("k"), { kind: "held", by: by.id });
    }),
  },
  {
    name: "one lease more than there is room for is not granted, for sure, and is when another was given back",
    run: withLeases(async ({ a, b, ttlMs, room }) => {
      if (room === undefined) return;
      const [one, two] = await sessions(a, b, ttlMs);
      const keys = Array.from({ length: room }, (_, place) => `k${place}`);
      for (const key of keys) grantedIndex(await one.acquire(key));
      for (const session of [one, two]) {
        const outcome = await session.acquire("more");
        assert.equal(outcome.kind, "full", JSON.stringify(outcome));
        assert.notEqual((outcome as Extract<AcquireOutcome, { kind: "full" }>).why, "");
      }
      grantedIndex(await one.acquire("k0"));
      assert.deepEqual(await two.acquire("k0"), { kind: "held", by: one.id });
      assert.ok(await one.release("k0"));
      assert.equal(a.view().leases.has("more"), false);
      grantedIndex(await two.acquire("more"));
    }),
  },
  {
    name: "everybody sees who is alive, what it says of itself, and what it holds",
    run: withLeases(async ({ a, b, ttlMs, pass }) => {
      const [one, two] = await sessions(a, b, ttlMs);
      const index = grantedIndex(await one.acquire("k"));
      await one.update({ draining: true, problem: "for a test" });
      await until(pass, () => b.view().sessions.get(one.id)?.attributes.problem === "for a test");
      assert.deepEqual(b.view().sessions.get(one.id), {
        id: one.id,
        node: "a",
        ttlMs,
        attributes: { draining: true, problem: "for a test" },
      });
      await until(pass, () => b.view().leases.get("k")?.index === index);
      let told = 0;
      const stop = b.onChange(() => told++);
      await two.close();
      await one.close();
      await until(pass, () => b.view().sessions.size === 0 && a.view().sessions.size === 0);
      assert.ok(told > 0);
      stop();
    }),
  },
  {
    name: "a time to live of nothing, less, no number, too little, or a year is refused with the bounds",
    run: withLeases(async ({ a }) => {
      for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 499, 365 * 86_400_000])
        await assert.rejects(a.openSession({ node: "a", ttlMs }), /must be from 500 ms to 3600000 ms/);
    }),
  },
];

function withLeases(run: (leases: LeasesUnderTest) => Promise<void>): LeaseCase["run"] {
  return async (open) => {
    const leases = await open();
    try {
      await run(leases);
    } finally {
      leases.thaw();
      await leases.close();
    }
  };
}

async function sessions(a: LeaseService, b: LeaseService, ttlMs: number): Promise<[Session, Session]> {
  return [await a.openSession({ node: "a", ttlMs }), await b.openSession({ node: "b", ttlMs })];
}

function grantedIndex(outcome: AcquireOutcome): number {
  assert.equal(outcome.kind, "granted", JSON.stringify(outcome));
  return (outcome as Extract<AcquireOutcome, { kind: "granted" }>).index;
}

/**
 * The first grant of `k` to b, asked for again and again. Where the leader is who fell silent, the election of another may
 * outlast the session of b as well: it begins a new one then.
 */
async function takeOver(
  { b, ttlMs, pass }: Pick<LeasesUnderTest, "b" | "ttlMs" | "pass">,
  two: Session,
): Promise<{ readonly by: Session; readonly index: number }> {
  let by = two;
  for (let passedMs = 0; passedMs < ttlMs * 20; passedMs += ttlMs / 10) {
    const outcome = await by.acquire("k");
    if (outcome.kind === "granted") return { by, index: outcome.index };
    await pass(ttlMs / 10);
    if (outcome.kind === "lost") by = await b.openSession({ node: "b", ttlMs }).catch(() => by);
  }
  assert.fail("nobody took over");
}

async function until(pass: LeasesUnderTest["pass"], holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 500, "waited in vain");
    await pass(10);
  }
}
