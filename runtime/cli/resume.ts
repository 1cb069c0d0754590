import { actorIn, type Command, nothingMore, UsageError } from "./command.ts";
import { readable } from "./readable.ts";

export const resume: Command = {
  usage: "resume <type> <id> [--accept | --discard]",
  summary: "let a parked actor go on",
  options: ["accept", "discard"],
  details: `--accept   takes what a person wrote as the document; after a person's deletion, the actor is gone
--discard  puts the last document that a runtime wrote back
Without either, it is tried as it is. If the reason is still there, the actor is parked again.`,

  async run({ args, options, session }) {
    const { type, id, rest } = actorIn(args);
    nothingMore(rest);
    if (options.accept === true && options.discard === true)
      throw new UsageError("choose --accept or --discard, not both");
    const mode = options.accept === true ? "accept" : options.discard === true ? "discard" : "retry";
    const { ask } = await session();
    await ask("resume", { type, id, mode });
    return {
      json: { type, id, mode },
      text: `resumed ${type}.${readable(id)}; if the reason is still there, it is parked again\n`,
    };
  },
};
