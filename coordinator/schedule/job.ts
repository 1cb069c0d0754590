/**
 * What one job does next, as a pure function: the job, something that happened, and the slots of its schedule in; the
 * job and orders out. Start reading at `advance`. All of a job stands in its document, so a new owner goes on from it.
 *
 * J1 a slot that is dealt with is never begun again, whoever asks (but by a named backfill): under one schedule `next` only
 *    grows, and under another it is behind all that was dealt with.
 * J2 every slot before `next` was begun, waits, or is counted under the reason why it was not.
 * J3 the name of a run comes from its slot: the same slot has the same name for every owner.
 * J4 of a job that was removed nothing begins, until code that schedules it makes a new one: with nothing of the old one but
 *    how far that came, so that no slot is begun in both lives.
 */
import { maxRunning, maxWaiting, type Schedule } from "./schedule.ts";
import { offsetMs, type Slots } from "./slots.ts";

/**
 * One piece of work. `tickId` is `<job>/<slot>`; with `~<name>` in a backfill; `<job>/trigger-<name>` for a trigger. The last
 * two have `~<life>` at the end in later lives: their names may come again.
 */
export type Run = {
  readonly tickId: string;
  /** The instant for which it is scheduled, in milliseconds since 1970. */
  readonly slot: number;
  /** Why it runs outside of the schedule. */
  readonly extra?: string;
  readonly isCancelled?: true;
};

export type RunOutcome = "done" | "failed" | "timedOut" | "cancelled" | "terminated";

/** What the work reports. Times are ISO 8601, of the owner's clock. */
export type RunResult = {
  readonly outcome: "done" | "failed" | "timedOut";
  readonly start: string;
  readonly end: string;
  /** From when it was due to its start. */
  readonly lateMs: number;
  readonly owner: string;
  readonly token: readonly [epoch: number, index: number];
  readonly attempt: number;
  readonly trace?: string;
  readonly error?: string;
};

/** `tick` names the run, and so its slot. */
export type LogEntry = { readonly tick: string; readonly outcome: RunOutcome } & Partial<Omit<RunResult, "outcome">>;

/** Slots that were not begun, by reason. */
export type Missed = {
  /** Older than the catch-up window. */
  readonly old: number;
  /** Late, with a later one to stand for it (`fireLatest`). */
  readonly superseded: number;
  /** Late, and beyond the number of `fireAll`. */
  readonly overMax: number;
  /** Late, under `skip`. */
  readonly late: number;
};
export type Skipped = {
  /** Earlier work was still running. */
  readonly overlap: number;
  /** Too many were waiting. */
  readonly full: number;
  readonly paused: number;
};

export type Counts = {
  /** Slots whose work was begun. */
  readonly begun: number;
  /** Triggers, and slots of backfills. */
  readonly extra: number;
  readonly done: number;
  readonly failed: number;
  readonly timedOut: number;
  readonly cancelled: number;
  readonly terminated: number;
  readonly missed: Missed;
  readonly skipped: Skipped;
  /** Ticks for slots that are behind: repetitions, or of an owner that was too late. */
  readonly stale: number;
};

/** Work outside of the schedule that is still to be begun: one run, or what is left of a range. */
export type Extra =
  | { readonly kind: "trigger"; readonly name: string; readonly atMs: number }
  | { readonly kind: "backfill"; readonly name: string; readonly nextMs: number; readonly toMs: number };

export type Job = {
  readonly name: string;
  /** How many jobs of this name there have been, this one included. This and the next two are missing in older documents. */
  readonly life?: number;
  /** Slots up to this instant were dealt with under an earlier schedule, or begun in an earlier life: they are none of now. */
  readonly behindMs?: number | null;
  /** It has been ended, and stands as it stood then. */
  readonly removed?: boolean;
  readonly schedule: Schedule;
  /** The first slot of its life. */
  readonly first: number | null;
  /** The first slot that is not dealt with; null: none comes any more. */
  readonly next: number | null;
  /** The last slot that was begun. */
  readonly last: number | null;
  readonly paused: boolean;
  readonly running: readonly Run[];
  readonly waiting: readonly Run[];
  readonly extras: readonly Extra[];
  /** Names of triggers and backfills that were taken lately: a repeated one is not taken again. */
  readonly names: readonly string[];
  readonly counts: Counts;
  readonly log: readonly LogEntry[];
};

export type JobInput =
  /** A node has become the owner; this is the schedule that it knows, and the time on its clock. */
  | { readonly kind: "owned"; readonly schedule: Schedule; readonly nowMs: number }
  /** The owner's clock says that this slot is due. */
  | { readonly kind: "tick"; readonly slot: number; readonly nowMs: number }
  | { readonly kind: "ended"; readonly tickId: string; readonly result: RunResult }
  | { readonly kind: "pause" }
  | { readonly kind: "resume" }
  | { readonly kind: "remove" }
  | { readonly kind: "trigger"; readonly name: string; readonly atMs: number }
  | { readonly kind: "backfill"; readonly name: string; readonly fromMs: number; readonly toMs: number };

export type JobOrder =
  | { readonly kind: "begin"; readonly run: Run }
  /** Its end is not waited for. */
  | { readonly kind: "stop"; readonly tickId: string }
  /** Its signal is aborted; it still reports its end. */
  | { readonly kind: "cancel"; readonly tickId: string }
  /** It has ended: nothing of it is needed any more. */
  | { readonly kind: "forget"; readonly tickId: string };

const maxExtras = 16;
const maxNames = 32;

/** What a new life knows of those before. */
type Before = { readonly life: number; readonly behindMs: number | null };

const nothingBefore: Before = { life: 1, behindMs: null };

export function newJob(name: string, schedule: Schedule, slots: Slots, nowMs: number, before = nothingBefore): Job {
  const first =
    slots.first(Math.max(heldFromMs(schedule, nowMs), 1 + (before.behindMs ?? Number.NEGATIVE_INFINITY))) ?? null;
  return {
    name,
    ...before,
    removed: false,
    schedule,
    first,
    next: first,
    last: null,
    paused: false,
    running: [],
    waiting: [],
    extras: [],
    names: [],
    counts: {
      begun: 0,
      extra: 0,
      done: 0,
      failed: 0,
      timedOut: 0,
      cancelled: 0,
      terminated: 0,
      missed: { old: 0, superseded: 0, overMax: 0, late: 0 },
      skipped: { overlap: 0, full: 0, paused: 0 },
      stale: 0,
    },
    log: [],
  };
}

/** From when on slots are a schedule's own that is told of now. One single slot is meant however late it is told of. */
function heldFromMs({ timing }: Schedule, nowMs: number): number {
  return timing.kind === "once" ? Math.min(timing.atMs, nowMs) : nowMs;
}

/** `slotsFor` gives the slots of a schedule; the same answer for the same schedule. */
export function advance(
  job: Job,
  input: JobInput,
  slotsFor: (schedule: Schedule) => Slots,
): { readonly job: Job; readonly orders: readonly JobOrder[] } {
  const draft: Draft = { job, orders: [] };
  if (job.removed === true && input.kind !== "owned") {
    afterRemoval(draft, input);
    return draft;
  }
  const slots = slotsFor(input.kind === "owned" ? input.schedule : job.schedule);
  switch (input.kind) {
    case "owned":
      if (job.removed === true) draft.job = newLife(job, input.schedule, slots, input.nowMs);
      askAgainToEnd(draft);
      if (!isSame(draft.job.schedule, input.schedule))
        changeTo(draft, slots, input.schedule, slotsFor(job.schedule), input.nowMs);
      takeDue(draft, slots, input.nowMs);
      // What could not be read when its turn came.
      beginWhatWaits(draft, slots);
      break;
    case "tick":
      onTick(draft, slots, input.slot, input.nowMs);
      break;
    case "ended":
      onEnded(draft, slots, input.tickId, input.result);
      break;
    case "pause":
      change(draft, { paused: true });
      break;
    case "resume":
      change(draft, { paused: false });
      beginWhatWaits(draft, slots);
      break;
    case "remove":
      onRemove(draft);
      break;
    case "trigger":
      onExtra(draft, slots, { kind: "trigger", name: input.name, atMs: input.atMs });
      break;
    case "backfill":
      onExtra(draft, slots, { kind: "backfill", name: input.name, nextMs: input.fromMs, toMs: input.toMs });
      break;
  }
  return draft;
}

type Draft = { job: Job; readonly orders: JobOrder[] };

/** Needs no slots: whoever removes a job may have nothing that reads its pattern. */
function onRemove(draft: Draft): void {
  for (const { tickId } of draft.job.running) terminate(draft, tickId);
  displace(draft, draft.job.waiting.length);
  change(draft, { removed: true, extras: [] });
}

/** Ticks, late results and a second removal change nothing. Who intervenes is told that there is no job. */
function afterRemoval({ job, orders }: Draft, input: Exclude<JobInput, { kind: "owned" }>): void {
  if (input.kind === "ended") orders.push({ kind: "forget", tickId: input.tickId });
  else if (input.kind !== "tick" && input.kind !== "remove")
    throw new Error(`${job.name} was removed: schedule it again first`);
}

function newLife(old: Job, schedule: Schedule, slots: Slots, nowMs: number): Job {
  return newJob(old.name, schedule, slots, nowMs, { life: lifeOf(old) + 1, behindMs: behindOf(old, nowMs) });
}

/** A life that came further than this is one by a wrong clock: the next one does not wait for that time to come. */
const furthestAheadMs = 86_400_000;

function behindOf({ last, behindMs }: Job, nowMs: number): number | null {
  const reached = Math.max(last ?? Number.NEGATIVE_INFINITY, behindMs ?? Number.NEGATIVE_INFINITY);
  return Number.isFinite(reached) && reached <= nowMs + furthestAheadMs ? reached : null;
}

function lifeOf({ life = 1 }: Job): number {
  return life;
}

/** The new owner begins again what runs, and knows nothing of what was asked of it. */
function askAgainToEnd({ job, orders }: Draft): void {
  for (const { tickId, isCancelled } of job.running) if (isCancelled === true) orders.push({ kind: "cancel", tickId });
}

/** How often in a row what the old schedule left behind is counted: a second or two for twenty thousand slots of a pattern. */
const piecesAtOnce = 2;

/**
 * The new schedule holds from now on. What came due before was a slot by the old one's times, and is dealt with first, by the
 * policies of the new one; whatever the new one would have called due until now is none.
 */
function changeTo(draft: Draft, slots: Slots, schedule: Schedule, oldSlots: Slots, nowMs: number): void {
  const { timing, fromMs, untilMs, jitterMs, graceMs } = draft.job.schedule;
  // How many slots are in time, and so are begun in one step, is bounded for the times of its own schedule only.
  const boundedMs = Math.min(graceMs, schedule.graceMs);
  change(draft, { schedule: { ...schedule, timing, fromMs, untilMs, jitterMs, graceMs: boundedMs } });
  // The new policy may leave room for what waits under the old one.
  beginWhatWaits(draft, oldSlots);
  if (!isSame([timing, fromMs, untilMs], [schedule.timing, schedule.fromMs, schedule.untilMs])) {
    for (let piece = 0; piece < piecesAtOnce && takeDue(draft, oldSlots, nowMs); piece++);
    const { next } = draft.job;
    const behindMs = lastDealtWith(draft.job, oldSlots);
    const fromNowMs = heldFromMs(schedule, Math.min(nowMs, next ?? nowMs));
    const first = slots.first(behindMs === undefined ? fromNowMs : Math.max(fromNowMs, behindMs + 1));
    change(draft, {
      next: first ?? null,
      first: draft.job.first ?? first ?? null,
      ...(behindMs !== undefined && { behindMs }),
    });
  }
  change(draft, { schedule });
}

/** The last of all slots, under this schedule and those before it, that was begun, waits, or is counted. */
function lastDealtWith({ first, next, last, behindMs, waiting }: Job, slots: Slots): number | undefined {
  const counted = next !== null ? slots.last(next - 1) : first !== null ? slots.last(latestMs) : undefined;
  const all = [counted, last, behindMs, ...waiting.map(({ slot }) => slot)].filter((ms) => typeof ms === "number");
  return all.length === 0 ? undefined : Math.max(...all);
}

/** The last moment that a Date can hold. */
const latestMs = 8.64e15;

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Takes whatever is due. True: something is still due, since it was too much to be counted at once. */
function takeDue(draft: Draft, slots: Slots, nowMs: number): boolean {
  const due = slots.last(nowMs - offsetMs(draft.job.name, draft.job.schedule));
  const isDue = () => due !== undefined && draft.job.next !== null && due >= draft.job.next;
  if (due !== undefined && isDue()) take(draft, slots, due, nowMs);
  return isDue();
}

function onTick(draft: Draft, slots: Slots, slot: number, nowMs: number): void {
  const { job } = draft;
  const due = slots.last(Math.min(slot, nowMs - offsetMs(job.name, job.schedule)));
  if (job.next === null || due === undefined || due < job.next) {
    change(draft, { counts: { ...job.counts, stale: job.counts.stale + 1 } });
    return;
  }
  take(draft, slots, due, nowMs);
}

/** Deals with every slot from `next` up to this one. */
function take(draft: Draft, slots: Slots, upTo: number, nowMs: number): void {
  const { schedule, name, paused } = draft.job;
  if (paused) {
    passOver(draft, slots, upTo + 1, (counts, n) => skip(counts, "paused", n));
    return;
  }
  // By when a slot must have been scheduled to be inside the window, or in time.
  const windowMs = nowMs - offsetMs(name, schedule) - schedule.catchUpMs;
  if (!passOver(draft, slots, Math.min(windowMs, upTo + 1), (counts, n) => miss(counts, "old", n))) return;
  const inTimeMs = Math.min(nowMs - offsetMs(name, schedule) - schedule.graceMs, upTo + 1);
  const [keptMs, reason] = keptFrom(draft.job, slots, inTimeMs, upTo);
  if (!passOver(draft, slots, keptMs, (counts, n) => miss(counts, reason, n))) return;
  const due: number[] = [];
  for (let slot = slots.first(draft.job.next ?? upTo + 1); slot !== undefined && slot <= upTo; ) {
    due.push(slot);
    slot = slots.first(slot + 1);
  }
  // Of several that would displace each other only the last is begun.
  const displaces = schedule.overlap === "cancelOther" || schedule.overlap === "terminateOther";
  if (displaces && due.length > 1) {
    const displaced = due.splice(0, due.length - 1).length;
    change(draft, { counts: skip(draft.job.counts, "overlap", displaced) });
  }
  change(draft, { next: slots.first(upTo + 1) ?? null });
  for (const slot of due) admit(draft, { tickId: `${name}/${slot}`, slot });
}

/** From which instant on slots are begun, late ones among them, and why those before are not. */
function keptFrom(job: Job, slots: Slots, inTimeMs: number, upTo: number): [keptMs: number, reason: keyof Missed] {
  const { misfire } = job.schedule;
  const next = job.next ?? inTimeMs;
  if (misfire === "skip") return [inTimeMs, "late"];
  if (misfire === "fireLatest") {
    const inTime = slots.first(Math.max(inTimeMs, next));
    if (inTime !== undefined && inTime <= upTo) return [inTimeMs, "superseded"];
    return [slots.last(inTimeMs - 1) ?? inTimeMs, "superseded"];
  }
  let keptMs = inTimeMs;
  for (let left = misfire.fireAll; left > 0; left--) {
    const slot = slots.last(keptMs - 1);
    if (slot === undefined || slot < next) break;
    keptMs = slot;
  }
  return [keptMs, "overMax"];
}

/** Counts the slots from `next` up to, but without, this instant. False: there were too many to count them at once. */
function passOver(
  draft: Draft,
  slots: Slots,
  beforeMs: number,
  counted: (counts: Counts, n: number) => Counts,
): boolean {
  const { next, counts } = draft.job;
  if (next === null || next >= beforeMs) return true;
  const passed = slots.count(next, beforeMs);
  change(draft, { next: passed.next ?? null, counts: counted(counts, passed.count) });
  return passed.next === undefined || passed.next >= beforeMs;
}

/** A slot that is to be begun meets what runs already. */
function admit(draft: Draft, run: Run): void {
  const { schedule, running, waiting, counts } = draft.job;
  const ordinary = running.filter(({ extra }) => extra === undefined);
  switch (schedule.overlap) {
    case "allowAll":
      if (running.length < maxRunning) begin(draft, run);
      else change(draft, { counts: skip(counts, "overlap", 1) });
      return;
    case "skip":
      // Work outside of the schedule never costs a slot: that waits for it.
      if (ordinary.length > 0) change(draft, { counts: skip(counts, "overlap", 1) });
      else wait(draft, run, 1, "overlap");
      break;
    case "bufferOne":
      wait(draft, run, 1, "overlap");
      break;
    case "bufferAll":
      wait(draft, run, maxWaiting, "full");
      break;
    case "cancelOther":
      for (const { tickId, isCancelled } of ordinary) if (isCancelled !== true) cancel(draft, tickId);
      displace(draft, waiting.length);
      wait(draft, run, 1, "overlap");
      break;
    case "terminateOther":
      for (const { tickId } of ordinary) terminate(draft, tickId);
      displace(draft, waiting.length);
      wait(draft, run, 1, "overlap");
      break;
  }
  beginWaiting(draft);
}

function wait(draft: Draft, run: Run, room: number, otherwise: "overlap" | "full"): void {
  const { waiting, running, counts } = draft.job;
  // What can begin at once takes no room.
  const taken = waiting.length - (running.length === 0 ? 1 : 0);
  if (taken < room) change(draft, { waiting: [...waiting, run] });
  else change(draft, { counts: skip(counts, otherwise, 1) });
}

function displace(draft: Draft, count: number): void {
  if (count > 0) change(draft, { waiting: [], counts: skip(draft.job.counts, "overlap", count) });
}

function cancel(draft: Draft, tickId: string): void {
  const running = draft.job.running.map((run): Run => (run.tickId === tickId ? { ...run, isCancelled: true } : run));
  change(draft, { running });
  draft.orders.push({ kind: "cancel", tickId });
}

function terminate(draft: Draft, tickId: string): void {
  const { running, counts } = draft.job;
  const run = running.find((one) => one.tickId === tickId);
  if (run === undefined) return;
  change(draft, {
    running: running.filter((one) => one !== run),
    counts: { ...counts, terminated: counts.terminated + 1 },
  });
  note(draft, { tick: tickId, outcome: "terminated" });
  draft.orders.push({ kind: "stop", tickId });
}

function begin(draft: Draft, run: Run): void {
  const { running, counts } = draft.job;
  const isExtra = run.extra !== undefined;
  change(draft, {
    running: [...running, run],
    counts: isExtra ? { ...counts, extra: counts.extra + 1 } : { ...counts, begun: counts.begun + 1 },
    ...(!isExtra && { last: run.slot }),
  });
  draft.orders.push({ kind: "begin", run });
}

function onEnded(draft: Draft, slots: Slots, tickId: string, result: RunResult): void {
  const { running, counts } = draft.job;
  draft.orders.push({ kind: "forget", tickId });
  const run = running.find((one) => one.tickId === tickId);
  if (run === undefined) return;
  const outcome = run.isCancelled === true && result.outcome !== "done" ? "cancelled" : result.outcome;
  change(draft, {
    running: running.filter((one) => one !== run),
    counts: { ...counts, [outcome]: counts[outcome] + 1 },
  });
  note(draft, { tick: tickId, ...result, outcome });
  beginWhatWaits(draft, slots);
}

function onExtra(draft: Draft, slots: Slots, extra: Extra): void {
  const { names, extras } = draft.job;
  if (typeof extra.name !== "string" || !/^[\w.-]{1,64}$/.test(extra.name))
    throw new Error(`a ${extra.kind} needs a name of 1 to 64 letters, digits, "-", "_" and "."`);
  for (const ms of extra.kind === "trigger" ? [extra.atMs] : [extra.nextMs, extra.toMs])
    if (!Number.isSafeInteger(ms) || Math.abs(ms) > 8.64e15) throw new Error(`a ${extra.kind} needs its times in ms`);
  const mark = `${extra.kind} ${extra.name}`;
  if (names.includes(mark) || isAtWork(draft.job, extra)) return;
  if (extras.length >= maxExtras)
    throw new Error(`${draft.job.name} has ${extras.length} triggers and backfills waiting: try again later`);
  change(draft, { names: [...names, mark].slice(-maxNames), extras: [...extras, extra] });
  beginWhatWaits(draft, slots);
}

/** Under allowAll so many may come and go while one is at work that its name is not among the latest any more. */
function isAtWork(job: Job, { kind, name }: Extra): boolean {
  const { extras, running } = job;
  const end = `${kind === "trigger" ? "/trigger-" : "~"}${name}${ofLife(job)}`;
  return (
    extras.some((one) => one.kind === kind && one.name === name) || running.some(({ tickId }) => tickId.endsWith(end))
  );
}

/** What a name of this life is told by from the same name in the first. */
function ofLife(job: Job): string {
  return lifeOf(job) === 1 ? "" : `~${lifeOf(job)}`;
}

function beginWhatWaits(draft: Draft, slots: Slots): void {
  beginWaiting(draft);
  while (hasRoom(draft.job) && draft.job.extras.length > 0) {
    // A backfill waits until somebody owns the job who reads its pattern: the end of a run must not fail for it.
    if (draft.job.extras[0]?.kind === "backfill" && !slots.isReadable()) return;
    const run = nextExtra(draft, slots);
    if (run !== undefined) begin(draft, run);
  }
}

function beginWaiting(draft: Draft): void {
  while (hasRoom(draft.job) && !draft.job.paused) {
    const [run, ...waiting] = draft.job.waiting;
    if (run === undefined) return;
    change(draft, { waiting });
    begin(draft, run);
  }
}

function hasRoom({ schedule, running }: Job): boolean {
  return schedule.overlap === "allowAll" ? running.length < maxRunning : running.length === 0;
}

/** Takes one run off the first extra; undefined when that has no more. */
function nextExtra(draft: Draft, slots: Slots): Run | undefined {
  const { name, extras, next } = draft.job;
  const [extra, ...others] = extras as [Extra, ...Extra[]];
  if (extra.kind === "trigger") {
    change(draft, { extras: others });
    return { tickId: `${name}/trigger-${extra.name}${ofLife(draft.job)}`, slot: extra.atMs, extra: extra.name };
  }
  const slot = slots.first(extra.nextMs);
  // Slots that are still to come are nobody's to make good for.
  if (slot === undefined || slot > extra.toMs || (next !== null && slot >= next)) {
    change(draft, { extras: others });
    return undefined;
  }
  change(draft, { extras: [{ ...extra, nextMs: slot + 1 }, ...others] });
  return { tickId: `${name}/${slot}~${extra.name}${ofLife(draft.job)}`, slot, extra: extra.name };
}

function note(draft: Draft, entry: LogEntry): void {
  const { log, schedule } = draft.job;
  change(draft, { log: [...log, entry].slice(-schedule.log) });
}

function miss(counts: Counts, reason: keyof Missed, n: number): Counts {
  return { ...counts, missed: { ...counts.missed, [reason]: counts.missed[reason] + n } };
}

function skip(counts: Counts, reason: keyof Skipped, n: number): Counts {
  return { ...counts, skipped: { ...counts.skipped, [reason]: counts.skipped[reason] + n } };
}

function change(draft: Draft, some: Partial<Job>): void {
  draft.job = { ...draft.job, ...some };
}
