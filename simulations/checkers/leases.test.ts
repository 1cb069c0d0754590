/** Bad histories, each told apart from a good one that differs in one thing. */
import { expect, test } from "vitest";
import { LeaseChecker } from "./leases.ts";

const fair = { fastestRate: 1, areClocksFair: true };
const table = (
  index: number,
  sessions: readonly string[],
  holders: Readonly<Record<string, [string, number]>> = {},
) => ({
  index,
  sessions: new Map(sessions.map((id) => [id, {}])),
  leases: new Map(Object.entries(holders).map(([key, [session, at]]) => [key, { key, session, index: at }])),
});
const valid = (id: string) => ({ id, isValid: true });
const over = (id: string) => ({ id, isValid: false });

type Case = {
  readonly name: string;
  readonly play: (checker: LeaseChecker) => void;
  readonly rules: readonly string[];
};
const cases: readonly Case[] = [
  {
    name: "a higher index each time is right",
    play: (checker) => {
      checker.onGranted("k", over("a"), 4, checker.onAsked("k"));
      checker.onGranted("k", valid("b"), 9, checker.onAsked("k"));
    },
    rules: [],
  },
  {
    name: "C1 an index below one that was told before it was asked for",
    play: (checker) => {
      checker.onGranted("k", over("a"), 9, checker.onAsked("k"));
      checker.onGranted("k", valid("b"), 4, checker.onAsked("k"));
    },
    rules: ["C1-token-fell"],
  },
  {
    name: "an answer that was long under way is right",
    play: (checker) => {
      const above = checker.onAsked("k");
      checker.onGranted("k", valid("b"), 9, checker.onAsked("k"));
      checker.onGranted("k", over("a"), 4, above);
    },
    rules: [],
  },
  {
    name: "C2 two members have another holder at one index",
    play: (checker) => {
      checker.onTable(table(5, ["a", "b"], { k: ["a", 5] }), 0);
      checker.onTable(table(5, ["a", "b"], { k: ["b", 5] }), 0);
    },
    rules: ["C2-two-holders"],
  },
  {
    name: "C3 a session ends while its renewal is young",
    play: (checker) => {
      checker.onRenewed("a", 1_000, 0);
      checker.onTable(table(5, ["a"]), 10);
      checker.onRenewed("a", 1_000, 500);
      checker.onTable(table(6, []), 1_100);
    },
    rules: ["C3-ended-too-early"],
  },
  {
    name: "one that was not renewed, one that was closed, and one that a late member does not know yet are right",
    play: (checker) => {
      for (const id of ["a", "b", "c"]) checker.onRenewed(id, 1_000, 0);
      checker.onTable(table(5, ["a", "b", "c"]), 10);
      checker.onTable(table(3, []), 20);
      checker.onClosing("b");
      checker.onTable(table(6, ["a", "c"]), 30);
      checker.onRenewed("c", 1_000, 900);
      checker.onTable(table(7, ["c"]), 1_000);
    },
    rules: [],
  },
  {
    name: "C4 two believers",
    play: (checker) => {
      checker.onGranted("k", valid("a"), 4, 0);
      checker.onGranted("k", valid("b"), 9, 4);
    },
    rules: ["C4-two-believers"],
  },
  {
    name: "C4 one who believes for longer than his time to live",
    play: (checker) => {
      checker.onRenewed("a", 1_000, 0);
      checker.onGranted("k", valid("a"), 4, 0);
      checker.judgeAllBeliefs(1_000);
      checker.judgeAllBeliefs(1_001);
    },
    rules: ["C4-believes-too-long"],
  },
  {
    name: "who gave back, or is gone, does not believe",
    play: (checker) => {
      checker.onGranted("k", valid("a"), 4, 0);
      checker.onGivenBack("k", "a");
      checker.onGranted("k", valid("b"), 9, 4);
      checker.onGone("b");
      checker.onGranted("k", valid("c"), 11, 9);
    },
    rules: [],
  },
  {
    name: "a grant that the table has forgotten",
    play: (checker) => {
      checker.onGranted("k", valid("a"), 4, 0);
      checker.onGranted("l", valid("a"), 5, 0);
      checker.judgeEnd(table(9, ["a"], { l: ["a", 5] }));
    },
    rules: ["grant-lost"],
  },
];

test.each(cases)("$name", ({ play, rules }) => {
  const checker = new LeaseChecker(fair);
  play(checker);
  expect(checker.violations.map(({ rule }) => rule)).toEqual(rules);
});

test("C4 is not judged where clocks differ too much", () => {
  const checker = new LeaseChecker({ ...fair, areClocksFair: false });
  checker.onGranted("k", valid("a"), 4, 0);
  checker.onGranted("k", valid("b"), 9, 4);
  expect(checker.violations).toEqual([]);
});
