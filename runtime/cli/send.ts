import type { SendResult } from "../client.ts";
import { actorIn, type Command, jsonIn, nothingMore, UsageError } from "./command.ts";

const example = '{"type":"PAY","amount":90}';

export const send: Command = {
  usage: "send <type> <id> '<event json>' [--key k]",
  summary: "send an event, and wait until it is durable",
  options: ["key"],
  details: `The event is JSON, like '${example}'; a date in it is {"@date":"2026-11-20T15:00:00.000Z"}, as in documents.
--key makes repetitions safe: the same event under the same key is applied once. Scripts should give one.`,

  async run({ args, options, session }) {
    const { type, id, rest } = actorIn(args);
    const [eventText, ...more] = rest;
    if (eventText === undefined) throw new UsageError(`it needs an event, like '${example}'`);
    nothingMore(more);
    const event = jsonIn(eventText, "event", example);
    const result = await (await session()).ask("send", {
      type,
      id,
      event,
      ...(options.key !== undefined && { key: options.key }),
    });
    return { json: result, text: `${outcomeText(result)}, revision ${result.revision}\n` };
  },
};

function outcomeText({ changed, duplicate }: SendResult): string {
  if (duplicate) return "done before under this key";
  return changed ? "applied" : "recorded; the machine ignored it";
}
