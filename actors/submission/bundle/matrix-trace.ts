/** The trace of a square matrix; the first line says how large it is. */
import type { Problem } from "./problem.ts";

export const matrixTrace: Problem = {
  id: "matrix-trace",
  title: "Trace of a matrix",
  points: 15,
  tests: [
    { input: "2\n1 2\n3 4\n", output: "5\n" },
    { input: "1\n-8\n", output: "-8\n" },
    { input: "3\n1 0 0\n0 1 0\n9 0 1\n", output: "3\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const [, ...rows] = require("fs").readFileSync(0, "utf8").trim().split("\n");
console.log(rows.reduce((sum, row, i) => sum + Number(row.split(" ")[i]), 0));
`,
      python: `
n = int(input())
print(sum(int(input().split()[i]) for i in range(n)))
`,
    },
    {
      verdict: "AC",
      javascript: String.raw`
const [n, ...cells] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let trace = 0;
for (let i = 0; i < cells.length; i += n + 1) trace += cells[i];
console.log(trace);
`,
      python: `
import sys
n, *cells = map(int, sys.stdin.read().split())
print(sum(cells[::n + 1]))
`,
    },
    {
      // The other diagonal.
      verdict: "WA",
      javascript: String.raw`
const [n, ...cells] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let trace = 0;
for (let i = 0; i < n; i += 1) trace += cells[i * n + n - 1 - i];
console.log(trace);
`,
      python: `
n = int(input())
print(sum(int(input().split()[n - 1 - i]) for i in range(n)))
`,
    },
    {
      verdict: "CE",
      javascript: String.raw`
const rows = require("fs").readFileSync(0, "utf8").trim().split("\n"):
console.log(rows.length);
`,
      python: `
n = int(input())
if n = 1:
    print(input())
`,
    },
    {
      // One row too many.
      verdict: "RE",
      javascript: String.raw`
const [n, ...rows] = require("fs").readFileSync(0, "utf8").trim().split("\n");
let trace = 0;
for (let i = 0; i <= Number(n); i += 1) trace += Number(rows[i].split(" ")[i]);
console.log(trace);
`,
      python: `
n = int(input())
rows = [input().split() for _ in range(n)]
print(sum(int(rows[i][i]) for i in range(n + 1)))
`,
    },
    {
      // The wrong counter grows.
      verdict: "TLE",
      javascript: String.raw`
const [n, ...cells] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
let trace = 0;
for (let i = 0, j = 0; i < n; j += 1) trace += cells[(i * n + i + j) % cells.length];
console.log(trace);
`,
      python: `
n = int(input())
rows = [list(map(int, input().split())) for _ in range(n)]
i = j = trace = 0
while i < n:
    trace += rows[i][i]
    j += 1
print(trace)
`,
    },
  ],
};
