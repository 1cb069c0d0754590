import type { NodeRow } from "../control/verbs.ts";
import { type Command, nothingMore } from "./command.ts";
import { leasesOf } from "./lease-entries.ts";
import { clipped, readable, table } from "./readable.ts";

export const nodes: Command = {
  usage: "nodes",
  summary: "list the processes that host actors of a bucket",
  options: [],
  details: `PARTITIONS is how many each owns. A node that is silent for longer than its time to live is taken over by the
others; one with a problem takes no partitions until it is mended. On NATS only.`,

  async run({ args, nats }) {
    nothingMore(args);
    const found = await leasesOf(await nats());
    const rows = found.nodes;
    const headings = ["NODE", "PARTITIONS", "SILENT", "TTL", "STATE", "PROBLEM"];
    return { json: rows, text: rows.length === 0 ? "no node is alive\n" : table(headings, rows.map(cells)) };
  },
};

function cells({ node, partitions, silentMs, ttlMs, isDraining, problem }: NodeRow): readonly string[] {
  const state = isDraining ? "draining" : silentMs > ttlMs ? "silent" : "alive";
  return [
    readable(node),
    String(partitions.length),
    `${silentMs} ms`,
    `${ttlMs} ms`,
    state,
    clipped(readable(problem ?? ""), 300),
  ];
}
