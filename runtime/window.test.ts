import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits, type Limits } from "./limits.ts";
import { type Key, Window, type WindowRecord } from "./window.ts";

const limits: Limits = { ...defaultLimits, keys: 3, clients: 2, clientGaps: 4 };
const auto = (number: number, low = number, client = "c"): Key => ({ kind: "auto", client, number, low });
const caller = (key: string): Key => ({ kind: "caller", key });
const receipt = (revision: number) => ({ revision, changed: true });
const reread = (window: Window) => Window.read(JSON.parse(window.text()) as WindowRecord);

describe("callers' keys", () => {
  test("the same body gets the same receipt, another body is told apart, also after reading it back", () => {
    const window = new Window();
    window.add(caller("k"), "h", receipt(7), 1_000, limits);
    for (const one of [window, reread(window)]) {
      expect(one.lookup(caller("k"), "h", limits)).toEqual({ kind: "known", receipt: receipt(7) });
      expect(one.lookup(caller("k"), "other", limits)).toEqual({ kind: "reused" });
      expect(one.lookup(caller("new"), "h", limits)).toEqual({ kind: "new" });
      expect(one.receiptOf(caller("k"))).toEqual(receipt(7));
    }
  });

  test("expire after their window, silently; beyond the count the oldest goes early, and is counted", () => {
    const window = new Window();
    for (let index = 0; index < 4; index++) window.add(caller(`k${index}`), "h", receipt(index), index, limits);
    expect(window.lookup(caller("k0"), "h", limits).kind).toBe("new");
    expect(window.lookup(caller("k1"), "h", limits).kind).toBe("known");
    expect(window.evictedEarly).toBe(1);
    window.add(caller("late"), "h", receipt(9), limits.keyWindowMs + 10, limits);
    expect(window.lookup(caller("k3"), "h", limits).kind).toBe("new");
    expect(window.evictedEarly).toBe(1);
  });

  test("odd keys survive as JSON", () => {
    const window = new Window();
    for (const key of ['"', "\\", "__proto__", "\u2028", "ключ"])
      window.add(caller(key), "h", receipt(1), 0, { ...limits, keys: 10 });
    const again = reread(window);
    for (const key of ['"', "\\", "__proto__", "\u2028", "ключ"])
      expect(again.lookup(caller(key), "h", limits).kind).toBe("known");
  });
});

describe("automatic keys", () => {
  const cases: { it: string; seen: [number, number][]; ask: [number, number]; kind: string }[] = [
    { it: "knows the highest", seen: [[1, 1]], ask: [1, 1], kind: "known" },
    { it: "takes the next", seen: [[1, 1]], ask: [2, 2], kind: "new" },
    { it: "takes a gap that is still open", seen: [[3, 1]], ask: [2, 1], kind: "new" },
    { it: "knows what is below the first low", seen: [[3, 3]], ask: [2, 2], kind: "known" },
    {
      it: "closes gaps below a later low",
      seen: [
        [3, 1],
        [4, 4],
      ],
      ask: [2, 2],
      kind: "known",
    },
    { it: "takes the last gap that fits", seen: [[1, 1]], ask: [6, 1], kind: "new" },
    { it: "refuses one gap more", seen: [[1, 1]], ask: [7, 1], kind: "tooManyGaps" },
    { it: "refuses one gap more from a new client", seen: [], ask: [6, 1], kind: "tooManyGaps" },
  ];
  for (const { it, seen, ask, kind } of cases) {
    test(it, () => {
      const window = new Window();
      for (const [number, low] of seen) window.add(auto(number, low), "", receipt(number), 0, limits);
      expect(window.lookup(auto(...ask), "", limits).kind).toBe(kind);
      expect(reread(window).lookup(auto(...ask), "", limits).kind).toBe(kind);
    });
  }

  test.each(["", "a b", 'x"', "y".repeat(65)])("a client called %j is refused", (client) => {
    expect(new Window().lookup(auto(1, 1, client), "", limits)).toEqual({ kind: "malformed" });
  });

  test("in any order, each number applies once, and what was applied is known", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 60 }), (numbers) => {
        const wide = { ...limits, clientGaps: 100 };
        let window = new Window();
        const applied = new Set<number>();
        for (const number of numbers) {
          const { kind } = window.lookup(auto(number, 1), "", wide);
          expect(kind).toBe(applied.has(number) ? "known" : "new");
          if (kind !== "new") continue;
          applied.add(number);
          window.add(auto(number, 1), "", receipt(number), 0, wide);
          window = reread(window);
        }
      }),
    );
  });
});
