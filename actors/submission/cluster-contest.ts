/**
 * The main job on a cluster: three host processes share the judging over NATS, one of them is killed in the middle, then a
 * NATS server is, and both come back. The parent hosts nothing: it submits and checks the books as any client would.
 */
import { type ChildProcess, fork } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { jetstream } from "../../runtime/adapters/jetstream/index.ts";
import type { NatsCluster } from "../../runtime/testing/index.ts";
import { audit, isVerdict } from "./audit.ts";
import { bundledSubmissions } from "./bundle/index.ts";
import { ContestEndedError, type ContestOptions, type ContestResult } from "./contest.ts";
import { connectJudge, openJudge, scratchOf } from "./hosting.ts";
import { judgeAll, register, settle } from "./judging.ts";
import { booksOf } from "./stored-books.ts";

export type ClusterContestOptions = ContestOptions & {
  readonly servers: readonly string[];
  /** Of this contest alone: an earlier one on the same servers has other books. */
  readonly bucket: string;
  /** Started for this contest: one of its servers is killed too. */
  readonly cluster: NatsCluster | undefined;
};

export type NodeMessage = { readonly kind: "hosting"; readonly node: string };

const hosts = 3;
const underWay = 12;

export async function runClusterContest(options: ClusterContestOptions): Promise<ContestResult> {
  const startedMs = performance.now();
  const { servers, bucket, progress, signal, cluster } = options;
  const expected = bundledSubmissions({ python: options.python !== undefined });
  const killHostAt = Math.ceil(expected.length * options.killAfterShare);
  const killServerAt = Math.ceil(expected.length * (options.killAfterShare + 0.25));
  const nodes = await Promise.all(Array.from({ length: hosts }, (_, index) => startNode(options, index)));
  let failed: (error: Error) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    failed = reject;
  });
  failure.catch(() => {});
  for (const node of nodes) node.onFailure(failed);
  const onAbort = () => failed(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  const client = await connectJudge(jetstream({ servers, bucket }));
  const inFlight: string[] = [];
  let judgedAtKill = 0;
  const troubles: Promise<void>[] = [];

  async function killHost(judged: number): Promise<void> {
    judgedAtKill = judged;
    const victim = nodes[0] as JudgeNode;
    await victim.kill();
    const listed = await client.list("submission", { tag: "judging", limit: 1_000 });
    inFlight.push(...listed.map(({ id }) => id));
    progress.say(
      `host 1 killed with SIGKILL after ${judged} verdicts, ${inFlight.length} in flight; starting it again`,
    );
    await victim.start();
  }

  async function killServer(judged: number): Promise<void> {
    const server = cluster?.servers[1];
    if (server === undefined) return;
    progress.say(`NATS server ${server.name} killed with SIGKILL after ${judged} verdicts; starting it again`);
    await server.kill();
    await server.restart();
  }

  try {
    const work = async () => {
      await register(client, expected);
      await judgeAll(client, expected, underWay, (judged, inFlightNow) => {
        progress.update(judged, inFlightNow);
        if (judged === killHostAt) troubles.push(killHost(judged));
        if (judged === killServerAt) troubles.push(killServer(judged));
      });
      await Promise.all(troubles);
      await settle(client, expected);
    };
    await Promise.race([work(), failure]);
    const books = await booksOf(client);
    const judged = new Set(books.submissions.filter(({ state }) => isVerdict(state)).map(({ id }) => id));
    return {
      ...audit(expected, books),
      expected,
      books,
      inFlight: inFlight.length,
      recovered: inFlight.filter((id) => judged.has(id)).length,
      killedAfter: judgedAtKill,
      seconds: (performance.now() - startedMs) / 1000,
    };
  } finally {
    signal.removeEventListener("abort", onAbort);
    progress.end();
    await Promise.allSettled(troubles);
    await Promise.all(nodes.map((node) => node.kill()));
    await client.close();
  }
}

type JudgeNode = {
  /** Resolves when it hosts. */
  start(): Promise<void>;
  kill(): Promise<void>;
  onFailure(listener: (error: Error) => void): void;
};

async function startNode(options: ClusterContestOptions, index: number): Promise<JudgeNode> {
  const { hostModule, servers, bucket, data, python } = options;
  const name = `judge-${index + 1}`;
  let child: ChildProcess | undefined;
  let failed: (error: Error) => void = () => {};
  const node: JudgeNode = {
    start: () =>
      new Promise((resolve, reject) => {
        const args = [
          "--host",
          "--nats",
          servers.join(","),
          "--bucket",
          bucket,
          "--node",
          name,
          "--data",
          join(data, name),
        ];
        if (python !== undefined) args.push("--python", python);
        const started = fork(hostModule, args, { stdio: ["ignore", "ignore", "pipe", "ipc"] });
        child = started;
        let errors = "";
        started.stderr?.setEncoding("utf8").on("data", (text: string) => {
          errors = (errors + text).slice(-8_000);
        });
        started.once("message", () => resolve());
        started.once("error", reject);
        started.once("close", (code, signal) => {
          if (child !== started) return;
          child = undefined;
          const error = new ContestEndedError(
            `${name} ended by itself (${signal ?? `exit ${code}`})\n${errors}`.trim(),
          );
          reject(error);
          failed(error);
        });
      }),
    kill: () =>
      new Promise((resolve) => {
        const dying = child;
        child = undefined;
        if (dying === undefined || dying.exitCode !== null) return resolve();
        dying.once("close", () => resolve());
        dying.kill("SIGKILL");
      }),
    onFailure(listener) {
      failed = listener;
    },
  };
  await node.start();
  return node;
}

export type HostNodeOptions = {
  readonly servers: readonly string[];
  readonly bucket: string;
  readonly node: string;
  readonly data: string;
  readonly python: string | undefined;
  readonly tell: (message: NodeMessage) => void;
  readonly replicas: number;
};

/** One of the hosts: takes its share of the partitions, and judges what is in them, until it is killed. */
export async function hostNode(options: HostNodeOptions): Promise<void> {
  const { servers, bucket, node, data, python, tell, replicas } = options;
  await rm(scratchOf(data), { recursive: true, force: true });
  await openJudge({
    data,
    concurrency: 1,
    python,
    store: jetstream({ servers, bucket, node, replicas, leaseTtlMs: 2_000 }),
  });
  tell({ kind: "hosting", node });
}
