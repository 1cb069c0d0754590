/**
 * The sender's side of messages between actors, for all actors of this host: one request in flight per sender and
 * receiver carries all that is outstanding; what is committed as removed is reported to the receiver together with the
 * lowest number still in flight to it, so that it can forget. Nothing here is durable: the outboxes are.
 */
import type { Address } from "../address.ts";
import { type RequestNumber, requestNumber, type Sender, type Settlement } from "../inbox.ts";
import { actorKey } from "../keys.ts";
import type { SendItem } from "../outbox.ts";
import type { Bus } from "../ports/bus.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import { compareTokens, type Token } from "../ports/store.ts";
import type { HostSettings } from "./settings.ts";
import { encodeMessage, encodeSettled, type MessageAnswer, readMessageAnswer } from "./wire.ts";

export type MessengerEnv = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: HostSettings;
  readonly partitionOf: (key: string) => number;
  readonly token: (partition: number) => Token | undefined;
};

export type Outgoing = {
  /** Traceparent of the commit that sent it. */
  readonly trace: string | undefined;
  readonly sender: Sender;
  readonly item: SendItem;
  readonly eventText: string;
  /** Tells the sender what the receiver applied; resolves when the removal is committed, or never. */
  readonly delivered: (to: string, answer: Extract<MessageAnswer, { kind: "message" }>) => void;
  /** The receiver has heard from an owner with this higher token: the sender is not ours to run any more (R3). */
  readonly outranked: (by: Token) => void;
};

/** All requests of one partition's senders to one receiver. */
type Channel = {
  readonly partition: number;
  readonly receiver: string;
  readonly inFlight: Set<number>;
  readonly settled: Map<string, { born: string; upTo: number }>;
  flush: Cancel | undefined;
};

type Pair = {
  readonly outstanding: Map<number, Outgoing>;
  /** Acknowledged by the receiver; never sent again, though their removal may not be committed yet. */
  readonly acked: Set<number>;
  busy: boolean;
  retryMs: number;
  timer: Cancel | undefined;
};

export class Messenger {
  readonly #env: MessengerEnv;
  readonly #pairs = new Map<string, Pair>();
  readonly #channels = new Map<string, Channel>();
  /** The present life of each receiver, as answers have told it; a request without it, or for another, is sent back. */
  readonly #lives = new Map<string, string>();
  #counter = 0;
  #stopped = false;

  constructor(env: MessengerEnv) {
    this.#env = env;
  }

  /** Takes a committed message; one that it has already is left alone. */
  send(outgoing: Outgoing): void {
    if (this.#stopped) return;
    const { sender, item } = outgoing;
    const receiver = actorKey(item.to.type, item.to.id);
    const name = `${sender.key} ${receiver}`;
    let pair = this.#pairs.get(name);
    if (pair === undefined) {
      pair = {
        outstanding: new Map(),
        acked: new Set(),
        busy: false,
        retryMs: this.#env.settings.messageRetryFirstMs,
        timer: undefined,
      };
      this.#pairs.set(name, pair);
    }
    if (pair.outstanding.has(item.n) || pair.acked.has(item.n)) return;
    pair.outstanding.set(item.n, outgoing);
    if (!pair.busy && pair.timer === undefined) void this.#request(name, pair, receiver);
  }

  /** The removal of everything up to `upTo` is committed: the receiver may forget it. */
  removed(sender: Sender, to: Address, upTo: number): void {
    const receiver = actorKey(to.type, to.id);
    const name = `${sender.key} ${receiver}`;
    const pair = this.#pairs.get(name);
    for (const n of pair?.acked ?? []) if (n <= upTo) pair?.acked.delete(n);
    if (pair !== undefined && pair.outstanding.size === 0 && pair.acked.size === 0 && !pair.busy)
      this.#pairs.delete(name);
    const channel = this.#channel(sender.partition, receiver);
    channel.settled.set(sender.key, { born: sender.born, upTo });
    channel.flush ??= this.#env.clock.after(this.#env.settings.settlementMs, () => this.#report(channel), {
      background: true,
    });
  }

  /** What a receiver may rely on for these senders, whose owner has just claimed them. */
  settlement(partition: number, receiver: string, senders: Settlement["senders"]): Settlement | undefined {
    const floor = this.#floor(partition, this.#channels.get(`${partition} ${receiver}`));
    return floor && { partition, floor, senders };
  }

  /** The actor is not run here any more: its messages are another owner's. */
  forget(senderKey: string): void {
    for (const [name, pair] of this.#pairs) {
      if (!name.startsWith(`${senderKey} `)) continue;
      pair.timer?.();
      pair.outstanding.clear();
      this.#pairs.delete(name);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const pair of this.#pairs.values()) pair.timer?.();
    for (const channel of this.#channels.values()) channel.flush?.();
    this.#pairs.clear();
    this.#channels.clear();
  }

  async #request(name: string, pair: Pair, receiver: string): Promise<void> {
    pair.busy = true;
    const batch = fitting([...pair.outstanding.values()].sort((a, b) => a.item.n - b.item.n));
    const first = batch[0];
    const token = first && this.#env.token(first.sender.partition);
    if (first === undefined || token === undefined) {
      pair.busy = false;
      return;
    }
    const { sender } = first;
    const channel = this.#channel(sender.partition, receiver);
    const counter = ++this.#counter;
    channel.inFlight.add(counter);
    const items = batch.map(({ item, eventText }) => ({ n: item.n, eventText }));
    const settlement = this.#take(channel);
    const life = this.#lives.get(receiver);
    const body = encodeMessage(receiver, sender, requestNumber(token, counter), items, life, settlement);
    const reply = await this.#env.bus.request(
      {
        partition: this.#env.partitionOf(receiver),
        body,
        channel: "node",
        ...(first.trace !== undefined && { trace: first.trace }),
      },
      this.#env.settings.messageTimeoutMs,
    );
    channel.inFlight.delete(counter);
    pair.busy = false;
    const answer = reply.kind === "reply" ? readMessageAnswer(reply.body) : undefined;
    if (answer === undefined || answer.kind === "later") this.#restore(channel, settlement);
    this.#dropIdle(channel);
    if (this.#stopped || this.#pairs.get(name) !== pair) return;
    if (answer?.kind === "message") {
      pair.retryMs = this.#env.settings.messageRetryFirstMs;
      for (const n of [...pair.outstanding.keys()]) {
        if (n > answer.upTo) continue;
        pair.outstanding.delete(n);
        pair.acked.add(n);
      }
      for (const { n } of answer.dead) {
        pair.outstanding.delete(n);
        pair.acked.add(n);
      }
      first.delivered(receiver, answer);
      if (pair.outstanding.size > 0) void this.#request(name, pair, receiver);
      return;
    }
    if (answer?.kind === "life" && answer.life !== life) {
      this.#learn(receiver, answer.life);
      void this.#request(name, pair, receiver);
      return;
    }
    if (answer?.kind === "renumber") {
      const by: Token = [answer.floor[0], answer.floor[1]];
      if (compareTokens(by, token) > 0) return first.outranked(by);
      void this.#request(name, pair, receiver);
      return;
    }
    const waitMs = pair.retryMs * (0.75 + this.#env.random.next() / 2);
    pair.retryMs = Math.min(pair.retryMs * 2, this.#env.settings.messageRetryMaxMs);
    pair.timer = this.#env.clock.after(waitMs, () => {
      pair.timer = undefined;
      void this.#request(name, pair, receiver);
    });
  }

  #learn(receiver: string, life: string): void {
    this.#lives.delete(receiver);
    if (this.#lives.size >= knownLives) this.#lives.delete(this.#lives.keys().next().value as string);
    this.#lives.set(receiver, life);
  }

  // ---- settlements ----

  #channel(partition: number, receiver: string): Channel {
    const name = `${partition} ${receiver}`;
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { partition, receiver, inFlight: new Set(), settled: new Map(), flush: undefined };
      this.#channels.set(name, channel);
    }
    return channel;
  }

  /** The lowest number that is, or will next be, in flight: nothing below it needs an answer any more. */
  #floor(partition: number, channel: Channel | undefined): RequestNumber | undefined {
    const token = this.#env.token(partition);
    if (token === undefined) return undefined;
    let lowest = this.#counter + 1;
    for (const counter of channel?.inFlight ?? []) if (counter < lowest) lowest = counter;
    return requestNumber(token, lowest);
  }

  #take(channel: Channel): Settlement | undefined {
    if (channel.settled.size === 0) return undefined;
    const floor = this.#floor(channel.partition, channel);
    if (floor === undefined) return undefined;
    const senders = [...channel.settled].slice(0, maxSettled).map(([key, { born, upTo }]) => ({ key, born, upTo }));
    for (const { key } of senders) channel.settled.delete(key);
    return { partition: channel.partition, floor, senders };
  }

  #restore(channel: Channel, settlement: Settlement | undefined): void {
    for (const { key, born, upTo } of settlement?.senders ?? []) {
      if (!channel.settled.has(key)) channel.settled.set(key, { born, upTo });
    }
  }

  #report(channel: Channel): void {
    channel.flush = undefined;
    const settlement = this.#take(channel);
    if (settlement === undefined || this.#stopped) {
      this.#dropIdle(channel);
      return;
    }
    void this.#env.bus
      .request(
        {
          partition: this.#env.partitionOf(channel.receiver),
          body: encodeSettled(channel.receiver, settlement),
          channel: "node",
        },
        this.#env.settings.messageTimeoutMs,
      )
      .then((reply) => {
        if (this.#stopped) return;
        // A report that is lost for good is asked for by the receiver.
        if (reply.kind === "nobody") this.#restore(channel, settlement);
        if (channel.settled.size === 0) this.#dropIdle(channel);
        else
          channel.flush ??= this.#env.clock.after(this.#env.settings.messageRetryMaxMs, () => this.#report(channel), {
            background: true,
          });
      });
  }

  #dropIdle(channel: Channel): void {
    const name = `${channel.partition} ${channel.receiver}`;
    const idle = channel.inFlight.size === 0 && channel.settled.size === 0 && channel.flush === undefined;
    if (idle && this.#channels.get(name) === channel) this.#channels.delete(name);
  }
}

/** The first ones that fit into one request; the very first always. */
function fitting(ordered: readonly Outgoing[]): Outgoing[] {
  let characters = 0;
  const over = ordered.findIndex(({ eventText }, index) => {
    characters += eventText.length;
    return index >= maxBatch || (index > 0 && characters > maxBatchCharacters);
  });
  return ordered.slice(0, over < 0 ? ordered.length : over);
}

const knownLives = 10_000;
const maxBatch = 100;
/** A character takes up to three bytes, a bus about a million of them. */
const maxBatchCharacters = 200_000;
const maxSettled = 500;
