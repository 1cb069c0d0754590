/** The code of the guide, as it stands there. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Database } from "node-sqlite3-wasm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithRedis } from "../../runtime/testing/redis.fixture.ts";
import { startRedisServer } from "../../runtime/testing/redis-server.ts";
import type { SqlRun } from "./sql.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const sources = { "holdfast/coordinator": "coordinator/index.ts", "holdfast/redis": "runtime/adapters/redis/index.ts" };
const blocks = [...readFileSync(join(root, "docs/guides/leases.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)];
let folder: string;

beforeAll(() => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "leases-guide-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function load(block: number, url = ""): Promise<Record<string, unknown>> {
  let text = String(blocks[block]?.[1]).replace("redis://127.0.0.1:6379", url);
  for (const [name, path] of Object.entries(sources))
    text = text.replace(`from "${name}"`, `from ${JSON.stringify(join(root, path))}`);
  const path = join(folder, `block-${block}.ts`);
  writeFileSync(path, text);
  return import(/* @vite-ignore */ pathToFileURL(path).href);
}

const lease = (index: number) => ({ token: [1, index] as const, holder: `n${index}` });

describeWithRedis("the guide's register", () => {
  test("settles once per tick, and only under the newest lease", async () => {
    const server = await startRedisServer();
    const { settle } = (await load(1, server.url)) as { settle: (by: unknown, tickId: string) => Promise<unknown> };
    expect(await settle(lease(1), "settle/1")).toEqual({ before: 0, isNew: true });
    expect(await settle(lease(2), "settle/1")).toEqual({ before: 1, isNew: false });
    expect(await settle(lease(2), "settle/2")).toEqual({ before: 1, isNew: true });
    await expect(settle(lease(1), "settle/3")).rejects.toMatchObject({ code: "Fenced" });
    await server.stop();
  });
});

test("the guide's transaction", async () => {
  const { fences, book } = (await load(2)) as {
    fences: { createTable: string };
    book: (run: SqlRun, by: unknown) => Promise<void>;
  };
  const db = new Database();
  db.exec(fences.createTable);
  db.exec("CREATE TABLE account (id TEXT PRIMARY KEY, amount INTEGER); INSERT INTO account VALUES ('x', 0)");
  const run: SqlRun = async (text, values) => db.all(text, [...values]) as Record<string, unknown>[];
  await book(run, lease(1));
  await book(run, lease(2));
  await expect(book(run, lease(1))).rejects.toMatchObject({ code: "Fenced" });
  expect(db.get("SELECT amount FROM account")).toEqual({ amount: 2 });
  db.close();
});
