/** What the inbox makes of a file: its name and first line decide, and a refusal says what to do. */
import { expect, test } from "vitest";
import { inboxLanguage, readInboxProgram } from "./inbox-file.ts";

const problems = new Set(["gcd"]);

test("the extension is the language", () => {
  expect(inboxLanguage("a.js")).toBe("javascript");
  expect(inboxLanguage("a.b.py")).toBe("python");
  for (const name of ["a.txt", "py", ".hidden.js", "README"]) expect(inboxLanguage(name)).toBeUndefined();
});

const cases: { it: string; source: string; reads: unknown }[] = [
  {
    it: "reads a JavaScript comment",
    source: "// problem: gcd author: ada\n1",
    reads: { problem: "gcd", author: "ada" },
  },
  { it: "reads a Python comment", source: "#problem:gcd  author:ada\r\n1", reads: { problem: "gcd", author: "ada" } },
  { it: "wants the comment first", source: "\n// problem: gcd author: ada", reads: /first line must be/ },
  { it: "refuses an empty file", source: "", reads: /first line must be: \/\/ problem: gcd author: ada/ },
  { it: "refuses an author with a path in it", source: "// problem: gcd author: ../ada", reads: /first line/ },
  { it: "names the problems there are", source: "// problem: lcm author: ada", reads: /no problem lcm; there are gcd/ },
];

for (const { it, source, reads } of cases) {
  test(`the inbox ${it}`, () => {
    const program = readInboxProgram("javascript", source, problems);
    if (reads instanceof RegExp) expect(program).toMatch(reads);
    else expect(program).toEqual({ language: "javascript", ...(reads as object) });
  });
}
