/**
 * Plays one schedule in a world of its own: the shipped RedLock client on five models of Redis, or the shipped lease table
 * on the world's store; the shipped register on a sixth. Start reading at `play`.
 */
import { LeaseTable } from "../../coordinator/backends/kv/lease-table.ts";
import { RedLock } from "../../coordinator/backends/redis/redlock.ts";
import type { Session } from "../../coordinator/ports/lease-service.ts";
import type { UnfencedLock } from "../../coordinator/ports/unfenced-locks.ts";
import { RedisRegister } from "../../runtime/adapters/redis/register.ts";
import type { Clock } from "../../runtime/ports/clock.ts";
import type { Claim } from "../../runtime/ports/fenced-register.ts";
import { redisLink } from "../models/redis/node-link.ts";
import { RedisModel } from "../models/redis/redis-model.ts";
import type { SimulatedNode } from "../world/node.ts";
import { createWorld, type World } from "../world/world.ts";

export type Client = "c1" | "c2";
/** The five Redis servers. */
export type Server = "A" | "B" | "C" | "D" | "E";

/** By what a client decides whether it still holds. */
export type Check =
  /** As the client library says. */
  | "library"
  /** By its own wall clock, as `Date.now()` before it asked plus the time to live. */
  | "wallClock"
  /** By the monotonic clock, but counted from the answer. */
  | "answer";

export type Step = { readonly atMs: number } & (
  | { readonly by: Client; readonly does: "acquire" | "read" | "write" }
  | { readonly by: Client; readonly does: "check"; readonly how?: Check }
  | { readonly fault: "pause"; readonly of: Client; readonly forMs: number }
  /** The client's lock requests do not reach these servers; a lease back end has no such part of its own. */
  | { readonly fault: "cut"; readonly of: Client; readonly from: readonly Server[] }
  /** The clock by which locks expire: the wall clock of a server; with leases the clock of the one who waits. */
  | { readonly fault: "judgesClockSteps"; readonly of: Server; readonly byMs: number }
  /** What was not on the disk is gone: a server's key; with leases the entries of holder and session. */
  | { readonly fault: "forgets"; readonly of: Server }
  | { readonly fault: "holdersWallClockSteps"; readonly of: Client; readonly byMs: number }
  /** Its next answer takes so much longer. */
  | { readonly fault: "slowAnswer"; readonly of: Client; readonly byMs: number }
  /** It does not extend: RedLock's holder does not call, a lease's renewals do not arrive. */
  | { readonly fault: "doesNotExtend"; readonly of: Client }
);

export type Schedule = {
  readonly name: string;
  readonly title: string;
  /** How long RedLock waits for one server. Default: its own choice. */
  readonly instanceTimeoutMs?: number;
  readonly steps: readonly Step[];
};

export const ttlMs = 10_000;

export type Variant = "unfenced" | "fenced" | "madeUp";

export type Play = {
  readonly story: readonly string[];
  /** Whose write was acknowledged, in order. */
  readonly accepted: readonly Client[];
  readonly fenced: readonly Client[];
  /** What the register holds in the end: the increments that count. */
  readonly counted: number;
  /** Whether there was a moment at which each had been granted it and, by its own last check, still held it. */
  readonly heldByTwo: boolean;
  /** What the shipped client itself said of a lock at the checks that were made in another way. */
  readonly librarySaid: readonly boolean[];
};

const key = "job/settle";
const servers = ["A", "B", "C", "D", "E"] as const;
const wayMs = 1;

/** How one client came to hold, and knows whether it still does. */
type Hold = {
  readonly claim: Claim | undefined;
  readonly wallAskedMs: number;
  readonly answeredMs: number;
  isValid(): boolean;
};

type Player = {
  readonly name: Client;
  readonly node: SimulatedNode;
  /** The monotonic clock may be stepped, which no real one is: see `judgesClockSteps`. */
  readonly clock: Clock & { stepMs: number };
  acquire(): Promise<Hold | string>;
  hold: Hold | undefined;
  seen: number | undefined;
  believes: boolean;
  /** One after the other, as in one process. */
  tail: Promise<void>;
};

class Stage {
  readonly world: World;
  readonly story: string[] = [];
  readonly accepted: Client[] = [];
  readonly fenced: Client[] = [];
  readonly librarySaid: boolean[] = [];
  readonly redis: ReadonlyMap<Server, RedisModel>;
  readonly register: RedisModel;
  readonly cuts = new Set<string>();
  readonly slowMs = new Map<string, number>();
  heldByTwo = false;
  startMs = 0;

  constructor(schedule: Schedule, variant: Variant) {
    const delays = {
      travelMs: [wayMs, wayMs],
      watchMs: [wayMs, wayMs],
      giveUpMs: [200, 200],
      lateMs: [950, 950],
    } as const;
    this.world = createWorld({ seed: `redlock/${schedule.name}/${variant}`, store: { delays } });
    this.redis = new Map(
      servers.map((name) => {
        const network = {
          travelMs: () => wayMs,
          isCut: (from: string) => this.cuts.has(`${from}-${name}`),
          fault: (from: string) => {
            const answerMs = this.slowMs.get(`${from}-${name}`);
            this.slowMs.delete(`${from}-${name}`);
            return answerMs === undefined ? undefined : { answerMs };
          },
        };
        return [name, new RedisModel({ name, time: this.world, network })];
      }),
    );
    this.register = new RedisModel({ name: "register", time: this.world, network: { travelMs: () => wayMs } });
  }

  tell(text: string): void {
    const at = String(Math.round(this.world.nowMs - this.startMs)).padStart(6);
    this.story.push(`${at} ms  ${text}`);
  }
}

/** Deterministic: the same schedule and variant give the same story. */
export async function play(schedule: Schedule, variant: Variant): Promise<Play> {
  const stage = new Stage(schedule, variant);
  const players = new Map<Client, Player>();
  for (const name of ["c1", "c2"] as const) players.set(name, await enter(stage, name, variant, schedule));
  stage.startMs = stage.world.nowMs;
  for (const step of schedule.steps)
    stage.world.after(step.atMs, `step ${schedule.name}`, () => perform(stage, players, step, variant));
  await stage.world.run({ forMs: 30_000 });
  await Promise.all([...players.values()].map(({ tail }) => tail));
  const { story, accepted, fenced, heldByTwo, librarySaid } = stage;
  return { story, accepted, fenced, counted: countOf(stage, variant), heldByTwo, librarySaid };
}

async function enter(stage: Stage, name: Client, variant: Variant, schedule: Schedule): Promise<Player> {
  const node = stage.world.node(name);
  const { clock: real } = node.ports;
  const clock = {
    stepMs: 0,
    now: () => real.now(),
    monotonic: () => real.monotonic() + clock.stepMs,
    after: real.after.bind(real),
  };
  const acquire =
    variant === "fenced" ? await leases(stage, node, clock) : redLock(stage, node, clock, variant, schedule);
  return { name, node, clock, acquire, hold: undefined, seen: undefined, believes: false, tail: Promise.resolve() };
}

// ---- how a lock or a lease is got ----

function redLock(
  stage: Stage,
  node: SimulatedNode,
  clock: Clock,
  variant: Variant,
  { instanceTimeoutMs }: Schedule,
): Player["acquire"] {
  const links = [...stage.redis.values()].map((model) => redisLink(node, model));
  const locks = new RedLock(
    links,
    { clock, random: node.ports.random },
    instanceTimeoutMs === undefined ? {} : { instanceTimeoutMs },
  );
  // Every process counts for itself: the one that has worked longer is ahead, whoever comes last.
  let counter = node.name === "c1" ? 6 : 0;
  return async () => {
    const wallAskedMs = clock.now();
    const outcome = await locks.acquire(key, { ttlMs, waitMs: 600 });
    if (outcome.kind !== "granted") return outcome.kind;
    const lock: UnfencedLock = outcome.lock;
    const claim: Claim | undefined = variant === "madeUp" ? { token: [1, ++counter], holder: node.name } : undefined;
    return { claim, wallAskedMs, answeredMs: clock.monotonic(), isValid: () => lock.isValid };
  };
}

async function leases(stage: Stage, node: SimulatedNode, clock: Clock): Promise<Player["acquire"]> {
  const { store, random, logger } = node.ports;
  const table = await stage.world.settle(LeaseTable.open({ store, clock, random, logger }));
  return async () => {
    const wallAskedMs = clock.now();
    const session: Session = await table.openSession({ node: node.name, ttlMs });
    const answeredMs = clock.monotonic();
    const untilMs = answeredMs + 900;
    for (;;) {
      const outcome = await session.acquire(key);
      if (outcome.kind === "granted") {
        const claim: Claim = { token: [1, outcome.index], holder: session.id };
        return { claim, wallAskedMs, answeredMs, isValid: () => session.isValid };
      }
      if (clock.monotonic() > untilMs) return outcome.kind;
      await new Promise<void>((resolve) => void clock.after(50, resolve));
    }
  };
}

// ---- the steps ----

function perform(stage: Stage, players: ReadonlyMap<Client, Player>, step: Step, variant: Variant): void {
  if ("fault" in step) {
    strike(stage, players, step, variant);
    return;
  }
  const player = players.get(step.by) as Player;
  player.tail = player.tail.then(async () => {
    switch (step.does) {
      case "acquire":
        return acquire(stage, player);
      case "read":
        return read(stage, player, variant);
      case "check":
        check(stage, player, step.how ?? "library");
        noteHolders(stage, players);
        return;
      case "write":
        noteHolders(stage, players);
        return write(stage, player, variant);
    }
  });
}

async function acquire(stage: Stage, player: Player): Promise<void> {
  const hold = await player.acquire();
  if (typeof hold === "string") {
    stage.tell(`${player.name} asks for the lock and does not get it: ${hold}`);
    return;
  }
  player.hold = hold;
  player.believes = true;
  const token = hold.claim === undefined ? "" : `, with token ${hold.claim.token.join(".")}`;
  stage.tell(`${player.name} has got the lock${token}`);
}

/** C6: where there is a token, it is installed before anything is read. */
async function read(stage: Stage, player: Player, variant: Variant): Promise<void> {
  if (player.hold === undefined) return;
  if (variant === "unfenced") {
    const outcome = await redisLink(player.node, stage.register).send(["GET", key], 5_000);
    player.seen = Number(outcome.kind === "reply" ? (outcome.value ?? 0) : Number.NaN);
    stage.tell(`${player.name} reads ${player.seen}`);
    return;
  }
  const claim = player.hold.claim as Claim;
  const outcome = await registerOf(stage, player).install(key, claim);
  if (outcome.kind === "installed") {
    player.seen = Number(outcome.value ?? 0);
    stage.tell(`${player.name} installs token ${claim.token.join(".")} and reads ${player.seen}`);
  } else if (outcome.kind === "fenced") {
    stage.fenced.push(player.name);
    stage.tell(`${player.name} installs token ${claim.token.join(".")}: FENCED(${outcome.newest.token.join(".")})`);
  }
}

function check(stage: Stage, player: Player, how: Check): void {
  const { hold, clock } = player;
  if (hold === undefined) return;
  const byLibrary = hold.isValid();
  if (how === "library") player.believes = byLibrary;
  else {
    stage.librarySaid.push(byLibrary);
    player.believes =
      how === "wallClock" ? clock.now() < hold.wallAskedMs + ttlMs : clock.monotonic() < hold.answeredMs + ttlMs;
  }
  const ways = { library: "", wallClock: ", by its wall clock", answer: ", counted from the answer" };
  const own = how === "library" ? "" : ` (the shipped client says: ${byLibrary ? "held" : "over"})`;
  stage.tell(`${player.name} looks: ${player.believes ? "still held" : "over"}${ways[how]}${own}`);
}

function noteHolders(stage: Stage, players: ReadonlyMap<Client, Player>): void {
  if ([...players.values()].every(({ hold, believes }) => hold !== undefined && believes)) stage.heldByTwo = true;
}

async function write(stage: Stage, player: Player, variant: Variant): Promise<void> {
  if (player.hold === undefined || player.seen === undefined || !player.believes) return;
  const value = String(player.seen + 1);
  if (variant === "unfenced") {
    const outcome = await redisLink(player.node, stage.register).send(["SET", key, value], 5_000);
    if (outcome.kind === "reply") stage.accepted.push(player.name);
    stage.tell(`${player.name} writes ${value}: ${outcome.kind === "reply" ? "accepted" : outcome.kind}`);
    return;
  }
  const claim = player.hold.claim as Claim;
  const outcome = await registerOf(stage, player).write({ key, claim, value, effect: player.name });
  if (outcome.kind === "applied") stage.accepted.push(player.name);
  if (outcome.kind === "fenced") stage.fenced.push(player.name);
  const words = outcome.kind === "fenced" ? `FENCED(${outcome.newest.token.join(".")})` : "accepted";
  stage.tell(`${player.name} writes ${value} with token ${claim.token.join(".")}: ${words}`);
}

function registerOf(stage: Stage, player: Player): RedisRegister {
  return new RedisRegister(redisLink(player.node, stage.register), player.node.ports.clock, { prefix: "" });
}

function countOf(stage: Stage, variant: Variant): number {
  const command = variant === "unfenced" ? ["GET", key] : ["HGET", key, "value"];
  const outcome = stage.register.execute(...command);
  return Number(outcome.kind === "reply" ? (outcome.value ?? 0) : Number.NaN);
}

// ---- the faults ----

function strike(
  stage: Stage,
  players: ReadonlyMap<Client, Player>,
  step: Extract<Step, { fault: string }>,
  variant: Variant,
): void {
  const { world } = stage;
  const onLeases = variant === "fenced";
  switch (step.fault) {
    case "pause":
      world.node(step.of).freeze(step.forMs);
      return stage.tell(`${step.of} stops for ${step.forMs} ms`);
    case "cut":
      if (onLeases) return;
      for (const server of step.from) stage.cuts.add(`${step.of}-${server}`);
      return stage.tell(`${step.of} cannot reach ${step.from.join(", ")}`);
    case "judgesClockSteps": {
      if (onLeases) {
        const judge = players.get("c2") as Player;
        judge.clock.stepMs += step.byMs;
        return stage.tell(`the clock by which c2 judges silence jumps ahead by ${step.byMs} ms`);
      }
      (stage.redis.get(step.of) as RedisModel).wallOffsetMs += step.byMs;
      return stage.tell(`the wall clock of ${step.of} jumps ahead by ${step.byMs} ms`);
    }
    case "forgets":
      if (onLeases) {
        for (const entry of world.store.peekAll()) {
          const token = [Number.MAX_SAFE_INTEGER, 0] as const;
          world.store.data.purge(entry.key, entry.revision, token, "the disk", world.nowMs);
        }
        return stage.tell("the bucket loses what was not on its disk: lease and session of c1");
      }
      stage.redis.get(step.of)?.restart();
      return stage.tell(`${step.of} restarts without what was not on its disk`);
    case "holdersWallClockSteps":
      world.node(step.of).wallOffsetMs += step.byMs;
      return stage.tell(`the wall clock of ${step.of} is set back by ${-step.byMs} ms`);
    case "slowAnswer":
      if (onLeases) world.store.faults.write.next(1, "slow-answer", ({ node }) => node === step.of);
      else for (const server of servers) stage.slowMs.set(`${step.of}-${server}`, step.byMs);
      return stage.tell(`the next answer to ${step.of} will take ${step.byMs} ms longer`);
    case "doesNotExtend":
      if (!onLeases) return stage.tell(`${step.of} works on and does not extend`);
      world.links.cut(step.of, "store");
      return stage.tell(`the renewals of ${step.of} do not arrive from now on`);
  }
}
