import { codeOf } from "../control/errors.ts";
import type { ParkedRow, StoredText } from "../control/verbs.ts";
import { type Document, readDocument } from "../document.ts";
import { actorIn, type Command, nothingMore, ShownFailure } from "./command.ts";
import { prettyJson, readable } from "./readable.ts";

export const get: Command = {
  usage: "get <type> <id>",
  summary: "show an actor's document",
  options: [],
  details: "--json prints the document as it is stored. One that cannot be read is an error, and shown as it is.",

  async run({ args, session }) {
    const { type, id, rest } = actorIn(args);
    nothingMore(rest);
    const found = await (await session()).ask("get", { type, id });
    const head = `${type}.${readable(id)}`;
    let document: Document;
    try {
      document = readDocument(found.text);
    } catch (error) {
      const text = `${head}  revision ${found.storeRevision} of the store\n${remarks(found)}${lines(found.text)}\n`;
      throw new ShownFailure(
        codeOf(error) ?? "Damaged",
        `the document of ${head} cannot be read: ${(error as Error).message}`,
        text,
      );
    }
    const { state, status, seq, at } = document;
    const text = `${head}  ${readable(state)}  ${status}  revision ${seq}  ${at}\n${remarks(found)}${prettyJson(document)}\n`;
    return { json: JSON.parse(found.text), text };
  },
};

function remarks({ by, parked }: StoredText & { readonly parked?: ParkedRow }): string {
  const hand = by === "hand" ? "written by hand: no runtime wrote this revision, or it has rotted on the disk\n" : "";
  if (parked === undefined) return hand;
  const during = parked.input === undefined ? "" : ` (during ${parked.input})`;
  return `${hand}parked since ${parked.at}: ${parked.reason}: ${readable(parked.message + during)}\n`;
}

/** What a damaged document holds, without what could move the cursor. */
function lines(text: string): string {
  return text
    .split("\n")
    .map((line) => (line === "" ? "" : readable(line)))
    .join("\n");
}
