/**
 * `npm run bench -- coordinator`: leases granted by three members of our Raft, as processes on loopback with flushed logs, and
 * by one in memory; beside them, in the same run, what others would use: SET NX PX and a script with a token on Redis, and
 * creating a key in NATS KV with three replicas. Then what ten thousand leases cost that nobody touches.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { raftLeases } from "../coordinator/raft-leases.ts";
import { findNatsServers, startNatsCluster } from "../runtime/testing/nats-server.ts";
import { findRedisServer, startRedisServer } from "../runtime/testing/redis-server.ts";
import { freePorts } from "../runtime/testing/server-process.ts";
import { closedLoop, type LoopFigures, middle } from "./closed-loop.ts";
import { grantLoop } from "./coordinator-loop.ts";
import type { MemberOrder, Usage } from "./coordinator-member.ts";

export type GrantRow = { readonly what: string; readonly callers: number; readonly figures: LoopFigures };

export type RestFigures = {
  readonly leases: number;
  readonly sessions: number;
  /** Of the processor, of all three members together: 1 is one core. */
  readonly cpu: number;
  /** To sockets and logs, of all three. */
  readonly bytesPerSecond: number | undefined;
};

export type CoordinatorEnv = {
  readonly rounds: number;
  readonly roundMs: number;
  readonly row: (row: GrantRow) => void;
};

type Loop = (callers: number, forMs: number) => Promise<LoopFigures>;

const inFlight = [1, 64];

export async function benchCoordinator(env: CoordinatorEnv): Promise<{ rows: readonly GrantRow[]; rest: RestFigures }> {
  const rows: GrantRow[] = [];
  const measure = async (what: string, loop: Loop): Promise<void> => {
    for (const callers of inFlight) {
      await loop(callers, env.roundMs / 4);
      const rounds: LoopFigures[] = [];
      for (let round = 0; round < env.rounds; round++) rounds.push(await loop(callers, env.roundMs));
      const row = { what, callers, figures: middle(rounds) };
      rows.push(row);
      env.row(row);
    }
  };
  const members = await Members.start();
  let rest: RestFigures;
  try {
    const leader = await members.leader();
    const load = (place: number) => (callers: number, forMs: number) =>
      members.ask<LoopFigures>(place, { kind: "load", callers, forMs });
    await measure("three members, at the leader", load(leader));
    await measure("three members, at a follower", load((leader + 1) % 3));
    rest = await members.rest(10, 1_000, 4 * env.roundMs);
  } finally {
    await members.stop();
  }
  const alone = await raftLeases();
  await measure("one member, in memory", (callers, forMs) => grantLoop(alone.service, callers, forMs));
  await alone.close();
  if (findRedisServer() !== undefined) {
    await onRedis("no", (redis) => measure("Redis SET NX PX, in memory", setLoop(redis)));
    await onRedis("always", (redis) => measure("Redis script, token, fsync", scriptLoop(redis)));
  }
  if (findNatsServers().length > 0) await onNats((loop) => measure("NATS KV create, R3, no fsync", loop));
  return { rows, rest };
}

class Members {
  readonly #folder: string;
  readonly #children: readonly ChildProcess[];

  static async start(): Promise<Members> {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-raft-"));
    const ports = (await freePorts(3)).join(",");
    const children = [1, 2, 3].map((id) =>
      fork(new URL("./coordinator-member.js", import.meta.url), [String(id), ports, join(folder, String(id))]),
    );
    await Promise.all(children.map((child) => once(child, "message")));
    return new Members(folder, children);
  }

  private constructor(folder: string, children: readonly ChildProcess[]) {
    this.#folder = folder;
    this.#children = children;
  }

  async ask<Answer>(place: number, order: MemberOrder): Promise<Answer> {
    const child = this.#children[place]!;
    const answer = once(child, "message");
    child.send(order);
    return (await answer)[0] as Answer;
  }

  async leader(): Promise<number> {
    for (;;) {
      for (const place of [0, 1, 2]) if ((await this.ask<string>(place, { kind: "status" })) === "leader") return place;
      await sleep(50);
    }
  }

  async rest(sessions: number, leasesEach: number, forMs: number): Promise<RestFigures> {
    for (let session = 0; session < sessions; session++)
      await this.ask(session % 3, { kind: "hold", sessions: 1, leasesEach });
    await sleep(1_000);
    const usages = () => Promise.all([0, 1, 2].map((place) => this.ask<Usage>(place, { kind: "usage" })));
    const [before, startedMs] = [await usages(), performance.now()];
    await sleep(forMs);
    const [after, passedMs] = [await usages(), performance.now() - startedMs];
    const grown = (of: (usage: Usage) => number | undefined) =>
      after.reduce((sum, usage, place) => sum + (of(usage) ?? Number.NaN) - (of(before[place]!) ?? Number.NaN), 0);
    const bytes = grown(({ writtenBytes }) => writtenBytes);
    return {
      leases: sessions * leasesEach,
      sessions,
      cpu: grown(({ cpuMs }) => cpuMs) / passedMs,
      bytesPerSecond: Number.isNaN(bytes) ? undefined : (bytes / passedMs) * 1_000,
    };
  }

  async stop(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function onRedis(appendFsync: "no" | "always", work: (redis: Redis) => Promise<void>): Promise<void> {
  const server = await startRedisServer(appendFsync === "always" ? { appendFsync } : {});
  const redis = new Redis(server.url);
  try {
    await work(redis);
  } finally {
    redis.disconnect();
    await server.stop();
  }
}

let nextKey = 0;

function setLoop(redis: Redis): Loop {
  return (callers, forMs) =>
    closedLoop(callers, forMs, async () => {
      if ((await redis.set(`bench/${nextKey++}`, "me", "PX", 60_000, "NX")) !== "OK") throw new Error("not set");
    });
}

/** What RedLock lacks, with one server: a token that grows, given with the lock. */
const fencedLock = `if redis.call("EXISTS", KEYS[1]) == 1 then return false end
local token = redis.call("INCR", KEYS[2])
redis.call("SET", KEYS[1], token, "PX", ARGV[1])
return token`;

function scriptLoop(redis: Redis): Loop {
  return (callers, forMs) =>
    closedLoop(callers, forMs, async () => {
      if ((await redis.eval(fencedLock, 2, `bench/${nextKey++}`, "token", "60000")) === null)
        throw new Error("not locked");
    });
}

async function onNats(work: (loop: Loop) => Promise<void>): Promise<void> {
  const cluster = await startNatsCluster(3);
  const connection = await connect({ servers: cluster.servers.map(({ url }) => url) });
  try {
    const kv = await new Kvm(jetstream(connection)).create("bench", { replicas: 3 });
    await work((callers, forMs) =>
      closedLoop(callers, forMs, async () => {
        await kv.create(`bench.${nextKey++}`, "me");
      }),
    );
  } finally {
    await connection.close();
    await cluster.stop();
  }
}
