/**
 * After an owner's death its jobs go on in time: from the death to the next run at most the lease's time to live and one
 * period, a second at the least, beyond what the lease back end itself took. Judged where nothing else was wrong.
 */
import type { Violation } from "./violation.ts";

export type Succession = {
  readonly job: string;
  readonly everyMs: number;
  /** All times are true ones, from the beginning of the world. */
  readonly diedMs: number;
  /** When the back end gave the job's partition to another. */
  readonly grantedMs: number;
  /** The first run under that grant; undefined: there was none until the world's end. */
  readonly ranMs: number | undefined;
};

export type SuccessionRule = {
  readonly ttlMs: number;
  /** When anything else was wrong, or may have left something behind. */
  readonly troubles: readonly { readonly fromMs: number; readonly untilMs: number }[];
  readonly endMs: number;
};

export type JudgedSuccessions = {
  /** Of each that was judged, from the death to the run, without the back end's own delay. */
  readonly beyondMs: readonly number[];
  readonly violations: readonly Violation[];
};

/** What the commit takes that begins a run, where nothing is wrong: a slot just before the grant may be too late to be begun. */
const beginMs = 50;

export function checkSuccessions(all: readonly Succession[], rule: SuccessionRule): JudgedSuccessions {
  const { ttlMs, troubles, endMs } = rule;
  const beyondMs: number[] = [];
  const violations: Violation[] = [];
  for (const { job, everyMs, diedMs, grantedMs, ranMs } of all) {
    // What it took longer than a time to live to know of the death, or had nobody to give the job to.
    const ownMs = Math.max(0, grantedMs - diedMs - ttlMs);
    const boundMs = ttlMs + Math.max(1_000, everyMs) + beginMs;
    const untilMs = Math.min(ranMs ?? Number.POSITIVE_INFINITY, diedMs + ownMs + boundMs);
    if (untilMs > endMs || troubles.some((one) => one.fromMs <= untilMs && one.untilMs > diedMs)) continue;
    const tookMs = (ranMs ?? endMs) - diedMs - ownMs;
    beyondMs.push(tookMs);
    if (tookMs <= boundMs) continue;
    violations.push({
      rule: "succeeded-late",
      detail: `${job}, whose owner died at ${Math.round(diedMs)} ms, ran ${Math.round(tookMs)} ms after it beyond the back end's own ${Math.round(ownMs)} ms; at most ${boundMs} ms are allowed`,
    });
  }
  return { beyondMs, violations };
}
