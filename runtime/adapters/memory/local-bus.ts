/** The bus of a single process: requests go straight to its own host, published events to its own listeners. */
import type { Bus, BusReply, BusRequest } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";

type Handler = (request: BusRequest) => Promise<string>;
type Listener = (body: string, id: string) => void;

export class LocalBus implements Bus {
  readonly #clock: Clock;
  #handler: Handler | undefined;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  request(request: BusRequest, timeoutMs: number): Promise<BusReply> {
    const handler = this.#handler;
    if (handler === undefined) return Promise.resolve({ kind: "nobody" });
    return new Promise((resolve) => {
      const cancel = this.#clock.after(timeoutMs, () => resolve({ kind: "timeout" }), { background: true });
      handler(request).then(
        (answer) => {
          cancel();
          resolve({ kind: "reply", body: answer });
        },
        () => {
          cancel();
          resolve({ kind: "timeout" });
        },
      );
    });
  }

  serve(handler: Handler): () => void {
    this.#handler = handler;
    return () => {
      if (this.#handler === handler) this.#handler = undefined;
    };
  }

  async publish(topic: string, body: string, id: string): Promise<void> {
    let thrown: { readonly error: unknown } | undefined;
    for (const listener of this.#listeners.get(topic) ?? []) {
      try {
        listener(body, id);
      } catch (error) {
        thrown ??= { error };
      }
    }
    // Whoever published logs it; the other listeners have heard the event.
    if (thrown !== undefined) throw thrown.error;
  }

  subscribe(topic: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(topic);
    };
  }
}
