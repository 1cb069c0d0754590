import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { DiceTable } from "./dice.ts";
import { Links } from "./links.ts";

function open(seed = "1") {
  let nowMs = 0;
  const links = new Links(
    () => {},
    new DiceTable(seed),
    () => nowMs,
  );
  return {
    links,
    sleep: (ms: number) => {
      nowMs += ms;
    },
  };
}

describe("a link", () => {
  test("lets everything through at once, and rolls no dice for it", () => {
    assert.deepEqual(open().links.pass("a", "b"), { kind: "passes", extraMs: 0 });
  });

  test("cut one way is open the other way", () => {
    const { links } = open();
    links.cut("a", "b", { oneWay: true });
    assert.deepEqual([links.isCut("a", "b"), links.isCut("b", "a")], [true, false]);
    assert.equal(links.pass("a", "b").kind, "lost");
    assert.equal(links.pass("b", "a").kind, "passes");
  });

  test("cut twice is open when both cuts have been undone", () => {
    const { links } = open();
    const [first, second] = [links.cut("a", "b"), links.cut("b", "a")];
    first();
    assert.ok(links.isCut("a", "b") && links.isCut("b", "a"));
    second();
    assert.ok(!links.isCut("a", "b") && !links.isCut("b", "a"));
  });

  test("clogged holds messages until it is over", () => {
    const { links, sleep } = open();
    links.clog("a", "b", 100);
    sleep(30);
    assert.deepEqual(links.pass("b", "a"), { kind: "passes", extraMs: 70 });
    sleep(70);
    assert.deepEqual(links.pass("b", "a"), { kind: "passes", extraMs: 0 });
  });

  test("of a bad quality drops, delays, duplicates and replays at its rates, and is as new when it is healed", () => {
    const { links } = open();
    links.setQuality("a", "b", { drop: 0.2, duplicate: 0.1, replay: 0.1, delayMs: [5, 10] });
    const passages = Array.from({ length: 5_000 }, () => links.pass("a", "b"));
    const passed = passages.flatMap((passage) => (passage.kind === "passes" ? [passage] : []));
    assert.ok(Math.abs(1 - passed.length / 5_000 - 0.2) < 0.03);
    assert.ok(passed.every(({ extraMs }) => extraMs >= 5 && extraMs <= 10));
    const copies = passed.filter(({ copyAfterMs }) => copyAfterMs !== undefined).length / passed.length;
    assert.ok(Math.abs(copies - 0.19) < 0.03, String(copies));
    links.healAll();
    assert.deepEqual(links.pass("a", "b"), { kind: "passes", extraMs: 0 });
  });

  test("rolls dice of its own: what another link rolls changes nothing", () => {
    const roll = (others: number) => {
      const { links } = open("7");
      links.setQuality("a", "b", { drop: 0.5 });
      links.setQuality("c", "d", { drop: 0.5 });
      return Array.from({ length: 50 }, () => {
        for (let other = 0; other < others; other++) links.pass("c", "d");
        return links.pass("a", "b").kind;
      });
    };
    assert.deepEqual(roll(0), roll(3));
  });
});
