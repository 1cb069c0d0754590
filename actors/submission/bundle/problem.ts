/**
 * What a bundled problem is: its test cases, and programs that people really write for it, right and wrong, each in
 * both languages. Data only.
 */
import type { Language, TestCase } from "../sandbox.ts";

export type Verdict = "AC" | "WA" | "CE" | "RE" | "TLE";

/** One idea written twice, so that a machine without Python judges its equivalent. */
export type Variant = { readonly verdict: Verdict } & Readonly<Record<Language, string>>;

export type Problem = {
  readonly id: string;
  readonly title: string;
  /** Awarded once per accepted submission. */
  readonly points: number;
  readonly tests: readonly TestCase[];
  readonly variants: readonly Variant[];
};
