/** Real sockets on loopback: frames arrive, strangers are refused, slow peers are shed, what breaks is dialled again. */
import assert from "node:assert/strict";
import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { SystemClock } from "../../../runtime/adapters/system-clock.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { Authority } from "./certificates.fixture.ts";
import { FrameReader, frameOf } from "./frames.ts";
import {
  type MemberAddress,
  memberName,
  PeersInvalidOption,
  type PeerTls,
  TcpPeers,
  type TcpPeersOptions,
} from "./tcp-peers.ts";

const loopback = { host: "127.0.0.1", port: 0 };
const open = new Set<{ close(): unknown }>();
const logs: string[] = [];
const log = (message: string) => void logs.push(message);
const logger = { debug: log, info: log, warn: log, error: log };

afterEach(async () => {
  for (const one of open) await one.close();
  open.clear();
  logs.length = 0;
});

async function start(self: number, options: Partial<TcpPeersOptions> = {}): Promise<TcpPeers> {
  const peers = await TcpPeers.start({
    self,
    cluster: "shop",
    epoch: () => 1,
    listen: loopback,
    members: new Map(),
    clock: new SystemClock(),
    logger,
    ...options,
  });
  open.add(peers);
  return peers;
}

const at = (port: number): MemberAddress => ({ host: "127.0.0.1", port });

/** Two that know each other. */
async function pair(a: Partial<TcpPeersOptions> = {}, b: Partial<TcpPeersOptions> = {}): Promise<[TcpPeers, TcpPeers]> {
  const first = await start(1, a);
  const second = await start(2, { members: new Map([[1, at(first.port)]]), ...b });
  first.setMembers(new Map([[2, at(second.port)]]));
  return [first, second];
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `in vain: ${what}; ${logs.join("; ")}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const connected = (...peers: readonly TcpPeers[]) =>
  until(() => peers.every((one) => one.connected.length === 1), "they find each other");

function received(peers: TcpPeers): string[] {
  const texts: string[] = [];
  peers.receive((from, frame) => texts.push(`${from}: ${new TextDecoder().decode(frame)}`));
  return texts;
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("frames", () => {
  test("arrive whole and in order, in both directions", async () => {
    const [a, b] = await pair();
    const [atA, atB] = [received(a), received(b)];
    await connected(a, b);
    const long = "x".repeat(300_000);
    for (const text of ["one", "", long]) a.send(2, bytes(text));
    b.send(1, bytes("back"));
    await until(() => atB.length === 3 && atA.length === 1, "all have arrived");
    expect(atB).toEqual(["1: one", "1: ", `1: ${long}`]);
    expect(atA).toEqual(["2: back"]);
  });

  test("to one who is not there are dropped and counted, and it is found when it comes", async () => {
    const a = await start(1);
    const reserved = await start(3);
    const { port } = reserved;
    await reserved.close();
    open.delete(reserved);
    a.setMembers(new Map([[2, at(port)]]));
    a.send(2, bytes("lost"));
    a.send(9, bytes("nobody"));
    expect(a.counts.dropped).toBe(2);
    const b = await start(2, { listen: at(port), members: new Map([[1, at(a.port)]]) });
    const atB = received(b);
    await connected(a, b);
    a.send(2, bytes("found"));
    await until(() => atB.length > 0, "it arrives");
    expect(atB).toEqual(["1: found"]);
  });

  test("to one who has come back find it at once, not when it is next dialled", async () => {
    const reserved = await start(3);
    const { port } = reserved;
    await reserved.close();
    open.delete(reserved);
    // Whose time stands still: he dials nobody again of himself.
    const a = await start(1, { clock: new ManualClock(), members: new Map([[2, at(port)]]) });
    await until(() => logs.some((line) => line.startsWith("no connection to member 2: ")), "nobody is there");
    const b = await start(2, { listen: at(port), members: new Map([[1, at(a.port)]]) });
    await connected(a, b);
  });

  test("beyond the bound are not sent at all", async () => {
    const a = await start(1, { limits: { frameBytes: 100 } });
    expect(() => a.send(2, new Uint8Array(101))).toThrow("a frame of 101 bytes; at most 100");
  });
});

test("a peer that does not read is shed, and its queue is bounded meanwhile", async () => {
  const sockets: Socket[] = [];
  const deaf: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.pause();
      socket.write(frameOf(bytes("welcome")));
    });
  });
  await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve));
  const a = await start(1, { limits: { queueBytes: 1_000_000, stallMs: 100 } });
  a.setMembers(new Map([[2, at((deaf.address() as { port: number }).port)]]));
  await connected(a);
  const frame = new Uint8Array(100_000);
  for (let sent = 0; sent < 300; sent++) a.send(2, frame);
  expect(a.counts.dropped).toBeGreaterThan(0);
  await until(() => logs.some((line) => /took nothing for 100 ms/.test(line)), "it is shed");
  await until(() => sockets.length > 1, "it is dialled again");
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => deaf.close(resolve));
});

describe("refused, with the reason", () => {
  test.each([
    {
      it: "a member of another cluster",
      of: { cluster: "other", epoch: () => 2 },
      says: "it is of cluster other, this is shop",
    },
    { it: "one of an older epoch", of: { epoch: () => 1 }, says: "its epoch 1 is over" },
    { it: "one that nobody knows", of: { self: 7, epoch: () => 0 }, says: "member 7 does not belong to this cluster" },
  ])("$it", async ({ of, says }) => {
    const a = await start(1, { epoch: () => 2 });
    a.setMembers(new Map([[2, at(a.port)]]));
    const stranger = await start(2, { ...of, members: new Map([[1, at(a.port)]]) });
    await until(() => logs.some((line) => line.startsWith("no connection to member 1: refused")), "it is told why");
    expect(logs.filter((line) => line.includes(says)).map((line) => line.split(": ")[0])).toEqual(
      expect.arrayContaining(["a connection was refused", "no connection to member 1"]),
    );
    expect(stranger.connected).toEqual([]);
  });

  test.each([
    {
      it: "a first frame of 1 GB",
      sent: Buffer.from([0x40, 0, 0, 0, 1]),
      says: "a frame of 1073741824 bytes; at most 1024",
    },
    {
      it: "a member under this one's own id",
      sent: frameOf(bytes('{"holdfast":1,"cluster":"shop","epoch":1,"from":1,"to":1}')),
      says: "it calls itself 1, as this member does: ids are used once",
    },
    {
      it: "a member that looks for another",
      sent: frameOf(bytes('{"holdfast":1,"cluster":"shop","epoch":1,"from":2,"to":5}')),
      says: "it looks for member 5, this is 1",
    },
    { it: "garbage", sent: frameOf(bytes("GET / HTTP/1.1")), says: "it does not speak as a member does" },
    { it: "text that is no frame", sent: Buffer.from("GET / HTTP/1.1\r\n\r\n"), says: "a frame of 1195725856 bytes" },
  ])("$it", async ({ sent, says }) => {
    const a = await start(1);
    const socket = connect(a.port, "127.0.0.1");
    socket.on("error", () => {});
    const over = new Promise((resolve) => socket.resume().once("close", resolve));
    socket.write(sent);
    await over;
    expect(logs.join()).toContain(says);
  });

  test("half a frame, after the time for saying who one is", async () => {
    const a = await start(1, { limits: { handshakeMs: 50 } });
    const socket = connect(a.port, "127.0.0.1");
    socket.on("error", () => {});
    const over = new Promise((resolve) => socket.resume().once("close", resolve));
    socket.write(frameOf(bytes("{}")).subarray(0, 3));
    await over;
    expect(logs.join()).toContain("it did not say who it is in time");
  });

  test("a member that says too much at once is cut off", async () => {
    const [a, b] = await pair({ limits: { frameBytes: 1_000 } });
    await connected(a, b);
    b.send(1, new Uint8Array(2_000));
    await until(() => logs.some((line) => line.includes("a frame of 2000 bytes; at most 1000")), "it is cut off");
  });
});

describe("over TLS", () => {
  const authority = new Authority("the shop's authority");
  const tlsOf = (id: number, by = authority): PeerTls => ({
    ...by.certify(memberName(id, "shop")),
    authority: authority.certificate,
  });

  test("members with certificates of their own names meet", async () => {
    const [a, b] = await pair({ tls: tlsOf(1) }, { tls: tlsOf(2) });
    const atB = received(b);
    await connected(a, b);
    a.send(2, bytes("secret"));
    await until(() => atB.length > 0, "it arrives");
    expect(atB).toEqual(["1: secret"]);
  });

  test("one with another member's certificate is refused", async () => {
    const [a] = await pair({ tls: tlsOf(1) }, { tls: tlsOf(3) });
    await until(() => logs.some((line) => line.includes("its certificate is not for member-2.shop")), "it is refused");
    expect(a.connected).toEqual([]);
  });

  test("one whose certificate another authority signed is refused", async () => {
    const [a, b] = await pair({ tls: tlsOf(1) }, { tls: tlsOf(2, new Authority("somebody else")) });
    await until(() => a.counts.refused > 0, "it is refused");
    expect([a.connected, b.connected]).toEqual([[], []]);
  });

  test("one without a certificate is refused, and so is plain TCP", async () => {
    const a = await start(1, { tls: tlsOf(1) });
    const bare = connectTls({
      host: "127.0.0.1",
      port: a.port,
      ca: authority.certificate,
      servername: memberName(1, "shop"),
    });
    bare.on("error", () => {});
    const reader = new FrameReader(1_000);
    let frames = 0;
    bare.on("data", (piece) => {
      frames += reader.push(piece).length;
    });
    bare.once("secureConnect", () =>
      bare.write(frameOf(bytes('{"holdfast":1,"cluster":"shop","epoch":1,"from":2,"to":1}'))),
    );
    await new Promise((resolve) => bare.once("close", resolve));
    const plain = connect(a.port, "127.0.0.1");
    plain.on("error", () => {});
    plain.write(frameOf(bytes('{"holdfast":1,"cluster":"shop","epoch":1,"from":2,"to":1}')));
    await new Promise((resolve) => plain.once("close", resolve));
    expect(frames).toBe(0);
    await until(() => a.counts.refused >= 2, "both are refused");
  });
});

describe("options", () => {
  const options = {
    self: 1,
    cluster: "shop",
    epoch: () => 1,
    listen: loopback,
    members: new Map(),
    clock: new SystemClock(),
    logger,
  };
  test.each([
    [
      { listen: { host: "0.0.0.0", port: 0 } },
      /0\.0\.0\.0 is not loopback, and whoever can reach a member could own the cluster/,
    ],
    [{ members: new Map([[2, { host: "10.0.0.7", port: 1 }]]) }, /10\.0\.0\.7 is not loopback/],
    [{ cluster: "My Shop" }, /`cluster` is "My Shop"/],
    [{ self: 0 }, /member id 0/],
    [{ members: new Map([[1.5, at(1)]]) }, /member id 1\.5/],
    [{ listen: at(70_000) }, /port 70000/],
  ])("%j are refused", async (wrong, says) => {
    const error = await TcpPeers.start({ ...options, ...wrong }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(PeersInvalidOption);
    expect((error as Error).message).toMatch(says);
  });
});
