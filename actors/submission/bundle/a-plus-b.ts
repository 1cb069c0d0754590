/** A+B: two integers on a line, their sum, beyond what a double holds. */
import type { Problem } from "./problem.ts";

export const aPlusB: Problem = {
  id: "a-plus-b",
  title: "A+B",
  points: 10,
  tests: [
    { input: "1 2\n", output: "3\n" },
    { input: "-7 7\n", output: "0\n" },
    { input: "900719925474099300 7\n", output: "900719925474099307\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const [a, b] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(BigInt);
console.log(String(a + b));
`,
      python: `
a, b = map(int, input().split())
print(a + b)
`,
    },
    {
      verdict: "AC",
      javascript: `
const fs = require("fs");
let sum = 0n;
for (const word of fs.readFileSync("/dev/stdin", "utf8").split(" ")) sum += BigInt(word.trim());
process.stdout.write(sum.toString());
`,
      python: `
import sys
print(sum(int(word) for word in sys.stdin.read().split()))
`,
    },
    {
      // Rounds above 2^53.
      verdict: "WA",
      javascript: String.raw`
const [a, b] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
console.log(a + b);
`,
      python: `
a, b = map(float, input().split())
print(int(a + b))
`,
    },
    {
      verdict: "CE",
      javascript: `
const [a, b] = require("fs").readFileSync(0, "utf8").trim().split(" ").map(BigInt;
console.log(String(a + b));
`,
      python: `
a, b = map(int, input().split()
print(a + b)
`,
    },
    {
      // Expects the numbers on two lines.
      verdict: "RE",
      javascript: String.raw`
const [a, b] = require("fs").readFileSync(0, "utf8").trim().split("\n");
console.log(String(BigInt(a.trim()) + BigInt(b.trim())));
`,
      python: `
a = int(input())
b = int(input())
print(a + b)
`,
    },
    {
      // Counts up one by one; never arrives with a negative number.
      verdict: "TLE",
      javascript: `
let [a, b] = require("fs").readFileSync(0, "utf8").trim().split(" ").map(BigInt);
while (a !== 0n) { a -= 1n; b += 1n; }
console.log(String(b));
`,
      python: `
a, b = map(int, input().split())
while a != 0:
    a -= 1
    b += 1
print(b)
`,
    },
  ],
};
