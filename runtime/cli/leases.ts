import { type Command, nothingMore } from "./command.ts";
import { type LeaseRow, leasesOf } from "./lease-entries.ts";
import { readable, table } from "./readable.ts";

export const leases: Command = {
  usage: "leases",
  summary: "list the leases of a bucket, and who holds them",
  options: [],
  details: `Those of partitions are called p0, p1, …. INDEX is the lower part of the tokens that come with the lease; it grows
with every grant and stays the same while the holder lives. On NATS only.`,

  async run({ args, nats }) {
    nothingMore(args);
    const found = await leasesOf(await nats());
    const rows = found.leases;
    const text =
      rows.length === 0 ? "nothing is leased\n" : table(["LEASE", "INDEX", "HOLDER", "SESSION"], rows.map(cells));
    return { json: rows, text };
  },
};

function cells({ lease, index, node, session }: LeaseRow): readonly string[] {
  return [readable(lease), String(index), node === null ? "(free)" : readable(node), readable(session)];
}
