/**
 * Jobs that run every second on one node: how late their work begins, and how many a second are kept up; beside them
 * BullMQ's job schedulers on a Redis of their own, where there is one. Lateness is from the slot, jitter included, to the
 * first line of the handler; both sides are judged by the same rule on the same clock.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { offsetMs, scheduleOf } from "../coordinator/schedule/index.ts";
import { embedded } from "../runtime/adapters/embedded/index.ts";
import { jetstream } from "../runtime/adapters/jetstream/index.ts";
import { consoleLogger, createRuntime } from "../runtime/index.ts";
import type { StoreProvider } from "../runtime/ports/store-provider.ts";
import { findNatsServers, startNatsServer } from "../runtime/testing/nats-server.ts";
import { findRedisServer, startRedisServer } from "../runtime/testing/redis-server.ts";

export type LatenessRow = {
  readonly what: string;
  readonly jobs: number;
  /** Runs that were begun, by second; and of those slots that were due, how many had no run at all. */
  readonly perSecond: number;
  readonly missed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

type Measured = { readonly latenessMs: number[]; readonly due: number };

/** All jobs at the same instant (`spreadMs` 0), or each at its own within the second. */
export async function benchSchedule(jobs: number, spreadMs: number, seconds: number): Promise<LatenessRow> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  try {
    const what = spreadMs === 0 ? "all at the full second" : "spread over the second";
    return await benchOn(embedded(directory), what, jobs, spreadMs, seconds);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The same on one NATS server, spread over the second. Undefined without a nats-server. */
export async function benchScheduleOnJetStream(jobs: number, seconds: number): Promise<LatenessRow | undefined> {
  if (findNatsServers().length === 0) return undefined;
  const server = await startNatsServer();
  try {
    return await benchOn(
      jetstream({ servers: server.url, bucket: "bench" }),
      "JetStream, spread",
      jobs,
      1_000,
      seconds,
    );
  } finally {
    await server.stop();
  }
}

async function benchOn(
  store: StoreProvider,
  what: string,
  jobs: number,
  spreadMs: number,
  seconds: number,
): Promise<LatenessRow> {
  const runtime = await createRuntime({ actors: {}, store, logger: consoleLogger("error") });
  const latenessMs: number[] = [];
  const schedule = scheduleOf("job", { every: "1s", jitter: spreadMs });
  let fromMs = Number.POSITIVE_INFINITY;
  let untilMs = Number.POSITIVE_INFINITY;
  try {
    await Promise.all(
      Array.from({ length: jobs }, (_, index) => {
        const name = `job-${index}`;
        const phaseMs = offsetMs(name, schedule);
        return runtime.schedule(name, { every: "1s", jitter: spreadMs }, ({ slot }) => {
          if (slot < fromMs || slot >= untilMs) return;
          latenessMs.push(Date.now() - slot - phaseMs);
        });
      }),
    );
    // The first seconds compile and create.
    fromMs = Math.ceil(Date.now() / 1_000) * 1_000 + 3_000;
    untilMs = fromMs + seconds * 1_000;
    await sleep(untilMs + 2_000 - Date.now());
    return rowOf(what, jobs, seconds, { latenessMs, due: jobs * seconds });
  } finally {
    await runtime.stop({ drainMs: 0 });
  }
}

function rowOf(what: string, jobs: number, seconds: number, { latenessMs, due }: Measured): LatenessRow {
  const sorted = [...latenessMs].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return {
    what,
    jobs,
    perSecond: latenessMs.length / seconds,
    missed: due - latenessMs.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: at(1),
  };
}

/** BullMQ: one job scheduler per job, every second, one worker with room for all of them. Undefined without redis-server. */
export async function benchBullMq(jobs: number, seconds: number): Promise<LatenessRow | undefined> {
  if (findRedisServer() === undefined) return undefined;
  const redis = await startRedisServer({ config: ["--appendonly", "yes", "--appendfsync", "everysec"] });
  const { Queue, Worker } = await import("bullmq");
  const connection = { host: "127.0.0.1", port: redis.port, maxRetriesPerRequest: null };
  const queue = new Queue("bench", {
    connection,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  const latenessMs: number[] = [];
  let fromMs = Number.POSITIVE_INFINITY;
  let untilMs = Number.POSITIVE_INFINITY;
  const worker = new Worker(
    "bench",
    async (job) => {
      // `repeat:<scheduler>:<the moment for which it was planned>`.
      const slot = Number(job.id?.split(":").at(-1));
      if (slot >= fromMs && slot < untilMs) latenessMs.push(Date.now() - slot);
    },
    { connection, concurrency: 1_000 },
  );
  worker.on("error", () => undefined);
  try {
    for (let index = 0; index < jobs; index += 50) {
      const some = Array.from({ length: Math.min(50, jobs - index) }, (_, one) => `job-${index + one}`);
      await Promise.all(some.map((name) => queue.upsertJobScheduler(name, { every: 1_000 }, { name })));
    }
    fromMs = Math.ceil(Date.now() / 1_000) * 1_000 + 3_000;
    untilMs = fromMs + seconds * 1_000;
    await sleep(untilMs + 2_000 - Date.now());
    return rowOf("BullMQ job schedulers", jobs, seconds, { latenessMs, due: jobs * seconds });
  } finally {
    await worker.close(true);
    await queue.close();
    await redis.stop();
  }
}
