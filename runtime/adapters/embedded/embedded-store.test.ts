import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, test } from "vitest";
import { fencingContract, type StoreUnderTest, storeContract } from "../../ports/store.contract.ts";
import type { StoreChange, StoreWrite, WriteOutcome } from "../../ports/store.ts";
import { type EmbeddedProvider, EmbeddedStore, embedded } from "./index.ts";
import { LmdbFile } from "./lmdb-file.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-embedded-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;
const freshDirectory = () => join(scratch, String(++made));

describe("EmbeddedStore keeps the store's contract", () => {
  for (const { name, run } of [...storeContract, ...fencingContract])
    test(name, () => run(() => open(embedded(freshDirectory(), { historyDepth: 4 }))));
});

describe("EmbeddedStore keeps the contract at other depths", () => {
  for (const { name, run } of storeContract.filter(({ name }) => name.startsWith("history")))
    for (const historyDepth of [1, 64])
      test(`${name} (${historyDepth})`, () => run(() => open(embedded(freshDirectory(), { historyDepth }))));
});

async function open(provider: EmbeddedProvider): Promise<StoreUnderTest> {
  const { store, leases } = await provider.open();
  return { store, token: leases.token(0)!, reopen: () => open(provider) };
}

test("keys outside ASCII are listed by UTF-16 code unit", async () => {
  const store = await EmbeddedStore.open(freshDirectory());
  const keys = ["k.\u{1f600}", "k.\uff5a", "k.z", "k.é", "k.\ud800", "k.", "k.a\0b", "k.a"];
  for (const key of keys) assert.equal((await store.write(writeOf(store, key))).kind, "written");
  const listed = async (after?: string) =>
    (await store.list({ prefix: "k.", ...(after === undefined ? {} : { after }) })).map((entry) => entry.key);
  const sorted = [...keys].sort();
  assert.deepEqual(await listed(), sorted);
  for (const [index, key] of sorted.entries()) assert.deepEqual(await listed(key), sorted.slice(index + 1));
  await store.close();
});

test("keys that LMDB cannot take are refused, not thrown", async () => {
  const store = await EmbeddedStore.open(freshDirectory());
  for (const key of ["", "k".repeat(651)]) assert.equal(reasonOf(await store.write(writeOf(store, key))), "tooLarge");
  assert.equal((await store.write(writeOf(store, "\uffff".repeat(650)))).kind, "written");
  assert.equal(await store.read(""), undefined);
  assert.deepEqual(await store.purge("", 1, [store.epoch, 0]), { kind: "conflict" });
  await store.close();
});

test("the epoch grows by one with each host, not with a reader, and the identity stays", async () => {
  const directory = freshDirectory();
  const epochs: number[] = [];
  const identities = new Set<string>();
  for (const readOnly of [false, true, false, true, false]) {
    const store = await EmbeddedStore.open(directory, { readOnly });
    if (!readOnly) epochs.push(store.epoch);
    identities.add(store.info.identity);
    await store.close();
  }
  assert.deepEqual(epochs, [1, 2, 3]);
  assert.equal(identities.size, 1);
});

test("a reader reads, and cannot write", async () => {
  const directory = freshDirectory();
  const host = await EmbeddedStore.open(directory);
  await host.write(writeOf(host, "order.a"));
  await host.close();
  const reader = await EmbeddedStore.open(directory, { readOnly: true });
  assert.equal((await reader.read("order.a"))?.value, '"order.a"');
  const outcome = await reader.write({ ...writeOf(reader, "order.b"), token: [99, 0] });
  assert.equal(reasonOf(outcome), "closed");
  assert.match(outcome.kind === "refused" ? outcome.detail : "", /read-only/);
  await reader.close();
});

test("a reader sees all the revisions that the host keeps, without being told how many", async () => {
  const directory = freshDirectory();
  const host = await EmbeddedStore.open(directory, { historyDepth: 30 });
  for (let expect = 0; expect < 25; expect++) await host.write({ ...writeOf(host, "order.a"), expect });
  await host.close();
  const reader = await EmbeddedStore.open(directory, { readOnly: true });
  assert.equal((await reader.history("order.a")).length, 25);
  assert.equal(reader.info.historyDepth, 30);
  await reader.close();
});

test("a smaller history depth counts from the next write of a key on", async () => {
  const directory = freshDirectory();
  const deep = await EmbeddedStore.open(directory, { historyDepth: 6 });
  for (let expect = 0; expect < 6; expect++) await deep.write({ ...writeOf(deep, "order.a"), expect });
  await deep.close();
  const shallow = await EmbeddedStore.open(directory, { historyDepth: 2 });
  const revisions = async () => (await shallow.history("order.a")).map((entry) => entry.revision);
  assert.deepEqual(await revisions(), [5, 6]);
  await shallow.write({ ...writeOf(shallow, "order.a"), expect: 6 });
  assert.deepEqual(await revisions(), [6, 7]);
  await shallow.close();
});

test("a history depth outside 1 to 64 is refused", async () => {
  for (const historyDepth of [0, 65, 1.5]) await assert.rejects(EmbeddedStore.open(freshDirectory(), { historyDepth }));
});

test("a listener that stops another, or itself, is obeyed at once", async () => {
  const store = await EmbeddedStore.open(freshDirectory());
  const told: string[] = [];
  const stops: (() => void)[] = [];
  await new Promise<void>((resolve) => {
    stops.push(
      store.watch("", () => {
        told.push("first");
        for (const stop of stops) stop();
        resolve();
      }),
      store.watch("", () => told.push("second")),
    );
    void store.write(writeOf(store, "order.a"));
  });
  await store.write(writeOf(store, "order.b"));
  await store.close();
  assert.deepEqual(told, ["first"]);
});

test("a backup taken while writes go on is a store with all that was acknowledged before", async () => {
  const directory = freshDirectory();
  const store = await EmbeddedStore.open(directory);
  const latest = new Map<string, number>();
  let isBusy = true;
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    const key = `order.${writer}`;
    while (isBusy) {
      const outcome = await store.write({ ...writeOf(store, key), expect: latest.get(key) ?? 0 });
      if (outcome.kind !== "written") return assert.fail(JSON.stringify(outcome));
      latest.set(key, outcome.revision);
    }
  });
  for (let count = 0; count < 300; count++) await store.write(writeOf(store, `job.${count}`));
  const before = new Map(latest);
  const copy = freshDirectory();
  await store.backup(copy);
  await assert.rejects(store.backup(copy), /holds a store already/);
  isBusy = false;
  await Promise.all(writers);

  // Both are open at once: the copy is a store of its own.
  const restored = await EmbeddedStore.open(copy);
  assert.equal(restored.info.identity, store.info.identity);
  assert.equal((await restored.list({ prefix: "job." })).length, 300);
  for (const [key, revision] of before) {
    const entry = await restored.read(key);
    assert.ok(entry && entry.revision >= revision, `${key} at ${revision}`);
    assert.ok((await restored.history(key)).every(({ value }) => value === `"${key}"`));
  }
  assert.equal((await restored.write(writeOf(restored, "order.new"))).kind, "written");
  assert.equal(await store.read("order.new"), undefined);
  await restored.close();
  await store.close();
});

describe("when the disk fails", () => {
  const failure = (code: number) => Object.assign(new Error(`code ${code}`), { code });

  test("a commit that surely left nothing for want of room is refused, and writes go on later", async () => {
    for (const code of [constants.errno.ENOSPC, constants.errno.EFBIG, constants.errno.EDQUOT, -30792]) {
      const { store, faults } = await openFaulty();
      faults.push({ commit: "lost", error: failure(code) });
      assert.equal(reasonOf(await store.write(writeOf(store, "order.a"))), "full");
      assert.equal(await store.read("order.a"), undefined);
      assert.deepEqual(await store.write(writeOf(store, "order.a")), { kind: "written", revision: 1 });
      await store.close();
    }
  });

  test("a commit that failed otherwise is unknown, and its repetition is written", async () => {
    const { store, faults } = await openFaulty();
    const error = failure(constants.errno.EIO);
    faults.push({ commit: "lost", error });
    assert.deepEqual(await store.write(writeOf(store, "order.a")), { kind: "unknown", cause: error });
    assert.deepEqual(await store.write(writeOf(store, "order.a")), { kind: "written", revision: 1 });
    await store.close();
  });

  test("a commit that landed although it failed is written", async () => {
    const { store, faults, changes } = await openFaulty();
    faults.push({ commit: "landed", error: failure(constants.errno.EIO) });
    assert.deepEqual(await store.write(writeOf(store, "order.a")), { kind: "written", revision: 1 });
    assert.equal((await store.read("order.a"))?.revision, 1);
    assert.deepEqual(await store.write({ ...writeOf(store, "order.a"), expect: 1 }), { kind: "written", revision: 2 });
    assert.deepEqual(changes.map(revisionOf), [1, 2]);
    await store.close();
  });

  test("while nobody can tell, every write is unknown; then a repetition finds its own write", async () => {
    const { store, faults, changes } = await openFaulty();
    const error = failure(constants.errno.EIO);
    const write = writeOf(store, "order.a");
    faults.push({ commit: "landed", error, recover: error }, { recover: error });
    assert.equal((await store.write(write)).kind, "unknown");
    const [repetition, other] = await Promise.all([store.write(write), store.write(writeOf(store, "order.b"))]);
    assert.deepEqual([repetition.kind, other.kind], ["unknown", "unknown"]);
    assert.deepEqual(await store.write(write), { kind: "conflict" });
    assert.deepEqual((await store.read("order.a"))?.header, write.header);
    assert.deepEqual(await store.write(writeOf(store, "order.b")), { kind: "written", revision: 2 });
    assert.deepEqual(changes.map(revisionOf), [1, 2]);
    await store.close();
  });

  test("while nobody can tell, and nothing landed, a repetition is written", async () => {
    const { store, faults, changes } = await openFaulty();
    const error = failure(constants.errno.EIO);
    faults.push({ commit: "lost", error, recover: error });
    assert.equal((await store.write(writeOf(store, "order.a"))).kind, "unknown");
    assert.deepEqual(await store.write(writeOf(store, "order.a")), { kind: "written", revision: 1 });
    assert.deepEqual(changes.map(revisionOf), [1]);
    await store.close();
  });

  test("reads wait while the file is opened anew", async () => {
    const { store, faults } = await openFaulty();
    await store.write(writeOf(store, "order.a"));
    faults.push({ commit: "lost", error: failure(constants.errno.EIO) });
    const failing = store.write(writeOf(store, "order.b"));
    let isSettled = false;
    void failing.then(() => {
      isSettled = true;
    });
    while (!isSettled) {
      assert.equal((await store.read("order.a"))?.revision, 1);
      await new Promise((resume) => setImmediate(resume));
    }
    await store.close();
  });

  test("the next opening finds what landed, and no more", async () => {
    const { store, faults } = await openFaulty();
    const error = failure(constants.errno.EIO);
    faults.push({ commit: "landed", error, recover: error });
    await store.write(writeOf(store, "order.a"));
    await store.close();
    const next = await EmbeddedStore.open(store.info.name);
    assert.equal(next.epoch, store.epoch + 1);
    assert.deepEqual(
      (await next.list({ prefix: "" })).map(({ key, revision }) => [key, revision]),
      [["order.a", 1]],
    );
    await next.close();
  });
});

/** What goes wrong, in order: with the next commit, and with the recovery after it. */
type Fault = {
  readonly commit?: "lost" | "landed";
  readonly error?: Error;
  readonly recover?: Error;
};

async function openFaulty() {
  const faults: Fault[] = [];
  let current: Fault | undefined;
  const store = await EmbeddedStore.open(freshDirectory(), {}, async (directory, isReadOnly) => {
    const file = await LmdbFile.open(directory, isReadOnly);
    const { commit, recover } = file;
    file.commit = async (...change) => {
      current = faults.shift();
      if (current?.commit === "lost") throw current.error;
      const isCurrent = await commit.apply(file, change);
      if (current?.commit === "landed") throw current.error;
      return isCurrent;
    };
    file.recover = async (...lost) => {
      const fault = current ?? faults.shift();
      current = undefined;
      if (fault?.recover) throw fault.recover;
      return recover.apply(file, lost);
    };
    return file;
  });
  const changes: StoreChange[] = [];
  store.watch("", (change) => changes.push(change));
  return { store, faults, changes };
}

function writeOf(store: EmbeddedStore, key: string): StoreWrite {
  return { key, value: `"${key}"`, header: { commit: `c.${key}`, hash: "h" }, expect: 0, token: [store.epoch, 0] };
}

function reasonOf(outcome: WriteOutcome): string | undefined {
  return outcome.kind === "refused" ? outcome.reason : outcome.kind;
}

function revisionOf(change: StoreChange): number {
  return change.kind === "put" ? change.entry.revision : change.revision;
}
