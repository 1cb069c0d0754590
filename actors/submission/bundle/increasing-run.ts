/** The length of the longest run of neighbours that strictly increase. */
import type { Problem } from "./problem.ts";

export const increasingRun: Problem = {
  id: "increasing-run",
  title: "Longest increasing run",
  points: 20,
  tests: [
    { input: "1 2 3 1 2\n", output: "3\n" },
    { input: "5 4 1 2 3 4\n", output: "4\n" },
    { input: "7 7 7\n", output: "1\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const a = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let best = 1, run = 1;
for (let i = 1; i < a.length; i += 1) {
  run = a[i] > a[i - 1] ? run + 1 : 1;
  best = Math.max(best, run);
}
console.log(best);
`,
      python: `
a = list(map(int, input().split()))
best = run = 1
for before, after in zip(a, a[1:]):
    run = run + 1 if after > before else 1
    best = max(best, run)
print(best)
`,
    },
    {
      verdict: "AC",
      javascript: String.raw`
const a = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
const runs = a.reduce((all, n, i) => [...all, i > 0 && n > a[i - 1] ? all[i - 1] + 1 : 1], []);
console.log(Math.max(...runs));
`,
      python: `
a = [int(word) for word in input().split()]
best, start = 0, 0
for i in range(len(a)):
    if i > 0 and a[i] <= a[i - 1]:
        start = i
    best = max(best, i - start + 1)
print(best)
`,
    },
    {
      // Looks at a run only when it is broken: the last one is never counted.
      verdict: "WA",
      javascript: String.raw`
const a = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let best = 1, run = 1;
for (let i = 1; i < a.length; i += 1) {
  if (a[i] > a[i - 1]) run += 1;
  else { best = Math.max(best, run); run = 1; }
}
console.log(best);
`,
      python: `
a = list(map(int, input().split()))
best = run = 1
for before, after in zip(a, a[1:]):
    if after > before:
        run += 1
    else:
        best, run = max(best, run), 1
print(best)
`,
    },
    {
      verdict: "CE",
      javascript: String.raw`
const a = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
for (let i = 1; i < a.length; i += 1) {
  if (a[i] > a[i - 1]) else run += 1;
}
`,
      python: `
a = list(map(int, input().split()))
for i in range(1, len(a))
    print(a[i])
`,
    },
    {
      // Says so when it is surprised.
      verdict: "RE",
      javascript: String.raw`
const a = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
if (a[0] > a[1]) throw new Error("expected the numbers in order");
console.log(a.indexOf(Math.max(...a)) + 1);
`,
      python: `
a = list(map(int, input().split()))
assert a[0] <= a[1], "expected the numbers in order"
print(a.index(max(a)) + 1)
`,
    },
    {
      // Writes until it is stopped would be a flood; this one only thinks.
      verdict: "TLE",
      javascript: String.raw`
const a = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let i = 0;
while (i < a.length) if (a[i + 1] > a[i]) i += 1;
console.log(i);
`,
      python: `
a = list(map(int, input().split()))
i = 0
while i < len(a) - 1:
    if a[i + 1] > a[i]:
        i += 1
print(i)
`,
    },
  ],
};
