import { describe, expect, test } from "vitest";
import { decodeLeaseEntry, encodeLeaseEntry, type LeaseEntry, type Request, UnknownLeaseEntry } from "./entry.ts";
import { type Applied, openWithinMs, ReplicatedTable, type TableLimits, usualLimits } from "./table.ts";

/** A table whose entries are numbered 10, 20, 30 …, as other entries of the log lie between them. */
function rig(limits: Partial<TableLimits> = {}) {
  let table = ReplicatedTable.empty({ ...usualLimits, ...limits });
  const sequences = new Map<string, number>();
  const entry = (atMs: number, requests: readonly Request[], renewals: LeaseEntry["renewals"] = []): Applied =>
    table.apply(table.index + 10, decodeLeaseEntry(encodeLeaseEntry({ atMs, renewals, requests })));
  const order = (session: string, order: Extract<Request, { kind: "order" }>["order"], sequence?: number): Request => {
    const next = (sequences.get(session) ?? 0) + 1;
    if (sequence === undefined) sequences.set(session, next);
    return { kind: "order", session, sequence: sequence ?? next, answeredBelow: 0, order };
  };
  return {
    table: () => table,
    entry,
    open: (session: string, ttlMs = 1_000): Request => ({
      kind: "open",
      session,
      node: `node-${session}`,
      ttlMs,
      attributes: {},
      asOfMs: table.leaseMs,
    }),
    acquire: (session: string, key: string, wait = false, sequence?: number) =>
      order(session, { kind: "acquire", key, wait }, sequence),
    release: (session: string, key: string, sequence?: number) => order(session, { kind: "release", key }, sequence),
    transfer: (session: string, key: string, to: string) => order(session, { kind: "transfer", key, to }),
    renew: (atMs: number, ...beats: readonly (readonly [string, number])[]) =>
      entry(
        atMs,
        [],
        beats.map(([session, beat]) => ({ session, beat, attributes: undefined })),
      ).renewed,
    restart: () => {
      table = ReplicatedTable.restore(table.snapshot());
    },
    holder: (key: string) => table.leases.get(key)?.session,
  };
}

describe("a grant", () => {
  test("has the index of its entry, which renewing and asking again keep, and a restart too (C1)", () => {
    const { entry, open, acquire, renew, restart, table } = rig();
    expect(entry(0, [open("a"), open("b")]).outcomes).toEqual([{ kind: "opened" }, { kind: "opened" }]);
    expect(entry(1, [acquire("a", "k")]).outcomes).toEqual([{ kind: "granted", index: 20 }]);
    expect(renew(500, ["a", 1])).toEqual([true]);
    expect(entry(501, [acquire("a", "k")]).outcomes).toEqual([{ kind: "granted", index: 20 }]);
    restart();
    expect(entry(502, [acquire("a", "k"), acquire("b", "k")]).outcomes).toEqual([
      { kind: "granted", index: 20 },
      { kind: "held", by: "a" },
    ]);
    expect(table().leases.get("k")).toEqual({ key: "k", session: "a", index: 20 });
  });

  test("is made once per key and entry: what is freed within it counts as held until the next (C1)", () => {
    const { entry, open, acquire, release, table } = rig();
    entry(0, [open("a"), open("b"), open("c")]);
    const { outcomes } = entry(1, [
      acquire("a", "k"),
      release("a", "k"),
      acquire("b", "k"),
      acquire("b", "k", true),
      acquire("c", "k", true),
    ]);
    expect(outcomes).toEqual([
      { kind: "granted", index: 20 },
      { kind: "released" },
      { kind: "held", by: "a" },
      { kind: "queued" },
      { kind: "queued" },
    ]);
    expect(table().nextDueMs(), "an entry is due at once").toBe(1);
    expect(entry(1, []).events).toEqual([{ kind: "granted", holding: { key: "k", session: "b", index: 30 } }]);
    expect(entry(2, [release("b", "k")]).events).toEqual([
      { kind: "freed", holding: { key: "k", session: "b", index: 30 } },
      { kind: "granted", holding: { key: "k", session: "c", index: 40 } },
    ]);
  });

  test("of a key that waits for the next entry survives a restart between the two", () => {
    const { entry, open, acquire, release, restart, holder, table } = rig();
    entry(0, [open("a"), open("b")]);
    entry(1, [acquire("a", "k"), acquire("b", "k", true), release("a", "k")]);
    expect(holder("k")).toBe(undefined);
    restart();
    expect(table().nextDueMs()).toBe(1);
    entry(1, []);
    expect(holder("k")).toBe("b");
  });
});

describe("lease time", () => {
  const cases = [
    { it: "leaves a session alone until the last millisecond (C3)", atMs: 1_998, isOver: false },
    { it: "ends it when its time to live has passed since the last renewal", atMs: 1_999, isOver: true },
  ];
  for (const { it, atMs, isOver } of cases)
    test(it, () => {
      const { entry, open, acquire, renew, holder } = rig();
      entry(0, [open("a"), open("b", 9_000)]);
      entry(1, [acquire("a", "k")]);
      renew(999, ["a", 1]);
      const { outcomes } = entry(atMs, [acquire("b", "k")]);
      expect(outcomes).toEqual([isOver ? { kind: "granted", index: 40 } : { kind: "held", by: "a" }]);
      expect(holder("k")).toBe(isOver ? "b" : "a");
    });

  test("expires before the entry's own renewals are looked at, and what is over stays over (C9)", () => {
    const { entry, open, renew, acquire } = rig();
    entry(0, [open("a")]);
    expect(renew(1_000, ["a", 1])).toEqual([false]);
    expect(entry(1_001, [acquire("a", "k")]).outcomes).toEqual([{ kind: "lost" }]);
  });

  test("never goes back", () => {
    const { entry, open, table } = rig();
    entry(5_000, [open("a")]);
    entry(0, [open("b")]);
    expect(table().leaseMs).toBe(5_000);
  });

  test("does not count a renewal that comes late or twice", () => {
    const { entry, open, renew, table } = rig();
    entry(0, [open("a")]);
    renew(100, ["a", 2]);
    renew(900, ["a", 2], ["a", 1]);
    expect(table().sessions.get("a")?.expiresMs).toBe(1_100);
  });

  test("ends sessions in the order of their deadlines, on a restored table too", () => {
    const { entry, open, renew, restart, acquire, table } = rig();
    entry(0, [open("a", 1_000), open("b", 1_200)]);
    entry(1, [acquire("a", "k"), acquire("b", "l")]);
    renew(500, ["a", 1]);
    const other = ReplicatedTable.restore(table().snapshot());
    const ends = { atMs: 3_000, renewals: [], requests: [] };
    const applied = other.apply(100, ends);
    restart();
    expect(table().apply(100, ends)).toEqual(applied);
    expect(
      applied.events.filter(({ kind }) => kind === "ended").map((event) => "session" in event && event.session.id),
    ).toEqual(["b", "a"]);
    expect(table().snapshot()).toEqual(other.snapshot());
  });

  test("is due for an entry only when something ends", () => {
    const { entry, open, renew, table } = rig();
    expect(table().nextDueMs()).toBe(undefined);
    entry(0, [open("a", 1_000), open("b", 700)]);
    expect(table().nextDueMs()).toBe(700);
    renew(600, ["b", 1]);
    expect(table().nextDueMs()).toBe(1_000);
    entry(1_000, []);
    expect(table().nextDueMs()).toBe(1_300);
  });
});

describe("a queue", () => {
  test("is served in order, and whoever ended is not in it", () => {
    const { entry, open, acquire, release, table, holder } = rig();
    entry(0, [open("a", 9_000), open("b", 1_000), open("c", 9_000)]);
    entry(1, [acquire("a", "k"), acquire("b", "k", true), acquire("c", "k", true)]);
    expect(table().waiting("k")).toEqual(["b", "c"]);
    // b is over at the very moment at which it would have been its turn.
    entry(1_000, [release("a", "k")]);
    expect(holder("k")).toBe("c");
    expect(table().waiting("k")).toEqual([]);
  });

  test("grants nothing to one whose time is over with that of the holder (C1)", () => {
    const { entry, open, acquire, holder, table } = rig();
    entry(0, [open("a"), open("b"), open("c", 9_000)]);
    entry(1, [acquire("a", "k"), acquire("b", "k", true), acquire("c", "k", true)]);
    const { events } = entry(1_000, []);
    expect(events.map(({ kind }) => kind)).toEqual(["ended", "freed", "ended", "granted"]);
    expect(holder("k")).toBe("c");
    expect(table().leases.get("k")?.index).toBe(30);
  });

  test("is left by releasing; asking twice gives one place", () => {
    const { entry, open, acquire, release, table } = rig();
    entry(0, [open("a"), open("b")]);
    entry(1, [acquire("a", "k"), acquire("b", "k", true), acquire("b", "k", true)]);
    expect(table().waiting("k")).toEqual(["b"]);
    entry(2, [release("b", "k"), release("a", "k")]);
    expect(table().leases.size).toBe(0);
  });

  test("is passed over by a hand-over, also to one who waits in it", () => {
    const { entry, open, acquire, transfer, table, holder } = rig();
    entry(0, [open("a"), open("b"), open("c")]);
    entry(1, [acquire("a", "k"), acquire("b", "k", true), acquire("c", "k", true)]);
    expect(entry(2, [transfer("a", "k", "c")]).outcomes).toEqual([{ kind: "granted", index: 30 }]);
    expect(holder("k")).toBe("c");
    expect(table().waiting("k")).toEqual(["b"]);
    expect(entry(3, [acquire("c", "k", true, 1)]).outcomes, "who asks again for the place").toEqual([
      { kind: "granted", index: 30 },
    ]);
  });
});

describe("a hand-over", () => {
  test("is the holder's alone, and needs a living receiver", () => {
    const { entry, open, acquire, transfer, holder } = rig();
    entry(0, [open("a"), open("b")]);
    entry(1, [acquire("a", "k")]);
    expect(entry(2, [transfer("b", "k", "b"), transfer("a", "k", "nobody")]).outcomes).toEqual([
      { kind: "notHeld" },
      { kind: "refused", reason: "noSuchSession" },
    ]);
    expect(holder("k")).toBe("a");
  });
});

describe("an order that comes twice", () => {
  test("is done once and answered alike", () => {
    const { entry, open, acquire, release, holder } = rig();
    entry(0, [open("a"), open("b")]);
    const first = acquire("a", "k");
    entry(1, [first]);
    entry(2, [release("a", "k")]);
    expect(entry(3, [first]).outcomes, "the late copy grants nothing").toEqual([{ kind: "granted", index: 20 }]);
    expect(holder("k")).toBe(undefined);
  });

  test("is forgotten once the answer was received, and does nothing then", () => {
    const { entry, open, acquire, release, holder } = rig();
    entry(0, [open("a")]);
    const first = acquire("a", "k");
    entry(1, [first]);
    const second = { ...(release("a", "k") as Extract<Request, { kind: "order" }>), answeredBelow: 2 };
    entry(2, [second]);
    expect(entry(3, [first]).outcomes).toEqual([{ kind: "forgotten" }]);
    expect(holder("k")).toBe(undefined);
  });

  test("of a session's opening opens nothing once that has ended, however late it comes", () => {
    for (const laterMs of [1, openWithinMs - 1, openWithinMs, openWithinMs + 1, 10 * openWithinMs]) {
      const { entry, open, table } = rig();
      const opening = open("a");
      entry(0, [opening]);
      entry(0, [{ kind: "close", session: "a" }]);
      expect(entry(laterMs, [opening]).outcomes[0]?.kind).toBe("refused");
      expect(table().sessions.size).toBe(0);
    }
  });
});

describe("bounds", () => {
  test("refuse what is beyond them, and forget nothing", () => {
    const { entry, open, acquire, table } = rig({ sessions: 2, leases: 2, waits: 1, unanswered: 5, ended: 1 });
    expect(entry(0, [open("a"), open("b"), open("c")]).outcomes[2]).toEqual({ kind: "refused", reason: "full" });
    const keys = ["k", "l", "m"].map((key) => acquire("a", key));
    expect(entry(1, keys).outcomes[2]).toEqual({ kind: "refused", reason: "full" });
    expect(entry(1, [acquire("b", "k", true), acquire("b", "l", true)]).outcomes).toEqual([
      { kind: "queued" },
      { kind: "refused", reason: "full" },
    ]);
    entry(1, [acquire("b", "k"), acquire("b", "k"), acquire("b", "k")]);
    expect(entry(1, [acquire("b", "k")]).outcomes).toEqual([{ kind: "refused", reason: "unanswered" }]);
    entry(1, [{ kind: "close", session: "b" }]);
    expect(entry(1, [open("d")]).outcomes, "b is remembered").toEqual([{ kind: "refused", reason: "full" }]);
    expect(entry(openWithinMs, [], [{ session: "a", beat: 1, attributes: undefined }]).renewed).toEqual([false]);
    // Both are remembered from when they ended: room is there when the later one may be forgotten.
    expect(entry(openWithinMs * 2, [open("d")]).outcomes).toEqual([{ kind: "refused", reason: "full" }]);
    expect(entry(openWithinMs * 2 + 1, [open("d")]).outcomes).toEqual([{ kind: "opened" }]);
    expect(table().sessions.size).toBe(1);
  });

  const invalid: readonly [string, Partial<Extract<Request, { kind: "open" }>>][] = [
    ["no time to live", { ttlMs: 0 }],
    ["a negative one", { ttlMs: -1 }],
    ["a year", { ttlMs: 365 * 86_400_000 }],
    ["no name", { session: "" }],
    ["an endless name", { session: "x".repeat(251) }],
    ["a node without a name", { node: "" }],
    ["a long story", { attributes: { problem: "x".repeat(1_001) } }],
  ];
  test.each(invalid)("an opening with %s is refused", (_, wrong) => {
    const { entry, open, table } = rig();
    const opening = { ...open("a"), ...wrong } as Request;
    expect(entry(0, [opening]).outcomes).toEqual([{ kind: "refused", reason: "invalid" }]);
    expect(table().sessions.size).toBe(0);
  });

  test.each(["", "x".repeat(251)])("a key of odd length is refused", (key) => {
    const { entry, open, acquire } = rig();
    entry(0, [open("a")]);
    expect(entry(0, [acquire("a", key)]).outcomes).toEqual([{ kind: "refused", reason: "invalid" }]);
  });
});

test("recovering by hand raises the epoch, once", () => {
  const { entry, table } = rig();
  entry(0, [{ kind: "raiseEpoch", to: 3 }]);
  entry(0, [{ kind: "raiseEpoch", to: 2 }]);
  expect(table().epoch).toBe(3);
});

test("an entry out of order is a broken invariant", () => {
  const { entry, table } = rig();
  entry(0, []);
  expect(() => table().apply(10, { atMs: 0, renewals: [], requests: [] })).toThrow(
    "entry 10 was applied after entry 10",
  );
});

test("what a session says of itself is kept whole, over a restart too", () => {
  const { table, entry, open, restart } = rig();
  const attributes = { draining: false, problem: "p", weight: 2, zone: "z" };
  entry(0, [{ ...open("a"), attributes } as Request]);
  restart();
  expect(table().sessions.get("a")?.info.attributes).toEqual(attributes);
  entry(10, [], [{ session: "a", beat: 1, attributes: { weight: 3 } }]);
  expect(table().sessions.get("a")?.info.attributes).toEqual({ weight: 3 });
});

describe("an entry that this release does not know", () => {
  const texts = ["", "7", "{}", "[2,0,[],[]]", '[1,"0",[],[]]', "[1,0,[],[7]]", '[1,0,[],[["steal","a",1,0,"k"]]]'];
  test.each([...texts, '[1,0,[["a"]],[]]', '[1,0,[],[["acquire","a",1,0,"k","yes"]]]'])("%s is not skipped", (text) => {
    expect(() => decodeLeaseEntry(new TextEncoder().encode(text))).toThrow(UnknownLeaseEntry);
  });

  test("nor a snapshot", () => {
    for (const text of ["", "null", "{}", '{"format":2}'])
      expect(() => ReplicatedTable.restore(new TextEncoder().encode(text))).toThrow(UnknownLeaseEntry);
  });
});
