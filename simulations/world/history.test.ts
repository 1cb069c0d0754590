/** The store model and the revision checker judge each other: neither may be quietly wrong. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { hashText } from "../../runtime/hash.ts";
import { checkRevisions, type Operation, type StoredRevision } from "../checkers/revisions.ts";
import type { StoreFaultRates } from "./store-faults.ts";
import { createWorld, type World } from "./world.ts";

const writeFaults = {
  conflict: 0.05,
  "conflict-applied": 0.05,
  "unknown-applied": 0.05,
  "unknown-late": 0.1,
  "unknown-lost": 0.05,
  duplicate: 0.1,
  "slow-answer": 0.05,
} as const;

/** Three nodes read and write two keys; every call is recorded with its true times. */
async function record(seed: number, faults: StoreFaultRates) {
  const world = createWorld({ seed });
  world.store.faults.set(faults);
  const operations: Operation[] = [];
  for (const name of ["n1", "n2", "n3"]) {
    world.node(name).boot(async ({ store, random, clock }) => {
      for (let round = 0; round < 40; round++) {
        const key = random.next() < 0.5 ? "a" : "b";
        const readMs = world.nowMs;
        const revision = (await store.read(key))?.revision ?? 0;
        operations.push({ call: readMs, return: world.nowMs, key, kind: "read", outcome: "ok", revision });
        const commit = random.id();
        const call = world.nowMs;
        const header = { commit, hash: hashText("1") };
        const outcome = await store.write({ key, value: "1", header, expect: revision, token: [1, 1] });
        const common = { call, return: world.nowMs, key, kind: "write", commit, expect: revision } as const;
        if (outcome.kind === "written") operations.push({ ...common, outcome: "ok", revision: outcome.revision });
        else operations.push({ ...common, outcome: outcome.kind });
        await new Promise<void>((resolve) => clock.after(random.next() * 5, resolve));
      }
    });
  }
  await world.run();
  return { operations, stored: storedBy(world) };
}

function storedBy(world: World): ReadonlyMap<string, readonly StoredRevision[]> {
  const stored = new Map<string, StoredRevision[]>();
  for (const { key, revision, previous, header } of world.store.log) {
    const ofKey = stored.get(key) ?? [];
    stored.set(key, ofKey);
    ofKey.push({ revision, previous, ...(header === undefined ? {} : { commit: header.commit }) });
  }
  return stored;
}

test("whatever happens to writes, the store stays linearizable", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const history = await record(seed, { write: writeFaults, read: { "slow-answer": 0.05 } });
    assert.ok(history.operations.length === 240);
    assert.deepEqual(checkRevisions(history), [], `seed ${seed}`);
  }
});

test("a store with stale reads is found out within five seeds", async () => {
  const rules = new Set<string>();
  for (let seed = 1; seed <= 5; seed++) {
    const history = await record(seed, { write: writeFaults, read: { stale: 0.2 } });
    for (const { rule } of checkRevisions(history)) rules.add(rule);
  }
  assert.deepEqual([...rules], ["stale-read"]);
});

test("a store that forgets an acknowledged write is found out", async () => {
  const { operations, stored } = await record(1, {});
  const last = operations.findLast(({ kind, outcome }) => kind === "write" && outcome === "ok");
  const forgetful = new Map(
    [...stored].map(([key, all]) => [key, all.filter((one) => one.revision !== last?.revision)]),
  );
  assert.deepEqual(checkRevisions({ operations, stored }), []);
  const rules = checkRevisions({ operations, stored: forgetful }).map(({ rule }) => rule);
  assert.ok(rules.includes("acknowledged-but-absent"));
});
