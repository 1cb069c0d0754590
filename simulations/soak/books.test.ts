import { describe, expect, test } from "vitest";
import { type BooksToCheck, checkBooks } from "./books.ts";
import type { Recorded } from "./recorder.ts";

/** Two callers of one account, ten events each, all as it should be. */
function right(): {
  -readonly [Field in keyof BooksToCheck]: BooksToCheck[Field];
} & { accepted: Map<string, Recorded> } {
  const accepted = new Map<string, Recorded>();
  for (const client of ["c0", "c1"])
    for (let n = 1; n <= 10; n++)
      accepted.set(`${client}/${n}`, { actor: "a0", key: `${client}/${n}`, token: [1, 5], client, n, times: 1 });
  return {
    callers: [
      { actor: "a0", client: "c0", acknowledged: 10 },
      { actor: "a0", client: "c1", acknowledged: 10 },
    ],
    accounts: [{ id: "a0", context: { applied: { c0: 10, c1: 10 }, count: 20, disorder: 0 }, outbox: 0 }],
    ledgers: [{ id: "l0", context: { last: {}, count: 2, disorder: 0 }, outbox: 0 }],
    accepted,
    parked: [],
  };
}

const account = (context: object, outbox = 0) => [
  { id: "a0", context: { applied: { c0: 10, c1: 10 }, count: 20, disorder: 0, ...context }, outbox },
];

describe("the books of the soak", () => {
  test("that are right have no differences", () => {
    expect(checkBooks(right())).toEqual({ acknowledged: 20, lost: 0, doubled: 0, differences: [] });
  });

  const wrong: [string, (books: ReturnType<typeof right>) => void, { lost?: number; doubled?: number }, RegExp][] = [
    [
      "an acknowledged event that is not there",
      (books) => {
        books.accounts = account({ applied: { c0: 9, c1: 10 }, count: 19 });
      },
      { lost: 2 },
      /a0 has of c0: 9, due are 10/,
    ],
    [
      "an event that counts twice",
      (books) => {
        books.accounts = account({ count: 21 });
      },
      { doubled: 1 },
      /events counted by a0: 21, due are 20/,
    ],
    [
      "an actor that is gone",
      (books) => {
        books.accounts = [];
      },
      { lost: 40 },
      /a0 has of c0: 0/,
    ],
    [
      "events out of order",
      (books) => {
        books.accounts = account({ disorder: 1 });
      },
      {},
      /a0 took 1 events out of order/,
    ],
    [
      "an effect that never came",
      (books) => {
        books.accepted.delete("c0/3");
      },
      { lost: 1 },
      /effects of event 3 of c0 at a0: 0, due are 1/,
    ],
    [
      "an effect under two keys",
      (books) => {
        books.accepted.set("again", { actor: "a0", key: "again", token: [1, 6], client: "c0", n: 3, times: 1 });
      },
      { doubled: 1 },
      /effects of event 3 of c0 at a0: 2, due are 1/,
    ],
    [
      "an effect of an event that nobody was told of",
      (books) => {
        books.accepted.set("more", { actor: "a0", key: "more", token: [1, 6], client: "c0", n: 11, times: 1 });
      },
      { doubled: 1 },
      /an effect of what nobody was told to be done: a0 c0 11/,
    ],
    [
      "a message that was lost",
      (books) => {
        books.ledgers = [{ id: "l0", context: { last: {}, count: 1, disorder: 0 }, outbox: 0 }];
      },
      { lost: 1 },
      /messages counted by the ledgers: 1, due are 2/,
    ],
    [
      "work that is pending for ever",
      (books) => {
        books.accounts = account({}, 3);
      },
      {},
      /a0 has 3 effects or messages pending/,
    ],
    [
      "an actor that is parked",
      (books) => {
        books.parked = ["account.a0: threw: x"];
      },
      {},
      /parked: account.a0: threw: x/,
    ],
  ];
  test.each(wrong)("name %s", (_, spoil, sums, message) => {
    const books = right();
    spoil(books);
    const verdict = checkBooks(books);
    expect(verdict.differences.join("\n")).toMatch(message);
    expect({ lost: verdict.lost, doubled: verdict.doubled }).toEqual({ lost: 0, doubled: 0, ...sums });
  });
});
