/**
 * What a run must have been, judged from the store's log, the callers' attempts and the outside resource; nothing that
 * a host says of itself is trusted. One rule per function. Start reading at `judge`.
 */
import type { Document } from "../../runtime/document.ts";
import { parkedPrefix, pendingPrefix } from "../../runtime/keys.ts";
import { compareTokens } from "../../runtime/ports/store.ts";
import { checkEffects, type PerformedEffect } from "../checkers/effects.ts";
import { checkExactlyOnce } from "../checkers/exactly-once.ts";
import { checkOrder } from "../checkers/order.ts";
import { checkRevisions, type Operation } from "../checkers/revisions.ts";
import { checkTimers } from "../checkers/timers.ts";
import type { Violation } from "../checkers/violation.ts";
import { needOf, readLog, type Story } from "../run/story.ts";
import { judgeTraces } from "../run/trace-rules.ts";
import type { World } from "../world/world.ts";
import type { Context, Performed } from "./machines.ts";
import { wrongTimers } from "./pending-timers.ts";
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
  const story = readLog(run.world.store.log, Math.round(run.world.wallMs - run.world.nowMs));
  const documents = new Map<string, Document>();
  for (const [actor, versions] of story.versions) {
    const last = versions.at(-1);
    if (last?.document !== undefined) documents.set(actor, last.document);
  }
  return [
    ...story.violations,
    ...judgeTimerCounts(story),
    ...judgeEvents(run, documents),
    ...judgeAnswers(run, story),
    ...judgeRepetitions(run),
    ...judgeMessages(documents, story),
    ...judgeEffects(run, story),
    ...judgeTimers(run, story),
    ...judgeRevisions(run, story),
    ...judgeRest(run, documents),
    ...judgeTraces(run.world, story),
  ];
}

/** In every version of every document. */
function judgeTimerCounts(story: Story): readonly Violation[] {
  return [...story.versions].flatMap(([actor, versions]) =>
    versions.flatMap(({ document }) => {
      const wrong = document && wrongTimers(document);
      return wrong === undefined ? [] : [{ rule: "timers-miscounted", detail: `${actor}: ${wrong}` }];
    }),
  );
}

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
  const reached = performed
    .filter((run): run is Performed & { outcome: PerformedEffect["outcome"] } => run.outcome !== undefined)
    .sort((a, b) => a.place - b.place);
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
