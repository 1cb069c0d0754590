/**
 * What a run must have been, judged from the store's log, the callers' attempts and the outside resource; nothing that
 * a host says of itself is trusted. One rule per function. Start reading at `judge`.
 */
import type { Document, OutboxRecord } from "../../runtime/document.ts";
import { parkedPrefix, pendingPrefix } from "../../runtime/keys.ts";
import { compareTokens, type Token } from "../../runtime/ports/store.ts";
import { checkEffects, type PerformedEffect, type RecordedResult } from "../checkers/effects.ts";
import { checkExactlyOnce } from "../checkers/exactly-once.ts";
import { checkOrder } from "../checkers/order.ts";
import { checkRevisions, type Operation } from "../checkers/revisions.ts";
import { checkTimers } from "../checkers/timers.ts";
import type { Violation } from "../checkers/violation.ts";
import type { AppliedChange } from "../world/store-data.ts";
import type { World } from "../world/world.ts";
import type { Context, Performed } from "./machines.ts";
import type { Attempt, WriteCall } from "./rig.ts";

export type Run = {
  readonly world: World;
  readonly attempts: readonly Attempt[];
  readonly performed: readonly Performed[];
  readonly writes: readonly WriteCall[];
  /** How far a wall clock was ahead of true time at most. */
  readonly clockAheadMs: number;
  /**
   * The network makes second copies of requests. One of a request that the machine rejected may come when the machine
   * would take it: a rejection leaves no mark behind.
   */
  readonly hasSecondCopies: boolean;
};

export function judge(run: Run): readonly Violation[] {
  const story = readLog(run.world);
  const documents = new Map<string, Document>();
  for (const [actor, versions] of story.versions) {
    const last = versions.at(-1);
    if (last?.document !== undefined) documents.set(actor, last.document);
  }
  return [
    ...story.violations,
    ...judgeEvents(run, documents),
    ...judgeAnswers(run, story),
    ...judgeRepetitions(run),
    ...judgeMessages(documents, story),
    ...judgeEffects(run, story),
    ...judgeTimers(run, story),
    ...judgeRevisions(run, story),
    ...judgeRest(run, documents),
  ];
}

// ---- the store's log ----

type Version = { readonly atMs: number; readonly document: Document | undefined };

type Presence = { readonly token: Token; readonly atMs: number; readonly attempt: number };

type Story = {
  readonly versions: Map<string, Version[]>;
  readonly violations: Violation[];
  /** Every commit in which an effect stood in the outbox, by its key. */
  readonly pending: Map<string, Presence[]>;
  readonly recorded: RecordedResult[];
  readonly scheduled: { id: string; dueMs: number }[];
  readonly cancelled: { id: string; atMs: number }[];
  readonly fired: { id: string; atMs: number }[];
};

function readLog(world: World): Story {
  const story: Story = {
    versions: new Map(),
    violations: [],
    pending: new Map(),
    recorded: [],
    scheduled: [],
    cancelled: [],
    fired: [],
  };
  const needs = new Map<string, number | undefined>();
  const entries = new Map<string, number | undefined>();
  const epochMs = Math.round(world.wallMs - world.nowMs);
  for (const change of world.store.log) {
    if (change.key.startsWith(pendingPrefix)) {
      const actor = change.key.slice(pendingPrefix.length);
      entries.set(actor, change.value === undefined ? undefined : entryDueMs(change.value));
      checkEntry(story, actor, change, needs, entries);
    } else if (!change.key.startsWith("_")) {
      readVersion(story, change, epochMs);
      needs.set(change.key, change.value === undefined ? undefined : needOf(JSON.parse(change.value) as Document));
      checkEntry(story, change.key, change, needs, entries);
    }
  }
  return story;
}

function entryDueMs(text: string): number {
  const { due } = JSON.parse(text) as { due: 0 | string };
  return due === 0 ? 0 : Date.parse(due);
}

/** When the document must be looked at again: 0 for effects and messages, a time for timers. */
function needOf(document: Document): number | undefined {
  const times = document.outbox.map((item) => ("due" in item && item.due !== undefined ? Date.parse(item.due) : 0));
  for (const timer of Object.values(document.timers)) times.push(Date.parse(timer.due));
  if (document.expires !== undefined) times.push(Date.parse(document.expires));
  return times.length === 0 ? undefined : Math.min(...times);
}

/** At every moment the index holds an entry that is not later than what the document needs. */
function checkEntry(
  story: Story,
  actor: string,
  change: AppliedChange,
  needs: ReadonlyMap<string, number | undefined>,
  entries: ReadonlyMap<string, number | undefined>,
): void {
  const need = needs.get(actor);
  const entry = entries.get(actor);
  if (need === undefined || (entry !== undefined && entry <= need)) return;
  const detail = `${actor} needs ${need}, its entry says ${entry ?? "nothing"}, after ${change.key} at ${change.revision} by ${change.node}`;
  story.violations.push({ rule: "index-too-late", detail });
}

function readVersion(story: Story, change: AppliedChange, epochMs: number): void {
  const { key, atMs } = change;
  const versions = story.versions.get(key) ?? [];
  story.versions.set(key, versions);
  const before = versions.at(-1)?.document;
  const document = change.value === undefined ? undefined : (JSON.parse(change.value) as Document);
  versions.push({ atMs, document });
  if (document === undefined) return;
  const violated = (rule: string, detail: string) =>
    story.violations.push({ rule, detail: `${key} at ${change.revision} by ${change.node}: ${detail}` });
  if (document.seq !== (before?.seq ?? 0) + 1) violated("sequence", `${document.seq} after ${before?.seq ?? 0}`);
  if (before !== undefined) {
    if (compareTokens(document.token, before.token) < 0)
      violated("token-fell", `${document.token} after ${before.token}`);
    if (document.at < before.at) violated("time-went-back", `${document.at} after ${before.at}`);
    if (document.born !== before.born) violated("two-lives", `${document.born} after ${before.born}`);
  }
  readTimers(story, before, document, atMs, epochMs);
  readOutbox(story, before, document, atMs);
}

function readTimers(
  story: Story,
  before: Document | undefined,
  document: Document,
  atMs: number,
  epochMs: number,
): void {
  const idOf = (name: string) => `${document.type}.${document.id} ${name}`;
  const fired = new Set(document.causes.flatMap((cause) => (typeof cause.timer === "string" ? [cause.timer] : [])));
  for (const name of fired) story.fired.push({ id: idOf(name), atMs });
  for (const [name, timer] of Object.entries(document.timers)) {
    if (before?.timers[name] === undefined)
      story.scheduled.push({ id: idOf(name), dueMs: Date.parse(timer.due) - epochMs });
  }
  for (const name of Object.keys(before?.timers ?? {})) {
    if (document.timers[name] === undefined && !fired.has(name)) story.cancelled.push({ id: idOf(name), atMs });
  }
}

function readOutbox(story: Story, before: Document | undefined, document: Document, atMs: number): void {
  const keyOf = (item: OutboxRecord) =>
    `${document.type}/${document.id}/${document.born}/${("by" in item ? item.by : undefined) ?? "s0"}/${item.n}`;
  const left = new Set<number>();
  for (const item of document.outbox) {
    left.add(item.n);
    if (item.do !== "action" && item.do !== "start") continue;
    const presence = { token: document.token, atMs, attempt: item.attempt ?? 1 };
    const known = story.pending.get(keyOf(item));
    if (known === undefined) story.pending.set(keyOf(item), [presence]);
    else known.push(presence);
  }
  const results = new Set(
    document.causes.flatMap((cause) => (typeof cause.n === "number" && "data" in cause ? [cause.n] : [])),
  );
  for (const item of before?.outbox ?? []) {
    if (left.has(item.n) || (item.do !== "action" && item.do !== "start")) continue;
    // Work that is gone without a result was stopped.
    if (item.do === "action" || results.has(item.n))
      story.recorded.push({ key: keyOf(item), token: document.token, atMs });
  }
}

// ---- the rules ----

function contextOf(document: Document): Context {
  return (document.actors.s0 as unknown as { snap: { context: Context } }).snap.context;
}

function judgeEvents(
  { attempts, hasSecondCopies }: Run,
  documents: ReadonlyMap<string, Document>,
): readonly Violation[] {
  const events = attempts.filter(({ id }) => !/^(create|barrier|noop)-/.test(id));
  const applied = (document: Document): string[] =>
    contextOf(document).log.flatMap((entry) => (entry.startsWith("e:") ? [entry.slice(2)] : []));
  const violations = [
    ...checkExactlyOnce({
      attempts: events.map(({ actor, id, code, receipt, outcome }) => ({
        actor,
        key: id,
        outcome: code === "Rejected" && hasSecondCopies ? "unknown" : outcome,
        ...(receipt !== undefined && { receipt }),
      })),
      documents,
      applied,
    }),
  ];
  const acknowledged = events.filter(
    ({ outcome, isRepetition }) => outcome === "acknowledged" && isRepetition !== undefined,
  );
  for (const [actor, document] of documents) {
    const position = new Map(applied(document).map((id, index) => [id, index]));
    const latest = new Map<string, number>();
    const seen = new Set<string>();
    // In the order in which a client got its answers, which is the order in which it asked.
    for (const attempt of acknowledged) {
      if (attempt.actor !== actor || seen.has(attempt.id)) continue;
      seen.add(attempt.id);
      const at = position.get(attempt.id);
      const before = latest.get(attempt.client) ?? -1;
      if (at !== undefined && at < before)
        violations.push({ rule: "out-of-order", detail: `${actor}: ${attempt.id} of ${attempt.client}` });
      if (at !== undefined) latest.set(attempt.client, at);
    }
  }
  for (const { id, actor, code } of attempts) {
    const isStrange = code !== undefined && !["moved", "Rejected", "Overloaded", "StoreFull", "Stopped"].includes(code);
    if (isStrange) violations.push({ rule: "strange-refusal", detail: `${actor}: ${id} got ${code}` });
  }
  return violations;
}

/** What was acknowledged stands among the causes of the very commit that the receipt names. */
function judgeAnswers({ attempts, hasSecondCopies }: Run, story: Story): readonly Violation[] {
  const violations: Violation[] = [];
  const refused = new Set<string>();
  const mayBeDone = new Set<string>();
  for (const { actor, id, outcome, revision, isRepetition } of attempts) {
    if (id.startsWith("barrier")) continue;
    if (outcome === "acknowledged") {
      const version = story.versions.get(actor)?.find(({ document }) => document?.seq === revision);
      const cause = version?.document?.causes.some(
        (one) => one.id === id || (id.startsWith("create") && one.type === "xstate.init"),
      );
      if (cause !== true)
        violations.push({ rule: "acknowledged-without-commit", detail: `${actor}: ${id} at ${revision}` });
      // R6: only what was unknown, or acknowledged, may turn out to be done.
      const isSurprise = isRepetition === true && !hasSecondCopies && refused.has(id) && !mayBeDone.has(id);
      if (isSurprise) violations.push({ rule: "refused-although-done", detail: `${actor}: ${id}` });
    }
    if (outcome === "refused") refused.add(id);
    else mayBeDone.add(id);
  }
  return violations;
}

/** A write without an outcome is repeated byte by byte, by the same owner, until it has one (R6). */
function judgeRepetitions({ writes }: Run): readonly Violation[] {
  const violations: Violation[] = [];
  const open = new Map<string, WriteCall>();
  for (const call of writes) {
    const { owner, write } = call;
    const name = `${owner} ${write.key}`;
    const before = open.get(name);
    const isUnsettled = before?.outcome === "unknown" && compareTokens(before.write.token, write.token) === 0;
    if (isUnsettled && (before.write.value !== write.value || before.write.header.commit !== write.header.commit)) {
      violations.push({
        rule: "repetition-differs",
        detail: `${name}: ${write.header.commit} after ${before.write.header.commit}`,
      });
    }
    open.set(name, call);
  }
  return violations;
}

function judgeMessages(documents: ReadonlyMap<string, Document>, story: Story): readonly Violation[] {
  const sent: { sender: string; receiver: string; message: string }[] = [];
  const applied: { sender: string; receiver: string; message: string }[] = [];
  const violations: Violation[] = [];
  for (const [actor, document] of documents) {
    for (const entry of contextOf(document).log) {
      const [kind, sender = "", message = ""] = entry.split(":");
      if (kind === "m") applied.push({ sender, receiver: actor, message });
    }
  }
  for (const [actor, document] of documents) {
    const dead = new Set<string>();
    for (const letter of document.dead?.last ?? []) {
      const receiver = letter.to.join(".");
      dead.add(`${receiver} ${String((letter.event as { k?: unknown }).k)}`);
      if (wasMissing(story, actor, receiver, letter.n)) continue;
      violations.push({ rule: "dead-letter", detail: `${actor}: ${JSON.stringify(letter)}` });
    }
    for (const [receiver, count] of Object.entries(contextOf(document).sent)) {
      for (let k = 1; k <= count; k++) {
        // A dead letter is never delivered, also not by a copy that comes when its receiver has been created.
        if (!dead.has(`${receiver} ${k}`)) sent.push({ sender: actor, receiver, message: String(k) });
      }
    }
  }
  return [...violations, ...checkOrder({ sent, applied, isComplete: true })];
}

/** Whether the receiver did not exist at some moment after the message was committed. */
function wasMissing(story: Story, sender: string, receiver: string, n: number): boolean {
  const sent = story.versions.get(sender)?.find(({ document }) => document?.outbox.some((item) => item.n === n));
  const created = story.versions.get(receiver)?.[0];
  return sent !== undefined && created !== undefined && created.atMs > sent.atMs;
}

function judgeEffects({ performed }: Run, story: Story): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { key, token, attempt, calledMs } of performed) {
    const stood = (story.pending.get(key) ?? []).filter(
      (presence) => presence.atMs <= calledMs && compareTokens(presence.token, token) === 0,
    );
    const detail = `${key} attempt ${attempt} called at ${calledMs} under ${token.join(".")}`;
    // Claimed, and committed, before it ran: the document stood there under this very token.
    if (stood.length === 0) violations.push({ rule: "performed-before-committed", detail });
    else if (!stood.some((presence) => presence.attempt >= attempt))
      violations.push({ rule: "retry-before-committed", detail });
  }
  const reached = performed.filter(
    (run): run is Performed & { outcome: PerformedEffect["outcome"] } => run.outcome !== undefined,
  );
  const due = story.recorded.map(({ key }) => key);
  for (const { key, token, atMs } of story.recorded) {
    const isOwn = performed.some(
      (run) =>
        run.key === key && compareTokens(run.token, token) === 0 && run.endedMs !== undefined && run.endedMs <= atMs,
    );
    if (!isOwn)
      violations.push({ rule: "result-of-another-token", detail: `${key} recorded under ${token.join(".")}` });
  }
  return [...violations, ...checkEffects({ performed: reached, recorded: story.recorded, due, isFenced: true })];
}

function judgeTimers({ world, clockAheadMs }: Run, story: Story): readonly Violation[] {
  const { scheduled, cancelled, fired } = story;
  return checkTimers({
    scheduled,
    cancelled,
    fired,
    endMs: world.nowMs,
    graceMs: 60_000,
    clockAheadMs: clockAheadMs + 1,
  });
}

function judgeRevisions({ attempts }: Run, story: Story): readonly Violation[] {
  const operations: Operation[] = attempts
    .filter(({ outcome }) => outcome === "acknowledged")
    .map(({ actor, callMs, returnMs, revision, isRepetition }) => ({
      call: callMs,
      return: returnMs,
      key: actor,
      kind: "write",
      outcome: "ok",
      ...(revision !== undefined && { revision }),
      ...(isRepetition === true && { isRepetition }),
    }));
  const stored = new Map(
    [...story.versions].map(([actor, versions]) => [
      actor,
      versions.flatMap(({ document }) =>
        document === undefined ? [] : [{ revision: document.seq, previous: document.seq - 1 }],
      ),
    ]),
  );
  return checkRevisions({ operations, stored });
}

/** At the end everything is done, nothing is parked, and the index of pending work is empty. */
function judgeRest({ world }: Run, documents: ReadonlyMap<string, Document>): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { key, value } of world.store.peekAll(parkedPrefix))
    violations.push({ rule: "parked", detail: `${key} ${value}` });
  for (const { key, value } of world.store.peekAll(pendingPrefix))
    violations.push({ rule: "index-not-empty", detail: `${key} ${value}` });
  for (const [actor, document] of documents) {
    if (needOf(document) !== undefined)
      violations.push({
        rule: "unfinished",
        detail: `${actor} ${JSON.stringify(document.outbox)} ${JSON.stringify(document.timers)}`,
      });
  }
  const alarms = /failed inside the runtime|has stopped|cannot be read/;
  for (const node of world.nodes) {
    for (const { level, message, fields } of node.logs) {
      if (level === "error" && alarms.test(message)) {
        violations.push({
          rule: "alarm",
          detail: `${node.name}: ${message} ${String((fields.error as Error | undefined)?.stack ?? "")}`,
        });
      }
    }
  }
  return violations;
}

/** Nothing is left to do: asked while the world goes on. */
export function isAtRest(world: World): boolean {
  if (world.store.peekAll(pendingPrefix).length > 0) return false;
  for (const { key, value } of world.store.peekAll()) {
    if (key.startsWith("_")) continue;
    if (needOf(JSON.parse(value) as Document) !== undefined) return false;
  }
  return true;
}
