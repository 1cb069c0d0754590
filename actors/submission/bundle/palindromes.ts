/** For each line, whether its letters read the same backwards; case and other characters do not count. */
import type { Problem } from "./problem.ts";

export const palindromes: Problem = {
  id: "palindromes",
  title: "Palindromes",
  points: 10,
  tests: [
    { input: "level\nlever\n", output: "yes\nno\n" },
    { input: "A man, a plan, a canal: Panama\n", output: "yes\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  const letters = line.toLowerCase().replace(/[^a-z]/g, "");
  console.log(letters === [...letters].reverse().join("") ? "yes" : "no");
}
`,
      python: `
import sys
for line in sys.stdin:
    letters = [c for c in line.lower() if c.isalpha()]
    print("yes" if letters == letters[::-1] else "no")
`,
    },
    {
      verdict: "AC",
      javascript: `
const readline = require("readline").createInterface({ input: process.stdin });
readline.on("line", (line) => {
  const s = line.toLowerCase().match(/[a-z]/g) ?? [];
  let same = true;
  for (let i = 0; i < s.length / 2; i += 1) same &&= s[i] === s[s.length - 1 - i];
  console.log(same ? "yes" : "no");
});
`,
      python: `
def palindrome(s):
    i, j = 0, len(s) - 1
    while i < j:
        if not s[i].isalpha():
            i += 1
        elif not s[j].isalpha():
            j -= 1
        elif s[i] != s[j]:
            return "no"
        else:
            i, j = i + 1, j - 1
    return "yes"

while True:
    try:
        print(palindrome(input().lower()))
    except EOFError:
        break
`,
    },
    {
      // Compares case and punctuation too.
      verdict: "WA",
      javascript: String.raw`
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  console.log(line === [...line].reverse().join("") ? "yes" : "no");
}
`,
      python: String.raw`
import sys
for line in sys.stdin.read().split("\n"):
    if line:
        print("yes" if line == line[::-1] else "no")
`,
    },
    {
      verdict: "CE",
      javascript: String.raw`
for (const line of require("fs").readFileSync(0, "utf8").split("\n")) {
  console.log(line === [...line].reverse().join("") ? "yes : "no");
}
`,
      python: `
import sys
for line in sys.stdin:
    print("yes' if line == line[::-1] else "no")
`,
    },
    {
      // Reads one line more than there is.
      verdict: "RE",
      javascript: String.raw`
const input = require("fs").readFileSync(0, "utf8").trim().split("\n");
for (let i = 0; i <= input.length; i += 1) {
  const s = input[i].toLowerCase();
  console.log(s === [...s].reverse().join("") ? "yes" : "no");
}
`,
      python: `
for i in range(3):
    s = input().lower()
    print("yes" if s == s[::-1] else "no")
`,
    },
    {
      // Never moves past a character that is not a letter.
      verdict: "TLE",
      javascript: String.raw`
for (const line of require("fs").readFileSync(0, "utf8").trim().toLowerCase().split("\n")) {
  let i = 0, j = line.length - 1, answer = "yes";
  while (i < j) {
    if (!/[a-z]/.test(line[i]) || !/[a-z]/.test(line[j])) continue;
    if (line[i] !== line[j]) answer = "no";
    i += 1; j -= 1;
  }
  console.log(answer);
}
`,
      python: String.raw`
import sys
for line in sys.stdin.read().strip().lower().split("\n"):
    i, j, answer = 0, len(line) - 1, "yes"
    while i < j:
        if not (line[i].isalpha() and line[j].isalpha()):
            continue
        if line[i] != line[j]:
            answer = "no"
        i, j = i + 1, j - 1
    print(answer)
`,
    },
  ],
};
