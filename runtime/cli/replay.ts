/** An incident, step by step: what each commit was for, what it changed, and whether today's machine does the same. */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { ControlError } from "../control/errors.ts";
import { type ActorDefinition, defineActor } from "../definition.ts";
import { readDocument } from "../document.ts";
import { type Difference, type KeptRevision, type ReplayedStep, replayHistory } from "../replay.ts";
import { actorIn, type Command, nothingMore, ShownFailure, UsageError } from "./command.ts";
import { exportedFrom } from "./exported.ts";
import { clipped, readable } from "./readable.ts";

export const replay: Command = {
  usage: "replay <type> <id> --machine file#export [--from history.json] [--fork revision --fault crash]",
  summary: "replay an actor's history through its machine, and show where it differs",
  options: ["machine", "from", "fork", "fault"],
  details: `--from reads the history from a file instead of the store: what \`holdfast history --json\` prints, or documents as
JSON, one a line or in a list (as \`nats kv history\` or a journal holds them). --fork goes on from that revision in the
simulator, with what callers sent later, and with --fault: crash, freeze, unknown, duplicate or none.
Fails when a commit comes out differently.`,

  async run({ args, options, session }) {
    const { type, id, rest } = actorIn(args);
    nothingMore(rest);
    if (options.machine === undefined) throw new UsageError("it needs --machine file#export");
    const definition = definitionOf(await exportedFrom(options.machine));
    const history =
      options.from === undefined
        ? (await (await session()).ask("history", { type, id })).map(({ text, by }) => ({ text, by }))
        : historyIn(options.from, type, id);
    if (options.fork !== undefined) return fork(definition, history, options.fork, options.fault ?? "none");
    const steps = replayHistory(definition, history);
    const count = (kind: ReplayedStep["verdict"]["kind"]) =>
      steps.filter(({ verdict }) => verdict.kind === kind).length;
    const [same, differs, unproved] = [count("same"), count("differs") + count("refused"), count("unproved")];
    const summary = `${steps.length} revisions: ${same} come out the same, ${differs} do not, ${unproved} cannot be told\n`;
    const text = `${steps.map(stepText).join("\n")}\n${summary}`;
    if (differs === 0) return { json: { steps, same, differs, unproved }, text };
    throw new ShownFailure("ReplayDiffers", `${differs} of ${steps.length} revisions do not come out the same`, text);
  },
};

function definitionOf(exported: unknown): ActorDefinition {
  const { logic, handles } = (exported ?? {}) as { logic?: unknown; handles?: unknown };
  if (logic !== undefined && handles !== undefined) return exported as ActorDefinition;
  return defineActor(exported as Parameters<typeof defineActor>[0]);
}

/** Any of the forms in which a history may have been kept. */
function historyIn(file: string, type: string, id: string): KeptRevision[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new ControlError("NotFound", `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const kept = entriesIn(text, file).map(keptIn);
  return kept.filter((one) => isOf(one, type, id));
}

function entriesIn(text: string, file: string): readonly unknown[] {
  try {
    const whole = JSON.parse(text) as unknown;
    return Array.isArray(whole) ? whole : [whole];
  } catch {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    try {
      return lines.map((line) => JSON.parse(line) as unknown);
    } catch (cause) {
      throw new ControlError("InvalidRequest", `${file} is neither JSON nor lines of it`, { cause });
    }
  }
}

function keptIn(entry: unknown): KeptRevision {
  const { document, text, by, data, value } = (entry ?? {}) as {
    document?: unknown;
    text?: unknown;
    by?: unknown;
    data?: unknown;
    value?: unknown;
  };
  const author = by === "hand" ? "hand" : "runtime";
  if (typeof text === "string") return { text, by: author };
  if (document !== undefined) return { text: JSON.stringify(document), by: author };
  if (typeof data === "string") return { text: Buffer.from(data, "base64").toString("utf8"), by: author };
  if (typeof value === "string") return { text: value, by: author };
  return { text: JSON.stringify(entry), by: author };
}

/** A journal holds more than one actor. What cannot be read is shown: it may be the incident. */
function isOf({ text }: KeptRevision, type: string, id: string): boolean {
  try {
    const document = readDocument(text);
    return document.type === type && document.id === id;
  } catch {
    return true;
  }
}

async function fork(
  definition: ActorDefinition,
  history: readonly KeptRevision[],
  revision: string,
  fault: string,
): ReturnType<Command["run"]> {
  const { forkIncident, isForkFault, forkFaults } = await import("../../simulations/incidents/fork.ts");
  if (!isForkFault(fault)) throw new UsageError(`--fault is ${fault}; it must be one of ${forkFaults.join(", ")}`);
  const outcome = await forkIncident({ definition, history, revision: Number(revision), fault });
  const lines = outcome.steps.map(({ at, text }) => `${at.toFixed(1).padStart(9)} ms  ${readable(text)}`);
  const ends = outcome.isSameEnd ? "ends as it did then" : `ends otherwise: ${differencesText(outcome.differences)}`;
  return { json: outcome, text: `${lines.join("\n")}\nfrom revision ${revision}, with fault ${fault}: ${ends}\n` };
}

function stepText(step: ReplayedStep): string {
  const { revision, at, state, causes, changes, begun, ended, verdict } = step;
  const lines = [`${revision ?? "?"}  ${at ?? ""}  ${readable(state ?? "(unreadable)")}`];
  for (const { type, ...more } of causes)
    lines.push(`     cause   ${readable(clipped(`${type} ${JSON.stringify(more)}`, 160))}`);
  for (const change of changes) lines.push(`     change  ${differenceText(change)}`);
  for (const text of begun) lines.push(`     begins  ${readable(clipped(text, 160))}`);
  for (const text of ended) lines.push(`     ends    ${readable(clipped(text, 160))}`);
  return `${lines.join("\n")}\n     ${verdictText(verdict)}`;
}

function verdictText(verdict: ReplayedStep["verdict"]): string {
  switch (verdict.kind) {
    case "same":
      return "proved: the machine makes the same of it";
    case "differs":
      return `DIFFERS: stored, and what it is now: ${differencesText(verdict.differences)}`;
    case "refused":
      return `DIFFERS: it is refused now: ${readable(verdict.why)}`;
    case "unproved":
      return `not proved: ${readable(verdict.why)}`;
  }
}

function differencesText(differences: readonly Difference[]): string {
  return differences.map(differenceText).join("; ");
}

function differenceText({ path, before, after }: Difference): string {
  const side = (value: unknown) => (value === undefined ? "nothing" : clipped(JSON.stringify(value), 60));
  return readable(`${path}: ${side(before)} -> ${side(after)}`);
}
