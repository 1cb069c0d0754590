import assert from "node:assert/strict";
import { describe, test } from "vitest";
import type { Disk } from "../../coordinator/ports/disk.ts";
import { createWorld } from "./world.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (read: Uint8Array) => new TextDecoder().decode(read);

function open(seed: number | string = 1) {
  const world = createWorld({ seed });
  const node = world.node("n1");
  node.boot(() => {});
  return {
    world,
    node,
    disk: () => node.ports.disk,
    /** Runs the world until it is done. */
    done: <T>(promise: Promise<T>) => world.settle(promise),
    restart: async () => {
      node.crash();
      node.restart();
      await world.run({ forMs: 10 });
    },
  };
}

async function contentOf(disk: Disk, name: string): Promise<string | undefined> {
  if (!(await disk.list()).includes(name)) return undefined;
  const file = await disk.open(name);
  return text(await file.read(0, file.size()));
}

async function write(disk: Disk, name: string, content: string, { sync = true, folder = true } = {}): Promise<void> {
  const file = await disk.open(name);
  await file.write(file.size(), bytes(content));
  if (sync) await file.sync();
  if (folder) await disk.syncFolder();
  await file.close();
}

describe("a simulated disk", () => {
  test("reads what was written, also at an offset and past the end", async () => {
    const { done, disk } = open();
    await done(
      (async () => {
        const file = await disk().open("log");
        await file.write(0, bytes("abc"));
        await file.write(1, bytes("XYZ"));
        assert.equal(file.size(), 4);
        assert.equal(text(await file.read(1, 100)), "XYZ");
        assert.equal(text(await file.read(9, 1)), "");
        await file.truncate(2);
        assert.equal(text(await file.read(0, 9)), "aX");
        await assert.rejects(file.write(3, bytes("!")), /has 2 bytes/);
        await assert.rejects(disk().open("log"), /open already/);
      })(),
    );
  });

  test("keeps what was synced through any crash", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const { done, disk, restart } = open(seed);
      await done(write(disk(), "log", "kept"));
      await done(write(disk(), "log", "maybe", { sync: false, folder: false }));
      await restart();
      const content = (await done(contentOf(disk(), "log"))) ?? "";
      assert.ok(content.startsWith("kept") && content.length <= 9, content);
    }
  });

  test("loses, keeps, tears or reorders what was not, each in some run", async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 200; seed++) {
      const { done, disk, restart } = open(seed);
      await done(write(disk(), "log", "-"));
      await done(
        (async () => {
          const file = await disk().open("log");
          await file.write(1, bytes("a".repeat(1_000)));
          await file.write(1_001, bytes("b".repeat(1_000)));
        })(),
      );
      await restart();
      const content = (await done(contentOf(disk(), "log"))) ?? "";
      const [a, b] = [content.split("a").length - 1, content.split("b").length - 1];
      seen.add(`${a === 0 ? "none" : a === 1_000 ? "all" : "part"} ${b === 0 ? "none" : b === 1_000 ? "all" : "part"}`);
    }
    for (const outcome of ["all all", "none none", "all none", "none all", "part none"])
      assert.ok(seen.has(outcome), `${outcome} never happened: ${[...seen].join(", ")}`);
  });

  test("a name that was made, renamed or removed stays so only after syncFolder", async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 80; seed++) {
      const { done, disk, restart } = open(seed);
      await done(write(disk(), "old", "1"));
      await done(
        (async () => {
          await write(disk(), "new", "2", { folder: false });
          await disk().rename("new", "old");
        })(),
      );
      await restart();
      const names = (await done(disk().list())).join(" ");
      seen.add(`${names}: ${await done(contentOf(disk(), "old"))}`);
    }
    assert.ok(seen.has("old: 1") && seen.has("old: 2"), [...seen].join(", "));
    const { done, disk, restart } = open();
    await done(write(disk(), "a", "1"));
    await done(
      disk()
        .rename("a", "b")
        .then(() => disk().syncFolder()),
    );
    await restart();
    assert.deepEqual(await done(disk().list()), ["b"]);
  });

  test("a full disk, a failing and a lying sync, a bit that flips", async () => {
    const { world, node, done, disk, restart } = open();
    await done(write(disk(), "log", "kept"));
    node.disk.faults.next(1, "full", ({ subject }) => subject === "write");
    await assert.rejects(done(write(disk(), "log", "more")), { name: "DiskFullError" });
    await restart();
    node.disk.faults.next(1, "sync-error", ({ subject }) => subject === "sync");
    await assert.rejects(done(write(disk(), "log", "more")), { name: "DiskSyncError" });
    await restart();
    node.disk.faults.next(2, "sync-lie", ({ subject }) => subject === "sync");
    await done(write(disk(), "liar", "x"));
    node.disk.faults.rates = { "bit-flip": 1 };
    const content = await done(contentOf(disk(), "log"));
    assert.notEqual(content?.slice(0, 4), "kept");
    world.heal();
    assert.equal((await done(contentOf(disk(), "none"))) ?? "nothing", "nothing");
  });

  test("a wiped disk is empty", async () => {
    const { world, node, done, disk } = open();
    await done(write(disk(), "log", "gone"));
    node.crash();
    node.restart({ wiped: true });
    await world.run({ forMs: 10 });
    assert.deepEqual(await done(disk().list()), []);
  });
});
