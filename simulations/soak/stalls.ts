/**
 * When this process stood still, so that what was late can be told as ours or the machine's: a timer that came late, and how
 * much of that the process was ready to run and waited for a processor, which only Linux tells.
 */
import { readFileSync } from "node:fs";

export type Stall = {
  /** When it was over, by the machine's monotonic clock, which is the same in all processes. */
  readonly atNs: number;
  readonly forMs: number;
  readonly queuedMs: number | undefined;
};

const everyMs = 10;
/** Less is how timers are. */
const leastMs = 10;

export function watchStalls(onStall: (stall: Stall) => void): void {
  let lastNs = monotonicNs();
  let queuedMs = queuedSoFarMs();
  setInterval(() => {
    const [atNs, queuedNowMs] = [monotonicNs(), queuedSoFarMs()];
    const forMs = (atNs - lastNs) / 1e6 - everyMs;
    if (forMs >= leastMs)
      onStall({ atNs, forMs, queuedMs: queuedMs === undefined ? undefined : (queuedNowMs ?? 0) - queuedMs });
    lastNs = atNs;
    queuedMs = queuedNowMs;
  }, everyMs).unref();
}

/** The same clock in all processes of a machine. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}

function queuedSoFarMs(): number | undefined {
  try {
    return Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[1]) / 1e6;
  } catch {
    return undefined;
  }
}
