/** Emitted events: one subscription per topic and process, shared by all who listen here. At most once. */
import type { Msg } from "@nats-io/transport-node";
import type { Clock } from "../../ports/clock.ts";
import type { Logger } from "../../ports/logger.ts";
import { Seldom } from "../../seldom.ts";
import { BusNotPublished, BusTooManyTopics } from "./errors.ts";
import { bytesOf, emittedHeaders, idIn } from "./frames.ts";
import type { NatsBusLimits } from "./limits.ts";
import type { Link, Listening } from "./link.ts";
import { isTopic, type Subjects } from "./subjects.ts";

type Listener = (body: string, id: string) => void;
type Topic = { readonly listeners: Set<Listener>; readonly listening: Listening };

export type TopicsEnv = {
  readonly link: Link;
  readonly subjects: Subjects;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: NatsBusLimits;
};

export class Topics {
  readonly #env: TopicsEnv;
  readonly #topics = new Map<string, Topic>();
  readonly #seldom: Seldom;

  constructor(env: TopicsEnv) {
    this.#env = env;
    this.#seldom = new Seldom(env.clock);
  }

  /** How many subscriptions there are. */
  get size(): number {
    return this.#topics.size;
  }

  /** Rejects with BusNotPublished. Resolved means handed to the connection, not heard. */
  async publish(topic: string, body: string, id: string, trace: string | undefined): Promise<void> {
    const { link, subjects } = this.#env;
    if (!isTopic(topic)) throw new BusNotPublished(`${JSON.stringify(topic.slice(0, 80))} is no topic of a subject`);
    if (!link.isUp) throw new BusNotPublished(`not connected: nobody hears what ${topic} emits`);
    const data = bytesOf(body);
    const headers = emittedHeaders(id, trace);
    const bytes = data.length + headers.encode().length;
    if (bytes > link.maxPayloadBytes)
      throw new BusNotPublished(
        `an event emitted by ${topic} has ${bytes} bytes with its headers; the server takes ${link.maxPayloadBytes}: emit less, or where to read it`,
      );
    if (!link.publish(subjects.emitted(topic), data, headers))
      throw new BusNotPublished(`the connection is closed: nobody hears what ${topic} emits`);
  }

  subscribe(topic: string, listener: Listener): () => void {
    if (!isTopic(topic)) throw new BusNotPublished(`${JSON.stringify(topic.slice(0, 80))} is no topic of a subject`);
    const known = this.#topics.get(topic) ?? this.#open(topic);
    // Of its own, so that the same function given twice is heard twice, and each stops by itself.
    const own: Listener = (body, id) => listener(body, id);
    known.listeners.add(own);
    return () => {
      known.listeners.delete(own);
      if (known.listeners.size > 0 || this.#topics.get(topic) !== known) return;
      this.#topics.delete(topic);
      known.listening.stop();
    };
  }

  close(): void {
    for (const { listening } of this.#topics.values()) listening.stop();
    this.#topics.clear();
  }

  #open(topic: string): Topic {
    const { link, subjects, limits } = this.#env;
    if (this.#topics.size >= limits.topics)
      throw new BusTooManyTopics(
        `this process listens to ${this.#topics.size} topics, its limit: stop listening to some, or raise limits.topics`,
      );
    const listeners = new Set<Listener>();
    const listening = link.listen(subjects.emitted(topic), (message) => this.#heard(topic, listeners, message));
    const opened = { listeners, listening };
    this.#topics.set(topic, opened);
    return opened;
  }

  #heard(topic: string, listeners: ReadonlySet<Listener>, message: Msg): void {
    const { logger } = this.#env;
    const id = idIn(message);
    if (id === undefined) {
      this.#seldom.say("no id", (held) =>
        logger.warn("an emitted event without Nats-Msg-Id was left out: no node published it", {
          actor: topic,
          alsoLeftOut: held,
        }),
      );
      return;
    }
    const body = message.string();
    for (const listener of [...listeners]) {
      try {
        listener(body, id);
      } catch (error) {
        this.#seldom.say("threw", (held) =>
          logger.error("a listener for emitted events threw", { actor: topic, error, alsoThrew: held }),
        );
      }
    }
  }
}
