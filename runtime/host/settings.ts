/** How a host behaves; every number has a unit in its name and a default. */
export type HostSettings = {
  /** An actor without work for this long leaves memory. */
  readonly idleMs: number;
  /** Actors in memory; beyond it the idle ones leave at once. */
  readonly hotActors: number;
  /** Invoked logic that runs at the same time, over all actors; more waits. */
  readonly effects: number;
  /** Actors that are loaded at the same time by recovery. */
  readonly recoveries: number;
  /** First and longest wait before a write with an unknown outcome, or a read that failed, is repeated. */
  readonly settleFirstMs: number;
  readonly settleMaxMs: number;
  /** One request between actors; afterwards it is sent again. */
  readonly messageTimeoutMs: number;
  readonly messageRetryFirstMs: number;
  readonly messageRetryMaxMs: number;
  /** How long removals may wait before they are reported to a receiver without another message to carry them. */
  readonly settlementMs: number;
  /** A receiver asks about marks older than this. */
  readonly askAfterMs: number;
  /**
   * How long an index entry of an actor that does not exist is kept and looked at again: a creation that its owner gave
   * up may still be under way to the store. Longer than any write can be.
   */
  readonly orphanMs: number;
  /** How long whoever resumes an actor waits to be told that it was parked again; shorter than an attempt of a request. */
  readonly resumeMs: number;
  /** How long `stop` waits for effects before it aborts them. */
  readonly drainMs: number;
};

export const defaultSettings: HostSettings = {
  idleMs: 60_000,
  hotActors: 10_000,
  effects: 1_000,
  recoveries: 64,
  settleFirstMs: 20,
  settleMaxMs: 2_000,
  messageTimeoutMs: 5_000,
  messageRetryFirstMs: 50,
  messageRetryMaxMs: 10_000,
  settlementMs: 200,
  askAfterMs: 60_000,
  orphanMs: 600_000,
  resumeMs: 500,
  drainMs: 10_000,
};
