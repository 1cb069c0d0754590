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

test("a job is removed by its name, by a host that schedules it or not, and nothing of it is listed then", async () => {
  const first = await createRuntime({ actors: {}, store: embedded(directory), logger: silent });
  await first.schedule("settle", { every: "1h" }, () => undefined);
  await first.schedule("report", { every: "1h" }, () => undefined);
  try {
    const removed = await holdfast(["jobs", "remove", "settle"]);
    assert.deepEqual(removed, { code: 0, out: "settle is removed\n", err: "" });
    assert.equal((await holdfast(["jobs", "remove", "settle"])).out, "settle was removed before\n");
    assert.match((await holdfast(["jobs"])).out, /^JOB .*\nreport .*\n$/);
    // Its process knows: the name is free.
    await first.schedule("settle", { every: "2h" }, () => undefined);
    assert.match((await holdfast(["jobs"])).out, /^settle +scheduled /m);
  } finally {
    await first.stop();
  }
  const alone = await holdfast(["jobs", "remove", "settle"]);
  assert.equal(alone.code, 1);
  assert.match(alone.err, /no host runs .*: only a running host does this/);
  const second = await createRuntime({ actors: {}, store: embedded(directory), logger: silent });
  try {
    const json = await holdfast(["jobs", "remove", "settle", "--json"]);
    assert.deepEqual(JSON.parse(json.out), { name: "settle", changed: true });
    const nothing = await holdfast(["jobs", "remove", "nothing"]);
    assert.deepEqual([nothing.code, nothing.err], [1, 'holdfast: job "nothing" does not exist\n']);
  } finally {
    await second.stop();
  }
});

test("what jobs remove cannot be called with is a usage error", async () => {
  for (const [argv, says] of [
    [["remove"], /it needs the name/],
    [["remove", "a", "b"], /no more arguments/],
    [["remove", "a", "--watch"], /--watch goes with the list/],
  ] as const) {
    const { code, err } = await holdfast(["jobs", ...argv]);
    assert.equal(code, 2);
    assert.match(err, says);
  }
});

test("jobs takes nothing more", async () => {
  const { code, err } = await holdfast(["jobs", "settle"]);
  assert.equal(code, 2);
  assert.match(err, /no more arguments/);
});
