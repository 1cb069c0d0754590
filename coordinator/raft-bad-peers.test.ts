/** Who must not get into a cluster of real members, over real sockets: each is refused by name, and the others go on. */
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { holdfast } from "../runtime/cli/holdfast.fixture.ts";
import { until } from "../runtime/testing/until.fixture.ts";
import { Authority } from "./backends/raft/certificates.fixture.ts";
import { frameOf } from "./backends/raft/frames.ts";
import { type MemberAddress, memberName, type PeerTls } from "./backends/raft/tcp-peers.ts";
import { type RaftLeasesOptions, type RaftMember, raftLeases } from "./raft-leases.ts";

/** Addresses of this machine that no other test has. */
const byte = () => 1 + Math.floor(Math.random() * 250);
const net = `127.${byte()}.${byte()}`;
let places = 0;
const place = (): MemberAddress =>
  process.platform === "linux"
    ? { host: `${net}.${++places}`, port: 7_000 }
    : { host: "127.0.0.1", port: 17_200 + ++places };

class Shop {
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-peers-"));
  readonly members: Record<number, MemberAddress> = { 1: place(), 2: place(), 3: place() };
  readonly said: string[] = [];
  readonly #open = new Set<RaftMember>();
  readonly #tls: ((id: number) => PeerTls) | undefined;

  constructor(tls?: (id: number) => PeerTls) {
    this.#tls = tls;
  }

  async start(self: number, options: RaftLeasesOptions = {}): Promise<RaftMember> {
    const say = (what: string) => void this.said.push(what);
    const logger = { debug() {}, info() {}, warn: say, error: say };
    const tls = this.#tls?.(self);
    const directory = this.folderOf(self);
    const common = { cluster: "shop", self, members: this.members, directory, ttlMs: 500, logger };
    const opened = await raftLeases({ ...common, ...(tls !== undefined && { tls }), ...options });
    this.#open.add(opened);
    return opened;
  }

  folderOf(name: number | string): string {
    return join(this.folder, String(name));
  }

  async stop(one: RaftMember): Promise<void> {
    this.#open.delete(one);
    await one.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((one) => this.stop(one)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const told = (shop: Shop, what: RegExp) => until(() => shop.said.some((line) => what.test(line)));

let turn = 0;
/** It is granted leases: so most members work together, and it is one of them. */
async function works(member: RaftMember): Promise<void> {
  for (;;) {
    const session = await member.service.openSession({ node: "n", ttlMs: 2_000 }).catch(() => undefined);
    const outcome = await session?.acquire(`k${++turn}`);
    await session?.close();
    if (outcome?.kind === "granted") return;
  }
}

async function isOut(member: RaftMember, why: RegExp, isFinal = true): Promise<void> {
  const refused = { code: "SessionNotOpened", isFinal, message: expect.stringMatching(why) };
  await expect(member.service.openSession({ node: "n", ttlMs: 500 })).rejects.toMatchObject(refused);
  expect(member.member.status().role).not.toBe("leader");
}

describe("two members of three", () => {
  const shop = new Shop();
  let one: RaftMember;
  beforeAll(async () => {
    one = await shop.start(1);
    await shop.start(2);
    await works(one);
  });
  afterEach(() => {
    shop.said.length = 0;
  });
  afterAll(() => shop.close());

  test("refuse one of another cluster", async () => {
    const other = await shop.start(3, { cluster: "other", directory: shop.folderOf("other") });
    await told(shop, /a connection was refused: it is of cluster other, this is shop/);
    await told(shop, /no connection to member 1: refused: it is of cluster other/);
    await isOut(other, /member 1 refuses this one, 3: it is of cluster other/, false);
    await works(one);
    await shop.stop(other);
  });

  const hello = frameOf(Buffer.from('{"holdfast":1,"cluster":"shop","epoch":1,"from":3,"to":1}'));
  const gigabyte = Buffer.from([0x40, 0, 0, 0]);
  const wrong: readonly [string, readonly Uint8Array[], RegExp][] = [
    ["a first frame of 1 GB", [gigabyte], /refused: a frame of 1073741824 bytes; at most 1024/],
    ["1 GB after its name", [hello, gigabyte], /refused: a frame of 1073741824 bytes; at most 67108864/],
    ["nonsense for a name", [frameOf(Buffer.from("GET /"))], /refused: it does not speak as a member does/],
    ["nonsense after its name", [hello, frameOf(Buffer.from("GET /"))], /could not be read, and was dropped/],
    ["an empty frame after its name", [hello, frameOf(new Uint8Array())], /could not be read, and was dropped/],
  ];
  test.each(wrong)("live with one that sends %s", async (_, sent, says) => {
    const socket = connect(shop.members[1]!);
    socket.on("error", () => {});
    for (const bytes of sent) socket.write(bytes);
    await told(shop, says);
    await works(one);
    socket.destroy();
  });

  test("live with one that stops in the middle of a frame", async () => {
    const socket = connect(shop.members[1]!);
    socket.on("error", () => {});
    const welcomed = new Promise((resolve) => socket.once("data", resolve));
    socket.write(hello);
    await welcomed;
    socket.write(frameOf(new Uint8Array(1_000)).subarray(0, 500));
    await works(one);
    socket.destroy();
    await works(one);
  });

  test("live with one that reads nothing of what it is sent", async () => {
    const sockets: Socket[] = [];
    const deaf = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.pause();
        socket.write(frameOf(Buffer.from("welcome")));
      });
    });
    const { host, port } = shop.members[3]!;
    await new Promise<void>((resolve) => deaf.listen(port, host, resolve));
    await until(() => sockets.length >= 2);
    for (let count = 0; count < 20; count++) await works(one);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => deaf.close(resolve));
  });
});

test("a cluster that was recovered refuses those of before, by their epoch, and their ids for good", async () => {
  const shop = new Shop();
  try {
    const before = await Promise.all([1, 2, 3].map((self) => shop.start(self)));
    await works(before[0]!);
    // All of them know where all are, and by which lives: no change of the membership is under way.
    await until(() => before.every(({ member }) => member.members().every(({ address }) => address !== "")));
    for (const one of before) await shop.stop(one);
    const recovered = await holdfast(["raft", "recover", "--accept", "--data", shop.folderOf(1)]);
    expect(recovered.out).toMatch(/in epoch 2/);
    const one = await shop.start(1);
    await works(one);
    const old = await shop.start(2);
    await told(shop, /a connection was refused: its epoch 1 is over: this cluster was recovered, and is at 2/);
    await isOut(old, /member 1 refuses this one, 2: its epoch 1 is over/);
    // It knows of no epoch yet, and must not hear of one from the other: it would be refused for that one.
    await shop.stop(old);
    const emptied = await shop.start(3, { directory: shop.folderOf("emptied"), join: true });
    await told(shop, /a connection was refused: member 3 was removed: an id is never used again/);
    await isOut(emptied, /member 3 was removed/);
    await works(one);
  } finally {
    await shop.close();
  }
});

describe("over TLS", () => {
  const authority = new Authority("the shop's authority");
  const tlsOf = (name: string, by = authority): PeerTls => ({ ...by.certify(name), authority: authority.certificate });
  const shop = new Shop((id) => tlsOf(memberName(id, "shop")));
  let one: RaftMember;
  beforeAll(async () => {
    one = await shop.start(1);
    await shop.start(2);
    await works(one);
  });
  afterAll(() => shop.close());

  const wrong: readonly [string, PeerTls | undefined, RegExp][] = [
    ["without a certificate", undefined, /a connection was refused: its TLS failed/],
    ["with another member's", tlsOf(memberName(2, "shop")), /its certificate is not for member-3\.shop/],
    ["with another cluster's", tlsOf(memberName(3, "mall")), /its certificate is not for member-3\.shop/],
    [
      "with one that another authority signed",
      tlsOf(memberName(3, "shop"), new Authority("somebody else")),
      /a connection was refused: its TLS failed/,
    ],
  ];
  test.each(wrong)("one %s is refused", async (name, tls, says) => {
    shop.said.length = 0;
    const directory = shop.folderOf(name.replaceAll(" ", "-"));
    const stranger = await shop.start(3, { directory, tls: tls as PeerTls });
    await told(shop, says);
    await isOut(stranger, /no answer within 500 ms/, false);
    await works(one);
    await shop.stop(stranger);
  });

  test("one whose certificate is right gets in", async () => {
    await works(await shop.start(3));
  });
});

describe("a folder", () => {
  test("on a full disk is refused by name", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-full-"));
    for (const name of ["state-a", "state-b"]) symlinkSync("/dev/full", join(directory, name));
    await expect(raftLeases({ directory })).rejects.toMatchObject({ name: "DiskFullError" });
    rmSync(directory, { recursive: true, force: true });
  });

  test("in which nothing may be written is refused by name", async () => {
    // One in which not even root may.
    await expect(raftLeases({ directory: "/proc/self/task" })).rejects.toMatchObject({ code: "LogReadOnly" });
  });
});
