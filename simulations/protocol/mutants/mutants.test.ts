/** The planted bugs still fit the sources; `npm run mutants` shows that the properties find each of them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "vitest";

type PlantedBug = {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly breaks: string;
};

const bugs = ["./bugs.json", "../../schedule/mutants/bugs.json", "../../suites/mutants/bugs.json"].flatMap(
  (file) => JSON.parse(readFileSync(new URL(file, import.meta.url), "utf8")) as readonly PlantedBug[],
);

test.each(bugs)("what is replaced to plant '$name' stands in its file exactly once", ({ file, find, replace }) => {
  const text = readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8");
  assert.equal(text.split(find).length, 2);
  assert.notEqual(find, replace);
});
