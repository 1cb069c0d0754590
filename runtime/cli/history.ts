import type { StoredText } from "../control/verbs.ts";
import { type Cause, type Document, readDocument } from "../document.ts";
import { actorIn, type Command, limitIn, nothingMore } from "./command.ts";
import { clipped, readable, table } from "./readable.ts";

export const history: Command = {
  usage: "history <type> <id> [--limit n]",
  summary: "show an actor's kept revisions, and what caused them",
  options: ["limit"],
  details: `The oldest first; --limit keeps the latest. --json adds each revision's whole document. A store keeps the last
10 revisions of an actor unless it was opened with another number: embedded(dir, { historyDepth }), jetstream({ history }).
A takeover of an actor with work pending counts as one (holdfast.claim).`,

  async run({ args, options, session }) {
    const { type, id, rest } = actorIn(args);
    nothingMore(rest);
    const limit = limitIn(options.limit);
    const revisions = await (await session()).ask("history", {
      type,
      id,
      ...(limit !== undefined && { limit: Math.min(limit, 1_000) }),
    });
    const rows = revisions.map(rowOf);
    return { json: rows, text: table(["REVISION", "AT", "STATE", "STATUS", "BY", "CAUSES"], rows.map(cells)) };
  },
};

type Row = Pick<StoredText, "storeRevision" | "by"> &
  (
    | { readonly problem: string; readonly text: string }
    | (Pick<Document, "at" | "state" | "status" | "causes"> & {
        readonly revision: number;
        readonly document: Document;
      })
  );

function rowOf({ storeRevision, by, text }: StoredText): Row {
  try {
    const document = readDocument(text);
    const { seq: revision, at, state, status, causes } = document;
    return { revision, storeRevision, at, state, status, by, causes, document };
  } catch (error) {
    return { storeRevision, by, problem: (error as Error).message, text };
  }
}

function cells(row: Row): readonly string[] {
  const by = row.by === "hand" ? "hand" : "";
  if ("problem" in row) return ["?", "", "(unreadable)", "", by, readable(row.problem)];
  const causes = clipped(row.causes.map(causeText).join("; "), 120);
  return [String(row.revision), row.at, readable(clipped(row.state, 40)), row.status, by, readable(causes)];
}

function causeText({ type, ...rest }: Cause): string {
  return Object.keys(rest).length === 0 ? type : `${type} ${JSON.stringify(rest)}`;
}
