/** Opens the judge's runtime on a data directory: the three actor types, their policies, and where they are kept. */
import { join } from "node:path";
import { embedded } from "../../runtime/adapters/embedded/index.ts";
import { connect, createRuntime, defineActor, type StoreProvider } from "../../runtime/index.ts";
import { authorMachine } from "./author.ts";
import { problems } from "./bundle/index.ts";
import { type Judge, submissionMachine } from "./machine.ts";
import { problemMachine } from "./problem.ts";
import { createSandbox, type Sandbox } from "./sandbox.ts";

export type HostingOptions = {
  /** Holds the sandbox's scratch directory, and the store unless another is given. */
  readonly data: string;
  readonly store?: StoreProvider;
  readonly concurrency: number;
  /** Absolute path; absent: Python submissions do not compile here. */
  readonly python: string | undefined;
  /** Until it resolves, no step starts: what was in flight can be counted before it moves on. */
  readonly opened?: Promise<void>;
};

export type JudgeRuntime = Awaited<ReturnType<typeof openJudge>>;
/** What a runtime and a client that hosts nothing have in common. */
export type JudgeActors = Pick<JudgeRuntime, "actor" | "list">;

export function openJudge({ data, store, concurrency, python, opened }: HostingOptions) {
  const interpreters = { javascript: process.execPath, ...(python === undefined ? {} : { python }) };
  const sandbox = createSandbox({ concurrency, scratch: scratchOf(data), interpreters });
  const tests = new Map(problems.map((problem) => [problem.id, problem.tests]));
  const judge: Judge = {
    sandbox: opened === undefined ? sandbox : behindGate(sandbox, opened),
    testsOf(problem) {
      const found = tests.get(problem);
      if (found === undefined) throw new Error(`no such problem: ${problem}`);
      return found;
    },
  };
  return createRuntime({ actors: judgeActors(judge), store: store ?? embedded(data), logger: warnings });
}

/** Sends and reads, and judges nothing: for a store that others host. */
export function connectJudge(store: StoreProvider) {
  const elsewhere = () => Promise.reject(new Error("nothing is judged here"));
  const judge: Judge = { sandbox: { compile: elsewhere, run: elsewhere }, testsOf: () => [] };
  return connect({ actors: judgeActors(judge), store, logger: warnings });
}

function judgeActors(judge: Judge) {
  // A step that the world fails is tried again; one that still fails parks its submission, with the reason.
  const step = { timeoutMs: 120_000, retry: { attempts: 4, initialMs: 100, maxMs: 2_000 } } as const;
  return {
    submission: defineActor(submissionMachine(judge), { version: 1, effects: { compile: step, run: step } }),
    author: defineActor(authorMachine, { version: 1 }),
    problem: defineActor(problemMachine, { version: 1 }),
  };
}

export function scratchOf(data: string): string {
  return join(data, "scratch");
}

const warnings = {
  debug: () => undefined,
  info: () => undefined,
  warn: (message: string, fields?: object) => console.error("warning:", message, fields ?? ""),
  error: (message: string, fields?: object) => console.error("error:", message, fields ?? ""),
};

function behindGate(sandbox: Sandbox, opened: Promise<void>): Sandbox {
  return {
    compile: (...args) => opened.then(() => sandbox.compile(...args)),
    run: (...args) => opened.then(() => sandbox.run(...args)),
  };
}
