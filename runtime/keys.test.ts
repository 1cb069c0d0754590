import fc from "fast-check";
import { expect, test } from "vitest";
import { InvalidKeyError } from "./errors.ts";
import { actorKey, checkType, maxKeyBytes, parseActorKey } from "./keys.ts";

const cases: [id: string, key: string][] = [
  ["o-123", "order.o-123"],
  ["a.b/c_d-e", "order.a.b/c_d-e"],
  ["*", "order.=2A"],
  ["a b", "order.a=20b"],
  ["..", "order.=2E=2E"],
  ["a..b", "order.a.=2Eb"],
  [".a", "order.=2Ea"],
  ["a=b", "order.a=3Db"],
  ["ö", "order.=C3=B6"],
  ["🙂", "order.=F0=9F=99=82"],
];

test.each(cases)("the id %j is kept as %s, and read back", (id, key) => {
  expect(actorKey("order", id)).toBe(key);
  expect(parseActorKey(key)).toEqual({ type: "order", id });
});

test("every id of a reasonable length comes back as it was, and no two share a key", () => {
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }), (id) => {
      const key = actorKey("t", id);
      expect(parseActorKey(key)).toEqual({ type: "t", id });
      expect(key).toMatch(/^[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*$/);
      expect(seen.get(key) ?? id).toBe(id);
      seen.set(key, id);
    }),
  );
});

test("the longest key fits, one byte more does not", () => {
  const longest = "x".repeat(maxKeyBytes - "t.".length);
  expect(actorKey("t", longest)).toHaveLength(maxKeyBytes);
  expect(() => actorKey("t", `${longest}x`)).toThrow(InvalidKeyError);
  expect(() => actorKey("t", "ö".repeat(40))).toThrow(/at most 200/);
});

test.each(["", "_x", "a.b", "a b", "-", "x".repeat(65)])("the type %j is refused", (type) => {
  expect(() => checkType(type)).toThrow(InvalidKeyError);
});

test("half of a surrogate pair is no id", () => {
  expect(() => actorKey("t", "\ud800")).toThrow(/surrogate/);
});

test.each(["_pending.order.a", "nodot", ".x", "order.=2", "order.=zz"])("%j is no actor's key", (key) => {
  expect(parseActorKey(key)).toBeUndefined();
});
