/**
 * What a back end can offer that cannot number its grants: locks without tokens, for work that may now and then be done
 * twice. Of the lease contract it keeps C2 to C4 as long as no server forgets or steps its clock, and C8 and C9; it has no
 * C1, so nothing can be fenced with it (C5, C6), and whatever asks for a lease service or a claim does not compile with it.
 */

export type LockOptions = {
  /** How long it lasts unless it is extended. */
  readonly ttlMs: number;
  /** How long to wait while somebody else has it. Default: not at all. */
  readonly waitMs?: number;
  /** Ends the waiting: `acquire` rejects with its reason. */
  readonly signal?: AbortSignal;
};

export type LockOutcome =
  | { readonly kind: "granted"; readonly lock: UnfencedLock }
  | { readonly kind: "held" }
  /** The answers took so long that too little of its time is left; it was given back. */
  | { readonly kind: "late"; readonly leftMs: number }
  /** Too few servers answered (C8): it is not held. */
  | { readonly kind: "unknown"; readonly cause: string };

export interface UnfencedLock {
  readonly fencing: "none";
  readonly key: string;
  /** The moment, by the monotonic clock of this process, at which it ends unless extended: counted from before it was sent. */
  readonly validUntilMs: number;
  /** Whether it may still be relied on, which is a belief and no proof. Once false, false for good. */
  readonly isValid: boolean;
  /** Whether its time begins anew. False: it ends when it would have ended, or it is lost already. */
  extend(): Promise<boolean>;
  /** May be called twice, and later than its end: never takes it from another. */
  release(): Promise<void>;
}

export interface UnfencedLocks {
  readonly fencing: "none";
  /** What its promises rest on: clock rates that differ little, wall clocks of servers that never step, no restart without the last writes. */
  readonly assumes: "bounded drift, no steps, no lost writes";
  /** Rejects with LeaseInvalidOption. */
  acquire(key: string, options: LockOptions): Promise<LockOutcome>;
  /**
   * Does `work` while the lock is held and extended; the signal tells when it is lost. Rejects with LeaseNotAcquired, or as
   * `work` does.
   */
  run<TResult>(
    key: string,
    options: LockOptions,
    work: (lock: { readonly signal: AbortSignal; readonly isValid: boolean }) => Promise<TResult>,
  ): Promise<TResult>;
}
