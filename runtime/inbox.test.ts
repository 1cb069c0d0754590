import { describe, expect, test } from "vitest";
import { Inbox, type InboxRecord, requestNumber, type Sender } from "./inbox.ts";
import { defaultLimits } from "./limits.ts";

const sender = (name: string, born = "b"): Sender => ({ key: `s.${name}`, born, partition: 4 });
const reread = (inbox: Inbox) => Inbox.read(JSON.parse(inbox.text()) as InboxRecord);
const settled = (floor: number, ...names: string[]) => ({
  partition: 4,
  floor: requestNumber([1, 0], floor),
  senders: names.map((name) => ({ key: `s.${name}`, born: "b", upTo: 5 })),
});

describe("an inbox", () => {
  test("remembers how far each life of a sender was applied", () => {
    const inbox = new Inbox();
    inbox.mark(sender("a"), 5, requestNumber([1, 0], 1), 0);
    for (const one of [inbox, reread(inbox)]) {
      expect(one.appliedUpTo(sender("a"))).toBe(5);
      expect(one.appliedUpTo(sender("a", "another life"))).toBe(0);
      expect(one.appliedUpTo(sender("b"))).toBe(0);
    }
  });

  test("forgets what is settled, and from then on refuses every older request", () => {
    const inbox = new Inbox();
    inbox.mark(sender("a"), 5, requestNumber([1, 0], 1), 0);
    expect(inbox.settle(settled(3, "a"))).toBe(true);
    const again = reread(inbox);
    expect(again.size).toBe(0);
    expect(again.refuses(4, requestNumber([1, 0], 2))).toEqual([1, 0, 3]);
    expect(again.refuses(4, requestNumber([1, 0], 3))).toBeUndefined();
    expect(again.refuses(4, requestNumber([0, 9], 99))).toBeDefined();
    expect(again.refuses(4, requestNumber([2, 0], 1))).toBeUndefined();
    expect(again.refuses(7, requestNumber([0, 0], 0))).toBeUndefined();
  });

  const kept: { it: string; floor: number; upTo: number }[] = [
    { it: "whose request may arrive once more", floor: 1, upTo: 5 },
    { it: "that has gone on since", floor: 3, upTo: 6 },
  ];
  for (const { it, floor, upTo } of kept) {
    test(`keeps a mark ${it}`, () => {
      const inbox = new Inbox();
      inbox.mark(sender("a"), upTo, requestNumber([1, 0], 1), 0);
      inbox.settle(settled(floor, "a"));
      expect(inbox.appliedUpTo(sender("a"))).toBe(upTo);
    });
  }

  test("a floor never falls", () => {
    const inbox = new Inbox();
    inbox.settle(settled(9));
    expect(inbox.settle(settled(2))).toBe(false);
    expect(inbox.refuses(4, requestNumber([1, 0], 5))).toEqual([1, 0, 9]);
  });

  test("has room for known senders when it is full", () => {
    const limits = { ...defaultLimits, marks: 1 };
    const inbox = new Inbox();
    inbox.mark(sender("a"), 1, requestNumber([1, 0], 1), 0);
    expect(inbox.hasRoomFor(sender("a"), limits)).toBe(true);
    expect(inbox.hasRoomFor(sender("b"), limits)).toBe(false);
  });
});
