/**
 * What every `ActorStore` must do, as plain functions: no test framework, no timers, so that the same cases judge an
 * adapter under vitest, under Deno and inside a simulation. A case opens its own fresh store and closes what it opened.
 */
import assert from "node:assert/strict";
import { hashText } from "../hash.ts";
import type { ActorStore, EntryHeader, Revision, StoreChange, StoredEntry, StoreWrite, Token } from "./store.ts";

/** One opening of a store, as the cases see it. */
export type StoreUnderTest = {
  readonly store: ActorStore;
  /** A token under which this opening may write. */
  readonly token: Token;
  /** Opens the same contents again, as a restarted host would. The case has closed `store`, or has abandoned it. */
  reopen(): Promise<StoreUnderTest>;
};

/** Makes a new, empty store. */
export type OpenStoreUnderTest = () => Promise<StoreUnderTest>;

export type StoreCase = { readonly name: string; readonly run: (open: OpenStoreUnderTest) => Promise<void> };

/** For every store. */
export const storeContract: readonly StoreCase[] = [
  {
    name: "a key is created with expect 0, once",
    run: withStore(async ({ store, token }) => {
      const revision = await written(store.write(writeOf("order.a", "1", 0, token)));
      assert.ok(revision > 0);
      assert.deepEqual(await store.write(writeOf("order.a", "2", 0, token)), { kind: "conflict" });
      assert.equal((await store.read("order.a"))?.value, "1");
    }),
  },
  {
    name: "a write needs the latest revision",
    run: withStore(async ({ store, token }) => {
      const first = await written(store.write(writeOf("order.a", "1", 0, token)));
      const second = await written(store.write(writeOf("order.a", "2", first, token)));
      assert.deepEqual(await store.write(writeOf("order.a", "3", first, token)), { kind: "conflict" });
      assert.deepEqual(await store.write(writeOf("order.a", "3", second + 1, token)), { kind: "conflict" });
      assert.deepEqual(await store.write(writeOf("order.b", "3", second, token)), { kind: "conflict" });
      assert.equal((await store.read("order.a"))?.revision, second);
      assert.equal(await store.read("order.b"), undefined);
    }),
  },
  {
    name: "a purge needs the latest revision and frees the key",
    run: withStore(async ({ store, token }) => {
      const first = await written(store.write(writeOf("order.a", "1", 0, token)));
      const second = await written(store.write(writeOf("order.a", "2", first, token)));
      assert.deepEqual(await store.purge("order.a", first, token), { kind: "conflict" });
      assert.deepEqual(await store.purge("order.a", 0, token), { kind: "conflict" });
      const purged = await written(store.purge("order.a", second, token));
      assert.ok(purged > second);
      assert.equal(await store.read("order.a"), undefined);
      assert.deepEqual(await store.write(writeOf("order.a", "3", second, token)), { kind: "conflict" });
      assert.deepEqual(await store.purge("order.a", second, token), { kind: "conflict" });
      const again = await written(store.write(writeOf("order.a", "3", 0, token)));
      assert.ok(again > purged);
      assert.equal((await store.read("order.a"))?.value, "3");
    }),
  },
  {
    name: "a repetition of a write that landed is a conflict, and the read shows whose it is",
    run: withStore(async ({ store, token }) => {
      const write = writeOf("order.a", "1", 0, token);
      const revision = await written(store.write(write));
      assert.deepEqual(await store.write(write), { kind: "conflict" });
      const entry = await store.read("order.a");
      assert.equal(entry?.revision, revision);
      assert.equal(entry?.header?.commit, write.header.commit);
    }),
  },
  {
    name: "revisions grow over the whole store, each shard of it",
    run: withStore(async ({ store, token }) => {
      const lasts = new Map<number, Revision>();
      for (let round = 0; round < 3; round++)
        for (const key of ["order.a", "order.b", "job.c"]) {
          const expect = (await store.read(key))?.revision ?? 0;
          const revision = await written(store.write(writeOf(key, String(round), expect, token)));
          const shard = store.shardOf?.(key) ?? 0;
          const last = lasts.get(shard) ?? 0;
          assert.ok(revision > last, `${revision} after ${last}`);
          lasts.set(shard, revision);
        }
    }),
  },
  {
    name: "key, value and header are kept byte for byte",
    run: withStore(async ({ store, token }) => {
      const long = `order.${"k".repeat(194)}`; // 200 bytes
      const all = "order.az-AZ_09=x/y.z";
      for (const key of [long, all, "_parked.order.a"])
        for (const [value, trace] of [
          ['{"name":"Ünïcödé 東京 😀 \u2028\u0001 \\u0000"}', undefined],
          ['""', "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
          ["{}", ""],
          ["null", undefined],
          [" 0 ", undefined],
          [JSON.stringify({ text: "ä".repeat(70_000) }), undefined],
        ] as const) {
          const expect = (await store.read(key))?.revision ?? 0;
          const header: EntryHeader = {
            commit: `n2.ß.${expect}`,
            hash: hashText(value),
            ...(trace === undefined ? {} : { trace }),
          };
          const revision = await written(store.write({ key, value, header, expect, token }));
          const entry: StoredEntry = { key, value, revision, header };
          assert.deepEqual(await store.read(key), entry);
          assert.deepEqual((await store.history(key)).at(-1), entry);
        }
    }),
  },
  {
    name: "a key that is the beginning of another is another key",
    run: withStore(async ({ store, token }) => {
      for (const key of ["order.aa", "order.a", "order", "order.aaa"])
        await written(store.write(writeOf(key, `"${key}"`, 0, token)));
      const revision = (await store.read("order.a"))!.revision;
      await written(store.purge("order.a", revision, token));
      assert.equal(await store.read("order.a"), undefined);
      assert.deepEqual(await store.history("order.a"), []);
      assert.deepEqual(keysOf(await store.list({ prefix: "" })), ["order", "order.aa", "order.aaa"]);
      assert.equal((await store.history("order.aa")).length, 1);
    }),
  },
  {
    name: "list shows the latest values in key order, by prefix, after a key, up to a limit",
    run: withStore(async ({ store, token }) => {
      const keys = [
        "order.b",
        "order.B",
        "order.a",
        "order.a-1",
        "order.a.1",
        "order.10",
        "order.9",
        "job.x",
        "orders.z",
      ];
      for (const key of keys) {
        const first = await written(store.write(writeOf(key, '"old"', 0, token)));
        await written(store.write(writeOf(key, `"${key}"`, first, token)));
      }
      const sorted = keys.filter((key) => key.startsWith("order.")).sort();
      const listed = await store.list({ prefix: "order." });
      assert.deepEqual(keysOf(listed), sorted);
      for (const entry of listed) assert.deepEqual(entry, await store.read(entry.key));
      assert.deepEqual(keysOf(await store.list({ prefix: "order.", limit: 2 })), sorted.slice(0, 2));
      assert.deepEqual(keysOf(await store.list({ prefix: "order.", after: sorted[1]!, limit: 3 })), sorted.slice(2, 5));
      assert.deepEqual(
        keysOf(await store.list({ prefix: "order.", after: "order.a-0" })),
        sorted.slice(sorted.indexOf("order.a-1")),
      );
      assert.deepEqual(keysOf(await store.list({ prefix: "order.a", after: "order.a" })), ["order.a-1", "order.a.1"]);
      assert.deepEqual(keysOf(await store.list({ prefix: "order.", after: "a" })), sorted);
      assert.deepEqual(keysOf(await store.list({ prefix: "order.", after: "p" })), []);
      assert.deepEqual(keysOf(await store.list({ prefix: "nothing." })), []);
      assert.deepEqual(keysOf(await store.list({ prefix: "" })), [...keys].sort());
    }),
  },
  {
    name: "history keeps the last revisions, oldest first, and a purge forgets them",
    run: withStore(async ({ store, token }) => {
      const depth = store.info.historyDepth;
      assert.ok(depth >= 1 && depth <= 64);
      const all: StoredEntry[] = [];
      for (let count = 1; count <= depth + 3; count++) {
        const write = writeOf("order.a", String(count), all.at(-1)?.revision ?? 0, token);
        const revision = await written(store.write(write));
        all.push({ key: write.key, value: write.value, revision, header: write.header });
        assert.deepEqual(await store.history("order.a"), all.slice(-depth));
      }
      await written(store.purge("order.a", all.at(-1)!.revision, token));
      assert.deepEqual(await store.history("order.a"), []);
      const again = await written(store.write(writeOf("order.a", "0", 0, token)));
      assert.deepEqual(
        (await store.history("order.a")).map((entry) => entry.revision),
        [again],
      );
      assert.deepEqual(await store.history("order.none"), []);
    }),
  },
  {
    name: "watch tells later changes of its prefix in the order of revisions, of each shard apart, purges too",
    run: withStore(async ({ store, token }) => {
      await written(store.write(writeOf("order.before", "0", 0, token)));
      const orders = watching(store, "order.");
      const first = await written(store.write(writeOf("order.a", "1", 0, token)));
      await written(store.write(writeOf("job.a", "1", 0, token)));
      const second = await written(store.write(writeOf("order.b", "1", 0, token)));
      await orders.until((seen) => latestOf(seen, "order.a") !== undefined && latestOf(seen, "order.b") !== undefined);
      const third = await written(store.write(writeOf("order.a", "2", first, token)));
      const purged = await written(store.purge("order.b", second, token));
      // The two may lie in different shards, whose changes come as they like.
      await orders.until((seen) => {
        const a = latestOf(seen, "order.a");
        return latestOf(seen, "order.b")?.kind === "purge" && a !== undefined && revisionOf(a) === third;
      });

      assert.deepEqual(latestOf(orders.seen, "order.a"), { kind: "put", entry: await store.read("order.a") });
      assert.deepEqual(latestOf(orders.seen, "order.b"), { kind: "purge", key: "order.b", revision: purged });
      const shardOf = (change: StoreChange) => store.shardOf?.(keyOf(change)) ?? 0;
      for (const shard of new Set(orders.seen.map(shardOf))) {
        const revisions = orders.seen.filter((change) => shardOf(change) === shard).map(revisionOf);
        assert.deepEqual(
          revisions,
          [...revisions].sort((a, b) => a - b),
        );
      }
      assert.deepEqual(new Set(orders.seen.map(keyOf)), new Set(["order.a", "order.b"]));
      orders.stop();
    }),
  },
  {
    name: "a stopped watch tells nothing more, others go on",
    run: withStore(async ({ store, token }) => {
      const stopped = watching(store, "order.");
      const running = watching(store, "order.");
      await written(store.write(writeOf("order.a", "1", 0, token)));
      await stopped.until((seen) => seen.length === 1);
      stopped.stop();
      stopped.stop();
      await written(store.write(writeOf("order.b", "1", 0, token)));
      await written(store.write(writeOf("order.c", "1", 0, token)));
      await running.until((seen) => latestOf(seen, "order.c") !== undefined);
      assert.equal(stopped.seen.length, 1);
      running.stop();
    }),
  },
  {
    name: "a value at the limit is written, one byte above is refused",
    run: withStore(async ({ store, token }) => {
      const limit = store.info.maxValueBytes;
      const full = `"${"x".repeat(limit - 2)}"`;
      const wide = `"${"é".repeat(Math.floor(limit / 2))}"`; // fewer characters, more bytes
      for (const tooLarge of [`${full} `, wide]) {
        const outcome = await store.write(writeOf("order.a", tooLarge, 0, token));
        assert.equal(outcome.kind, "refused");
        assert.equal(outcome.kind === "refused" && outcome.reason, "tooLarge");
        assert.equal(await store.read("order.a"), undefined);
      }
      await written(store.write(writeOf("order.a", full, 0, token)));
      assert.equal((await store.read("order.a"))?.value, full);
    }),
  },
  {
    name: "of concurrent writes of one key exactly one wins",
    run: withStore(async ({ store, token }) => {
      let expect = 0;
      for (let round = 0; round < 5; round++) {
        const writes = Array.from({ length: 16 }, (_, writer) =>
          writeOf("order.a", `${round}${writer}`, expect, token),
        );
        const outcomes = await Promise.all(writes.map((write) => store.write(write)));
        const winners = outcomes.flatMap((outcome, writer) =>
          outcome.kind === "written" ? [{ outcome, writer }] : [],
        );
        assert.equal(winners.length, 1);
        assert.equal(outcomes.filter((outcome) => outcome.kind === "conflict").length, 15);
        const entry = await store.read("order.a");
        assert.equal(entry?.value, writes[winners[0]!.writer]!.value);
        assert.equal(entry?.revision, winners[0]!.outcome.revision);
        expect = entry!.revision;
      }
    }),
  },
  {
    name: "of a concurrent write and purge of one key exactly one wins",
    run: withStore(async ({ store, token }) => {
      const first = await written(store.write(writeOf("order.a", "1", 0, token)));
      const [purge, write] = await Promise.all([
        store.purge("order.a", first, token),
        store.write(writeOf("order.a", "2", first, token)),
      ]);
      assert.deepEqual([purge.kind, write.kind].sort(), ["conflict", "written"]);
      assert.equal((await store.read("order.a"))?.value, write.kind === "written" ? "2" : undefined);
    }),
  },
  {
    name: "many keys are written side by side, each seen by a read right after its acknowledgement",
    run: withStore(async ({ store, token }) => {
      const names = Array.from({ length: 1_050 }, (_, index) => `order.${index}`);
      await Promise.all(
        names.map(async (key) => {
          const first = await written(store.write(writeOf(key, '"first"', 0, token)));
          assert.equal((await store.read(key))?.revision, first);
          const second = await written(store.write(writeOf(key, `"${key}"`, first, token)));
          assert.equal((await store.read(key))?.revision, second);
        }),
      );
      const sorted = [...names].sort();
      const firstPage = await store.list({ prefix: "order." });
      assert.deepEqual(keysOf(firstPage), sorted.slice(0, 1_000));
      const secondPage = await store.list({ prefix: "order.", after: sorted[999]! });
      assert.deepEqual(keysOf(secondPage), sorted.slice(1_000));
      for (const entry of [...firstPage, ...secondPage]) assert.equal(entry.value, `"${entry.key}"`);
    }),
  },
  {
    name: "close waits for writes in flight, then refuses",
    run: async (open) => {
      const { store, token, reopen } = await open();
      const first = await written(store.write(writeOf("order.0", '"first"', 0, token)));
      const inFlight = [
        store.write(writeOf("order.0", '"second"', first, token)),
        ...Array.from({ length: 20 }, (_, index) => store.write(writeOf(`order.${index + 1}`, '"first"', 0, token))),
      ];
      const closed = store.close();
      const late = store.write(writeOf("order.late", "1", 0, token));
      const outcomes = await Promise.all(inFlight);
      assert.deepEqual(new Set(outcomes.map((outcome) => outcome.kind)), new Set(["written"]));
      for (const outcome of [await late, await store.purge("order.0", first, token)])
        assert.equal(outcome.kind === "refused" && outcome.reason, "closed");
      await closed;
      await store.close();
      await assert.rejects(store.read("order.0"));

      const again = await reopen();
      assert.equal((await again.store.list({ prefix: "" })).length, 21);
      assert.equal((await again.store.read("order.0"))?.value, '"second"');
      await again.store.close();
    },
  },
  {
    name: "another opening finds the same store, and its revisions go on",
    run: async (open) => {
      const first = await open();
      const revision = await written(first.store.write(writeOf("order.a", "1", 0, first.token)));
      const created = await written(first.store.write(writeOf("order.b", "1", 0, first.token)));
      const last = await written(first.store.purge("order.b", created, first.token));
      const history = await first.store.history("order.a");
      await first.store.close();

      const second = await first.reopen();
      assert.deepEqual(second.store.info, first.store.info);
      assert.deepEqual(await second.store.history("order.a"), history);
      assert.equal(await second.store.read("order.b"), undefined);
      const next = await written(second.store.write(writeOf("order.a", "2", revision, second.token)));
      const sameLog = second.store.shardOf?.("order.a") === second.store.shardOf?.("order.b");
      assert.ok(next > (sameLog ? last : revision), "a purged revision is not given out again");
      await second.store.close();
    },
  },
];

/** For stores that check the token's epoch in the step that writes. */
export const fencingContract: readonly StoreCase[] = [
  {
    name: "a token of an earlier epoch is refused, of this or a later epoch it is not",
    run: withStore(async ({ store, token: [epoch, index] }) => {
      const stale: Token = [epoch - 1, index + 1_000];
      const first = await written(store.write(writeOf("order.a", "1", 0, [epoch, index])));
      for (const outcome of [
        await store.write(writeOf("order.a", "2", first, stale)),
        await store.write(writeOf("order.b", "2", 0, stale)),
        await store.purge("order.a", first, stale),
      ])
        assert.equal(outcome.kind === "refused" && outcome.reason, "fenced");
      assert.equal((await store.read("order.a"))?.value, "1");
      assert.equal(await store.read("order.b"), undefined);
      await written(store.write(writeOf("order.a", "2", first, [epoch + 1, 0])));
    }),
  },
  {
    name: "each opening has a higher epoch than the one before",
    run: async (open) => {
      const first = await open();
      await first.store.close();
      const second = await first.reopen();
      assert.ok(second.token[0] > first.token[0]);
      const outcome = await second.store.write(writeOf("order.a", "1", 0, first.token));
      assert.equal(outcome.kind === "refused" && outcome.reason, "fenced");
      await written(second.store.write(writeOf("order.a", "1", 0, second.token)));
      await second.store.close();
    },
  },
];

function withStore(run: (subject: StoreUnderTest) => Promise<void>): StoreCase["run"] {
  return async (open) => {
    const subject = await open();
    try {
      await run(subject);
    } finally {
      await subject.store.close();
    }
  };
}

function writeOf(key: string, value: string, expect: Revision, token: Token): StoreWrite {
  return {
    key,
    value,
    header: { commit: `n1.${key}.${expect}.${value.length}`, hash: hashText(value) },
    expect,
    token,
  };
}

async function written(outcome: ReturnType<ActorStore["write"]>): Promise<Revision> {
  const settled = await outcome;
  if (settled.kind !== "written") assert.fail(`expected a write, got ${JSON.stringify(settled)}`);
  return settled.revision;
}

/** Collects what a watch tells; `until` resolves as soon as what was seen satisfies the condition. */
function watching(store: ActorStore, prefix: string) {
  const seen: StoreChange[] = [];
  let check = () => {};
  const stop = store.watch(prefix, (change) => {
    seen.push(change);
    check();
  });
  const until = (isSatisfied: (seen: readonly StoreChange[]) => boolean) =>
    new Promise<void>((resolve) => {
      check = () => {
        if (isSatisfied(seen)) resolve();
      };
      check();
    });
  return { seen, stop, until };
}

function latestOf(seen: readonly StoreChange[], key: string): StoreChange | undefined {
  return seen.findLast((change) => keyOf(change) === key);
}

function keyOf(change: StoreChange): string {
  return change.kind === "put" ? change.entry.key : change.key;
}

function revisionOf(change: StoreChange): Revision {
  return change.kind === "put" ? change.entry.revision : change.revision;
}

function keysOf(entries: readonly StoredEntry[]): readonly string[] {
  return entries.map((entry) => entry.key);
}
