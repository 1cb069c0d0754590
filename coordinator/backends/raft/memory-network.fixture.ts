/** Members in one process: frames arrive after a while, unless somebody is cut off or the dice say otherwise. */
import type { Clock } from "../../../runtime/ports/clock.ts";
import type { MemberId, Peers } from "../../ports/peers.ts";

type Handler = (from: MemberId, frame: Uint8Array) => void;

export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #roll: () => number;
  readonly #handlers = new Map<MemberId, Handler>();
  readonly #cut = new Set<string>();
  /** Shares of frames. */
  dropped = 0;
  repeated = 0;
  longestDelayMs = 1;

  /** `roll` gives numbers in [0, 1). */
  constructor(clock: Clock, roll: () => number = () => 0.5) {
    this.#clock = clock;
    this.#roll = roll;
  }

  isolate(member: MemberId, others: readonly MemberId[] = [1, 2, 3, 4, 5]): void {
    for (const other of others) {
      this.cut(member, other);
      this.cut(other, member);
    }
  }

  /** One way only. */
  cut(from: MemberId, to: MemberId): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  peersOf(self: MemberId): Peers {
    return {
      self,
      send: (to, frame) => {
        if (this.#roll() < this.dropped) return;
        this.#deliver(self, to, frame);
        if (this.#roll() < this.repeated) this.#deliver(self, to, frame);
      },
      receive: (handler) => {
        this.#handlers.set(self, handler);
        return () => {
          if (this.#handlers.get(self) === handler) this.#handlers.delete(self);
        };
      },
    };
  }

  #deliver(from: MemberId, to: MemberId, frame: Uint8Array): void {
    if (this.#cut.has(`${from}>${to}`)) return;
    this.#clock.after(1 + this.#roll() * (this.longestDelayMs - 1), () => {
      if (!this.#cut.has(`${from}>${to}`)) this.#handlers.get(to)?.(from, frame);
    });
  }
}
