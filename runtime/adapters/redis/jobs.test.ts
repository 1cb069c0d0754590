/** Jobs that write through a real Redis, as docs/guides/schedules.md shows: the register's fence, and the execution log. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createRuntime, type Runtime } from "../../index.ts";
import type { ExecutionRecord } from "../../ports/execution-log.ts";
import { describeWithRedis } from "../../testing/redis.fixture.ts";
import { type RedisServer, startRedisServer } from "../../testing/redis-server.ts";
import { memory } from "../memory/index.ts";
import { connectRedis } from "./index.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

type Example = {
  settleThroughRedis(runtime: Pick<Runtime, "schedule">, url: string): ReturnType<typeof connectRedis>;
};

async function guideExample(): Promise<Example> {
  const guide = readFileSync(join(root, "docs/guides/schedules.md"), "utf8");
  const [, body = ""] =
    [...guide.matchAll(/^```ts\n(.*?)^```$/gms)].find(([, code]) => code?.includes("holdfast/redis")) ?? [];
  const folder = join(root, "node_modules", ".cache", "schedules-guide");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `redis-${process.pid}.ts`);
  const at = (path: string) => JSON.stringify(join(root, path));
  writeFileSync(
    file,
    body
      .replace('"holdfast"', at("runtime/index.ts"))
      .replace('"holdfast/redis"', at("runtime/adapters/redis/index.ts")),
  );
  try {
    return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Example;
  } finally {
    rmSync(file, { force: true });
  }
}

describeWithRedis("jobs that write through Redis", () => {
  let server: RedisServer;
  let redis: Awaited<ReturnType<typeof connectRedis>>;
  const warnings: string[] = [];
  const logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (message: string) => void warnings.push(message),
    error: () => undefined,
  };
  const open = async () => (await createRuntime({ actors: {}, store: memory(), logger })) as unknown as Runtime;

  beforeAll(async () => {
    server = await startRedisServer();
    redis = await connectRedis(server.url);
  });
  afterAll(async () => {
    await redis.close();
    await server.stop();
  });

  test("the guide's job leaves its slot in the register, and its runs in the log", async () => {
    const { settleThroughRedis } = await guideExample();
    const runtime = await open();
    const own = await settleThroughRedis(runtime, server.url);
    await runtime
      .actor("job", "settle")
      .waitFor((state: { context: { counts: { done: number } } }) => state.context.counts.done >= 2);
    await runtime.stop();
    await own.close();
    const records = await redis.executionLog().latest("settle", 10);
    const state = await redis.register().read("settled-until");
    expect(records.length).toBeGreaterThanOrEqual(2);
    expect(state?.effect).toBe(records[0]?.tickId);
    expect(state?.claim).toEqual({ token: records[0]?.token, holder: records[0]?.owner });
    for (const { tickId, dueMs, startedMs, endedMs, outcome, attempt } of records) {
      expect(tickId).toBe(`settle/${dueMs}`);
      expect(startedMs).toBeGreaterThanOrEqual(dueMs);
      expect(endedMs).toBeGreaterThanOrEqual(startedMs);
      expect({ outcome, attempt }).toEqual({ outcome: "done", attempt: 1 });
    }
  });

  test("an owner that was overtaken fails its slots, and the log says so", async () => {
    const register = redis.register();
    await register.install("overtaken", { token: [9, 9], holder: "a later one" });
    const runtime = await open();
    const executionLog = redis.executionLog();
    await runtime.schedule("late", { every: 100, executionLog }, async ({ tickId, token, owner }) => {
      const claim = { token, holder: owner };
      const outcome = await register.write({ key: "overtaken", claim, value: "x", effect: tickId });
      if (outcome.kind === "fenced") throw new Error(`fenced by ${outcome.newest.holder}`);
    });
    await runtime
      .actor("job", "late")
      .waitFor((state: { context: { counts: { failed: number } } }) => state.context.counts.failed >= 1);
    await runtime.stop();
    const records = await executionLog.latest("late", 100);
    expect(records.at(-1)).toMatchObject({
      outcome: "failed",
      detail: "fenced by a later one",
    } satisfies Partial<ExecutionRecord>);
    expect((await register.read("overtaken"))?.value).toBeUndefined();
  });

  test("work that does not end in time is logged as aborted; a log that is away costs no slot, and is complained of", async () => {
    const runtime = await open();
    const executionLog = redis.executionLog();
    const asked: string[] = [];
    const gone = {
      append: async (job: string) => {
        asked.push(job);
        throw new Error("gone");
      },
    };
    await runtime.schedule("long", { every: 200, timeout: 20, executionLog }, ({ signal }) => {
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    });
    await runtime.schedule("unlogged", { every: 50, executionLog: gone }, () => undefined);
    await runtime
      .actor("job", "long")
      .waitFor((state: { context: { counts: { timedOut: number } } }) => state.context.counts.timedOut >= 1);
    await runtime
      .actor("job", "unlogged")
      .waitFor((state: { context: { counts: { done: number } } }) => state.context.counts.done >= 3);
    await runtime.stop();
    expect((await executionLog.latest("long", 1))[0]?.outcome).toBe("aborted");
    expect(asked.length).toBeGreaterThanOrEqual(3);
    expect(warnings.filter((line) => /could not be written into the execution log: unlogged\//.test(line)).length).toBe(
      asked.length,
    );
  });
});
