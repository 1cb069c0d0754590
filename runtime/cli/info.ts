import type { InfoAnswer } from "../control/verbs.ts";
import { type Command, nothingMore } from "./command.ts";

export const info: Command = {
  usage: "info",
  summary: "show the store and its host",
  options: [],

  async run({ args, session }) {
    nothingMore(args);
    const answer = await (await session()).ask("info", {});
    const facts = factsOf(answer);
    const width = Math.max(...facts.map(([name]) => name.length));
    return { json: answer, text: facts.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("") };
  },
};

function factsOf({ directory, host, store }: InfoAnswer): readonly (readonly [string, string])[] {
  const { identity, durability, maxValueBytes, historyDepth } = store;
  const facts: (readonly [string, string])[] = [
    ["directory", directory],
    ["store", `${identity}; an acknowledged event survives: ${durability}`],
    ["documents", `at most ${maxValueBytes} bytes, the last ${historyDepth} revisions kept`],
  ];
  if (host === null) return [...facts, ["host", "none runs"]];
  const counts = Object.entries(host.counts).map(([what, count]) => `${what} ${count}`);
  return [
    ...facts,
    ["host", `process ${host.pid}`],
    ["types", host.types.join(", ")],
    ["actors", `${host.hotActors} in memory, ${host.pendingActors} with pending work, ${host.parkedActors} parked`],
    ["since start", counts.join(", ")],
  ];
}
