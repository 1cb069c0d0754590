import type { BucketInfo, DirectoryInfo } from "../control/verbs.ts";
import { type Command, nothingMore } from "./command.ts";

export const info: Command = {
  usage: "info",
  summary: "show the store and its host",
  options: [],

  async run({ args, session }) {
    nothingMore(args);
    const answer = await (await session()).ask("info", {});
    const facts = "nats" in answer ? bucketFacts(answer) : directoryFacts(answer);
    const width = Math.max(...facts.map(([name]) => name.length));
    return { json: answer, text: facts.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("") };
  },
};

type Facts = readonly (readonly [name: string, value: string])[];

function bucketFacts({ nats, nodes, store }: BucketInfo): Facts {
  const { server, version, bucket, app, partitions } = nats;
  const { identity, durability, maxValueBytes, historyDepth } = store;
  const owners = (nodes ?? []).map((one) => `${one.node} (${one.partitions.length})`);
  return [
    ["server", `${server}, nats-server ${version}`],
    ["bucket", `${bucket}, asked through holdfast.${app}, ${partitions} partitions`],
    // What the server does with its disk it does not tell: `holdfast doctor` says what is known.
    ["store", `${identity}; an acknowledged event survives: ${durability}`],
    ["documents", `at most ${maxValueBytes} bytes, the last ${historyDepth} revisions kept`],
    ["nodes", nodes === null ? "not shown to this user" : owners.join(", ") || "none is alive"],
  ];
}

function directoryFacts({ directory, host, store }: DirectoryInfo): Facts {
  const { identity, durability, maxValueBytes, historyDepth } = store;
  const facts: Facts = [
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
