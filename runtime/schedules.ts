/**
 * Schedules of one runtime: makes `runtime.schedule(…)` out of an actor type, a ticker and the handlers. Handlers are
 * code, so each node names its own; whoever owns a job's partition runs it. Start reading at `schedule`.
 */
import { scheduledJobMachine, type WorkArgs, type WorkInput } from "../actors/scheduled-job/machine.ts";
import type { Cron, ReadCron } from "../coordinator/ports/cron.ts";
import type { Job, RunResult } from "../coordinator/schedule/job.ts";
import {
  isoExample,
  type Moment,
  momentMs,
  type Schedule,
  type ScheduleOptions,
  scheduleOf,
} from "../coordinator/schedule/schedule.ts";
import { offsetMs, type Slots, slotsOf } from "../coordinator/schedule/slots.ts";
import type { ActorHandle } from "./client.ts";
import { type ActorDefinition, defineActor } from "./definition.ts";
import { InvalidRequestError, NotFoundError } from "./errors.ts";
import { type TickedHost, Ticker } from "./host/ticker.ts";
import { actorKey } from "./keys.ts";
import { effectOf } from "./machine/live.ts";
import { refuseUnknown } from "./options.ts";
import type { Clock } from "./ports/clock.ts";
import type { ExecutionLog, ExecutionRecord } from "./ports/execution-log.ts";
import type { Leases } from "./ports/leases.ts";
import type { Logger } from "./ports/logger.ts";
import type { Token } from "./ports/store.ts";

/** What the work of one slot is given. */
export type TickInfo = {
  /** `<job>/<slot>`: the same in every attempt and on every node. Give it to whatever must not be done twice. */
  readonly tickId: string;
  /** The instant for which it is scheduled, in milliseconds since 1970; of a trigger, the moment of its call. */
  readonly slot: number;
  /** The fencing token of this node. Give it to whatever can refuse a lower one. */
  readonly token: Token;
  /** How this node is called. With the token it makes the claim of a fenced register. */
  readonly owner: string;
  /** Counts retries of a policy, and jobs have none: 1. Work that runs again after a takeover has a higher token instead. */
  readonly attempt: number;
  /** Aborted when the time is over, the job is to end, or this node is not its owner any more. */
  readonly signal: AbortSignal;
  /** W3C traceparent, where there is telemetry. */
  readonly trace?: string;
};

export type JobOptions = ScheduleOptions & {
  /**
   * Where each run is written down when it has ended, beside the job's document. It holds up nothing and decides nothing:
   * what cannot be written there is logged as a warning.
   */
  readonly executionLog?: Pick<ExecutionLog, "append">;
};

export type JobHandler = (tick: TickInfo) => void | PromiseLike<void>;

type JobMachine = ReturnType<typeof scheduledJobMachine>;

/** The actor type under which jobs are kept: `job.<name>`. */
export const jobType = "job";

/**
 * A job's log has its own bound; its keys are needed only while a tick may be repeated: J1 refuses what is older. There is
 * room for those of the shortest period.
 */
const jobLimits = { keys: 256, keyWindowMs: 2_000 } as const;

export type SchedulesPorts = {
  readonly host: TickedHost & { define(type: string, definition: ActorDefinition): void };
  readonly leases: Leases;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How this node is called in logs. */
  readonly owner: () => string;
  /** Makes the type known to whoever looks for it by name. */
  readonly define: (type: string, definition: ActorDefinition) => void;
  readonly actor: (type: string, id: string) => ActorHandle<JobMachine>;
  /** How cron patterns are read. Default: by croner, which is loaded when the first of them comes. */
  readonly readCron?: ReadCron;
};

type Named = {
  readonly handler: JobHandler;
  readonly schedule: Schedule;
  readonly executionLog: JobOptions["executionLog"];
};

/** This process schedules the job no more, if `remove` resolves; until then nothing is asked of it from here. */
type Removing = (remove: () => Promise<void>) => Promise<void>;

/** One job, wherever it runs. */
export class JobHandle {
  readonly name: string;
  readonly #actor: ActorHandle<JobMachine>;
  readonly #clock: Clock;
  readonly #removing: Removing;

  constructor(name: string, actor: ActorHandle<JobMachine>, clock: Clock, removing: Removing) {
    this.name = name;
    this.#actor = actor;
    this.#clock = clock;
    this.#removing = removing;
  }

  /** No slot is begun until `resume`; those that pass are counted. What runs goes on. */
  async pause(): Promise<void> {
    await this.#actor.send({ type: "PAUSE" });
  }

  async resume(): Promise<void> {
    await this.#actor.send({ type: "RESUME" });
  }

  /** Runs the work once, now, or as soon as what runs has ended. A name that was used lately does nothing. */
  async trigger(name: string): Promise<void> {
    await this.#actor.send({ type: "TRIGGER", name, atMs: this.#clock.now() });
  }

  /** Runs the slots of a range, both ends included, that are past, whatever became of them; one after the other. */
  async backfill(name: string, range: { readonly from: Moment; readonly to: Moment }): Promise<void> {
    refuseUnknown(`backfill ${name}`, range, { from: true, to: true }, InvalidRequestError);
    const [fromMs, toMs] = [momentIn("from", range.from), momentIn("to", range.to)];
    if (toMs < fromMs) throw new InvalidRequestError(`backfill ${name}: to is before from`);
    await this.#actor.send({ type: "BACKFILL", name, fromMs, toMs });
  }

  /**
   * Ends the job at once: no further slot begins, what runs has its signal aborted and is not waited for. This process
   * does not schedule it any more. It comes back, as a new job, when a process calls `schedule` for it afterwards, or becomes
   * its owner while it still schedules it. A job that was removed before, or never was, is none now. When it rejects, this
   * process goes on as before, and whoever wants it removed calls again.
   */
  async remove(): Promise<void> {
    await this.#removing(async () => {
      try {
        await this.#actor.send({ type: "REMOVE" });
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error;
      }
    });
  }

  /**
   * As committed: next and last slot, what runs and waits, counts, log. Undefined before its first owner; `removed` when it is.
   */
  async state(): Promise<Job | undefined> {
    return (await this.#actor.state())?.context;
  }
}

export class Schedules {
  readonly #ports: SchedulesPorts;
  readonly #jobs = new Map<string, Named>();
  readonly #slots = new Map<string, Slots>();
  /** Work that runs here, by tickId: how to ask it to end. */
  readonly #running = new Map<string, AbortController>();
  /** Work that was asked to end before it had begun here, as after a takeover: the latest of it. */
  readonly #cancelled = new Set<string>();
  /** Work that waits for its job to be scheduled here, by job. */
  readonly #waiting = new Map<string, Set<(named: Named) => void>>();
  /** Records on their way into execution logs. */
  readonly #appending = new Set<Promise<void>>();
  #ticker: Ticker | undefined;
  #readCron: ReadCron | undefined;
  #loading: Promise<void> | undefined;
  #isStopped = false;

  constructor(ports: SchedulesPorts) {
    this.#ports = ports;
    this.#readCron = ports.readCron;
  }

  /** Rejects with InvalidRequestError for a schedule that cannot be, and for a name that is taken. */
  async schedule(name: string, options: JobOptions, handler: JobHandler): Promise<JobHandle> {
    const key = actorKey(jobType, name);
    if (typeof handler !== "function") throw new InvalidRequestError(`schedule ${name}: it needs a handler`);
    if (options?.cron !== undefined) this.#readCron ??= await loadCroner();
    if (this.#jobs.has(name)) throw new InvalidRequestError(`schedule ${name}: there is one of this name already`);
    if (this.#isStopped) throw new InvalidRequestError(`schedule ${name}: the runtime is stopping`);
    const { executionLog, ...timing } = options ?? {};
    const schedule = scheduleOf(name, timing, this.#readCron);
    const ticker = this.#startTicker();
    const named: Named = { handler, schedule, executionLog };
    this.#jobs.set(name, named);
    for (const begin of this.#waiting.get(name) ?? []) begin(named);
    await ticker.add({ name, key, schedule, slots: this.#slotsOf(schedule) });
    return this.job(name);
  }

  /** Of a job that need not be scheduled here. */
  job(name: string): JobHandle {
    this.#startTicker();
    const actor = this.#ports.actor(jobType, name);
    return new JobHandle(name, actor, this.#ports.clock, (remove) => this.#removed(name, remove));
  }

  async #removed(name: string, remove: () => Promise<void>): Promise<void> {
    // Or a question that is repeated would bring it back right after its end.
    this.#ticker?.hold(name);
    try {
      await remove();
    } catch (error) {
      this.#ticker?.letGo(name);
      throw error;
    }
    this.#ticker?.drop(name);
    this.#jobs.delete(name);
  }

  /** No more ticks: the runtime is about to stop, and another node takes over. */
  stop(): void {
    this.#isStopped = true;
    this.#ticker?.stop();
  }

  /** Resolves when execution logs have taken, or given up, what was on its way to them. */
  async logged(): Promise<void> {
    await Promise.all(this.#appending);
  }

  #startTicker(): Ticker {
    if (this.#ticker !== undefined) return this.#ticker;
    const { host, leases, clock, logger } = this.#ports;
    const machine = scheduledJobMachine({
      slotsOf: (schedule) => this.#slotsOf(schedule),
      work: (args) => this.#work(args),
      cancel: (tickId) => this.#cancel(tickId),
    });
    const definition = defineActor(machine, {
      // Time limits are the job's own.
      effects: { work: { timeoutMs: Number.POSITIVE_INFINITY } },
      limits: jobLimits,
    }) as unknown as ActorDefinition;
    this.#ports.define(jobType, definition);
    this.#ticker = new Ticker({ host, leases, clock, logger });
    host.define(jobType, definition);
    return this.#ticker;
  }

  #slotsOf(schedule: Schedule): Slots {
    const text = JSON.stringify([schedule.timing, schedule.fromMs, schedule.untilMs]);
    let slots = this.#slots.get(text);
    if (slots === undefined) {
      slots = slotsOf(schedule, (pattern, timeZone) => this.#read(pattern, timeZone));
      this.#slots.set(text, slots);
    }
    return slots;
  }

  /** A document may hold a pattern that nothing of this node has: it is met again once croner is there. */
  #read(pattern: string, timeZone: string): Cron {
    if (this.#readCron !== undefined) return this.#readCron(pattern, timeZone);
    const { logger } = this.#ports;
    this.#loading ??= loadCroner().then(
      (readCron) => {
        this.#readCron ??= readCron;
      },
      (error: unknown) => logger.warn("a job's document has a cron pattern that nothing here reads", { error }),
    );
    throw new InvalidRequestError(`the cron pattern ${pattern} of its document cannot be read without croner`);
  }

  #cancel(tickId: string): void {
    const running = this.#running.get(tickId);
    if (running !== undefined) return running.abort(askedToEnd(tickId));
    this.#cancelled.add(tickId);
    // What never begins here is not kept for ever.
    for (const oldest of this.#cancelled) {
      if (this.#cancelled.size <= mostCancelled) break;
      this.#cancelled.delete(oldest);
    }
  }

  #entered(tickId: string, controller: AbortController): void {
    this.#running.set(tickId, controller);
    if (this.#cancelled.delete(tickId)) controller.abort(askedToEnd(tickId));
  }

  async #work({ input, signal, system }: WorkArgs): Promise<RunResult> {
    const { clock } = this.#ports;
    const owner = this.#ports.owner();
    const { tickId, slot } = input.run;
    const { token, attempt, trace } = effectOf({ system });
    const named = this.#jobs.get(input.job) ?? (await this.#scheduled(input, signal));
    const startedMs = clock.now();
    const { isAborted, ...outcome } = await this.#perform(named?.handler, input, signal, {
      tickId,
      slot,
      token,
      owner,
      attempt,
      ...(trace !== undefined && { trace }),
    });
    const endedMs = clock.now();
    const dueMs =
      slot + (named === undefined || input.run.extra !== undefined ? 0 : offsetMs(input.job, named.schedule));
    if (named?.executionLog !== undefined)
      this.#append(named.executionLog, input.job, {
        tickId,
        attempt,
        dueMs,
        startedMs,
        endedMs,
        outcome: outcome.outcome === "done" ? "done" : isAborted ? "aborted" : "failed",
        ...(outcome.error !== undefined && { detail: outcome.error }),
        owner,
        token,
        ...(trace !== undefined && { traceId: traceIdOf(trace) }),
      });
    return {
      ...outcome,
      start: iso(startedMs),
      end: iso(endedMs),
      lateMs: startedMs - dueMs,
      owner,
      token: [token[0], token[1]],
      attempt,
      ...(trace !== undefined && { trace }),
    };
  }

  /** Nobody but `logged` waits for it: a log that is away must not cost a slot. */
  #append(log: Pick<ExecutionLog, "append">, job: string, record: ExecutionRecord): void {
    const { tickId, token } = record;
    const warn = (error: unknown) =>
      this.#ports.logger.warn(`a run could not be written into the execution log: ${tickId}`, {
        actor: actorKey(jobType, job),
        token,
        error,
      });
    const append = async () => {
      const outcome = await log.append(job, record);
      if (outcome.kind === "unknown") warn(outcome.cause);
    };
    const appending = append()
      .catch(warn)
      .finally(() => this.#appending.delete(appending));
    this.#appending.add(appending);
  }

  /**
   * Work that was interrupted is found with the first job that is scheduled, when others are not yet: it waits for its own.
   * Undefined: in vain, or it is not to begin any more.
   */
  #scheduled({ job, run: { tickId } }: WorkInput, lost: AbortSignal): Promise<Named | undefined> {
    const { clock, logger } = this.#ports;
    return new Promise((resolve) => {
      const controller = new AbortController();
      const waiting = this.#waiting.get(job) ?? new Set();
      const end = (named?: Named) => {
        cancelWarning();
        cancelWait();
        lost.removeEventListener("abort", giveUp);
        waiting.delete(end);
        if (waiting.size === 0 && this.#waiting.get(job) === waiting) this.#waiting.delete(job);
        if (this.#running.get(tickId) === controller) this.#running.delete(tickId);
        resolve(named);
      };
      const giveUp = () => end();
      const cancelWarning = clock.after(longWaitMs, () =>
        logger.warn(
          `${tickId} waits for ${job} to be scheduled on this node; after ${longestWaitMs} ms it has failed`,
          {
            actor: actorKey(jobType, job),
          },
        ),
      );
      const cancelWait = clock.after(longestWaitMs, giveUp);
      lost.addEventListener("abort", giveUp);
      controller.signal.addEventListener("abort", giveUp);
      waiting.add(end);
      this.#waiting.set(job, waiting);
      this.#entered(tickId, controller);
      if (lost.aborted) giveUp();
    });
  }

  /** The handler, until it ends or its time is over. Never rejects. */
  async #perform(
    handler: JobHandler | undefined,
    { job, timeoutMs }: WorkInput,
    lost: AbortSignal,
    tick: Omit<TickInfo, "signal">,
  ): Promise<Pick<RunResult, "outcome" | "error"> & { readonly isAborted: boolean }> {
    if (handler === undefined) {
      const error = `this node has no handler for ${job}: it is not scheduled here`;
      return { outcome: "failed", error, isAborted: false };
    }
    const { tickId } = tick;
    const controller = new AbortController();
    const abort = () => controller.abort(lost.reason);
    lost.addEventListener("abort", abort);
    if (lost.aborted) abort();
    this.#entered(tickId, controller);
    let cancelTimer = () => {};
    const timedOut = new Promise<Pick<RunResult, "outcome" | "error">>((resolve) => {
      cancelTimer = this.#ports.clock.after(timeoutMs, () => {
        const error = `${tickId} did not end within ${timeoutMs} ms`;
        controller.abort(new Error(error));
        resolve({ outcome: "timedOut", error });
      });
    });
    const done = (async (): Promise<Pick<RunResult, "outcome" | "error">> => {
      try {
        await handler({ ...tick, signal: controller.signal });
        return { outcome: "done" };
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        return { outcome: "failed", error: text.slice(0, longestError) };
      }
    })();
    try {
      const outcome = await Promise.race([done, timedOut]);
      return { ...outcome, isAborted: controller.signal.aborted };
    } finally {
      cancelTimer();
      lost.removeEventListener("abort", abort);
      if (this.#running.get(tickId) === controller) this.#running.delete(tickId);
    }
  }
}

/** How long work waits for its handler before that is worth a warning, and before it has failed. */
const longWaitMs = 2_000;
const longestWaitMs = 60_000;

/** Of what a handler threw, in characters: it stands in the log of the document. */
const longestError = 300;

const mostCancelled = 1_000;

function askedToEnd(tickId: string): Error {
  return new Error(`${tickId} was asked to end`);
}

async function loadCroner(): Promise<ReadCron> {
  try {
    return (await import("../coordinator/schedule/croner.ts")).readCron;
  } catch (cause) {
    throw new InvalidRequestError("cron schedules need the package croner: npm install croner", { cause });
  }
}

function momentIn(name: string, given: Moment): number {
  const ms = momentMs(given);
  if (ms !== undefined) return ms;
  throw new InvalidRequestError(
    `${name} is ${String(given)}; it must be a date, milliseconds since 1970, or ${isoExample}`,
  );
}

/** The second field of a W3C traceparent. */
function traceIdOf(trace: string): string {
  return trace.split("-")[1] ?? trace;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
