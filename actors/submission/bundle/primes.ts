/** How many primes there are up to n. */
import type { Problem } from "./problem.ts";

export const primes: Problem = {
  id: "primes",
  title: "Counting primes",
  points: 25,
  tests: [
    { input: "10\n", output: "4\n" },
    { input: "2\n", output: "1\n" },
    { input: "50000\n", output: "5133\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
const composite = new Uint8Array(n + 1);
let count = 0;
for (let p = 2; p <= n; p += 1) {
  if (composite[p]) continue;
  count += 1;
  for (let m = p * p; m <= n; m += p) composite[m] = 1;
}
console.log(count);
`,
      python: String.raw`
n = int(input())
sieve = bytearray([1]) * (n + 1)
sieve[0:2] = b"\0\0"
for p in range(2, int(n ** 0.5) + 1):
    if sieve[p]:
        sieve[p * p::p] = bytes(len(range(p * p, n + 1, p)))
print(sum(sieve))
`,
    },
    {
      verdict: "AC",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
const primes = [];
next: for (let c = 2; c <= n; c += 1) {
  for (const p of primes) {
    if (p * p > c) break;
    if (c % p === 0) continue next;
  }
  primes.push(c);
}
console.log(primes.length);
`,
      python: `
n = int(input())
primes = []
for c in range(2, n + 1):
    for p in primes:
        if p * p > c:
            primes.append(c)
            break
        if c % p == 0:
            break
    else:
        primes.append(c)
print(len(primes))
`,
    },
    {
      // Below n instead of up to n: only a prime n shows it.
      verdict: "WA",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
let count = 0;
next: for (let c = 2; c < n; c += 1) {
  for (let d = 2; d * d <= c; d += 1) if (c % d === 0) continue next;
  count += 1;
}
console.log(count);
`,
      python: `
n = int(input())
print(sum(all(c % d for d in range(2, int(c ** 0.5) + 1)) for c in range(2, n)))
`,
    },
    {
      verdict: "CE",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
const composite = new Uint8Array(n + 1;
for (let p = 2; p <= n; p += 1) {
`,
      python: `
n = int(input())
for p in range(2, n):
print(p)
`,
    },
    {
      // Asks for far too much memory.
      verdict: "RE",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
const sieves = [];
for (let i = 0; i <= n; i += 1) sieves.push(Buffer.alloc(100000000, 1));
console.log(sieves.length);
`,
      python: `
n = int(input())
sieves = [bytearray(b"1") * 100000000 for i in range(n + 1)]
print(len(sieves))
`,
    },
    {
      // Steps over the end and goes on for ever.
      verdict: "TLE",
      javascript: `
const n = Number(require("fs").readFileSync(0, "utf8"));
let count = 1;
for (let c = 3; c !== n; c += 2) if (c % 3 !== 0) count += 1;
console.log(count);
`,
      python: `
n = int(input())
count, c = 1, 3
while c != n:
    if c % 3 != 0:
        count += 1
    c += 2
print(count)
`,
    },
  ],
};
