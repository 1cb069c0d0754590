/** What a contest does with its actors, whoever hosts them: every create and every send has a key, so all of it repeats. */
import { authors, type BundledSubmission, problems } from "./bundle/index.ts";
import type { JudgeActors } from "./hosting.ts";

const patienceMs = 120_000;

export async function register(runtime: JudgeActors, submissions: readonly BundledSubmission[]): Promise<void> {
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

export async function judgeAll(
  runtime: JudgeActors,
  submissions: readonly BundledSubmission[],
  atOnce: number,
  tell: (judged: number, underWay: number) => void,
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
      tell(judged, underWay);
    }
  }
  await Promise.all(Array.from({ length: atOnce }, judgeNext));
}

/** Waits until every verdict has reached the books. What never arrives is for the audit to name. */
export async function settle(runtime: JudgeActors, submissions: readonly BundledSubmission[]): Promise<void> {
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
