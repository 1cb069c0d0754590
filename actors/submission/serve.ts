/**
 * The judge as a service: programs dropped into `<data>/inbox` are judged, and their verdicts printed. A file is moved
 * away only after its submission is durable, under a key made from its content: a crash in between repeats nothing.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, stat } from "node:fs/promises";
import { join, parse } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { authors, problems } from "./bundle/index.ts";
import { type JudgeRuntime, openJudge } from "./hosting.ts";
import { inboxLanguage, readInboxProgram } from "./inbox-file.ts";

export type ServeOptions = {
  readonly data: string;
  readonly concurrency: number;
  readonly python: string | undefined;
  readonly say: (text: string) => void;
  /** Aborted: a clean stop. Steps under way are finished, or aborted and run again at the next start. */
  readonly signal: AbortSignal;
};

const pollMs = 300;
const maxFileBytes = 1024 * 1024;

export async function serve({ data, concurrency, python, say, signal }: ServeOptions): Promise<void> {
  const inbox = join(data, "inbox");
  // The store first: it makes its directory itself, and refuses one that others have put things into.
  const runtime = await openJudge({ data, concurrency, python });
  const worth = new Map(problems.map(({ id, points }) => [id, points]));
  const announced = new Set<string>();

  /** Not awaited by the loop: the next file need not wait for this verdict. */
  function announce(id: string): void {
    if (announced.has(id)) return;
    announced.add(id);
    verdictOf(runtime, id).then(say, (error: unknown) => {
      if (!signal.aborted) say(`${id}: no verdict yet: ${String(error)}`);
    });
  }

  async function take(name: string): Promise<void> {
    const language = inboxLanguage(name);
    if (language === undefined) return;
    const path = join(inbox, name);
    const { size } = await stat(path);
    const source = size > maxFileBytes ? "" : await readFile(path, "utf8");
    const program =
      size > maxFileBytes
        ? `it has ${size} bytes, more than ${maxFileBytes}`
        : readInboxProgram(language, source, new Set(worth.keys()));
    if (typeof program === "string") {
      await rename(path, join(inbox, "refused", name));
      say(`${name}: refused: ${program}`);
      return;
    }
    const digest = createHash("sha256").update(source).digest("hex").slice(0, 12);
    const id = `${parse(name).name.slice(0, 60)}-${digest}`;
    const author = runtime.actor("author", program.author);
    if ((await author.state()) === undefined) {
      await author.create({ name: program.author }, { key: `register/${program.author}` });
    }
    const input = { id, ...program, source, points: worth.get(program.problem) ?? 0 };
    const submission = runtime.actor("submission", id);
    if ((await submission.state())?.hasTag("judged")) say(`${name}: was judged before`);
    else await submission.createAndSend(input, { type: "JUDGE" }, { key: `judge/${id}` });
    await rename(path, join(inbox, "taken", name));
    announce(id);
  }

  try {
    for (const folder of ["taken", "refused"]) await mkdir(join(inbox, folder), { recursive: true });
    for (const { id, name } of authors) {
      const author = runtime.actor("author", id);
      if ((await author.state()) === undefined) await author.create({ name }, { key: `register/${id}` });
    }
    for (const { id, title } of problems) {
      const problem = runtime.actor("problem", id);
      if ((await problem.state()) === undefined) await problem.create({ title }, { key: `register/${id}` });
    }
    for (const { id } of await runtime.list("submission", { tag: "judging", limit: 10_000 })) announce(id);
    say(`drop programs into ${inbox}; stop with Ctrl-C`);
    let sizes = new Map<string, string>();
    while (!signal.aborted) {
      const seen = await look(inbox);
      for (const [name, mark] of seen) {
        // Unchanged since the last look: nobody is still writing it.
        if (sizes.get(name) !== mark) continue;
        await take(name).catch((error: unknown) => say(`${name}: will be tried again: ${String(error)}`));
      }
      sizes = seen;
      await sleep(pollMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await runtime.stop();
    say("stopped");
  }
}

async function look(inbox: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(inbox, { withFileTypes: true })) {
    if (!entry.isFile() || inboxLanguage(entry.name) === undefined) continue;
    const { size, mtimeMs } = await stat(join(inbox, entry.name));
    found.set(entry.name, `${size} ${mtimeMs}`);
  }
  return found;
}

async function verdictOf(runtime: JudgeRuntime, id: string): Promise<string> {
  const end = await runtime.actor("submission", id).waitFor("judged", { timeoutMs: 600_000 });
  const { message, passed, total, author, problem } = end.context;
  return `${id}: ${String(end.value)} (${author}, ${problem}, ${passed}/${total})${message === "" ? "" : ` ${message}`}`;
}
