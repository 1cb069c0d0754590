/** Sorts integers; the first line says how many. */
import type { Problem } from "./problem.ts";

export const sorting: Problem = {
  id: "sorting",
  title: "Sorting",
  points: 15,
  tests: [
    { input: "5\n3 1 2 5 4\n", output: "1 2 3 4 5\n" },
    { input: "4\n10 9 -1 100\n", output: "-1 9 10 100\n" },
    { input: "6\n2 2 1 1 2 1\n", output: "1 1 1 2 2 2\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const [, line] = require("fs").readFileSync(0, "utf8").split("\n");
console.log(line.trim().split(" ").map(Number).sort((a, b) => a - b).join(" "));
`,
      python: `
input()
print(*sorted(map(int, input().split())))
`,
    },
    {
      // By hand: insertion.
      verdict: "AC",
      javascript: String.raw`
const [n, ...numbers] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
for (let i = 1; i < n; i += 1) {
  for (let j = i; j > 0 && numbers[j - 1] > numbers[j]; j -= 1) {
    [numbers[j - 1], numbers[j]] = [numbers[j], numbers[j - 1]];
  }
}
console.log(numbers.join(" "));
`,
      python: `
n = int(input())
a = list(map(int, input().split()))
for i in range(1, n):
    j = i
    while j > 0 and a[j - 1] > a[j]:
        a[j - 1], a[j] = a[j], a[j - 1]
        j -= 1
print(" ".join(map(str, a)))
`,
    },
    {
      // Sorts as text.
      verdict: "WA",
      javascript: String.raw`
const [, line] = require("fs").readFileSync(0, "utf8").split("\n");
console.log(line.trim().split(" ").map(Number).sort().join(" "));
`,
      python: `
input()
print(*sorted(input().split()))
`,
    },
    {
      verdict: "CE",
      javascript: String.raw`
const [, line] = require("fs").readFileSync(0, "utf8").split("\n");
console.log(line.trim().split(" ").sort((a, b) = > a - b).join(" "));
`,
      python: `
input()
numbers = [int(n) for n in input().split()
numbers.sort()
print(*numbers)
`,
    },
    {
      // Takes the count for the list.
      verdict: "RE",
      javascript: String.raw`
const [numbers] = require("fs").readFileSync(0, "utf8").split("\n").map(Number);
console.log(numbers.sort((a, b) => a - b).join(" "));
`,
      python: `
numbers = int(input())
numbers.sort()
print(*numbers)
`,
    },
    {
      // Swaps equal neighbours for ever.
      verdict: "TLE",
      javascript: String.raw`
const [n, ...a] = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
for (let swapped = true; swapped; ) {
  swapped = false;
  for (let i = 1; i < n; i += 1) {
    if (a[i - 1] >= a[i]) { [a[i - 1], a[i]] = [a[i], a[i - 1]]; swapped = true; }
  }
}
console.log(a.join(" "));
`,
      python: `
n = int(input())
a = list(map(int, input().split()))
swapped = True
while swapped:
    swapped = False
    for i in range(1, n):
        if a[i - 1] >= a[i]:
            a[i - 1], a[i] = a[i], a[i - 1]
            swapped = True
print(*a)
`,
    },
  ],
};
