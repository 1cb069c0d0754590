/**
 * Two hundred every-second jobs on five processes and three NATS servers, while one trouble after the other comes: every
 * slot of the calendar must have been done once, through the fenced register of a real Redis, or be counted as left out.
 */

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { offsetMs, scheduleOf } from "../../coordinator/schedule/index.ts";
import { openRedis } from "../../runtime/adapters/redis-link/connection.ts";
import type { RedisLink } from "../../runtime/adapters/redis-link/link.ts";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { ControlClient } from "../../runtime/control/client.ts";
import { startRedisServer } from "../../runtime/testing/redis-server.ts";
import { freePorts } from "../../runtime/testing/server-process.ts";
import { Fleet } from "./fleet.ts";
import {
  type DoneEntry,
  doneKey,
  type FromHost,
  type HostedJob,
  jobNames,
  jobOptions,
  jobsBucket,
  repeatedKey,
  type ToHost,
} from "./jobs.ts";
import { checkJobs, type JobVerdict } from "./jobs-books.ts";
import { type Lateness, latenessIn, type Window } from "./lateness.ts";
import { type LeaderGaps, watchLeaders } from "./leader-gaps.ts";
import { monotonicNs } from "./stalls.ts";

export type SchedulingOptions = {
  readonly seconds: number;
  readonly hosts: number;
  /** Raft: each host is a member. */
  readonly leases: "kv" | "raft";
  /** Of the troubles, those whose name has this word. Default: all. */
  readonly only: string | undefined;
  readonly folder: string;
  readonly say: (line: string) => void;
};

export type SchedulingResult = JobVerdict & {
  readonly lateness: readonly Lateness[];
  /** By window, the longest that a host waited for a processor: what the machine, not we, added. */
  readonly queuedMs: Readonly<Record<string, number>>;
  /** How long no stream's leader answered, by trouble and bucket: of all that is late, the share of NATS. */
  readonly leaderless: readonly { readonly window: string; readonly longestMs: Readonly<Record<string, number>> }[];
  /** By window, the terms of the leases' log that were begun in it: elections. */
  readonly terms: Readonly<Record<string, number>>;
  /** Runs under a tickId that had written already, and writes that the fence refused. */
  readonly repeated: number;
  readonly fenced: number;
};

type Trouble = {
  readonly name: string;
  readonly run: (fleet: Fleet, leaders: LeaderGaps) => Promise<unknown> | undefined;
};

const usualTroubles: readonly Trouble[] = [
  { name: "kill -9 of a node", run: (fleet) => fleet.begin("kill host", 0, 3_000) },
  { name: "SIGSTOP of a node for 5 s", run: (fleet) => fleet.begin("freeze host", 1, 5_000) },
  { name: "a node cut off for 8 s", run: (fleet) => fleet.begin("cut off host", 2, 8_000) },
  { name: "a NATS server killed for 3 s", run: killLeader },
  { name: "a clock 3 s ahead for 6 s", run: (fleet) => stepClock(fleet, 3, 3_000) },
  { name: "a clock 3 s behind for 6 s", run: (fleet) => stepClock(fleet, 4, -3_000) },
];

/** Each host is a member, so that one that goes is missed twice. What is cut off from NATS still reaches the other members. */
const raftTroubles = (folder: string, hosts: number): readonly Trouble[] => [
  {
    name: "kill -9 of the leases' leader",
    run: async (fleet) => fleet.begin("kill host", await leaderOf(folder, hosts), 3_000),
  },
  {
    name: "SIGSTOP of the leases' leader for 5 s",
    run: async (fleet) => fleet.begin("freeze host", await leaderOf(folder, hosts), 5_000),
  },
];

const memberFolder = (folder: string, host: number) => join(folder, `raft-${host + 1}`);

type Seen = { readonly atMs: number; readonly host: number; readonly role: string; readonly term: number };

/** As each member says, over its own socket; nothing of one that does not answer. */
async function seenNow(folder: string, hosts: number): Promise<readonly Seen[]> {
  const ask = async (host: number): Promise<Seen[]> => {
    const client = await ControlClient.connect(memberFolder(folder, host)).catch(() => undefined);
    const status = await client?.request("status", {}, 500).catch(() => undefined);
    client?.close();
    if (status === undefined) return [];
    const { role, term } = status as { role: string; term: number };
    return [{ atMs: Date.now(), host, role, term }];
  };
  return (await Promise.all(Array.from({ length: hosts }, (_, host) => ask(host)))).flat();
}

async function leaderOf(folder: string, hosts: number): Promise<number> {
  for (;;) {
    const leaders = (await seenNow(folder, hosts)).filter(({ role }) => role === "leader");
    // One that was stopped may believe it still.
    const [leader] = leaders.sort((a, b) => b.term - a.term);
    if (leader !== undefined) return leader.host;
    await sleep(50);
  }
}

/** The leader of documents and leases: any other would be missed less. */
async function killLeader(fleet: Fleet, leaders: LeaderGaps): Promise<void> {
  const name = await leaders.gather();
  await fleet.begin(
    "kill server",
    fleet.cluster.servers.findIndex((server) => server.name === name),
    3_000,
  );
}

async function stepClock(fleet: Fleet, host: number, byMs: number): Promise<void> {
  fleet.tell(host, { kind: "stepClock", offsetMs: byMs } satisfies ToHost);
  await sleep(6_000);
  fleet.tell(host, { kind: "stepClock", offsetMs: 0 } satisfies ToHost);
}

/** The processes have to start, and to share the partitions, before the first slot. */
const startMs = 25_000;
const restMs = 60_000;

export async function soakSchedules(options: SchedulingOptions): Promise<SchedulingResult> {
  const { seconds, hosts, leases, folder, say } = options;
  const troubles = [...usualTroubles, ...(leases === "raft" ? raftTroubles(folder, hosts) : [])];
  const chosen = troubles.filter(({ name }) => name.includes(options.only ?? ""));
  const ports = leases === "raft" ? (await freePorts(hosts)).join(",") : "";
  const server = await startRedisServer();
  const redis = await openRedis(server.url, new SystemClock());
  await redis.ready();
  const fromMs = Math.ceil((Date.now() + startMs) / 1_000) * 1_000;
  const untilMs = fromMs + seconds * 1_000;
  let fenced = 0;
  const stalls: { readonly atMs: number; readonly queuedMs: number }[] = [];
  const seen: Seen[] = [];
  let isOver = false;
  const look = async () => {
    for (; !isOver; await sleep(250)) seen.push(...(await seenNow(folder, hosts)));
  };
  const wallMs = (atNs: number) => Date.now() - (monotonicNs() - atNs) / 1e6;
  let heard: (jobs: readonly HostedJob[]) => void = () => {};
  const fleet = await Fleet.start({
    hosts,
    folder,
    program: new URL("./jobs-host.js", import.meta.url),
    argumentsOf: (servers, name, host) => [
      ...[servers.join(","), name, server.url, String(fromMs), String(untilMs)],
      ...[String(host + 1), ports, memberFolder(folder, host)],
    ],
    onMessage: (message) => {
      const told = message as FromHost;
      if (told.kind === "fenced") fenced++;
      if (told.kind === "stalled")
        stalls.push({ atMs: wallMs(told.atNs), queuedMs: Math.min(told.forMs, told.queuedMs ?? 0) });
      if (told.kind === "jobs") heard(told.jobs);
    },
  });
  const jobs = () =>
    new Promise<readonly HostedJob[]>((resolve) => {
      heard = resolve;
      fleet.tell(0, { kind: "tell" } satisfies ToHost);
    });
  const buckets = leases === "raft" ? [jobsBucket] : [jobsBucket, `${jobsBucket}-leases`];
  const leaders = await watchLeaders(fleet.urls, buckets);
  try {
    const kept = leases === "raft" ? "a log of their own" : "NATS";
    say(`leases in ${kept}; ${hosts} hosts, three NATS servers, ${jobNames.length} jobs every second, ${seconds} s`);
    await sleep(fromMs - Date.now());
    const looking = leases === "raft" ? look() : undefined;
    const windows = await makeTrouble({ fleet, leaders, chosen, fromMs, untilMs }, async (name) =>
      say(`${((Date.now() - fromMs) / 1_000).toFixed(0).padStart(4)} s  ${name}; ${await redisCount(redis)} runs done`),
    );
    await sleep(Math.max(0, untilMs - Date.now()));
    isOver = true;
    await looking;
    say("over; waiting for everything to come to rest");
    let told = await jobs();
    const isOpen = ({ next, open }: HostedJob) => next !== null || open > 0;
    for (const boundMs = Date.now() + restMs; told.some(isOpen) && Date.now() < boundMs; told = await jobs())
      await sleep(1_000);
    const done = (await command<string[]>(redis, ["LRANGE", doneKey, "0", "-1"])).map(
      (line) => JSON.parse(line) as DoneEntry,
    );
    const offsets = new Map(
      jobNames.map((name) => [name, offsetMs(name, scheduleOf(name, jobOptions(name, fromMs, untilMs)))]),
    );
    const offsetMsOf = (job: string) => offsets.get(job) ?? 0;
    const runs = done.map(({ job, slot, atMs }) => {
      const dueMs = slot + offsetMsOf(job);
      return { dueMs, lateMs: atMs - dueMs };
    });
    return {
      ...checkJobs({ fromMs, untilMs, jobs: told, done, offsetMsOf }),
      lateness: latenessIn(windows, runs),
      terms: Object.fromEntries(
        windows.map(({ name, fromMs, untilMs }) => [name, highestTerm(seen, untilMs) - highestTerm(seen, fromMs)]),
      ),
      queuedMs: Object.fromEntries(
        windows.map((window) => {
          const meanwhile = stalls.filter(({ atMs }) => atMs >= window.fromMs && atMs < window.untilMs);
          return [window.name, Math.round(Math.max(0, ...meanwhile.map(({ queuedMs }) => queuedMs)))];
        }),
      ),
      leaderless: windows.map(({ name, ...window }) => ({ window: name, longestMs: leaders.longestMs(window) })),
      repeated: Number((await command<string | null>(redis, ["GET", repeatedKey])) ?? 0),
      fenced,
    };
  } finally {
    await leaders.stop();
    await fleet.stop();
    await redis.close();
    await server.stop();
  }
}

type Troubled = {
  readonly fleet: Fleet;
  readonly leaders: LeaderGaps;
  readonly chosen: readonly Trouble[];
  readonly fromMs: number;
  readonly untilMs: number;
};

/** The first that was seen, where none was before. */
function highestTerm(seen: readonly Seen[], untilMs: number): number {
  return Math.max(seen[0]?.term ?? 0, ...seen.filter(({ atMs }) => atMs < untilMs).map(({ term }) => term));
}

/** One after the other, evenly over the time, with quiet before, between and after them. */
async function makeTrouble(
  { fleet, leaders, chosen, fromMs, untilMs }: Troubled,
  say: (name: string) => Promise<void>,
): Promise<readonly Window[]> {
  const partMs = (untilMs - fromMs) / (chosen.length + 1);
  const windows: Window[] = [{ name: "steady", fromMs, untilMs: fromMs + partMs }];
  for (const [index, { name, run }] of chosen.entries()) {
    const beginMs = fromMs + partMs * (index + 1);
    await sleep(Math.max(0, beginMs - Date.now()));
    await say(name);
    // What it delays was due a moment before as well.
    const troubled = { name, fromMs: beginMs - 1_000, untilMs: beginMs + partMs - 1_000 };
    windows.push(troubled);
    await run(fleet, leaders);
  }
  return windows;
}

async function redisCount(redis: RedisLink): Promise<number> {
  return command<number>(redis, ["LLEN", doneKey]);
}

async function command<TReply>(redis: RedisLink, words: readonly string[]): Promise<TReply> {
  const outcome = await redis.send([...words], 30_000);
  if (outcome.kind !== "reply") throw new Error(`Redis was asked ${words[0]}: ${JSON.stringify(outcome)}`);
  return outcome.value as TReply;
}
