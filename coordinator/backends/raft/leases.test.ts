import { describe, test } from "vitest";
import { SystemRandom } from "../../../runtime/adapters/system-random.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { diskContract } from "../../ports/disk.contract.ts";
import { type LeasesUnderTest, leaseContract } from "../../ports/lease-service.contract.ts";
import type { MemberId, Peers } from "../../ports/peers.ts";
import { type LeaseMember, RaftLeases } from "./leases.ts";
import { Member } from "./member.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryNetwork } from "./memory-network.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

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
  const alone: Peers = { self: 1, send() {}, receive: () => () => {} };
  const open = async (): Promise<LeasesUnderTest> => {
    const clock = new ManualClock();
    const disk = new MemoryDisk();
    const member = await Member.open({ cluster: "c", voters: [1], disk, peers: alone, clock, random, logger: silent });
    const cut = cuttable(member);
    const a = new RaftLeases({ member: cut.member, clock, random });
    const b = new RaftLeases({ member, clock, random });
    return {
      a,
      b,
      ttlMs: 3_000,
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
});

for (const [what, cutOff] of [
  ["the leader is cut off", (leader: MemberId) => leader],
  ["a follower is cut off", (leader: MemberId) => (leader % 3) + 1],
] as const)
  describe(`leases on three members in memory, of which ${what}`, () => {
    const open = async (): Promise<LeasesUnderTest> => {
      const clock = new ManualClock();
      const network = new MemoryNetwork(clock);
      const members = await Promise.all(
        [1, 2, 3].map((id) =>
          Member.open({
            cluster: "c",
            voters: [1, 2, 3],
            disk: new MemoryDisk(),
            peers: network.peersOf(id),
            clock,
            random,
            logger: silent,
          }),
        ),
      );
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
