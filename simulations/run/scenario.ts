/**
 * A run as a text file that reads as a story and is read back: what a failure leaves behind, so that it stays as a test.
 * Lines that begin with `#` tell; `suite`, `seed`, `setup`, `fault`, `step` and `expect` are the run.
 */
import { decodeValue, encodeValue, type Json, NotStorableError } from "../../runtime/machine/codec.ts";
import type { Violation } from "../checkers/violation.ts";
import { type Fault, tellFault } from "./fault.ts";
import { tellStep } from "./report.ts";
import { inPlainWords } from "./rules.ts";
import { checkFault } from "./simulate-options.ts";
import type { Plan, Step, Suite } from "./suite.ts";

export type Scenario = {
  readonly suite: string;
  readonly plan: Plan;
  /** The rule that it breaks; undefined: it holds. */
  readonly breaks: string | undefined;
};

export class ScenarioError extends Error {
  override readonly name = "ScenarioError";
}

export function writeScenario({ suite, plan, breaks }: Scenario, violation?: Violation): string {
  const { seed, faults, steps, setup } = plan;
  const lines = [
    ...(violation === undefined
      ? []
      : [`# ${inPlainWords(violation)}`, `# ${violation.detail.split("\n")[0]?.slice(0, 200)}`]),
    `suite ${suite}`,
    `seed ${seed}`,
    ...(setup === undefined ? [] : [`setup ${JSON.stringify(setup)}`]),
    "",
    ...faults.flatMap((fault) => [
      `# ${tellFault(fault)}`,
      `fault ${fault.at} ${fault.kind} ${JSON.stringify(fault.args)}`,
    ]),
    "",
    ...steps.flatMap((step) => [`# ${tellStep(step)}`, `step ${textOf(step)}`]),
    "",
    breaks === undefined ? "expect holds" : `expect breaks ${breaks}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** A date in an event stays one, as in documents; what no document could hold is left as JSON has it. */
function textOf(step: Step): string {
  const given = Object.fromEntries(Object.entries(step).filter(([, value]) => value !== undefined));
  try {
    return JSON.stringify(encodeValue(given, { path: "step" }));
  } catch (error) {
    if (!(error instanceof NotStorableError)) throw error;
    return JSON.stringify(given);
  }
}

export function readScenario(text: string): Scenario {
  let suite: string | undefined;
  let seed: number | undefined;
  let setup: unknown;
  let expected: string | undefined;
  const faults: Fault[] = [];
  const steps: Step[] = [];
  text.split("\n").forEach((line, index) => {
    const [word = "", ...rest] = line.trim().split(" ");
    const value = rest.join(" ");
    try {
      if (word === "" || word.startsWith("#")) return;
      else if (word === "suite") suite = value;
      else if (word === "seed") seed = seedOf(value);
      else if (word === "setup") setup = JSON.parse(value);
      else if (word === "step") steps.push(decodeValue(JSON.parse(value) as Json) as Step);
      else if (word === "expect") expected = expectationOf(value);
      else if (word === "fault") {
        const [at, kind, ...args] = rest;
        const fault = { at: Number(at), kind, args: JSON.parse(args.join(" ")) as unknown };
        checkFault(fault);
        faults.push(fault as Fault);
      } else throw new Error(`it begins with ${word}`);
    } catch (error) {
      throw new ScenarioError(`line ${index + 1} cannot be read: ${(error as Error).message}`);
    }
  });
  if (suite === undefined || seed === undefined || expected === undefined)
    throw new ScenarioError("a scenario needs a suite, a seed and what to expect");
  const breaks = expected === "holds" ? undefined : expected.replace(/^breaks /, "");
  return { suite, plan: { seed, faults, steps, ...(setup !== undefined && { setup }) }, breaks };
}

function seedOf(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new RangeError(`a seed is a whole number, not ${text}`);
}

function expectationOf(text: string): string {
  if (text === "holds" || /^breaks ./.test(text)) return text;
  throw new RangeError("what is expected is written as `holds`, or as `breaks` and the rule");
}

/** Runs it; an empty text when it went as expected, else what went otherwise. */
export async function checkScenario({ plan, breaks }: Scenario, suite: Suite): Promise<string> {
  const { violations } = await suite.run(plan);
  const rules = violations.map(({ rule }) => rule);
  if (breaks === undefined)
    return violations.length === 0 ? "" : violations.map(({ rule, detail }) => `${rule}: ${detail}`).join("\n");
  return rules.includes(breaks) ? "" : `it should break ${breaks}, and ${rules.join(", ") || "all holds"}`;
}
