/**
 * The holder's side of a session, the same for every back end: how long its process may believe in it, when it is renewed,
 * and that it ends once and for good. What a renewal is, the back end says; nothing here knows whether it arrived.
 *
 * H1 validity counts from before the renewal was sent (C4). H2 it is looked at, not told: a process that was stopped sees
 * that its time is over before any timer has fired. H3 a session that is lost or closed never becomes valid again (C9).
 */
import type { Cancel, Clock } from "../../runtime/ports/clock.ts";
import { renewEveryMs, validUntilMs } from "./validity.ts";

/**
 * `sentMs`: by the monotonic clock, before the attempt that arrived was sent, or an earlier one. Over: the back end has
 * ended it, or did not answer in time.
 */
export type Renewed =
  | { readonly kind: "renewed"; readonly sentMs: number }
  | { readonly kind: "over"; readonly reason: string };

/** Why it is over when nobody answered. */
export const unanswered = "it could not be renewed in time";

export type SessionLifeOptions = {
  readonly clock: Clock;
  readonly ttlMs: number;
  /** By the monotonic clock, before the request that opened it was sent. */
  readonly sentMs: number;
  /** Asks the back end, until then at most. Never rejects. */
  readonly renewOnce: (untilMs: number) => Promise<Renewed>;
};

export class SessionLife {
  readonly #options: SessionLifeOptions;
  #state: "open" | "lost" | "closed" = "open";
  #validUntilMs = 0;
  #renewing: Promise<void> | undefined;
  #timer: Cancel | undefined;
  #lapse: Cancel | undefined;
  readonly #listeners = new Set<(reason: string) => void>();

  constructor(options: SessionLifeOptions) {
    this.#options = options;
    this.#goOn(options.sentMs);
  }

  get isValid(): boolean {
    return this.#state === "open" && this.#options.clock.monotonic() < this.#validUntilMs;
  }

  get validUntilMs(): number {
    return this.#validUntilMs;
  }

  onLost(listener: (reason: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Now, by a renewal that is sent after this call, so that it tells what was changed before. */
  async renew(): Promise<void> {
    await this.#renewing;
    await this.#renew();
  }

  lose(reason: string): void {
    if (!this.#end("lost")) return;
    for (const listener of [...this.#listeners]) listener(reason);
  }

  /** Whether it was open: then the back end is to be told. */
  close(): boolean {
    return this.#end("closed");
  }

  /** Resolves when no renewal is under way. */
  async settled(): Promise<void> {
    await this.#renewing;
  }

  #end(as: "lost" | "closed"): boolean {
    if (this.#state !== "open") return false;
    this.#state = as;
    this.#stopTimers();
    return true;
  }

  #renew(): Promise<void> {
    if (this.#state !== "open") return Promise.resolve();
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewOnce(): Promise<void> {
    const renewed = await this.#options.renewOnce(this.#validUntilMs);
    if (this.#state !== "open") return;
    if (renewed.kind === "renewed") this.#goOn(renewed.sentMs);
    else this.lose(renewed.reason);
  }

  /** One whose outcome was long unknown leaves little of its time: then the next is made at once. */
  #goOn(sentMs: number): void {
    const { clock, ttlMs } = this.#options;
    const now = clock.monotonic();
    this.#stopTimers();
    this.#validUntilMs = validUntilMs(sentMs, ttlMs);
    const renewInMs = Math.max(0, sentMs + renewEveryMs(ttlMs) - now);
    this.#timer = clock.after(renewInMs, () => void this.#renew(), { background: true });
    this.#lapse = clock.after(
      Math.max(0, this.#validUntilMs - now),
      () => this.lose("its time to live has passed without a renewal"),
      { background: true },
    );
  }

  #stopTimers(): void {
    this.#timer?.();
    this.#lapse?.();
  }
}
