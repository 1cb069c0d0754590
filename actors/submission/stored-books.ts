/** Reads a contest's books from the stored documents, as any later process would: nothing of the judging is left. */
import type { Books, StoredSubmission } from "./audit.ts";
import { isVerdict } from "./audit.ts";
import { authors, problems } from "./bundle/index.ts";
import { type JudgeActors, openJudge } from "./hosting.ts";

/** `data` must not be hosted by another process. */
export async function readBooks(data: string): Promise<Books> {
  const runtime = await openJudge({ data, concurrency: 1, python: undefined });
  try {
    return await booksOf(runtime);
  } finally {
    await runtime.stop();
  }
}

export async function booksOf(runtime: JudgeActors): Promise<Books> {
  const listed = await runtime.list("submission", { limit: 100_000 });
  return {
    submissions: await Promise.all(listed.map(({ id }) => readSubmission(runtime, id))),
    authors: await present(
      authors.map(({ id }) => id),
      async (id) => (await runtime.actor("author", id).state())?.context,
    ),
    problems: await present(
      problems.map(({ id }) => id),
      async (id) => (await runtime.actor("problem", id).state())?.context,
    ),
  };
}

async function readSubmission(runtime: JudgeActors, id: string): Promise<StoredSubmission> {
  const submission = runtime.actor("submission", id);
  const [now, history] = await Promise.all([submission.state(), submission.history()]);
  if (now === undefined) throw new Error(`submission ${id} is listed but not stored`);
  const { author, problem, points } = now.context;
  const states = history.map(({ document }) => document.state);
  const entered = states.filter((state, i) => isVerdict(state) && state !== states[i - 1]);
  return { id, state: String(now.value), author, problem, points, verdictsEntered: entered.length };
}

async function present<T extends object>(
  ids: readonly string[],
  read: (id: string) => Promise<T | undefined>,
): Promise<({ readonly id: string } & T)[]> {
  const found = await Promise.all(ids.map(async (id) => ({ id, context: await read(id) })));
  return found.flatMap(({ id, context }) => (context === undefined ? [] : [{ id, ...context }]));
}
