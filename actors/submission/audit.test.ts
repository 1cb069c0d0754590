/** The checker is checked: right books pass, and every kind of wrong entry is found, counted and named. */
import { expect, test } from "vitest";
import { audit, type Books } from "./audit.ts";
import type { BundledSubmission } from "./bundle/index.ts";

const common = { language: "javascript", source: "", points: 10, problem: "gcd", author: "ada" } as const;
const expected: BundledSubmission[] = [
  { ...common, id: "s-1", expected: "AC" },
  { ...common, id: "s-2", expected: "WA" },
];
const stored = { author: "ada", problem: "gcd", points: 10, verdictsEntered: 1 };
const first = { ...stored, id: "s-1", state: "AC" };
const second = { ...stored, id: "s-2", state: "WA" };
const ada = { id: "ada", points: 10, accepted: 1, recent: ["s-1"] };
const gcd = { id: "gcd", accepted: 1, attempts: 2 };
const right: Books = { submissions: [first, second], authors: [ada], problems: [gcd] };

const cases: { it: string; books: Partial<Books>; finds: object; says?: RegExp }[] = [
  { it: "finds nothing in right books", books: {}, finds: { judged: 2, lost: 0, doubled: 0, unexpected: 0 } },
  {
    it: "misses a submission",
    books: { submissions: [first], problems: [{ ...gcd, attempts: 1 }] },
    finds: { judged: 1, lost: 1 },
    says: /s-2: no verdict \(not stored\)/,
  },
  {
    it: "misses a verdict",
    books: { submissions: [first, { ...second, state: "running" }], problems: [{ ...gcd, attempts: 1 }] },
    finds: { judged: 1, lost: 1 },
    says: /running/,
  },
  {
    it: "sees another verdict than expected",
    books: { submissions: [first, { ...second, state: "RE" }] },
    finds: { judged: 2, unexpected: 1, lost: 0 },
    says: /s-2: RE, expected WA/,
  },
  {
    it: "sees a second verdict",
    books: { submissions: [first, { ...second, verdictsEntered: 2 }] },
    finds: { doubled: 1 },
    says: /2 times/,
  },
  {
    it: "sees points that were lost",
    books: { authors: [{ ...ada, points: 0, accepted: 0, recent: [] }] },
    finds: { lost: 1 },
    says: /points of ada: 0/,
  },
  {
    it: "sees points awarded twice",
    books: { authors: [{ ...ada, points: 20, accepted: 2, recent: ["s-1", "s-1"] }] },
    finds: { doubled: 2 },
    says: /awarded twice to ada: s-1/,
  },
  {
    it: "sees an attempt counted twice",
    books: { problems: [{ ...gcd, attempts: 3 }] },
    finds: { doubled: 1, lost: 0 },
    says: /attempts at gcd: 3/,
  },
  { it: "sees an accepted answer not counted", books: { problems: [{ ...gcd, accepted: 0 }] }, finds: { lost: 1 } },
  { it: "sees that an author is not there", books: { authors: [] }, finds: { lost: 1 }, says: /ada: not stored/ },
];

for (const { it, books, finds, says } of cases) {
  test(`the audit ${it}`, () => {
    const result = audit(expected, { ...right, ...books });
    expect(result).toMatchObject(finds);
    expect(result.differences.length === 0).toBe(says === undefined && !("lost" in finds && finds.lost === 1));
    if (says !== undefined) expect(result.differences.join("\n")).toMatch(says);
  });
}
