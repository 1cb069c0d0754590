/**
 * Members of one cluster over TCP: each dials every other and sends on what it dialled, so that a connection has one
 * direction. Whoever may send an append owns the cluster: off loopback both sides show a certificate that names the member and
 * the cluster, and on every connection the first frame says who speaks, to whom, of which cluster and epoch. Start at `start`.
 */

import { createServer, connect as dialPlain, isIP, type Server, type Socket } from "node:net";
import { checkServerIdentity, createServer as createTlsServer, connect as dialTls, type TLSSocket } from "node:tls";
import type { Cancel, Clock } from "../../../runtime/ports/clock.ts";
import { HoldfastError } from "../../../runtime/ports/holdfast-error.ts";
import type { Logger } from "../../../runtime/ports/logger.ts";
import type { MemberId, Peers, Refusal } from "../../ports/peers.ts";
import { FrameReader, frameOf } from "./frames.ts";

export type MemberAddress = { readonly host: string; readonly port: number };

/** PEM texts. The certificate's names must have `memberName(…)` of its own member among them. */
export type PeerTls = { readonly certificate: string; readonly key: string; readonly authority: string };

export type TcpPeersOptions = {
  readonly self: MemberId;
  /** 1 to 32 letters, digits and dashes, lower case: members of another cluster are refused. */
  readonly cluster: string;
  /** Grows whenever a cluster is recovered by hand: members of an older one are refused. 0: it knows of none yet. */
  readonly epoch: () => number;
  /** Names this member's folder, and judges the one that another comes with. Default: not told, and not judged. */
  readonly life?: () => string;
  readonly whyForeign?: (id: MemberId, life: string) => string | undefined;
  /** False: this member does not know yet who the others are. Default: it does. */
  readonly isReady?: () => boolean;
  readonly listen: MemberAddress;
  /** All others; may be changed by `setMembers`. */
  readonly members: ReadonlyMap<MemberId, MemberAddress>;
  /** Required unless every address is loopback. */
  readonly tls?: PeerTls | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<PeerLimits>;
};

export type PeerLimits = {
  /** Of one frame. Default: 64 MiB, which a snapshot of a large table fits. */
  readonly frameBytes: number;
  /** That wait for one peer; more is dropped and counted. Default: 64 MiB. */
  readonly queueBytes: number;
  /** A peer that takes nothing for so long while something waits is cut off. Default: 10,000. */
  readonly stallMs: number;
  /** From the connection to the end of the first frame. Default: 5,000. */
  readonly handshakeMs: number;
};

export type PeerCounts = {
  /** Frames that did not fit a queue, or had no connection to go on. */
  readonly dropped: number;
  /** Connections that were refused here, or broken off for what came on them. */
  readonly refused: number;
};

/** What is wrong with the options, and what to do. */
export class PeersInvalidOption extends HoldfastError {
  override readonly name = "PeersInvalidOption";
  readonly code = "PeersInvalidOption";
}

/** Nothing can be listened to at this member's own address. */
export class PeersCannotListen extends HoldfastError {
  override readonly name = "PeersCannotListen";
  readonly code = "PeersCannotListen";

  constructor(address: MemberAddress, cause: NodeJS.ErrnoException) {
    const { code = cause.message } = cause;
    const why = whyNoListener[code] ?? "look at the address";
    super(`this member cannot listen at ${formatAddress(address)} (${code}): ${why}`, { cause });
  }
}

const whyNoListener: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process does already; stop it, or choose another port",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "this process may not; choose a port above 1023",
  ENOTFOUND: "the name of the host is not known here",
};

type Hello = {
  readonly holdfast: 1;
  readonly cluster: string;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly life?: string;
};

const defaults: PeerLimits = {
  frameBytes: 64 * 1_048_576,
  queueBytes: 64 * 1_048_576,
  stallMs: 10_000,
  handshakeMs: 5_000,
};
const helloBytes = 1_024;
/** How the answer begins that is no welcome. */
const refusedPrefix = "refused: ";
const refusedForGoodPrefix = "refused for good: ";
const redialFirstMs = 50;
const redialMaxMs = 2_000;
/** Of those who have not said who they are. */
const strangersAtATime = 64;

export class TcpPeers implements Peers {
  readonly self: MemberId;
  readonly #options: TcpPeersOptions;
  readonly #limits: PeerLimits;
  readonly #server: Server;
  readonly #lines = new Map<MemberId, Line>();
  readonly #inbound = new Map<MemberId, Socket>();
  readonly #strangers = new Set<Socket>();
  #handler: ((from: MemberId, frame: Uint8Array) => void) | undefined;
  #dropped = 0;
  #refused = 0;
  #isClosed = false;

  /** Listens when it resolves. Rejects with `PeersInvalidOption` and with `PeersCannotListen`. */
  static async start(options: TcpPeersOptions): Promise<TcpPeers> {
    const problem = problemOf(options);
    if (problem !== undefined) throw new PeersInvalidOption(problem);
    const peers = new TcpPeers(options);
    const { host, port } = options.listen;
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error) => reject(new PeersCannotListen(options.listen, error));
      peers.#server.once("error", fail);
      peers.#server.listen(port, host, () => {
        peers.#server.off("error", fail);
        resolve();
      });
    });
    peers.#server.on("error", (error) => options.logger.error("the listener for peers failed", { error }));
    peers.setMembers(options.members);
    return peers;
  }

  private constructor(options: TcpPeersOptions) {
    this.self = options.self;
    this.#options = options;
    this.#limits = { ...defaults, ...options.limits };
    const { tls } = options;
    this.#server =
      tls === undefined
        ? createServer((socket) => this.#accept(socket))
        : createTlsServer(
            {
              cert: tls.certificate,
              key: tls.key,
              ca: tls.authority,
              requestCert: true,
              rejectUnauthorized: true,
              minVersion: "TLSv1.3",
              handshakeTimeout: this.#limits.handshakeMs,
            },
            (socket) => this.#accept(socket),
          );
    this.#server.on("tlsClientError", (error) => this.#refuse(undefined, `its TLS failed: ${error.message}`));
    this.#server.on("connection", (socket: Socket) => {
      // Before any handshake: a flood of connections costs a bounded number of sockets.
      if (this.#strangers.size >= strangersAtATime) return socket.destroy();
      this.#strangers.add(socket);
      socket.on("error", () => socket.destroy());
      socket.once("close", () => this.#strangers.delete(socket));
      const late = this.#options.clock.after(
        this.#limits.handshakeMs,
        () => {
          if (!this.#strangers.has(socket)) return;
          this.#refuse(undefined, "it did not say who it is in time");
          socket.destroy();
        },
        { background: true },
      );
      socket.once("close", late);
      return undefined;
    });
  }

  /** Of the listener, as the system chose it. */
  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get counts(): PeerCounts {
    return { dropped: this.#dropped, refused: this.#refused };
  }

  /** Members to whom a connection stands. */
  get connected(): MemberId[] {
    return [...this.#lines].filter(([, line]) => line.isOpen).map(([id]) => id);
  }

  /** What those say who did not let this member in when it last tried. */
  get refusals(): ReadonlyMap<MemberId, Refusal> {
    const found = new Map<MemberId, Refusal>();
    for (const [id, { refusal }] of this.#lines) if (refusal !== undefined) found.set(id, refusal);
    return found;
  }

  /** Those who were members and are not any more are cut off. Throws `PeersInvalidOption`. */
  setMembers(members: ReadonlyMap<MemberId, MemberAddress>): void {
    const problem = problemOf({ ...this.#options, members });
    if (problem !== undefined) throw new PeersInvalidOption(problem);
    for (const [id, line] of this.#lines) {
      const address = members.get(id);
      if (address !== undefined && sameAddress(address, line.address)) continue;
      line.close();
      this.#lines.delete(id);
      this.#inbound.get(id)?.destroy();
    }
    for (const [id, address] of members)
      if (id !== this.self && !this.#lines.has(id)) this.#lines.set(id, this.#line(id, address));
  }

  send(to: MemberId, frame: Uint8Array): void {
    if (frame.length > this.#limits.frameBytes)
      throw new RangeError(`a frame of ${frame.length} bytes; at most ${this.#limits.frameBytes} can be sent`);
    if (this.#lines.get(to)?.send(frameOf(frame)) !== true) this.#dropped++;
  }

  receive(handler: (from: MemberId, frame: Uint8Array) => void): () => void {
    if (this.#handler !== undefined) throw new Error("frames are received already");
    this.#handler = handler;
    return () => {
      this.#handler = undefined;
    };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const line of this.#lines.values()) line.close();
    for (const socket of [...this.#inbound.values(), ...this.#strangers]) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  // ---- those who dial us ----

  #accept(socket: Socket): void {
    if (this.#isClosed) return void socket.destroy();
    socket.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    let reader = new FrameReader(helloBytes);
    let from: MemberId | undefined;
    socket.on("data", (piece: Uint8Array) => {
      try {
        let rest: Uint8Array = piece;
        if (from === undefined) {
          const hello = reader.pushFirst(piece);
          if (hello === undefined) return;
          from = this.#greeted(socket, hello.frame);
          if (from === undefined) return;
          reader = new FrameReader(this.#limits.frameBytes);
          rest = hello.rest;
        }
        for (const frame of reader.push(rest)) this.#handler?.(from, frame);
      } catch (error) {
        this.#refuse(socket, (error as Error).message);
      }
    });
    socket.once("close", () => {
      if (from !== undefined && this.#inbound.get(from) === socket) this.#inbound.delete(from);
    });
  }

  #greeted(socket: Socket, bytes: Uint8Array): MemberId | undefined {
    const hello = helloOf(bytes);
    if (hello === undefined) {
      this.#refuse(socket, "it does not speak as a member does");
      return undefined;
    }
    const outdated = this.#reasonForGood(hello);
    const reason = outdated ?? this.#reasonAgainst(socket, hello);
    if (reason !== undefined) {
      this.#refuse(socket, reason, outdated === undefined ? refusedPrefix : refusedForGoodPrefix);
      return undefined;
    }
    for (const one of this.#strangers) if (isSameLine(one, socket)) this.#strangers.delete(one);
    // A member that dials anew has lost its last connection, whether we have noticed or not.
    this.#inbound.get(hello.from)?.destroy();
    this.#inbound.set(hello.from, socket);
    socket.write(frameOf(new TextEncoder().encode("welcome")));
    // It is there again: what it asks for, a vote perhaps, cannot be answered before we have dialled it too.
    this.#lines.get(hello.from)?.dialNow();
    return hello.from;
  }

  /** The log has decided it, or whoever recovered the cluster: no later attempt of that member will do better. */
  #reasonForGood(hello: Hello): string | undefined {
    const epoch = this.#options.epoch();
    if (hello.cluster !== this.#options.cluster) return undefined;
    if (hello.epoch > 0 && hello.epoch < epoch)
      return `its epoch ${hello.epoch} is over: this cluster was recovered, and is at ${epoch}`;
    if (hello.to !== this.self || hello.from === this.self || this.#options.isReady?.() === false) return undefined;
    return this.#options.whyForeign?.(hello.from, hello.life ?? "");
  }

  #reasonAgainst(socket: Socket, hello: Hello): string | undefined {
    const { cluster, tls } = this.#options;
    if (hello.cluster !== cluster) return `it is of cluster ${hello.cluster}, this is ${cluster}`;
    if (hello.to !== this.self) return `it looks for member ${hello.to}, this is ${this.self}`;
    if (this.#options.isReady?.() === false) return `member ${this.self} is still starting`;
    if (hello.from === this.self) return `it calls itself ${this.self}, as this member does: ids are used once`;
    if (!this.#lines.has(hello.from)) return `member ${hello.from} does not belong to this cluster`;
    if (tls === undefined) return undefined;
    const name = memberName(hello.from, cluster);
    const certificate = (socket as TLSSocket).getPeerCertificate();
    return checkServerIdentity(name, certificate) === undefined ? undefined : `its certificate is not for ${name}`;
  }

  #refuse(socket: Socket | undefined, reason: string, prefix = refusedPrefix): void {
    this.#refused++;
    const from = socket?.remoteAddress === undefined ? {} : { from: `${socket.remoteAddress}:${socket.remotePort}` };
    this.#options.logger.warn(`a connection was refused: ${reason}`, from);
    if (socket === undefined) return;
    // Told, so that whoever set it up wrongly reads it in its own log; then nothing more is read from it.
    socket.removeAllListeners("data");
    socket.resume();
    socket.end(frameOf(new TextEncoder().encode(`${prefix}${reason}`.slice(0, 500))), () => socket.destroy());
  }

  // ---- those whom we dial ----

  #line(id: MemberId, address: MemberAddress): Line {
    const { cluster, tls, clock, logger } = this.#options;
    const name = memberName(id, cluster);
    const secure =
      tls === undefined
        ? undefined
        : { cert: tls.certificate, key: tls.key, ca: tls.authority, servername: name, minVersion: "TLSv1.3" as const };
    const { epoch, life = () => "" } = this.#options;
    const hello = (): Hello => ({ holdfast: 1, cluster, epoch: epoch(), from: this.self, to: id, life: life() });
    return new Line({
      address,
      dial: () => (secure === undefined ? dialPlain(address) : dialTls({ ...address, ...secure })),
      readyEvent: secure === undefined ? "connect" : "secureConnect",
      hello: () => frameOf(new TextEncoder().encode(JSON.stringify(hello()))),
      limits: this.#limits,
      clock,
      trouble: (what) =>
        logger.warn(`no connection to member ${id}: ${what}`, { address: `${address.host}:${address.port}` }),
    });
  }
}

type LineEnv = {
  readonly address: MemberAddress;
  readonly dial: () => Socket;
  readonly readyEvent: "connect" | "secureConnect";
  readonly hello: () => Uint8Array;
  readonly limits: PeerLimits;
  readonly clock: Clock;
  readonly trouble: (what: string) => void;
};

/** The way to one peer: dialled, greeted, dialled again when it breaks. */
class Line {
  readonly address: MemberAddress;
  readonly #env: LineEnv;
  #socket: Socket | undefined;
  #isWelcome = false;
  #isClosed = false;
  #redialMs = redialFirstMs;
  #redial: Cancel | undefined;
  #stall: Cancel | undefined;
  #told = "";
  #refusal: Refusal | undefined;

  constructor(env: LineEnv) {
    this.address = env.address;
    this.#env = env;
    this.#dial();
  }

  get isOpen(): boolean {
    return this.#isWelcome;
  }

  /** What was said at the last attempt instead of a welcome. */
  get refusal(): Refusal | undefined {
    return this.#refusal;
  }

  /** False: it was dropped. */
  send(frame: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket === undefined || !this.#isWelcome) return false;
    if (socket.writableLength + frame.length > this.#env.limits.queueBytes) return false;
    if (!socket.write(frame)) this.#watchStall(socket);
    return true;
  }

  /** Does not wait any longer for its next attempt. */
  dialNow(): void {
    if (this.#socket !== undefined || this.#isClosed) return;
    this.#redial?.();
    this.#dial();
  }

  close(): void {
    this.#isClosed = true;
    this.#redial?.();
    this.#stall?.();
    this.#socket?.destroy();
  }

  #dial(): void {
    const socket = this.#env.dial();
    this.#socket = socket;
    const reader = new FrameReader(helloBytes);
    let failure = "the connection was closed";
    const late = this.#env.clock.after(
      this.#env.limits.handshakeMs,
      () => {
        failure = "no welcome in time";
        if (!this.#isWelcome) socket.destroy();
      },
      { background: true },
    );
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.once(this.#env.readyEvent, () => socket.write(this.#env.hello()));
    socket.on("error", (error) => {
      failure = error.message;
      socket.destroy();
    });
    socket.on("data", (piece: Uint8Array) => {
      try {
        for (const frame of reader.push(piece)) {
          const text = new TextDecoder().decode(frame);
          if (text === "welcome") this.#welcome(late);
          else failure = text;
        }
      } catch (error) {
        failure = (error as Error).message;
        socket.destroy();
      }
    });
    // The other side never sends after its welcome: an end is the end.
    socket.on("end", () => socket.destroy());
    socket.once("close", () => {
      late();
      this.#lost(failure);
    });
  }

  #welcome(late: Cancel): void {
    late();
    this.#isWelcome = true;
    this.#redialMs = redialFirstMs;
    this.#told = "";
    this.#refusal = undefined;
  }

  #lost(why: string): void {
    this.#socket = undefined;
    this.#isWelcome = false;
    this.#stall?.();
    this.#stall = undefined;
    if (this.#isClosed) return;
    this.#refusal = refusalIn(why);
    // Once for each reason, not for each attempt.
    if (why !== this.#told) this.#env.trouble(why);
    this.#told = why;
    this.#redial = this.#env.clock.after(this.#redialMs, () => this.#dial(), { background: true });
    this.#redialMs = Math.min(this.#redialMs * 2, redialMaxMs);
  }

  /** A peer that does not read is shed: what it missed it asks for when it is back. */
  #watchStall(socket: Socket): void {
    if (this.#stall !== undefined) return;
    const cancel = this.#env.clock.after(
      this.#env.limits.stallMs,
      () => {
        this.#stall = undefined;
        this.#env.trouble(
          `it took nothing for ${this.#env.limits.stallMs} ms; ${socket.writableLength} bytes are dropped`,
        );
        this.#told = "the connection was closed";
        socket.destroy();
      },
      { background: true },
    );
    this.#stall = cancel;
    socket.once("drain", () => {
      cancel();
      if (this.#stall === cancel) this.#stall = undefined;
    });
  }
}

/** What a member's certificate must be for, as a DNS name among its alternative names. */
export function memberName(id: MemberId, cluster: string): string {
  return `member-${id}.${cluster}`;
}

export function formatAddress({ host, port }: MemberAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `host:port`, or `[::1]:port`. Undefined: it is none. */
export function parseAddress(text: string): MemberAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  return host === undefined || !(port >= 1 && port <= 65_535) ? undefined : { host, port };
}

/** A TLS socket stands on another, which was counted when it came. */
function isSameLine(a: Socket, b: Socket): boolean {
  return a.remotePort === b.remotePort && a.remoteAddress === b.remoteAddress;
}

function refusalIn(text: string): Refusal | undefined {
  if (text.startsWith(refusedForGoodPrefix)) return { reason: text.slice(refusedForGoodPrefix.length), isFinal: true };
  return text.startsWith(refusedPrefix) ? { reason: text.slice(refusedPrefix.length), isFinal: false } : undefined;
}

function helloOf(bytes: Uint8Array): Hello | undefined {
  try {
    const hello = JSON.parse(new TextDecoder().decode(bytes)) as Hello;
    const isWhole =
      hello.holdfast === 1 &&
      typeof hello.cluster === "string" &&
      [hello.epoch, hello.from, hello.to].every((number) => Number.isSafeInteger(number)) &&
      ["string", "undefined"].includes(typeof hello.life);
    return isWhole ? hello : undefined;
  } catch {
    return undefined;
  }
}

function problemOf({ self, cluster, listen, members, tls }: TcpPeersOptions): string | undefined {
  const name = clusterProblem(cluster);
  if (name !== undefined) return name;
  for (const id of [self, ...members.keys()])
    if (!Number.isSafeInteger(id) || id < 1) return `member id ${id}: it must be a whole number from 1 to 2^53 - 1`;
  for (const { host, port } of [listen, ...members.values()])
    if (!Number.isInteger(port) || port < 0 || port > 65_535) return `port ${port} of ${host} is none`;
  if (tls !== undefined) return undefined;
  const open = [listen, ...members.values()].find(({ host }) => !isLoopback(host));
  if (open === undefined) return undefined;
  return `${open.host} is not loopback, and whoever can reach a member could own the cluster: give \`tls\`, or use 127.0.0.1`;
}

/** A cluster's name is a part of its members' names, so it must be what DNS takes. */
export function clusterProblem(cluster: string): string | undefined {
  if (typeof cluster === "string" && /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(cluster)) return undefined;
  return `\`cluster\` is ${JSON.stringify(cluster)}; it must be 1 to 32 lower-case letters, digits and inner dashes`;
}

export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

function sameAddress(a: MemberAddress, b: MemberAddress): boolean {
  return a.host === b.host && a.port === b.port;
}
