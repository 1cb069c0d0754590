/** `holdfast jobs` beside a host, without one, again and again, and over what is no job. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "vitest";
import { createMachine } from "xstate";
import { embedded } from "../adapters/embedded/index.ts";
import { createRuntime } from "../index.ts";
import { runCommandLine, type Terminal } from "./command-line.ts";

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "holdfast-jobs-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function holdfast(argv: readonly string[], again?: Terminal["again"]) {
  let [out, err] = ["", ""];
  const code = await runCommandLine([...argv, "--data", directory], {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: {},
    ...(again !== undefined && { again }),
  });
  return { code, out, err };
}

test("jobs are listed with what has become of their slots, by a host and without one", async () => {
  const runtime = await createRuntime({ actors: {}, store: embedded(directory), logger: silent });
  try {
    let heard = () => {};
    const ran = new Promise<void>((resolve) => {
      heard = resolve;
    });
    await runtime.schedule("settle", { every: 50 }, () => heard());
    const report = await runtime.schedule(
      "report",
      { cron: "0 0 3 * * *", timeZone: "Europe/Berlin" },
      () => undefined,
    );
    await report.pause();
    await ran;
    const { code, out } = await holdfast(["jobs"]);
    assert.equal(code, 0);
    assert.match(out, /^JOB +STATE +NEXT +LAST/);
    assert.match(out, /^report +paused +20\d\d-.*Z/m);
    assert.match(out, /^settle +scheduled +20\d\d-/m);
    let shown = 0;
    const watched = await holdfast(["jobs", "--watch", "--json"], async () => ++shown < 3);
    const lines = watched.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { name: string; begun: number }[]);
    assert.deepEqual([shown, lines.length], [3, 4]);
    assert.deepEqual(
      lines[0]?.map(({ name }) => name),
      ["report", "settle"],
    );
  } finally {
    await runtime.stop();
  }
  const { out, err } = await holdfast(["jobs", "--json"]);
  assert.equal(err, "");
  const [report, settle] = JSON.parse(out) as { begun: number; lateMs: number; owner: string; token: string }[];
  assert.equal(report?.begun, 0);
  assert.ok((settle?.begun ?? 0) >= 1 && (settle?.lateMs ?? -1) >= 0);
  assert.deepEqual([settle?.owner, settle?.token], ["here", "1.0"]);
});

test("an actor type of the user's own that is called job is not taken for one", async () => {
  const actors = { job: createMachine({ context: {} }) };
  const runtime = await createRuntime({ actors, store: embedded(directory), logger: silent });
  try {
    assert.equal((await holdfast(["jobs"])).out, "no jobs\n");
    await runtime.actor("job", "mine").create();
    assert.match((await holdfast(["jobs"])).out, /mine.*it is no scheduled job/);
  } finally {
    await runtime.stop();
  }
});

test("jobs takes nothing more", async () => {
  const { code, err } = await holdfast(["jobs", "settle"]);
  assert.equal(code, 2);
  assert.match(err, /no more arguments/);
});
