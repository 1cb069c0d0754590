/** Time, as the only way to it. The wall clock may jump; the monotonic one never goes back. Both in milliseconds. */
export interface Clock {
  /** Milliseconds since 1970, UTC. */
  now(): number;
  /** Milliseconds since some fixed moment of this process. */
  monotonic(): number;
  /**
   * Calls `wake` once, not before `delayMs` has passed. Any length, also beyond the 24.8 days of setTimeout.
   * `background` timers do not keep a process alive.
   */
  after(delayMs: number, wake: () => void, options?: { readonly background?: boolean }): Cancel;
}

export type Cancel = () => void;
