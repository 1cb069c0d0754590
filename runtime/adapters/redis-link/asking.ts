/**
 * A script that is safe to repeat, asked until its outcome is known or the time is over. Only for scripts that change
 * nothing when they run again: the register's, the log's.
 */
import type { KeysOf } from "../../options.ts";
import type { Clock } from "../../ports/clock.ts";
import type { OutcomeUnknown } from "../../ports/fenced-register.ts";
import { RedisRefused } from "./errors.ts";
import { type RedisLink, type RedisReply, type RedisScript, runScript } from "./link.ts";

export type AskLimits = {
  /** Until the caller is told that the outcome is unknown. Default: 5,000. */
  readonly timeoutMs?: number;
  /** Until one attempt is given up for the next. Default: 1,000. */
  readonly attemptMs?: number;
};

export const askLimits: KeysOf<AskLimits> = { timeoutMs: true, attemptMs: true };

const pauseMs = 50;

/** What a server says that cannot work now, and may soon. */
const passing = new Set([
  "LOADING",
  "MASTERDOWN",
  "BUSY",
  "READONLY",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "NOREPLICAS",
  "OOM",
  "MISCONF",
]);

/** Rejects with RedisRefused when the server will not do it and has not done it. */
export async function askUntilKnown(
  link: RedisLink,
  clock: Clock,
  script: RedisScript,
  keys: readonly string[],
  values: readonly string[],
  limits: AskLimits,
): Promise<{ readonly kind: "reply"; readonly value: RedisReply } | OutcomeUnknown> {
  const untilMs = clock.monotonic() + (limits.timeoutMs ?? 5_000);
  let unknown: string | undefined;
  for (;;) {
    const leftMs = untilMs - clock.monotonic();
    const outcome = await runScript(
      link,
      script,
      keys,
      values,
      Math.min(limits.attemptMs ?? 1_000, Math.max(1, leftMs)),
    );
    if (outcome.kind === "reply") return outcome;
    if (outcome.kind === "unknown") unknown = outcome.cause;
    const isOver = clock.monotonic() + pauseMs >= untilMs;
    if (outcome.kind === "refused" && (isOver || !passing.has(outcome.code))) {
      // An earlier attempt may have been done, whatever became of this one.
      if (unknown === undefined) throw new RedisRefused(`${link.name}: ${outcome.message}`);
      return { kind: "unknown", cause: `${unknown}, then ${outcome.message}` };
    }
    if (isOver) {
      const cause = unknown ?? (outcome.kind === "unsent" ? outcome.cause : "");
      return { kind: "unknown", cause: `${link.name}: ${cause}` };
    }
    await new Promise<void>((resolve) => void clock.after(pauseMs, resolve));
  }
}
