/** Greatest common divisor of the numbers on a line. */
import type { Problem } from "./problem.ts";

export const gcd: Problem = {
  id: "gcd",
  title: "Greatest common divisor",
  points: 15,
  tests: [
    { input: "12 18\n", output: "6\n" },
    { input: "0 5\n", output: "5\n" },
    { input: "1071 462 14\n", output: "7\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const gcd = (a, b) => (b === 0 ? a : gcd(b, a % b));
const numbers = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
console.log(numbers.reduce(gcd));
`,
      python: `
from math import gcd
from functools import reduce
print(reduce(gcd, map(int, input().split())))
`,
    },
    {
      verdict: "AC",
      javascript: String.raw`
const numbers = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let answer = 0;
for (let n of numbers) while (n !== 0) [answer, n] = [n, answer % n];
console.log(answer);
`,
      python: `
answer = 0
for n in map(int, input().split()):
    while n:
        answer, n = n, answer % n
print(answer)
`,
    },
    {
      // Looks at the first two only.
      verdict: "WA",
      javascript: String.raw`
let [a, b] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
while (b !== 0) [a, b] = [b, a % b];
console.log(a);
`,
      python: `
a, b = list(map(int, input().split()))[:2]
while b:
    a, b = b, a % b
print(a)
`,
    },
    {
      verdict: "CE",
      javascript: `
funktion gcd(a, b) { return b === 0 ? a : gcd(b, a % b); }
console.log(gcd(12, 18));
`,
      python: `
deff gcd(a, b):
    return a if b == 0 else gcd(b, a % b)
print(gcd(12, 18))
`,
    },
    {
      // Forgets where the recursion ends.
      verdict: "RE",
      javascript: String.raw`
const gcd = (a, b) => gcd(b, a % b);
const numbers = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
console.log(numbers.reduce(gcd));
`,
      python: `
from functools import reduce
def gcd(a, b):
    return gcd(b, a % b)
print(reduce(gcd, map(int, input().split())))
`,
    },
    {
      // By subtraction: never ends when one of them is 0.
      verdict: "TLE",
      javascript: String.raw`
let [a, b] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
while (a !== b) { if (a > b) a -= b; else b -= a; }
console.log(a);
`,
      python: `
a, b = list(map(int, input().split()))[:2]
while a != b:
    if a > b:
        a -= b
    else:
        b -= a
print(a)
`,
    },
  ],
};
