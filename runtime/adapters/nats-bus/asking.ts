/**
 * The asking side: one request, one outcome. To an owner in this process it does not leave it; to another it goes over
 * the connection, unless that is known to be in vain, which is said at once.
 */
import type { BusReply, BusRequest } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Reply, Requests } from "../nats/requests.ts";
import { bytesOf, isFailed, refused, requestHeaders, sizeOf } from "./frames.ts";
import type { NatsBusLimits } from "./limits.ts";
import type { Link } from "./link.ts";
import type { Serving } from "./serving.ts";
import type { Subjects } from "./subjects.ts";

export type AskingEnv = {
  readonly link: Link;
  readonly requests: Requests;
  readonly subjects: Subjects;
  readonly serving: Serving;
  readonly clock: Clock;
  readonly limits: NatsBusLimits;
};

type Waiting = { readonly subject: string; readonly end: (reply: BusReply) => void };

export class Asking {
  readonly #env: AskingEnv;
  readonly #waiting = new Set<Waiting>();
  /** Subjects that the server refused, and until when that is believed. */
  readonly #forbidden = new Map<string, number>();
  #closed = false;

  constructor(env: AskingEnv) {
    this.#env = env;
    env.link.onForbidden((subject) => this.#forbid(subject));
  }

  /** How many wait for an answer. */
  get size(): number {
    return this.#waiting.size;
  }

  ask(request: BusRequest, timeoutMs: number): Promise<BusReply> {
    const { link, serving, limits, subjects } = this.#env;
    if (this.#closed) return Promise.resolve({ kind: "nobody" });
    const bytes = sizeOf(request.body);
    const most = link.maxPayloadBytes - headerRoom;
    if (bytes > most)
      return answered(
        refused("TooLarge", `the request has ${bytes} bytes; the server takes ${most}: nothing was done`),
      );
    if (this.#waiting.size >= limits.waiting)
      return answered(
        refused(
          "Overloaded",
          `${this.#waiting.size} requests of this process wait for an answer, its limit: nothing was done`,
        ),
      );
    const subject = subjects.channel(request.channel, request.partition);
    if (serving.owns(request.partition)) return this.#askHere(request, bytes, timeoutMs, subject);
    // Not connected, the owner is out of reach, and nothing is sent that would arrive when nobody waits any more.
    if (!link.isUp) return Promise.resolve({ kind: "nobody" });
    if (this.#isForbidden(subject))
      return answered(
        refused(
          "InvalidRequest",
          `the server does not let this connection publish on ${subject} (docs/guides/accounts.md): nothing was done`,
        ),
      );
    return this.#askThere(request, timeoutMs, subject);
  }

  /** Whoever waits learns that it may have been done. */
  close(): void {
    this.#closed = true;
    for (const { end } of [...this.#waiting]) end({ kind: "timeout" });
  }

  #askHere(request: BusRequest, bytes: number, timeoutMs: number, subject: string): Promise<BusReply> {
    return new Promise((resolve) => {
      const end = this.#wait(subject, resolve);
      const cancel = this.#env.clock.after(timeoutMs, () => end({ kind: "timeout" }), { background: true });
      void this.#env.serving.handle(request, bytes).then((reply) => {
        cancel();
        end(reply);
      });
    });
  }

  #askThere({ body, trace }: BusRequest, timeoutMs: number, subject: string): Promise<BusReply> {
    return new Promise((resolve) => {
      const end = this.#wait(subject, resolve);
      this.#env.requests.send(subject, bytesOf(body), requestHeaders(trace), timeoutMs, (reply) => end(meant(reply)));
    });
  }

  #wait(subject: string, resolve: (reply: BusReply) => void): (reply: BusReply) => void {
    const waiting: Waiting = {
      subject,
      end: (reply) => {
        this.#waiting.delete(waiting);
        resolve(reply);
      },
    };
    this.#waiting.add(waiting);
    return waiting.end;
  }

  #forbid(subject: string): void {
    this.#forbidden.set(subject, this.#env.clock.monotonic() + believedMs);
    // Which of them it was, the server does not say: an earlier one may have gone through.
    for (const waiting of [...this.#waiting]) if (waiting.subject === subject) waiting.end({ kind: "timeout" });
  }

  #isForbidden(subject: string): boolean {
    const untilMs = this.#forbidden.get(subject);
    if (untilMs === undefined) return false;
    if (untilMs > this.#env.clock.monotonic()) return true;
    this.#forbidden.delete(subject);
    return false;
  }
}

function meant(reply: Reply): BusReply {
  switch (reply.kind) {
    case "reply":
      return isFailed(reply.message) ? { kind: "timeout" } : { kind: "reply", body: reply.message.string() };
    case "noResponders":
    case "notSent":
      return { kind: "nobody" };
    case "silence":
      return { kind: "timeout" };
  }
}

function answered(body: string): Promise<BusReply> {
  return Promise.resolve({ kind: "reply", body });
}

/** What the headers of a request take, at most. */
const headerRoom = 200;
/** For how long a refusal of the server is believed before the subject is tried again: permissions may be mended. */
const believedMs = 5_000;
