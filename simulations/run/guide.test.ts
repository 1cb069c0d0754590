/** The guide's example runs as it stands there, and fails as the guide says when its keys are taken away. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "vitest";

const root = resolve(import.meta.dirname, "../..");

test("the ten lines of the guide hold, and without keys they are found", async () => {
  const guide = readFileSync(join(root, "docs/guides/simulations.md"), "utf8");
  const code = /```ts\n(import \{ simulate \}.*?)```/s.exec(guide)?.[1];
  assert.ok(code !== undefined, "the guide has no example");
  const cache = join(root, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "holdfast-guide-"));
  const run = async (name: string, text: string): Promise<void> => {
    const file = join(folder, name);
    const module = text
      .replace('from "holdfast/simulations"', `from ${JSON.stringify(join(root, "simulations/index.ts"))}`)
      .replace(
        'import { test } from "vitest";',
        "export const tests = []; const test = (_, body) => tests.push(body);",
      );
    writeFileSync(file, module);
    const { tests } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as { tests: (() => Promise<void>)[] };
    assert.equal(tests.length, 1);
    for (const body of tests) await body();
  };
  try {
    await run("right.ts", code);
    await assert.rejects(
      run("wrong.ts", code.replace("waitMs: 400, key", "waitMs: 400, retries: 3")),
      /breaks a rule: retried-without-key/,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
