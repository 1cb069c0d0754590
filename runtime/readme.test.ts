/** The lines of the README and of guides run as they stand there; the README's again on what they left. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test, vi } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const sources: Readonly<Record<string, string>> = {
  holdfast: "runtime/index.ts",
  "holdfast/coordinator": "coordinator/index.ts",
  "holdfast/embedded": "runtime/adapters/embedded/index.ts",
  "holdfast/telemetry": "runtime/telemetry/index.ts",
};
let examples = 0;

/** A block that imports something, the first if not said otherwise: written to a file of its own, and run. */
async function runExample(document: string, edit: (code: string) => string = (code) => code, nth = 0): Promise<void> {
  const blocks = [...readFileSync(join(root, document), "utf8").matchAll(/```ts\n(import .*?)```/gs)];
  const code = blocks[nth]?.[1];
  if (code === undefined) throw new Error(`${document} has no example`);
  const cache = join(root, "node_modules", ".cache", "readme");
  mkdirSync(cache, { recursive: true });
  const file = join(cache, `example-${process.pid}-${++examples}.ts`);
  const text = edit(code).replace(/from "(holdfast[a-z/]*)"/g, (_, name: string) => {
    const source = sources[name];
    if (source === undefined) throw new Error(`${document} imports ${name}`);
    return `from ${JSON.stringify(join(root, source))}`;
  });
  writeFileSync(file, `${text}\nexport const last = await (async () => "through")();\n`);
  expect(((await import(/* @vite-ignore */ pathToFileURL(file).href)) as { last: string }).last).toBe("through");
}

test("the README's example runs, and running it again changes nothing", async () => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-readme-"));
  try {
    for (let run = 1; run <= 2; run++)
      await runExample("README.md", (code) => code.replace('"./data"', JSON.stringify(join(data, "actors"))));
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});

test("the guide to the first actor runs as it stands, again, and then as its next release", async () => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-first-"));
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const run = (nth: number) =>
    runExample(
      "docs/guides/first-actor.md",
      (code) => code.replace('"./data"', JSON.stringify(join(data, "actors"))),
      nth,
    );
  try {
    await run(0);
    await run(0);
    await run(1);
    const guide = readFileSync(join(root, "docs/guides/first-actor.md"), "utf8");
    const blocks = [...guide.matchAll(/^```(\w*)\n(.*?)\n```$/gms)];
    const [first = "", next = ""] = blocks.filter(([, language]) => language === "").map(([, , printed]) => printed);
    expect(log.mock.calls.map((words) => words.join(" "))).toEqual([
      first,
      first.replace("charged 1 times", "charged 0 times"),
      next,
    ]);
  } finally {
    log.mockRestore();
    rmSync(data, { recursive: true, force: true });
  }
});

test("the example of the guide to traces prints the spans that it promises", async () => {
  const dir = vi.spyOn(console, "dir").mockImplementation(() => {});
  try {
    await runExample("docs/guides/tracing.md");
    const names = dir.mock.calls.map(([span]) => (span as { readonly name: string }).name);
    expect(new Set(names)).toEqual(new Set(["send create PAY", "order create PAY", "commit", "effect charge"]));
  } finally {
    dir.mockRestore();
  }
});

test("the example of the guide to leases runs in one process", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    await runExample("docs/guides/leases.md");
    const lines = log.mock.calls.map((words) => words.join(" "));
    expect(lines[0]).toMatch(/^settled under 1\.\d+, held$/);
    expect(lines[1]).toBe("true true");
  } finally {
    log.mockRestore();
  }
});
