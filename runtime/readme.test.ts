/** The README's lines run as they stand there, and run again on what they left. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

test("the README's example runs, and running it again changes nothing", async () => {
  const code = /```ts\n(import \{ setup \}.*?)```/s.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1];
  if (code === undefined) throw new Error("the README has no example");
  const data = mkdtempSync(join(tmpdir(), "holdfast-readme-"));
  const cache = join(root, "node_modules", ".cache", "readme");
  mkdirSync(cache, { recursive: true });
  try {
    for (const run of [1, 2]) {
      const file = join(cache, `example-${process.pid}-${run}.ts`);
      const text = code
        .replace('from "holdfast"', `from ${JSON.stringify(join(root, "runtime/index.ts"))}`)
        .replace('from "holdfast/embedded"', `from ${JSON.stringify(join(root, "runtime/adapters/embedded/index.ts"))}`)
        .replace('"./data"', JSON.stringify(join(data, "actors")));
      writeFileSync(file, `${text}\nexport const last = await (async () => "through")();\n`);
      expect(((await import(/* @vite-ignore */ pathToFileURL(file).href)) as { last: string }).last).toBe("through");
    }
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});
