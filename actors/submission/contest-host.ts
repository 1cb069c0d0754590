/**
 * The process that judges, and that gets killed. It does the same from the start each time it is started: every create
 * and every send carries a key, so what was done before is not done again. It reports to its parent and decides nothing.
 */
import { rm } from "node:fs/promises";
import { bundledSubmissions } from "./bundle/index.ts";
import { openJudge, scratchOf } from "./hosting.ts";
import { judgeAll, register, settle } from "./judging.ts";

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
  await judgeAll(runtime, submissions, concurrency + extraInFlight, (judged, inFlight) =>
    tell({ kind: "progress", judged, inFlight }),
  );
  await settle(runtime, submissions);
  await runtime.stop();
  tell({ kind: "finished" });
}
