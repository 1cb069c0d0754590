/** `holdfast simulate`: what is chosen, what is told, what is left behind. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, test } from "vitest";
import { runCommandLine } from "./command-line.ts";

// Inside the project, so that the module finds xstate.
const cache = resolve(import.meta.dirname, "../../node_modules/.cache");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, "holdfast-simulate-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function simulate(...args: readonly string[]) {
  let [out, err] = ["", ""];
  const code = await runCommandLine(["simulate", ...args], {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: {},
  });
  return { code, out, err };
}

/** Counts what it is told to; whoever tells it gives no keys and asks again. */
const wrong = `
import { assign, createMachine } from "xstate";
const counter = createMachine({ context: { n: 0 }, on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } } });
const click = { to: "counter/a", send: { type: "INC" }, waitMs: 400, retries: 3 };
export default {
  actors: { counter },
  workload: [{ to: "counter/a", key: "make", first: true }, click, click, click],
};
`;

describe("holdfast simulate", () => {
  test("a suite by name, as JSON", async () => {
    const { code, out } = await simulate("upgrades", "--seeds", "1..3", "--json");
    assert.equal(code, 0);
    const shown = JSON.parse(out) as { suites: { suite: string; seeds: number; met: object }[]; violations: unknown[] };
    assert.deepEqual(
      shown.suites.map(({ suite, seeds }) => [suite, seeds]),
      [["upgrades", 3]],
    );
    assert.deepEqual(shown.violations, []);
    assert.ok(Object.keys(shown.suites[0]?.met ?? {}).length > 3);
  });

  test("with coverage, for people", async () => {
    const { code, out } = await simulate("upgrades", "--seeds", "1..2", "--coverage");
    assert.equal(code, 0);
    assert.match(out, /^upgrades: 2 seeds in .* all hold$/m);
    assert.match(out, /^basket:filling +.*\d/m);
  });

  const files: Readonly<Record<string, readonly [text: string, said: RegExp]>> = {
    "five.mjs": ["export default 5;", /five\.mjs is neither a suite nor the options of simulate\(\)/],
    "two.mjs": ["export const a = 1, b = 2;", /two\.mjs does not export default; it exports a, b/],
    "seed.scenario": ["suite upgrades\nseed x\nexpect holds", /line 2 cannot be read: a seed is a whole number, not x/],
    "expect.scenario": ["suite upgrades\nseed 1\nexpect bananas", /line 3 .*written as `holds`, or as `breaks`/],
    "fault.scenario": ["suite upgrades\nfault 5 crsh {}", /line 2 .*no kind of fault "crsh" \("crash" was meant\?\)/],
    "step.scenario": [
      'suite upgrades\nseed 1\nstep {"to":"basket/a","sned":{}}\nexpect holds',
      /step 1 .*no field "sned" \("send" was meant\?\)/,
    ],
  };
  for (const [name, [text, said]] of Object.entries(files))
    test(`${name} with a mistake says which`, async () => {
      writeFileSync(join(folder, name), text);
      const { code, err } = await simulate(join(folder, name), "--seeds", "1");
      assert.notEqual(code, 0);
      assert.match(err, said);
    });

  test("a scenario that is not there", async () => {
    const { code, err } = await simulate(join(folder, "none.scenario"));
    assert.equal(code, 2);
    assert.match(err, /there is no file .*none\.scenario/);
  });

  test("a file with callers that are wrong: told, saved, and seen again from what was saved", async () => {
    const file = join(folder, "counter.mjs");
    writeFileSync(file, wrong);
    const saved = join(folder, "counter.scenario");
    const found = await simulate(file, "--seeds", "1..200", "--save", saved);
    assert.equal(found.code, 1);
    for (const part of [
      "retried-without-key",
      "give the request a key",
      "faults ->",
      `npx holdfast simulate ${file} --seeds`,
    ])
      assert.ok(found.out.includes(part), `${part} is missing in\n${found.out}\n${found.err}`);
    assert.match(
      readFileSync(saved, "utf8"),
      /^# an event was asked for again[\s\S]*^expect breaks retried-without-key$/m,
    );
    const again = await simulate(saved);
    assert.equal(again.code, 0, again.err);
    writeFileSync(saved, readFileSync(saved, "utf8").replace(/^expect .*$/m, "expect holds"));
    const otherwise = await simulate(saved);
    assert.equal(otherwise.code, 1);
    assert.match(otherwise.out, /retried-without-key/);
  });

  test("draws a picture where it stands", async () => {
    const before = process.cwd();
    // Workers of vitest may not change folders; the picture is written where the process stands.
    const at = join(before, "simulation.html");
    if (existsSync(at)) rmSync(at);
    const { code, out } = await simulate("upgrades", "--seeds", "2", "--show");
    try {
      assert.equal(code, 0);
      assert.match(out, /drawn: simulation\.html/);
      assert.match(readFileSync(at, "utf8"), /<svg/);
    } finally {
      rmSync(at, { force: true });
    }
  });

  for (const [tale, ending] of [
    ["redlock", "FENCED"],
    ["classics", "ran the job: once"],
  ] as const) {
    test(`tells ${tale}`, async () => {
      const { code, out } = await simulate(tale);
      assert.equal(code, 0, out);
      assert.match(out, new RegExp(`=> .*${ending}`));
      const { out: json } = await simulate(tale, "--json");
      assert.equal((JSON.parse(json) as { asTold: boolean }).asTold, true);
    });
  }

  for (const [what, args] of [
    ["a suite that there is not", ["nonsense"]],
    ["seeds that are none", ["upgrades", "--seeds", "many"]],
    ["a time that is none", ["upgrades", "--for", "long"]],
    ["too many names", ["upgrades", "crashes"]],
  ] as const) {
    test(`refuses ${what}`, async () => {
      const { code, err } = await simulate(...args);
      assert.equal(code, 2);
      assert.match(err, /usage: holdfast simulate/);
    });
  }
});
