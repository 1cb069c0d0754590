/** `holdfast simulate`: many seeds of a suite, of a file's, or one run from a scenario file; what was found, told and drawn. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Explored, SimulateOptions, Suite, Tale } from "../../simulations/index.ts";
import { type Duration, durationMs } from "../duration.ts";
import { type Command, nothingMore, type OptionValues, ShownFailure, UsageError } from "./command.ts";
import { exportedFrom } from "./exported.ts";

export const simulate: Command = {
  usage: "simulate [suite|file] [--seeds 1..1000] [--for 60s] [--show] [--save file]",
  summary: "run machines under every kind of fault, many seeds, and show what breaks",
  options: ["seeds", "for", "show", "save", "failures", "coverage"],
  details: `Without a name all suites run, each for its share of the time. A file is a module whose export (file.js#name, or the
default) is a suite or the options of simulate(); or a scenario (*.scenario) that --save wrote, which runs once.
  --seeds 7 or 1..1000   which (default 1..1000000)
  --for 60s              begin no new seed after this (default 60s)
  --show                 write simulation.html, a picture of the last seed, or of the first failure
  --save file            write the first failure as a scenario, which stays as a test
  --failures n           go on after failing seeds until there are n (default 1)
  --coverage             which states of the machines met which faults
A seed that breaks a rule is shrunk first. Exit code 1 then.
\`simulate redlock\` and \`simulate classics\` tell how other designs break, and how this one holds on the same steps.`,

  async run({ args, options }) {
    const [subject, ...rest] = args;
    nothingMore(rest);
    const api = await import("../../simulations/index.ts");
    if (subject?.endsWith(".scenario")) return runScenario(api, subject, options);
    const tale = api.tales.find(({ name }) => name === subject);
    if (tale !== undefined) return tell(tale);
    const chosen = await suitesNamed(api, subject);
    const forMs = forIn(options.for) / chosen.length;
    const maxFailures = wholeIn("failures", options.failures ?? "1");
    const all: Explored[] = [];
    for (const suite of chosen) {
      const explored = await api.explore(suite, {
        seeds: seedsFrom(api, options.seeds),
        forMs,
        maxFailures,
        onProgress: (progress) => sayProgress(api.tellTotals(progress)),
      });
      sayProgress("");
      all.push(explored);
    }
    const failures = all.flatMap((explored) => explored.failures);
    const notes: string[] = [];
    if (options.show === true) notes.push(await show(api, chosen, all));
    const [first] = failures;
    if (options.save !== undefined && first !== undefined) {
      const scenario = { suite: subject ?? first.suite, plan: first.shrunk.plan, breaks: first.violation.rule };
      writeFileSync(options.save, api.writeScenario(scenario, first.violation));
      notes.push(`saved: ${options.save}`);
    }
    const text = [
      ...all.flatMap((explored) => [api.tellTotals(explored), ...api.tellMeasured(explored.measuredMs)]),
      ...(options.coverage === true ? all.map(({ met }) => `\n${api.tellCoverage(met)}`) : []),
      ...failures.map(
        (failure) => `\n${api.tellFailure(failure, replayOf(subject ?? failure.suite, failure.plan.seed))}`,
      ),
      ...notes,
    ].join("\n");
    const json = {
      suites: all.map(({ suite, seeds, seconds, events, virtualMs, met, measuredMs }) => ({
        suite,
        seeds,
        seconds,
        events,
        virtualMs,
        met: Object.fromEntries(met),
        ...(measuredMs.size > 0 && { measuredMs: Object.fromEntries(measuredMs) }),
      })),
      violations: failures.map(({ suite, violation, plan, shrunk }) => ({
        suite,
        seed: plan.seed,
        ...violation,
        words: api.inPlainWords(violation),
        faults: [plan.faults.length, shrunk.plan.faults.length],
        steps: [plan.steps.length, shrunk.plan.steps.length],
        plan: shrunk.plan,
        replay: replayOf(subject ?? suite, plan.seed),
      })),
    };
    if (failures.length > 0)
      throw new ShownFailure("Violated", `${failures.length} seeds break a rule`, `${text}\n`, json);
    return { json, text: `${text}\n` };
  },
};

async function tell(tale: Tale) {
  const lines: string[] = [];
  const asTold = await tale.tell((line) => lines.push(line));
  const text = `${lines.join("\n")}\n`;
  const json = { tale: tale.name, asTold, lines };
  if (!asTold) throw new ShownFailure("Violated", `${tale.name} did not go as it is told`, text, json);
  return { json, text };
}

type Api = typeof import("../../simulations/index.ts");

async function runScenario(api: Api, file: string, options: OptionValues) {
  if (!existsSync(file)) throw new UsageError(`there is no file ${file}`);
  const scenario = api.readScenario(readFileSync(file, "utf8"));
  const [suite] = await suitesNamed(api, scenario.suite);
  const otherwise = await api.checkScenario(scenario, suite as Suite);
  if (options.show === true) {
    const ran = await (suite as Suite).run(scenario.plan, { picture: true });
    if (ran.picture !== undefined) writeFileSync(pictureFile, api.drawDiagram(ran.picture));
  }
  const expected = scenario.breaks === undefined ? "holds" : `breaks ${scenario.breaks}`;
  if (otherwise !== "") throw new ShownFailure("Violated", `${file} does not go as it says`, `${otherwise}\n`);
  return { json: { scenario: file, expected, asExpected: true }, text: `${file}: ${expected}, as it says\n` };
}

async function suitesNamed(api: Api, name: string | undefined): Promise<readonly Suite[]> {
  if (name === undefined) return api.suites;
  const known = api.suiteNamed(name);
  if (known !== undefined) return [known];
  const [file = ""] = name.split("#");
  if (!existsSync(file))
    throw new UsageError(
      `there is no suite and no file ${name}; suites: ${[...api.suites, ...api.tales].map(({ name: known }) => known).join(", ")}`,
    );
  const value = (await exportedFrom(name)) as Suite | SimulateOptions | null;
  if (typeof value !== "object" || value === null)
    throw new UsageError(`${name} is neither a suite nor the options of simulate(): { actors, workload, … }`);
  return ["plan" in value ? value : api.suiteOf({ name: file, ...value })];
}

const pictureFile = "simulation.html";

/** The first failure, or the last seed that held. */
async function show(api: Api, chosen: readonly Suite[], all: readonly Explored[]): Promise<string> {
  const failure = all.flatMap(({ failures }) => failures)[0];
  const last = all.at(-1) as Explored;
  const suite = chosen.find(({ name }) => name === (failure?.suite ?? last.suite)) as Suite;
  const seed = [...last.hashes.keys()].at(-1) ?? 1;
  const { picture } = await suite.run(failure?.shrunk.plan ?? suite.plan(seed), { picture: true });
  if (picture === undefined) return `${suite.name} draws no picture`;
  writeFileSync(pictureFile, api.drawDiagram({ ...picture, title: `${suite.name}, ${picture.title}` }));
  return `drawn: ${pictureFile}`;
}

function replayOf(subject: string, seed: number): string {
  return `npx holdfast simulate ${subject} --seeds ${seed} --show`;
}

function seedsFrom(api: Api, given: string | undefined): Iterable<number> {
  try {
    return api.seedsIn(given ?? "1..1000000");
  } catch (error) {
    throw new UsageError(`--seeds: ${(error as Error).message}`);
  }
}

function forIn(given: string | undefined): number {
  const ms = durationMs((given ?? "60s") as Duration);
  if (ms === undefined) throw new UsageError(`--for is ${JSON.stringify(given)}; write a duration such as 60s or 5m`);
  return ms;
}

function wholeIn(name: string, given: string): number {
  const value = Number(given);
  if (!Number.isSafeInteger(value) || value < 1) throw new UsageError(`--${name} must be a whole number, 1 or more`);
  return value;
}

function sayProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}
