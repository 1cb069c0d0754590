/** The bundle is what it says: 200 submissions, and every program in it really gets the verdict written beside it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createSandbox, findPython, type Program, type TestCase } from "../sandbox.ts";
import { authors, type BundledSubmission, bundledSubmissions, problems, type Verdict } from "./index.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-bundle-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const python = await findPython();
const sandbox = createSandbox({
  concurrency: 2,
  scratch,
  interpreters: { javascript: process.execPath, ...(python === undefined ? {} : { python }) },
});
const never = new AbortController().signal;

async function verdictOf(program: Program, tests: readonly TestCase[]): Promise<Verdict> {
  const { ok } = await sandbox.compile(program, never);
  if (!ok) return "CE";
  const { outcome } = await sandbox.run(program, tests, never);
  return ({ passed: "AC", wrong: "WA", crashed: "RE", timedOut: "TLE" } as const)[outcome];
}

function count(submissions: readonly BundledSubmission[], verdict: Verdict): number {
  return submissions.filter(({ expected }) => expected === verdict).length;
}

for (const available of [{ python: true }, { python: false }]) {
  describe(available.python ? "with Python" : "without Python", () => {
    const submissions = bundledSubmissions(available);

    test("there are 200, each with an id of its own, the same every time", () => {
      expect(submissions).toHaveLength(200);
      expect(new Set(submissions.map(({ id }) => id)).size).toBe(200);
      expect(bundledSubmissions(available)).toEqual(submissions);
    });

    test("they are mostly right, and few cost their whole time limit", () => {
      expect(count(submissions, "AC")).toBeGreaterThan(100);
      for (const verdict of ["WA", "CE", "RE"] as const) expect(count(submissions, verdict)).toBe(20);
      expect(count(submissions, "TLE")).toBe(8);
    });

    test("everybody and every problem takes part, in the languages there are", () => {
      expect(new Set(submissions.map(({ author }) => author))).toEqual(new Set(authors.map(({ id }) => id)));
      expect(new Set(submissions.map(({ problem }) => problem))).toEqual(new Set(problems.map(({ id }) => id)));
      expect(new Set(submissions.map(({ language }) => language)).size).toBe(available.python ? 2 : 1);
    });
  });
}

test("the verdicts do not depend on the language", () => {
  const verdicts = (python: boolean) => bundledSubmissions({ python }).map(({ expected }) => expected);
  expect(verdicts(true)).toEqual(verdicts(false));
});

// The same program is handed in by several authors: once is enough.
const programs = new Map(
  bundledSubmissions({ python: python !== undefined }).map((submission) => [submission.source, submission]),
);

describe.concurrent("really judged", () => {
  for (const { id, problem, language, source, expected } of programs.values()) {
    test(`${id} ${problem} in ${language}: ${expected}`, async () => {
      const tests = problems.find((candidate) => candidate.id === problem)?.tests ?? [];
      expect(await verdictOf({ language, source }, tests)).toBe(expected);
    });
  }
});
