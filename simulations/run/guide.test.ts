/** The guides' examples run as they stand there, and fail as the guide says when their keys are taken away. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const places = {
  holdfast: "runtime/index.ts",
  "holdfast/testing": "runtime/testing/index.ts",
  "holdfast/simulations": "simulations/index.ts",
};

/** The first piece of code in a guide that begins so. */
function codeIn(guide: string, begin: string): string {
  const text = readFileSync(join(root, "docs/guides", guide), "utf8");
  const from = text.indexOf(`\`\`\`ts\n${begin}`);
  assert.ok(from >= 0, `${guide} has no example that begins with ${begin}`);
  return text.slice(from + 6, text.indexOf("```", from + 6));
}

/** Runs the tests that the code declares, as if they stood in a project that has installed the package. */
async function run(code: string): Promise<void> {
  const cache = join(root, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "holdfast-guide-"));
  const file = join(folder, "guide.ts");
  let module = code.replace(/import \{ (expect, )?test \} from "vitest";/, (_, expects = "") =>
    [
      "export const tests = []; const test = (_, body) => tests.push(body);",
      ...(expects === "" ? [] : ['import { expect } from "vitest";']),
    ].join("\n"),
  );
  for (const [name, path] of Object.entries(places))
    module = module.replace(`from "${name}"`, `from ${JSON.stringify(join(root, path))}`);
  try {
    writeFileSync(file, module);
    const { tests } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as { tests: (() => Promise<void>)[] };
    assert.equal(tests.length, 1);
    for (const body of tests) await body();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("the ten lines of the guide hold, and without keys they are found", async () => {
  const code = codeIn("simulations.md", "import { simulate }");
  await run(code);
  await assert.rejects(
    run(code.replace("waitMs: 400, key", "waitMs: 400, retries: 3")),
    /breaks a rule: retried-without-key/,
  );
});

test("the order of the guide to testing expires after a day", () =>
  run(codeIn("testing.md", "import { createRuntime, memory }")));
