/** `holdfast raft`: a member of a Raft cluster, asked over the socket in its folder; `recover` works on a stopped one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Files } from "../../coordinator/backends/raft/files.ts";
import type { MemberView } from "../../coordinator/backends/raft/membership.ts";
import {
  type Recovered,
  readStopped,
  recoverAlone,
  type StoppedState,
} from "../../coordinator/backends/raft/recover.ts";
import { parseAddress } from "../../coordinator/backends/raft/tcp-peers.ts";
import { identityIn, type LogIdentity } from "../../coordinator/log/hard-state.ts";
import { ControlClient } from "../control/client.ts";
import { ControlError } from "../control/errors.ts";
import type { RaftStatus, RaftVerbs } from "../control/raft-verbs.ts";
import type { Clock } from "../ports/clock.ts";
import { type Call, type Command, nothingMore, type Shown, UsageError } from "./command.ts";
import { readable, table } from "./readable.ts";

const answerMs = 30_000;

export const raft: Command = {
  usage: "raft <status|members|add|remove|transfer|snapshot|repair|recover>",
  summary: "look after a member of a Raft cluster; --data is its folder",
  options: ["replaces", "accept"],
  details: `status                      what this member is, and how far it has come
members                     all members; at the leader also how far each is, and whether it is heard of
add <host:port> [<id>]      a new member: a learner until it has caught up, then a voter. Without an id, one is made up;
      --replaces <id>       then it takes the place of this voter, in one step
remove <id>                 takes a member out for good: its id is never used again
transfer <id>               makes this voter the leader
snapshot                    takes one now, so that the log before it goes
repair                      asks the others for what a damaged log lacks
recover --accept            on a stopped survivor, when most members are lost for good: it goes on alone, in a higher epoch
The first seven ask the process that runs on the folder, and a change is done by whoever leads.`,

  async run(call) {
    const [what, ...rest] = call.args;
    if (what !== "add" && call.options.replaces !== undefined) throw new UsageError("only add takes --replaces");
    if (what !== "recover" && call.options.accept !== undefined) throw new UsageError("only recover takes --accept");
    switch (what) {
      case "status":
        nothingMore(rest);
        return shownStatus(await askMember(call.directory, "status", {}));
      case "members":
        nothingMore(rest);
        return shownMembers(await askMember(call.directory, "members", {}));
      case "add":
        return add(call, rest);
      case "remove": {
        const { id } = await askMember(call.directory, "remove", { id: onlyId(rest) });
        return { json: { id }, text: `member ${id} is out, for good: stop it, and remove its folder\n` };
      }
      case "transfer": {
        const { leader } = await askMember(call.directory, "transfer", { id: onlyId(rest) });
        return { json: { leader }, text: `member ${leader} leads\n` };
      }
      case "snapshot": {
        nothingMore(rest);
        const { index } = await askMember(call.directory, "snapshot", {});
        return { json: { index }, text: `the snapshot has all up to entry ${index}\n` };
      }
      case "repair":
        nothingMore(rest);
        return repair(call);
      case "recover":
        nothingMore(rest);
        return recover(call);
      default:
        throw new UsageError(
          what === undefined ? "it needs to know what to do" : `it does not know ${JSON.stringify(what)}`,
        );
    }
  },
};

/** Rejects with ControlError: NoHost when no process runs on the folder. */
export async function askMember<TVerb extends keyof RaftVerbs>(
  directory: string,
  verb: TVerb,
  question: Parameters<RaftVerbs[TVerb]>[0],
): Promise<Awaited<ReturnType<RaftVerbs[TVerb]>>> {
  const client = await ControlClient.connect(directory);
  if (client === undefined)
    throw new ControlError(
      "NoHost",
      `no member runs on ${directory}: start its service, or name its folder with --data`,
    );
  try {
    return (await client.request(verb, question, answerMs)) as Awaited<ReturnType<RaftVerbs[TVerb]>>;
  } finally {
    client.close();
  }
}

export function isMemberFolder(directory: string): boolean {
  return existsSync(join(directory, "state-a"));
}

/** The name of a cluster, from the member that runs on the folder or, if none does, from its log. */
export async function identityOf(directory: string, clock: Clock): Promise<string> {
  const client = await ControlClient.connect(directory);
  client?.close();
  const identity =
    client === undefined
      ? (await onStopped(directory, clock, readStopped)).identity
      : (await askMember(directory, "status", {})).identity;
  if (typeof identity === "string") return identity;
  throw new ControlError("NotAllowed", `the cluster of ${directory} has no name yet: start most of its members once`);
}

async function onStopped<T extends StoppedState | Recovered>(
  directory: string,
  clock: Clock,
  work: (ports: { disk: Files; clock: Clock; identity: LogIdentity }) => Promise<T>,
): Promise<T> {
  const found = isMemberFolder(directory);
  if (!found) throw new ControlError("StoreNotFound", `${directory} is no member's folder: name it with --data`);
  const disk = await Files.open(directory);
  try {
    const identity = await identityIn(disk);
    if (identity !== undefined) return await work({ disk, clock, identity });
    throw new ControlError("StoreNotFound", `the member of ${directory} has never run`);
  } finally {
    await disk.close();
  }
}

async function add({ directory, options }: Call, args: readonly string[]): Promise<Shown> {
  const [address = "", id, ...rest] = args;
  nothingMore(rest);
  if (parseAddress(address) === undefined)
    throw new UsageError(`${JSON.stringify(address)} is no address; write it like 10.0.0.4:7000`);
  const added = await askMember(directory, "add", {
    address,
    ...(id !== undefined && { id: idIn(id) }),
    ...(options.replaces !== undefined && { replaces: idIn(options.replaces) }),
  });
  const text = `member ${added.id} is expected at ${address}: start it there with \`self: ${added.id}, join: true\`
`;
  return { json: added, text };
}

async function repair({ directory }: Call): Promise<Shown> {
  const { isWhole } = await askMember(directory, "repair", {});
  if (isWhole) return { json: { isWhole }, text: "the log is whole\n" };
  throw new ControlError("NotRepaired", "no other member has sent what is missing yet: start them, and ask again");
}

async function recover({ directory, options, clock }: Call): Promise<Shown> {
  if (options.accept !== true)
    throw new ControlError(
      "NotAllowed",
      "only when most members are lost for good: what they alone had is lost, and none of them may ever run again. If so, say --accept",
    );
  const recovered = await onStopped(directory, clock, recoverAlone);
  const { epoch, removed, lost, wasDone } = recovered;
  const without = removed.length === 0 ? "" : `; out, for good: ${removed.join(", ")}`;
  const lacks =
    lost === 0 ? "" : `\n${lost} entries that it had acknowledged are lost with the damaged part of its log`;
  if (wasDone)
    return { json: recovered, text: `this was done already, in epoch ${epoch}: start this member${without}\n` };
  return { json: recovered, text: `this member is the whole cluster now, in epoch ${epoch}${without}${lacks}\n` };
}

function onlyId(args: readonly string[]): number {
  const [id, ...rest] = args;
  nothingMore(rest);
  if (id === undefined) throw new UsageError("it needs the id of a member");
  return idIn(id);
}

function idIn(text: string): number {
  const id = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(id) && id > 0) return id;
  throw new UsageError(`${JSON.stringify(text)} is no id of a member; it is a whole number from 1`);
}

function shownStatus(status: RaftStatus): Shown {
  const { member, role, leader, term, committed, applied, snapshot, epoch } = status;
  const rows = [
    ["cluster", status.identity ?? `${status.cluster} (has never had most of its members)`],
    ["member", `${member} (${role})`],
    ["leader", leader === undefined ? "none is known" : String(leader)],
    ["term", String(term)],
    ["epoch", String(epoch)],
    [
      "log",
      `committed ${committed}, applied ${applied}, snapshot ${snapshot}${status.isFull ? ", the disk is full" : ""}`,
    ],
    ["leases", `${status.leases} of ${status.sessions} sessions`],
    ["process", String(status.pid)],
  ];
  return { json: status, text: rows.map(([name = "", value]) => `${name.padEnd(9)}${value}\n`).join("") };
}

function shownMembers(members: readonly MemberView[]): Shown {
  if (members.length === 0) return { json: members, text: "this member has not heard of its cluster yet\n" };
  const cells = ({ id, role, address, replaces, match, isHeard }: MemberView) => [
    String(id),
    replaces === undefined ? role : `${role} for ${replaces}`,
    address === "" ? "(not told)" : readable(address),
    match === undefined ? "-" : String(match),
    isHeard === undefined ? "-" : isHeard ? "yes" : "no",
  ];
  return { json: members, text: table(["MEMBER", "ROLE", "ADDRESS", "LOG", "HEARD"], members.map(cells)) };
}
