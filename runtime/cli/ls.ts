import { ControlError } from "../control/errors.ts";
import type { ActorRow } from "../control/verbs.ts";
import { type Command, limitIn, nothingMore, statusIn } from "./command.ts";
import { clipped, readable, table } from "./readable.ts";

const askedAtOnce = 1_000;

export const ls: Command = {
  usage: "ls [type] [--state s] [--tag t] [--status s] [--limit n]",
  summary: "list actors",
  options: ["state", "tag", "status", "limit"],
  details: `--state    only actors in this state, or inside it: paying, open.editing; in all of several: packing.sealed,payment.paid
--tag      only actors whose state has this tag
--status   active, done, error, stopped or deleted; deleted ones are listed only when asked for
--limit    at most this many, 1,000 if not given`,

  async run({ args, options, session }) {
    const [type, ...rest] = args;
    nothingMore(rest);
    const limit = limitIn(options.limit) ?? askedAtOnce;
    const status = statusIn(options.status);
    const filter = {
      ...(type !== undefined && { type }),
      ...(options.state !== undefined && { state: options.state }),
      ...(options.tag !== undefined && { tag: options.tag }),
      ...(status !== undefined && { status }),
    };
    const { ask } = await session();
    const rows: ActorRow[] = [];
    let unknown: string | null | undefined;
    // One more than wanted tells whether there are more.
    for (let after: string | undefined; rows.length <= limit; ) {
      const asked = Math.min(limit + 1 - rows.length, askedAtOnce);
      const answer = await ask("ls", { ...filter, limit: asked, ...(after !== undefined && { after }) });
      const { actors, next } = answer;
      unknown = answer.unknown;
      rows.push(...actors);
      if (next === undefined) break;
      after = next;
    }
    // What an earlier release left is listed all the same.
    if (rows.length === 0 && typeof unknown === "string") throw new ControlError("InvalidRequest", unknown);
    const isNamed = type !== undefined || options.state !== undefined || options.tag !== undefined;
    const shown = rows.slice(0, limit);
    const text =
      shown.length === 0 ? `no ${type === undefined ? "" : `${type} `}actors\n` : table(headings, shown.map(cells));
    return {
      json: shown,
      text,
      notes:
        rows.length > limit
          ? [`there are more than ${limit}: see others with --limit, --state, --tag or --status`]
          : rows.length === 0 && isNamed && unknown === undefined
            ? ["none was found; whether there is such a type, state or tag, only a host knows that runs on a directory"]
            : [],
    };
  },
};

const headings = ["TYPE", "ID", "STATE", "STATUS", "REVISION", "AT", "NOTES"];

function cells(row: ActorRow): readonly string[] {
  const isReadable = row.problem === undefined;
  return [
    row.type,
    readable(row.id),
    readable(clipped(row.state, 60)),
    isReadable ? row.status : "",
    isReadable ? String(row.revision) : "",
    row.at ?? "",
    clipped(readable(notesOf(row)), 100),
  ];
}

function notesOf({ parked, problem, pending, nextTimer }: ActorRow): string {
  const notes: string[] = [];
  if (parked !== undefined) notes.push(`parked: ${parked}`);
  if (problem !== undefined) notes.push(problem);
  if (pending > 0) notes.push(`${pending} pending`);
  if (nextTimer !== null) notes.push(`timer ${nextTimer}`);
  return notes.join(", ");
}
