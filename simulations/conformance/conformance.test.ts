import { describe, expect, test } from "vitest";
import { judgeFolder, judgeText, suites, testdataFolder } from "./conformance.ts";
import { parseDirectives } from "./datadriven.ts";

const folder = testdataFolder(process.env);
const reports = judgeFolder(folder) ?? [];
const expectedFiles = Object.values(suites).reduce((sum, count) => sum + count, 0);

describe("etcd-io/raft's scenario files", () => {
  if (reports.length === 0) {
    console.warn(`SKIPPED, ${expectedFiles} files: no scenario files of etcd-io/raft in ${folder}`);
    test.runIf(process.env.CI === "true")("are there", () => expect.fail(`nothing in ${folder}`));
    test.skipIf(process.env.CI === "true")(`SKIPPED, ${expectedFiles} files`, (context) => context.skip());
  }
  for (const { suite, name, differences, directives, passed } of reports)
    test(`${suite}/${name} agrees in what is sent, stored and committed`, () => {
      const first = differences.protocol[0];
      if (first !== undefined) expect(`${first.directive.line}: ${first.actual}`).toBe(first.directive.expected);
      expect(passed.protocol).toBe(directives);
    });
  for (const { suite, name, directives, passed } of reports.filter((report) => report.suite !== "interaction"))
    test(`${suite}/${name} agrees in every byte`, () => expect(passed.strict).toBe(directives));
});

describe("the judge", () => {
  test("reads arguments, input, comments and blank lines in the output", () => {
    const text = "# why\nadd 1 a=(x, y) b=z\nin\n----\nout\n\nnext\n----\n----\na\n\nb\n----\n----\n";
    expect(parseDirectives(text)).toEqual([
      {
        line: 2,
        command: "add",
        arguments: [
          { key: "1", values: [] },
          { key: "a", values: ["x", "y"] },
          { key: "b", values: ["z"] },
        ],
        input: "in",
        expected: "out\n",
      },
      { line: 7, command: "next", arguments: [], input: "", expected: "a\n\nb\n" },
    ]);
  });

  const campaign = "add-nodes 1 voters=(1) index=3\n----\nignored\n\ncampaign 1\n----\n";
  const log = ["INFO 1 is starting a new election at term 0", "INFO 1 became candidate at term 1"].map(
    (line) => `${line}\n`,
  );
  const cases = [
    { it: "takes a true output", expected: log.join(""), passed: { strict: 1, protocol: 1 } },
    { it: "tells a missing log line only strictly", expected: log[0], passed: { strict: 0, protocol: 1 } },
    { it: "tells another outcome", expected: `${log[0]}raft proposal dropped\n`, passed: { strict: 0, protocol: 0 } },
  ];
  for (const { it, expected, passed } of cases)
    test(it, () => {
      // The first directive's output is wrong on purpose at every level but outcome.
      expect(judgeText("interaction", "a", campaign + expected).passed).toEqual({ ...passed, outcome: 2 });
    });
});
