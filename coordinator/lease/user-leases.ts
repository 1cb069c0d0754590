/**
 * Leases for a service's own purposes: `leases.acquire("job/settle")`. All leases of a process share one session. What is
 * done under a lease ends with it (C9), and what must not be done twice carries its token (C5, docs/guides/leases.md).
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { Cancel, Clock } from "../../runtime/ports/clock.ts";
import type { Logger } from "../../runtime/ports/logger.ts";
import type { Token } from "../../runtime/ports/store.ts";
import type { Fencing, LeaseService, Session } from "../ports/lease-service.ts";
import { LeaseInvalidOption, LeaseLost, LeaseNotAcquired, LeaseTableFull, SessionNotOpened } from "./errors.ts";

export type AcquireOptions = {
  /**
   * How long to wait while somebody else holds it, or the back end does not answer, in milliseconds. One answer may take as
   * long as the time to live beyond that. Default: not at all.
   */
  readonly waitMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
};

export type HeldLease = {
  readonly name: string;
  /** Above that of every earlier holder: pass it to whatever can refuse a lower one. */
  readonly token: Token;
  /** Who holds it: with the token the claim that a fenced resource asks for. Another one for each process and life of it. */
  readonly holder: string;
  /** Aborted when the lease is lost, with LeaseLost as the reason. */
  readonly signal: AbortSignal;
  /** Whether it is still held, by this process's clock: look before what cannot be taken back. */
  readonly isValid: boolean;
  /**
   * Does `work`, then gives the lease back. When it is lost meanwhile, rejects at once with LeaseLost, although `work`, whose
   * signal is aborted, may not have ended yet: what it still does carries a token that is not the highest any more.
   */
  run<TResult>(work: (lease: HeldLease) => Promise<TResult>): Promise<TResult>;
  /** Gives it back, so that the next need not wait. May be called twice. */
  release(): Promise<void>;
};

export type UserLeasesOptions = {
  readonly service: LeaseService<Exclude<Fencing, "none">>;
  readonly node: string;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly epoch: () => Promise<number>;
  /** Called when these leases are closed: whoever made the service for them ends it. */
  readonly onClosed?: () => Promise<void>;
};

const userLeasesOptions: KeysOf<UserLeasesOptions> = {
  service: true,
  node: true,
  ttlMs: true,
  clock: true,
  logger: true,
  epoch: true,
  onClosed: true,
};
const acquireOptions: KeysOf<AcquireOptions> = { waitMs: true, signal: true };

/** Why a lease is not held; by which session it is, where one was named. */
type NotHeld = { readonly why: string; readonly by?: string; readonly cause?: SessionNotOpened | LeaseTableFull };

type Awaited = {
  readonly key: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly counts?: () => boolean;
};

const prefix = "user.";
const retryMs = 1_000;
const giveBackMs = 100;
const sweepAbove = 1_000;

export class UserLeases {
  readonly #options: UserLeasesOptions;
  readonly #held = new Map<string, { readonly end: (reason: string) => void }>();
  /** Keys that are asked for, held, or being given back, by somebody in this process. */
  readonly #taken = new Set<string>();
  /** Who waits here, and for which key. Undefined: for room. */
  readonly #waiting = new Map<() => void, string | undefined>();
  /** The latest grant that was answered, by key: the view may show it a while longer. */
  readonly #granted = new Map<string, number>();
  #session: Promise<Session> | undefined;
  #closed = false;

  constructor(options: UserLeasesOptions) {
    refuseUnknown("options of UserLeases", options, userLeasesOptions, LeaseInvalidOption);
    this.#options = options;
  }

  /**
   * Rejects with LeaseNotAcquired when another holds it for so long, when the back end does not answer or has no room for
   * so long, or at once when it never will; with LeaseInvalidOption for a name that is none.
   */
  async acquire(name: string, options: AcquireOptions = {}): Promise<HeldLease> {
    refuseUnknown("options of acquire", options, acquireOptions, LeaseInvalidOption);
    const key = prefix + keyOf(name);
    const { clock } = this.#options;
    const waitMs = options.waitMs ?? 0;
    if (!(waitMs >= 0)) throw new LeaseInvalidOption(`\`waitMs\` is ${waitMs}; it must be 0 or more`);
    const untilMs = clock.monotonic() + waitMs;
    for (;;) {
      options.signal?.throwIfAborted();
      if (this.#closed) throw new LeaseNotAcquired(`${name}: these leases are closed`);
      const result = this.#taken.has(key)
        ? { why: `${name} is held by this process already` }
        : await this.#attempt(name, key);
      if (!("why" in result)) return result;
      const { by, cause } = result;
      const isFinal = cause instanceof SessionNotOpened && cause.isFinal;
      if (isFinal || clock.monotonic() >= untilMs) throw new LeaseNotAcquired(result.why, { cause });
      const forMs = Math.min(retryMs, Math.max(1, untilMs - clock.monotonic()));
      // A table that is full changes all the time.
      const isFull = cause instanceof LeaseTableFull;
      const counts = () => !isFull && (by === undefined || !this.#isHeldBy(key, by));
      await this.#changed(forMs, { key: isFull ? undefined : key, signal: options.signal, counts });
    }
  }

  /** As far as the view goes. Whoever waits asks again when it says no, not after every change of other leases. */
  #isHeldBy(key: string, session: string): boolean {
    const { leases, sessions } = this.#options.service.view();
    return leases.get(key)?.session === session && sessions.has(session);
  }

  /** The lease, or why it is not held. The key is taken before anything is asked: one grant is for one of those who ask here. */
  async #attempt(name: string, key: string): Promise<HeldLease | NotHeld> {
    this.#taken.add(key);
    const session = await this.#opened().catch((error: unknown) => {
      this.#taken.delete(key);
      if (error instanceof SessionNotOpened) return error;
      throw error;
    });
    if (session instanceof SessionNotOpened) return { why: `${name}: ${session.message}`, cause: session };
    try {
      const outcome = await session.acquire(key);
      if (outcome.kind === "granted") return await this.#hold(name, key, session, outcome.index);
      // Whoever waits here is not told: nothing has become free, and he would tell the next in the same way.
      if (outcome.kind === "held" || outcome.kind === "full") this.#taken.delete(key);
      if (outcome.kind === "held") return { why: `${name} is held by ${this.#nodeOf(outcome.by)}`, by: outcome.by };
      if (outcome.kind === "full") {
        const cause = new LeaseTableFull(`no room for one more lease: ${outcome.why}; have fewer, or give some back`);
        return { why: `${name}: ${cause.message}`, cause };
      }
      // It may be granted all the same (C8): nobody here holds it, so it must not stay so.
      void this.#giveBack(session, key);
      return { why: `${name}: the back end did not answer in time, so it is not held (${outcome.kind})` };
    } catch (error) {
      void this.#giveBack(session, key);
      throw error;
    }
  }

  /** Until it is gone for sure, or the session is: until then nobody here may take the same grant for a new one. */
  async #giveBack(session: Session, key: string): Promise<void> {
    while (session.isValid && !(await session.release(key).catch(() => false)))
      await this.#changed(giveBackMs, { key });
    this.#free(key);
  }

  /** A request that was given up may be granted late: what the view shows as this session's, and nobody here knows of, goes back. */
  #sweep(session: Session): void {
    const { leases } = this.#options.service.view();
    for (const [key, { session: holder, index }] of leases) {
      if (holder !== session.id || !key.startsWith(prefix) || this.#taken.has(key)) continue;
      if (index <= (this.#granted.get(key) ?? 0)) continue;
      this.#taken.add(key);
      void this.#giveBack(session, key);
    }
    if (this.#granted.size < sweepAbove) return;
    for (const [key, index] of this.#granted)
      if (!this.#taken.has(key) && leases.get(key)?.index !== index) this.#granted.delete(key);
  }

  #free(key: string): void {
    this.#taken.delete(key);
    for (const [tell, awaited] of [...this.#waiting]) if (awaited === key || awaited === undefined) tell();
  }

  /** Acquires, works, gives back: see `HeldLease.run`. Rejects as `acquire` and `work` do, or with LeaseLost. */
  async run<TResult>(
    name: string,
    work: (lease: HeldLease) => Promise<TResult>,
    options: AcquireOptions = {},
  ): Promise<TResult> {
    return (await this.acquire(name, options)).run(work);
  }

  /** Gives all leases back. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { end } of [...this.#held.values()]) end("these leases were closed");
    const session = await this.#session?.catch(() => undefined);
    await session?.close();
    await this.#options.onClosed?.();
  }

  async #hold(name: string, key: string, session: Session, index: number): Promise<HeldLease> {
    this.#granted.set(key, index);
    const epoch = await this.#options.epoch();
    const controller = new AbortController();
    let isOver = false;
    const end = (reason: string) => {
      if (isOver) return;
      isOver = true;
      this.#held.delete(key);
      this.#free(key);
      controller.abort(new LeaseLost(`${name} is lost: ${reason}`));
    };
    this.#held.set(key, { end });
    if (!session.isValid) end("its session ended meanwhile");
    const { signal } = controller;
    const lease: HeldLease = {
      name,
      token: [epoch, index],
      holder: session.id,
      signal,
      get isValid() {
        return !isOver && session.isValid;
      },
      run: async (work) => {
        try {
          return await unlessAborted(signal, () => work(lease));
        } finally {
          await lease.release();
        }
      },
      release: async () => {
        if (isOver) return;
        isOver = true;
        this.#held.delete(key);
        await this.#giveBack(session, key);
      },
    };
    return lease;
  }

  #opened(): Promise<Session> {
    const { service, node, ttlMs } = this.#options;
    this.#session ??= service.openSession({ node, ttlMs, attributes: { draining: true } }).then(
      (session) => {
        const unfollow = service.onChange(() => this.#sweep(session));
        session.onLost((reason) => {
          unfollow();
          this.#session = undefined;
          this.#options.logger.warn(`the session of this process's leases is over: ${reason}`, { session: session.id });
          for (const { end } of [...this.#held.values()]) end(reason);
        });
        return session;
      },
      (error: unknown) => {
        this.#session = undefined;
        throw error;
      },
    );
    return this.#session;
  }

  #nodeOf(session: string): string {
    return this.#options.service.view().sessions.get(session)?.node ?? `session ${session}`;
  }

  /** Until the view has changed so that it counts, the key is free here (undefined: any key), or the time is over. */
  #changed(withinMs: number, awaited: Awaited): Promise<void> {
    const { key, signal, counts } = awaited;
    const { service, clock } = this.#options;
    return new Promise((resolve) => {
      const stops: (() => void)[] = [];
      const end = () => {
        for (const stop of stops.splice(0)) stop();
        resolve();
      };
      const cancel: Cancel = clock.after(withinMs, end);
      this.#waiting.set(end, key);
      const onChange = () => {
        if (counts?.() ?? true) end();
      };
      stops.push(cancel, service.onChange(onChange), () => this.#waiting.delete(end));
      signal?.addEventListener("abort", end, { once: true });
      stops.push(() => signal?.removeEventListener("abort", end));
    });
  }
}

/** As `work` ends, or with the signal's reason if that comes first. */
async function unlessAborted<TResult>(signal: AbortSignal, work: () => Promise<TResult>): Promise<TResult> {
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    stop = () => signal.removeEventListener("abort", end);
  });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    stop();
  }
}

/** A name as a key of the bucket: what it may not hold is written `=XX` per byte, as in ids of actors. */
function keyOf(name: string): string {
  if (typeof name !== "string" || name.length === 0 || name.length > 150)
    throw new LeaseInvalidOption("the name of a lease must be a text of 1 to 150 characters");
  let key = "";
  for (const byte of new TextEncoder().encode(name)) {
    const character = String.fromCharCode(byte);
    key += /[A-Za-z0-9_/-]/.test(character) ? character : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return key;
}
