import { SystemRandom } from "../adapters/system-random.ts";
import { ControlError } from "../control/errors.ts";
import type { Clock } from "../ports/clock.ts";
import { type Command, nothingMore, type Shown, UsageError } from "./command.ts";
import { type LeaseRow, leasesInUse, leasesOf, readLeases } from "./lease-entries.ts";
import type { NatsLink } from "./nats-target.ts";
import { askMember, identityOf, isMemberFolder } from "./raft.ts";
import { readable, table } from "./readable.ts";

export const leases: Command = {
  usage: "leases [adopt]",
  summary: "list the leases of a bucket, and who holds them",
  options: ["raft"],
  details: `Those of partitions are called p00, p01, …. INDEX is the lower part of the tokens that come with the lease; it
grows with every grant and stays the same while the holder lives. On NATS, or of the Raft member whose folder is --data.
adopt  declares that the actors are run under these leases from now on, where they were made anew (the bucket of leases
       was lost, or restored): the epoch is raised, so that tokens of before count for less. Stop every runtime first.
       With --raft <dir>, the folder of a member, its cluster grants them from now on.`,

  async run({ args, options, directory, isOnNats, nats, clock }) {
    const [what, ...rest] = args;
    nothingMore(what === "adopt" ? rest : args);
    if (what === "adopt") return adopt(await nats(), clock, options.raft);
    if (options.raft !== undefined) throw new UsageError("only adopt takes --raft");
    if (!isOnNats() && isMemberFolder(directory)) return listMember(directory);
    if (options.data !== undefined)
      throw new ControlError("StoreNotFound", `there is no member in ${directory}: name its folder with --data`);
    return list(await nats());
  },
};

async function list(link: NatsLink): Promise<Shown> {
  const { leases: rows } = await leasesInUse(link);
  const text =
    rows.length === 0 ? "nothing is leased\n" : table(["LEASE", "INDEX", "HOLDER", "SESSION"], rows.map(cells));
  return { json: rows, text };
}

function cells({ lease, index, node, session }: LeaseRow): readonly string[] {
  return [readable(lease), String(index), node === null ? "(free)" : readable(node), readable(session)];
}

async function listMember(directory: string): Promise<Shown> {
  const json = await askMember(directory, "leases", {});
  const leases = table(
    ["LEASE", "INDEX", "HOLDER", "SESSION"],
    json.leases.map(({ lease, index, node, session }) => [readable(lease), String(index), readable(node), session]),
  );
  const sessions = table(
    ["SESSION", "NODE", "TTL", "LEASES"],
    json.sessions.map(({ session, node, ttlMs, leases }) => [session, readable(node), `${ttlMs} ms`, String(leases)]),
  );
  if (json.sessions.length === 0) return { json, text: "nothing is leased, and nobody is alive\n" };
  return { json, text: `${json.leases.length === 0 ? "nothing is leased\n" : leases}\n${sessions}` };
}

async function adopt(link: NatsLink, clock: Clock, raftFolder: string | undefined): Promise<Shown> {
  const { api, requests, target } = link;
  const entries = raftFolder === undefined ? await leasesOf(link) : await readLeases(api, `${target.bucket}-leases`);
  const alive = entries?.nodes.find(({ silentMs, ttlMs }) => silentMs <= ttlMs);
  if (alive !== undefined)
    throw new ControlError("NotAllowed", `${alive.node} is alive: stop every runtime of this bucket first`);
  // Only now: whoever has no store on NATS need not have its packages.
  const { JetStreamStore } = await import("../adapters/jetstream/jetstream-store.ts");
  const { adoptBackend } = await import("../../coordinator/lease/epoch.ts");
  const ports = { clock, random: new SystemRandom(), logger: { debug() {}, info() {}, warn() {}, error() {} } };
  const open = (bucket: string) =>
    JetStreamStore.open(requests, { bucket, create: false, ...(target.domain && { domain: target.domain }) }, ports);
  const identityOfBucket = async () => {
    const backend = await open(`${target.bucket}-leases`);
    await backend.close();
    return backend.info.identity;
  };
  const identity = raftFolder === undefined ? await identityOfBucket() : await identityOf(raftFolder, clock);
  const store = await open(target.bucket);
  try {
    const epoch = await api.naming(() => adoptBackend({ ...ports, store }, identity));
    return { json: { epoch, backend: identity }, text: `${identity} grants from now on, in epoch ${epoch}\n` };
  } finally {
    await store.close();
  }
}
