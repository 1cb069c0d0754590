#!/usr/bin/env node
/**
 * What `npm start` runs: judges the bundled submissions through a crash and checks the books, or (`--serve`) judges what
 * is dropped into a folder. Only this file reads arguments, signals, and the machine it runs on.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findNatsServers, howToGetOne, type NatsCluster, startNatsCluster } from "../../runtime/testing/index.ts";
import { bundledSubmissions } from "./bundle/index.ts";
import { hostNode, type NodeMessage, runClusterContest } from "./cluster-contest.ts";
import { ContestEndedError, runContest } from "./contest.ts";
import { hostContest } from "./contest-host.ts";
import { createProgress } from "./progress.ts";
import { asJson, isRight, lastLine, table } from "./report.ts";
import { findPython } from "./sandbox.ts";
import { serve } from "./serve.ts";

const usage = `usage: npm start -- [--json] [--data DIR]     judge the 200 bundled submissions, with a crash in the middle
       npm start -- --nats [URL,URL…]         the same on three processes over NATS, whose servers it starts if none is named
       npm start -- --serve [--data DIR]      judge programs dropped into DIR/inbox (default DIR: ./data)
`;

const contestDeadlineMs = 170_000;
const killAfterShare = 0.4;

function readArguments() {
  // Without a value, `--nats` means servers of our own.
  const args = process.argv.slice(2).flatMap((arg, index, all) => {
    const next = all[index + 1];
    return arg === "--nats" && (next === undefined || next.startsWith("-")) ? ["--nats="] : [arg];
  });
  const { values } = parseArgs({
    args,
    options: {
      json: { type: "boolean", default: false },
      serve: { type: "boolean", default: false },
      data: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
      nats: { type: "string" },
      // How the contest starts its own hosts; not for users.
      host: { type: "boolean", default: false },
      node: { type: "string" },
      bucket: { type: "string" },
      python: { type: "string" },
    },
  });
  return values;
}

async function main(): Promise<number> {
  let values: ReturnType<typeof readArguments>;
  try {
    values = readArguments();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    return 1;
  }
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  if (values.host && values.nats !== undefined) return beNode(values.nats, values);
  if (values.host) return beHost(resolve(values.data ?? "data"), values.python);
  const python = await findPython();
  if (values.serve) return beService(resolve(values.data ?? "data"), python);
  return beContest({ data: values.data, json: values.json, python, nats: values.nats });
}

async function beNode(nats: string, values: ReturnType<typeof readArguments>): Promise<number> {
  process.once("disconnect", () => process.exit(1));
  const servers = nats.split(",");
  const { bucket = "judge", node = "judge", data = "data", python } = values;
  const replicas = servers.length >= 3 ? 3 : 1;
  const tell = (message: NodeMessage) => process.send?.(message);
  await hostNode({ servers, bucket, node, data: resolve(data), python, replicas, tell });
  return await new Promise<never>(() => {}); // it judges until it is killed
}

async function beHost(data: string, python: string | undefined): Promise<number> {
  // An orphan must not go on: whoever starts the next host would find the store taken.
  process.once("disconnect", () => process.exit(1));
  const concurrency = availableParallelism();
  await hostContest({ data, concurrency, python, tell: (message) => process.send?.(message) });
  process.removeAllListeners("disconnect");
  if (process.connected) process.disconnect();
  return 0;
}

async function beService(data: string, python: string | undefined): Promise<number> {
  const stop = new AbortController();
  onInterrupt(() => stop.abort());
  const say = (text: string) => process.stdout.write(`${text}\n`);
  if (python === undefined) say("no python3 here: Python programs will not compile");
  await serve({ data, concurrency: availableParallelism(), python, say, signal: stop.signal });
  return 0;
}

// Again and again: npm and the terminal may each send the same one, and the second must not end us half-way.
function onInterrupt(act: (signal: NodeJS.Signals) => void): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, act);
}

type ContestArguments = {
  readonly data: string | undefined;
  readonly json: boolean;
  readonly python: string | undefined;
  /** Empty: servers of our own. */
  readonly nats: string | undefined;
};

async function beContest(options: ContestArguments) {
  const { json, python, nats } = options;
  const fresh = options.data === undefined;
  const data = options.data === undefined ? await mkdtemp(join(tmpdir(), "holdfast-judge-")) : resolve(options.data);
  await mkdir(data, { recursive: true });
  const stop = new AbortController();
  onInterrupt((signal) => stop.abort(new ContestEndedError(`stopped by ${signal}`)));
  const deadline = setTimeout(
    () => stop.abort(new ContestEndedError(`not done after ${contestDeadlineMs / 1000} s`)),
    contestDeadlineMs,
  );
  const output = json ? process.stderr : process.stdout;
  const total = bundledSubmissions({ python: python !== undefined }).length;
  const progress = createProgress(output, total, { plain: json || process.env.CI !== undefined });
  progress.say(`judging ${total} submissions${python === undefined ? " (no python3 here: all in JavaScript)" : ""}`);
  let right = false;
  let cluster: NatsCluster | undefined;
  try {
    const hostModule = fileURLToPath(import.meta.url);
    const contest = { data, hostModule, python, killAfterShare, progress, signal: stop.signal };
    if (nats === "") {
      if (findNatsServers().length === 0) throw new ContestEndedError(howToGetOne);
      cluster = await startNatsCluster(3);
      progress.say("three NATS servers and three hosts are running");
    }
    const servers = cluster?.urls ?? nats?.split(",") ?? [];
    const result =
      nats === undefined
        ? await runContest(contest)
        : await runClusterContest({ ...contest, servers, cluster, bucket: `judge-${Date.now().toString(36)}` });
    right = isRight(result);
    if (!json) process.stdout.write(`\n${table(result)}\n`);
    for (const difference of result.differences) process.stderr.write(`different: ${difference}\n`);
    process.stdout.write(`${json ? asJson(result) : lastLine(result)}\n`);
  } catch (error) {
    if (!(error instanceof ContestEndedError)) throw error;
    process.stderr.write(`${error.message}\n`);
    if (json) process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
  } finally {
    clearTimeout(deadline);
    await cluster?.stop();
    // What went wrong can be looked at.
    if (fresh && (right || stop.signal.aborted)) await rm(data, { recursive: true, force: true });
    else if (!right) process.stderr.write(`the data is in ${data}\n`);
  }
  return right ? 0 : 1;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
