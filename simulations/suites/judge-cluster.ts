/** The shipped judge on three nodes, its sandbox a service outside: every submission gets its verdict and its points once. */
import { authorMachine } from "../../actors/submission/author.ts";
import { submissionMachine } from "../../actors/submission/machine.ts";
import { problemMachine } from "../../actors/submission/problem.ts";
import type { Compiled, Report } from "../../actors/submission/sandbox.ts";
import { type ActorTypes, defineActor } from "../../runtime/index.ts";
import type { CallStep, Cluster, End, Process } from "../run/cluster.ts";
import type { Dice } from "../world/dice.ts";

const verdicts = ["AC", "WA", "CE", "RE", "TLE"] as const;
type Verdict = (typeof verdicts)[number];

type SandboxRequest = { readonly do: "compile" | "run"; readonly source: Verdict };

const outcomes = { AC: "passed", WA: "wrong", RE: "crashed", TLE: "timedOut", CE: "wrong" } as const;

/** The program's text is the verdict that it deserves. */
function sandbox({ do: what, source }: SandboxRequest): Compiled | Report {
  if (what === "compile") return { ok: source !== "CE", message: source === "CE" ? "no such program" : "" };
  return { outcome: outcomes[source], passed: source === "AC" ? 3 : 1, total: 3, message: source };
}

/** Again and again: a sandbox that does not answer is the world's fault, never the program's. */
const insist = { retry: { attempts: 1_000, initialMs: 50, maxMs: 2_000 } };

export function judgeActors(process: Process): ActorTypes {
  const ask = process.service("sandbox");
  const submission = submissionMachine({
    sandbox: {
      compile: async ({ source }) => (await ask({ do: "compile", source })) as Compiled,
      run: async ({ source }) => (await ask({ do: "run", source })) as Report,
    },
    testsOf: () => [{ input: "1", output: "1" }],
  });
  return {
    submission: defineActor(submission, { effects: { compile: insist, run: insist } }),
    author: defineActor(authorMachine),
    problem: defineActor(problemMachine),
  };
}

const pointsEach = 10;
const authors = ["ada", "bob"];
const problems = ["sum", "gcd"];

type Submission = { readonly author: string; readonly problem: string; readonly source: Verdict };

export function judgeSteps(dice: Dice): readonly CallStep[] {
  const people = authors.map((name) => ({ to: `author/${name}`, first: true, create: { name }, key: `make-${name}` }));
  const tasks = problems.map((title) => ({
    to: `problem/${title}`,
    first: true,
    create: { title },
    key: `make-${title}`,
  }));
  const work = Array.from({ length: dice.whole(2, 5) }, (_, index): readonly CallStep[] => {
    const id = `s${index + 1}`;
    const client = 2 + (index % 2);
    const input = {
      id,
      author: dice.pick(authors),
      problem: dice.pick(problems),
      language: "javascript",
      source: dice.pick(verdicts),
      points: pointsEach,
    };
    return [
      { client, to: `submission/${id}`, create: input, key: `hand-in-${id}`, waitMs: dice.pick([0, 50, 900, 2_500]) },
      {
        client,
        to: `submission/${id}`,
        send: { type: "JUDGE" },
        waitMs: dice.pick([0, 10, 700]),
        ...(dice.chance(0.7) && { key: `judge-${id}` }),
      },
    ];
  });
  return [...people, ...tasks, ...work.flat()];
}

/** Of what was handed in and told to be judged, by the receipts of the callers alone. */
function judged({ steps }: End): readonly (Submission & { readonly id: string })[] {
  const told = new Set(
    steps.flatMap(({ step, outcome }) => (step.send !== undefined && outcome === "acknowledged" ? [step.to] : [])),
  );
  return steps.flatMap(({ step, outcome }) =>
    step.to.startsWith("submission/") && step.create !== undefined && outcome === "acknowledged" && told.has(step.to)
      ? [{ id: step.to.slice("submission/".length), ...(step.create as Submission) }]
      : [],
  );
}

/** Told without an answer: it may have been judged as well. */
function maybeJudged({ steps }: End): number {
  return steps.filter(({ step, outcome }) => step.send !== undefined && outcome !== "acknowledged").length;
}

const points = (end: End, name: string): number =>
  (end.state("author", name)?.context as { points: number } | undefined)?.points ?? 0;
const attempts = (end: End, title: string): number =>
  (end.state("problem", title)?.context as { attempts: number } | undefined)?.attempts ?? 0;

export const judgeCluster: Omit<Cluster, "workload"> = {
  actors: (process) => judgeActors(process),
  services: { sandbox: (request: SandboxRequest) => sandbox(request) },
  clients: 3,
  invariants: {
    "every submission that was judged has its verdict": (end) =>
      judged(end)
        .filter(
          ({ id, source }) =>
            (end.state("submission", id)?.output as { verdict?: string } | undefined)?.verdict !== source,
        )
        .map(({ id, source }) => `${id} should be ${source}, is ${JSON.stringify(end.state("submission", id)?.value)}`)
        .join("; ") || true,
    "an author has the points of each accepted submission once": (end) => {
      const wrong = authors.filter((name) => {
        const due = judged(end).filter(({ author, source }) => author === name && source === "AC").length * pointsEach;
        const got = points(end, name);
        return got < due || got > due + maybeJudged(end) * pointsEach;
      });
      return wrong.map((name) => `${name} has ${points(end, name)} points`).join("; ") || true;
    },
    "a problem counts each judged submission once": (end) => {
      const wrong = problems.filter((title) => {
        const due = judged(end).filter(({ problem }) => problem === title).length;
        return attempts(end, title) < due || attempts(end, title) > due + maybeJudged(end);
      });
      return wrong.map((title) => `${title} counts ${attempts(end, title)}`).join("; ") || true;
    },
  },
};
