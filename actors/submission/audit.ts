/**
 * Checks the books of a contest from what is stored: one verdict per submission, and sums that agree with it. Pure, and
 * apart from everything that wrote those documents.
 */
import type { BundledSubmission, Verdict } from "./bundle/index.ts";

export const verdicts: readonly Verdict[] = ["AC", "WA", "CE", "RE", "TLE"];

export type StoredSubmission = {
  readonly id: string;
  /** As listed: a verdict, once there is one. */
  readonly state: string;
  readonly author: string;
  readonly problem: string;
  readonly points: number;
  /** How many commits entered a verdict, as far as the history goes back. */
  readonly verdictsEntered: number;
};

export type Books = {
  readonly submissions: readonly StoredSubmission[];
  readonly authors: readonly {
    readonly id: string;
    readonly points: number;
    readonly accepted: number;
    readonly recent: readonly string[];
  }[];
  readonly problems: readonly { readonly id: string; readonly accepted: number; readonly attempts: number }[];
};

/** Each difference is a sentence; the numbers count what is missing and what is there once too often. */
export type Audit = {
  readonly judged: number;
  readonly lost: number;
  readonly doubled: number;
  readonly unexpected: number;
  readonly differences: readonly string[];
};

export function audit(expected: readonly BundledSubmission[], books: Books): Audit {
  const sums = { judged: 0, lost: 0, doubled: 0, unexpected: 0 };
  const differences: string[] = [];

  /** Compares what a book says with what the verdicts say, in units of one submission. */
  function compare(what: string, stored: number, due: number): void {
    if (stored === due) return;
    if (stored < due) sums.lost += due - stored;
    else sums.doubled += stored - due;
    differences.push(`${what}: ${stored}, but the verdicts say ${due}`);
  }

  const submissions = new Map(books.submissions.map((submission) => [submission.id, submission]));
  for (const { id, expected: verdict } of expected) {
    const stored = submissions.get(id);
    if (stored === undefined || !isVerdict(stored.state)) {
      sums.lost += 1;
      differences.push(`${id}: no verdict (${stored?.state ?? "not stored"})`);
      continue;
    }
    sums.judged += 1;
    if (stored.verdictsEntered > 1) {
      sums.doubled += stored.verdictsEntered - 1;
      differences.push(`${id}: given a verdict ${stored.verdictsEntered} times`);
    }
    if (stored.state !== verdict) {
      sums.unexpected += 1;
      differences.push(`${id}: ${stored.state}, expected ${verdict}`);
    }
  }

  const judged = books.submissions.filter(({ state }) => isVerdict(state));
  for (const author of books.authors) {
    const accepted = judged.filter(({ author: by, state }) => by === author.id && state === "AC");
    compare(`accepted by ${author.id}`, author.accepted, accepted.length);
    const due = accepted.reduce((sum, { points }) => sum + points, 0);
    if (author.points !== due) {
      sums.unexpected += 1;
      differences.push(`points of ${author.id}: ${author.points}, but the accepted submissions are worth ${due}`);
    }
    // Also catches a message lost and another doubled, which leave every sum right.
    const twice = author.recent.filter((id, i) => author.recent.indexOf(id) !== i);
    if (twice.length > 0) {
      sums.doubled += twice.length;
      differences.push(`awarded twice to ${author.id}: ${twice.join(", ")}`);
    }
  }
  for (const problem of books.problems) {
    const attempts = judged.filter(({ problem: of }) => of === problem.id);
    const accepted = attempts.filter(({ state }) => state === "AC");
    compare(`accepted answers to ${problem.id}`, problem.accepted, accepted.length);
    compare(`attempts at ${problem.id}`, problem.attempts, attempts.length);
  }
  // An actor that is not there at all has lost whatever it was owed.
  const absent = new Set([
    ...judged.filter(({ author }) => !books.authors.some(({ id }) => id === author)).map(({ author }) => author),
    ...judged.filter(({ problem }) => !books.problems.some(({ id }) => id === problem)).map(({ problem }) => problem),
  ]);
  for (const id of absent) differences.push(`${id}: not stored`);
  sums.lost += absent.size;
  return { ...sums, differences };
}

export function isVerdict(state: string): state is Verdict {
  return verdicts.some((verdict) => verdict === state);
}
