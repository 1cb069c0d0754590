/** When an actor in memory must be looked at again without being asked: timers, retention, effects, old marks. */
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Actor } from "../step.ts";
import type { HostSettings } from "./settings.ts";

/** Of the host. */
export type AlarmEnv = { readonly clock: Clock; readonly settings: Pick<HostSettings, "askAfterMs"> };

export class Alarm {
  readonly #env: AlarmEnv;
  readonly #ring: () => void;
  #pending: Cancel | undefined;
  /** When the owners of old marks were asked last, by the wall clock. */
  #askedMs = 0;

  constructor(env: AlarmEnv, ring: () => void) {
    this.#env = env;
    this.#ring = ring;
  }

  /** Rings once, at the earliest of what the actor waits for; what was set before is forgotten. */
  set(actor: Actor | undefined, effectsDueMs: number | undefined): void {
    this.clear();
    if (actor?.head === undefined) return;
    const now = this.#env.clock.now();
    let next = actor.head.expiresMs;
    const consider = (ms: number | undefined) => {
      if (ms !== undefined && (next === undefined || ms < next)) next = ms;
    };
    if (actor.head.status === "active") consider(actor.tree?.nextDueMs);
    consider(effectsDueMs);
    const { oldestMs } = actor.inbox;
    // Not at once again after a question that was not answered.
    if (oldestMs !== undefined) consider(Math.max(oldestMs, this.#askedMs) + this.#env.settings.askAfterMs);
    if (next === undefined) return;
    this.#pending = this.#env.clock.after(Math.max(0, next - now), () => {
      this.#pending = undefined;
      this.#ring();
    });
  }

  clear(): void {
    this.#pending?.();
    this.#pending = undefined;
  }

  /** Senders of whom the actor keeps marks for so long that they are to be asked; they count as asked. */
  toAsk(actor: Actor): { key: string; born: string; upTo: number }[] {
    const now = this.#env.clock.now();
    const old = actor.inbox.olderThan(now - this.#env.settings.askAfterMs);
    if (old.length > 0) this.#askedMs = now;
    return old;
  }
}
