/**
 * Tells jobs what time it is. One timer for all jobs of this node, to the next slot that is due and at the latest to the
 * next whole second; a job gets its ticks from the node that owns its partition, and from no other. It decides nothing:
 * what a tick leads to is the job's own affair, so a tick may be repeated, come late, or be lost with its node.
 *
 * T1 a tick is sent only under the token of the job's partition, and only after `OWNED` was answered under that token.
 * T2 no tick before its slot, by this node's clock at the moment of sending.
 * T3 one tick of a job is on its way at a time; the next one covers what came due meanwhile.
 * T4 while a job is held nothing new is asked of it, and a job that a tick finds removed is asked again under a new token only.
 */
import type { Schedule } from "../../coordinator/schedule/schedule.ts";
import { offsetMs, type Slots } from "../../coordinator/schedule/slots.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Leases } from "../ports/leases.ts";
import type { Logger } from "../ports/logger.ts";
import type { Token } from "../ports/store.ts";
import type { Input } from "../step.ts";
import { DueHeap } from "./due-heap.ts";
import type { Outcome } from "./outcome.ts";

export type TickedJob = {
  readonly name: string;
  /** Of its document. */
  readonly key: string;
  readonly schedule: Schedule;
  readonly slots: Slots;
};

/** What the ticker needs of a host. */
export type TickedHost = {
  partitionOf(key: string): number;
  request(key: string, input: Input, answer: (outcome: Outcome) => void): void;
};

export type TickerPorts = {
  readonly host: TickedHost;
  readonly leases: Pick<Leases, "token" | "onChange">;
  readonly clock: Clock;
  readonly logger: Logger;
};

/** Of a job: who is asked for it now. `owned`: the answer to `OWNED` came under this token. */
type Ticked = {
  readonly job: TickedJob;
  readonly partition: number;
  readonly offsetMs: number;
  token: Token | undefined;
  isOwned: boolean;
  /** Names the latest `OWNED`. */
  asOwner: string;
  isAsking: boolean;
  /** Somebody is removing it, from here. */
  isHeld: boolean;
  /** When it is to be looked at next, by the wall clock. */
  dueMs: number;
  /** What is asked again, as it was, until there is an answer. */
  question: { readonly input: Input; readonly upTo: number } | undefined;
  complaint: string | undefined;
  readonly asked: () => void;
};

/** The longest sleep, so that a wall clock that jumps is noticed; and how often a request that failed is repeated. */
const beatMs = 1_000;

export class Ticker {
  readonly #ports: TickerPorts;
  readonly #jobs = new Map<string, Ticked>();
  readonly #due = new DueHeap<Ticked>();
  #wake: Cancel | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #unheard: (() => void) | undefined;
  #isStopped = false;
  /** How often jobs have been told that this node owns them. */
  #owned = 0;
  /** When all leases were looked at last. */
  #lookedMs = 0;
  /** What has gone wrong since the last beat, by problem, with the jobs that it came to: told in one line each. */
  readonly #complaints = new Map<string, string[]>();

  constructor(ports: TickerPorts) {
    this.#ports = ports;
  }

  /** Resolves when the job has been asked for the first time, or is another node's. */
  add(job: TickedJob): Promise<void> {
    return new Promise((resolve) => this.#add(job, resolve));
  }

  #add(job: TickedJob, asked: () => void): void {
    const ticked: Ticked = {
      job,
      partition: this.#ports.host.partitionOf(job.key),
      offsetMs: offsetMs(job.name, job.schedule),
      token: undefined,
      isOwned: false,
      asOwner: "",
      isAsking: false,
      isHeld: false,
      dueMs: 0,
      question: undefined,
      complaint: undefined,
      asked,
    };
    this.#jobs.set(job.name, ticked);
    this.#unheard ??= this.#ports.leases.onChange(({ partition }) => {
      for (const one of this.#jobs.values()) if (one.partition === partition) this.#lookAt(one);
    });
    this.#lookAt(ticked);
    this.#arm();
  }

  /** Nothing is asked of the job until it is let go; what is on its way may still land. */
  hold(name: string): void {
    const ticked = this.#jobs.get(name);
    if (ticked !== undefined) ticked.isHeld = true;
  }

  /** It goes on as before. */
  letGo(name: string): void {
    const ticked = this.#jobs.get(name);
    if (ticked === undefined) return;
    ticked.isHeld = false;
    const isDue = !ticked.isOwned || ticked.question !== undefined || ticked.dueMs <= this.#ports.clock.now();
    if (ticked.token !== undefined && !ticked.isAsking && isDue) this.#ask(ticked);
  }

  /** Nothing is asked of it any more. */
  drop(name: string): void {
    const ticked = this.#jobs.get(name);
    if (ticked === undefined) return;
    this.#jobs.delete(name);
    ticked.isHeld = true;
    ticked.token = undefined;
    ticked.question = undefined;
    ticked.asked();
  }

  /** No tick is sent any more; what is on its way is the host's affair. */
  stop(): void {
    this.#isStopped = true;
    this.#wake?.();
    this.#unheard?.();
    this.#complain();
  }

  /** Follows the lease: without a token there is no tick, and under a new one the job is asked first. */
  #lookAt(ticked: Ticked): void {
    const token = this.#ports.leases.token(ticked.partition);
    if (token === undefined) {
      ticked.token = undefined;
      ticked.isOwned = false;
      ticked.question = undefined;
      ticked.dueMs = Number.POSITIVE_INFINITY;
      ticked.asked();
      return;
    }
    if (ticked.token !== undefined && ticked.token[0] === token[0] && ticked.token[1] === token[1]) return;
    ticked.token = token;
    ticked.isOwned = false;
    ticked.isAsking = false;
    ticked.question = undefined;
    this.#ask(ticked);
  }

  #beat(): void {
    this.#wake = undefined;
    this.#complain();
    const nowMs = this.#ports.clock.now();
    // Once a second, whatever the wall clock does; a lease may have gone or come without a word.
    if (nowMs - this.#lookedMs >= beatMs || nowMs < this.#lookedMs) {
      this.#lookedMs = Math.floor(nowMs / beatMs) * beatMs;
      for (const ticked of this.#jobs.values()) {
        this.#lookAt(ticked);
        if (ticked.question !== undefined && !ticked.isAsking) this.#ask(ticked);
      }
    }
    for (let due = this.#due.take(nowMs); due !== undefined; due = this.#due.take(nowMs)) {
      const { item } = due;
      if (item.dueMs === due.dueMs && item.token !== undefined && !item.isAsking) this.#ask(item);
    }
    this.#arm();
  }

  #arm(): void {
    if (this.#isStopped || this.#jobs.size === 0) return;
    const nowMs = this.#ports.clock.now();
    const nextMs = Math.min(Math.floor(nowMs / beatMs + 1) * beatMs, this.#due.nextMs ?? Number.POSITIVE_INFINITY);
    if (this.#wake !== undefined && nextMs >= this.#wakeAtMs) return;
    this.#wake?.();
    this.#wakeAtMs = nextMs;
    this.#wake = this.#ports.clock.after(Math.max(0, nextMs - nowMs), () => this.#beat(), { background: true });
  }

  #setDue(ticked: Ticked, dueMs: number): void {
    ticked.dueMs = dueMs;
    if (Number.isFinite(dueMs)) this.#due.push(dueMs, ticked);
    this.#arm();
  }

  #ask(ticked: Ticked): void {
    if (this.#isStopped || ticked.isHeld) return;
    const question = ticked.question ?? this.#questionFor(ticked);
    if (question === undefined) return;
    ticked.question = question;
    ticked.isAsking = true;
    const { token } = ticked;
    this.#ports.host.request(ticked.job.key, question.input, (outcome) => {
      // An answer under an earlier token says nothing of this one.
      if (ticked.token !== token || ticked.question !== question) return;
      this.#answered(ticked, outcome);
    });
  }

  /** What is to be asked now; undefined, with the time of the next slot: nothing yet. */
  #questionFor(ticked: Ticked): Ticked["question"] {
    const { job, token, isOwned } = ticked;
    const nowMs = this.#ports.clock.now();
    const upTo = job.slots.last(nowMs - ticked.offsetMs);
    if (!isOwned) {
      const event = { type: "OWNED", schedule: job.schedule, nowMs };
      const input = { name: job.name, schedule: job.schedule, nowMs };
      // A partition may come back under the token that it had, when it could not be handed over, and a job that was removed be
      // scheduled again within the same millisecond: that is asked anew.
      ticked.asOwner = `${token?.join(".")}/${nowMs}.${++this.#owned}`;
      const key = { kind: "caller", key: `owned/${ticked.asOwner}` } as const;
      return { input: { kind: "create", input, event, key }, upTo: upTo ?? nowMs - ticked.offsetMs };
    }
    if (upTo === undefined || upTo + ticked.offsetMs < ticked.dueMs) {
      // The clock went back, or the timer came early.
      this.#sleep(ticked, ticked.dueMs - ticked.offsetMs);
      return undefined;
    }
    // A removed job has answered ticks too: a slot that is told to the next one must not be taken for one of those.
    const key = { kind: "caller", key: `${job.name}/${upTo}@${ticked.asOwner}` } as const;
    return { input: { kind: "event", event: { type: "TICK", slot: upTo, nowMs } as { type: string }, key }, upTo };
  }

  #answered(ticked: Ticked, outcome: Outcome): void {
    ticked.isAsking = false;
    ticked.asked();
    const problem = problemOf(outcome);
    if (problem === undefined) {
      ticked.complaint = undefined;
      if (ticked.isOwned && changedNothing(outcome)) this.#foundRemoved(ticked);
      else this.#sleep(ticked, (ticked.question?.upTo ?? 0) + 1);
      ticked.isOwned = true;
      ticked.question = undefined;
    } else {
      if (problem !== ticked.complaint) {
        const jobs = this.#complaints.get(problem) ?? [];
        jobs.push(ticked.job.key);
        this.#complaints.set(problem, jobs);
      }
      ticked.complaint = problem;
    }
  }

  /** Whoever removed it did so elsewhere: what is said here of its schedule holds again when this node is its next owner. */
  #foundRemoved(ticked: Ticked): void {
    ticked.dueMs = Number.POSITIVE_INFINITY;
    const { key, name } = ticked.job;
    this.#ports.logger.warn(
      `${name} was removed, and is still scheduled here: it comes back when this node is its owner anew`,
      { actor: key },
    );
  }

  /** A lost session comes to all jobs of a node at once. */
  #complain(): void {
    for (const [problem, jobs] of this.#complaints) {
      const [actor = ""] = jobs;
      const whom = jobs.length === 1 ? "a job" : `${jobs.length} jobs`;
      this.#ports.logger.warn(`${whom} could not be told the time; trying again every second: ${problem}`, { actor });
    }
    this.#complaints.clear();
  }

  /** Until the first slot at or after this instant. */
  #sleep(ticked: Ticked, fromMs: number): void {
    const slot = ticked.job.slots.first(fromMs);
    this.#setDue(ticked, slot === undefined ? Number.POSITIVE_INFINITY : slot + ticked.offsetMs);
  }
}

/** Any tick that a job takes or refuses changes it: this one has met none. */
function changedNothing(outcome: Outcome): boolean {
  return outcome.kind === "reply" && outcome.reply.kind === "receipt" && !outcome.reply.receipt.changed;
}

/** Why the request has to be repeated; undefined: it is done, by this request or by an earlier one for the same slot. */
function problemOf(outcome: Outcome): string | undefined {
  switch (outcome.kind) {
    case "moved":
    case "unknown":
      return outcome.kind;
    case "failed":
      return `${outcome.code}: ${outcome.message}`;
    case "reply": {
      const { reply } = outcome;
      if (reply.kind !== "refused") return undefined;
      // Somebody has sent it again with another time in it: it is the same tick.
      return reply.error.code === "KeyReused" ? undefined : `${reply.error.code}: ${reply.error.message}`;
    }
  }
}
