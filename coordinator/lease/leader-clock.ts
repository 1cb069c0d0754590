/**
 * The leader's lease time, which its entries carry. It begins where its log ends, goes on by the leader's own monotonic
 * clock, and stands still while nobody leads: then nothing expires. A step is never longer than `longestStepMs`, so that a
 * leader which was stopped reads the renewals that wait in its sockets before it ends anybody's session.
 */

export type LeaderClock = {
  /** Whole milliseconds. */
  readonly leaseMs: number;
  /** The moment, by the monotonic clock, that this corresponds to. */
  readonly seenMs: number;
};

/** `lastLeaseMs` is that of the last entry in the log, applied or not, or of the table if the log holds none. */
export function beginLeading(lastLeaseMs: number, monotonicMs: number): LeaderClock {
  return { leaseMs: lastLeaseMs, seenMs: monotonicMs };
}

/** To be called at every tick, and before every proposal. What is left of a millisecond counts with the next step. */
export function goOn(clock: LeaderClock, monotonicMs: number, longestStepMs: number): LeaderClock {
  const passedMs = monotonicMs - clock.seenMs;
  if (!(passedMs >= 0)) return { leaseMs: clock.leaseMs, seenMs: monotonicMs };
  if (passedMs > longestStepMs) return { leaseMs: clock.leaseMs + longestStepMs, seenMs: monotonicMs };
  const wholeMs = Math.floor(passedMs);
  return { leaseMs: clock.leaseMs + wholeMs, seenMs: clock.seenMs + wholeMs };
}
