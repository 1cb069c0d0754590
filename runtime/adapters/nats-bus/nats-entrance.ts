/** Plain requests on `holdfast.<app>.send.<type>.<id>`: all nodes are one queue group, so each goes to one of them. */
import type { Msg } from "@nats-io/transport-node";
import type { Clock } from "../../ports/clock.ts";
import type { Logger } from "../../ports/logger.ts";
import type { PlainAnswer, PlainRequest, PlainRequests } from "../../ports/plain-requests.ts";
import { Seldom } from "../../seldom.ts";
import { EncodedHeaders } from "../nats/requests.ts";
import { bytesOf } from "./frames.ts";
import type { Link, Listening } from "./link.ts";
import { isInbox, type Subjects } from "./subjects.ts";

type Handler = (request: PlainRequest) => Promise<PlainAnswer>;

export class NatsEntrance implements PlainRequests {
  readonly #link: Link;
  readonly #subjects: Subjects;
  readonly #logger: Logger;
  readonly #seldom: Seldom;
  #listening: Listening | undefined;
  #running = 0;
  #onIdle: (() => void) | undefined;

  constructor(env: { link: Link; subjects: Subjects; clock: Clock; logger: Logger }) {
    this.#link = env.link;
    this.#subjects = env.subjects;
    this.#logger = env.logger;
    this.#seldom = new Seldom(env.clock);
  }

  /** Throws when it serves already. */
  serve(handler: Handler): () => void {
    if (this.#listening !== undefined) throw new Error("plain requests are served already: stop that handler first");
    const listening = this.#link.listen(
      this.#subjects.entrance,
      (message) => void this.#arrived(handler, message),
      queueGroup,
    );
    this.#listening = listening;
    return () => {
      if (this.#listening !== listening) return;
      this.#listening = undefined;
      void listening.drain();
    };
  }

  /** Takes nothing new, and resolves when all that was taken has been answered. */
  async drain(): Promise<void> {
    const listening = this.#listening;
    this.#listening = undefined;
    await listening?.drain();
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  async #arrived(handler: Handler, message: Msg): Promise<void> {
    const { subject, reply } = message;
    if (reply && !isInbox(reply)) {
      this.#seldom.say("reply", (held) =>
        this.#logger.warn(
          `a request on ${subject} wants its answer on ${reply.slice(0, 100)}, which is no inbox: it was not handled`,
          { alsoLeft: held },
        ),
      );
      return;
    }
    this.#running++;
    try {
      const { body, error } = await handler({
        target: subject.slice(this.#subjects.entrancePrefix.length),
        body: message.string(),
        replyTo: reply || undefined,
        header: (name) => headerIn(message, name),
      });
      if (reply) this.#link.publish(reply, bytesOf(body), error && serviceError(error.code, error.message));
    } catch (error) {
      this.#logger.error("a plain request was not answered", { error });
    } finally {
      this.#running--;
      if (this.#running === 0) this.#onIdle?.();
    }
  }
}

const queueGroup = "entrance";

function headerIn(message: Msg, name: string): string | undefined {
  for (const [key, values] of message.headers ?? []) if (key.toLowerCase() === name.toLowerCase()) return values[0];
  return undefined;
}

/** As services of the NATS clients report errors. Header values are one line of visible characters. */
function serviceError(code: string, message: string): EncodedHeaders {
  const line = message.slice(0, 500).replace(/[^\x20-\x7e]+/g, " ");
  return new EncodedHeaders([
    ["Nats-Service-Error", line],
    ["Nats-Service-Error-Code", code.replace(/[^\x21-\x7e]+/g, "")],
  ]);
}
