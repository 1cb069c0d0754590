import { describe, expect, test } from "vitest";
import { SystemRandom } from "../../../runtime/adapters/system-random.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { usualLimits } from "../../lease/table.ts";
import { validUntilMs } from "../../lease/validity.ts";
import { diskContract } from "../../ports/disk.contract.ts";
import { type LeasesUnderTest, leaseContract } from "../../ports/lease-service.contract.ts";
import type { Session } from "../../ports/lease-service.ts";
import type { MemberId } from "../../ports/peers.ts";
import { type LeaseMember, RaftLeases } from "./leases.ts";
import { Member } from "./member.ts";
import { memberAlone } from "./member-alone.fixture.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryNetwork } from "./memory-network.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();
const limits = { ...usualLimits, leases: 8 };

describe("a disk in memory keeps the disk's contract", () => {
  test.each(diskContract)("$name", ({ run }) =>
    run(async () => {
      const disk = new MemoryDisk();
      return { disk, reopen: async () => disk, close: async () => {} };
    }),
  );
});

/** A member from which a service may be cut off: nothing gets through, nobody is told. */
function cuttable(member: LeaseMember) {
  let isCut = false;
  const never = () => new Promise<never>(() => {});
  const cut: LeaseMember = {
    get identity() {
      return member.identity;
    },
    get table() {
      return member.table;
    },
    ask: (request, untilMs) => (isCut ? never() : member.ask(request, untilMs)),
    renew: (renewal, untilMs) => (isCut ? never() : member.renew(renewal, untilMs)),
    onChange: (listener) => member.onChange(listener),
  };
  return {
    member: cut,
    set: (value: boolean) => {
      isCut = value;
    },
  };
}

describe("leases on one member in memory", () => {
  const open = async (): Promise<LeasesUnderTest> => {
    const clock = new ManualClock();
    const member = await memberAlone(clock, { limits });
    const cut = cuttable(member);
    const a = new RaftLeases({ member: cut.member, clock, random });
    const b = new RaftLeases({ member, clock, random });
    return {
      a,
      b,
      ttlMs: 3_000,
      room: limits.leases,
      pass: (ms) => clock.advance(ms),
      freeze: () => cut.set(true),
      thaw: () => cut.set(false),
      close: async () => {
        const closed = Promise.all([a.close(), b.close()]);
        await clock.advance(5_000);
        await closed;
        await member.close();
      },
    };
  };
  test.each(leaseContract)("$name", ({ run }) => run(open));

  test("a session may be opened after any time in which nobody asked for anything", async () => {
    const { a, pass, close } = await open();
    for (const minutes of [0, 2, 10]) {
      await pass(minutes * 60_000);
      const session = await a.openSession({ node: "a", ttlMs: 3_000 });
      expect(await session.acquire("k")).toMatchObject({ kind: "granted" });
      await session.close();
    }
    await close();
  });
});

test("while nobody leads, lease time stands still, and nobody's lease is over for that (C3)", async () => {
  const clock = new ManualClock();
  const network = new MemoryNetwork(clock);
  const members = await threeMembers(clock, network);
  await clock.advance(3_000);
  const [one] = members as [Member];
  const opening = new RaftLeases({ member: one, clock, random }).openSession({ node: "n", ttlMs: 5_000 });
  await clock.advance(100);
  const session = await opening;
  const acquiring = session.acquire("k");
  await clock.advance(100);
  expect(await acquiring).toMatchObject({ kind: "granted" });
  const believedUntilMs = session.validUntilMs;
  for (const id of [1, 2, 3]) network.isolate(id);
  await clock.advance(600_000);
  expect(session.isValid, "it does not believe in it any longer").toBe(false);
  expect(clock.monotonic()).toBeGreaterThan(believedUntilMs);
  network.heal();
  await clock.advance(3_000);
  expect(members.filter((member) => member.status().role === "leader").length).toBe(1);
  expect(one.table.leases.get("k")?.session, "ten minutes without a leader do not count").toBe(session.id);
  await clock.advance(5_000);
  expect(one.table.leases.size).toBe(0);
  await Promise.all(members.map((member) => member.close()));
});

test("a session believes from before its renewal was sent, however late the answer comes (C4)", async () => {
  const clock = new ManualClock();
  const network = new MemoryNetwork(clock);
  const members = await threeMembers(clock, network);
  await clock.advance(3_000);
  const follower = members.find((member) => member.status().role === "follower")!;
  // Every frame takes 100 ms, and an answer four of them.
  network.longestDelayMs = 199;
  const ttlMs = 3_000;
  const sentMs = clock.monotonic();
  const opening = new RaftLeases({ member: follower, clock, random }).openSession({ node: "n", ttlMs });
  await clock.advance(900);
  const session = await opening;
  expect(session.validUntilMs).toBe(validUntilMs(sentMs, ttlMs));
  // Renewed a third of its time after the answer.
  for (let turn = 0; turn < 5; turn++) {
    const before = session.validUntilMs;
    while (session.validUntilMs === before) await clock.advance(10);
    expect(session.validUntilMs - validUntilMs(clock.monotonic(), ttlMs), "the answer took its time").toBeLessThan(
      -200,
    );
    expect(session.validUntilMs).toBeGreaterThan(before);
  }
  await Promise.all(members.map((member) => member.close()));
});

test("a session that took several rounds to open believes no longer than the table (C4)", async () => {
  for (const flushMs of [100, 200, 250, 300, 350, 400, 450]) {
    const clock = new ManualClock();
    let turnMs = 0;
    const disk = new MemoryDisk(async () => {
      if (turnMs > 0) await new Promise<void>((resolve) => void clock.after(turnMs, resolve));
    });
    const member = await memberAlone(clock, { disk });
    // Longer than an opening may be under way: what the member takes for the lease time of now is of long ago.
    await clock.advance(120_000);
    turnMs = flushMs;
    const cut = cuttable(member);
    let session: Session | undefined;
    const opening = new RaftLeases({ member: cut.member, clock, random }).openSession({ node: "a", ttlMs: 5_000 });
    opening.then(
      (opened) => {
        session = opened;
      },
      () => {},
    );
    for (let ms = 0; ms < 5_000 && session === undefined; ms += 10) await clock.advance(10);
    expect(session?.isValid, `flushes of ${flushMs} ms`).toBe(true);
    // From here on nothing renews it.
    cut.set(true);
    turnMs = 0;
    while (member.table.sessions.has(session!.id)) await clock.advance(10);
    expect(session!.isValid, `flushes of ${flushMs} ms`).toBe(false);
    await member.close();
  }
});

test("more requests than a session may have on their way are refused for sure, and say so", async () => {
  const clock = new ManualClock();
  const member = await memberAlone(clock, { limits: { unanswered: 3 } });
  await clock.advance(1_000);
  const opening = new RaftLeases({ member, clock, random }).openSession({ node: "n", ttlMs: 3_000 });
  await clock.advance(100);
  const session = await opening;
  const acquiring = Promise.all(["a", "b", "c", "d"].map((key) => session.acquire(key)));
  await clock.advance(100);
  const outcomes = await acquiring;
  expect(outcomes.map(({ kind }) => kind)).toEqual(["granted", "granted", "granted", "full"]);
  expect(outcomes[3]).toMatchObject({ why: "more than 3 requests of this process are on their way" });
  await member.close();
});

function threeMembers(clock: ManualClock, network: MemoryNetwork): Promise<Member[]> {
  return Promise.all(
    [1, 2, 3].map((id) => {
      const peers = network.peersOf(id);
      const disk = new MemoryDisk();
      return Member.open({ cluster: "c", voters: [1, 2, 3], disk, peers, clock, random, logger: silent, limits });
    }),
  );
}

for (const [what, cutOff] of [
  ["the leader is cut off", (leader: MemberId) => leader],
  ["a follower is cut off", (leader: MemberId) => (leader % 3) + 1],
] as const)
  describe(`leases on three members in memory, of which ${what}`, () => {
    const open = async (): Promise<LeasesUnderTest> => {
      const clock = new ManualClock();
      const network = new MemoryNetwork(clock);
      const members = await threeMembers(clock, network);
      let leader: MemberId | undefined;
      while (leader === undefined) {
        await clock.advance(100);
        leader = members.find((member) => member.status().role === "leader")?.status().member;
      }
      // Everybody has heard of it, so that a request need not wait for an election.
      await clock.advance(200);
      const frozen = cutOff(leader);
      const services = members.map((member) => new RaftLeases({ member, clock, random }));
      const a = services[frozen - 1]!;
      const b = services[frozen % 3]!;
      // What is asked goes on while we wait for the answer, as time does.
      const stopTime = keepTime(clock);
      return {
        a,
        b,
        ttlMs: 2_000,
        room: limits.leases,
        pass: (ms) => new Promise((resolve) => void clock.after(ms, resolve)),
        freeze: () => network.isolate(frozen),
        thaw: () => network.heal(),
        close: async () => {
          await Promise.all(services.map((service) => service.close()));
          await Promise.all(members.map((member) => member.close()));
          stopTime();
        },
      };
    };
    test.each(leaseContract)("$name", ({ run }) => run(open));
  });

/** Lets a little time pass with every turn of the event loop, as answers over a network need some. */
function keepTime(clock: ManualClock): () => void {
  let isStopped = false;
  const turn = async () => {
    while (!isStopped) await clock.advance(5);
  };
  void turn();
  return () => {
    isStopped = true;
  };
}
