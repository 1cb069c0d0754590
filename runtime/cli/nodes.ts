import type { NodeRow } from "../control/verbs.ts";
import { type Command, nothingMore } from "./command.ts";
import { leasesInUse } from "./lease-entries.ts";
import { clipped, readable, table } from "./readable.ts";

export const nodes: Command = {
  usage: "nodes",
  summary: "list the processes that host actors of a bucket",
  options: [],
  details: `PARTITIONS is how many each owns; WEIGHT and ZONE, where they are given, say how large its share is to be. A node that is silent for longer than its time to live is taken over by the
others; one with a problem takes no partitions until it is mended. On NATS only.`,

  async run({ args, nats }) {
    nothingMore(args);
    const found = await leasesInUse(await nats());
    const rows = found.nodes;
    const headings = ["NODE", "PARTITIONS", "WEIGHT", "ZONE", "SILENT", "TTL", "STATE", "PROBLEM"];
    return { json: rows, text: rows.length === 0 ? "no node is alive\n" : table(headings, rows.map(cells)) };
  },
};

function cells({ node, partitions, weight, zone, silentMs, ttlMs, isDraining, problem }: NodeRow): readonly string[] {
  const state = isDraining ? "draining" : silentMs > ttlMs ? "silent" : "alive";
  return [
    readable(node),
    String(partitions.length),
    weight === undefined ? "" : String(weight),
    readable(zone ?? ""),
    `${silentMs} ms`,
    `${ttlMs} ms`,
    state,
    clipped(readable(problem ?? ""), 300),
  ];
}
