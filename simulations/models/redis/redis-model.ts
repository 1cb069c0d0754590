/**
 * A Redis server at the far end of a network, as the code that we ship meets it: its own wall clock, which decides what has
 * expired and may be stepped; a disk that has what was flushed; replicas that lag; restarts and failovers that forget the
 * rest. The model of nobody's good day: everything that RedLock assumes away can be done to it.
 */

import type { RedisLink, RedisOutcome, RedisReply } from "../../../runtime/adapters/redis-link/link.ts";
import { type KeysOf, refuseUnknown } from "../../../runtime/options.ts";
import { RedisError, type Reply } from "./commands.ts";
import type { Change } from "./keyspace.ts";
import { RedisData } from "./redis-data.ts";

/** The world's time, or a test's. */
export type ModelTime = {
  readonly nowMs: number;
  after(delayMs: number, label: string, run: () => void): () => void;
};

/** What a write survives when the process dies with its machine. */
export type Flushing = "always" | "everySecond" | "onSave";

export type RedisFault = "lose-request" | "lose-answer" | { readonly requestMs?: number; readonly answerMs?: number };

export type RedisNetwork = {
  /** One way. Default: 0, which means at once, in the same turn. */
  readonly travelMs?: (from: string) => number;
  readonly isCut?: (from: string) => boolean;
  /** What becomes of this command. */
  readonly fault?: (from: string, command: readonly string[]) => RedisFault | undefined;
};

export type RedisModelOptions = {
  readonly name: string;
  readonly time: ModelTime;
  /** What a correct wall clock shows when time begins. Default: 2026-01-01. */
  readonly epochMs?: number;
  /** Default: "onSave". */
  readonly flushing?: Flushing;
  readonly network?: RedisNetwork;
};

const modelOptions: KeysOf<RedisModelOptions> = {
  name: true,
  time: true,
  epochMs: true,
  flushing: true,
  network: true,
};
const networkOptions: KeysOf<RedisNetwork> = { travelMs: true, isCut: true, fault: true };

/** `connection` grows when what is under way is lost. */
type Replica = { readonly model: RedisModel; readonly lagMs: number; connection: number };

export class RedisModel {
  readonly name: string;
  /** How far its wall clock is from the true time; may be stepped at any moment. */
  wallOffsetMs = 0;
  readonly #time: ModelTime;
  readonly #epochMs: number;
  readonly #flushing: Flushing;
  readonly #network: RedisNetwork;
  readonly #replicas = new Set<Replica>();
  #data: RedisData;
  /** The disk: what was flushed, and what is on its way there. */
  #flushed = new Map<string, Change>();
  #unflushed: Change[] = [];
  #isRunning = true;
  #master: RedisModel | undefined;
  #isFlushPlanned = false;
  #incarnation = 1;

  constructor(options: RedisModelOptions) {
    refuseUnknown("options of RedisModel", options, modelOptions, RangeError);
    refuseUnknown("network of RedisModel", options.network, networkOptions, RangeError);
    this.name = options.name;
    this.#time = options.time;
    this.#epochMs = options.epochMs ?? Date.UTC(2026, 0, 1);
    this.#flushing = options.flushing ?? "onSave";
    this.#network = options.network ?? {};
    this.#data = this.#newData();
  }

  get wallMs(): number {
    return Math.floor(this.#epochMs + this.wallOffsetMs + this.#time.nowMs);
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  get isReplica(): boolean {
    return this.#master !== undefined;
  }

  /** A command without a network, as somebody with a shell on the machine gives it. */
  execute(...command: string[]): RedisOutcome {
    if (!this.#isRunning) return { kind: "unsent", cause: "connection refused" };
    try {
      return { kind: "reply", value: wire(this.#data.execute(command, this.wallMs, this.isReplica)) };
    } catch (error) {
      if (!(error instanceof RedisError)) throw error;
      return { kind: "refused", code: error.message.split(" ", 1)[0] as string, message: error.message };
    }
  }

  /** Everything so far is on the disk, as after SAVE. */
  save(): void {
    for (const change of this.#unflushed.splice(0)) {
      if (change.held === undefined) this.#flushed.delete(change.key);
      else this.#flushed.set(change.key, change);
    }
  }

  /** The machine loses its power: the process is gone, and what was not flushed. */
  crash(): void {
    this.#isRunning = false;
    this.#unflushed = [];
    this.#incarnation++;
    for (const replica of this.#replicas) replica.connection++;
  }

  /** From the disk. A replica that was one copies its master anew. */
  restart(): void {
    if (this.#isRunning) this.crash();
    this.#isRunning = true;
    const before = [...this.#flushed.values()];
    this.#data = this.#newData();
    for (const change of before) this.#data.keyspace.apply(change);
    this.save();
    if (this.#master !== undefined) this.copy(this.#master);
  }

  /** From now on a copy of another: of all that it has, and then of each change, `lagMs` later. */
  copy(master: RedisModel, lagMs = 0): void {
    this.#leaveMaster();
    this.#master = master;
    for (const { key } of this.#data.keyspace.contents()) this.#data.keyspace.delete(key);
    for (const change of master.#data.keyspace.contents()) this.#data.keyspace.apply(change);
    master.#replicas.add({ model: this, lagMs, connection: 0 });
  }

  /** The failover: a replica becomes a master with what has arrived; what is under way is lost for good. */
  promote(): void {
    this.#leaveMaster();
    this.#master = undefined;
  }

  #leaveMaster(): void {
    const master = this.#master;
    if (master === undefined) return;
    for (const replica of master.#replicas) {
      if (replica.model !== this) continue;
      replica.connection++;
      master.#replicas.delete(replica);
    }
  }

  /** For one process, by its name on the network. Commands of one link arrive in the order in which they were sent. */
  link(from: string): RedisLink {
    const { travelMs = () => 0, isCut = () => false, fault = () => undefined } = this.#network;
    let lastArrivalMs = 0;
    let lastAnswerMs = 0;
    return {
      name: this.name,
      send: (command, timeoutMs) => {
        const [wayMs, fate] = [travelMs(from), fault(from, command)];
        if (wayMs === 0 && !isCut(from) && fate === undefined) return Promise.resolve(this.execute(...command));
        return new Promise((resolve) => {
          const cancel = this.#time.after(timeoutMs, `redis ${this.name} silent to ${from}`, () =>
            resolve({ kind: "unknown", cause: `no answer in ${timeoutMs} ms` }),
          );
          if (isCut(from)) return;
          if (fate === "lose-request") return;
          const extra = typeof fate === "object" ? fate : {};
          lastArrivalMs = Math.max(lastArrivalMs, this.#time.nowMs + wayMs + (extra.requestMs ?? 0));
          this.#time.after(lastArrivalMs - this.#time.nowMs, `redis ${this.name} hears ${from}`, () => {
            const incarnation = this.#incarnation;
            const outcome = this.execute(...command);
            if (fate === "lose-answer") return;
            lastAnswerMs = Math.max(lastAnswerMs, this.#time.nowMs + travelMs(from) + (extra.answerMs ?? 0));
            this.#time.after(lastAnswerMs - this.#time.nowMs, `redis ${this.name} answers ${from}`, () => {
              if (isCut(from)) return;
              cancel();
              const isLost = incarnation !== this.#incarnation && outcome.kind !== "unsent";
              resolve(isLost ? { kind: "unknown", cause: "the connection is gone" } : outcome);
            });
          });
        });
      },
    };
  }

  #newData(): RedisData {
    return new RedisData((change) => {
      this.#unflushed.push(change);
      if (this.#flushing === "always") this.save();
      else if (this.#flushing === "everySecond") this.#planFlush();
      for (const replica of this.#replicas) this.#ship(replica, change);
    });
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    this.#time.after(1_000, `redis ${this.name} flushes`, () => {
      this.#isFlushPlanned = false;
      if (this.#isRunning) this.save();
    });
  }

  #ship(replica: Replica, change: Change): void {
    const { connection } = replica;
    this.#time.after(replica.lagMs, `redis ${this.name} replicates`, () => {
      if (connection === replica.connection && replica.model.#isRunning) replica.model.#data.keyspace.apply(change);
    });
  }
}

/** Statuses and texts look the same to whoever reads them. */
function wire(reply: Reply): RedisReply {
  if (reply === null || typeof reply === "string" || typeof reply === "number") return reply;
  return "ok" in reply ? reply.ok : reply.map(wire);
}
