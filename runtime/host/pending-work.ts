/**
 * Follows the index of pending work for all actors of this node: what listing and watching have shown of it, and the hour
 * at which an actor must be looked at that is not in memory. An entry is a hint: the actor's document tells what is due.
 */
import { pendingPrefix } from "../keys.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import type { ActorStore, StoredEntry } from "../ports/store.ts";
import { Seldom } from "../seldom.ts";
import { pause } from "./commit.ts";
import { Gate } from "./gate.ts";
import { type PendingEntry, type PendingSlot, readPendingEntry } from "./pending-index.ts";
import type { HostSettings } from "./settings.ts";

export type PendingWorkEnv = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: HostSettings;
  readonly isRunning: () => boolean;
  /** Whether the actor is in memory, where it looks after itself. */
  readonly isLoaded: (actor: string) => boolean;
  /** Whether this node may run it, and it is not set aside. */
  readonly mayRecover: (actor: string) => boolean;
  /** Loads the actor, claims it, and sees; calls `done` when that is over. */
  readonly recover: (actor: string, done: () => void) => void;
  /** The entry of an actor that may be in memory. */
  readonly onEntry: (actor: string, entry: PendingEntry) => void;
};

export class PendingWork {
  readonly #env: PendingWorkEnv;
  readonly #seldom: Seldom;
  readonly #entries = new Map<string, PendingEntry>();
  readonly #gate: Gate;
  #wake: Cancel | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #relist: Cancel | undefined;
  #isListing = false;
  #mustList = false;

  constructor(env: PendingWorkEnv) {
    this.#env = env;
    this.#seldom = new Seldom(env.clock);
    this.#gate = new Gate(env.settings.recoveries);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(actor: string): PendingEntry | undefined {
    return this.#entries.get(actor);
  }

  watch(): () => void {
    return this.#env.store.watch(pendingPrefix, (change) => {
      if (change.kind === "put") this.#see(change.entry);
      else this.#entries.delete(change.key.slice(pendingPrefix.length));
    });
  }

  stop(): void {
    this.#wake?.();
    this.#relist?.();
  }

  /** The actor left memory, to be looked at again at `dueMs`. What its cell wrote may be known here before the watch tells. */
  left(actor: string, { exists, known }: PendingSlot, dueMs: number | undefined): void {
    if (!exists) this.#entries.delete(actor);
    else if (known !== undefined) this.#entries.set(actor, known);
    if (dueMs !== undefined) this.#wakeBy(dueMs);
    else if (exists) this.#wakeBy(this.#env.clock.now() + this.#env.settings.idleMs);
  }

  /**
   * Leases changed: once for all partitions that change hands at the same time. What the owner before left must not wait
   * for our watch, which may lag: it is listed, too.
   */
  look(isGranted: boolean): void {
    this.#wakeBy(this.#env.clock.now());
    if (!isGranted) return;
    this.#relist ??= this.#env.clock.after(
      relistMs,
      () => {
        this.#relist = undefined;
        void this.list();
      },
      { background: true },
    );
  }

  /** Whoever asks while a listing is under way gets another one behind it: that one may have passed an entry by. */
  async list(): Promise<void> {
    this.#mustList = true;
    if (this.#isListing) return;
    this.#isListing = true;
    while (this.#mustList) {
      this.#mustList = false;
      await this.#listOnce();
    }
    this.#isListing = false;
    this.recoverDue();
  }

  async #listOnce(): Promise<void> {
    let after: string | undefined;
    for (let waitMs = this.#env.settings.settleFirstMs; this.#env.isRunning(); ) {
      try {
        const page = await this.#env.store.list({
          prefix: pendingPrefix,
          limit: 1_000,
          ...(after !== undefined && { after }),
        });
        for (const entry of page) this.#see(entry);
        if (page.length < 1_000) return;
        after = page.at(-1)?.key;
      } catch (error) {
        this.#seldom.say("list", (held) =>
          this.#env.logger.warn("the index of pending work could not be listed; trying again", {
            error,
            unsaid: held || undefined,
          }),
        );
        await pause(this.#env.clock, waitMs);
        waitMs = Math.min(waitMs * 2, this.#env.settings.settleMaxMs);
      }
    }
  }

  #see(entry: StoredEntry): void {
    const actor = entry.key.slice(pendingPrefix.length);
    const pending = readPendingEntry(entry) ?? { dueMs: 0, token: [0, 0] as const, revision: entry.revision };
    const known = this.#entries.get(actor);
    if (known !== undefined && known.revision >= pending.revision) return;
    this.#entries.set(actor, pending);
    this.#env.onEntry(actor, pending);
    this.#wakeBy(pending.dueMs);
  }

  /** Looks at every actor that is due and not looked after in memory. */
  recoverDue(): void {
    if (!this.#env.isRunning()) return;
    this.#wake?.();
    this.#wake = undefined;
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    const now = this.#env.clock.now();
    const due: [string, PendingEntry][] = [];
    for (const [actor, entry] of this.#entries) {
      if (this.#env.isLoaded(actor)) continue;
      if (entry.dueMs <= now) due.push([actor, entry]);
      else this.#wakeBy(entry.dueMs);
    }
    due.sort((a, b) => a[1].dueMs - b[1].dueMs);
    for (const [actor] of due)
      if (this.#env.mayRecover(actor)) this.#gate.enter((leave) => this.#env.recover(actor, leave));
  }

  #wakeBy(dueMs: number): void {
    if (!this.#env.isRunning() || dueMs >= this.#wakeAtMs) return;
    this.#wake?.();
    this.#wakeAtMs = dueMs;
    const delayMs = Math.max(0, dueMs - this.#env.clock.now());
    this.#wake = this.#env.clock.after(delayMs, () => this.recoverDue(), { background: true });
  }
}

/** How long a grant waits for others, until the index is listed for all of them. */
const relistMs = 250;
