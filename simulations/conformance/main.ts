/**
 * `npm run conformance`: runs etcd-io/raft's scenario files and prints, per file, how many directives agree at each level.
 * Fails when one differs at protocol level, or, in CI, when the files are not there. `-- --show strict` prints what differs
 * at that level.
 */
import { resolve } from "node:path";
import {
  type FileReport,
  type Judgement,
  judgeFolder,
  judgements,
  suites,
  testdataFolder,
  viewed,
} from "./conformance.ts";

const show = process.argv[process.argv.indexOf("--show") + 1];
const shown = process.argv.includes("--show") ? (judgements.find((each) => each === show) ?? "strict") : "protocol";
const folder = testdataFolder(process.env);
const reports = judgeFolder(folder);

if (reports === undefined || reports.length === 0) {
  const files = Object.values(suites).reduce((sum, count) => sum + count, 0);
  console.error(
    `SKIPPED, ${files} files: no scenario files of etcd-io/raft in ${resolve(folder)} (ETCD_RAFT_TESTDATA)`,
  );
  if (process.env.CI === "true") process.exitCode = 1;
} else {
  printTable(reports);
  for (const report of reports) printDifferences(report, shown);
  if (reports.some(({ differences }) => differences.protocol.length > 0)) process.exitCode = 1;
}

function printTable(rows: readonly FileReport[]): void {
  console.log(`${"file".padEnd(60)}${["directives", ...judgements].map((name) => name.padStart(11)).join("")}`);
  for (const suite of Object.keys(suites) as (keyof typeof suites)[]) {
    const files = rows.filter((row) => row.suite === suite);
    for (const row of files) printRow(`${suite}/${row.name}`, [row]);
    if (files.length > 0) printRow(`${suite}: ${files.length} of ${suites[suite]} files`, files);
    else console.log(`${suite}: SKIPPED, ${suites[suite]} files`);
  }
}

function printRow(name: string, rows: readonly FileReport[]): void {
  const sum = (count: (row: FileReport) => number) => rows.reduce((total, row) => total + count(row), 0);
  const counts = [sum((row) => row.directives), ...judgements.map((each) => sum((row) => row.passed[each]))];
  console.log(`${name.padEnd(60)}${counts.map((count) => String(count).padStart(11)).join("")}`);
}

function printDifferences({ suite, name, differences }: FileReport, judgement: Judgement): void {
  for (const { directive, actual } of differences[judgement]) {
    const text = (output: string) => viewed(judgement, directive, output).trimEnd();
    console.log(`\n${suite}/${name}:${directive.line} ${directive.command} differs (${judgement})`);
    console.log(`expected:\n${text(directive.expected)}\nactual:\n${text(actual)}`);
  }
}
