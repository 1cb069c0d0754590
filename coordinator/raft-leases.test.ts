import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { until } from "../runtime/testing/until.fixture.ts";
import { type RaftLeasesOptions, type RaftMember, raftLeases } from "./raft-leases.ts";

const here = (port: number) => ({ host: "127.0.0.1", port });
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
async function open(options: RaftLeasesOptions): Promise<RaftMember> {
  const opened = await raftLeases(options);
  closing.push(() => opened.close());
  return opened;
}

/** Addresses of this machine that no other test has. */
const byte = () => 1 + Math.floor(Math.random() * 250);
const net = `127.${byte()}.${byte()}`;
let places = 0;
const place = () =>
  process.platform === "linux" ? { host: `${net}.${++places}`, port: 7_000 } : here(17_100 + ++places);

function newFolder(): string {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-leases-"));
  closing.push(async () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

describe("three services on one machine", () => {
  async function cluster() {
    const folder = newFolder();
    const members = Object.fromEntries([1, 2, 3].map((id) => [id, place()]));
    const start = (self: number, options: RaftLeasesOptions = {}) =>
      open({ self, members, directory: join(folder, `${self}`), logger: silent, ...options });
    const running = await Promise.all([1, 2, 3].map((self) => start(self)));
    await until(() => running.every(({ member }) => member.members().every(({ address }) => address !== "")));
    return { folder, members, start, running };
  }

  test("follow one of them to another address", async () => {
    const { members, start, running } = await cluster();
    const [first, second, third] = running as [RaftMember, RaftMember, RaftMember];
    await third.close();
    const moved = place();
    const again = await start(3, { members: { ...members, 3: moved } });
    const address = `${moved.host}:${moved.port}`;
    await until(() => [first, second].every(({ member }) => member.members()[2]?.address === address));
    // It counts: without one of the others there is still a majority.
    await second.close();
    await until(() => [first, again].some(({ member }) => member.status().role === "leader"));
    expect((await again.leases.acquire("k", { waitMs: 20_000 })).isValid).toBe(true);
  });

  test("are waited for by the one that is there first, which says meanwhile what it lacks", async () => {
    const folder = newFolder();
    const members = Object.fromEntries([1, 2, 3].map((id) => [id, place()]));
    const start = (self: number) =>
      open({ self, members, directory: join(folder, `${self}`), logger: silent, ttlMs: 500 });
    const first = await start(1);
    const waiting = first.leases.acquire("k", { waitMs: 3_600_000 });
    await expect(first.leases.acquire("other")).rejects.toMatchObject({
      code: "LeaseNotAcquired",
      message:
        "other: no session could be opened: no answer within 500 ms: no leader is known to this member: most members must run, and reach each other",
      cause: { code: "SessionNotOpened", isFinal: false },
    });
    await start(2);
    expect((await waiting).isValid).toBe(true);
  });

  test("refuse a member that comes back with an emptied folder", async () => {
    const { folder, start, running } = await cluster();
    await running[2]!.close();
    rmSync(join(folder, "3"), { recursive: true });
    const warnings: string[] = [];
    const back = await start(3, { logger: { ...silent, warn: (what) => void warnings.push(what) } });
    await until(() =>
      warnings.some((what) => /has come back with another folder and has forgotten its votes/.test(what)),
    );
    // What cannot come is not waited for.
    await expect(back.leases.acquire("k", { waitMs: 3_600_000 })).rejects.toMatchObject({
      code: "LeaseNotAcquired",
      message: expect.stringMatching(/^k: no session could be opened: .*has forgotten its votes|^k: .*another folder/),
      cause: { code: "SessionNotOpened", isFinal: true },
    });
    expect((await running[0]!.leases.acquire("k", { waitMs: 20_000 })).isValid).toBe(true);
  });
});

describe("a service's own leases without any server", () => {
  test("in memory, for one process", async () => {
    const { leases } = await open({});
    const lease = await leases.acquire("job/settle");
    expect(lease.token[0]).toBe(1);
    expect(lease.isValid).toBe(true);
    const next = await leases.run("job/other", async ({ token }) => token);
    expect(next[1]).toBeGreaterThan(lease.token[1]);
  });

  test("in memory, however busy they are, timers of the process run", { timeout: 20_000 }, async () => {
    const { leases, close } = await raftLeases();
    let isOver = false;
    const timer = new Promise<void>((resolve) => setTimeout(resolve, 50)).then(() => {
      isOver = true;
    });
    let taken = 0;
    const busy = Array.from({ length: 16 }, async (_, one) => {
      for (; !isOver && taken < 1_000_000; taken++) await (await leases.acquire(`k${one}`)).release();
    });
    await Promise.all(busy);
    expect(isOver).toBe(true);
    await timer;
    await close();
  });

  test("in a folder, where tokens grow over restarts", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-leases-"));
    closing.push(async () => rmSync(directory, { recursive: true, force: true }));
    let last = 0;
    for (let turn = 0; turn < 3; turn++) {
      const { leases, close } = await raftLeases({ directory });
      const { token } = await leases.acquire("job/settle");
      expect(token[1]).toBeGreaterThan(last);
      last = token[1];
      if (turn === 0) await expect(raftLeases({ directory })).rejects.toMatchObject({ code: "LogInUse" });
      await close();
    }
    const other = { directory, cluster: "other", self: 1, members: { 1: place() } };
    await expect(raftLeases(other)).rejects.toMatchObject({ code: "LogOfAnother" });
  });

  const wrong: readonly [string, RaftLeasesOptions, RegExp][] = [
    ["a time to live of nothing", { ttlMs: 0 }, /must be from 500 ms/],
    ["no id", { self: 0 }, /whole numbers from 1/],
    ["an odd id", { members: { 1.5: here(1) } }, /whole numbers from 1/],
    ["a cluster without a name", { cluster: "" }, /must be 1 to 32 lower-case letters/],
    [
      "a member that is not in the list",
      { self: 4, members: { 1: here(1), 2: here(2), 3: here(3) } },
      /where this member, 4,/,
    ],
    ["an empty list of members", { cluster: "shop", self: 2, directory: "/x", members: {} }, /`members` names nobody/],
    ["an empty list alone", { members: {} }, /`members` names nobody/],
    ["an id without members", { self: 2 }, /`members` names nobody/],
    ["a cluster without members", { cluster: "shop" }, /`members` names nobody/],
    ["several members and no id", { members: { 1: here(1), 2: here(2), 3: here(3) } }, /`self` must say which/],
    ["two at one address", { self: 1, members: { 1: here(1), 2: here(2), 3: here(1) } }, /1 and 3 are both at 127/],
    ["a text as an address", { self: 1, members: { 1: "127.0.0.1:1" as never } }, /is "127.0.0.1:1"; an address is/],
    ["no port", { self: 1, members: { 1: { host: "127.0.0.1" } as never } }, /port: 7000/],
    ["two members", { self: 1, members: { 1: here(1), 2: here(2) }, directory: "/x" }, /of two, neither may fail/],
    ["whoever joins nobody", { join: true, members: { 1: here(1) } }, /whoever joins needs `members`/],
    ["a cluster in memory", { self: 1, members: { 1: here(1), 2: here(2), 3: here(3) } }, /need a `directory` each/],
  ];
  test.each(wrong)("%s is refused", async (_, options, message) => {
    await expect(raftLeases(options)).rejects.toThrow(message);
  });

  test("an address at which another listens is named", async () => {
    const [directory, members] = [newFolder(), { 1: place() }];
    const first = await raftLeases({ self: 1, members, directory: join(directory, "a") });
    const second = raftLeases({ self: 1, members, directory: join(directory, "b") });
    const address = `${members[1].host}:${members[1].port}`;
    await expect(second).rejects.toMatchObject({
      code: "PeersCannotListen",
      message: expect.stringMatching(`cannot listen at ${address} \\(EADDRINUSE\\): another process`),
    });
    await first.close();
  });

  test("members on other machines need certificates", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-leases-"));
    closing.push(async () => rmSync(directory, { recursive: true, force: true }));
    const members = { 1: here(0), 2: { host: "10.0.0.2", port: 1 }, 3: { host: "10.0.0.3", port: 1 } };
    await expect(raftLeases({ directory, self: 1, members })).rejects.toMatchObject({ code: "PeersInvalidOption" });
    // Nothing is left open: the folder may be used again.
    await open({ directory });
  });
});
