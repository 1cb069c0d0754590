/**
 * The model of Redis against a real redis-server: the same random operations on both, one after the other, and every answer
 * compared. Start reading at `compareRedis`. What was found on the way is in docs/differential.md.
 */
import { openRedis, type RedisConnection } from "../../runtime/adapters/redis-link/connection.ts";
import type { RedisOutcome, RedisReply } from "../../runtime/adapters/redis-link/link.ts";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { type RedisServer, startRedisServer } from "../../runtime/testing/redis-server.ts";
import { RedisModel } from "../models/redis/redis-model.ts";
import { Dice } from "../world/dice.ts";
import { type Operation, operationOf } from "./redis-operations.ts";

export type RedisDisagreement = {
  readonly operation: number;
  readonly command: string;
  readonly real: RedisOutcome;
  readonly model: RedisOutcome;
};

export type RedisComparison = {
  readonly version: string;
  readonly seed: string;
  readonly operations: number;
  /** How many of each, by the name of the command. */
  readonly byKind: ReadonlyMap<string, number>;
  /** How many answers were errors, on both sides. */
  readonly refused: number;
  /** Answers that differ where the model cannot follow: the signs of zero and of "no number", addresses in memory. */
  readonly beyond: number;
  readonly seconds: number;
  readonly disagreements: readonly RedisDisagreement[];
};

const timeoutMs = 30_000;
const mostDisagreements = 20;

/** Needs a redis-server; starts one of its own and stops it. */
export async function compareRedis(options: {
  readonly seed: string;
  readonly operations: number;
}): Promise<RedisComparison> {
  const server = await startRedisServer();
  const comparison = new Comparison(server);
  const startMs = performance.now();
  try {
    await comparison.open();
    const dice = new Dice(`redis/${options.seed}`);
    for (let count = 0; count < options.operations && comparison.goesOn; count++)
      await comparison.perform(operationOf(dice));
  } finally {
    await comparison.close();
    await server.stop();
  }
  const { operations, byKind, refused, beyond, disagreements } = comparison;
  const seconds = (performance.now() - startMs) / 1_000;
  return { version: server.version, seed: options.seed, operations, byKind, refused, beyond, seconds, disagreements };
}

class Comparison {
  readonly byKind = new Map<string, number>();
  readonly disagreements: RedisDisagreement[] = [];
  operations = 0;
  refused = 0;
  beyond = 0;
  readonly #server: RedisServer;
  readonly #clock = new SystemClock();
  readonly #model: RedisModel;
  /** The model's time: it moves only where something must expire. */
  readonly #time = { nowMs: 0, after: () => () => {} };
  #connection!: RedisConnection;
  /** Ids that the servers chose by their clocks: which of one is which of the other. */
  readonly #ids = new Map<string, string>();

  constructor(server: RedisServer) {
    this.#server = server;
    this.#model = new RedisModel({ name: "model", time: this.#time, epochMs: Date.now() });
  }

  get goesOn(): boolean {
    return this.disagreements.length < mostDisagreements;
  }

  async open(): Promise<void> {
    this.#connection = await openRedis(this.#server.url, this.#clock);
    await this.#connection.ready();
  }

  async close(): Promise<void> {
    await this.#connection?.close();
  }

  async perform(operation: Operation): Promise<void> {
    this.operations++;
    switch (operation.kind) {
      case "command":
        this.#count(operation.command[0]?.toUpperCase() ?? "");
        return this.#compare(operation.command);
      case "expire":
        this.#count("(expires)");
        await this.#compare(["PEXPIRE", operation.key, "1"]);
        while (!isNothing(await this.#connection.send(["EXISTS", operation.key], timeoutMs)));
        this.#time.nowMs += 2;
        return this.#compare(["EXISTS", operation.key]);
      case "save":
        this.#count("(saved)");
        await this.#connection.send(["SAVE"], timeoutMs);
        this.#model.save();
        return;
      case "restart":
        this.#count("(killed and restarted)");
        await this.close();
        await this.#server.restart();
        await this.open();
        this.#model.restart();
        return;
    }
  }

  #count(kind: string): void {
    this.byKind.set(kind, (this.byKind.get(kind) ?? 0) + 1);
  }

  async #compare(command: readonly string[]): Promise<void> {
    const real = await this.#connection.send(command, timeoutMs);
    const model = this.#model.execute(...command);
    if (real.kind === "refused") this.refused++;
    if (this.#agree(command, real, model)) return;
    if (isBeyond(real) || isBeyond(model)) this.beyond++;
    else this.disagreements.push({ operation: this.operations, command: JSON.stringify(command), real, model });
    // What follows is to be judged by itself.
    await this.#connection.send(["FLUSHALL"], timeoutMs);
    this.#model.execute("FLUSHALL");
    await this.#connection.send(["SCRIPT", "FLUSH"], timeoutMs);
    this.#model.execute("SCRIPT", "FLUSH");
  }

  #agree(command: readonly string[], real: RedisOutcome, model: RedisOutcome): boolean {
    const name = command[0]?.toUpperCase() ?? "";
    if (real.kind === "refused" && model.kind === "refused")
      // Of an error in a script the server tells line and text; that it is the same kind of error must do.
      return name.startsWith("EVAL") ? real.code === model.code : real.message === model.message;
    if (real.kind !== "reply" || model.kind !== "reply") return false;
    if (name === "PTTL" || name === "TTL") return areSameEnds(real.value, model.value);
    if (name === "HGETALL") return this.#areSame(sorted(real.value), sorted(model.value));
    return this.#areSame(real.value, model.value);
  }

  #areSame(real: RedisReply, model: RedisReply): boolean {
    if (Array.isArray(real) && Array.isArray(model))
      return real.length === model.length && real.every((item, index) => this.#areSame(item, model[index]));
    if (real === model && !isChosenId(real)) return true;
    if (typeof real === "number" && typeof model === "number") return areBothRounded(real, model);
    if (!isChosenId(real) || !isChosenId(model)) return false;
    const known = this.#ids.get(real);
    if (known === undefined) this.#ids.set(real, model);
    return known === undefined || known === model;
  }
}

function isBeyond(outcome: RedisOutcome): boolean {
  return outcome.kind === "reply" && /nan|-0(?![.\d])|: 0x/.test(JSON.stringify(outcome.value));
}

function isNothing(outcome: RedisOutcome): boolean {
  return outcome.kind === "reply" && outcome.value === 0;
}

/** ioredis rounds numbers of more than 53 bits, and already some below. Ours travel as texts. */
function areBothRounded(real: number, model: number): boolean {
  return Math.abs(real) > 2 ** 52 && Math.abs(real - model) <= Math.abs(real) * 1e-15;
}

/** An id of a stream that has the time of now in it. */
function isChosenId(value: RedisReply): value is string {
  return typeof value === "string" && /^1[789]\d{11}-\d+$/.test(value);
}

/** The clocks of the two differ by how long the comparison runs. */
function areSameEnds(real: RedisReply, model: RedisReply): boolean {
  if (typeof real !== "number" || typeof model !== "number") return false;
  return real === model || (real > 100_000 && model > 100_000 && Math.abs(real - model) < 3_600_000);
}

function sorted(reply: RedisReply): RedisReply {
  if (!Array.isArray(reply)) return reply;
  const pairs: [field: string, value: string][] = [];
  for (let at = 0; at < reply.length; at += 2) pairs.push([reply[at] as string, reply[at + 1] as string]);
  return pairs.sort(([a], [b]) => (a < b ? -1 : 1));
}
