/** How an effect is run: time limit, retries, what happens when its owner was lost. Pure; dice come in as a number. */
import { type KeysOf, unknownOptions } from "./options.ts";

export type EffectPolicy = {
  /** After this an attempt is aborted and counts as failed. Default: 5 minutes for invoked logic, 30 s for actions. */
  readonly timeoutMs?: number;
  readonly retry?: RetryPolicy;
  /** What a new owner does with an attempt that has no recorded result. Default "restart". */
  readonly onTakeover?: "restart" | "fail";
};

/** Exponential back-off: initialMs * factor^(attempt-1), at most maxMs, spread by jitter (0..1) of itself. */
export type RetryPolicy = {
  /** Attempts in all. Default: 1 for invoked logic (a rejection is a result), 5 for actions. */
  readonly attempts?: number;
  readonly initialMs?: number;
  readonly maxMs?: number;
  readonly factor?: number;
  readonly jitter?: number;
};

const policyKeys: KeysOf<EffectPolicy> = { timeoutMs: true, retry: true, onTakeover: true };
const retryKeys: KeysOf<RetryPolicy> = { attempts: true, initialMs: true, maxMs: true, factor: true, jitter: true };

export type ResolvedPolicy = {
  readonly timeoutMs: number;
  readonly attempts: number;
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
  readonly jitter: number;
  readonly onTakeover: "restart" | "fail";
};

export function resolvePolicy(kind: "action" | "logic", policy: EffectPolicy | undefined): ResolvedPolicy {
  const retry = policy?.retry ?? {};
  return {
    timeoutMs: policy?.timeoutMs ?? (kind === "logic" ? 5 * 60_000 : 30_000),
    attempts: retry.attempts ?? (kind === "logic" ? 1 : 5),
    initialMs: retry.initialMs ?? 100,
    maxMs: retry.maxMs ?? 60_000,
    factor: retry.factor ?? 2,
    jitter: retry.jitter ?? 0.1,
    onTakeover: policy?.onTakeover ?? "restart",
  };
}

/** The wait before attempt `next` (2, 3, …). `dice` is uniform in [0, 1). */
export function retryDelayMs(policy: ResolvedPolicy, next: number, dice: number): number {
  const plain = Math.min(policy.maxMs, policy.initialMs * policy.factor ** (next - 2));
  return Math.round(plain * (1 - policy.jitter / 2 + policy.jitter * dice));
}

/** Problems of a policy in words; empty when it is usable. */
export function policyProblems(name: string, policy: EffectPolicy): string[] {
  const path = `effects.${name}.`;
  const problems = unknownOptions(policy, policyKeys, path);
  if (problems.length > 0) return problems;
  problems.push(...unknownOptions(policy.retry, retryKeys, `${path}retry.`));
  const within = (field: string, value: number | undefined, low: number, high: number) => {
    if (value !== undefined && !(value >= low && value <= high)) {
      problems.push(`effects.${name}.${field} is ${value}; it must be between ${low} and ${high}`);
    }
  };
  within("timeoutMs", policy.timeoutMs, 1, Number.POSITIVE_INFINITY);
  within("retry.attempts", policy.retry?.attempts, 1, 1_000_000);
  within("retry.initialMs", policy.retry?.initialMs, 0, 1e12);
  within("retry.maxMs", policy.retry?.maxMs, 0, 1e12);
  within("retry.factor", policy.retry?.factor, 1, 100);
  within("retry.jitter", policy.retry?.jitter, 0, 1);
  if (policy.onTakeover !== undefined && !["restart", "fail"].includes(policy.onTakeover)) {
    problems.push(`effects.${name}.onTakeover is ${String(policy.onTakeover)}; it must be "restart" or "fail"`);
  }
  return problems;
}
