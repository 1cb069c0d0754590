/** What was found, for people: the rule in plain words, the shrunk schedule, and the command that shows it again. */

import type { Violation } from "../checkers/violation.ts";
import type { Explored, Failure } from "./explore.ts";
import { tellFault } from "./fault.ts";
import { inPlainWords } from "./rules.ts";
import type { Shrunk } from "./shrink.ts";
import type { Step } from "./suite.ts";

export function tellFailure({ suite, violation, plan, shrunk, isRepeatable }: Failure, replay: string): string {
  const { faults, steps } = shrunk.plan;
  const others = shrunk.ran.violations.filter(
    ({ rule }, index, all) => rule !== violation.rule && all.findIndex((other) => other.rule === rule) === index,
  );
  const lines = [
    `seed ${plan.seed} of ${suite} breaks a rule: ${violation.rule}`,
    ...plainLines(violation),
    `  ${violation.detail.slice(0, 1_500)}`,
    ...others.flatMap((other) => [
      `also broken: ${other.rule}`,
      ...plainLines(other),
      `  ${other.detail.split("\n")[0]?.slice(0, 300)}`,
    ]),
    "",
    isRepeatable
      ? `shrunk in ${shrunk.runs} runs: ${plan.faults.length} faults -> ${faults.length}, ${plan.steps.length} steps -> ${steps.length}`
      : "the same seed did not give the same run again: something outside the context keeps state, such as a variable of the module",
    ...tellCause(shrunk),
    ...faults.map((fault) => `  ${tellFault(fault)}`),
    ...steps.map((step) => `  ${tellStep(step)}`),
    "",
    `see it again: ${replay}`,
  ];
  return lines.join("\n");
}

/** A rule of the user's own is in plain words already. */
function plainLines(violation: Violation): readonly string[] {
  const words = inPlainWords(violation);
  return words === violation.rule ? [] : [`  ${words}`];
}

/** What is not to be looked for where no fault is to blame, and why steps are there that it does not take. */
function tellCause({ plan, brokenBy, keepsSteps }: Shrunk): readonly string[] {
  if (plan.steps.length === 0) return brokenBy === "steps" ? ["  no fault is needed"] : [];
  if (keepsSteps === true)
    return [
      `  ${brokenBy === "faults" ? "" : "no fault is needed, and "}it is broken also when nobody does anything: it asks for what the steps do. So the steps are all there;`,
      "  a rule that compares with `steps`, what was asked and what became of it, can be shrunk",
    ];
  return brokenBy === "steps" ? ["  no fault is needed: these steps alone break it"] : [];
}

export function tellStep(step: Step): string {
  const { client = 1, waitMs, to, first, create, send, delete: ends, key, retries, ...rest } = step;
  if (to === undefined) return JSON.stringify(step);
  const wait = waitMs === undefined || waitMs === 0 ? "" : `waits ${String(waitMs)} ms, then `;
  const made = create === undefined ? "" : ` from ${JSON.stringify(create)}`;
  const what =
    ends === true
      ? `deletes ${String(to)}`
      : send === undefined
        ? `${first === true ? "first " : ""}creates ${String(to)}${made}`
        : `sends ${JSON.stringify(send)} to ${String(to)}${create === undefined ? "" : `, which it creates${made} if it must`}`;
  const how =
    key === undefined
      ? retries === undefined
        ? ""
        : `, asks anew up to ${String(retries)} times`
      : `, key ${String(key)}`;
  const more = Object.keys(rest).length === 0 ? "" : ` ${JSON.stringify(rest)}`;
  return `client ${String(client)} ${wait}${what}${how}${more}`;
}

export function tellTotals(explored: Explored): string {
  const { suite, seeds, seconds, events, virtualMs, failures } = explored;
  const perSecond = (count: number) => Math.round(count / Math.max(seconds, 0.001)).toLocaleString("en");
  return (
    `${suite}: ${seeds.toLocaleString("en")} seeds in ${seconds.toFixed(1)} s (${perSecond(seeds)}/s), ` +
    `${perSecond(events)} events/s, ${(virtualMs / 1_000 / Math.max(seconds, 0.001)).toFixed(0)} virtual s per s, ` +
    (failures.length === 0 ? "all hold" : `${failures.length} FAILED`)
  );
}

/** One line for each thing that was measured; none where nothing was. */
export function tellMeasured(measuredMs: ReadonlyMap<string, readonly number[]>): readonly string[] {
  return [...measuredMs].map(([what, all]) => {
    const sorted = [...all].sort((a, b) => a - b);
    const at = (share: number) =>
      Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
    const count = sorted.length.toLocaleString("en");
    return `  ${what} (${count}): p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms, max ${at(1)} ms`;
  });
}

/** Rows are states of machines, columns kinds of faults; a cell counts the runs that had both at once. */
export function tellCoverage(met: ReadonlyMap<string, number>): string {
  const cells = [...met].map(([name, count]) => {
    const [state = "", fault = ""] = name.split(" × ");
    return { state, fault, count };
  });
  const states = [...new Set(cells.map(({ state }) => state))].sort();
  const faults = [...new Set(cells.map(({ fault }) => fault))].sort();
  const label = (state: string) => (state.length > 40 ? `${state.slice(0, 39)}…` : state);
  const width = Math.max(5, ...states.map((state) => label(state).length));
  const row = (head: string, values: readonly string[]) =>
    `${head.padEnd(width)}${values.map((value, index) => value.padStart((faults[index] as string).length + 2)).join("")}`;
  const shown = states.slice(0, 40);
  return [
    row("state", faults),
    ...shown.map((state) =>
      row(
        label(state),
        faults.map((fault) => String(cells.find((cell) => cell.state === state && cell.fault === fault)?.count ?? "-")),
      ),
    ),
    ...(states.length > shown.length ? [`… and ${states.length - shown.length} more states`] : []),
  ].join("\n");
}
