import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open as openLmdb } from "lmdb";
import { afterAll, describe, test, vi } from "vitest";
import {
  EmbeddedStore,
  ForeignDirectory,
  LmdbMissing,
  StoreDamaged,
  StoreInUse,
  StoreNotFound,
  StoreTooNew,
} from "./index.ts";
import { LmdbFile } from "./lmdb-file.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-open-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;
const freshDirectory = () => join(scratch, String(++made));

test("a directory that is made can be looked into by its user only", async () => {
  const directory = freshDirectory();
  await (await EmbeddedStore.open(directory)).close();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
});

describe("one host at a time", () => {
  test("a second opening is refused, naming the process and the directory, until the first is closed", async () => {
    const directory = freshDirectory();
    const first = await EmbeddedStore.open(directory);
    for (const readOnly of [false, true])
      await assert.rejects(EmbeddedStore.open(directory, { readOnly }), (error) => {
        assert.ok(error instanceof StoreInUse);
        assert.equal(error.pid, process.pid);
        assert.equal(error.directory, directory);
        assert.match(error.message, new RegExp(`${process.pid}.*${directory}`));
        return true;
      });
    const write = { key: "order.a", value: "1", header: { commit: "c", hash: "h" }, expect: 0 };
    assert.equal((await first.write({ ...write, token: [first.epoch, 0] })).kind, "written");
    await first.close();
    await (await EmbeddedStore.open(directory)).close();
  });

  test("of hosts that start at once exactly one wins", async () => {
    const directory = freshDirectory();
    const openings = await Promise.allSettled(Array.from({ length: 6 }, () => EmbeddedStore.open(directory)));
    const winners = openings.flatMap((opening) => (opening.status === "fulfilled" ? [opening.value] : []));
    assert.equal(winners.length, 1);
    for (const opening of openings)
      if (opening.status === "rejected") assert.ok(opening.reason instanceof StoreInUse, String(opening.reason));
    await winners[0]!.close();
  });

  test("a dead host's process id in use by another process does not keep the directory", async () => {
    const directory = freshDirectory();
    await (await EmbeddedStore.open(directory)).close();
    const file = await LmdbFile.open(directory, false);
    file.takeOver(undefined, { id: "gone", pid: process.pid }, { newIdentity: "", historyDepth: 1 });
    await file.close();
    await (await EmbeddedStore.open(directory, { readOnly: true })).close();
    const next = await EmbeddedStore.open(directory);
    assert.equal(next.epoch, 3);
    await next.close();
  });

  test("an opening that another host outranked is fenced", async () => {
    const directory = freshDirectory();
    const store = await EmbeddedStore.open(directory);
    const file = await LmdbFile.open(directory, false);
    file.takeOver(file.host(), { id: "other", pid: 1 }, { newIdentity: "", historyDepth: 1 });
    const write = { key: "order.a", value: "1", header: { commit: "c", hash: "h" }, expect: 0 };
    const outcome = await store.write({ ...write, token: [store.epoch, 0] });
    assert.equal(outcome.kind === "refused" && outcome.reason, "fenced");
    assert.equal(await store.read("order.a"), undefined);
    await store.close();
    assert.equal(file.host()?.id, "other");
    await file.close();
  });

  test("nothing but the data stays behind, and long paths are taken", async (context) => {
    if (process.platform !== "linux") return context.skip("only Linux can shorten a socket's path");
    const directory = join(freshDirectory(), "long".repeat(40));
    const store = await EmbeddedStore.open(directory);
    await assert.rejects(EmbeddedStore.open(directory), StoreInUse);
    assert.equal(readdirSync(directory).length, 3);
    await store.close();
    assert.deepEqual(readdirSync(directory).sort(), ["holdfast.mdb", "holdfast.mdb-lock"]);
  });
});

describe("what is not a store of ours is left as it is", () => {
  test("a file", async () => {
    const path = freshDirectory();
    writeFileSync(path, "text");
    await assert.rejects(EmbeddedStore.open(path), ForeignDirectory);
    assert.equal(readFileSync(path, "utf8"), "text");
  });

  test("another application's directory", async () => {
    const directory = freshDirectory();
    mkdirSync(directory);
    writeFileSync(join(directory, "data.mdb"), "text");
    await assert.rejects(EmbeddedStore.open(directory), (error) => {
      assert.ok(error instanceof ForeignDirectory);
      assert.match(error.message, /data\.mdb.*choose an empty directory/);
      return true;
    });
    assert.deepEqual(readdirSync(directory), ["data.mdb"]);
  });

  test("another application's LMDB file under our name", async () => {
    const directory = freshDirectory();
    await withLmdb(directory, async (root) => void (await root.put("theirs", 1)));
    await assert.rejects(EmbeddedStore.open(directory), ForeignDirectory);
    await withLmdb(directory, async (root) => assert.deepEqual([...root.getKeys()], ["theirs"]));
  });

  test("hidden files do not count", async () => {
    const directory = freshDirectory();
    mkdirSync(directory);
    writeFileSync(join(directory, ".gitkeep"), "");
    await (await EmbeddedStore.open(directory)).close();
  });

  test("a store of a newer format", async () => {
    const directory = freshDirectory();
    await (await EmbeddedStore.open(directory)).close();
    await withLmdb(directory, async (root) => {
      const meta = root.openDB<unknown, string>("meta", { encoding: "json", useVersions: true });
      await meta.put("store", { ...(meta.get("store") as object), format: 2 });
    });
    for (const readOnly of [false, true])
      await assert.rejects(EmbeddedStore.open(directory, { readOnly }), (error) => {
        assert.ok(error instanceof StoreTooNew);
        assert.equal(error.format, 2);
        assert.match(error.message, /install a newer holdfast/);
        return true;
      });
  });
});

describe("a reader makes nothing", () => {
  test("where no store is", async () => {
    const missing = freshDirectory();
    await assert.rejects(EmbeddedStore.open(missing, { readOnly: true }), StoreNotFound);
    mkdirSync(missing);
    await assert.rejects(EmbeddedStore.open(missing, { readOnly: true }), StoreNotFound);
    assert.deepEqual(readdirSync(missing), []);
  });
});

describe("a damaged file is named as such", () => {
  const damages = {
    "not LMDB": (path: string) => writeFileSync(path, "x".repeat(100_000)),
    "cut in the first page": (path: string) => truncateSync(path, 100),
    "cut in the middle": (path: string, usedPages: number) => truncateSync(path, (usedPages >> 1) * 4_096),
    empty: (path: string) => truncateSync(path, 0),
    missing: (path: string) => rmSync(path),
    "empty, and nothing beside it": (path: string) => {
      truncateSync(path, 0);
      rmSync(`${path}-lock`);
    },
    "cut below what it says": (path: string, usedPages: number) => truncateSync(path, (usedPages - 17) * 4_096),
  };
  for (const [name, damage] of Object.entries(damages))
    test(name, async () => {
      const { directory, path, usedPages } = await filledStore();
      damage(path, usedPages);
      const left = readdirSync(directory);
      for (const readOnly of [false, true])
        await assert.rejects(EmbeddedStore.open(directory, { readOnly }), (error) => {
          assert.ok(error instanceof StoreDamaged, String(error));
          assert.match(error.message, /restore the last backup, or empty the whole directory/);
          return true;
        });
      assert.deepEqual(readdirSync(directory), left);
    });

  test("missing when a failed commit has it opened anew", async () => {
    const { directory, path } = await filledStore();
    const file = await LmdbFile.open(directory, false);
    rmSync(path);
    await assert.rejects(file.recover(1, 1), StoreDamaged);
    await assert.rejects(EmbeddedStore.open(directory), StoreDamaged);
    await file.close();
  });

  test("lost last pages are reported where they are read, and do not end the process", async () => {
    const { directory, path, usedPages } = await filledStore();
    truncateSync(path, (usedPages - 16) * 4_096);
    const readAll = async () => {
      const damaged = await EmbeddedStore.open(directory);
      await damaged.list({ prefix: "" }).finally(() => damaged.close());
    };
    await assert.rejects(readAll(), StoreDamaged);
  });
});

describe("a first start that was killed is no damage", () => {
  const note = (directory: string) => writeFileSync(join(directory, "holdfast.new"), "");
  const data = (directory: string) => writeFileSync(join(directory, "holdfast.mdb"), "");
  const lock = (directory: string) => writeFileSync(join(directory, "holdfast.mdb-lock"), "");
  const moments: Record<string, (directory: string) => unknown> = {
    "before anything": () => {},
    "with the note": (directory) => note(directory),
    "with an empty file": (directory) => [note(directory), data(directory)],
    "with the lock": (directory) => [note(directory), data(directory), lock(directory)],
    "with the lock alone": (directory) => [note(directory), lock(directory)],
    "with LMDB's first pages": (directory) => [note(directory), withLmdb(directory, async () => {})].at(-1),
    "before the first commit": async (directory) => (await LmdbFile.open(directory, false)).close(),
    "before the note went": async (directory) => {
      await (await EmbeddedStore.open(directory)).close();
      note(directory);
    },
  };
  for (const [name, leave] of Object.entries(moments))
    test(name, async () => {
      const directory = freshDirectory();
      mkdirSync(directory);
      await leave(directory);
      if (name !== "before the note went")
        await assert.rejects(EmbeddedStore.open(directory, { readOnly: true }), StoreNotFound);
      const store = await EmbeddedStore.open(directory);
      assert.ok(!readdirSync(directory).includes("holdfast.new"), "the note must go before anything is acknowledged");
      const write = { key: "order.a", value: "1", header: { commit: "c", hash: "h" }, expect: 0 };
      assert.equal((await store.write({ ...write, token: [store.epoch, 0] })).kind, "written");
      await store.close();
    });

  test("the note is there before LMDB makes its first file", async () => {
    const directory = freshDirectory();
    const found: string[][] = [];
    const lmdb = await vi.importActual<typeof import("lmdb")>("lmdb");
    vi.doMock("lmdb", () => ({
      open: (...args: Parameters<typeof openLmdb>) => {
        found.push(readdirSync(directory));
        return lmdb.open(...args);
      },
    }));
    try {
      await (await EmbeddedStore.open(directory)).close();
    } finally {
      vi.doUnmock("lmdb");
    }
    assert.deepEqual(found, [["holdfast.new"]]);
  });
});

describe("bit rot is named as damage where it is met", () => {
  test("in the pages that lead to the records", async () => {
    const { directory, path } = await filledStore();
    const bytes = readFileSync(path);
    for (const page of pagesOf(bytes, BRANCH)) {
      const nodes = page.readUInt16LE(20) / 2;
      // The low half of the number of the page that a node leads to.
      for (let node = 0; node < nodes; node++)
        page.writeUInt16LE(0x7fff, PAGE_HEADER + page.readUInt16LE(PAGE_HEADER + 2 * node));
    }
    writeFileSync(path, bytes);
    const uses = [
      (store: EmbeddedStore) => store.read("order.7"),
      (store: EmbeddedStore) => store.list({ prefix: "" }),
      (store: EmbeddedStore) => store.history("order.7"),
    ];
    for (const readOnly of [false, true]) {
      const store = await EmbeddedStore.open(directory, { readOnly });
      for (const use of uses)
        await assert.rejects(use(store), (error) => {
          assert.ok(error instanceof StoreDamaged, String(error));
          assert.match(error.message, /MDB_.*restore the last backup/);
          return true;
        });
      await store.close();
    }
  });

  test("the records as a whole are gone", async () => {
    const { directory } = await filledStore();
    await withLmdb(directory, async (root) => root.openDB("records", {}).drop());
    await assert.rejects(EmbeddedStore.open(directory), StoreDamaged);
  });
});

const PAGE_BYTES = 4_096;
const PAGE_HEADER = 24;
const BRANCH = 1;

/** The pages of a kind, by the flags in their header. */
function pagesOf(bytes: Buffer, flags: number): Buffer[] {
  const pages = Array.from({ length: bytes.length / PAGE_BYTES }, (_, page) =>
    bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES),
  );
  return pages.slice(2).filter((page) => page.readUInt16LE(18) === flags);
}

async function filledStore() {
  const directory = freshDirectory();
  const store = await EmbeddedStore.open(directory);
  const value = JSON.stringify("x".repeat(2_000));
  for (let count = 0; count < 50; count++) {
    const header = { commit: "c", hash: "h" };
    await store.write({ key: `order.${count}`, value, header, expect: 0, token: [store.epoch, 0] });
  }
  await store.close();
  let usedPages = 0;
  await withLmdb(directory, async (root) => {
    usedPages = (root.getStats() as { lastPageNumber: number }).lastPageNumber + 1;
  });
  return { directory, path: join(directory, "holdfast.mdb"), usedPages };
}

test("without lmdb the error names what to install", async () => {
  vi.doMock("lmdb", () => {
    throw new Error("Cannot find package 'lmdb'");
  });
  try {
    await assert.rejects(EmbeddedStore.open(freshDirectory()), (error) => {
      assert.ok(error instanceof LmdbMissing);
      assert.match(error.message, /npm install lmdb/);
      return true;
    });
  } finally {
    vi.doUnmock("lmdb");
  }
});

async function withLmdb(directory: string, use: (root: ReturnType<typeof openLmdb<unknown, string>>) => Promise<void>) {
  const path = join(directory, "holdfast.mdb");
  const root = openLmdb<unknown, string>({ path, noSubdir: true, overlappingSync: false, maxDbs: 4 });
  await use(root);
  await root.close();
}
