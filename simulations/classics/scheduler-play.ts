/**
 * Plays a schedule: with their code, as the documents have it, on a key that expires; and with the shipped lease table on
 * the model of NATS. What is written goes to one recorder, which checks tokens only where there are any.
 */
import { LeaseTable } from "../../coordinator/backends/kv/lease-table.ts";
import type { Session } from "../../coordinator/ports/lease-service.ts";
import { JetStreamStore } from "../../runtime/adapters/jetstream/jetstream-store.ts";
import { Requests } from "../../runtime/adapters/nats/requests.ts";
import { NatsModel } from "../models/jetstream/index.ts";
import { FencedRecorder } from "../world/fenced-recorder.ts";
import { createWorld, type World } from "../world/world.ts";

export type Player = "a" | "b";

export type Step = { readonly atMs: number } & (
  | { readonly by: Player; readonly does: "acquire" | "begin" | "renew" | "write" }
  | { readonly fault: "pause"; readonly of: Player; readonly forMs: number }
);

export type Theirs = "selfConfirming" | "unfenced" | "backwards";

export type Schedule = {
  readonly name: string;
  readonly title: string;
  readonly theirs: Theirs;
  readonly steps: readonly Step[];
};

export type Play = {
  readonly story: readonly string[];
  /** Whose writing was taken, in order. */
  readonly written: readonly Player[];
  readonly refused: readonly Player[];
};

type Hands = {
  /** What came of it, in words. */
  acquire(by: Player): Promise<string>;
  renew(by: Player): Promise<string>;
  /** Whether it may begin, by what it knows. */
  mayBegin(by: Player): boolean;
  /** The index of its grant; 0 where there is none. */
  tokenOf(by: Player): number;
};

const ttlMs = 10_000;
const ourTtlMs = 3_000;

export function playTheirs(schedule: Schedule): Promise<Play> {
  const world = createWorld({ seed: schedule.name });
  return play(schedule, world, theirHands(world, schedule.theirs), false);
}

export async function playOurs(schedule: Schedule): Promise<Play> {
  const world = createWorld({ seed: schedule.name });
  const hands = await world.settle(ourHands(world));
  return play(schedule, world, hands, true);
}

async function play(schedule: Schedule, world: World, hands: Hands, fenced: boolean): Promise<Play> {
  const story: string[] = [];
  const beginMs = world.nowMs;
  const recorder = new FencedRecorder({ fenced, nowMs: () => world.nowMs });
  const written: Player[] = [];
  const refused: Player[] = [];
  const begun = new Set<Player>();
  const say = (text: string) => story.push(`${String(Math.round(world.nowMs - beginMs)).padStart(6)} ms  ${text}`);
  const perform = async (by: Player, does: "acquire" | "begin" | "renew" | "write"): Promise<void> => {
    switch (does) {
      case "acquire":
        return void say(`${by} asks for the lease: ${await hands.acquire(by)}`);
      case "renew":
        return void say(`${by} renews: ${await hands.renew(by)}`);
      case "begin":
        if (hands.mayBegin(by)) begun.add(by);
        return void say(
          `${by} ${begun.has(by) ? "holds the lease, by all that it knows, and begins the job" : "has no lease and does nothing"}`,
        );
      case "write": {
        if (!begun.has(by)) return void say(`${by} has nothing to write`);
        // From here on the call is under way: what the process learns meanwhile does not hold it back.
        const token = [1, hands.tokenOf(by)] as const;
        const outcome = await world
          .node(by)
          .effect(() => recorder.apply({ key: `job by ${by}`, token, value: by, fence: "job" }));
        (outcome.kind === "applied" ? written : refused).push(by);
        return void say(
          `${by} writes its result${fenced ? ` with token ${token[1]}` : ""}: ${outcome.kind === "applied" ? "taken" : "FENCED"}`,
        );
      }
    }
  };
  for (const step of schedule.steps) {
    world.after(step.atMs, `${schedule.name} step`, () => {
      if ("fault" in step) {
        say(`${step.of} stops for ${step.forMs} ms`);
        world.node(step.of).freeze(step.forMs);
      } else void perform(step.by, step.does).catch((error: unknown) => world.laws.loop.fail(error));
    });
  }
  await world.run({ forMs: 20_000 });
  return { story, written, refused };
}

// ---- theirs ----

/** One key in their store, which forgets it by its own clock. */
function theirHands(world: World, mistake: Theirs): Hands {
  let stored: { readonly holder: Player; readonly version: number; readonly untilMs: number } | undefined;
  let versions = 0;
  const versionOf = new Map<Player, number>();
  const holders = new Set<Player>();
  const present = () => (stored !== undefined && stored.untilMs > world.nowMs ? stored : undefined);
  const put = (holder: Player, version: number) => {
    stored = { holder, version, untilMs: world.nowMs + ttlMs };
  };
  const acquire = (by: Player): string => {
    // SETEX without a condition, then GET: it reads what it has just written.
    if (mistake !== "selfConfirming" && present() !== undefined) return `no, ${present()?.holder} has it`;
    const before = present()?.holder;
    put(by, ++versions);
    if (present()?.holder !== by) return "no";
    versionOf.set(by, versions);
    holders.add(by);
    return before === undefined ? "yes" : `yes, over ${before}'s, which is gone`;
  };
  const renew = (by: Player): string => {
    const [mine, there] = [versionOf.get(by) ?? 0, present()];
    if (there === undefined) return "no, the lease is gone";
    // `if stored > mine then set`: the comparison of a fence, in the place of a renewal.
    if (!(there.version > mine)) return `no, the stored version ${there.version} is not above its own ${mine}`;
    put(by, mine);
    return `yes, over ${there.holder}'s: the stored version ${there.version} was above its own ${mine}`;
  };
  return {
    acquire: (by) => world.node(by).effect(() => acquire(by)),
    renew: (by) => world.node(by).effect(() => renew(by)),
    mayBegin: (by) => holders.has(by),
    tokenOf: () => 0,
  };
}

// ---- ours ----

/** The shipped code, from the lease table down to the requests over NATS. */
async function ourHands(world: World): Promise<Hands> {
  const nats = new NatsModel(world.laws, { server: { version: "2.15.1", servers: 3 } });
  const sessions = new Map<Player, Session>();
  const grants = new Map<Player, number>();
  for (const name of ["a", "b"] as const) {
    const node = world.node(name);
    const { clock, random, logger } = node.ports;
    const requests = new Requests(nats.connect(name, node.gate).connection, clock, `_INBOX.${random.id()}`);
    const options = { bucket: "jobs", replicas: 3, history: 1, requestTimeoutMs: 500 };
    const ports = { clock, random, logger };
    const table = await LeaseTable.open({ ...ports, store: await JetStreamStore.open(requests, options, ports) });
    sessions.set(name, await table.openSession({ node: name, ttlMs: ourTtlMs }));
  }
  const session = (by: Player) => sessions.get(by) as Session;
  return {
    acquire: async (by) => {
      const outcome = await session(by).acquire("job");
      if (outcome.kind !== "granted") return outcome.kind === "held" ? "no, somebody has it" : `no (${outcome.kind})`;
      grants.set(by, outcome.index);
      return `yes, token ${outcome.index}`;
    },
    renew: async (by) => (session(by).isValid ? "its session renews itself, and is valid" : "its session is over"),
    mayBegin: (by) => grants.has(by) && session(by).isValid,
    tokenOf: (by) => grants.get(by) ?? 0,
  };
}
