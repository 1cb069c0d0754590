/** Whether each line's brackets, of three kinds, are balanced. */
import type { Problem } from "./problem.ts";

export const brackets: Problem = {
  id: "brackets",
  title: "Balanced brackets",
  points: 20,
  tests: [
    { input: "()\n(]\n", output: "ok\nbad\n" },
    { input: "{[()()]}\n([)]\n((\n", output: "ok\nbad\nbad\n" },
    { input: ")(\n", output: "bad\n" },
  ],
  variants: [
    {
      verdict: "AC",
      javascript: String.raw`
const closes = { ")": "(", "]": "[", "}": "{" };
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  const stack = [];
  let ok = true;
  for (const c of line) {
    if (closes[c]) ok = stack.pop() === closes[c] && ok;
    else stack.push(c);
  }
  console.log(ok && stack.length === 0 ? "ok" : "bad");
}
`,
      python: `
import sys
closes = {")": "(", "]": "[", "}": "{"}
def balanced(line):
    stack = []
    for c in line:
        if c in closes:
            if not stack or stack.pop() != closes[c]:
                return False
        else:
            stack.append(c)
    return not stack
for line in sys.stdin:
    print("ok" if balanced(line.strip()) else "bad")
`,
    },
    {
      verdict: "AC",
      javascript: String.raw`
for (let line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  for (let before = ""; before !== line; ) {
    before = line;
    line = line.replace("()", "").replace("[]", "").replace("{}", "");
  }
  console.log(line === "" ? "ok" : "bad");
}
`,
      python: `
import sys
for line in sys.stdin.read().split():
    before = None
    while before != line:
        before = line
        line = line.replace("()", "").replace("[]", "").replace("{}", "")
    print("bad" if line else "ok")
`,
    },
    {
      // Only counts, so order does not matter to it.
      verdict: "WA",
      javascript: String.raw`
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  const count = (c) => line.split(c).length;
  const ok = count("(") === count(")") && count("[") === count("]") && count("{") === count("}");
  console.log(ok ? "ok" : "bad");
}
`,
      python: `
import sys
for s in sys.stdin.read().split():
    ok = all(s.count(a) == s.count(b) for a, b in ("()", "[]", "{}"))
    print("ok" if ok else "bad")
`,
    },
    {
      verdict: "CE",
      javascript: `
const closes = { ")": "(", "]": "[", "}": "{";
console.log("ok");
`,
      python: `
closes = {")": "(", "]": "[", "}": "{")
print("ok")
`,
    },
    {
      // Looks at the top of an empty stack; only the third test has one.
      verdict: "RE",
      javascript: String.raw`
const closes = { ")": "(", "]": "[", "}": "{" };
for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  const stack = [];
  let ok = true;
  for (const c of line) {
    if (!closes[c]) stack.push({ kind: c });
    else if (stack.pop().kind !== closes[c]) { ok = false; break; }
  }
  console.log(ok && stack.length === 0 ? "ok" : "bad");
}
`,
      python: `
import sys
closes = {")": "(", "]": "[", "}": "{"}
for line in sys.stdin.read().split():
    stack, ok = [], True
    for c in line:
        if c not in closes:
            stack.append(c)
        elif stack.pop() != closes[c]:
            ok = False
            break
    print("ok" if ok and not stack else "bad")
`,
    },
    {
      // Repeats until nothing is left, also when something always is.
      verdict: "TLE",
      javascript: String.raw`
for (let line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  while (line !== "") line = line.replace("()", "").replace("[]", "").replace("{}", "");
  console.log("ok");
}
`,
      python: `
import sys
for line in sys.stdin.read().split():
    while line:
        line = line.replace("()", "").replace("[]", "").replace("{}", "")
    print("ok")
`,
    },
  ],
};
