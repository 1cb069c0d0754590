/** Under Deno, from source, against real servers: the contracts, and the guide's example as it stands there. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithNats } from "./nats.fixture.ts";
import { type NatsServer, startNatsServer } from "./nats-server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const deno = join(root, "node_modules", ".bin", "deno");
const run = promisify(execFile);

/** The blocks of this language in a guide, as they stand there. */
function blocks(guide: string, language: string): string[] {
  const text = readFileSync(join(root, "docs", "guides", guide), "utf8");
  return [...text.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "gs"))].map(([, code]) => code as string);
}

const sources: Record<string, string> = {
  holdfast: "runtime/index.ts",
  "holdfast/jetstream": "runtime/adapters/jetstream/index.ts",
};

describeWithNats("Deno", () => {
  test("keeps the contracts of store and bus", { timeout: 180_000 }, async () => {
    const { stdout } = await run(deno, ["run", "-A", "runtime/testing/deno-suite.fixture.ts"], { cwd: root });
    expect(stdout).toMatch(/^contracts on Deno$/m);
    expect(Number(/^(\d+) cases hold$/m.exec(stdout)?.[1])).toBeGreaterThan(70);
  });
});

describeWithNats("the five-minute guides", () => {
  let server: NatsServer;
  let folder: string;

  beforeAll(async () => {
    server = await startNatsServer();
    const cache = join(root, ".cache");
    mkdirSync(cache, { recursive: true });
    folder = mkdtempSync(join(cache, "guides-"));
  });
  afterAll(async () => {
    await server?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  test("the lines for Deno run, with the permissions that they name", { timeout: 60_000 }, async () => {
    const [code] = blocks("deno.md", "ts") as [string];
    const imports = Object.fromEntries(
      Object.entries(sources).map(([name, path]) => [name, pathToFileURL(join(root, path)).href]),
    );
    writeFileSync(join(folder, "deno.json"), JSON.stringify({ imports, nodeModulesDir: "manual" }));
    writeFileSync(join(folder, "order.ts"), code);
    const guide = readFileSync(join(root, "docs", "guides", "deno.md"), "utf8");
    const named = /^deno run (--allow-net=.*) order\.ts$/m.exec(guide)?.[1];
    const permissions = (named as string).replace("127.0.0.1:4222", `127.0.0.1:${server.port}`).split(" ");
    const { stdout } = await run(deno, ["run", ...permissions, "order.ts"], {
      cwd: folder,
      env: { ...process.env, NATS_URL: server.url },
    });
    expect(stdout.trim()).toBe("process-crash shipped");
  });

  test("the lines for Node run", async () => {
    const [host, client] = blocks("jetstream.md", "ts") as [string, string];
    const said: unknown[][] = [];
    const console = { log: (...words: unknown[]) => said.push(words) };
    const text = `${host}\n${client.replace(/^import .*$/m, "")}\n`
      .replace('from "holdfast"', `from ${JSON.stringify(join(root, sources.holdfast as string))}`)
      .replace("{ createRuntime }", "{ connect, createRuntime }")
      .replace(
        'from "holdfast/jetstream"',
        `from ${JSON.stringify(join(root, sources["holdfast/jetstream"] as string))}`,
      )
      .replaceAll("jetstream()", `jetstream({ servers: ${JSON.stringify(server.url)}, bucket: "guide" })`)
      .replaceAll(
        'jetstream({ servers: "nats://127.0.0.1:4222" })',
        `jetstream({ servers: ${JSON.stringify(server.url)}, bucket: "guide" })`,
      )
      .replaceAll("console.log", "globalThis.guideSays");
    // The client sends while the host is there.
    const stop = "await runtime.stop();";
    const together = `${text.replace(stop, "")}\n${stop}\nexport const through = true;\n`;
    writeFileSync(join(folder, "guide.ts"), together);
    Object.assign(globalThis, { guideSays: console.log });
    expect(await import(/* @vite-ignore */ pathToFileURL(join(folder, "guide.ts")).href)).toMatchObject({
      through: true,
    });
    expect(said).toEqual([["process-crash", "shipped"]]);
  });
});
