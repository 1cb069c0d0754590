/**
 * The bundled contest: ten problems, twelve authors, and exactly 200 submissions with the verdict each must get.
 * Nothing is random, so that two machines judge the same programs in the same order.
 */
import type { Language } from "../sandbox.ts";
import { aPlusB } from "./a-plus-b.ts";
import { brackets } from "./brackets.ts";
import { fibonacci } from "./fibonacci.ts";
import { gcd } from "./gcd.ts";
import { increasingRun } from "./increasing-run.ts";
import { matrixTrace } from "./matrix-trace.ts";
import { palindromes } from "./palindromes.ts";
import { primes } from "./primes.ts";
import type { Problem, Variant, Verdict } from "./problem.ts";
import { sorting } from "./sorting.ts";
import { wordCount } from "./word-count.ts";

export type { Problem, Variant, Verdict } from "./problem.ts";

export const problems: readonly Problem[] = [
  aPlusB,
  gcd,
  primes,
  palindromes,
  brackets,
  fibonacci,
  wordCount,
  sorting,
  increasingRun,
  matrixTrace,
];

export type Author = { readonly id: string; readonly name: string };

export const authors: readonly Author[] = [
  { id: "ada", name: "Ada" },
  { id: "alonzo", name: "Alonzo" },
  { id: "barbara", name: "Barbara" },
  { id: "dennis", name: "Dennis" },
  { id: "donald", name: "Donald" },
  { id: "edsger", name: "Edsger" },
  { id: "frances", name: "Frances" },
  { id: "grace", name: "Grace" },
  { id: "john", name: "John" },
  { id: "ken", name: "Ken" },
  { id: "leslie", name: "Leslie" },
  { id: "margaret", name: "Margaret" },
];

export type BundledSubmission = {
  readonly id: string;
  readonly problem: string;
  readonly author: string;
  readonly language: Language;
  readonly source: string;
  readonly points: number;
  readonly expected: Verdict;
};

/** One round of the contest: which variant each problem gets, and in which language. */
type Round = { readonly verdict: Verdict; readonly nth?: number; readonly language: Language };

const rounds: readonly Round[] = [
  { verdict: "AC", nth: 0, language: "javascript" },
  { verdict: "AC", nth: 1, language: "python" },
  { verdict: "WA", language: "javascript" },
  { verdict: "AC", nth: 0, language: "python" },
  { verdict: "AC", nth: 1, language: "javascript" },
  { verdict: "RE", language: "python" },
  { verdict: "AC", nth: 0, language: "javascript" },
  { verdict: "CE", language: "javascript" },
  { verdict: "AC", nth: 1, language: "python" },
  { verdict: "AC", nth: 0, language: "python" },
  { verdict: "TLE", language: "python" },
  { verdict: "AC", nth: 1, language: "javascript" },
  { verdict: "WA", language: "python" },
  { verdict: "AC", nth: 0, language: "python" },
  { verdict: "AC", nth: 1, language: "javascript" },
  { verdict: "CE", language: "python" },
  { verdict: "AC", nth: 0, language: "javascript" },
  { verdict: "RE", language: "javascript" },
  { verdict: "AC", nth: 1, language: "python" },
  { verdict: "AC", nth: 0, language: "javascript" },
];

/** Each costs its whole time limit, so only so many problems get one. */
const slowProblems = 8;

/** All 200. Without Python its submissions come in JavaScript instead: the same idea, the same verdict. */
export function bundledSubmissions(available: { readonly python: boolean }): readonly BundledSubmission[] {
  return rounds.flatMap((_, r) =>
    problems.map((problem, p) => {
      const number = r * problems.length + p;
      // Each problem is two rounds ahead of the one before: slow programs side by side would make progress stand still.
      const round = rounds[(r + 2 * p) % rounds.length]!;
      const isFast = round.verdict === "TLE" && p >= slowProblems;
      const variant = pick(problem, isFast ? { ...round, verdict: "AC" } : round);
      // There is one slow round, and both languages should have slow programs.
      const wanted = round.verdict === "TLE" && p % 2 === 1 ? "javascript" : round.language;
      const language = available.python ? wanted : "javascript";
      const author = authors[(number * 5 + r) % authors.length]!;
      return {
        id: `s-${String(number + 1).padStart(3, "0")}`,
        problem: problem.id,
        author: author.id,
        language,
        source: variant[language],
        points: problem.points,
        expected: variant.verdict,
      };
    }),
  );
}

function pick(problem: Problem, round: Round): Variant {
  const fitting = problem.variants.filter((variant) => variant.verdict === round.verdict);
  const variant = fitting[round.nth ?? 0];
  if (variant === undefined) throw new Error(`${problem.id} has no such variant: ${round.verdict} ${round.nth ?? 0}`);
  return variant;
}
