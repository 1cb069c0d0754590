import type { JobRow } from "../control/job-rows.ts";
import { type Call, type Command, nothingMore, type Shown, UsageError } from "./command.ts";
import { clipped, readable, table } from "./readable.ts";

export const jobs: Command = {
  usage: "jobs [--watch | remove <name>]",
  summary: "list scheduled jobs, or end one",
  options: ["watch"],
  details: `--watch    show them again every second, until it is interrupted; with --json a line each time
OWNER      who did the latest run: a node, or its session where that is over
LATE       how late the latest run began, in milliseconds
MISSED     slots that were not begun in time and not made good for
OVERLAP    slots that were left out because earlier work was still running
remove     ends a job at once: no further slot begins, what runs is asked to end. A process that schedules it afterwards, or
           becomes its owner while it still schedules it, brings it back as a new job. To have it wait, send it {"type":"PAUSE"}`,

  async run(call) {
    const [verb, name, ...more] = call.args;
    if (verb === "remove") return remove(call, name, more);
    nothingMore(call.args);
    if (call.options.watch === true) await call.watch(() => show(call));
    return show(call);
  },
};

async function remove({ session, options }: Call, name: string | undefined, more: readonly string[]): Promise<Shown> {
  if (name === undefined) throw new UsageError("it needs the name of the job to remove");
  if (options.watch === true) throw new UsageError("--watch goes with the list");
  nothingMore(more);
  const removed = await (await session()).ask("removeJob", { name });
  return { json: removed, text: `${readable(name)} ${removed.changed ? "is removed" : "was removed before"}\n` };
}

async function show({ session }: Call): Promise<Shown> {
  const opened = await session();
  const rows = await opened.ask("jobs", {});
  return {
    json: rows,
    text: rows.length === 0 ? "no jobs\n" : table(headings, rows.map(cells)),
    notes: opened.isHosted || rows.length === 0 ? [] : ["no host runs: nothing is begun until one does"],
  };
}

const headings = [
  "JOB",
  "STATE",
  "NEXT",
  "LAST",
  "LATE",
  "OWNER",
  "TOKEN",
  "BEGUN",
  "FAILED",
  "MISSED",
  "OVERLAP",
  "NOTES",
];

function cells(row: JobRow): readonly string[] {
  if (row.problem !== undefined)
    return [readable(row.name), ...headings.slice(2).map(() => ""), clipped(readable(row.problem), 100)];
  const { begun, failed, missed, overlap } = row;
  return [
    readable(row.name),
    row.state,
    row.next ?? "",
    row.last ?? "",
    row.lateMs === null ? "" : String(row.lateMs),
    readable(row.node ?? row.owner ?? ""),
    row.token,
    ...[begun, failed, missed, overlap].map(String),
    notesOf(row),
  ];
}

function notesOf({ running, waiting, full, paused }: JobRow): string {
  const notes: string[] = [];
  if (running > 0) notes.push(`${running} running`);
  if (waiting > 0) notes.push(`${waiting} waiting`);
  if (full > 0) notes.push(`${full} found no room to wait`);
  if (paused > 0) notes.push(`${paused} while paused`);
  return notes.join(", ");
}
