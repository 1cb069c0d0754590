import { SystemRandom } from "../adapters/system-random.ts";
import { ControlError } from "../control/errors.ts";
import type { Clock } from "../ports/clock.ts";
import { type Command, nothingMore, type Shown } from "./command.ts";
import { type LeaseRow, leasesOf } from "./lease-entries.ts";
import type { NatsLink } from "./nats-target.ts";
import { readable, table } from "./readable.ts";

export const leases: Command = {
  usage: "leases [adopt]",
  summary: "list the leases of a bucket, and who holds them",
  options: [],
  details: `Those of partitions are called p00, p01, …. INDEX is the lower part of the tokens that come with the lease; it
grows with every grant and stays the same while the holder lives. On NATS only.
adopt  declares that the actors are run under these leases from now on, where they were made anew (the bucket of leases
       was lost, or restored): the epoch is raised, so that tokens of before count for less. Stop every runtime first.`,

  async run({ args, nats, clock }) {
    const [what, ...rest] = args;
    nothingMore(what === "adopt" ? rest : args);
    const link = await nats();
    return what === "adopt" ? adopt(link, clock) : list(link);
  },
};

async function list(link: NatsLink): Promise<Shown> {
  const { leases: rows } = await leasesOf(link);
  const text =
    rows.length === 0 ? "nothing is leased\n" : table(["LEASE", "INDEX", "HOLDER", "SESSION"], rows.map(cells));
  return { json: rows, text };
}

function cells({ lease, index, node, session }: LeaseRow): readonly string[] {
  return [readable(lease), String(index), node === null ? "(free)" : readable(node), readable(session)];
}

async function adopt(link: NatsLink, clock: Clock): Promise<Shown> {
  const { api, requests, target } = link;
  const { nodes } = await leasesOf(link);
  const alive = nodes.find(({ silentMs, ttlMs }) => silentMs <= ttlMs);
  if (alive !== undefined)
    throw new ControlError("NotAllowed", `${alive.node} is alive: stop every runtime of this bucket first`);
  // Only now: whoever has no store on NATS need not have its packages.
  const { JetStreamStore } = await import("../adapters/jetstream/jetstream-store.ts");
  const { adoptBackend } = await import("../../coordinator/lease/epoch.ts");
  const ports = { clock, random: new SystemRandom(), logger: { debug() {}, info() {}, warn() {}, error() {} } };
  const open = (bucket: string) =>
    JetStreamStore.open(requests, { bucket, create: false, ...(target.domain && { domain: target.domain }) }, ports);
  const backend = await open(`${target.bucket}-leases`);
  const store = await open(target.bucket);
  try {
    const epoch = await api.naming(() => adoptBackend({ ...ports, store }, backend.info.identity));
    const { identity } = backend.info;
    return { json: { epoch, backend: identity }, text: `${identity} grants from now on, in epoch ${epoch}\n` };
  } finally {
    await store.close();
    await backend.close();
  }
}
