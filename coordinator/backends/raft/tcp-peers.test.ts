import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { SystemClock } from "../../../runtime/adapters/system-clock.ts";
import type { MemberId } from "../../ports/peers.ts";
import { PeersInsecure } from "./errors.ts";
import { FrameReader, FrameTooLong, frameOf } from "./frames.ts";
import { type Address, type PeerCertificates, TcpPeers, type TcpPeersOptions } from "./tcp-peers.ts";

const clock = new SystemClock();
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const warnings: { text: string; problem: unknown }[] = [];
const logger = {
  debug() {},
  info() {},
  warn: (text: string, fields?: object) =>
    void warnings.push({ text, problem: (fields as { problem?: unknown })?.problem }),
  error() {},
};
const local = (port = 0) => ({ host: "127.0.0.1", port });
/** Nobody listens there. */
const nowhere = local();

async function open(
  self: MemberId,
  others: readonly (readonly [MemberId, Address])[],
  more: Partial<TcpPeersOptions> = {},
) {
  const options = { cluster: "c", self, listen: local(), others: new Map(others), clock, logger, ...more };
  const peers = await TcpPeers.open(options);
  closing.push(() => peers.close());
  return peers;
}

/** Two members that know each other. A place has its port once somebody listens there. */
async function pair(tlsA?: PeerCertificates, tlsB?: PeerCertificates) {
  const [placeA, placeB] = [local(), local()];
  const a = await open(1, [[2, placeB]], tlsA && { tls: tlsA });
  placeA.port = a.port;
  const b = await open(2, [[1, placeA]], tlsB && { tls: tlsB });
  placeB.port = b.port;
  return { a, b, placeA, placeB };
}

/** Sends until a frame has come through: those before the connection is up are dropped, as the port says. */
async function arrives(from: TcpPeers, to: TcpPeers, content: Uint8Array): Promise<[MemberId, Uint8Array]> {
  return new Promise((resolve) => {
    const again = setInterval(() => from.send(to.self, content), 10);
    const stop = to.receive((sender, frame) => {
      clearInterval(again);
      stop();
      resolve([sender, frame]);
    });
  });
}

async function warned(pattern: RegExp): Promise<void> {
  await expect
    .poll(() => warnings.map(({ problem }) => String(problem)).join("\n"), { timeout: 5_000 })
    .toMatch(pattern);
}

describe("frames", () => {
  test("are found however the stream is cut", () => {
    const contents = [new Uint8Array(), new Uint8Array([1]), new Uint8Array(300).fill(7)];
    const stream = Buffer.concat(contents.map(frameOf));
    for (let size = 1; size < stream.length; size += 3) {
      const reader = new FrameReader(1_000);
      const found: Uint8Array[] = [];
      for (let at = 0; at < stream.length; at += size)
        for (const frame of reader.take(stream.subarray(at, at + size))) found.push(frame.slice());
      expect(found.map((frame) => [...frame])).toEqual(contents.map((content) => [...content]));
    }
  });

  test("of more than the limit are refused at their announcement", () => {
    const reader = new FrameReader(1_000);
    expect(() => [...reader.take(new Uint8Array([0x40, 0, 0, 0]))]).toThrow(FrameTooLong);
    expect([...new FrameReader(3).take(frameOf(new Uint8Array(3)))].length).toBe(1);
    expect(() => [...new FrameReader(3).take(frameOf(new Uint8Array(4)))]).toThrow(
      /a frame of 4 bytes; the limit is 3/,
    );
  });
});

describe("members", () => {
  test("hear each other, small and large, and again after one was away", async () => {
    const { a, b, placeA, placeB } = await pair();
    expect(await arrives(a, b, new Uint8Array([7]))).toEqual([1, new Uint8Array([7])]);
    const large = new Uint8Array(3_000_000).fill(5);
    const [sender, frame] = await arrives(b, a, large);
    expect([sender, Buffer.compare(frame, large)]).toEqual([2, 0]);
    await b.close();
    a.send(2, new Uint8Array([1]));
    const again = await open(2, [[1, placeA]]);
    placeB.port = again.port;
    expect((await arrives(a, again, new Uint8Array([8])))[1]).toEqual(new Uint8Array([8]));
  });

  test("drop and count what they cannot send", async () => {
    const a = await open(1, [[2, nowhere]], { maxFrameBytes: 10 });
    a.send(2, new Uint8Array(1));
    a.send(2, new Uint8Array(11));
    a.send(9, new Uint8Array(1));
    expect(a.dropped).toBe(3);
  });

  const strangers: readonly [string, object, RegExp][] = [
    ["of another cluster", { cluster: "d" }, /belongs to cluster "d", and this is "c"/],
    ["who means another member", { to: 3 }, /wants member 3, and this is 1/],
    ["who is no member", { from: 9 }, /says that it is member 9, which is none/],
    ["who claims to be this one", { from: 1 }, /says that it is member 1, which is none/],
    ["of another release", { holdfast: 2 }, /of another release/],
  ];
  test.each(strangers)("refuse one %s, and say why", async (_, wrong, problem) => {
    warnings.length = 0;
    const a = await open(1, [[2, nowhere]]);
    const hello = { holdfast: 1, cluster: "c", from: 2, to: 1, ...wrong };
    const socket = await dial(a.port, frameOf(new TextEncoder().encode(JSON.stringify(hello))));
    await ended(socket);
    await warned(problem);
  });

  const garbage: readonly [string, Uint8Array, RegExp][] = [
    ["noise", new Uint8Array(2_000).fill(0xee), /a frame of 4008636142 bytes/],
    ["a frame of 1 GB", new Uint8Array([0x40, 0, 0, 0]), /a frame of 1073741824 bytes; the limit is 1024/],
    ["HTTP", new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"), /a frame of/],
    ["no JSON", frameOf(new Uint8Array([1, 2, 3])), /does not speak as members do/],
    ["nothing of ours", frameOf(new TextEncoder().encode("null")), /of another release/],
  ];
  test.each(garbage)("refuse one who says %s", async (_, bytes, problem) => {
    warnings.length = 0;
    const a = await open(1, [[2, nowhere]]);
    await ended(await dial(a.port, bytes));
    await warned(problem);
  });

  test("take no frame that is too long or half from one who was let in, and go on with others", async () => {
    const a = await open(1, [[2, nowhere]], { maxFrameBytes: 100 });
    const heard: Uint8Array[] = [];
    a.receive((_, frame) => heard.push(frame));
    const hello = frameOf(new TextEncoder().encode(JSON.stringify({ holdfast: 1, cluster: "c", from: 2, to: 1 })));
    const half = await dial(a.port, Buffer.concat([hello, frameOf(new Uint8Array(50)).subarray(0, 20)]));
    half.end();
    await ended(half);
    await ended(await dial(a.port, Buffer.concat([hello, new Uint8Array([0, 0, 0, 101])])));
    expect(heard).toEqual([]);
    const b = await open(2, [[1, local(a.port)]]);
    expect((await arrives(b, a, new Uint8Array([1])))[0]).toBe(2);
  });

  test("do not wait for one who reads nothing: its queue is bounded, and the rest is dropped", async () => {
    const lazy: Server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.pause();
        socket.write(frameOf(new Uint8Array([1])));
      });
      closing.push(async () => socket.destroy());
    });
    await new Promise<void>((resolve) => lazy.listen(0, "127.0.0.1", resolve));
    closing.push(async () => lazy.close());
    const a = await open(1, [[2, local((lazy.address() as { port: number }).port)]], { maxQueueBytes: 1_000_000 });
    const frame = new Uint8Array(100_000);
    await expect
      .poll(() => {
        const before = a.dropped;
        for (let count = 0; count < 200; count++) a.send(2, frame);
        return a.dropped - before;
      })
      .toBeGreaterThan(150);
    const sizes = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 10_000; count++) a.send(2, frame);
    expect(process.memoryUsage().arrayBuffers - sizes, "nothing piles up").toBeLessThan(50_000_000);
  });
});

describe("off the loopback", () => {
  test.each(["0.0.0.0", "10.1.2.3", "example.org", "::", "128.0.0.1"])("%s needs TLS", async (host) => {
    const others = new Map([[2, { host, port: 1 }]]);
    const options = { cluster: "c", self: 1, listen: local(), others, clock, logger };
    await expect(TcpPeers.open(options)).rejects.toThrow(PeersInsecure);
    const listening = { ...options, others: new Map([[2, local(1)]]), listen: { host, port: 0 } };
    await expect(TcpPeers.open(listening)).rejects.toThrow(/whoever reaches a member owns the cluster/);
  });
});

describe("with TLS", () => {
  let folder: string;
  let ours: PeerCertificates;
  let theirs: PeerCertificates;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "holdfast-tls-"));
    ours = authority(join(folder, "ours"));
    theirs = authority(join(folder, "theirs"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("members with certificates of one authority hear each other", async () => {
    const { a, b } = await pair(ours, ours);
    expect((await arrives(a, b, new Uint8Array([7])))[0]).toBe(1);
    expect((await arrives(b, a, new Uint8Array([8])))[0]).toBe(2);
  });

  test.each([
    ["of another authority", () => theirs],
    ["in plain text", () => undefined],
  ])("a peer %s is refused, and sends nothing to anybody", async (_, certificates) => {
    warnings.length = 0;
    const { a, b } = await pair(ours, certificates());
    const heard: MemberId[] = [];
    a.receive((from) => heard.push(from));
    b.receive((from) => heard.push(from));
    await warned(/./);
    b.send(1, new Uint8Array([1]));
    a.send(2, new Uint8Array([1]));
    expect(heard).toEqual([]);
    expect([a.dropped, b.dropped]).toEqual([1, 1]);
  });
});

function dial(port: number, bytes: Uint8Array): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(bytes);
      resolve(socket);
    });
    socket.on("error", () => {});
    closing.push(async () => socket.destroy());
  });
}

function ended(socket: Socket): Promise<unknown> {
  socket.resume();
  return new Promise((resolve) => socket.once("close", resolve));
}

/** An authority and a certificate of it, good for an hour of testing. */
function authority(path: string): PeerCertificates {
  const openssl = (...words: string[]) => execFileSync("openssl", words, { stdio: "pipe" });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  openssl(
    "req",
    "-x509",
    ...curve,
    "-keyout",
    `${path}-ca.key`,
    "-out",
    `${path}-ca.pem`,
    "-subj",
    "/CN=test authority",
  );
  openssl("req", ...curve.slice(0, 5), "-keyout", `${path}.key`, "-out", `${path}.csr`, "-subj", "/CN=member");
  const signing = ["-CA", `${path}-ca.pem`, "-CAkey", `${path}-ca.key`, "-CAcreateserial", "-days", "1"];
  openssl("x509", "-req", "-in", `${path}.csr`, ...signing, "-out", `${path}.pem`);
  const read = (end: string) => readFileSync(`${path}${end}`, "utf8");
  return { ca: read("-ca.pem"), cert: read(".pem"), key: read(".key") };
}
