import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { embedded } from "../adapters/embedded/index.ts";
import { createRuntime } from "../index.ts";
import { runCommandLine } from "./command-line.ts";
import { exportedFrom } from "./exported.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-replay-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

async function holdfast(...argv: string[]) {
  const result = { code: 0, out: "", err: "" };
  result.code = await runCommandLine(argv, {
    out: (text) => {
      result.out += text;
    },
    err: (text) => {
      result.err += text;
    },
    env: {},
  });
  return result;
}

describe("replay", () => {
  const directory = join(scratch, "data");
  const machines = join(scratch, "machines.mjs");

  beforeAll(async () => {
    const xstate = pathToFileURL(join(process.cwd(), "node_modules/xstate/dist/xstate.esm.js")).href;
    writeFileSync(
      machines,
      `import { assign, createMachine } from ${JSON.stringify(xstate)};
       const counter = (by) => createMachine({ context: { n: 0 }, on: { INC: { actions: assign({ n: ({ context }) => context.n + by }) } } });
       export const right = counter(1);
       export const wrong = counter(2);`,
    );
    const counter = (await exportedFrom(`${machines}#right`)) as never;
    const runtime = await createRuntime({ actors: { counter }, store: embedded(directory), logger: silent });
    const actor = runtime.actor("counter", "c");
    await actor.create(undefined as never);
    for (let n = 0; n < 3; n++) await actor.send({ type: "INC" } as never, { key: `k${n}` });
    await runtime.stop();
  });

  test("proves a history in the store, step by step", async () => {
    const { code, out } = await holdfast(
      "replay",
      "counter",
      "c",
      "--machine",
      `${machines}#right`,
      "--data",
      directory,
    );
    expect(out).toMatch(/cause {3}INC {"key":"k1"}\n {5}change {2}actors\.s0\.snap\.context\.n: 1 -> 2/);
    expect(out).toMatch(/4 revisions: 4 come out the same, 0 do not/);
    expect(code).toBe(0);
  });

  test("fails where today's machine makes something else of it, and shows both", async () => {
    const { code, out, err } = await holdfast(
      "replay",
      "counter.c",
      "--machine",
      `${machines}#wrong`,
      "--data",
      directory,
    );
    expect(code).toBe(1);
    expect(out).toMatch(/DIFFERS: .*context\.n: 1 -> 2/);
    expect(err).toMatch(/3 of 4 revisions do not come out the same/);
  });

  test("takes a history from a file, in any of its forms", async () => {
    const { out } = await holdfast("history", "counter", "c", "--json", "--data", directory);
    const rows = JSON.parse(out) as { document: object }[];
    const forms: Record<string, string> = {
      rows: out,
      documents: JSON.stringify(rows.map(({ document }) => document)),
      lines: rows.map(({ document }) => JSON.stringify(document)).join("\n"),
      messages: JSON.stringify(
        rows.map(({ document }) => ({ data: Buffer.from(JSON.stringify(document)).toString("base64") })),
      ),
    };
    for (const [name, text] of Object.entries(forms)) {
      const file = join(scratch, `${name}.json`);
      writeFileSync(file, text);
      const replayed = await holdfast(
        "replay",
        "counter",
        "c",
        "--machine",
        `${machines}#right`,
        "--from",
        file,
        "--json",
      );
      expect(replayed, name).toMatchObject({ code: 0 });
      expect(JSON.parse(replayed.out)).toMatchObject({ same: 4, differs: 0, unproved: 0 });
    }
  });

  test("goes on from a revision in the simulator, with a fault that did not strike then", async () => {
    const fork = ["--fork", "2", "--fault", "crash"];
    const { code, out } = await holdfast(
      ...["replay", "counter", "c", "--machine", `${machines}#right`, "--data", directory, ...fork],
    );
    expect(out).toMatch(/from revision 2, with fault crash: ends as it did then/);
    expect(code).toBe(0);
  });

  test("says what is missing", async () => {
    expect(await holdfast("replay", "counter", "c")).toMatchObject({ code: 2 });
    const bad = ["--fork", "2", "--fault", "flood"];
    expect(
      await holdfast("replay", "counter", "c", "--machine", `${machines}#right`, "--data", directory, ...bad),
    ).toMatchObject({ code: 2 });
  });
});
