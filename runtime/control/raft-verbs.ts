/**
 * What the command line can ask a member of a Raft cluster, over a socket in the member's own folder: the same server,
 * bounds and rights as a host's. Bytes from outside become a checked question in `performRaft`, and nowhere else.
 */
import type { Member, MemberStatus } from "../../coordinator/backends/raft/member.ts";
import type { MemberView } from "../../coordinator/backends/raft/membership.ts";
import { isLoopback, parseAddress } from "../../coordinator/backends/raft/tcp-peers.ts";
import type { Wish } from "../../coordinator/backends/raft/wire.ts";
import type { Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import { ControlError } from "./errors.ts";
import { ControlServer } from "./server.ts";

export type RaftControlOptions = {
  /** The folder of the member's log, which its process owns. */
  readonly directory: string;
  readonly cluster: string;
  readonly hasTls: boolean;
  readonly member: Member;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

export type RaftStatus = MemberStatus & {
  readonly cluster: string;
  /** null: the cluster has never had a quorum. */
  readonly identity: string | null;
  readonly pid: number;
  readonly sessions: number;
  readonly leases: number;
};

export type RaftLeaseRow = {
  readonly lease: string;
  readonly index: number;
  readonly node: string;
  readonly session: string;
};

export type RaftSessionRow = {
  readonly session: string;
  readonly node: string;
  readonly ttlMs: number;
  readonly leases: number;
};

export type RaftVerbs = {
  status(question: object): Promise<RaftStatus>;
  members(question: object): Promise<readonly MemberView[]>;
  /** Without an id, one is made up. */
  add(question: { readonly address: string; readonly id?: number; readonly replaces?: number }): Promise<{
    readonly id: number;
    readonly address: string;
  }>;
  remove(question: { readonly id: number }): Promise<{ readonly id: number }>;
  transfer(question: { readonly id: number }): Promise<{ readonly leader: number }>;
  snapshot(question: object): Promise<{ readonly index: number }>;
  repair(question: object): Promise<{ readonly isWhole: boolean }>;
  leases(question: object): Promise<{
    readonly leases: readonly RaftLeaseRow[];
    readonly sessions: readonly RaftSessionRow[];
  }>;
};

/** A change is answered when most members have it; a member that catches up may need longer. */
const answerWithinMs = 10_000;

/** Never rejects: a member runs without a command line rather than not at all, and says why in its log. */
export async function startRaftControl(options: RaftControlOptions): Promise<ControlServer | undefined> {
  const { directory, clock, logger } = options;
  if (process.platform === "win32") {
    logger.info("the command line cannot reach a member on this system: it has no sockets with owners");
    return undefined;
  }
  const verbs = raftVerbs(options);
  const answer = (verb: unknown, args: unknown) => performRaft(verbs, verb, args);
  try {
    return await ControlServer.start({ directory, answer, clock, logger });
  } catch (error) {
    logger.warn(`the command line cannot reach this member: ${(error as Error).message}`, { error });
    return undefined;
  }
}

function raftVerbs({ cluster, hasTls, member, clock, random }: RaftControlOptions): RaftVerbs {
  const managed = async (wish: Wish) => {
    const outcome = await member.manage(wish, clock.monotonic() + answerWithinMs);
    if (outcome.kind === "refused") throw new ControlError("NotAllowed", outcome.reason);
    if (outcome.kind === "unknown")
      throw new ControlError(
        "OutcomeUnknown",
        `no answer within ${answerWithinMs} ms: it may have been done; look at \`holdfast raft members\``,
      );
  };
  return {
    status: async () => ({
      ...member.status(),
      cluster,
      identity: member.isFounded ? member.identity : null,
      pid: process.pid,
      sessions: member.table.sessions.size,
      leases: member.table.leases.size,
    }),
    members: async () => member.members(),
    async add({ address, id = randomMember(random), replaces = 0 }) {
      if (!hasTls && !isLoopback(parseAddress(address)?.host ?? ""))
        throw new ControlError("NotAllowed", `${address} is not loopback: give all members certificates first`);
      await managed({ kind: "add", id, address, replaces });
      return { id, address };
    },
    async remove({ id }) {
      await managed({ kind: "remove", id });
      return { id };
    },
    async transfer({ id }) {
      await managed({ kind: "transfer", id });
      return { leader: id };
    },
    snapshot: async () => ({ index: await member.takeSnapshot() }),
    repair: async () => ({ isWhole: await member.repair(clock.monotonic() + answerWithinMs) }),
    async leases() {
      const { sessions, leases } = member.table;
      return {
        leases: [...leases.values()]
          .map(({ key, index, session }) => ({
            lease: key,
            index,
            node: sessions.get(session)?.info.node ?? "",
            session,
          }))
          .sort((a, b) => (a.lease < b.lease ? -1 : 1)),
        sessions: [...sessions.values()].map(({ info: { id, node, ttlMs } }) => ({
          session: id,
          node,
          ttlMs,
          leases: [...leases.values()].filter(({ session }) => session === id).length,
        })),
      };
    },
  };
}

/** Short enough to be typed, and many enough that none comes twice. */
function randomMember(random: Random): number {
  return 1_000 + Math.floor(random.next() * 1e12);
}

type Check = (value: unknown) => boolean;
const isId: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 1;
const isAddress: Check = (value) => typeof value === "string" && parseAddress(value) !== undefined;

type Shape = { readonly needs: Readonly<Record<string, Check>>; readonly takes: Readonly<Record<string, Check>> };
const nothing: Shape = { needs: {}, takes: {} };
const shapes: Readonly<Record<keyof RaftVerbs, Shape>> = {
  status: nothing,
  members: nothing,
  add: { needs: { address: isAddress }, takes: { id: isId, replaces: isId } },
  remove: { needs: { id: isId }, takes: {} },
  transfer: { needs: { id: isId }, takes: {} },
  snapshot: nothing,
  repair: nothing,
  leases: nothing,
};

/** Checks a question and has it answered. Rejects with ControlError for what is not a question. */
async function performRaft(verbs: RaftVerbs, verb: unknown, question: unknown): Promise<unknown> {
  if (typeof verb !== "string" || !Object.hasOwn(shapes, verb)) {
    const what = JSON.stringify(verb ?? null).slice(0, 80);
    throw new ControlError("UnknownVerb", `there is no verb ${what}; a member knows ${Object.keys(shapes).join(", ")}`);
  }
  const name = verb as keyof RaftVerbs;
  const given = (question ?? {}) as Readonly<Record<string, unknown>>;
  const { needs, takes } = shapes[name];
  const checks: Readonly<Record<string, Check>> = { ...needs, ...takes };
  if (typeof given !== "object" || Array.isArray(given))
    throw new ControlError("InvalidRequest", `${name}: its arguments must be an object`);
  for (const [field, value] of Object.entries(given))
    if (!Object.hasOwn(checks, field) || checks[field]?.(value) !== true)
      throw new ControlError("InvalidRequest", `${name}: ${field.slice(0, 80)} is not usable`);
  for (const field of Object.keys(needs))
    if (!Object.hasOwn(given, field)) throw new ControlError("InvalidRequest", `${name}: it needs ${field}`);
  return (verbs[name] as (question: unknown) => Promise<unknown>)(given);
}
