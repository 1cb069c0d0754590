/**
 * A connection to the model as the library's `NatsConnection`, so far as the adapters use one: what is published takes
 * time, is lost, arrives late or twice; the connection breaks and comes back. Everything else is the server's.
 */

import type { Msg, MsgHdrs, NatsConnection, Status } from "@nats-io/transport-node";
import { refuseUnknown } from "../../../runtime/options.ts";
import type { RangeMs } from "../../world/dice.ts";
import { FaultPlan, type FaultRates } from "../../world/fault-plan.ts";
import type { Gate } from "../../world/gate.ts";
import type { Laws } from "../../world/laws.ts";
import type { Channel } from "../../world/loop.ts";
import type { Client, ServerModel } from "./server.ts";
import { bytesOf, type Fields, fieldOf, fieldsIn, noBytes, textOf, type WireMessage } from "./wire.ts";

/** What can happen to a request (a publish that waits for an answer). */
export type RequestFault =
  | "lose-request"
  /** It was done, and nobody hears of it. */
  | "lose-reply"
  /** It arrives after others that were sent later, and perhaps after its sender has given up. */
  | "late"
  /** A second copy arrives later: what a retry, or a network in between, makes of it. */
  | "duplicate"
  | "slow-reply";

/** What can happen to one delivery of a watch. `slow`: and to all that comes behind it on the same connection. */
export type DeliveryFault = "lose" | "slow";

export type ConnectionSettings = {
  /** One way. */
  readonly travelMs?: RangeMs;
  readonly lateMs?: RangeMs;
  /** How long a cut is not noticed. */
  readonly brokenAfterMs?: number;
};

const defaultSettings: Required<ConnectionSettings> = {
  travelMs: [0.1, 1],
  lateMs: [500, 30_000],
  brokenAfterMs: 4_000,
};

/** Where servers are on the map of `Links`. */
export const natsPlace = "nats";

const reconnectEveryMs = 250;

type Callback = (error: Error | null, message: Msg) => void;
type Publishing = { readonly reply?: string; readonly headers?: { encode(): Uint8Array } };

export class ConnectionFaults {
  readonly requests: FaultPlan<RequestFault>;
  readonly deliveries: FaultPlan<DeliveryFault>;

  constructor({ dice }: Laws) {
    this.requests = new FaultPlan("nats/request", dice);
    this.deliveries = new FaultPlan("nats/delivery", dice);
  }

  set(rates: { readonly requests?: FaultRates<RequestFault>; readonly deliveries?: FaultRates<DeliveryFault> }): void {
    this.requests.rates = rates.requests ?? {};
    this.deliveries.rates = rates.deliveries ?? {};
  }

  off(): void {
    this.requests.off();
    this.deliveries.off();
  }
}

export class ConnectionModel {
  readonly node: string;
  readonly #server: ServerModel;
  readonly #laws: Laws;
  readonly #faults: ConnectionFaults;
  readonly #gate: Gate | undefined;
  readonly #settings: Required<ConnectionSettings>;
  readonly #callbacks = new Map<number, { readonly pattern: string; readonly callback: Callback }>();
  readonly #statuses = new Set<StatusStream>();
  /** Replies that will never arrive, or late. */
  readonly #repliesLost = new Set<string>();
  readonly #repliesLate = new Set<string>();
  readonly #outgoing: Channel;
  readonly #incoming: Channel;
  /** Published while there was no connection: the library sends it when there is one again. */
  #held: (() => void)[] = [];
  #client: Client;
  #subscriptions = 0;
  #state: "connected" | "broken" | "closed" = "connected";
  #isDoubted = false;

  constructor(
    node: string,
    server: ServerModel,
    laws: Laws,
    faults: ConnectionFaults,
    settings: ConnectionSettings = {},
    gate?: Gate,
  ) {
    this.node = node;
    this.#server = server;
    this.#laws = laws;
    this.#faults = faults;
    this.#gate = gate;
    refuseUnknown("settings of ConnectionModel", settings, defaultSettings, RangeError);
    this.#settings = { ...defaultSettings, ...settings };
    this.#outgoing = laws.loop.channel(`nats ${node} sends`);
    this.#incoming = laws.loop.channel(`nats ${node} hears`);
    this.#client = this.#newClient();
    gate?.onCrash(() => this.#end());
  }

  /** As the adapters take it. What they do not use is not there. */
  get connection(): NatsConnection {
    const { settings, level } = this.#server;
    const used = {
      info: { version: settings.version, max_payload: settings.maxPayload, ...(level > 0 && { api_lvl: level }) },
      publish: (subject: string, data: Uint8Array | string | undefined, options?: Publishing) =>
        this.publish(subject, typeof data === "string" ? bytesOf(data) : (data ?? noBytes), options),
      subscribe: (pattern: string, options: { readonly callback: Callback }) => {
        const id = this.subscribe(pattern, options.callback);
        const unsubscribe = () => this.unsubscribe(id);
        return { unsubscribe, drain: async () => unsubscribe(), isClosed: () => !this.#callbacks.has(id) };
      },
      status: () => this.#status(),
      isClosed: () => this.#state === "closed",
      isDraining: () => false,
      getServer: () => "the model of NATS",
      addCloseListener: () => {},
      close: async () => this.close(),
    };
    return used as unknown as NatsConnection;
  }

  publish(subject: string, data: Uint8Array, options: Publishing = {}): void {
    if (this.#state === "closed") throw new Error("the connection is closed");
    const fields = options.headers === undefined ? [] : fieldsIn(textOf(options.headers.encode()));
    const message: WireMessage = {
      subject,
      fields,
      data,
      ...(options.reply !== undefined && { reply: options.reply }),
    };
    const size = data.length + (options.headers?.encode().length ?? 0);
    if (size > this.#server.settings.maxPayload) throw new Error(`'max_payload' is exceeded: ${size} bytes`);
    this.#out("nats.publish", subject, () => this.#send(message));
  }

  subscribe(pattern: string, callback: Callback): number {
    const id = ++this.#subscriptions;
    this.#callbacks.set(id, { pattern, callback });
    // Behind what was published before, ahead of what is published after.
    const client = this.#client;
    this.#out("nats.subscribe", pattern, () =>
      this.#travel(() => {
        if (this.#callbacks.has(id) && client === this.#client) this.#server.subscribe(client, id, pattern);
      }),
    );
    return id;
  }

  unsubscribe(id: number): void {
    this.#callbacks.delete(id);
    const client = this.#client;
    this.#travel(() => this.#server.unsubscribe(client, id));
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#end();
    this.#tell({ type: "close" } as Status);
    for (const status of this.#statuses) status.stop();
  }

  /** The connection breaks, as when a server or a router drops it; the library makes it anew. */
  break(): void {
    if (this.#state !== "connected") return;
    this.#laws.loop.note(`nats ${this.node} is disconnected`);
    this.#state = "broken";
    this.#server.disconnect(this.#client);
    this.#client = this.#newClient();
    this.#tell({ type: "disconnect" } as Status);
    this.#reconnectLater();
  }

  #end(): void {
    this.#state = "closed";
    this.#server.disconnect(this.#client);
    this.#callbacks.clear();
    this.#held = [];
  }

  #newClient(): Client {
    const client: Client = {
      deliver: (message, id) => this.#hear(client, message, id),
      closed: () =>
        this.#laws.loop.after(0, `nats ${this.node} hears the end`, () => client === this.#client && this.break()),
    };
    return client;
  }

  #reconnectLater(): void {
    this.#laws.loop.after(
      reconnectEveryMs,
      `nats ${this.node} reconnects`,
      () => {
        if (this.#state !== "broken") return;
        if (!this.#server.isUp || this.#isCut()) return this.#reconnectLater();
        this.#laws.loop.note(`nats ${this.node} is connected again`);
        this.#state = "connected";
        this.#isDoubted = false;
        const client = this.#client;
        for (const [id, { pattern }] of this.#callbacks) this.#server.subscribe(client, id, pattern);
        for (const send of this.#held.splice(0)) send();
        this.#tell({ type: "reconnect" } as Status);
      },
      { background: true },
    );
  }

  // ---- out ----

  #out(point: string, detail: string, run: () => void): void {
    if (this.#gate === undefined) run();
    else this.#gate.pass(point, detail, run);
  }

  #send(message: WireMessage): void {
    if (this.#state === "broken") {
      this.#held.push(() => this.#send(message));
      return;
    }
    const { reply, subject } = message;
    const fault = reply === undefined ? undefined : this.#faults.requests.draw({ node: this.node, subject });
    if (fault !== undefined) this.#laws.loop.note(`nats ${this.node} ${subject}: fault ${fault}`);
    if (reply !== undefined && fault === "lose-reply") this.#repliesLost.add(reply);
    if (reply !== undefined && fault === "slow-reply") this.#repliesLate.add(reply);
    const arrive = () => this.#server.receive(message);
    if (fault === "late" || fault === "duplicate") {
      const lateMs = this.#dice("late").ms(this.#settings.lateMs);
      this.#laws.loop.after(lateMs, `nats ${this.node} late ${subject}`, () => {
        if (!this.#isCut()) arrive();
      });
    }
    if (fault === "lose-request" || fault === "late") return;
    this.#travel(arrive);
  }

  #travel(arrive: () => void): void {
    const client = this.#client;
    this.#outgoing.send(this.#dice("travel").ms(this.#settings.travelMs), () => {
      if (this.#isCut()) return this.#doubt();
      if (client === this.#client && this.#state === "connected") arrive();
    });
  }

  // ---- in ----

  #hear(client: Client, message: WireMessage, id: number): void {
    const { subject } = message;
    if (this.#repliesLost.delete(subject)) return;
    const watched = message.storedUnder;
    const fault =
      watched === undefined ? undefined : this.#faults.deliveries.draw({ node: this.node, subject: watched });
    if (fault !== undefined) this.#laws.loop.note(`nats ${this.node} ${watched}: fault ${fault}`);
    if (fault === "lose") return;
    const isLate = this.#repliesLate.delete(subject) || fault === "slow";
    const lateMs = isLate ? this.#dice("late").ms(this.#settings.lateMs) : 0;
    const arrive = () => {
      if (this.#isCut()) return this.#doubt();
      if (client !== this.#client || this.#state !== "connected") return;
      this.#out("nats.message", subject, () => this.#callbacks.get(id)?.callback(null, this.#asMsg(message, id)));
    };
    const travelMs = this.#dice("travel").ms(this.#settings.travelMs);
    if (isLate && watched === undefined)
      this.#laws.loop.after(travelMs + lateMs, `nats ${this.node} late reply`, arrive);
    else this.#incoming.send(travelMs + lateMs, arrive);
  }

  #asMsg(message: WireMessage, sid: number): Msg {
    const { reply, data, fields, status } = message;
    const subject = message.storedUnder ?? message.subject;
    return {
      subject,
      sid,
      data,
      ...(reply !== undefined && { reply }),
      ...((fields.length > 0 || status !== undefined) && { headers: headersOf(fields, status) }),
      respond: (payload?: Uint8Array | string) => {
        if (reply === undefined) return false;
        this.publish(reply, typeof payload === "string" ? bytesOf(payload) : (payload ?? noBytes));
        return true;
      },
      json: <T>() => JSON.parse(textOf(data)) as T,
      string: () => textOf(data),
    };
  }

  // ---- the connection itself ----

  #isCut(): boolean {
    return this.#laws.links.isCut(this.node, natsPlace);
  }

  /** Something went into a cut: if it lasts, the client notices. */
  #doubt(): void {
    if (this.#isDoubted || this.#state !== "connected") return;
    this.#isDoubted = true;
    this.#laws.loop.after(
      this.#settings.brokenAfterMs,
      `nats ${this.node} doubts`,
      () => {
        this.#isDoubted = false;
        if (this.#isCut()) this.break();
      },
      { background: true },
    );
  }

  #status(): AsyncIterable<Status> {
    const stream = new StatusStream(() => this.#statuses.delete(stream));
    this.#statuses.add(stream);
    return stream;
  }

  #tell(status: Status): void {
    for (const stream of [...this.#statuses]) stream.push(status);
  }

  #dice(place: string) {
    return this.#laws.dice.at(`nats/${this.node}/${place}`);
  }
}

function headersOf(fields: Fields, status: WireMessage["status"]): MsgHdrs {
  const used = {
    code: status?.code ?? 0,
    description: status?.text ?? "",
    get: (name: string) => fieldOf(fields, name) ?? "",
    has: (name: string) => fieldOf(fields, name) !== undefined,
    keys: () => fields.map(([name]) => name),
    values: (name: string) => fields.filter(([found]) => found === name).map(([, value]) => value),
  };
  return used as unknown as MsgHdrs;
}

/** What `status()` gives: whoever waits is told of each change, until it stops. */
class StatusStream implements AsyncIterable<Status> {
  readonly #onStop: () => void;
  readonly #queue: Status[] = [];
  #wake: (() => void) | undefined;
  #isStopped = false;

  constructor(onStop: () => void) {
    this.#onStop = onStop;
  }

  push(status: Status): void {
    this.#queue.push(status);
    this.#wake?.();
  }

  stop(): void {
    this.#isStopped = true;
    this.#onStop();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Status> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#isStopped) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
