import { actorIn, type Command, jsonIn, nothingMore } from "./command.ts";

export const create: Command = {
  usage: "create <type> <id> ['<input json>'] [--key k]",
  summary: "create an actor",
  options: ["key"],
  details: "--key makes repetitions safe: without one, an actor that exists is an error.",

  async run({ args, options, session }) {
    const { type, id, rest } = actorIn(args);
    const [inputText, ...more] = rest;
    nothingMore(more);
    const input = inputText === undefined ? {} : { input: jsonIn(inputText, "input", '{"total":90}') };
    const result = await (await session()).ask("create", {
      type,
      id,
      ...input,
      ...(options.key !== undefined && { key: options.key }),
    });
    return {
      json: result,
      text: `${result.duplicate ? "created before under this key" : "created"}, revision ${result.revision}\n`,
    };
  },
};
