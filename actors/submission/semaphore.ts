/**
 * A counting semaphore: at most so many holders at once, served in the order they asked. Whoever stops waiting (abort)
 * gives up its place, and nobody else's.
 */
export type Semaphore = {
  /** Resolves with the function that gives the permit back. Rejects with the signal's reason when aborted while waiting. */
  acquire(signal: AbortSignal): Promise<() => void>;
};

export function createSemaphore(permits: number): Semaphore {
  let free = permits;
  const waiting = new Set<() => void>();

  function give(): void {
    free += 1;
    const [next] = waiting;
    next?.();
  }

  function take(): () => void {
    free -= 1;
    let held = true;
    return () => {
      if (held) give();
      held = false;
    };
  }

  return {
    acquire(signal) {
      if (signal.aborted) return Promise.reject(signal.reason);
      if (free > 0) return Promise.resolve(take());
      return new Promise((resolve, reject) => {
        function onAbort(): void {
          waiting.delete(onTurn);
          reject(signal.reason);
        }
        function onTurn(): void {
          waiting.delete(onTurn);
          signal.removeEventListener("abort", onAbort);
          resolve(take());
        }
        waiting.add(onTurn);
        signal.addEventListener("abort", onAbort, { once: true });
      });
    },
  };
}
