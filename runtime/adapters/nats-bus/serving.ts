/**
 * The owner's side: listens on the subjects of the partitions that this node owns, and answers. Two nodes that both
 * believe to own a partition both get its requests; a group in which each gets a part would hand that part to a node
 * that is frozen or cut off, for as long as the server does not notice.
 */
import type { Msg } from "@nats-io/transport-node";
import type { BusChannel, BusReply, BusRequest } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Leases } from "../../ports/leases.ts";
import type { Logger } from "../../ports/logger.ts";
import { Seldom } from "../../seldom.ts";
import { bytesOf, failedStatus, nobodyStatus, refused, traceIn } from "./frames.ts";
import type { NatsBusLimits } from "./limits.ts";
import type { Link, Listening } from "./link.ts";
import { channels, isInbox, type Subjects } from "./subjects.ts";

export type Handler = (request: BusRequest) => Promise<string>;

export type ServingEnv = {
  readonly link: Link;
  readonly subjects: Subjects;
  readonly leases: Leases | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: NatsBusLimits;
};

export class Serving {
  readonly #env: ServingEnv;
  readonly #seldom: Seldom;
  readonly #open = new Map<number, readonly Listening[]>();
  readonly #unfollow: () => void;
  #handler: Handler | undefined;
  #handling = 0;
  #handlingBytes = 0;
  #onIdle: (() => void) | undefined;

  constructor(env: ServingEnv) {
    this.#env = env;
    this.#seldom = new Seldom(env.clock);
    this.#unfollow =
      env.leases?.onChange((change) => {
        if (change.kind === "granted") this.#listen(change.partition);
        else if (change.kind === "lost") this.#stopListening(change.partition);
      }) ?? (() => {});
  }

  /** How many requests are being handled. */
  get size(): number {
    return this.#handling;
  }

  serve(handler: Handler): () => void {
    if (this.#handler !== undefined) throw new Error("this bus serves already: stop the handler that it has first");
    this.#handler = handler;
    const { leases } = this.#env;
    for (let partition = 0; partition < (leases?.partitions ?? 0); partition++) {
      if (leases?.token(partition) !== undefined) this.#listen(partition);
    }
    return () => {
      if (this.#handler !== handler) return;
      this.#handler = undefined;
      for (const partition of [...this.#open.keys()]) this.#stopListening(partition);
    };
  }

  /** Whether this process answers for the partition now. */
  owns(partition: number): boolean {
    return this.#handler !== undefined && this.#env.leases?.token(partition) !== undefined;
  }

  /** Handles a request of this very process. */
  async handle(request: BusRequest, bytes: number): Promise<BusReply> {
    const handler = this.#handler;
    if (handler === undefined) return { kind: "nobody" };
    const busy = this.#enter(bytes);
    if (busy !== undefined) return { kind: "reply", body: busy };
    try {
      // Never in the turn of whoever asks.
      await Promise.resolve();
      return { kind: "reply", body: await handler(request) };
    } catch (error) {
      this.#failed(request, error);
      return { kind: "timeout" };
    } finally {
      this.#leave(bytes);
    }
  }

  /** Takes nothing new, and resolves when all that was taken has been answered. The caller sets the bound. */
  async drain(): Promise<void> {
    this.#unfollow();
    const open = [...this.#open.values()].flat();
    this.#open.clear();
    await Promise.all(open.map((listening) => listening.drain()));
    if (this.#handling === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #listen(partition: number): void {
    if (this.#handler === undefined || this.#open.has(partition)) return;
    const { link, subjects } = this.#env;
    this.#open.set(
      partition,
      channels.map((channel) =>
        link.listen(subjects.channel(channel, partition), (message) => this.#arrived(partition, channel, message)),
      ),
    );
  }

  #stopListening(partition: number): void {
    const listening = this.#open.get(partition);
    this.#open.delete(partition);
    // What arrived before is still answered.
    for (const one of listening ?? []) void one.drain();
  }

  #arrived(partition: number, channel: BusChannel, message: Msg): void {
    const reply = message.reply ?? "";
    if (!isInbox(reply)) return this.#unanswerable(message);
    const handler = this.#handler;
    if (handler === undefined) {
      // Ours, and not served: nothing was done. Not ours any more: another owner may have got it too, and answers.
      if (this.#env.leases?.token(partition) !== undefined) this.#env.link.publish(reply, empty, nobodyStatus);
      return;
    }
    const bytes = message.data.length;
    const busy = this.#enter(bytes);
    if (busy !== undefined) {
      this.#env.link.publish(reply, bytesOf(busy));
      return;
    }
    const trace = traceIn(message);
    const request: BusRequest = { partition, body: message.string(), channel, ...(trace !== undefined && { trace }) };
    void this.#answer(handler, request, reply, bytes);
  }

  async #answer(handler: Handler, request: BusRequest, reply: string, bytes: number): Promise<void> {
    const { link } = this.#env;
    try {
      const answer = bytesOf(await handler(request));
      if (answer.length > link.maxPayloadBytes)
        throw new Error(`the answer has ${answer.length} bytes; the server takes ${link.maxPayloadBytes}`);
      link.publish(reply, answer);
    } catch (error) {
      this.#failed(request, error);
      link.publish(reply, empty, failedStatus);
    } finally {
      this.#leave(bytes);
    }
  }

  /** The answer for a request that there is no room for. */
  #enter(bytes: number): string | undefined {
    const { handling, handlingBytes } = this.#env.limits;
    if (this.#handling >= handling)
      return refused("Overloaded", `this node handles ${this.#handling} requests, its limit: nothing was done`);
    // A single one always fits, whatever its size.
    if (this.#handling > 0 && this.#handlingBytes + bytes > handlingBytes) {
      return refused(
        "Overloaded",
        `this node handles requests of ${this.#handlingBytes} bytes, and ${bytes} more would be above its limit of ${handlingBytes}: nothing was done`,
      );
    }
    this.#handling++;
    this.#handlingBytes += bytes;
    return undefined;
  }

  #leave(bytes: number): void {
    this.#handling--;
    this.#handlingBytes -= bytes;
    if (this.#handling === 0) this.#onIdle?.();
  }

  #failed({ partition, channel }: BusRequest, error: unknown): void {
    this.#seldom.say("failed", (held) =>
      this.#env.logger.error("a request was not answered: it may have been done", {
        error,
        partition,
        channel,
        alsoFailed: held,
      }),
    );
  }

  #unanswerable({ subject, reply }: Msg): void {
    this.#seldom.say("unanswerable", (held) =>
      this.#env.logger.warn(
        reply
          ? `a request on ${subject} wants its answer on ${reply.slice(0, 100)}, which is no inbox: it was not handled`
          : `a message on ${subject} waits for no answer: it was not handled; use a request`,
        { alsoLeft: held },
      ),
    );
  }
}

const empty = new Uint8Array(0);
