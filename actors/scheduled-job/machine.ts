/**
 * A job on a schedule as an actor: what it does next is decided by `advance`, a pure function over the job that stands in
 * the context; here its inputs become events, and its orders become children. Plain XState on the public API.
 */
import { assign, enqueueActions, fromPromise, setup } from "xstate";
import {
  advance,
  type Job,
  type JobInput,
  newJob,
  type Run,
  type RunResult,
  type Schedule,
  type Slots,
} from "../../coordinator/schedule/index.ts";

export type JobEvent =
  /** A node has become the owner of the job's partition. */
  | { readonly type: "OWNED"; readonly schedule: Schedule; readonly nowMs: number }
  /** The owner's clock has reached a slot; the key of the event is the slot's tickId. */
  | { readonly type: "TICK"; readonly slot: number; readonly nowMs: number }
  | { readonly type: "PAUSE" }
  | { readonly type: "RESUME" }
  /** The job ends at once. Until code that schedules it owns it again, which makes a new one, nothing begins. */
  | { readonly type: "REMOVE" }
  /** Run once now. A repeated name is not run again. */
  | { readonly type: "TRIGGER"; readonly name: string; readonly atMs: number }
  /** Run the slots from one instant to another again, or for the first time, one after the other. */
  | { readonly type: "BACKFILL"; readonly name: string; readonly fromMs: number; readonly toMs: number };

export type JobSetUp = { readonly name: string; readonly schedule: Schedule; readonly nowMs: number };

/** What the invoked work is given; `system` makes `effectOf` work. */
export type WorkArgs = { readonly input: WorkInput; readonly signal: AbortSignal; readonly system: object };
export type WorkInput = { readonly job: string; readonly run: Run; readonly timeoutMs: number };

export type JobPorts = {
  /** The slots of a schedule, always the same for the same one. */
  readonly slotsOf: (schedule: Schedule) => Slots;
  /** Does the work of one run. Rejects only if nobody here can say how it ended. */
  readonly work: (args: WorkArgs) => Promise<RunResult>;
  /** Asks the work of a run to end, if it is running here. */
  readonly cancel: (tickId: string) => void;
};

type Ended = { readonly actorId: string; readonly output?: RunResult; readonly error?: unknown };

/**
 * States: scheduled, paused (which ends nothing that runs), over (no slot comes any more), removed. Whether work runs is said by the
 * context alone: a state of its own would be entered and left for every slot.
 */
export function scheduledJobMachine(ports: JobPorts) {
  return setup({
    types: {
      input: {} as JobSetUp,
      context: {} as Job,
      events: {} as JobEvent,
    },
    actors: { work: fromPromise<RunResult, WorkInput>((args) => ports.work(args)) },
    actions: {
      cancelWork: (_, { tickId }: { readonly tickId: string }) => ports.cancel(tickId),
      advance: enqueueActions(({ context, event, enqueue }) => {
        const input = inputOf(event);
        if (input === undefined) return;
        const { job, orders } = advance(context, input, ports.slotsOf);
        const { timeoutMs } = job.schedule;
        enqueue(assign(() => job));
        for (const order of orders) {
          switch (order.kind) {
            case "begin": {
              const { run } = order;
              enqueue.spawnChild("work", { id: run.tickId, input: { job: job.name, run, timeoutMs } });
              break;
            }
            case "cancel":
              // Its type is not known inside the set-up that it is a part of.
              enqueue({ type: "cancelWork", params: { tickId: order.tickId } } as never);
              break;
            case "stop":
            case "forget":
              enqueue.stopChild(order.tickId);
              break;
          }
        }
      }),
    },
    guards: {
      isThere: ({ context }) => context.removed !== true,
      isRemoved: ({ context }) => stateOf(context) === "removed",
      isPaused: ({ context }) => stateOf(context) === "paused",
      isOver: ({ context }) => stateOf(context) === "over",
      isScheduled: ({ context }) => stateOf(context) === "scheduled",
    },
  }).createMachine({
    id: "job",
    context: ({ input: { name, schedule, nowMs } }) => newJob(name, schedule, ports.slotsOf(schedule), nowMs),
    initial: "scheduled",
    on: {
      OWNED: { actions: "advance" },
      // Of a job that is removed these change nothing, and their receipts say so.
      TICK: { guard: "isThere", actions: "advance" },
      PAUSE: { actions: "advance" },
      RESUME: { actions: "advance" },
      REMOVE: { guard: "isThere", actions: "advance" },
      TRIGGER: { actions: "advance" },
      BACKFILL: { actions: "advance" },
      "xstate.done.actor.*": { actions: "advance" },
      "xstate.error.actor.*": { actions: "advance" },
    } as Record<JobEvent["type"], { guard?: "isThere"; actions: "advance" }>,
    states: {
      scheduled: { always: [toRemoved, toPaused, toOver] },
      paused: { always: [toRemoved, toScheduled, toOver] },
      over: { always: [toRemoved, toPaused, toScheduled] },
      removed: { always: [toPaused, toScheduled, toOver] },
    },
  });
}

const toScheduled = { guard: "isScheduled", target: "scheduled" } as const;
const toPaused = { guard: "isPaused", target: "paused" } as const;
const toOver = { guard: "isOver", target: "over" } as const;
const toRemoved = { guard: "isRemoved", target: "removed" } as const;

function stateOf({ removed, paused, next, running }: Job): "scheduled" | "paused" | "over" | "removed" {
  if (removed === true) return "removed";
  if (paused) return "paused";
  return next === null && running.length === 0 ? "over" : "scheduled";
}

function inputOf(event: JobEvent): JobInput | undefined {
  switch (event.type) {
    case "OWNED":
      return { kind: "owned", schedule: event.schedule, nowMs: event.nowMs };
    case "TICK":
      return { kind: "tick", slot: event.slot, nowMs: event.nowMs };
    case "PAUSE":
      return { kind: "pause" };
    case "RESUME":
      return { kind: "resume" };
    case "REMOVE":
      return { kind: "remove" };
    case "TRIGGER":
      return { kind: "trigger", name: event.name, atMs: event.atMs };
    case "BACKFILL":
      return { kind: "backfill", name: event.name, fromMs: event.fromMs, toMs: event.toMs };
    default:
      return endOf(event as unknown as Ended & { readonly type: string });
  }
}

function endOf({ type, actorId, output, error }: Ended & { readonly type: string }): JobInput | undefined {
  if (type.startsWith("xstate.done.actor.") && output !== undefined)
    return { kind: "ended", tickId: actorId, result: output };
  if (!type.startsWith("xstate.error.actor.")) return undefined;
  const reason = error instanceof Error ? error.message : String(error);
  const unknown = "1970-01-01T00:00:00.000Z";
  const result: RunResult = {
    outcome: "failed",
    start: unknown,
    end: unknown,
    lateMs: 0,
    owner: "",
    token: [0, 0],
    attempt: 0,
    error: reason,
  };
  return { kind: "ended", tickId: actorId, result };
}
