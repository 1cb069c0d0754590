/**
 * The main job, seen by the parent: it starts a host that judges the bundle, kills it in the middle, starts it again,
 * and then checks the books. It never touches the store while a host has it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { type Audit, audit, type Books, isVerdict } from "./audit.ts";
import { type BundledSubmission, bundledSubmissions } from "./bundle/index.ts";
import type { HostMessage } from "./contest-host.ts";
import type { Progress } from "./progress.ts";
import { readBooks } from "./stored-books.ts";

export type ContestOptions = {
  readonly data: string;
  /** The module to start as a host: `[module, "--host", …]`. */
  readonly hostModule: string;
  readonly python: string | undefined;
  /** Share of the verdicts after which the host is killed. */
  readonly killAfterShare: number;
  readonly progress: Progress;
  /** Aborted: the host is killed and the contest rejects with the signal's reason. */
  readonly signal: AbortSignal;
};

export type ContestResult = Audit & {
  readonly expected: readonly BundledSubmission[];
  readonly books: Books;
  /** Submissions under way when the host was killed, as the store had them. */
  readonly inFlight: number;
  /** Those of them that got their verdict after the restart. */
  readonly recovered: number;
  readonly killedAfter: number;
  readonly seconds: number;
};

/** The contest did not come to its end: interrupted, out of time, or the host failed by itself. The message says which. */
export class ContestEndedError extends Error {
  override readonly name = "ContestEndedError";
}

export async function runContest(options: ContestOptions): Promise<ContestResult> {
  const startedMs = performance.now();
  const { data } = options;
  const expected = bundledSubmissions({ python: options.python !== undefined });
  const killAt = Math.ceil(expected.length * options.killAfterShare);

  const { first, second } = await judgeThroughACrash(options, killAt);
  const books = await readBooks(data);
  const result = audit(expected, books);
  const judged = new Set(books.submissions.filter(({ state }) => isVerdict(state)).map(({ id }) => id));
  return {
    ...result,
    expected,
    books,
    inFlight: second.inFlight.length,
    recovered: second.inFlight.filter((id) => judged.has(id)).length,
    killedAfter: first.judged,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

async function judgeThroughACrash(
  options: ContestOptions,
  killAt: number,
): Promise<{ first: HostRun; second: HostRun }> {
  const { progress } = options;
  try {
    const first = await runHost(options, killAt);
    progress.say(`host killed with SIGKILL after ${first.judged} verdicts; starting it again`);
    return { first, second: await runHost(options) };
  } finally {
    progress.end();
  }
}

export type HostRunOptions = Omit<ContestOptions, "killAfterShare">;
export type HostRun = { readonly judged: number; readonly inFlight: readonly string[] };

/** One life of the host: until it has finished, or, with `killAt`, until it has been killed. Else ContestEndedError. */
export function runHost(options: HostRunOptions, killAt?: number): Promise<HostRun> {
  const { data, hostModule, python, progress, signal } = options;
  return new Promise((resolve, reject) => {
    const args = ["--host", "--data", data, ...(python === undefined ? [] : ["--python", python])];
    const host: ChildProcess = fork(hostModule, args, { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    let judged = 0;
    let inFlight: readonly string[] = [];
    let end: "running" | "killed" | "finished" = "running";
    let errors = "";
    const onAbort = () => host.kill("SIGKILL");
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();

    host.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-8_000);
    });
    host.on("message", (message: HostMessage) => {
      if (end !== "running") return;
      switch (message.kind) {
        case "started":
          inFlight = message.inFlight;
          if (inFlight.length > 0) progress.say(`found ${inFlight.length} submissions in flight; going on`);
          break;
        case "progress":
          judged = message.judged;
          progress.update(judged, message.inFlight);
          if (killAt !== undefined && judged >= killAt) {
            end = "killed";
            host.kill("SIGKILL");
          }
          break;
        case "finished":
          end = "finished";
          break;
      }
    });
    host.once("error", reject);
    host.once("close", (code, killedBy) => {
      signal.removeEventListener("abort", onAbort);
      if (signal.aborted) reject(signal.reason);
      else if (end === "killed" || (end === "finished" && code === 0)) resolve({ judged, inFlight });
      else reject(new ContestEndedError(`the host ended by itself (${killedBy ?? `exit ${code}`})\n${errors}`.trim()));
    });
  });
}
