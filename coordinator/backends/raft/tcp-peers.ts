/**
 * The peers port over TCP: each member dials every other and sends on that connection alone. Frames have their length in
 * front. Off the loopback only TLS with certificates on both sides is taken, since whoever can send an append owns the
 * cluster. Nothing waits for a slow peer: what does not fit its queue is dropped and counted.
 */
import { createServer, isIP, connect as netConnect, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from "node:tls";
import type { Cancel, Clock } from "../../../runtime/ports/clock.ts";
import type { Logger } from "../../../runtime/ports/logger.ts";
import type { MemberId, Peers } from "../../ports/peers.ts";
import { PeersInsecure } from "./errors.ts";
import { FrameReader, frameOf } from "./frames.ts";

export type Address = { readonly host: string; readonly port: number };

/** PEM texts. The authority is the cluster's own: whoever has a certificate of it is a member. */
export type PeerCertificates = { readonly ca: string; readonly cert: string; readonly key: string };

export type TcpPeersOptions = {
  readonly cluster: string;
  readonly self: MemberId;
  /** Where to listen. Port 0: any free one. */
  readonly listen: Address;
  readonly others: ReadonlyMap<MemberId, Address>;
  /** Required unless all addresses are of the loopback. */
  readonly tls?: PeerCertificates;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of one frame, either way. Default: 64 MiB, which a snapshot of the largest table fits. */
  readonly maxFrameBytes?: number;
  /** Not yet taken by a peer's connection. Default: 64 MiB. */
  readonly maxQueueBytes?: number;
};

type FullOptions = Required<Omit<TcpPeersOptions, "tls">> & Pick<TcpPeersOptions, "tls">;

/** What whoever dials says first. */
type Hello = { readonly holdfast: 1; readonly cluster: string; readonly from: MemberId; readonly to: MemberId };

const maxHelloBytes = 1_024;
const helloWithinMs = 5_000;
const stuckAfterMs = 10_000;
const firstPauseMs = 50;
const longestPauseMs = 2_000;

export class TcpPeers implements Peers {
  readonly self: MemberId;
  readonly #options: FullOptions;
  readonly #server: Server;
  readonly #accepted = new Set<Socket>();
  readonly #lines = new Map<MemberId, Line>();
  readonly #handlers = new Set<(from: MemberId, frame: Uint8Array) => void>();
  #dropped = 0;
  #isClosed = false;

  /** Listens when it resolves. Rejects with PeersInsecure, or as listening does. */
  static async open(options: TcpPeersOptions): Promise<TcpPeers> {
    const addresses = [options.listen, ...options.others.values()];
    const outside = addresses.find(({ host }) => !isLoopback(host));
    if (options.tls === undefined && outside !== undefined) throw new PeersInsecure(outside.host);
    const peers = new TcpPeers(options);
    await new Promise<void>((resolve, reject) => {
      peers.#server.once("error", reject);
      peers.#server.listen(options.listen.port, options.listen.host, resolve);
    });
    peers.#server.on("error", (error) => options.logger.error("the listener for members has failed", { error }));
    for (const line of peers.#lines.values()) line.dial();
    return peers;
  }

  private constructor(options: TcpPeersOptions) {
    const mebi = 1024 * 1024;
    this.#options = { maxFrameBytes: 64 * mebi, maxQueueBytes: 64 * mebi, ...options };
    this.self = options.self;
    const { tls } = options;
    this.#server =
      tls === undefined
        ? createServer((socket) => this.#accept(socket))
        : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" }, (socket) =>
            this.#accept(socket),
          );
    // Who has no certificate of ours never gets as far as `#accept`.
    this.#server.on("tlsClientError", (error: Error) =>
      options.logger.warn("a connection to this member was refused", { problem: error.message }),
    );
    for (const [id, address] of options.others) {
      const hello: Hello = { holdfast: 1, cluster: options.cluster, from: options.self, to: id };
      this.#lines.set(id, new Line(this.#options, address, hello, () => this.#dropped++));
    }
  }

  /** Where others reach this member. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Frames that found no room in a queue, or no connection. */
  get dropped(): number {
    return this.#dropped;
  }

  send(to: MemberId, frame: Uint8Array): void {
    const line = this.#lines.get(to);
    if (line === undefined || frame.length > this.#options.maxFrameBytes) this.#dropped++;
    else line.send(frame);
  }

  receive(handler: (from: MemberId, frame: Uint8Array) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const line of this.#lines.values()) line.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#accepted) socket.destroy();
    await closed;
  }

  #accept(socket: Socket): void {
    this.#accepted.add(socket);
    const { clock, logger, maxFrameBytes } = this.#options;
    const from = socket.remoteAddress;
    let hello: Hello | undefined;
    const refuse = (problem: string) => {
      logger.warn("a connection to this member was refused", { from, problem });
      socket.destroy();
    };
    const reader = new FrameReader(maxHelloBytes);
    const late = clock.after(helloWithinMs, () => hello === undefined && refuse("it did not say who it is"), {
      background: true,
    });
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => {
      late();
      this.#accepted.delete(socket);
    });
    socket.on("data", (bytes: Uint8Array) => {
      try {
        for (const frame of reader.take(bytes)) {
          if (hello === undefined) {
            hello = this.#welcome(frame);
            reader.maxFrameBytes = maxFrameBytes;
            // One byte back, so that whoever dials knows it is in.
            socket.write(frameOf(new Uint8Array([1])));
          } else for (const handler of [...this.#handlers]) handler(hello.from, frame);
        }
      } catch (error) {
        refuse(error instanceof Error ? error.message : String(error));
      }
    });
  }

  #welcome(frame: Uint8Array): Hello {
    let hello: Partial<Hello>;
    try {
      hello = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(frame)) as Partial<Hello>;
    } catch (cause) {
      throw new Error("it does not speak as members do", { cause });
    }
    const { cluster } = this.#options;
    if (hello?.holdfast !== 1) throw new Error("it is of another release, which this one does not know");
    if (hello.cluster !== cluster)
      throw new Error(`it belongs to cluster "${hello.cluster}", and this is "${cluster}"`);
    if (hello.to !== this.self) throw new Error(`it wants member ${hello.to}, and this is ${this.self}`);
    if (hello.from === undefined || !this.#lines.has(hello.from))
      throw new Error(`it says that it is member ${hello.from}, which is none of this cluster`);
    return hello as Hello;
  }
}

/** The connection on which one other member is sent to. Made again, after a pause, whenever it is lost. */
class Line {
  readonly #options: FullOptions;
  readonly #address: Address;
  readonly #hello: Hello;
  readonly #onDropped: () => void;
  #socket: Socket | undefined;
  #isUp = false;
  #pauseMs = firstPauseMs;
  #redial: Cancel | undefined;
  #stuck: Cancel | undefined;
  #isClosed = false;

  constructor(options: FullOptions, address: Address, hello: Hello, onDropped: () => void) {
    this.#options = options;
    this.#address = address;
    this.#hello = hello;
    this.#onDropped = onDropped;
  }

  dial(): void {
    const { tls, clock } = this.#options;
    const socket: Socket | TLSSocket =
      tls === undefined
        ? netConnect(this.#address)
        : tlsConnect({ ...this.#address, ...tls, minVersion: "TLSv1.3", checkServerIdentity: () => undefined });
    this.#socket = socket;
    const reader = new FrameReader(16);
    socket.setNoDelay(true);
    socket.once(tls === undefined ? "connect" : "secureConnect", () =>
      socket.write(frameOf(new TextEncoder().encode(JSON.stringify(this.#hello)))),
    );
    socket.on("data", (bytes: Uint8Array) => {
      try {
        // Nothing but the one welcome comes back on this connection.
        for (const _ of reader.take(bytes)) {
          this.#isUp = true;
          this.#pauseMs = firstPauseMs;
        }
      } catch {
        socket.destroy();
      }
    });
    socket.on("drain", () => this.#unstick());
    socket.on("error", (error) =>
      this.#options.logger.debug("no connection to a member", { member: this.#hello.to, problem: error.message }),
    );
    socket.on("close", () => {
      this.#isUp = false;
      this.#unstick();
      if (this.#isClosed) return;
      this.#redial = clock.after(this.#pauseMs, () => this.dial(), { background: true });
      this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs);
    });
  }

  send(frame: Uint8Array): void {
    const socket = this.#socket;
    if (!this.#isUp || socket === undefined || socket.writableLength + frame.length > this.#options.maxQueueBytes)
      return this.#onDropped();
    if (!socket.write(frameOf(frame))) this.#stickSoon(socket);
  }

  close(): void {
    this.#isClosed = true;
    this.#redial?.();
    this.#unstick();
    this.#socket?.destroy();
  }

  /** A peer that takes nothing for long is cut off; what waits for it is of no use by then. */
  #stickSoon(socket: Socket): void {
    this.#stuck ??= this.#options.clock.after(stuckAfterMs, () => socket.destroy(), { background: true });
  }

  #unstick(): void {
    this.#stuck?.();
    this.#stuck = undefined;
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
