/**
 * The connection as the bus sees it: whether it is up, what the server forbids, and subscriptions that are kept. The
 * library subscribes again after a reconnect by itself; one that the server refused is asked for again here.
 */
import type { Msg, MsgHdrs, NatsConnection, Status, Subscription } from "@nats-io/transport-node";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Logger } from "../../ports/logger.ts";
import { Seldom } from "../../seldom.ts";

export type Listening = {
  /** Nothing is handed out any more. */
  stop(): void;
  /** Takes nothing new; resolves when what had arrived at the server before is handed out, or the connection is lost. */
  drain(): Promise<void>;
};

type Kept = {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly onMessage: (message: Msg) => void;
  subscription: Subscription | undefined;
};

/** What the library asks of headers when it publishes. */
export type Encodable = { encode(): Uint8Array };

export class Link {
  readonly connection: NatsConnection;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #seldom: Seldom;
  readonly #kept = new Set<Kept>();
  readonly #statuses: AsyncIterable<Status>;
  #forbiddenListener: (subject: string) => void = () => {};
  #retry: Cancel | undefined;
  #isDown = false;
  #stopped = false;

  constructor(connection: NatsConnection, clock: Clock, logger: Logger) {
    this.connection = connection;
    this.#clock = clock;
    this.#logger = logger;
    this.#seldom = new Seldom(clock);
    this.#statuses = connection.status();
    void this.#follow();
  }

  /** Whether what is published now has a way to the server. */
  get isUp(): boolean {
    return !this.#isDown && !this.connection.isClosed() && this.connection.info !== undefined;
  }

  /** Most bytes of a message with its headers. */
  get maxPayloadBytes(): number {
    return this.connection.info?.max_payload ?? 1024 * 1024;
  }

  /** Told of each subject on which the server refused a message of this connection. */
  onForbidden(listener: (subject: string) => void): void {
    this.#forbiddenListener = listener;
  }

  /** Calls back for each message, in order, in the turn in which it arrives. */
  listen(subject: string, onMessage: (message: Msg) => void, queue?: string): Listening {
    const kept: Kept = { subject, queue, onMessage, subscription: undefined };
    this.#kept.add(kept);
    this.#subscribe(kept);
    return {
      stop: () => {
        this.#kept.delete(kept);
        const { subscription } = kept;
        kept.subscription = undefined;
        if (subscription !== undefined && !subscription.isClosed() && !this.connection.isClosed())
          subscription.unsubscribe();
      },
      drain: async () => {
        this.#kept.delete(kept);
        const { subscription } = kept;
        if (subscription === undefined || subscription.isClosed() || this.connection.isClosed()) return;
        await subscription.drain().catch(() => {}); // closed meanwhile: there is nothing left to hand out
      },
    };
  }

  /** Says whether it was handed to the connection. Throws nothing: a closed connection sends nothing. */
  publish(subject: string, data: Uint8Array, headers?: Encodable): boolean {
    try {
      this.connection.publish(subject, data, headers ? { headers: headers as unknown as MsgHdrs } : {});
      return true;
    } catch (error) {
      this.#seldom.say("publish", (held) =>
        this.#logger.warn(`a message to ${subject} was not sent`, { error, alsoNotSent: held }),
      );
      return false;
    }
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#retry?.();
    (this.#statuses as { stop?: () => void }).stop?.();
  }

  #subscribe(kept: Kept): void {
    if (this.#stopped || this.connection.isClosed() || this.connection.isDraining()) return;
    const { subject, queue, onMessage } = kept;
    kept.subscription = this.connection.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: (error, message) => {
        if (error === null) onMessage(message);
        else this.#refused(kept, error);
      },
    });
  }

  #refused(kept: Kept, error: Error): void {
    kept.subscription = undefined;
    this.#seldom.say("subscription", (held) =>
      this.#logger.error(
        `the server does not let this node listen to ${kept.subject}: allow it (docs/guides/accounts.md); asked again every ${retryMs / 1_000} s`,
        { error, alsoRefused: held },
      ),
    );
    this.#retry ??= this.#clock.after(retryMs, () => this.#subscribeRefused(), { background: true });
  }

  #subscribeRefused(): void {
    this.#retry?.();
    this.#retry = undefined;
    for (const kept of this.#kept) if (kept.subscription === undefined) this.#subscribe(kept);
  }

  async #follow(): Promise<void> {
    for await (const status of this.#statuses) {
      if (this.#stopped) return;
      this.#told(status);
    }
  }

  #told(status: Status): void {
    switch (status.type) {
      case "disconnect":
        // Told of each attempt that the server refuses, too.
        if (!this.#isDown) this.#logger.warn(`the connection to NATS at ${status.server} is lost; trying again`);
        this.#isDown = true;
        return;
      case "reconnect":
        this.#isDown = false;
        this.#logger.info(`connected to NATS again, at ${status.server}`);
        return this.#subscribeRefused();
      case "close":
        this.#isDown = true;
        return this.#logger.error("the connection to NATS is closed for good: start this process again");
      case "ldm":
        return this.#logger.info(`the server ${status.server} is going down; the connection will move to another`);
      case "staleConnection":
        return this.#logger.warn("the server has answered no ping; connecting again");
      case "slowConsumer":
        return this.#logger.warn(
          `messages on ${status.sub.getSubject()} come faster than they are taken: ${status.pending} wait`,
        );
      case "error":
        return this.#failed(status.error);
      default:
        return;
    }
  }

  #failed(error: Error): void {
    const { operation, subject } = error as { operation?: string; subject?: string };
    if (error.name === "PermissionViolationError" && operation === "publish" && subject !== undefined) {
      this.#forbiddenListener(subject);
      this.#seldom.say(`publish ${subject}`, (held) =>
        this.#logger.error(`the server does not let this connection publish on ${subject} (docs/guides/accounts.md)`, {
          error,
          alsoRefused: held,
        }),
      );
    } else if (error.name === "AuthorizationError" || error.name === "UserAuthenticationExpiredError") {
      this.#seldom.say("credentials", (held) =>
        this.#logger.error(
          `the server does not accept the credentials of this process (${error.message}): set them right, here or there; trying again`,
          { alsoRefused: held },
        ),
      );
    } else if (error.name !== "PermissionViolationError") {
      this.#logger.warn("the server reported an error", { error });
    }
  }
}

/** How often a subscription that was refused is asked for again; after a reconnect at once. */
const retryMs = 30_000;
