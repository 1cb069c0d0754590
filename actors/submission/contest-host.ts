/**
 * The process that judges, and that gets killed. It does the same from the start each time it is started: every create
 * and every send carries a key, so what was done before is not done again. It reports to its parent and decides nothing.
 */
import { rm } from "node:fs/promises";
import { authors, type BundledSubmission, bundledSubmissions, problems } from "./bundle/index.ts";
import { type JudgeRuntime, openJudge, scratchOf } from "./hosting.ts";

/** What the host tells its parent. */
export type HostMessage =
  /** Ids of the submissions that the store had under way when this process opened it. */
  | { readonly kind: "started"; readonly inFlight: readonly string[] }
  | { readonly kind: "progress"; readonly judged: number; readonly inFlight: number }
  /** All judged, all counted, the runtime stopped. */
  | { readonly kind: "finished" };

export type ContestHostOptions = {
  readonly data: string;
  readonly concurrency: number;
  readonly python: string | undefined;
  readonly tell: (message: HostMessage) => void;
};

// More submissions under way than processes may run, so that the processors never wait for a commit.
const extraInFlight = 6;
const patienceMs = 120_000;

export async function hostContest({ data, concurrency, python, tell }: ContestHostOptions): Promise<void> {
  // Directories of programs that a killed predecessor was running.
  await rm(scratchOf(data), { recursive: true, force: true });
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const runtime = await openJudge({ data, concurrency, python, opened });
  const inFlight = await runtime.list("submission", { tag: "judging", limit: 1000 });
  tell({ kind: "started", inFlight: inFlight.map(({ id }) => id) });
  open();

  const submissions = bundledSubmissions({ python: python !== undefined });
  await register(runtime, submissions);
  await judgeAll(runtime, submissions, concurrency + extraInFlight, tell);
  await settle(runtime, submissions);
  await runtime.stop();
  tell({ kind: "finished" });
}

async function register(runtime: JudgeRuntime, submissions: readonly BundledSubmission[]): Promise<void> {
  // Receivers first: a message to nobody would become a dead letter.
  await Promise.all([
    ...authors.map(({ id, name }) => runtime.actor("author", id).create({ name }, { key: `register/${id}` })),
    ...problems.map(({ id, title }) => runtime.actor("problem", id).create({ title }, { key: `register/${id}` })),
  ]);
  await Promise.all(
    submissions.map(({ expected: _, ...input }) =>
      runtime.actor("submission", input.id).create(input, { key: `submit/${input.id}` }),
    ),
  );
}

async function judgeAll(
  runtime: JudgeRuntime,
  submissions: readonly BundledSubmission[],
  atOnce: number,
  tell: (message: HostMessage) => void,
): Promise<void> {
  const waiting = submissions.values();
  let judged = 0;
  let underWay = 0;
  async function judgeNext(): Promise<void> {
    // One iterator for all: each takes what none has taken yet.
    for (const { id } of waiting) {
      const submission = runtime.actor("submission", id);
      underWay += 1;
      await submission.send({ type: "JUDGE" }, { key: `judge/${id}` });
      await submission.waitFor("judged", { timeoutMs: patienceMs });
      underWay -= 1;
      judged += 1;
      tell({ kind: "progress", judged, inFlight: underWay });
    }
  }
  await Promise.all(Array.from({ length: atOnce }, judgeNext));
}

/** Waits until every verdict has reached the books. What never arrives is for the audit to name. */
async function settle(runtime: JudgeRuntime, submissions: readonly BundledSubmission[]): Promise<void> {
  const listed = await runtime.list("submission", { state: "AC", limit: 1000 });
  const accepted = new Set(listed.map(({ id }) => id));
  const wait = { timeoutMs: 10_000 };
  await Promise.allSettled([
    ...authors.map(({ id }) => {
      const due = submissions.filter((submission) => submission.author === id && accepted.has(submission.id)).length;
      return runtime.actor("author", id).waitFor(({ context }) => context.accepted >= due, wait);
    }),
    ...problems.map(({ id }) => {
      const due = submissions.filter(({ problem }) => problem === id).length;
      return runtime.actor("problem", id).waitFor(({ context }) => context.attempts >= due, wait);
    }),
  ]);
}
