/**
 * R4 and C5 from outside: what reached a resource, against the results that the documents recorded. An effect may run
 * again until its result is recorded and never afterwards; each that was due ran; tokens never fall at a fenced resource.
 */
import { compareTokens, type Token } from "../../runtime/ports/store.ts";
import type { Violation } from "./violation.ts";

/** One run of an effect, in the order in which they reached the resource. */
export type PerformedEffect = {
  readonly key: string;
  readonly token: Token;
  /** True time at which the runtime began it. It may have reached the resource much later. */
  readonly calledMs: number;
  /** What tokens are compared within. */
  readonly fence: string;
  readonly outcome: "applied" | "repeated" | "fenced";
};

/** A result that a document recorded: the true time and the token of the commit. */
export type RecordedResult = { readonly key: string; readonly token: Token; readonly atMs: number };

export type EffectHistory = {
  readonly performed: readonly PerformedEffect[];
  readonly recorded: readonly RecordedResult[];
  /** The keys of all effects that were due, by the documents, and had time to run. */
  readonly due: readonly string[];
  /** Whether the resource checks tokens. */
  readonly isFenced: boolean;
};

export function checkEffects(history: EffectHistory): readonly Violation[] {
  return [...checkRecorded(history), ...checkDue(history), ...(history.isFenced ? checkTokens(history.performed) : [])];
}

function checkRecorded({ performed, recorded }: EffectHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const results = new Map<string, RecordedResult>();
  for (const result of recorded) {
    if (results.has(result.key)) violations.push({ rule: "recorded-twice", detail: result.key });
    else results.set(result.key, result);
  }
  for (const { key, token, calledMs, outcome } of performed) {
    const result = results.get(key);
    if (result === undefined || calledMs <= result.atMs || outcome === "fenced") continue;
    // An earlier owner cannot know what a later one recorded; only fencing stops it, and `token-fell` watches that.
    if (compareTokens(token, result.token) < 0) continue;
    violations.push({
      rule: "performed-after-recorded",
      detail: `${key} called at ${calledMs} under ${token.join(".")}, its result was recorded at ${result.atMs}`,
    });
  }
  const reached = new Set(performed.filter(({ outcome }) => outcome !== "fenced").map(({ key }) => key));
  for (const key of results.keys()) {
    if (!reached.has(key)) violations.push({ rule: "recorded-never-performed", detail: key });
  }
  return violations;
}

function checkDue({ performed, due }: EffectHistory): readonly Violation[] {
  const reached = new Set(performed.filter(({ outcome }) => outcome !== "fenced").map(({ key }) => key));
  return due.filter((key) => !reached.has(key)).map((key) => ({ rule: "never-performed", detail: key }));
}

function checkTokens(performed: readonly PerformedEffect[]): readonly Violation[] {
  const violations: Violation[] = [];
  const newest = new Map<string, Token>();
  for (const { key, token, fence, outcome } of performed) {
    if (outcome === "fenced") continue;
    const last = newest.get(fence);
    if (last !== undefined && compareTokens(token, last) < 0) {
      violations.push({
        rule: "token-fell",
        detail: `${key} under ${token.join(".")} after ${last.join(".")} at ${fence}`,
      });
    } else {
      newest.set(fence, token);
    }
  }
  return violations;
}
