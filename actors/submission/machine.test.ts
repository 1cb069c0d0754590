/** The judge as plain XState, with a sandbox that answers what the test says: legal moves only, one verdict, one award. */
import fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { createActor, waitFor } from "xstate";
import { authorMachine, recentKept } from "./author.ts";
import type { Verdict } from "./bundle/index.ts";
import { type SubmissionInput, submissionMachine } from "./machine.ts";
import { problemMachine } from "./problem.ts";
import { SandboxError } from "./process.ts";
import type { Compiled, Report, Sandbox } from "./sandbox.ts";

// XState warns about events to an actor that is done; here they are sent on purpose.
beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
});

const input: SubmissionInput = {
  id: "s-001",
  author: "ada",
  problem: "gcd",
  language: "javascript",
  source: "console.log(6)",
  points: 15,
};

const legalMoves: Record<string, readonly string[]> = {
  pending: ["compiling"],
  compiling: ["running", "CE"],
  running: ["AC", "WA", "RE", "TLE"],
};

const good: Compiled = { ok: true, message: "" };
const passed: Report = { outcome: "passed", passed: 2, total: 2, message: "" };

type Sent = { readonly to: "author" | "problem"; readonly verdict?: Verdict };

/** An actor whose messages are noted instead of delivered: there is no other actor in plain XState. */
function start(answers: { compiled: Compiled | Error; report: Report | Error }) {
  const calls = { compile: 0, run: 0 };
  const sandbox: Sandbox = {
    async compile() {
      calls.compile += 1;
      if (answers.compiled instanceof Error) throw answers.compiled;
      return answers.compiled;
    },
    async run() {
      calls.run += 1;
      if (answers.report instanceof Error) throw answers.report;
      return answers.report;
    },
  };
  const sent: Sent[] = [];
  const machine = submissionMachine({ sandbox, testsOf: () => [{ input: "", output: "" }] }).provide({
    actions: {
      awardPoints: () => sent.push({ to: "author" }),
      countAnswer: (_, { verdict }) => sent.push({ to: "problem", verdict }),
    },
  });
  const actor = createActor(machine, { input });
  const states: string[] = [];
  const ids = new Set<string>();
  actor.subscribe({
    next: (snapshot) => {
      if (states.at(-1) !== snapshot.value) states.push(snapshot.value);
      ids.add(snapshot.context.id);
    },
    error: () => undefined,
  });
  actor.start();
  return { actor, states, ids, sent, calls };
}

function expectLegal(states: readonly string[]): void {
  for (const [i, state] of states.entries()) {
    if (i > 0) expect(legalMoves[states[i - 1]!] ?? [], `${states[i - 1]} -> ${state}`).toContain(state);
  }
}

const cases: { it: string; compiled?: Compiled; report?: Report; verdict: Verdict }[] = [
  { it: "accepts what passes every test", verdict: "AC" },
  { it: "refuses what does not compile", compiled: { ok: false, message: "SyntaxError" }, verdict: "CE" },
  { it: "finds a wrong answer", report: { ...passed, outcome: "wrong", passed: 1 }, verdict: "WA" },
  { it: "finds a crash", report: { ...passed, outcome: "crashed", passed: 1 }, verdict: "RE" },
  { it: "finds a time-out", report: { ...passed, outcome: "timedOut", passed: 0 }, verdict: "TLE" },
  { it: "accepts nothing that passed fewer tests than there are", report: { ...passed, passed: 1 }, verdict: "WA" },
  { it: "accepts nothing that was not tested", report: { ...passed, passed: 0, total: 0 }, verdict: "WA" },
];

describe("verdicts", () => {
  for (const { it, compiled = good, report = passed, verdict } of cases) {
    test(`the judge ${it}: ${verdict}`, async () => {
      const { actor, states, sent, calls } = start({ compiled, report });
      actor.send({ type: "JUDGE" });
      const end = await waitFor(actor, (snapshot) => snapshot.status === "done");
      expect(end.output).toEqual({ verdict });
      expect(end.hasTag("judged")).toBe(true);
      expectLegal(states);
      expect(calls).toEqual({ compile: 1, run: verdict === "CE" ? 0 : 1 });
      const counted = { to: "problem", verdict };
      expect(sent).toEqual(verdict === "AC" ? [{ to: "author" }, counted] : [counted]);
    });
  }
});

test("nothing happens before JUDGE, and only once afterwards", async () => {
  const { actor, states, calls } = start({ compiled: good, report: passed });
  expect(actor.getSnapshot().hasTag("pending")).toBe(true);
  expect(calls.compile).toBe(0);
  actor.send({ type: "JUDGE" });
  actor.send({ type: "JUDGE" });
  await waitFor(actor, (snapshot) => snapshot.status === "done");
  actor.send({ type: "JUDGE" });
  expect(states).toEqual(["pending", "compiling", "running", "AC"]);
  expect(calls).toEqual({ compile: 1, run: 1 });
});

test("a failure of the world gives no verdict", async () => {
  for (const answers of [
    { compiled: new SandboxError("no disk"), report: passed },
    { compiled: good, report: new SandboxError("no processes") },
  ]) {
    const { actor, states, sent } = start(answers);
    actor.send({ type: "JUDGE" });
    await expect(waitFor(actor, (snapshot) => snapshot.hasTag("judged"))).rejects.toThrow();
    expect(actor.getSnapshot().status).toBe("error");
    expect(states.filter((state) => legalMoves[state] === undefined)).toEqual([]);
    expect(sent).toEqual([]);
  }
});

test("whatever the sandbox answers: legal moves, one verdict, the same id, points only for AC", async () => {
  const compiled = fc.record({ ok: fc.boolean(), message: fc.string() });
  const report = fc.record({
    outcome: fc.constantFrom("passed", "wrong", "crashed", "timedOut" as const),
    passed: fc.nat(3),
    total: fc.nat(3),
    message: fc.string(),
  });
  // Where further JUDGE events fall: before the first answer, and after each step of the microtask queue.
  const judgements = fc.array(fc.nat(12), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(compiled, report, judgements, async (compiled, report, judgements) => {
      const { actor, states, ids, sent, calls } = start({ compiled, report });
      actor.send({ type: "JUDGE" });
      for (let step = 0; step <= 12; step += 1) {
        for (const at of judgements) if (at === step) actor.send({ type: "JUDGE" });
        await Promise.resolve();
      }
      const end = await waitFor(actor, (snapshot) => snapshot.status === "done");
      expectLegal(states);
      expect(states.filter((state) => legalMoves[state] === undefined)).toEqual([end.output?.verdict]);
      expect([...ids]).toEqual([input.id]);
      expect(sent.filter(({ to }) => to === "problem")).toHaveLength(1);
      expect(sent.filter(({ to }) => to === "author")).toHaveLength(end.output?.verdict === "AC" ? 1 : 0);
      expect(calls.compile).toBe(1);
      expect(calls.run).toBe(compiled.ok ? 1 : 0);
    }),
    { numRuns: 300 },
  );
});

test("everything that a submission keeps is plain data", async () => {
  const { actor } = start({ compiled: good, report: passed });
  actor.send({ type: "JUDGE" });
  const { context, output } = await waitFor(actor, (snapshot) => snapshot.status === "done");
  expect(JSON.parse(JSON.stringify({ context, output }))).toEqual({ context, output });
});

test("an author's document stays small, and its sums count everything", () => {
  const author = createActor(authorMachine, { input: { name: "Ada" } }).start();
  for (let n = 1; n <= 100; n += 1) author.send({ type: "ACCEPTED", submission: `s-${n}`, points: 10 });
  const { points, accepted, recent } = author.getSnapshot().context;
  expect({ points, accepted }).toEqual({ points: 1000, accepted: 100 });
  expect(recent).toHaveLength(recentKept);
  expect(recent.at(-1)).toBe("s-100");
});

test("a problem counts attempts, and the accepted among them, removing no repetitions", () => {
  const problem = createActor(problemMachine, { input: { title: "GCD" } }).start();
  for (const verdict of ["AC", "WA", "AC", "AC"] as const) problem.send({ type: "JUDGED", submission: "s-1", verdict });
  expect(problem.getSnapshot().context).toEqual({ title: "GCD", accepted: 3, attempts: 4 });
});
