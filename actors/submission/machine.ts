/**
 * The online judge as a statechart: pending, compiling, running, then one verdict for ever. It holds the program and
 * where it stands, never test cases or processes; those are the judge's, which arrives from outside.
 */
import { assign, fromPromise, sendTo, setup } from "xstate";
import { address } from "../../runtime/index.ts";
import type { Verdict } from "./bundle/problem.ts";
import type { Compiled, Language, Program, Report, Sandbox, TestCase } from "./sandbox.ts";

/** What is handed in. It never changes afterwards, the id least of all. */
export type SubmissionInput = {
  readonly id: string;
  readonly author: string;
  readonly problem: string;
  readonly language: Language;
  readonly source: string;
  /** What the author gets for it, fixed when it was handed in: a problem's worth may change later. */
  readonly points: number;
};

export type SubmissionContext = SubmissionInput & {
  /** Why the verdict is not AC, for its author. */
  readonly message: string;
  readonly passed: number;
  readonly total: number;
};

export type SubmissionEvent = { readonly type: "JUDGE" };
export type SubmissionOutput = { readonly verdict: Verdict };

export type Judge = {
  readonly sandbox: Sandbox;
  /** The test cases of a problem, at least one; throws for a problem that does not exist. */
  readonly testsOf: (problem: string) => readonly TestCase[];
};

/**
 * Four steps: compile, run, award points to the author's actor, count for the problem's actor. A step that the world
 * fails, rather than the program, has no transition on purpose: a false verdict would be worse than an actor that
 * stands parked, with the reason, until someone has put the world right.
 */
export function submissionMachine(judge: Judge) {
  return setup({
    types: {
      input: {} as SubmissionInput,
      context: {} as SubmissionContext,
      events: {} as SubmissionEvent,
      output: {} as SubmissionOutput,
      tags: {} as "pending" | "judging" | "judged",
    },
    actors: {
      compile: fromPromise<Compiled, Program>(({ input, signal }) => judge.sandbox.compile(input, signal)),
      run: fromPromise<Report, Program & { readonly problem: string }>(({ input, signal }) =>
        judge.sandbox.run(input, judge.testsOf(input.problem), signal),
      ),
    },
    guards: {
      compiles: (_, compiled: Compiled) => compiled.ok,
      passesAll: (_, report: Report) =>
        report.outcome === "passed" && report.total > 0 && report.passed === report.total,
      crashes: (_, report: Report) => report.outcome === "crashed",
      timesOut: (_, report: Report) => report.outcome === "timedOut",
    },
    actions: {
      recordCompiled: assign({ message: (_, compiled: Compiled) => compiled.message }),
      recordReport: assign((_, { message, passed, total }: Report) => ({ message, passed, total })),
      awardPoints: sendTo(
        ({ context }) => address("author", context.author),
        ({ context }) => ({ type: "ACCEPTED", submission: context.id, points: context.points }),
      ),
      countAnswer: sendTo(
        ({ context }) => address("problem", context.problem),
        ({ context }, { verdict }: { readonly verdict: Verdict }) => ({
          type: "JUDGED",
          submission: context.id,
          verdict,
        }),
      ),
    },
  }).createMachine({
    id: "submission",
    context: ({ input }) => ({
      id: input.id,
      author: input.author,
      problem: input.problem,
      language: input.language,
      source: input.source,
      points: input.points,
      message: "",
      passed: 0,
      total: 0,
    }),
    initial: "pending",
    states: {
      pending: {
        tags: "pending",
        on: { JUDGE: "compiling" },
      },
      compiling: {
        tags: "judging",
        invoke: {
          src: "compile",
          input: ({ context }) => ({ language: context.language, source: context.source }),
          onDone: [
            { guard: { type: "compiles", params: ({ event }) => event.output }, target: "running" },
            { target: "CE", actions: { type: "recordCompiled", params: ({ event }) => event.output } },
          ],
        },
      },
      running: {
        tags: "judging",
        invoke: {
          src: "run",
          input: ({ context }) => ({ language: context.language, source: context.source, problem: context.problem }),
          onDone: [
            {
              guard: { type: "passesAll", params: ({ event }) => event.output },
              target: "AC",
              actions: { type: "recordReport", params: ({ event }) => event.output },
            },
            {
              guard: { type: "crashes", params: ({ event }) => event.output },
              target: "RE",
              actions: { type: "recordReport", params: ({ event }) => event.output },
            },
            {
              guard: { type: "timesOut", params: ({ event }) => event.output },
              target: "TLE",
              actions: { type: "recordReport", params: ({ event }) => event.output },
            },
            { target: "WA", actions: { type: "recordReport", params: ({ event }) => event.output } },
          ],
        },
      },
      AC: {
        type: "final",
        tags: "judged",
        entry: ["awardPoints", { type: "countAnswer", params: { verdict: "AC" } }],
        output: { verdict: "AC" },
      },
      WA: {
        type: "final",
        tags: "judged",
        entry: { type: "countAnswer", params: { verdict: "WA" } },
        output: { verdict: "WA" },
      },
      CE: {
        type: "final",
        tags: "judged",
        entry: { type: "countAnswer", params: { verdict: "CE" } },
        output: { verdict: "CE" },
      },
      RE: {
        type: "final",
        tags: "judged",
        entry: { type: "countAnswer", params: { verdict: "RE" } },
        output: { verdict: "RE" },
      },
      TLE: {
        type: "final",
        tags: "judged",
        entry: { type: "countAnswer", params: { verdict: "TLE" } },
        output: { verdict: "TLE" },
      },
    },
    output: ({ event }) => event.output as SubmissionOutput,
  });
}
