/** Leases for services without NATS: one process alone, or three or five that keep a log together. */
import { setImmediate as turn } from "node:timers/promises";
import { consoleLogger } from "../runtime/adapters/console-logger.ts";
import { openInSteps } from "../runtime/adapters/in-steps.ts";
import { defaultNodeName } from "../runtime/adapters/node-name.ts";
import { SystemClock } from "../runtime/adapters/system-clock.ts";
import { SystemRandom } from "../runtime/adapters/system-random.ts";
import { startRaftControl } from "../runtime/control/raft-verbs.ts";
import { type KeysOf, refuseUnknown, unknownOptions } from "../runtime/options.ts";
import type { Clock } from "../runtime/ports/clock.ts";
import type { Logger } from "../runtime/ports/logger.ts";
import type { Random } from "../runtime/ports/random.ts";
import { Files } from "./backends/raft/files.ts";
import { RaftLeases } from "./backends/raft/leases.ts";
import { Member } from "./backends/raft/member.ts";
import { MemoryDisk } from "./backends/raft/memory-disk.ts";
import { whySilent } from "./backends/raft/silence.ts";
import {
  clusterProblem,
  formatAddress,
  type MemberAddress,
  type PeerTls,
  parseAddress,
  TcpPeers,
} from "./backends/raft/tcp-peers.ts";
import { LeaseInvalidOption, RaftNotFounded } from "./lease/errors.ts";
import { UserLeases } from "./lease/user-leases.ts";
import { ttlProblem } from "./lease/validity.ts";
import type { LeaseProvider, LeaseService } from "./ports/lease-service.ts";
import type { MemberId, Peers } from "./ports/peers.ts";

export type RaftLeasesOptions = {
  /** The same for all members, and for no other cluster. Default: "holdfast". */
  readonly cluster?: string;
  /** Where this member keeps its log; no other may use the folder. Default: in memory, which only one alone may do. */
  readonly directory?: string;
  /** Which member this is; must be given where there are several. */
  readonly self?: number;
  /** Where all of them are, this one too, by their ids. Default, where `cluster` and `self` are not given either: one alone. */
  readonly members?: Readonly<Record<number, MemberAddress>>;
  /**
   * This member is new in a cluster that runs: `holdfast raft add` has given it its id, and `members` says where it and
   * the others are. It may stay true: a member that has joined reads the membership from its log. Default: false.
   */
  readonly join?: boolean;
  /** Required unless all members are on this machine. */
  readonly tls?: PeerTls;
  /** How this process appears among the holders. Default: the host's name and the process number. */
  readonly node?: string;
  /** How soon others may take over from a process that fell silent, in milliseconds. Default: 3,000. */
  readonly ttlMs?: number;
  readonly logger?: Logger;
};

/** Of one member, however it is begun. */
const memberOptions: KeysOf<Omit<RaftLeasesOptions, "node" | "ttlMs" | "logger">> = {
  cluster: true,
  directory: true,
  self: true,
  members: true,
  join: true,
  tls: true,
};
const raftLeasesOptions: KeysOf<RaftLeasesOptions> = { ...memberOptions, node: true, ttlMs: true, logger: true };
const tlsOptions: KeysOf<PeerTls> = { certificate: true, key: true, authority: true };

export type RaftMember = {
  readonly leases: UserLeases;
  readonly service: LeaseService<"log-index">;
  readonly member: Member;
  /** Gives all leases back and stops this member. */
  close(): Promise<void>;
};

/**
 * Rejects with LeaseInvalidOption, with the errors of a log's folder (LogInUse, LogReadOnly, LogNoFolder, LogOfAnother,
 * HardStateLost, DiskFullError), with PeersInvalidOption and with PeersCannotListen; nothing is left open then.
 */
export async function raftLeases(options: RaftLeasesOptions = {}): Promise<RaftMember> {
  refuseUnknown("options of raftLeases", options, raftLeasesOptions, LeaseInvalidOption);
  const { ttlMs = 3_000 } = options;
  const clock = new SystemClock();
  const logger = options.logger ?? consoleLogger("warn");
  const ports = { clock, random: new SystemRandom(), logger };
  const { service, member, close } = await openMember(options, ports);
  // The table itself says how often somebody recovered the cluster by hand.
  const epoch = async () => member.table.epoch;
  const node = options.node ?? defaultNodeName();
  const leases = new UserLeases({ service, node, ttlMs, clock, logger, epoch, onClosed: close });
  return { leases, service, member, close: () => leases.close() };
}

export type RaftOptions = Omit<RaftLeasesOptions, "node" | "ttlMs" | "logger"> & {
  /** How long `open` waits for most members of a new cluster, in milliseconds. Default: 60,000. */
  readonly startWithinMs?: number;
};

const raftOptions: KeysOf<RaftOptions> = { ...memberOptions, startWithinMs: true };

/**
 * The runtime's leases on Raft, while its documents stay where they are: `jetstream({ …, leases: raft({ … }) })`. Each
 * runtime is one member, or `open` rejects as `raftLeases` does, and with RaftNotFounded.
 */
export function raft(options: RaftOptions): LeaseProvider {
  refuseUnknown("options of raft", options, raftOptions, LeaseInvalidOption);
  return {
    async open(ports) {
      const { startWithinMs = 60_000, ...given } = options;
      const { service, member, close } = await openMember(given, ports);
      const untilMs = ports.clock.monotonic() + startWithinMs;
      while (!member.isFounded || member.status().role === "damaged") {
        if (ports.clock.monotonic() >= untilMs || member.status().role === "failed") {
          await close();
          throw new RaftNotFounded(startWithinMs);
        }
        await new Promise<void>((resolve) => void ports.clock.after(20, resolve));
      }
      return { service, close };
    },
  };
}

type Ports = { readonly clock: Clock; readonly random: Random; readonly logger: Logger };

async function openMember(options: RaftLeasesOptions, ports: Ports) {
  const { cluster = "holdfast", self = 1, members = {}, join = false } = options;
  const problem = wrongIn(options);
  if (problem !== undefined) throw new LeaseInvalidOption(problem);
  const { clock, random, logger } = ports;
  return openInSteps(async (closing, close) => {
    const disk = options.directory === undefined ? new MemoryDisk(() => turn()) : await Files.open(options.directory);
    if (disk instanceof Files) closing.push(() => disk.close());
    const places = new Map(Object.entries(members).map(([id, address]) => [Number(id), address]));
    const listen = places.get(self);
    let opened: Member | undefined;
    let tcp: TcpPeers | undefined;
    if (listen !== undefined) {
      const { tls } = options;
      tcp = await TcpPeers.start({
        cluster,
        self,
        listen,
        // Nobody is dialled before the log is read: the first word says which folder and epoch this member is of.
        members: new Map(),
        tls,
        clock,
        logger,
        // One that knows no epoch yet may join; one that knows an older one may not.
        epoch: () => opened?.epoch ?? 0,
        life: () => opened?.life ?? "",
        isReady: () => opened !== undefined,
        whyForeign: (id, life) => opened?.whyForeign(id, life),
      });
      const { close } = tcp;
      closing.push(() => close.call(tcp));
    }
    const peers: Peers = tcp ?? { self, send() {}, receive: () => () => {} };
    const voters = join ? undefined : listen === undefined ? [self] : [...places.keys()];
    const address = listen === undefined ? "" : formatAddress(listen);
    const member = await Member.open({ cluster, voters, address, disk, peers, clock, random, logger });
    opened = member;
    closing.push(() => member.close());
    const follow = () => tcp?.setMembers(othersOf(self, placesOf(member, places)));
    follow();
    member.onMembers(() => {
      try {
        follow();
      } catch (error) {
        // What is in the log cannot be refused any more: the others are reached as before.
        logger.error("the members are not reached as the log says", { error });
      }
    });
    if (options.directory !== undefined) {
      const control = await startRaftControl({
        directory: options.directory,
        cluster,
        hasTls: options.tls !== undefined,
        member,
        clock,
        random,
        logger,
      });
      if (control !== undefined) closing.push(() => control.stop());
    }
    const service = new RaftLeases({
      ...{ member, clock, random },
      whySilent: () =>
        whySilent({
          status: member.status(),
          failure: member.failure,
          isAlone: tcp === undefined || [...places.keys()].every((id) => id === self),
          refusals: tcp?.refusals ?? new Map(),
        }),
    });
    closing.push(() => member.handOver());
    closing.push(() => service.close());
    return { service, member, close };
  });
}

function othersOf(self: MemberId, places: ReadonlyMap<MemberId, MemberAddress>): Map<MemberId, MemberAddress> {
  return new Map([...places].filter(([id]) => id !== self));
}

/** Who is a member is in the log, and so is where each one is, unless it has not told yet. */
function placesOf(member: Member, configured: ReadonlyMap<MemberId, MemberAddress>): Map<MemberId, MemberAddress> {
  const listed = member.members();
  if (listed.length === 0) return new Map(configured);
  const places = new Map<MemberId, MemberAddress>();
  for (const { id, address } of listed) {
    const place = parseAddress(address) ?? configured.get(id);
    if (place !== undefined) places.set(id, place);
  }
  return places;
}

function wrongIn(options: RaftLeasesOptions) {
  const { cluster = "holdfast", self = 1, members = {}, join = false, directory, ttlMs = 3_000 } = options;
  const ids = Object.keys(members).map(Number);
  const [unknown] = unknownOptions(options.tls, tlsOptions, "tls.");
  if (unknown !== undefined) return unknown;
  const ttl = ttlProblem(ttlMs);
  if (ttl !== undefined) return `\`ttlMs\`: ${ttl}`;
  const name = clusterProblem(cluster);
  if (name !== undefined) return name;
  if (![self, ...ids].every((id) => Number.isSafeInteger(id) && id > 0))
    return "ids of members are whole numbers from 1";
  const place = wrongPlaceIn(members);
  if (place !== undefined) return place;
  if (join && ids.length < 2) return "whoever joins needs `members`: its own address, and those of the cluster";
  // Each process would be a cluster by itself, and grant what the others have granted.
  if (ids.length === 0)
    return isOfSeveral(options)
      ? "`members` names nobody: give the address of every member, this one too; or, for one process alone, none of `cluster`, `self` and `members`"
      : undefined;
  if (ids.length > 1 && options.self === undefined) return "`self` must say which of `members` this one is";
  if (!ids.includes(self)) return `\`members\` must say where this member, ${self}, is to listen`;
  // Of two, one that is gone can never be removed.
  if (ids.length === 2 && !join) return "a cluster has one, three or five members; of two, neither may fail";
  if (ids.length > 1 && directory === undefined) return "members of a cluster need a `directory` each for their logs";
  return undefined;
}

function isOfSeveral({ cluster, self, members }: RaftLeasesOptions): boolean {
  return [cluster, self, members].some((given) => given !== undefined);
}

function wrongPlaceIn(members: Readonly<Record<number, MemberAddress>>): string | undefined {
  const seen = new Map<string, string>();
  for (const [id, address] of Object.entries(members)) {
    if (typeof address?.host !== "string" || address.host === "" || typeof address.port !== "number")
      return `\`members\`: ${id} is ${JSON.stringify(address)}; an address is written { host: "10.0.0.1", port: 7000 }`;
    const place = formatAddress(address);
    const other = seen.get(place);
    if (other !== undefined) return `\`members\`: ${other} and ${id} are both at ${place}; each needs its own`;
    seen.set(place, id);
  }
  return undefined;
}
