/**
 * The bus on core NATS. Each partition has a subject per channel, to which its owner listens while it holds the lease:
 * where nobody does, the server says so at once. Nothing here is durable and nothing is repeated; whoever asks does
 * both. Start reading at `asking.ts` for requests, `serving.ts` for answers, `topics.ts` for emitted events.
 */
import type { Bus, BusReply, BusRequest } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Leases } from "../../ports/leases.ts";
import type { Logger } from "../../ports/logger.ts";
import type { PlainRequests } from "../../ports/plain-requests.ts";
import type { Requests } from "../nats/requests.ts";
import { Asking } from "./asking.ts";
import { busLimits, type NatsBusLimits } from "./limits.ts";
import { Link } from "./link.ts";
import { NatsEntrance } from "./nats-entrance.ts";
import { type Handler, Serving } from "./serving.ts";
import { subjectsOf } from "./subjects.ts";
import { Topics } from "./topics.ts";

export type NatsBusOptions = {
  /** Over the connection that the bus uses. Stays the caller's, and so does the connection. */
  readonly requests: Requests;
  /** Part of every subject: applications with different names do not meet. */
  readonly app: string;
  /** What this node owns. Without it, it answers nothing. */
  readonly leases?: Leases;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<NatsBusLimits>;
};

export type NatsBusInfo = {
  readonly isConnected: boolean;
  /** Requests of this process that wait for an answer. */
  readonly waiting: number;
  /** Requests that this process handles. */
  readonly handling: number;
  readonly topics: number;
};

export class NatsBus implements Bus {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #limits: NatsBusLimits;
  readonly #link: Link;
  readonly #serving: Serving;
  readonly #asking: Asking;
  readonly #topics: Topics;
  readonly #entrance: NatsEntrance;
  #closing: Promise<void> | undefined;

  /** Throws BusInvalidOption. */
  constructor(options: NatsBusOptions) {
    const { requests, app, leases, clock, logger } = options;
    const subjects = subjectsOf(app);
    const limits = busLimits(options.limits);
    const link = new Link(requests.connection, clock, logger);
    this.#clock = clock;
    this.#logger = logger;
    this.#limits = limits;
    this.#link = link;
    this.#serving = new Serving({ link, subjects, leases, clock, logger, limits });
    this.#asking = new Asking({ link, requests, subjects, serving: this.#serving, clock, limits });
    this.#topics = new Topics({ link, subjects, clock, logger, limits });
    this.#entrance = new NatsEntrance({ link, subjects, clock, logger });
  }

  request(request: BusRequest, timeoutMs: number): Promise<BusReply> {
    return this.#asking.ask(request, timeoutMs);
  }

  /** Throws when this bus serves already. */
  serve(handler: Handler): () => void {
    return this.#serving.serve(handler);
  }

  /** Rejects with BusNotPublished: too large, or not connected. Resolved means sent, not heard. */
  publish(topic: string, body: string, id: string, trace?: string): Promise<void> {
    return this.#topics.publish(topic, body, id, trace);
  }

  /** Throws BusTooManyTopics. */
  subscribe(topic: string, listener: (body: string, id: string) => void): () => void {
    return this.#topics.subscribe(topic, listener);
  }

  /** Where plain `nats req` comes in. */
  get plainRequests(): PlainRequests {
    return this.#entrance;
  }

  info(): NatsBusInfo {
    return {
      isConnected: this.#link.isUp,
      waiting: this.#asking.size,
      handling: this.#serving.size,
      topics: this.#topics.size,
    };
  }

  /**
   * Takes nothing new, answers what was taken, ends what waits, and sees to it that the answers leave: all within
   * `limits.closeMs`. The connection stays open. May be called twice.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const inTime = await this.#within(this.#limits.closeMs, this.#drained());
    if (!inTime)
      this.#logger.warn(
        `the bus was closed while ${this.#serving.size} requests were not answered within ${this.#limits.closeMs} ms`,
      );
    this.#asking.close();
    this.#topics.close();
    this.#link.stop();
  }

  async #drained(): Promise<void> {
    await Promise.all([this.#entrance.drain(), this.#serving.drain()]);
    const { connection } = this.#link;
    if (this.#link.isUp) await connection.flush().catch(() => {}); // lost meanwhile: nothing more can leave
  }

  #within(boundMs: number, work: Promise<void>): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(boundMs, () => resolve(false));
      void work.then(() => {
        cancel();
        resolve(true);
      });
    });
  }
}
