/** The most frequent word of a text and how often it stands there; of equally frequent ones the first in the alphabet. */
import type { Problem } from "./problem.ts";

export const wordCount: Problem = {
  id: "word-count",
  title: "Most frequent word",
  points: 20,
  tests: [
    { input: "the cat and the dog\n", output: "the 2\n" },
    { input: "b a\nb a c\n", output: "a 2\n" },
    { input: "constructor\n", output: "constructor 1\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const counts = new Map();
for (const word of require("fs").readFileSync(0, "utf8").split(/\s+/).filter(Boolean).sort()) {
  counts.set(word, (counts.get(word) ?? 0) + 1);
}
const best = [...counts].sort((a, b) => b[1] - a[1])[0];
console.log(best.join(" "));
`,
      python: `
import sys
words = sys.stdin.read().split()
best = min(set(words), key=lambda word: (-words.count(word), word))
print(best, words.count(best))
`,
    },
    {
      verdict: "AC",
      javascript: String.raw`
const words = require("fs").readFileSync(0, "utf8").trim().split(/\s+/).sort();
let best = "", most = 0, run = 0;
for (let i = 0; i < words.length; i += 1) {
  run = i > 0 && words[i] === words[i - 1] ? run + 1 : 1;
  if (run > most) [best, most] = [words[i], run];
}
console.log(best, most);
`,
      python: `
import sys
from collections import Counter
counts = Counter(sorted(sys.stdin.read().split()))
word, count = max(counts.items(), key=lambda item: item[1])
print(word, count)
`,
    },
    {
      // Takes the first that it meets.
      verdict: "WA",
      javascript: String.raw`
const counts = new Map();
for (const word of require("fs").readFileSync(0, "utf8").trim().split(/\s+/)) {
  counts.set(word, (counts.get(word) ?? 0) + 1);
}
console.log([...counts].sort((a, b) => b[1] - a[1])[0].join(" "));
`,
      python: `
import sys
from collections import Counter
print(*Counter(sys.stdin.read().split()).most_common(1)[0])
`,
    },
    {
      verdict: "CE",
      javascript: String.raw`
const class = require("fs").readFileSync(0, "utf8").trim().split(/\s+/);
console.log(class[0], class.length);
`,
      python: `
import sys
class = sys.stdin.read().split()
print(class[0], len(class))
`,
    },
    {
      // Remembers the words in the wrong thing.
      verdict: "RE",
      javascript: String.raw`
let counts;
for (const word of require("fs").readFileSync(0, "utf8").trim().split(/\s+/)) counts[word] += 1;
console.log(Object.entries(counts)[0].join(" "));
`,
      python: `
import sys
counts = {}
for word in sys.stdin.read().split():
    counts[word] += 1
print(*max(counts.items(), key=lambda item: item[1]))
`,
    },
    {
      // The last word is never taken off the list.
      verdict: "TLE",
      javascript: String.raw`
const words = require("fs").readFileSync(0, "utf8").trim().split(/\s+/);
let count = 0;
while (words.length > 0) {
  if (words.length > 1) words.pop();
  count += 1;
}
console.log(words[0], count);
`,
      python: `
import sys
words = sys.stdin.read().split()
count = 0
while words:
    if len(words) > 1:
        words.pop()
    count += 1
print(words, count)
`,
    },
  ],
};
