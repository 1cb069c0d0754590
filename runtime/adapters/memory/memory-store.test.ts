import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { fencingContract, type StoreUnderTest, storeContract } from "../../ports/store.contract.ts";
import { type MemoryProvider, MemoryStore, memory } from "./index.ts";

describe("MemoryStore keeps the store's contract", () => {
  for (const { name, run } of [...storeContract, ...fencingContract])
    test(name, () => run(() => open(memory({ historyDepth: 4 }))));
});

describe("MemoryStore keeps the contract at other depths", () => {
  for (const { name, run } of storeContract.filter(({ name }) => name.startsWith("history")))
    for (const historyDepth of [1, 64])
      test(`${name} (${historyDepth})`, () => run(() => open(memory({ historyDepth }))));
});

async function open(provider: MemoryProvider): Promise<StoreUnderTest> {
  const { store, leases } = await provider.open();
  return { store, token: leases.token(0)!, reopen: () => open(provider) };
}

test("an abandoned opening is fenced by the next one", async () => {
  const provider = memory();
  const first = await provider.open();
  const second = await provider.open();
  const write = { key: "order.a", value: "1", header: { commit: "c1", hash: "h" }, expect: 0 };
  const outcome = await first.store.write({ ...write, token: first.leases.token(0)! });
  assert.equal(outcome.kind === "refused" && outcome.reason, "fenced");
  assert.deepEqual(await second.store.write({ ...write, token: second.leases.token(0)! }), {
    kind: "written",
    revision: 1,
  });
  assert.equal((await first.store.read("order.a"))?.value, "1");
});

test("options reach the info, and two stores are two identities", () => {
  const info = new MemoryStore({ name: "n", identity: "i", maxValueBytes: 5, historyDepth: 2 }).info;
  assert.deepEqual(info, { name: "n", identity: "i", maxValueBytes: 5, historyDepth: 2, durability: "none" });
  assert.notEqual(new MemoryStore().info.identity, new MemoryStore().info.identity);
});
