import { describe, expect, test } from "vitest";
import { type Entry, emptyConfState } from "./messages.ts";
import { MemoryStorage } from "./storage.ts";

const entry = (index: number, term: number): Entry => ({ index, term, type: "EntryNormal", data: new Uint8Array() });
const unlimited = Number.POSITIVE_INFINITY;

/** A log compacted to 3, with entries 4 and 5 of terms 4 and 5. */
function threeToFive(): MemoryStorage {
  const storage = new MemoryStorage();
  storage.applySnapshot({ data: new Uint8Array(), metadata: { confState: emptyConfState, index: 3, term: 3 } });
  storage.append([entry(4, 4), entry(5, 5)]);
  return storage;
}

describe("MemoryStorage.append", () => {
  const cases = [
    { it: "ignores what is compacted", given: [entry(1, 1), entry(2, 2)], log: [entry(4, 4), entry(5, 5)] },
    { it: "replaces equal entries", given: [entry(4, 4), entry(5, 5)], log: [entry(4, 4), entry(5, 5)] },
    { it: "cuts the compacted part", given: [entry(2, 3), entry(3, 3), entry(4, 5)], log: [entry(4, 5)] },
    { it: "truncates after the last", given: [entry(4, 5)], log: [entry(4, 5)] },
    { it: "appends at the end", given: [entry(6, 5)], log: [entry(4, 4), entry(5, 5), entry(6, 5)] },
  ];
  for (const { it, given, log } of cases)
    test(it, () => {
      const storage = threeToFive();
      storage.append(given);
      expect(storage.entries(4, storage.lastIndex() + 1, unlimited)).toEqual(log);
    });

  test("refuses a gap", () => {
    expect(() => threeToFive().append([entry(7, 5)])).toThrow(RangeError);
  });
});

test("MemoryStorage tells what is compacted from what is not there yet", () => {
  const storage = threeToFive();
  expect([2, 3, 5, 6].map((index) => storage.term(index))).toEqual(["compacted", 3, 5, "unavailable"]);
  expect(storage.entries(3, 5, unlimited)).toBe("compacted");
  expect(storage.entries(4, 6, 0)).toEqual([entry(4, 4)]);
});
