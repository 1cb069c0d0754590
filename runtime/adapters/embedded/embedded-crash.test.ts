/**
 * The store against the operating system: processes that are killed, and a disk without room. The processes are plain
 * JavaScript on the compiled store, since Node cannot run its TypeScript.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, test } from "vitest";
import { type Compiled, compileProject } from "../../testing/compiled.fixture.ts";
import { EmbeddedStore, StoreInUse } from "./index.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-crash-"));
let compiled: Compiled;
let made = 0;
const freshDirectory = () => join(scratch, String(++made));

beforeAll(() => {
  compiled = compileProject();
});

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
  compiled.remove();
});

/** What every process begins with: the open store, and a line on standard output that is out when `say` returns. */
const prelude = (directory: string) => `
  import { writeSync } from "node:fs";
  import { EmbeddedStore } from ${JSON.stringify(pathToFileURL(join(compiled.folder, "runtime/adapters/embedded/index.js")).href)};
  const say = (...words) => writeSync(1, words.join(" ") + "\\n");
  const store = await EmbeddedStore.open(${JSON.stringify(directory)});
  const write = (key, value, expect) =>
    store.write({ key, value, header: { commit: "c." + value.length, hash: "h" }, expect, token: [store.epoch, 0] });
`;

/** 32 keys, each written again and again; each acknowledged write is said. */
const writeForEver = `
  await Promise.all(Array.from({ length: 32 }, async (_, writer) => {
    const key = "order." + writer;
    const found = await store.read(key);
    let revision = found?.revision ?? 0;
    for (let count = found ? JSON.parse(found.value).count + 1 : 0; ; count++) {
      const outcome = await write(key, JSON.stringify({ count, text: "x".repeat(writer * 40) }), revision);
      if (outcome.kind !== "written") { say("stopped", JSON.stringify(outcome)); process.exit(1); }
      revision = outcome.revision;
      say("written", key, revision, count);
    }
  }));
`;

const stayOpen = `say("open", store.epoch);`;

test("every acknowledged write survives kill -9, at any moment", async () => {
  const directory = freshDirectory();
  let epoch = 0;
  for (let round = 0; round < 5; round++) {
    const killAfter = 1 + Math.floor(Math.random() * 3_000);
    const child = run(prelude(directory) + writeForEver);
    const lines = await linesUntil(child, (_, seen) => seen === killAfter, "SIGKILL");
    const what = `killed in round ${round} after ${killAfter} lines`;

    const store = await EmbeddedStore.open(directory);
    assert.equal(store.epoch, epoch + 2, what);
    epoch = store.epoch;
    const acknowledged = new Map<string, { revision: number; count: number }[]>();
    for (const [word, key, revision, count] of lines.map((line) => line.split(" "))) {
      assert.equal(word, "written", `${what}: ${key}`);
      const ofKey = acknowledged.get(key!) ?? [];
      acknowledged.set(key!, [...ofKey, { revision: Number(revision), count: Number(count) }]);
    }
    for (const [key, writes] of acknowledged) {
      const history = await store.history(key);
      const kept = history.map((entry) => ({
        revision: entry.revision,
        count: JSON.parse(entry.value).count as number,
      }));
      const last = writes.at(-1)!;
      // At most one write per key was under way, so the last acknowledged one is the last or the last but one.
      assert.ok(
        kept.slice(-2).some(({ revision, count }) => revision === last.revision && count === last.count),
        `${what}: ${key} ${JSON.stringify({ kept, last })}`,
      );
      assert.deepEqual(
        kept.map(({ count }) => count),
        kept.map((_, index) => kept[0]!.count + index),
        what,
      );
    }
    await store.close();
  }
}, 20_000);

test("a process lives until it closes the store, also when it has nothing to do", async () => {
  const closeOnTerm = `process.once("SIGTERM", () => void store.close().then(() => say("closed"))); say("open");`;
  const child = run(prelude(freshDirectory()) + closeOnTerm);
  const code = new Promise((resolve) => child.once("close", resolve));
  let output = "";
  for await (const chunk of child.stdout!.setEncoding("utf8")) {
    if (output === "") child.kill("SIGTERM");
    output += chunk;
  }
  assert.equal(output, "open\nclosed\n");
  assert.equal(await code, 0);
});

describe("another process that hosts the directory", () => {
  test("is named, also while it is stopped, and gone when it was killed", async () => {
    const directory = freshDirectory();
    const child = run(prelude(directory) + stayOpen);
    const exit = new Promise<void>((resume) => child.once("exit", () => resume()));
    await new Promise<void>((resume) => child.stdout!.once("data", () => resume()));
    child.kill("SIGSTOP");
    for (const readOnly of [false, true])
      await assert.rejects(EmbeddedStore.open(directory, { readOnly }), (error) => {
        assert.ok(error instanceof StoreInUse);
        assert.equal(error.pid, child.pid);
        return true;
      });
    child.kill("SIGKILL");
    await exit;
    await (await EmbeddedStore.open(directory, { readOnly: true })).close();
    const store = await EmbeddedStore.open(directory);
    assert.equal(store.epoch, 2);
    await store.close();
  });
});

describe("a disk without room", () => {
  const fillPurgeGoOn = `
    const kept = [];
    let refused;
    for (let count = 0; !refused; count++) {
      const keys = Array.from({ length: 8 }, (_, index) => "order." + count + "." + index);
      const outcomes = await Promise.all(keys.map((key) => write(key, JSON.stringify("x".repeat(7_000)), 0)));
      outcomes.forEach((outcome, index) => {
        if (outcome.kind === "written") kept.push({ key: keys[index], revision: outcome.revision });
        else refused = outcome;
      });
    }
    say("refused", refused.kind, refused.reason);
    const again = await write("order.again", JSON.stringify("x".repeat(500_000)), 0);
    say("again", again.kind, again.reason);
    for (const { key, revision } of kept.splice(0, 40)) {
      const purged = await store.purge(key, revision, [store.epoch, 0]);
      if (purged.kind !== "written") say("purge", JSON.stringify(purged));
    }
    const after = [];
    for (let count = 0; count < 20; count++) after.push((await write("order.after." + count, '"small"', 0)).kind);
    say("after", [...new Set(after)]);
    for (const { key } of kept) if (!(await store.read(key))) say("lost", key);
    say("kept", kept.length);
    await store.close();
  `;

  test("refuses, loses nothing, and goes on when there is room again", async (context) => {
    if (process.platform === "win32") return context.skip("no limit of a file's size to set");
    const directory = freshDirectory();
    // The limit of the size of a file acts like a full disk: writes are cut short, then fail with EFBIG.
    const child = run(prelude(directory) + fillPurgeGoOn, "ulimit -f 16000");
    const lines = await linesUntil(child, () => false);
    const kept = Number(lines.at(-1)?.split(" ")[1]);
    assert.deepEqual(lines, ["refused refused full", "again refused full", "after written", `kept ${kept}`]);
    assert.ok(kept > 50);

    const store = await EmbeddedStore.open(directory);
    const expected = kept + 20;
    assert.equal((await store.list({ prefix: "order.", limit: 10_000 })).length, expected);
    const write = {
      key: "order.again",
      value: JSON.stringify("x".repeat(500_000)),
      header: { commit: "c", hash: "h" },
    };
    assert.equal((await store.write({ ...write, expect: 0, token: [store.epoch, 0] })).kind, "written");
    await store.close();
  });
});

function run(program: string, shellSetup = ":"): ChildProcess {
  const node = [process.execPath, "--input-type=module", "-e", program];
  return process.platform === "win32"
    ? spawn(node[0]!, node.slice(1), { stdio: ["ignore", "pipe", "pipe"] })
    : spawn("sh", ["-c", `${shellSetup}; exec "$@"`, "sh", ...node], { stdio: ["ignore", "pipe", "pipe"] });
}

/** All whole lines that a process wrote until it ended, killed as soon as a line satisfies the condition. */
async function linesUntil(
  child: ChildProcess,
  isEnough: (line: string, seen: number) => boolean,
  signal?: NodeJS.Signals,
): Promise<string[]> {
  let output = "";
  let errors = "";
  let seen = 0;
  child.stderr!.on("data", (chunk) => {
    errors += chunk;
  });
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    for (const line of chunk.split("\n").slice(1)) if (isEnough(line, ++seen)) child.kill(signal);
  });
  const code = await new Promise<number | null>((resume) => child.once("close", resume));
  const lines = output.split("\n").slice(0, -1);
  assert.ok(signal ? code === null : code === 0, `exit code ${code}\n${lines.slice(-3).join("\n")}\n${errors}`);
  return lines;
}
