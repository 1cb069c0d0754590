/**
 * The examples of docs/guides/schedules.md run, one after the other, as they stand there. The one that writes through
 * Redis runs in adapters/redis/jobs.test.ts, with a server.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import type { Job } from "./index.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

type Ran = {
  readonly job: Job;
  readonly live: unknown;
  readonly ready: unknown;
  readonly lines: readonly string[];
};

test("the guide's examples run", async () => {
  const guide = readFileSync(join(root, "docs/guides/schedules.md"), "utf8");
  const code = [...guide.matchAll(/^```ts\n(.*?)^```$/gms)]
    .map(([, body = ""]) => body)
    .filter((body) => !body.includes("holdfast/redis"))
    .join("\n");
  const directory = mkdtempSync(join(tmpdir(), "holdfast-schedules-guide-"));
  const cache = join(root, "node_modules", ".cache", "schedules-guide");
  mkdirSync(cache, { recursive: true });
  const file = join(cache, `example-${process.pid}.ts`);
  const text = code
    .replace('from "holdfast"', `from ${JSON.stringify(join(root, "runtime/index.ts"))}`)
    .replace('from "holdfast/embedded"', `from ${JSON.stringify(join(root, "runtime/adapters/embedded/index.ts"))}`)
    .replace('"./data"', JSON.stringify(directory))
    .replace("console.log(", "lines.push(");
  writeFileSync(
    file,
    `const lines: string[] = [];
${text}
while (lines.filter((line) => /^settle\\/\\d+:/.test(line)).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
await terminate();
process.removeListener("SIGTERM", terminate);
export const ran = { job, live, ready, lines };
`,
  );
  try {
    const { ran } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as { ran: Ran };
    expect(ran.live).toEqual({ ok: true });
    expect(ran.ready).toEqual({ ok: true });
    expect(ran.lines[0]).toMatch(/^settle\/.*: what was due at 20.*Z, attempt 1 under 1\.0$/);
    expect(ran.job.schedule.timing).toEqual({ kind: "every", periodMs: 1_000, anchorMs: 0 });
    expect(ran.job.names).toEqual(["trigger by-hand-1", "backfill repair-7"]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
    rmSync(file, { force: true });
  }
});
