/** The two who are asked the same: a real server over a connection, and the model, without a network in between. */
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { EncodedHeaders } from "../../runtime/adapters/nats/requests.ts";
import { type Client, ServerModel, type ServerSettings } from "../models/jetstream/server.ts";
import { type Fields, textOf, type WireMessage } from "../models/jetstream/wire.ts";
import { DiceTable } from "../world/dice.ts";
import { Loop } from "../world/loop.ts";
import { Trace } from "../world/trace.ts";

/** What is asked at once: messages in one turn, of which the last, or none, is answered. */
export type Question = {
  readonly messages: readonly Omit<WireMessage, "reply" | "storedUnder">[];
  /** `list`: until a message says that it is the last. A number: so many, on a subject of its own. */
  readonly answers: "one" | "list" | { readonly deliveries: number; readonly on: string };
};

export type Party = {
  ask(question: Question): Promise<readonly WireMessage[]>;
  restart(): Promise<void>;
  /** Resolves when all replicas of a stream hold the same: any of them may answer a direct read or feed a watch. */
  agree(stream: string): Promise<void>;
  /** How often a stream got a leader; resolves when it has one. */
  elections(stream: string): Promise<number>;
  /** Lets time pass: real time there, virtual time here. */
  pass(ms: number): Promise<void>;
};

const answerMs = 20_000;

/** How long a delivery too many is waited for. */
const moreMs = 3;

type Waiting = { readonly collected: WireMessage[]; readonly isWhole: () => boolean; readonly done: () => void };

function waitingFor({ answers }: Question, done: () => void): Waiting {
  const collected: WireMessage[] = [];
  const isWhole = () => {
    const status = collected.at(-1)?.status?.code;
    if (answers === "one") return collected.length > 0;
    if (answers === "list") return status !== undefined;
    return collected.filter((message) => message.status === undefined).length >= answers.deliveries;
  };
  return { collected, isWhole, done };
}

export type Deployment = {
  readonly restart: () => Promise<void>;
  /** What each server has of a stream, as comparable text. */
  readonly copies: (stream: string) => Promise<readonly string[]>;
};

export class RealParty implements Party {
  readonly #connection: NatsConnection;
  readonly #deployment: Deployment;
  readonly #elections = new Map<string, number>();
  readonly #inbox: string;
  readonly #waiting = new Map<string, Waiting>();
  #asked = 0;

  constructor(connection: NatsConnection, inbox: string, deployment: Deployment) {
    this.#connection = connection;
    this.#deployment = deployment;
    this.#inbox = inbox;
    connection.subscribe("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.*", {
      callback: (_, { subject }) => {
        const stream = subject.split(".").at(-1) as string;
        this.#elections.set(stream, (this.#elections.get(stream) ?? 0) + 1);
      },
    });
    connection.subscribe(`${inbox}.>`, {
      callback: (_, message) => {
        const waiting = this.#waiting.get(message.subject);
        waiting?.collected.push(asWire(message));
        if (waiting?.isWhole() === true) waiting.done();
      },
    });
  }

  async ask(question: Question): Promise<readonly WireMessage[]> {
    const subject = `${this.#inbox}.${++this.#asked}`;
    if (typeof question.answers === "object") return this.#watch(question, question.answers.on);
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(subject);
        resolve(waiting.collected);
      };
      const waiting = waitingFor(question, done);
      const timer = setTimeout(done, answerMs);
      this.#waiting.set(subject, waiting);
      this.#send(question, subject);
    });
  }

  /** Deliveries come on a subject of their own, beside the answer. */
  async #watch(question: Question, on: string): Promise<readonly WireMessage[]> {
    let waiting: Waiting | undefined;
    const subscription = this.#connection.subscribe(on, {
      callback: (_, message) => {
        if (message.headers?.code === 100) return void (message.reply !== "" && message.respond());
        waiting?.collected.push(asWire(message));
        if (waiting?.isWhole() === true) waiting.done();
      },
    });
    await new Promise<void>((resolve) => {
      waiting = waitingFor(question, resolve);
      this.#send(question, `${this.#inbox}.watch`);
      setTimeout(resolve, waiting.isWhole() ? moreMs : answerMs);
    });
    await new Promise((resolve) => setTimeout(resolve, moreMs));
    subscription.unsubscribe();
    return (waiting as Waiting | undefined)?.collected ?? [];
  }

  #send({ messages }: Question, reply: string): void {
    for (const [index, { subject, fields, data }] of messages.entries()) {
      const isLast = index === messages.length - 1;
      this.#connection.publish(subject, data, {
        ...(isLast && { reply }),
        ...(fields.length > 0 && { headers: new EncodedHeaders(fields) as unknown as MsgHdrs }),
      });
    }
  }

  restart(): Promise<void> {
    return this.#deployment.restart();
  }

  async agree(stream: string): Promise<void> {
    const deadline = performance.now() + answerMs;
    for (;;) {
      const copies = await this.#deployment.copies(stream);
      if (copies.every((copy) => copy === copies[0]) || performance.now() > deadline) return;
      await new Promise((resolve) => setTimeout(resolve, moreMs));
    }
  }

  async elections(stream: string): Promise<number> {
    const look = { messages: [{ subject: `$JS.API.STREAM.INFO.${stream}`, fields: [], data: new Uint8Array(0) }] };
    const deadline = performance.now() + answerMs;
    for (;;) {
      const [answer] = await this.ask({ ...look, answers: "one" });
      const info = answer === undefined ? {} : (JSON.parse(textOf(answer.data)) as { cluster?: { leader?: string } });
      if (info.cluster?.leader !== undefined || performance.now() > deadline) return this.#elections.get(stream) ?? 0;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  pass(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}

function asWire(message: Msg): WireMessage {
  const { headers } = message;
  const fields: Fields = (headers?.keys() ?? []).flatMap((name) =>
    (headers?.values(name) ?? []).map((value) => [name, value] as const),
  );
  const code = headers?.code ?? 0;
  return {
    subject: message.subject,
    fields,
    data: message.data,
    ...(code > 0 && { status: { code, text: headers?.description ?? "" } }),
    ...(message.reply !== undefined && message.reply !== "" && { reply: message.reply }),
  };
}

export class ModelParty implements Party {
  readonly server: ServerModel;
  readonly #loop: Loop;
  #waiting: Waiting | undefined;
  #client: Client;
  #asked = 0;

  constructor(settings: ServerSettings, seed: string) {
    const loop = new Loop(seed, new Trace(false), Number.MAX_SAFE_INTEGER);
    this.#loop = loop;
    this.server = new ServerModel(settings, {
      nowMs: () => Date.UTC(2026, 0, 1) + loop.nowMs,
      after: (delayMs, label, run, background) => loop.after(delayMs, label, run, { background }),
      dice: new DiceTable(seed),
      note: () => {},
    });
    this.#client = this.#newClient();
  }

  #newClient(): Client {
    return {
      deliver: (message) => {
        if (message.status?.code === 100) {
          const { reply } = message;
          if (reply !== undefined) this.server.receive({ subject: reply, fields: [], data: new Uint8Array(0) });
          return;
        }
        this.#waiting?.collected.push(
          message.storedUnder === undefined ? message : { ...message, subject: message.storedUnder },
        );
      },
      closed: () => {},
    };
  }

  async ask(question: Question): Promise<readonly WireMessage[]> {
    const { answers, messages } = question;
    const id = ++this.#asked;
    const waiting = waitingFor(question, () => {});
    const reply = `model.${id}`;
    this.#waiting = waiting;
    this.server.subscribe(this.#client, id, typeof answers === "object" ? answers.on : reply);
    for (const [index, message] of messages.entries())
      this.server.receive({ ...message, ...(index === messages.length - 1 && { reply }) });
    // A turn of time, for what a server does by and by; far below what any heartbeat or expiry takes.
    if (!waiting.isWhole() || answers !== "one") await this.#loop.run({ forMs: 5 });
    this.server.unsubscribe(this.#client, id);
    return waiting.collected;
  }

  async agree(): Promise<void> {}

  async elections(): Promise<number> {
    return 1;
  }

  async restart(): Promise<void> {
    this.server.restart(1);
    this.#client = this.#newClient();
    await this.#loop.run({ forMs: 10 });
  }

  async pass(ms: number): Promise<void> {
    await this.#loop.run({ forMs: ms });
  }
}
