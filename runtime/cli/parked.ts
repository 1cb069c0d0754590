import type { ParkedRow } from "../control/verbs.ts";
import { type Command, nothingMore } from "./command.ts";
import { clipped, readable, table } from "./readable.ts";

export const parked: Command = {
  usage: "parked",
  summary: "list actors that are set aside, and why",
  options: [],
  details: `Mend the reason, then \`holdfast resume\`:
threw         the machine threw on an event of the actor's own: deploy a machine that does not
action        a custom action failed after all its attempts
missing       a pending action is not in the machine any more: deploy a machine that has it
foreign       a person wrote or deleted the document, or it has rotted on the disk (look with \`holdfast get\`): resume --accept
              takes it, --discard puts the last good one back; if none is kept, restore a backup
damaged       the document cannot be read: resume --discard puts the last good one back; if none is kept, restore a backup
incompatible  the stored state is not in the machine any more: deploy one with \`migrate\`, or the older one; the actor then goes
              on by itself. REFUSED BY tells which releases could not run it: version and hash of the machine, as in documents`,

  async run({ args, session }) {
    nothingMore(args);
    const rows = await (await session()).ask("parked", {});
    return {
      json: rows,
      text:
        rows.length === 0
          ? "nothing is parked\n"
          : table(["TYPE", "ID", "SINCE", "REASON", "REFUSED BY", "MESSAGE"], rows.map(cells)),
    };
  },
};

function cells({ type, id, at, reason, message, input, refusedBy = [] }: ParkedRow): readonly string[] {
  const during = input === undefined ? "" : ` (during ${input})`;
  const releases = refusedBy.map(({ version, hash }) => `version ${version} ${hash}`).join(", ");
  return [type, readable(id), at, reason, clipped(readable(releases), 100), clipped(readable(message + during), 300)];
}
