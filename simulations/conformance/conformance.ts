/**
 * Judges the consensus core by etcd-io/raft's own scenario files, which are read from outside the project. Three levels:
 * strict (every byte), protocol (without the lines of the log, which tell the same in one implementation's words), and
 * outcome (what was committed, and what nodes say of themselves when asked).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { confChangeScenario } from "./confchange-scenarios.ts";
import { type Directive, parseDirectives } from "./datadriven.ts";
import { InteractionScenario } from "./interaction-scenarios.ts";
import { runQuorumDirective } from "./quorum-scenarios.ts";

/** How many files etcd-io/raft has in each folder. */
export const suites = { quorum: 4, confchange: 9, interaction: 28 } as const;
export type Suite = keyof typeof suites;

export const judgements = ["strict", "protocol", "outcome"] as const;
export type Judgement = (typeof judgements)[number];

export type Difference = { readonly directive: Directive; readonly actual: string };

export type FileReport = {
  readonly suite: Suite;
  readonly name: string;
  readonly directives: number;
  readonly passed: Readonly<Record<Judgement, number>>;
  /** By level: the directives that differ. */
  readonly differences: Readonly<Record<Judgement, readonly Difference[]>>;
};

/** Beside the checkout, unless the environment names another folder. */
export function testdataFolder(environment: Readonly<Record<string, string | undefined>>): string {
  return environment.ETCD_RAFT_TESTDATA ?? join("..", "shared", "etcd-raft-testdata");
}

/** One report per file, by name; undefined: the folder is not there. */
export function judgeFolder(folder: string): FileReport[] | undefined {
  if (!existsSync(folder)) return undefined;
  const names = (suite: Suite) => {
    const path = join(folder, suite);
    return existsSync(path) ? readdirSync(path).filter((name) => name.endsWith(".txt")) : [];
  };
  return (Object.keys(suites) as Suite[]).flatMap((suite) =>
    names(suite)
      .sort()
      .map((name) => judgeText(suite, name, readFileSync(join(folder, suite, name), "utf8"))),
  );
}

export function judgeText(suite: Suite, name: string, text: string): FileReport {
  const run = runnerOf(suite);
  const results = parseDirectives(text).map((directive) => ({ directive, actual: run(directive) }));
  const differing = (judgement: Judgement) =>
    results.filter(
      ({ directive, actual }) =>
        viewed(judgement, directive, ended(actual)) !== viewed(judgement, directive, directive.expected),
    );
  const differences = { strict: differing("strict"), protocol: differing("protocol"), outcome: differing("outcome") };
  const passed = (judgement: Judgement) => results.length - differences[judgement].length;
  return {
    suite,
    name,
    directives: results.length,
    passed: { strict: passed("strict"), protocol: passed("protocol"), outcome: passed("outcome") },
    differences,
  };
}

/** Each file is a world of its own. */
function runnerOf(suite: Suite): (directive: Directive) => string {
  if (suite === "quorum") return runQuorumDirective;
  if (suite === "confchange") return confChangeScenario();
  const scenario = new InteractionScenario();
  return (directive) => scenario.handle(directive);
}

function ended(output: string): string {
  return output === "" || output.endsWith("\n") ? output : `${output}\n`;
}

const reports: ReadonlySet<string> = new Set(["raft-state", "raft-log", "status"]);

/** What of an output counts at a level. */
export function viewed(judgement: Judgement, { command }: Directive, output: string): string {
  if (judgement === "strict") return output;
  const lines = output.split("\n").filter((line) => !/^\s*(DEBUG|INFO|WARN|ERROR) /.test(line));
  // Nothing but log lines, or nothing at all, is "ok".
  if (judgement === "protocol") return lines.join("\n").replace(/^ok\n/, "");
  return (reports.has(command) ? lines : committedIn(lines)).join("\n");
}

function committedIn(lines: readonly string[]): string[] {
  let inside = false;
  return lines.filter((line) => {
    if (/^\s*CommittedEntries:$/.test(line)) inside = true;
    else if (!/^\s*\d+\/\d+ Entry/.test(line)) inside = false;
    return inside;
  });
}
