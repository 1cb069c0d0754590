/**
 * Jobs in the simulated world as data, and how they are run: two nodes with the production host, ticker and job machine,
 * troubles, and somebody who sends old ticks again; then everything heals, and the checker looks at every job.
 */

import type { ReadCron } from "../../coordinator/ports/cron.ts";
import type { Job } from "../../coordinator/schedule/job.ts";
import type { Misfire, Overlap, ScheduleOptions } from "../../coordinator/schedule/schedule.ts";
import { offsetMs } from "../../coordinator/schedule/slots.ts";
import type { Document } from "../../runtime/document.ts";
import { Host } from "../../runtime/host/host.ts";
import type { TickedHost } from "../../runtime/host/ticker.ts";
import { rootSid } from "../../runtime/machine/tree.ts";
import type { Token } from "../../runtime/ports/store.ts";
import { Schedules } from "../../runtime/schedules.ts";
import { checkSchedule, type ScheduleHistory } from "../checkers/schedule.ts";
import type { Succession } from "../checkers/succession.ts";
import type { Violation } from "../checkers/violation.ts";
import { nodeNames, plan, type Rates, type Trouble } from "../protocol/case.ts";
import { type Attempt, Client, partitionOf, rigSettings } from "../protocol/rig.ts";
import { guard } from "../run/ambient.ts";
import type { Fault } from "../run/fault.ts";
import { inflict } from "../run/inflict.ts";
import { readLog } from "../run/story.ts";
import { isTick, judgeTraces } from "../run/trace-rules.ts";
import type { DrawnAt } from "../world/drawing.ts";
import { FencedRecorder } from "../world/fenced-recorder.ts";
import type { NodePorts } from "../world/node.ts";
import { createWorld, type World } from "../world/world.ts";

export type JobSpec = {
  readonly everyMs: number;
  /** The same slots by a cron pattern; of whole seconds, up to a minute. */
  readonly isCron?: boolean;
  readonly jitterMs: number;
  readonly misfire: Misfire;
  readonly overlap: Overlap;
  readonly catchUpMs: number;
  readonly graceMs: number;
  /** How long its work takes; one in `failsOneIn` throws. */
  readonly workMs: number;
  readonly failsOneIn: number;
  /** What another release says of the same job, which the second node runs. */
  readonly elsewhere?: { readonly everyMs: number; readonly overlap: Overlap } | undefined;
};

export type ScheduleCase = {
  readonly seed: number;
  readonly jobs: readonly JobSpec[];
  readonly troubles: readonly Trouble[];
  /** More troubles, as any suite has them. */
  readonly faults?: readonly Fault[];
  readonly rates: Rates;
  /** Old ticks that are sent again, while there is trouble. */
  readonly replays: number;
  /** Pauses, resumptions, triggers, backfills and removals, while there is trouble. Default 0. */
  readonly interventions?: number;
};

export type ScheduleOutcome = {
  readonly world: World;
  readonly violations: readonly Violation[];
  readonly slots: number;
  /** True times at which work was begun, with its node. */
  readonly performed: readonly Performed[];
  /** When each process that died did so, by node and incarnation. */
  readonly deaths: ReadonlyMap<string, number>;
  readonly names: readonly string[];
  readonly given: ScheduleCase;
};

export const leaseTtlMs = 3_000;
export const troubledMs = 25_000;
const healedMs = 15_000;
/** Longest time for which anything can be under way after the healing. */
const lateMs = 10_000;

type Performed = ScheduleHistory["performed"][number] & {
  readonly job: string;
  readonly atMs: number;
  readonly node: string;
};
type Sent = ScheduleHistory["sent"][number] & { readonly job: string };

export async function runSchedule(
  given: ScheduleCase,
  fullTrace = false,
  onDrawn?: (drawn: DrawnAt) => void,
): Promise<ScheduleOutcome> {
  // Before the world moves: loading takes real time.
  const readCron = given.jobs.some(({ isCron }) => isCron === true)
    ? (await import("../../coordinator/schedule/croner.ts")).readCron
    : undefined;
  const world = createWorld({
    seed: given.seed,
    fullTrace,
    maxSteps: 400_000,
    store: { delays: { giveUpMs: [100, 1_000], lateMs: [100, lateMs] } },
    bus: { lateMs: [500, lateMs] },
    leases: { partitions: 2, ttlMs: leaseTtlMs },
  });
  await guard(world);
  if (onDrawn !== undefined) world.draw(onDrawn);
  world.store.faults.set(given.rates.store);
  world.bus.requestFaults.rates = given.rates.request;
  for (const trouble of given.troubles) plan(world, trouble);
  inflict(given.faults ?? [], { world, nodes: nodeNames });
  const names = given.jobs.map((_, index) => nameIn(world, index));
  const performed: Performed[] = [];
  const sent: Sent[] = [];
  const recorder = new FencedRecorder({ fenced: true, remembersKeys: true, nowMs: () => world.nowMs });
  const highest = { ms: 0 };
  const deaths = new Map<string, number>();
  const scheduling: Scheduling = new Map();
  const interventions = given.interventions ?? 0;
  const operator = interventions > 0 ? new Client(world, "operator", []) : undefined;
  for (const name of nodeNames) {
    const node = world.node(name);
    node.boot((ports) => {
      const { gate } = node;
      gate.onCrash(() => deaths.set(gate.owner, world.nowMs));
      const rig = { world, given, readCron, names, performed, sent, recorder, highest, scheduling, operator };
      return start(rig, name, ports);
    });
  }
  const replaying = replay(world, given.replays);
  const intervening = intervene(world, operator, scheduling, interventions, names);
  await world.run({ forMs: troubledMs });
  world.heal();
  // What was removed comes back when the processes whose code schedules it are started again.
  const isRemoved = names.some((name) =>
    documentsOf(world, name)
      .slice(-1)
      .some((document) => contextOf(document).removed === true),
  );
  const healedAt = world.store.log.length;
  for (const name of nodeNames) {
    const node = world.node(name);
    node.wallOffsetMs = 0;
    if (node.state === "crashed" || isRemoved) node.restart();
  }
  await world.run({ forMs: healedMs + lateMs });
  await world.settle(replaying);
  await world.settle(intervening);
  const histories = names.flatMap((name, index) =>
    historiesOf(world, name, given.jobs[index] as JobSpec, performed, sent, highest.ms, healedAt),
  );
  const violations = histories.flatMap((history) => ("rule" in history ? [history] : checkSchedule(history)));
  violations.push(...checkRecorder(recorder), ...judgeTraces(world, storyOf(world), isTick));
  const slots = histories.reduce((sum, one) => sum + ("rule" in one ? 0 : one.begun.length), 0);
  return { world, violations, slots, performed, deaths, names, given };
}

const storyOf = (world: World) => readLog(world.store.log, Math.round(world.wallMs - world.nowMs));

/** Of each change of an owner, how long the jobs of its partition stood still, in true time. */
export type Takeover = {
  /** From the grant to the new owner's first tick. */
  readonly toTickMs: number;
  /** From the old owner's last tick to that: more than from its death. */
  readonly silentMs: number;
};

export function takeoversOf({ world, performed }: Pick<ScheduleOutcome, "world" | "performed">): readonly Takeover[] {
  return world.leases.grants.flatMap(({ partition, token, atMs }) => {
    const runs = performed.filter(({ job }) => partitionOf(world, `job.${job}`) === partition);
    const first = runs.find((run) => run.token[1] === token[1]);
    const last = runs.findLast((run) => run.atMs < atMs && run.token[1] < token[1]);
    // The first grants of all have nobody to take over from; a later one may be moved before its first tick.
    if (last === undefined || first === undefined) return [];
    return [{ toTickMs: first.atMs - atMs, silentMs: first.atMs - last.atMs }];
  });
}

/** Of each partition whose owner had died when another got it, its jobs and when they ran again. */
export function successionsOf({ world, performed, deaths, names, given }: ScheduleOutcome): readonly Succession[] {
  const { grants } = world.leases;
  return grants.flatMap(({ partition, token, atMs }, index) => {
    const before = grants.slice(0, index).findLast((grant) => grant.partition === partition);
    const diedMs = before && deaths.get(before.owner);
    if (diedMs === undefined || diedMs > atMs) return [];
    return names.flatMap((job, which): readonly Succession[] => {
      if (partitionOf(world, `job.${job}`) !== partition) return [];
      const runs = performed.filter((run) => run.job === job);
      // What had not begun before the death has no owner to succeed.
      if (!runs.some((run) => run.atMs < diedMs)) return [];
      const ranMs = runs.find((run) => run.token[1] === token[1])?.atMs;
      return [{ job, everyMs: given.jobs[which]?.everyMs ?? 0, diedMs, grantedMs: atMs, ranMs }];
    });
  });
}

/** What each node schedules: to have it removed there, and scheduled again. */
type Scheduling = Map<string, { readonly schedules: Schedules; readonly again: (job: string) => void }>;

type Rig = {
  readonly world: World;
  readonly given: ScheduleCase;
  readonly readCron: ReadCron | undefined;
  readonly names: readonly string[];
  readonly performed: Performed[];
  readonly sent: Sent[];
  readonly recorder: FencedRecorder;
  readonly scheduling: Scheduling;
  readonly operator: Client | undefined;
  /** The latest wall time that any ticker has seen. */
  readonly highest: { ms: number };
};

async function start(rig: Rig, node: string, ports: NodePorts): Promise<void> {
  const { clock, random, leases, bus, logger, telemetry, store } = ports;
  const host = new Host({ store, clock, random, leases, bus, logger, telemetry }, {}, rigSettings);
  const schedules = new Schedules({
    host: noting(host, node, ports, rig),
    leases,
    clock,
    logger,
    owner: () => node,
    define: () => undefined,
    actor: (_, name) => (rig.operator && handleOf(rig.operator, name)) as never,
    ...(rig.readCron !== undefined && { readCron: rig.readCron }),
  });
  try {
    await host.start();
  } catch (error) {
    logger.warn(`the host did not start: ${String(error)}`);
    const { incarnation } = rig.world.node(node);
    rig.world.after(500, `${node} is started again`, () => {
      const now = rig.world.node(node);
      if (now.incarnation === incarnation && now.state !== "crashed") now.restart();
    });
    return;
  }
  const again = (name: string) => {
    const spec = rig.given.jobs[rig.names.indexOf(name)] as JobSpec;
    const own =
      node === nodeNames[1] && spec.elsewhere !== undefined ? { ...spec, ...spec.elsewhere, isCron: false } : spec;
    const scheduled = schedules.schedule(name, optionsOf(own), async (tick) => {
      const { tickId, slot, token } = tick;
      const { nowMs } = rig.world;
      rig.performed.push({
        job: name,
        tickId,
        slot,
        token,
        node,
        // A clock may go back between the tick that began it and this moment.
        clockMs: Math.max(clock.now(), rig.highest.ms),
        committed: committedToken(rig.world, name),
        atMs: nowMs,
      });
      await ports.effect(() => rig.recorder.apply({ key: tickId, token, fence: name, value: slot }));
      if (spec.workMs > 0) await new Promise<void>((resolve) => void clock.after(spec.workMs, resolve));
      if (spec.failsOneIn > 0 && (slot / spec.everyMs) % spec.failsOneIn === 0) throw new Error("it happens");
    });
    // Somebody may have been quicker.
    scheduled.catch((error: unknown) => logger.info(String(error)));
  };
  for (const name of rig.names) again(name);
  rig.scheduling.set(node, { schedules, again });
}

/** As much of a handle as a removal needs. */
function handleOf(client: Client, name: string) {
  return {
    send: async (value: { readonly type: string }) => {
      const { outcome, code } = await client.run({
        actor: `job.${name}`,
        id: "remove",
        op: "event",
        value,
        callersKey: false,
      });
      if (outcome !== "acknowledged") throw new Error(`not removed: ${outcome} ${code ?? ""}`);
    },
  };
}

function optionsOf(spec: JobSpec): ScheduleOptions {
  const { everyMs, isCron, jitterMs, misfire, overlap, catchUpMs, graceMs } = spec;
  return {
    ...(isCron === true ? { cron: `*/${everyMs / 1_000} * * * * *` } : { every: everyMs }),
    jitter: jitterMs,
    misfire,
    overlap,
    catchUp: catchUpMs,
    grace: graceMs,
    timeout: 8_000,
    log: 50,
  };
}

/** The host, as the ticker meets it; every tick is noted, with what the node believes of its leases at that moment. */
function noting(host: Host, node: string, { leases, clock }: NodePorts, { sent, highest }: Rig): Host & TickedHost {
  return {
    partitionOf: (key: string) => host.partitionOf(key),
    define: (type: string, definition: never) => host.define(type, definition),
    request: (key: string, input: never, answer: never) => {
      const { event } = input as { event?: { type: string; slot: number } };
      highest.ms = Math.max(highest.ms, clock.now());
      const believes = leases.token(host.partitionOf(key)) !== undefined;
      if (event?.type === "TICK") sent.push({ job: key.slice("job.".length), node, slot: event.slot, believes });
      host.request(key, input, answer);
    },
  } as unknown as Host & TickedHost;
}

function committedToken(world: World, job: string): Token | undefined {
  const text = world.store.peekAll().find(({ key }) => key === `job.${job}`)?.value;
  return text === undefined ? undefined : (JSON.parse(text) as Document).token;
}

/** Sends old ticks again, by the way that everybody's requests take: under their own keys, whole or with another time. */
async function replay(world: World, count: number): Promise<void> {
  const attempts: Attempt[] = [];
  const client = new Client(world, "replayer", attempts);
  const dice = world.dice("replayer");
  for (let index = 0; index < count; index++) {
    await world.sleep(dice.whole(500, 3_000));
    const ticks = world.store.log.flatMap(({ key, value }) =>
      value === undefined || !key.startsWith("job.")
        ? []
        : (JSON.parse(value) as Document).causes.flatMap((cause) =>
            cause.type === "TICK" && cause.key !== undefined ? [{ actor: key, cause }] : [],
          ),
    );
    if (ticks.length === 0) continue;
    const { actor, cause } = dice.pick(ticks);
    const { type, slot, nowMs } = cause as unknown as { type: string; slot: number; nowMs: number };
    const value = { type, slot, nowMs: nowMs + (dice.chance(0.5) ? 0 : dice.whole(0, 5_000)) };
    await client.run({ actor, id: String(cause.key), op: "event", value, callersKey: true });
  }
}

/** Pauses and resumes jobs, and has them work outside of their schedules, whatever else goes on. */
async function intervene(
  world: World,
  client: Client | undefined,
  scheduling: Scheduling,
  count: number,
  names: readonly string[],
): Promise<void> {
  if (client === undefined) return;
  const dice = world.dice("operator");
  for (let index = 0; index < count; index++) {
    await world.sleep(dice.whole(500, 4_000));
    const name = `by-hand-${index}`;
    const nowMs = Math.round(world.wallMs);
    const job = dice.pick(names);
    if (dice.chance(0.2)) {
      const node = dice.pick(nodeNames);
      // Its process may be away: then there is nobody to be asked.
      await scheduling
        .get(node)
        ?.schedules.job(job)
        .remove()
        .catch(() => undefined);
      await world.sleep(dice.whole(0, 2_000));
      // As somebody does whose clock was ahead.
      const aheadMs = dice.chance(0.5) ? dice.whole(1_000, 5_000) : 0;
      // Once everything has healed, clocks are right, and stay so.
      if (world.nowMs < troubledMs) world.node(node).wallOffsetMs -= aheadMs;
      scheduling.get(node)?.again(job);
      continue;
    }
    const value = dice.pick([
      { type: "PAUSE" },
      { type: "RESUME" },
      { type: "RESUME" },
      { type: "TRIGGER", name, atMs: nowMs },
      { type: "BACKFILL", name, fromMs: nowMs - 6_000, toMs: nowMs },
      { type: "REMOVE" },
    ]);
    await client.run({ actor: `job.${job}`, id: name, op: "event", value, callersKey: true });
  }
}

/** At the resource each run is applied once, though attempts may come more often. */
function checkRecorder(recorder: FencedRecorder): readonly Violation[] {
  const applied = new Set<string>();
  const violations: Violation[] = [];
  const slots = new Set<string>();
  for (const { key, outcome, fence, value } of recorder.recorded) {
    if (outcome !== "applied") continue;
    // A backfill does a slot again, under its own name.
    const slot = isExtra(key) ? key : `${fence} ${String(value)}`;
    if (applied.has(key) || slots.has(slot)) violations.push({ rule: "done-twice", detail: `${key} for ${slot}` });
    applied.add(key);
    slots.add(slot);
  }
  return violations;
}

type Life = {
  readonly taken: ScheduleHistory["taken"][number][];
  readonly begun: { tickId: string; slot: number }[];
  readonly ended: { tickId: string; outcome: string }[];
  /** As the last commit of this life left it; undefined: that commit began another one, too. */
  job: Job | undefined;
};

/** What the commits of the job's document say, of each of its lives. */
function historiesOf(
  world: World,
  name: string,
  spec: JobSpec,
  performed: readonly Performed[],
  sent: readonly Sent[],
  latestMs: number,
  healedAt: number,
): readonly (ScheduleHistory | Violation)[] {
  const lives = livesOf(world, name);
  const last = lives.at(-1)?.job;
  if (last === undefined) return [{ rule: "never-created", detail: name }];
  const violations: Violation[] = [];
  // Whatever was removed when all troubles ended has been scheduled again since, though it may have been removed once more.
  const atHealing = documentsOf(world, name, 0, healedAt).slice(-1);
  if ([...atHealing, ...documentsOf(world, name, healedAt)].every((document) => contextOf(document).removed === true))
    violations.push({ rule: "stays-removed", detail: name });
  const slots = lives.flatMap(({ begun }) => begun.map(({ slot }) => slot));
  if (new Set(slots).size < slots.length) violations.push({ rule: "begun-in-two-lives", detail: name });
  const owners = new Map(lives.flatMap((life) => life.begun.map(({ tickId }) => [tickId, life] as const)));
  return lives.reduce<(ScheduleHistory | Violation)[]>((histories, life) => {
    const { job, taken, begun, ended } = life;
    // Not all that became of it can be seen.
    if (job === undefined) return histories;
    const { counts, schedule } = job;
    const { timing } = schedule;
    const lastPeriodMs = timing.kind === "every" ? timing.periodMs : spec.everyMs;
    const isOver = job.removed === true;
    const isLast = life === lives.at(-1);
    histories.push({
      job: name,
      periodMs: spec.elsewhere === undefined ? spec.everyMs : 500,
      anchorMs: 0,
      offsetMs: offsetMs(name, schedule),
      misfire: spec.misfire,
      catchUpMs: spec.catchUpMs,
      graceMs: spec.graceMs,
      first: job.first ?? 0,
      next: job.next ?? 0,
      taken,
      begun,
      waiting: job.waiting.length,
      missed: counts.missed,
      skipped: counts.skipped.overlap + counts.skipped.full + counts.skipped.paused,
      ended,
      // What no life has begun is told of with the last one.
      performed: performed.filter(
        ({ job: of, tickId }) => of === name && !isExtra(tickId) && (owners.get(tickId) ?? lives.at(-1)) === life,
      ),
      sent: isLast ? sent.filter((one) => one.job === name) : [],
      endMs: isOver ? 0 : world.wallMs,
      behindMs: lastPeriodMs + spec.jitterMs + 3_000,
      ...(spec.elsewhere !== undefined && {
        changing: { lastPeriodMs, latestMs: isOver ? Number.POSITIVE_INFINITY : latestMs },
      }),
    });
    return histories;
  }, violations);
}

function livesOf(world: World, name: string): readonly Life[] {
  const lives: Life[] = [];
  let known = new Set<string>();
  let logged: readonly string[] = [];
  let [isPaused, isRemoved] = [false, true];
  for (const document of documentsOf(world, name)) {
    for (const cause of document.causes) {
      const { type, slot, nowMs } = cause as unknown as { type: string; slot?: number; nowMs: number };
      if (type === "OWNED" && isRemoved) {
        lives.push({ taken: [], begun: [], ended: [], job: undefined });
        [known, logged, isPaused, isRemoved] = [new Set(), [], false, false];
      }
      if (type === "PAUSE" || type === "RESUME") isPaused = type === "PAUSE";
      if (type === "REMOVE") isRemoved = true;
      const taken = lives.at(-1)?.taken;
      if (type === "TICK" && !isRemoved) taken?.push({ upTo: slot ?? 0, nowMs, isPaused });
      if (type === "OWNED") taken?.push({ upTo: Number.MAX_SAFE_INTEGER, nowMs, isPaused });
    }
    const life = lives.at(-1);
    if (life === undefined) continue;
    const job = contextOf(document);
    // A commit that ends a life and begins another shows the second alone.
    for (const before of lives.slice(0, -1)) if (before.job?.removed !== true) before.job = undefined;
    life.job = job;
    // One commit may end a run and begin others, which end in later ones.
    const ordinary = job.log.filter(({ tick }) => !isExtra(tick));
    const log = ordinary.map(({ tick }) => tick);
    const fresh = freshIn(logged, log);
    for (const { tick, outcome } of ordinary.slice(log.length - fresh)) {
      life.ended.push({ tickId: tick, outcome });
      // Begun and displaced in one commit: it never ran.
      if (outcome === "terminated" && !known.has(tick))
        life.begun.push({ tickId: tick, slot: Number(tick.split("/")[1]) });
    }
    const running = job.running.filter(({ tickId }) => !isExtra(tickId));
    for (const { tickId, slot } of running) if (!known.has(tickId)) life.begun.push({ tickId, slot });
    known = new Set(running.map(({ tickId }) => tickId));
    logged = log;
  }
  return lives;
}

/** Of a job, from this write of the store on, up to that one. */
function documentsOf(world: World, name: string, from = 0, until = Number.POSITIVE_INFINITY): readonly Document[] {
  return world.store.log
    .slice(from, until)
    .flatMap(({ key, value }) => (key === `job.${name}` && value !== undefined ? [JSON.parse(value) as Document] : []));
}

/** Whether a run is outside of the schedule, by its name. */
function isExtra(tickId: string): boolean {
  return tickId.includes("~") || tickId.includes("/trigger-");
}

/** How many entries at the end of the log are new: it grows at the end and is cut at the beginning. */
function freshIn(before: readonly string[], after: readonly string[]): number {
  const last = before.at(-1);
  if (last === undefined) return after.length;
  return after.length - 1 - after.lastIndexOf(last);
}

function contextOf(document: Document): Job {
  const { snap } = document.actors[rootSid] ?? {};
  return (snap as unknown as { context: Job }).context;
}

/** Jobs are spread over the partitions by turns, whatever the hash of their names is. */
function nameIn(world: World, index: number): string {
  const wanted = index % world.leases.partitions;
  for (let suffix = 0; ; suffix++) {
    const name = `j${index}${suffix === 0 ? "" : `-${suffix}`}`;
    if (partitionOf(world, `job.${name}`) === wanted) return name;
  }
}
