import { resolve } from "node:path";
import { type Command, nothingMore, UsageError } from "./command.ts";

export const backup: Command = {
  usage: "backup <dir>",
  summary: "copy the store into another directory, while its host goes on",
  options: [],
  details: `Everything that was acknowledged before is in the copy. The directory must not hold a store yet. To restore, stop
the host and start it on the copy.`,

  async run({ args, session, directory }) {
    const [target, ...rest] = args;
    if (target === undefined) throw new UsageError("it needs the directory to copy to");
    nothingMore(rest);
    const { ask } = await session();
    const done = await ask("backup", { directory: resolve(target) });
    return {
      json: { from: resolve(directory), to: done.directory },
      text: `copied ${directory} to ${done.directory}\n`,
    };
  },
};
