/**
 * RedLock over one Redis or several that know nothing of each other: the same key set at a majority of them, for a time. For
 * those who have it and want to move over; it cannot be fenced, and `simulations/classics/redlock.ts` shows what comes of
 * that. Done as well as it can be: monotonic clock, counted from before anything was sent; a server may answer only for a
 * small part of the time to live; what failed is given back; a lock with too little time left is refused.
 */
import {
  type RedisLink,
  type RedisOutcome,
  type RedisScript,
  redisScript,
  runScript,
} from "../../../runtime/adapters/redis-link/link.ts";
import { type KeysOf, refuseUnknown } from "../../../runtime/options.ts";
import type { Cancel, Clock } from "../../../runtime/ports/clock.ts";
import type { Random } from "../../../runtime/ports/random.ts";
import { LeaseInvalidOption, LeaseLost, LeaseNotAcquired } from "../../lease/errors.ts";
import { renewEveryMs, ttlProblem, validUntilMs } from "../../lease/validity.ts";
import type { LockOptions, LockOutcome, UnfencedLock, UnfencedLocks } from "../../ports/unfenced-locks.ts";

export type RedLockOptions = {
  /** Before every key. Default: "holdfast:lock:". */
  readonly prefix?: string;
  /** How long one server may take to answer, at most a tenth of the time to live. Default: a fiftieth of it, from 50 ms. */
  readonly instanceTimeoutMs?: number;
  /** How much of its time must be left when a lock is granted or extended. Default: half of the time to live. */
  readonly minValidityMs?: number;
};

const redLockOptions: KeysOf<RedLockOptions> = { prefix: true, instanceTimeoutMs: true, minValidityMs: true };
const lockOptions: KeysOf<LockOptions> = { ttlMs: true, waitMs: true, signal: true };

export type RedLockPorts = { readonly clock: Clock; readonly random: Random };

export const releaseScript = redisScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0`);

export const extendScript = redisScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0`);

const retryMs = 50;

export class RedLock implements UnfencedLocks {
  readonly fencing = "none";
  readonly assumes = "bounded drift, no steps, no lost writes";
  readonly #links: readonly RedisLink[];
  readonly #ports: RedLockPorts;
  readonly #options: RedLockOptions;

  /** The links stay the caller's to close. With one link it is the lock of a single Redis. */
  constructor(links: readonly RedisLink[], ports: RedLockPorts, options: RedLockOptions = {}) {
    refuseUnknown("options of RedLock", options, redLockOptions, LeaseInvalidOption);
    if (links.length === 0) throw new LeaseInvalidOption("RedLock needs a Redis server, better five");
    if (new Set(links.map(({ name }) => name)).size < links.length)
      throw new LeaseInvalidOption("RedLock counts servers, and one of these is named twice");
    this.#links = links;
    this.#ports = ports;
    this.#options = options;
  }

  async acquire(key: string, options: LockOptions): Promise<LockOutcome> {
    const { clock, random } = this.#ports;
    refuseUnknown("options of a lock", options, lockOptions, LeaseInvalidOption);
    const limits = this.#limitsOf(key, options);
    const untilMs = clock.monotonic() + (options.waitMs ?? 0);
    for (;;) {
      options.signal?.throwIfAborted();
      const outcome = await this.#acquireOnce(key, limits);
      // Two that ask again and again in step would keep each other from it.
      const pauseMs = retryMs * (0.5 + random.next());
      if (outcome.kind === "granted" || clock.monotonic() + pauseMs > untilMs) return outcome;
      await this.#pause(pauseMs, options.signal);
    }
  }

  async run<TResult>(
    key: string,
    options: LockOptions,
    work: (lock: { readonly signal: AbortSignal; readonly isValid: boolean }) => Promise<TResult>,
  ): Promise<TResult> {
    const outcome = await this.acquire(key, options);
    if (outcome.kind !== "granted") throw new LeaseNotAcquired(`${key}: ${explain(outcome)}`);
    const { lock } = outcome;
    const keeper = keep(lock, options.ttlMs, this.#ports.clock);
    try {
      return await work({
        signal: keeper.signal,
        get isValid() {
          return lock.isValid;
        },
      });
    } finally {
      keeper.stop();
      await lock.release();
    }
  }

  async #acquireOnce(key: string, limits: Limits): Promise<LockOutcome> {
    const value = this.#ports.random.id();
    const sentMs = this.#ports.clock.monotonic();
    const command = ["SET", limits.redisKey, value, "NX", "PX", String(limits.ttlMs)];
    const answers = await Promise.all(this.#links.map((link) => link.send(command, limits.timeoutMs)));
    const given = answers.filter((answer) => answer.kind === "reply" && answer.value === "OK").length;
    const held = answers.filter((answer) => answer.kind === "reply" && answer.value !== "OK").length;
    const untilMs = validUntilMs(sentMs, limits.ttlMs);
    const leftMs = untilMs - this.#ports.clock.monotonic();
    if (given >= this.#quorum && leftMs >= limits.minValidityMs)
      return { kind: "granted", lock: this.#hold(key, value, limits, untilMs) };
    await this.#toAll(releaseScript, limits, [value]);
    if (given >= this.#quorum) return { kind: "late", leftMs };
    if (held > 0 && given + held >= this.#quorum) return { kind: "held" };
    return { kind: "unknown", cause: causesOf(this.#links, answers) };
  }

  #hold(key: string, value: string, limits: Limits, firstUntilMs: number): UnfencedLock {
    const { clock } = this.#ports;
    let untilMs = firstUntilMs;
    let isOver = false;
    return {
      fencing: "none",
      key,
      get validUntilMs() {
        return untilMs;
      },
      get isValid() {
        // For good: whoever saw it end has stopped.
        if (clock.monotonic() >= untilMs) isOver = true;
        return !isOver;
      },
      extend: async () => {
        if (isOver || clock.monotonic() >= untilMs) return false;
        const sentMs = clock.monotonic();
        const answers = await this.#toAll(extendScript, limits, [value, String(limits.ttlMs)]);
        const extended = answers.filter((answer) => answer.kind === "reply" && answer.value === 1).length;
        const nextMs = validUntilMs(sentMs, limits.ttlMs);
        const nowMs = clock.monotonic();
        if (isOver || nowMs >= untilMs || extended < this.#quorum || nextMs - nowMs < limits.minValidityMs)
          return false;
        untilMs = nextMs;
        return true;
      },
      release: async () => {
        isOver = true;
        await this.#toAll(releaseScript, limits, [value]);
      },
    };
  }

  #toAll(script: RedisScript, limits: Limits, values: readonly string[]): Promise<RedisOutcome[]> {
    return Promise.all(this.#links.map((link) => runScript(link, script, [limits.redisKey], values, limits.timeoutMs)));
  }

  get #quorum(): number {
    return Math.floor(this.#links.length / 2) + 1;
  }

  #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#ports.clock.after(ms, end);
      signal?.addEventListener("abort", end, { once: true });
    });
  }

  #limitsOf(key: string, { ttlMs, waitMs }: LockOptions): Limits {
    const problem = ttlProblem(ttlMs);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    if (typeof key !== "string" || key.length === 0 || key.length > 1_000)
      throw new LeaseInvalidOption("the key of a lock must be a text of 1 to 1,000 characters");
    if (waitMs !== undefined && !(waitMs >= 0))
      throw new LeaseInvalidOption(`\`waitMs\` is ${waitMs}; it must be 0 or more`);
    const longestMs = ttlMs / 10;
    const { instanceTimeoutMs: timeoutMs = Math.min(longestMs, Math.max(50, ttlMs / 50)) } = this.#options;
    if (!(timeoutMs > 0 && timeoutMs <= longestMs))
      throw new LeaseInvalidOption(
        `\`instanceTimeoutMs\` is ${timeoutMs}; it must be above 0 and at most a tenth of the time to live, ${longestMs}`,
      );
    const { minValidityMs = ttlMs / 2 } = this.#options;
    if (!(minValidityMs > 0 && minValidityMs < validUntilMs(0, ttlMs)))
      throw new LeaseInvalidOption(
        `\`minValidityMs\` is ${minValidityMs}; it must be above 0 and below ${validUntilMs(0, ttlMs)}, what ${ttlMs} ms are good for`,
      );
    const redisKey = (this.#options.prefix ?? "holdfast:lock:") + key;
    return { redisKey, ttlMs: Math.floor(ttlMs), timeoutMs, minValidityMs };
  }
}

type Limits = {
  readonly redisKey: string;
  readonly ttlMs: number;
  readonly timeoutMs: number;
  readonly minValidityMs: number;
};

/** Extends a lock for as long as work lasts, and tells when that fails. */
function keep(lock: UnfencedLock, ttlMs: number, clock: Clock): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  let lapse: Cancel | undefined;
  let next: Cancel | undefined;
  let isStopped = false;
  const arm = () => {
    if (isStopped) return;
    lapse?.();
    next?.();
    lapse = clock.after(Math.max(0, lock.validUntilMs - clock.monotonic()), lose);
    next = clock.after(renewEveryMs(ttlMs), () => void lock.extend().then(arm));
  };
  const lose = () => {
    if (!lock.isValid) controller.abort(new LeaseLost(`${lock.key} is lost: it could not be extended in time`));
    else arm();
  };
  const stop = () => {
    isStopped = true;
    lapse?.();
    next?.();
  };
  arm();
  return { signal: controller.signal, stop };
}

function explain(outcome: Exclude<LockOutcome, { kind: "granted" }>): string {
  if (outcome.kind === "held") return "somebody else holds it";
  if (outcome.kind === "late") return `it was granted too late: ${Math.round(outcome.leftMs)} ms were left`;
  return `too few servers answered: ${outcome.cause}`;
}

function causesOf(links: readonly RedisLink[], answers: readonly RedisOutcome[]): string {
  const causes = answers.flatMap((answer, index) => {
    if (answer.kind === "reply") return [];
    return [`${links[index]?.name}: ${answer.kind === "refused" ? answer.message : answer.cause}`];
  });
  return causes.join("; ");
}
