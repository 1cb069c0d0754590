/**
 * One job on a period, from outside: what the commits of its document say was begun and counted, and what its work did.
 * Every slot is looked at by itself, however many there are; nothing of the scheduler's own arithmetic is used.
 */
import { compareTokens, type Token } from "../../runtime/ports/store.ts";
import type { Violation } from "./violation.ts";

export type MissedSlots = {
  readonly old: number;
  readonly superseded: number;
  readonly overMax: number;
  readonly late: number;
};

export type ScheduleHistory = {
  readonly job: string;
  readonly periodMs: number;
  readonly anchorMs: number;
  /** How much later than its slot the job is due. */
  readonly offsetMs: number;
  readonly misfire: "fireLatest" | "skip" | { readonly fireAll: number };
  readonly catchUpMs: number;
  readonly graceMs: number;
  /** The first slot of its life, and the first that is not dealt with at the end. */
  readonly first: number;
  readonly next: number;
  /** What the owner's clock said, and up to which slot it asked, for every committed tick and change of owner. */
  readonly taken: readonly { readonly upTo: number; readonly nowMs: number; readonly isPaused: boolean }[];
  /** Runs that a commit began, in order. */
  readonly begun: readonly { readonly tickId: string; readonly slot: number }[];
  /** Slots that wait at the end. */
  readonly waiting: number;
  readonly missed: MissedSlots;
  readonly skipped: number;
  /** Results that commits recorded. */
  readonly ended: readonly { readonly tickId: string; readonly outcome: string }[];
  /** Work that was begun for real. `committed`: the token of the document at that moment. */
  readonly performed: readonly {
    readonly tickId: string;
    readonly slot: number;
    readonly clockMs: number;
    readonly token: Token;
    readonly committed: Token | undefined;
  }[];
  /** Ticks that a node sent, and whether it believed to own the job's partition. */
  readonly sent: readonly { readonly node: string; readonly slot: number; readonly believes: boolean }[];
  /** True wall time at the end, after all has healed, and how far behind it the job may be. */
  readonly endMs: number;
  readonly behindMs: number;
  /**
   * Of a job that two releases schedule differently, whose slots cannot be counted from outside: `periodMs` divides both
   * periods, `lastPeriodMs` is the one that holds at the end, `latestMs` the latest time that any owner's clock has shown.
   */
  readonly changing?: { readonly lastPeriodMs: number; readonly latestMs: number };
};

export function checkSchedule(history: ScheduleHistory): readonly Violation[] {
  return [
    ...checkBegun(history),
    ...checkPerformed(history),
    ...(history.changing === undefined ? [...checkAccount(history), ...checkMisfires(history)] : []),
    ...checkSenders(history),
    ...checkProgress(history),
  ];
}

/** Each slot begins at most once, under its own name, and is one of the schedule. */
function checkBegun({ job, periodMs, anchorMs, begun, ended }: ScheduleHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const slots = new Set<number>();
  for (const { tickId, slot } of begun) {
    if ((slot - anchorMs) % periodMs !== 0) violations.push({ rule: "off-schedule", detail: `${tickId} at ${slot}` });
    if (tickId !== `${job}/${slot}`) violations.push({ rule: "misnamed", detail: `${tickId} for slot ${slot}` });
    if (slots.has(slot)) violations.push({ rule: "begun-twice", detail: tickId });
    slots.add(slot);
  }
  const names = new Set(begun.map(({ tickId }) => tickId));
  const results = new Set<string>();
  for (const { tickId } of ended) {
    if (results.has(tickId)) violations.push({ rule: "ended-twice", detail: tickId });
    if (!names.has(tickId)) violations.push({ rule: "ended-never-begun", detail: tickId });
    results.add(tickId);
  }
  return violations;
}

/** Nothing is done early, without a commit that began it, or under a token that the document does not hold. */
function checkPerformed({ performed, begun, ended, offsetMs }: ScheduleHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const names = new Set(begun.map(({ tickId }) => tickId));
  for (const { tickId, slot, clockMs, token, committed } of performed) {
    if (clockMs < slot + offsetMs)
      violations.push({ rule: "early", detail: `${tickId} at ${clockMs}, ${slot + offsetMs - clockMs} ms too early` });
    if (!names.has(tickId)) violations.push({ rule: "performed-never-begun", detail: tickId });
    if (committed === undefined || compareTokens(committed, token) < 0)
      violations.push({
        rule: "token-not-installed",
        detail: `${tickId} under ${token.join(".")}, the document had ${committed?.join(".") ?? "none"}`,
      });
  }
  const done = new Set(performed.map(({ tickId }) => tickId));
  for (const { tickId, outcome } of ended)
    if (outcome === "done" && !done.has(tickId)) violations.push({ rule: "done-never-performed", detail: tickId });
  return violations;
}

/** Every slot that the job has passed was begun, waits, or is counted. */
function checkAccount(history: ScheduleHistory): readonly Violation[] {
  const { first, next, periodMs, begun, waiting, missed, skipped } = history;
  let due = 0;
  for (let slot = first; slot < next; slot += periodMs) due++;
  const counted = missed.old + missed.superseded + missed.overMax + missed.late + skipped;
  const dealtWith = begun.length + waiting + counted;
  if (due === dealtWith) return [];
  return [
    {
      rule: due > dealtWith ? "lost-unseen" : "counted-twice",
      detail: `${due} slots were due, ${begun.length} begun, ${waiting} wait, ${counted} counted`,
    },
  ];
}

/** What the policy leaves out of each committed tick, slot by slot, is what the job has counted. */
function checkMisfires(history: ScheduleHistory): readonly Violation[] {
  const { misfire, catchUpMs, graceMs, offsetMs, periodMs, taken, missed } = history;
  const expected = { old: 0, superseded: 0, overMax: 0, late: 0 };
  const allowed = new Set<number>();
  let next = history.first;
  for (const { upTo, nowMs, isPaused } of taken) {
    const late: number[] = [];
    let inTime = 0;
    for (; next <= upTo && next + offsetMs <= nowMs; next += periodMs) {
      const latenessMs = nowMs - next - offsetMs;
      if (isPaused) continue;
      if (latenessMs > catchUpMs) expected.old++;
      else if (latenessMs > graceMs) late.push(next);
      else {
        inTime++;
        allowed.add(next);
      }
    }
    const most = misfire === "skip" ? 0 : misfire === "fireLatest" ? (inTime > 0 ? 0 : 1) : misfire.fireAll;
    const kept = late.slice(Math.max(0, late.length - most));
    for (const slot of kept) allowed.add(slot);
    const reason = misfire === "skip" ? "late" : misfire === "fireLatest" ? "superseded" : "overMax";
    expected[reason] += late.length - kept.length;
  }
  const wrong = (Object.keys(expected) as (keyof MissedSlots)[]).filter((why) => expected[why] !== missed[why]);
  const violations: Violation[] = wrong.map((why) => ({
    rule: "miscounted",
    detail: `${why}: ${missed[why]} counted, ${expected[why]} by the policy`,
  }));
  for (const { tickId, slot } of history.begun)
    if (!allowed.has(slot)) violations.push({ rule: "against-the-policy", detail: tickId });
  if (next !== history.next)
    violations.push({ rule: "lost-unseen", detail: `the ticks reach slot ${next}, the job says ${history.next}` });
  return violations;
}

function checkSenders({ sent }: ScheduleHistory): readonly Violation[] {
  return sent
    .filter(({ believes }) => !believes)
    .map(({ node, slot }) => ({ rule: "ticked-without-lease", detail: `${node} for slot ${slot}` }));
}

function checkProgress({ next, endMs, behindMs, job, changing, offsetMs }: ScheduleHistory): readonly Violation[] {
  if (next < endMs - behindMs)
    return [{ rule: "stands-still", detail: `${job} is at ${next}, ${endMs - next} ms behind` }];
  if (changing === undefined) return [];
  const soonestMs = Math.max(endMs, changing.latestMs) + changing.lastPeriodMs + offsetMs;
  if (next <= soonestMs) return [];
  return [{ rule: "stands-still", detail: `${job} waits for ${next}, ${next - soonestMs} ms after its next slot` }];
}
