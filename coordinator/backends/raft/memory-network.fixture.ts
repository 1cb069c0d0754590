/** Members in one process: frames arrive after a while, unless somebody is cut off. */
import type { Clock } from "../../../runtime/ports/clock.ts";
import type { MemberId, Peers } from "../../ports/peers.ts";

export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #handlers = new Map<MemberId, (from: MemberId, frame: Uint8Array) => void>();
  readonly #isolated = new Set<MemberId>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isolate(member: MemberId): void {
    this.#isolated.add(member);
  }

  heal(): void {
    this.#isolated.clear();
  }

  peersOf(self: MemberId): Peers {
    return {
      self,
      send: (to, frame) => {
        if (this.#isolated.has(self) || this.#isolated.has(to)) return;
        this.#clock.after(1, () => {
          if (!this.#isolated.has(self) && !this.#isolated.has(to)) this.#handlers.get(to)?.(self, frame);
        });
      },
      receive: (handler) => {
        this.#handlers.set(self, handler);
        return () => this.#handlers.delete(self);
      },
    };
  }
}
