/** Members come, go and are replaced while leases are granted, in memory, by a clock that the test moves. */
import { afterEach, describe, expect, test } from "vitest";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { ReplicatedTable } from "../../lease/table.ts";
import type { MemberId } from "../../ports/peers.ts";
import { emptyConfState } from "../../raft/messages.ts";
import { emptyRoster } from "../../raft/roster.ts";
import { RaftLeases } from "./leases.ts";
import { Member } from "./member.ts";
import type { ManageOutcome } from "./membership.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryNetwork } from "./memory-network.fixture.ts";
import { readStopped, recoverAlone } from "./recover.ts";
import { encodeState } from "./state.ts";
import { encodeFrame, type Wish } from "./wire.ts";

const tickMs = 50;
const everybody: readonly MemberId[] = [1, 2, 3, 4, 5, 6];
const addressOf = (id: MemberId) => `10.0.0.${id}:7000`;
let ids = 0;
const dice = (seed: number) => {
  let state = seed;
  return () => {
    state = (Math.imul(state, 0x19660d) + 0x3c6ef35f) | 0;
    return (state >>> 0) / 2 ** 32;
  };
};

class Cluster {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork(this.clock);
  readonly disks = new Map<MemberId, MemoryDisk>();
  readonly members = new Map<MemberId, Member>();
  readonly errors: string[] = [];

  static async of(...voters: readonly MemberId[]): Promise<Cluster> {
    const cluster = new Cluster();
    for (const id of voters) await cluster.start(id, voters);
    await cluster.pass(3_000);
    return cluster;
  }

  async start(id: MemberId, voters?: readonly MemberId[]): Promise<Member> {
    const disk = this.disks.get(id) ?? new MemoryDisk();
    this.disks.set(id, disk);
    const random = { next: dice(id), id: () => `r${++ids}` };
    const error = (what: string, details?: Readonly<Record<string, unknown>>) =>
      void this.errors.push(`${what}: ${String(details?.error)}`);
    const logger = { debug() {}, info() {}, warn() {}, error };
    const peers = this.network.peersOf(id);
    const { clock } = this;
    const address = addressOf(id);
    const member = await Member.open({ cluster: "c", voters, address, disk, peers, clock, random, logger, tickMs });
    this.members.set(id, member);
    return member;
  }

  async stop(id: MemberId): Promise<void> {
    await this.members.get(id)!.close();
    this.members.delete(id);
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  get leader(): Member {
    return [...this.members.values()].find((member) => member.status().role === "leader")!;
  }

  async manage(at: Member, wish: Wish): Promise<ManageOutcome> {
    const answered = at.manage(wish, this.clock.monotonic() + 2_000);
    await this.pass(2_500);
    return answered;
  }

  async granted(key: string): Promise<number> {
    const leases = new RaftLeases({
      member: this.leader,
      clock: this.clock,
      random: { next: dice(9), id: () => `s${++ids}` },
    });
    const opening = leases.openSession({ node: "n", ttlMs: 3_000 });
    await this.pass(500);
    const session = await opening;
    const asking = session.acquire(key);
    await this.pass(500);
    const outcome = await asking;
    const closing = session.close();
    await this.pass(500);
    await closing;
    if (outcome.kind !== "granted") throw new Error(outcome.kind);
    return outcome.index;
  }
}

let cluster: Cluster;
afterEach(async () => {
  for (const id of [...cluster.members.keys()]) await cluster.stop(id);
});
const voters = (member: Member) => member.members().flatMap(({ id, role }) => (role === "voter" ? [id] : []));
const add = (id: MemberId, replaces = 0): Wish => ({ kind: "add", id, address: addressOf(id), replaces });
const followerOf = ({ members, leader }: Cluster) => [...members.values()].find((member) => member !== leader)!;

describe("the members of a cluster", () => {
  test("tell each other where they are, and name their cluster once", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const views = [...cluster.members.values()].map((member) =>
      member.members().map(({ id, address }) => [id, address]),
    );
    expect(views).toEqual([1, 2, 3].map(() => [1, 2, 3].map((id) => [id, addressOf(id)])));
    const names = new Set([...cluster.members.values()].map(({ identity }) => identity));
    expect(names.size).toBe(1);
    expect([...names][0]).toMatch(/^raft:c\.r\d+\.1$/);
  });

  test("get a new one, asked for at any of them: a learner first, a voter once it has caught up", async () => {
    cluster = await Cluster.of(1, 2, 3);
    await cluster.granted("before");
    expect(await cluster.manage(followerOf(cluster), add(4))).toEqual({ kind: "done" });
    expect(cluster.leader.members().find(({ id }) => id === 4)).toMatchObject({
      role: "learner",
      address: addressOf(4),
    });
    const joined = await cluster.start(4);
    expect(joined.epoch).toBe(0);
    await cluster.pass(5_000);
    for (const member of cluster.members.values()) expect(voters(member)).toEqual([1, 2, 3, 4]);
    expect(joined.identity).toBe(cluster.leader.identity);
    // It counts: with two of the four cut off nothing is granted, with one of them it is.
    cluster.network.isolate(4, everybody);
    await cluster.granted("after");
  });

  test("replace a dead one in one step, without ever being fewer or one too many", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const dead = followerOf(cluster).status().member;
    await cluster.stop(dead);
    expect(await cluster.manage(cluster.leader, add(4, dead))).toEqual({ kind: "done" });
    const seen: MemberId[][] = [];
    cluster.leader.onMembers(() => seen.push(voters(cluster.leader)));
    await cluster.start(4);
    await cluster.pass(5_000);
    expect(new Set(seen.map(({ length }) => length))).toEqual(new Set([3]));
    expect(voters(cluster.leader)).toEqual([1, 2, 3, 4].filter((id) => id !== dead));
    expect(cluster.leader.members()).toHaveLength(3);
    expect(cluster.leader.whyForeign(dead, "")).toMatch(/was removed: an id is never used again/);
    // What was replicated to it survives a start from its own folder.
    await cluster.stop(4);
    const again = await cluster.start(4);
    await cluster.pass(2_000);
    expect(voters(again)).toEqual(voters(cluster.leader));
    const addresses = (member: Member) => member.members().map(({ address }) => address);
    expect(addresses(again)).toEqual(addresses(cluster.leader));
  });

  test("remove the leader, which steps down, and grant on", async () => {
    cluster = await Cluster.of(1, 2, 3);
    expect(await cluster.manage(cluster.leader, add(4))).toEqual({ kind: "done" });
    await cluster.start(4);
    await cluster.pass(5_000);
    const before = await cluster.granted("k");
    const first = cluster.leader;
    const { member: id } = first.status();
    expect(await cluster.manage(first, { kind: "remove", id })).toEqual({ kind: "done" });
    expect(first.status().role).toBe("follower");
    await cluster.stop(id);
    await cluster.pass(5_000);
    expect(voters(cluster.leader)).toEqual([1, 2, 3, 4].filter((one) => one !== id));
    expect(await cluster.granted("k")).toBeGreaterThan(before);
  });

  test("hand leadership to the one that is named", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const follower = followerOf(cluster);
    const { member: id } = follower.status();
    expect(await cluster.manage(follower, { kind: "transfer", id })).toEqual({ kind: "done" });
    expect(cluster.leader.status().member).toBe(id);
  });

  const refusals: readonly [string, (leader: MemberId) => Wish, RegExp][] = [
    ["an id that is there", () => add(2), /2 is a member already/],
    ["an address that is there", () => ({ ...add(9), address: addressOf(1) }) as Wish, /is the address of member 1/],
    ["a replacement of nobody", () => add(9, 8), /8 is no voter/],
    ["to remove a stranger", () => ({ kind: "remove", id: 9 }), /9 is no member/],
    ["two voters", (leader) => ({ kind: "remove", id: leader }), /would leave 2 voters/],
    ["a leader who is no member", () => ({ kind: "transfer", id: 9 }), /9 is no voter/],
    ["another's address", () => ({ kind: "announce", id: 9, address: "x:1", life: "l" }), /only a member itself/],
  ];
  test("refuse what would hurt them, with the reason, wherever they are asked", async () => {
    cluster = await Cluster.of(1, 2, 3);
    for (const [what, wish, reason] of refusals)
      for (const member of [cluster.leader, followerOf(cluster)]) {
        const outcome = await cluster.manage(member, wish(cluster.leader.status().member));
        expect(outcome, what).toMatchObject({ kind: "refused", reason: expect.stringMatching(reason) });
      }
  });

  test("make one change at a time, and say so", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const { leader, clock } = cluster;
    const both = [4, 5].map((id) => leader.manage(add(id), clock.monotonic() + 2_000));
    await cluster.pass(2_500);
    const reason = expect.stringMatching(/another change of the membership is under way/);
    expect(await Promise.all(both)).toEqual([{ kind: "done" }, { kind: "refused", reason }]);
  });

  test("without a leader, or cut off from it, are told that nothing is known", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const follower = followerOf(cluster);
    cluster.network.isolate(follower.status().member, everybody);
    expect(await cluster.manage(follower, add(4))).toEqual({ kind: "unknown" });
    await cluster.pass(5_000);
    expect(await cluster.manage(follower, add(4))).toMatchObject({ kind: "refused", reason: /no leader is known/ });
  });

  test("stop one that was emptied and runs under its old id: it has forgotten its votes", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const emptied = followerOf(cluster).status().member;
    await cluster.stop(emptied);
    cluster.disks.delete(emptied);
    const back = await cluster.start(emptied, [1, 2, 3]);
    expect(cluster.leader.whyForeign(emptied, back.life)).toMatch(/has forgotten its votes/);
    await cluster.pass(3_000);
    expect(back.status().role).toBe("failed");
    expect(cluster.errors).toHaveLength(1);
    expect(cluster.errors[0]).toMatch(/lived in another folder/);
    await cluster.granted("k");
  });

  test("keep a snapshot that is taken by hand, and only what comes after it", async () => {
    cluster = await Cluster.of(1, 2, 3);
    await cluster.granted("k");
    const { leader } = cluster;
    const { applied, snapshot } = leader.status();
    expect(snapshot).toBeLessThan(applied);
    expect(await leader.takeSnapshot()).toBe(applied);
    expect(leader.status().snapshot).toBe(applied);
  });
});

test("the leader has heard of those who run, at any moment, and not of a learner that never ran", async () => {
  cluster = await Cluster.of(1, 2, 3);
  const heard = () => cluster.leader.members().map(({ id, isHeard }) => [id, isHeard]);
  expect(await cluster.manage(cluster.leader, add(4))).toEqual({ kind: "done" });
  for (let moment = 0; moment < 100; moment++) {
    await cluster.pass(10);
    expect(heard()).toEqual([
      [1, true],
      [2, true],
      [3, true],
      [4, false],
    ]);
  }
  const gone = followerOf(cluster).status().member;
  await cluster.stop(gone);
  await cluster.pass(2_000);
  expect(heard()).toContainEqual([gone, false]);
});

describe("a cluster that lost its quorum", () => {
  test("goes on from one survivor, alone, in a higher epoch, with all that was granted, and grows again", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const opening = new RaftLeases({
      member: cluster.leader,
      clock: cluster.clock,
      random: { next: dice(9), id: () => "s" },
    });
    const asking = opening.openSession({ node: "n", ttlMs: 3_600_000 });
    await cluster.pass(500);
    const acquiring = (await asking).acquire("kept");
    await cluster.pass(500);
    const held = await acquiring;
    const before = cluster.leader.identity;
    for (const id of [1, 2, 3]) await cluster.stop(id);
    const ports = { disk: cluster.disks.get(2)!, clock: cluster.clock, identity: { cluster: "c", member: 2 } };
    expect((await readStopped(ports)).identity).toBe(before);
    expect(await recoverAlone(ports)).toMatchObject({ epoch: 2, wasDone: false, removed: [1, 3], lost: 0 });
    expect(await recoverAlone(ports)).toMatchObject({ epoch: 2, wasDone: true, removed: [1, 3], lost: 0 });
    const alone = await cluster.start(2, [1, 2, 3]);
    await cluster.pass(2_000);
    expect(alone.status()).toMatchObject({ role: "leader", epoch: 2 });
    expect(alone.identity).toBe(before.replace(/1$/, "2"));
    expect(alone.table.leases.get("kept")?.index).toBe(held.kind === "granted" ? held.index : "granted");
    expect(await cluster.granted("next")).toBeGreaterThan(held.kind === "granted" ? held.index : 1e9);
    expect(alone.whyForeign(1, "")).toMatch(/was removed/);
    expect(await cluster.manage(alone, add(1))).toMatchObject({ kind: "refused", reason: /never used again/ });
    for (const id of [4, 5]) {
      expect(await cluster.manage(alone, add(id))).toEqual({ kind: "done" });
      await cluster.start(id);
      await cluster.pass(5_000);
    }
    for (const member of cluster.members.values()) expect(voters(member)).toEqual([2, 4, 5]);
    // Those of before, which are a majority among themselves, come back all the same. Nobody checks at the door.
    const term = cluster.leader.status().term;
    for (const id of [1, 3]) await cluster.start(id, [1, 2, 3]);
    await cluster.pass(5_000);
    for (const id of [1, 3]) expect(cluster.members.get(id)!.status().role).toBe("failed");
    expect(cluster.errors).toHaveLength(2);
    expect(cluster.leader.status()).toMatchObject({ epoch: 2, term });
    expect(await cluster.granted("later")).toBeGreaterThan(1);
  });

  test("takes nothing from a member that it never heard of, of the epoch before", async () => {
    cluster = await Cluster.of(1, 2, 3);
    const behind = followerOf(cluster).status().member;
    await cluster.stop(behind);
    // Two more come while one is away, so that the others are enough without it.
    for (const id of [4, 5]) {
      expect(await cluster.manage(cluster.leader, add(id))).toEqual({ kind: "done" });
      await cluster.start(id);
      await cluster.pass(5_000);
    }
    const others = [...cluster.members.keys()];
    for (const id of others) await cluster.stop(id);
    const ports = {
      disk: cluster.disks.get(behind)!,
      clock: cluster.clock,
      identity: { cluster: "c", member: behind },
    };
    expect((await recoverAlone(ports)).removed, "it knows of no others").not.toContain(4);
    const alone = await cluster.start(behind, [1, 2, 3]);
    for (const id of [4, 5]) await cluster.start(id);
    await cluster.pass(5_000);
    expect(alone.status()).toMatchObject({ role: "leader", epoch: 2 });
    expect(cluster.members.get(4)!.status().role).toBe("failed");
    // As far as it remembers it is a learner, which asks nobody for a vote.
    expect(cluster.members.get(5)!.status()).toMatchObject({ leader: undefined, epoch: 1 });
  });
});

describe("a member whose disk has rotted", () => {
  /** Changes one bit of a file, counted from its end. */
  const rot = async (disk: MemoryDisk, name: string, fromEnd: number) => {
    const file = await disk.open(name);
    const at = file.size() - fromEnd;
    const [byte = 0] = await file.read(at, 1);
    await file.write(at, new Uint8Array([byte ^ 1]));
    await file.close();
  };
  const newestCopy = async (disk: MemoryDisk) => {
    const sequences = new Map<string, number>();
    for (const name of ["state-a", "state-b"]) {
      const file = await disk.open(name);
      const text = new TextDecoder().decode(await file.read(9, file.size()));
      sequences.set(name, (JSON.parse(text) as { sequence: number }).sequence);
      await file.close();
    }
    return sequences.get("state-a")! > sequences.get("state-b")! ? "state-a" : "state-b";
  };
  const damaged = async () => {
    cluster = await Cluster.of(1, 2, 3);
    await cluster.granted("k");
    const id = followerOf(cluster).status().member;
    await cluster.stop(id);
    const disk = cluster.disks.get(id)!;
    const segment = (await disk.list()).filter((name) => name.startsWith("log-")).at(-1)!;
    return { id, disk, segment };
  };

  test("and may have acknowledged more than it can tell is repaired, though nobody asks for anything", async () => {
    const { id, disk, segment } = await damaged();
    await rot(disk, segment, 1);
    await rot(disk, await newestCopy(disk), 300);
    const member = await cluster.start(id, [1, 2, 3]);
    expect(member.status().role).toBe("damaged");
    const last = cluster.leader.status().committed;
    await cluster.pass(3_000);
    expect(member.status().role).toBe("follower");
    expect(member.status().applied).toBeGreaterThan(last);
    expect(member.table.leases.size).toBe(cluster.leader.table.leases.size);
  });

  test("is repaired soon, however many entries the unreadable end of its log may have held", async () => {
    const { id, disk, segment } = await damaged();
    const file = await disk.open(segment);
    const bytes = 300_000;
    await file.write(file.size(), new Uint8Array(bytes));
    await file.close();
    await rot(disk, await newestCopy(disk), 300);
    const member = await cluster.start(id, [1, 2, 3]);
    await cluster.pass(3_000);
    expect(member.status().role).toBe("follower");
    expect(member.status().applied).toBeGreaterThan(bytes / 26);
  });

  test.each(["log-", "snapshot-"])("(%s) never falls back into an epoch that is over", async (rotten) => {
    cluster = await Cluster.of(1, 2, 3);
    await cluster.granted("k");
    // The others go on, and a person takes them for lost.
    cluster.network.isolate(1, everybody);
    await cluster.stop(1);
    const disk = cluster.disks.get(1)!;
    const ports = { disk, clock: cluster.clock, identity: { cluster: "c", member: 1 } };
    expect((await recoverAlone(ports)).epoch).toBe(2);
    const alone = await cluster.start(1, [1, 2, 3]);
    await cluster.pass(3_000);
    const { identity } = alone;
    await cluster.stop(1);
    const newest = (await disk.list()).filter((name) => name.startsWith(rotten)).at(-1)!;
    await rot(disk, newest, 1);
    const member = await cluster.start(1, [1, 2, 3]);
    expect(member.status()).toMatchObject({ role: "damaged", epoch: 2 });
    if (rotten === "log-") {
      expect(member.identity).toBe(identity);
      expect(member.whyForeign(2, ""), "its snapshot says who is out").toMatch(/was removed/);
    }
    // From one that does not say which epoch it is of.
    const table = ReplicatedTable.empty();
    const confState = { ...emptyConfState, voters: [1, 2, 3] };
    const snapshot = {
      data: encodeState({ roster: emptyRoster, table }),
      metadata: { index: 1_000, term: 9, confState },
    };
    cluster.network.heal();
    cluster.network.peersOf(4).send(1, encodeFrame({ kind: "repaired", snapshot }));
    await cluster.pass(5_000);
    expect(member.status()).toMatchObject({ role: "damaged", epoch: 2 });
    for (const id of [2, 3]) expect(cluster.members.get(id)!.status().role, "told that it is out").toBe("failed");
    await cluster.stop(1);
    expect((await recoverAlone(ports)).epoch).toBe(3);
    const again = await cluster.start(1, [1, 2, 3]);
    await cluster.pass(3_000);
    expect(again.status()).toMatchObject({ role: "leader", epoch: 3 });
  });

  test("knows its folder still, when one copy of its hard state is unreadable, and does not start without both", async () => {
    const { id, disk } = await damaged();
    await rot(disk, await newestCopy(disk), 300);
    const member = await cluster.start(id, [1, 2, 3]);
    await cluster.pass(3_000);
    expect(member.status().role).toBe("follower");
    await cluster.stop(id);
    for (const name of ["state-a", "state-b"]) await rot(disk, name, 300);
    await expect(cluster.start(id, [1, 2, 3])).rejects.toThrow(/votes are forgotten: remove this member/);
  });
});
