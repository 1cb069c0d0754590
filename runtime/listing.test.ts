import assert from "node:assert/strict";
import { test } from "vitest";
import { MemoryStore } from "./adapters/memory/index.ts";
import { actorKey } from "./keys.ts";
import { listActors, scanActors } from "./listing.ts";

const document = (type: string, id: string, state: string, status = "active") =>
  JSON.stringify({
    id,
    type,
    state,
    status,
    at: "2026-01-01T00:00:00.000Z",
    seq: 1,
    format: 1,
    causes: [],
    born: "b",
    token: [1, 0],
    commit: "c",
    machine: { version: 1, hash: "h" },
    actors: {},
    timers: {},
    outbox: [],
    seen: {},
    next: [1, 1],
  });

async function storeOf(values: readonly (readonly [key: string, value: string])[]): Promise<MemoryStore> {
  const store = new MemoryStore().reopen();
  const token = [store.raiseEpoch(), 0] as const;
  for (const [key, value] of values)
    await store.write({ key, value, header: { commit: "c", hash: "h" }, expect: 0, token });
  return store;
}

/** Of three types around the runtime's own keys, which sort between capitals and small letters. */
const ids = ["a", "b c", "ü", "..", "10", "9"];
const all = ["Zoo", "order", "user"].flatMap((type) =>
  ids.map((id, n) => [actorKey(type, id), document(type, id, n % 2 === 0 ? "open.editing" : "closed")] as const),
);
const own = Array.from({ length: 400 }, (_, n) => [`_pending.order.${n}`, "{}"] as const);

for (const maxRead of [1, 2, 7, 1_000])
  for (const limit of [1, 3, 1_000])
    test(`a scan in parts of ${maxRead} documents and ${limit} actors finds each once, in the order of keys`, async () => {
      const store = await storeOf([...all, ...own]);
      for (const type of [undefined, "order"]) {
        const found: string[] = [];
        for (let after: string | undefined; ; ) {
          const scan = await scanActors(
            store,
            { ...(type !== undefined && { type }), state: "open" },
            { after, limit, maxRead },
          );
          found.push(...scan.actors.map((actor) => actorKey(actor.type, actor.id)));
          assert.ok(scan.actors.length <= limit);
          if (scan.next === undefined) break;
          after = scan.next;
        }
        const expected = all.filter(
          ([key, value]) => value.includes("open.editing") && (type === undefined || key.startsWith("order.")),
        );
        assert.deepEqual(found, expected.map(([key]) => key).sort());
      }
    });

test("a list goes on after an id whose key is escaped", async () => {
  const store = await storeOf(all);
  const everything = (await listActors(store, "order")).map(({ id }) => id);
  for (const [index, id] of everything.entries()) {
    const rest = (await listActors(store, "order", { after: id })).map((actor) => actor.id);
    assert.deepEqual(rest, everything.slice(index + 1));
  }
});

test("a damaged document is listed with what is wrong with it", async () => {
  const store = await storeOf([
    [actorKey("order", "cut"), document("order", "cut", "open").slice(0, 90)],
    [actorKey("order", "new"), document("order", "new", "open").replace('"format":1', '"format":99')],
  ]);
  const [cut, newer] = await listActors(store, "order");
  assert.deepEqual([cut?.id, cut?.state], ["cut", "(unreadable)"]);
  assert.match(cut?.problem ?? "", /not JSON/);
  assert.match(newer?.problem ?? "", /format 99/);
});
