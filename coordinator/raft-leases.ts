/** Leases for services without NATS: one process alone, or three or five that keep a log together. */
import { hostname } from "node:os";
import { consoleLogger } from "../runtime/adapters/console-logger.ts";
import { SystemClock } from "../runtime/adapters/system-clock.ts";
import { SystemRandom } from "../runtime/adapters/system-random.ts";
import type { Logger } from "../runtime/ports/logger.ts";
import { Files } from "./backends/raft/files.ts";
import { RaftLeases } from "./backends/raft/leases.ts";
import { Member } from "./backends/raft/member.ts";
import { MemoryDisk } from "./backends/raft/memory-disk.ts";
import { clusterProblem, type MemberAddress, type PeerTls, TcpPeers } from "./backends/raft/tcp-peers.ts";
import { LeaseInvalidOption } from "./lease/errors.ts";
import { UserLeases } from "./lease/user-leases.ts";
import { ttlProblem } from "./lease/validity.ts";
import type { LeaseService } from "./ports/lease-service.ts";
import type { Peers } from "./ports/peers.ts";

export type RaftLeasesOptions = {
  /** The same for all members, and for no other cluster. Default: "holdfast". */
  readonly cluster?: string;
  /** Where this member keeps its log; no other may use the folder. Default: in memory, which only one alone may do. */
  readonly directory?: string;
  /** Which member this is, and where all of them are, this one too, by their ids. Default: one member alone. */
  readonly self?: number;
  readonly members?: Readonly<Record<number, MemberAddress>>;
  /** Required unless all members are on this machine. */
  readonly tls?: PeerTls;
  /** How this process appears among the holders. Default: the host's name and the process number. */
  readonly node?: string;
  /** How soon others may take over from a process that fell silent, in milliseconds. Default: 3,000. */
  readonly ttlMs?: number;
  readonly logger?: Logger;
};

export type RaftMember = {
  readonly leases: UserLeases;
  readonly service: LeaseService<"log-index">;
  readonly member: Member;
  /** Gives all leases back and stops this member. */
  close(): Promise<void>;
};

/**
 * Rejects with LeaseInvalidOption, with the errors of a log's folder (LogInUse, LogReadOnly, LogNoFolder, LogOfAnother,
 * HardStateLost, DiskFullError) and with PeersInvalidOption; nothing is left open then.
 */
export async function raftLeases(options: RaftLeasesOptions = {}): Promise<RaftMember> {
  const { cluster = "holdfast", self = 1, members = {}, ttlMs = 3_000 } = options;
  const problem = wrongIn(options);
  if (problem !== undefined) throw new LeaseInvalidOption(problem);
  const clock = new SystemClock();
  const random = new SystemRandom();
  const logger = options.logger ?? consoleLogger("warn");
  const closing: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    const disk = options.directory === undefined ? new MemoryDisk() : await Files.open(options.directory);
    if (disk instanceof Files) closing.push(() => disk.close());
    const places = new Map(Object.entries(members).map(([id, address]) => [Number(id), address]));
    const listen = places.get(self);
    let opened: Member | undefined;
    let peers: Peers = { self, send() {}, receive: () => () => {} };
    if (listen !== undefined) {
      const others = new Map([...places].filter(([id]) => id !== self));
      const { tls } = options;
      // One that knows no epoch yet may join; one that knows an older one may not.
      const epoch = () => opened?.table.epoch ?? 0;
      const tcp = await TcpPeers.start({ cluster, epoch, self, listen, members: others, tls, clock, logger });
      closing.push(() => tcp.close());
      peers = tcp;
    }
    const voters = listen === undefined ? [self] : [...places.keys()];
    const member = await Member.open({ cluster, voters, disk, peers, clock, random, logger });
    opened = member;
    closing.push(() => member.close());
    const service = new RaftLeases({ member, clock, random });
    closing.push(() => member.handOver());
    closing.push(() => service.close());
    // The table itself says how often somebody recovered the cluster by hand.
    const epoch = async () => member.table.epoch;
    const node = options.node ?? `${hostname().replaceAll(/[^A-Za-z0-9_-]/g, "-")}-${process.pid}`;
    const leases = new UserLeases({ service, node, ttlMs, clock, logger, epoch, onClosed: close });
    return { leases, service, member, close: () => leases.close() };
  } catch (error) {
    await close();
    throw error;
  }
}

function wrongIn({ cluster = "holdfast", self = 1, members = {}, directory, ttlMs = 3_000 }: RaftLeasesOptions) {
  const ids = Object.keys(members).map(Number);
  const ttl = ttlProblem(ttlMs);
  if (ttl !== undefined) return `\`ttlMs\`: ${ttl}`;
  const name = clusterProblem(cluster);
  if (name !== undefined) return name;
  if (![self, ...ids].every((id) => Number.isSafeInteger(id) && id > 0))
    return "ids of members are whole numbers from 1";
  if (ids.length === 0) return undefined;
  if (!ids.includes(self)) return `\`members\` must say where this member, ${self}, is to listen`;
  // Of two, one that is gone can never be removed.
  if (ids.length === 2) return "a cluster has one, three or five members; of two, neither may fail";
  if (ids.length > 1 && directory === undefined) return "members of a cluster need a `directory` each for their logs";
  return undefined;
}
