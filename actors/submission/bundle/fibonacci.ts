/** The n-th Fibonacci number modulo 1,000,000,007, F(0) = 0 and F(1) = 1. */
import type { Problem } from "./problem.ts";

export const fibonacci: Problem = {
  id: "fibonacci",
  title: "Fibonacci modulo",
  points: 25,
  tests: [
    { input: "10\n", output: "55\n" },
    { input: "0\n", output: "0\n" },
    { input: "200000\n", output: "216653165\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
let [a, b] = [0, 1];
for (let i = 0; i < n; i += 1) [a, b] = [b, (a + b) % 1000000007];
console.log(a);
`,
      python: `
n = int(input())
a, b = 0, 1
for _ in range(n):
    a, b = b, (a + b) % 1000000007
print(a)
`,
    },
    {
      // By doubling.
      verdict: "AC",
      javascript: `
const m = 1000000007n;
function fib(n) {
  if (n === 0n) return [0n, 1n];
  const [a, b] = fib(n / 2n);
  const c = (a * (2n * b - a + m)) % m;
  const d = (a * a + b * b) % m;
  return n % 2n === 0n ? [c, d] : [d, (c + d) % m];
}
console.log(String(fib(BigInt(require("fs").readFileSync(0, "utf8").trim()))[0]));
`,
      python: `
M = 1000000007
def fib(n):
    if n == 0:
        return (0, 1)
    a, b = fib(n // 2)
    c = a * (2 * b - a) % M
    d = (a * a + b * b) % M
    return (c, d) if n % 2 == 0 else (d, (c + d) % M)
print(fib(int(input()))[0])
`,
    },
    {
      // Starts one too late.
      verdict: "WA",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
let [a, b] = [1, 1];
for (let i = 0; i < n; i += 1) [a, b] = [b, (a + b) % 1000000007];
console.log(a);
`,
      python: `
a, b = 1, 1
for _ in range(int(input())):
    a, b = b, (a + b) % 1000000007
print(a)
`,
    },
    {
      verdict: "CE",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
let a = 0, b = 1;
let a = b;
console.log(a);
`,
      python: `
n = int(input())
a, b = 0, 1
  for _ in range(n):
    a, b = b, a + b
print(a)
`,
    },
    {
      // Recursion as deep as n.
      verdict: "RE",
      javascript: `
const fib = (n, a, b) => (n === 0 ? a : fib(n - 1, b, (a + b) % 1000000007) + 0);
console.log(fib(Number(require("fs").readFileSync(0, "utf8")), 0, 1));
`,
      python: `
def fib(n, a, b):
    return a if n == 0 else fib(n - 1, b, (a + b) % 1000000007)
print(fib(int(input()), 0, 1))
`,
    },
    {
      // The textbook's recursion, exponential in n.
      verdict: "TLE",
      javascript: `
const fib = (n) => (n < 2 ? n : (fib(n - 1) + fib(n - 2)) % 1000000007);
console.log(fib(Math.min(60, Number(require("fs").readFileSync(0, "utf8")))));
`,
      python: `
def fib(n):
    return n if n < 2 else (fib(n - 1) + fib(n - 2)) % 1000000007
print(fib(min(60, int(input()))))
`,
    },
  ],
};
