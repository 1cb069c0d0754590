/**
 * The lease contract, which every back end keeps and `lease-service.contract.ts` judges. Sessions stand for processes that
 * are alive; leases are held by sessions, so that renewing costs per process and not per lease.
 *
 * C1 every grant of a key has an index above that of every earlier grant of it; renewing keeps it; no two grants share
 *    one. C2 at each index a key has at most one holder. C3 a lease is given to another only after its time to live has
 *    passed on a clock of the coordinator's side since the last renewal that it saw. C4 two processes never believe at
 *    once to hold a key as long as clock rates differ little and no process runs on after a stop that it did not notice;
 *    nothing may rest on that. C8 a request without an answer may have happened: whoever asked does not hold. C9 a lost
 *    session ends everything that was done under it. (C5 to C7 are about the resources: docs/guides/leases.md.)
 */

import type { Clock } from "../../runtime/ports/clock.ts";
import type { Logger } from "../../runtime/ports/logger.ts";
import type { Random } from "../../runtime/ports/random.ts";

/** How a grant can be told from a later one at a resource: without it (`none`), a late holder cannot be refused. */
export type Fencing = "log-index" | "kv-revision" | "none";

export type SessionAttributes = {
  /** Takes nothing more, and gives away what it has. */
  readonly draining?: boolean;
  /** Why it takes nothing, for people to read. */
  readonly problem?: string;
  /** How much it takes beside the others, and where it stands: see `assign`. */
  readonly weight?: number;
  readonly zone?: string;
};

export type SessionInfo = {
  /** Never used again by another session. */
  readonly id: string;
  /** What its process calls itself. */
  readonly node: string;
  readonly ttlMs: number;
  readonly attributes: SessionAttributes;
};

export type Holding = { readonly key: string; readonly session: string; readonly index: number };

/** What this process has seen. May be behind; decides nothing by itself. */
export type LeaseView = {
  readonly sessions: ReadonlyMap<string, SessionInfo>;
  /** By key. The session may be gone: then the lease is free. */
  readonly leases: ReadonlyMap<string, Holding>;
};

export type AcquireOutcome =
  | { readonly kind: "granted"; readonly index: number }
  | { readonly kind: "held"; readonly by: string }
  /** There is no room for one more lease, as `why` says: surely not granted. It may be, once others have given theirs back. */
  | { readonly kind: "full"; readonly why: string }
  /** No answer in time (C8): it may be granted yet, which the view shows; until then it is not held. */
  | { readonly kind: "unknown" }
  /** This session is over. */
  | { readonly kind: "lost" };

export interface Session {
  readonly id: string;
  /** Whether it may still act: by this process's clock, counted from before its last renewal was sent. */
  readonly isValid: boolean;
  /** The moment, by the monotonic clock, at which it ends unless renewed. */
  readonly validUntilMs: number;
  acquire(key: string): Promise<AcquireOutcome>;
  /** Whether the lease is gone for sure. Harmless for one that is not held. */
  release(key: string): Promise<boolean>;
  /** Grants the key to another session in one step. Whether it is done for sure. */
  transfer(key: string, to: string): Promise<boolean>;
  /** Told to the others with the next renewal, which is made at once. */
  update(attributes: SessionAttributes): Promise<void>;
  /** Called once, when the session is over without having been closed. */
  onLost(listener: (reason: string) => void): () => void;
  /** Ends the session, so that nobody waits for its time to pass. Its leases are free then. */
  close(): Promise<void>;
}

export type SessionOptions = {
  /** What this process calls itself. */
  readonly node: string;
  readonly ttlMs: number;
  readonly attributes?: SessionAttributes;
};

export interface LeaseService<TFencing extends Fencing = Fencing> {
  readonly fencing: TFencing;
  /** Changes when the back end is made anew: indexes of before mean nothing then. */
  readonly identity: string;
  /** Rejects with SessionNotOpened when the back end does not answer, and with LeaseInvalidOption. */
  openSession(options: SessionOptions): Promise<Session>;
  view(): LeaseView;
  /** Called after every change of the view. Returns how to stop. */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** What `jetstream({ leases })` takes: a recipe for leases that are kept elsewhere than the documents. */
export interface LeaseProvider {
  /**
   * Resolves when the back end has its final identity. Rejects when it does not come up, and with what is wrong with its
   * options; nothing is left open then. Closing the service leaves the back end to `close`.
   */
  open(ports: { readonly clock: Clock; readonly random: Random; readonly logger: Logger }): Promise<{
    readonly service: LeaseService<Exclude<Fencing, "none">>;
    close(): Promise<void>;
  }>;
}
