/**
 * Requests over a NATS connection, with the routing of replies done here: one inbox subscription, one wheel of
 * deadlines, headers encoded once. The library's own way makes a promise, a timer and two stack traces for each, which
 * costs three times the processor time of the server (docs/decisions).
 */
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import type { Cancel, Clock } from "../../ports/clock.ts";

export type Reply =
  | { readonly kind: "reply"; readonly message: Msg }
  /** Nobody listens on the subject: surely nothing was done. */
  | { readonly kind: "noResponders" }
  /** It may have been done, or be done yet: the deadline passed, or the connection was lost after it was sent. */
  | { readonly kind: "silence"; readonly cause: "deadline" | "disconnected" }
  /** It never left: the connection is closed, or the message is above what the server takes. */
  | { readonly kind: "notSent"; readonly error: Error };

export type OnReply = (reply: Reply) => void;

type Pending = { readonly onReply: OnReply; readonly slot: number };

const slotMs = 50;
/** Each distance between two attempts is as much longer than the one before, up to a bound. */
const againGrowth = 1.5;
const longestAgainMs = 5_000;

export class Requests {
  readonly connection: NatsConnection;
  readonly clock: Clock;
  readonly #inbox: string;
  readonly #pending = new Map<string, Pending>();
  /** Ids of requests by the slot of time in which their deadline lies. Answered ones are skipped when it passes. */
  readonly #wheel = new Map<number, string[]>();
  #turning: Cancel | undefined;
  #counter = 0;
  #stopped = false;
  readonly #unsubscribe: () => void;

  constructor(connection: NatsConnection, clock: Clock, inbox: string) {
    this.connection = connection;
    this.clock = clock;
    this.#inbox = `${inbox}.`;
    const subscription = connection.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#arrived(message);
      },
    });
    this.#unsubscribe = () => {
      if (!connection.isClosed()) subscription.unsubscribe();
    };
    void this.#followConnection();
  }

  /** The subject on which all answers arrive. */
  get answers(): string {
    return `${this.#inbox}*`;
  }

  /** How many wait for an answer. */
  get size(): number {
    return this.#pending.size;
  }

  /** Calls `onReply` once; never before this returns. A reply after the deadline is dropped. */
  send(
    subject: string,
    data: Uint8Array,
    headers: EncodedHeaders | undefined,
    timeoutMs: number,
    onReply: OnReply,
  ): void {
    const id = (++this.#counter).toString(36);
    const options = { reply: this.#inbox + id, ...(headers && { headers: headers as unknown as MsgHdrs }) };
    try {
      if (this.#stopped) throw new Error("the connection's requests have been stopped");
      this.connection.publish(subject, data, options);
    } catch (error) {
      void Promise.resolve().then(() => onReply({ kind: "notSent", error: error as Error }));
      return;
    }
    // One slot more than the time takes, so that no deadline passes early.
    const slot = Math.floor((this.clock.monotonic() + timeoutMs) / slotMs) + 1;
    this.#pending.set(id, { onReply, slot });
    const ids = this.#wheel.get(slot);
    if (ids === undefined) this.#wheel.set(slot, [id]);
    else ids.push(id);
    this.#turning ??= this.clock.after(slotMs, () => this.#turn());
  }

  /** Publishes without a reply. Answers whether it was handed to the connection. */
  post(subject: string, data: Uint8Array, headers: EncodedHeaders): boolean {
    try {
      if (this.#stopped) return false;
      this.connection.publish(subject, data, { headers: headers as unknown as MsgHdrs });
      return true;
    } catch {
      return false;
    }
  }

  ask(subject: string, data: Uint8Array, headers: EncodedHeaders | undefined, timeoutMs: number): Promise<Reply> {
    return new Promise((resolve) => this.send(subject, data, headers, timeoutMs, resolve));
  }

  /**
   * For what may be done more than once: asks again after `againMs`, and then at growing distances. The first answer to
   * any attempt is the answer, so that asking again loses none that takes its time.
   */
  askAgain(subject: string, data: Uint8Array, timeoutMs: number, againMs: number): Promise<Reply> {
    return new Promise((resolve) => {
      const untilMs = this.clock.monotonic() + timeoutMs;
      let waitMs = againMs;
      let cancel: Cancel = () => {};
      const heard: OnReply = (reply) => {
        cancel();
        resolve(reply);
      };
      const attempt = () => {
        const leftMs = untilMs - this.clock.monotonic();
        this.send(subject, data, undefined, leftMs, heard);
        if (waitMs >= leftMs) return;
        cancel = this.clock.after(waitMs, attempt);
        waitMs = Math.min(waitMs * againGrowth, longestAgainMs);
      };
      attempt();
    });
  }

  /** Whoever waits is told `silence`. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#unsubscribe();
    this.#turning?.();
    this.#silenceAll();
  }

  #arrived(message: Msg): void {
    const id = message.subject.slice(this.#inbox.length);
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    if (message.data.length === 0 && message.headers?.code === 503) pending.onReply({ kind: "noResponders" });
    else pending.onReply({ kind: "reply", message });
  }

  #turn(): void {
    this.#turning = undefined;
    const now = Math.floor(this.clock.monotonic() / slotMs);
    for (const [slot, ids] of this.#wheel) {
      if (slot > now) continue;
      this.#wheel.delete(slot);
      for (const id of ids) {
        const pending = this.#pending.get(id);
        if (pending === undefined) continue;
        this.#pending.delete(id);
        pending.onReply({ kind: "silence", cause: "deadline" });
      }
    }
    if (this.#wheel.size > 0) this.#turning ??= this.clock.after(slotMs, () => this.#turn());
  }

  /** A reply to what was sent before the connection broke may never come: whoever waits learns so at once. */
  async #followConnection(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === "disconnect" || status.type === "close") this.#silenceAll();
      if (this.#stopped) return;
    }
    this.#silenceAll();
  }

  #silenceAll(): void {
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    this.#wheel.clear();
    for (const { onReply } of waiting) onReply({ kind: "silence", cause: "disconnected" });
  }
}

/** Headers as bytes, made without the library's map of lists. Names and values must hold no line breaks. */
export class EncodedHeaders {
  readonly #bytes: Uint8Array;

  constructor(fields: readonly (readonly [name: string, value: string])[]) {
    let text = "NATS/1.0\r\n";
    for (const [name, value] of fields) text += `${name}: ${value}\r\n`;
    this.#bytes = encoder.encode(`${text}\r\n`);
  }

  /** What the library asks of its own headers when it publishes. */
  encode(): Uint8Array {
    return this.#bytes;
  }
}

const encoder = new TextEncoder();
