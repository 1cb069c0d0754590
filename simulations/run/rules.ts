/**
 * What must hold of any machines on any cluster, judged from the store's log and from what callers were told, and each
 * rule in plain words. One rule per function. Start reading at `judgeCluster`.
 */
import type { Document } from "../../runtime/document.ts";
import { readParked } from "../../runtime/host/parking.ts";
import { parkedPrefix } from "../../runtime/keys.ts";
import type { ActorTypes } from "../../runtime/runtime.ts";
import type { KeyedReply } from "../checkers/replies.ts";
import { checkRevisions, type Operation } from "../checkers/revisions.ts";
import { checkTimers } from "../checkers/timers.ts";
import type { Violation } from "../checkers/violation.ts";
import type { DrawnAt } from "../world/drawing.ts";
import type { RegisterModel } from "../world/register-model.ts";
import type { World } from "../world/world.ts";
import { isEnded, judgeConvergence, judgeLinearizability, judgeReplies, keyOf } from "./answers.ts";
import type { End, Invariants, StepResult } from "./cluster.ts";
import type { Refusal } from "./driven.ts";
import { type Fault, lastsMs } from "./fault.ts";
import type { Ground } from "./ground.ts";
import { judgeParkedActors, judgeTokens } from "./log-rules.ts";
import { type Always, judgeAlways, troubleOf } from "./moments.ts";
import { judgeRegisters } from "./register-rules.ts";
import { readLog, type Story } from "./story.ts";
import type { Plan } from "./suite.ts";
import { judgeTraces } from "./trace-rules.ts";

export type ClusterRun = {
  readonly world: World;
  readonly ground: Ground;
  readonly plan: Plan;
  readonly results: readonly StepResult[];
  readonly failure: unknown;
  readonly refusals: readonly Refusal[];
  readonly end: End;
  readonly invariants: Invariants;
  readonly always: Always;
  /** As a client knows them: for states of the past. */
  readonly types: ActorTypes;
  readonly replies: readonly KeyedReply[];
  /** Resources that users wrote to with their tokens. */
  readonly registers: Readonly<Record<string, RegisterModel>>;
  readonly healedMs: number;
  /** What each client saw of each actor in the end. */
  readonly sights: readonly { readonly node: string; readonly actor: string; readonly value: string }[];
};

export type Judged = {
  readonly violations: readonly Violation[];
  readonly met: readonly string[];
  readonly commits: readonly DrawnAt[];
};

/** What each rule says, for reports. A user's invariant says it itself. */
export const plainWords: Readonly<Record<string, string>> = {
  "never-at-rest": "after every fault had ended, work was left that nobody finished",
  "retried-without-key":
    "an event was asked for again after no answer had come, without an idempotency key, and was applied more than once: give the request a key and repeat it under the same one",
  "step-refused":
    "a step of the workload was refused for good, so that nothing was tested by it: correct the step or the machine, or leave this rule out by `except` where that is meant",
  "applied-twice": "one request, under one key, was applied more than once",
  "acknowledged-without-commit":
    "a caller was told that its event is durable, and the commit named in the receipt does not hold it",
  "message-lost": "a message from one actor to another was never applied",
  "message-twice": "a message from one actor to another was applied more often than it was sent",
  "messages-out-of-order": "messages of one actor were applied in another order than they were sent",
  "recorded-twice": "the result of one effect was recorded twice",
  parked: "an actor was set aside: an event of its own made the machine throw, or an effect failed for good",
  alarm: "a node reported a failure inside the runtime",
  "workload-failed": "the workload itself threw",
  "reached for the real world":
    "code inside the run asked for real time or I/O, which a simulation refuses: what would have followed was not tested",
  "unhandled-rejection": "a promise was rejected and nobody waited for it: a real process would have ended there",
  sequence: "an actor's revisions have a gap",
  "token-fell": "an owner with an older token wrote over a newer one",
  "time-went-back": "a document is older than the one it replaced",
  "two-lives": "an actor changed its identity in the middle of its life",
  "index-too-late": "the index of pending work knew of work later than it was due: a crash there would have lost it",
  "real-time-order": "a caller was answered with a revision that another had been told of before",
  lost: "what was acknowledged is not there",
  "not-linearizable": "no order of all that was asked of an actor explains every answer: each alone may look right",
  "replies-differ": "one key was told two different commits",
  "new-twice": "one key was called new more than once",
  "key-reused-unnoticed": "one key was acknowledged for two different events",
  "key-refused-wrongly": "a key was refused as used for something else, and it was not",
  "receipt-of-another-commit": "a caller was told of a commit that did not apply its key",
  "never-answered": "a caller got no answer, though every fault had ended",
  "answered-too-late": "a caller was answered long after every fault had ended",
  "never-converged": "when all had come to rest, two clients saw different states of one actor",
  "unfenced-write":
    "a resource that is fenced was written to without a token: a late owner does that, too, and nothing can refuse it",
  "refused-rightful-holder": "a resource refused the holder of its newest token",
  "read-before-install": "a resource was read for a decision before the reader's token was installed",
  "token-shared": "two nodes wrote to one actor under one token",
  "succeeded-late":
    "an owner died, and its jobs stood still for longer than the lease's time to live and a period beyond what the lease back end itself took",
  "parked-without-reason": "an actor was set aside and nothing says why",
  "parked-and-changed": "an actor that was set aside was changed all the same",
  "span-parent-missing": "a span hangs on one that nobody ever began: whoever follows the trace loses it there",
  "span-parent-unended": "a span hangs on one that was begun and never ended, so that no exporter gets it",
  "span-ended-twice": "a span was ended more than once",
  "span-from-nowhere": "a span hangs on nothing: whoever follows the trace never finds what led to it",
  "span-of-another": "a span is a part of another actor's work",
  "commit-without-span": "a commit was made that no span tells of",
  "span-cause-missing": "the span of a commit does not hang on what led to the commit",
  "spans-apart": "the trace of one actor's life is in pieces that nothing joins",
};

/** Rules whose names say it already. */
const saidByName = [
  ["early", "fired-after-cancel", "fired-twice", "unknown-timer"],
  ["acknowledged-but-absent", "refused-but-present", "read-of-nothing", "stale-read"],
  ["wrong-predecessor", "lost-update", "revision-twice"],
  ["linearizability-unknown", "left-undone", "nobody-looked", "not-parked", "parked-needlessly"],
].flat();

/** Every rule that a run is judged by, besides the user's own: what `except` may name. */
export const ruleNames: readonly string[] = [...Object.keys(plainWords), ...saidByName];

/** The rule of a violation in plain words. */
export function inPlainWords({ rule }: Violation): string {
  return plainWords[rule] ?? rule.replaceAll("-", " ");
}

export function judgeCluster(run: ClusterRun): Judged {
  const story = readLog(run.ground.log, Math.round(run.world.wallMs - run.world.nowMs));
  return {
    violations: [
      ...judgeWorkload(run),
      // What explains that a rule of the user's is broken comes before it.
      ...judgeRefusals(run),
      ...judgeRetries(run, story),
      ...judgeAlways(run.always, run.types, run.ground.log),
      ...judgeInvariants(run),
      ...withinClocks(run.plan.faults, story.violations),
      ...judgeKeys(story),
      ...judgeReceipts(run, story),
      ...judgeMessages(story),
      ...judgeResults(story),
      ...judgeTimers(run, story),
      ...judgeOrder(run, story),
      ...judgeLinearizability(run.results, story),
      ...judgeReplies(run.replies, story),
      ...judgeConvergence(run.results, run.healedMs, run.sights),
      ...judgeTokens(run.ground.log),
      ...judgeRegisters(run.registers),
      ...judgeParking(run),
      ...judgeParkedActors(run.ground.log),
      ...judgeTraces(run.world, story),
      ...judgeLogs(run),
    ],
    met: whatWasMet(run.plan.faults, story),
    commits: commitsOf(story),
  };
}

function judgeWorkload({ failure }: ClusterRun): readonly Violation[] {
  if (failure === undefined) return [];
  return [
    {
      rule: "workload-failed",
      detail: failure instanceof Error ? (failure.stack ?? failure.message) : String(failure),
    },
  ];
}

function judgeInvariants({ invariants, end }: ClusterRun): readonly Violation[] {
  return Object.entries(invariants).flatMap(([rule, holds]) => {
    const detail = troubleOf(rule, () => holds(end), "it does not hold when everything has come to rest");
    return detail === undefined ? [] : [{ rule, detail }];
  });
}

/** What is refused so, is refused always: a name misspelt, a value that cannot be kept, a machine that throws. */
const forGood = new Set([
  "UnknownEvent",
  "NotStorable",
  "TooLarge",
  "Rejected",
  "KeyReused",
  "InvalidKey",
  "InvalidRequest",
]);

function judgeRefusals({ results, refusals }: ClusterRun): readonly Violation[] {
  const ofSteps = results.flatMap(({ step, outcome, code = "", message = "" }, index): readonly Refusal[] => {
    if (outcome !== "refused") return [];
    const what = `${step.send?.type ?? (step.delete === true ? "delete" : "create")} for ${step.to}`;
    return [{ what: `step ${index + 1}, ${what}`, code, message }];
  });
  return [...ofSteps, ...refusals]
    .filter(({ code }) => forGood.has(code))
    .map(({ what, code, message }) => ({ rule: "step-refused", detail: `${what}: ${code}: ${message}` }));
}

/** One thing that a caller wanted once, done under several keys. */
function judgeRetries({ results }: ClusterRun, story: Story): readonly Violation[] {
  return results.flatMap(({ step, keys }) => {
    if (keys.size < 2) return [];
    const applied = new Set<string>();
    for (const { document } of story.versions.get(step.to.replace("/", ".")) ?? [])
      for (const cause of document?.causes ?? []) {
        const key = keyOf(cause);
        if (key !== undefined && keys.has(key)) applied.add(key);
      }
    if (applied.size < 2) return [];
    const what = step.send?.type ?? "create";
    return [
      {
        rule: "retried-without-key",
        detail: `${what} for ${step.to.replace("/", ".")} was meant once and applied ${applied.size} times`,
      },
    ];
  });
}

function judgeKeys(story: Story): readonly Violation[] {
  const violations: Violation[] = [];
  for (const [actor, versions] of story.versions) {
    const seen = new Set<string>();
    for (const { document } of versions) {
      for (const cause of document?.causes ?? []) {
        // Only what is surely the key of a request: an event may have a field of that name.
        const key = keyOf(cause);
        if (key === undefined || "from" in cause || "timer" in cause) continue;
        const name = `${document?.born} ${cause.type} ${key}`;
        if (seen.has(name)) violations.push({ rule: "applied-twice", detail: `${actor}: ${cause.type} under ${key}` });
        seen.add(name);
      }
    }
  }
  return violations;
}

function judgeReceipts({ results }: ClusterRun, story: Story): readonly Violation[] {
  return results.flatMap(({ step, outcome, revision, keys }) => {
    if (outcome !== "acknowledged") return [];
    const actor = step.to.replace("/", ".");
    const versions = story.versions.get(actor)?.filter(({ document }) => document?.seq === revision) ?? [];
    const isThere = versions.some(({ document }) => document?.causes.some((cause) => keys.has(keyOf(cause) ?? "")));
    if (isThere) return [];
    return [{ rule: "acknowledged-without-commit", detail: `${actor}: ${step.send?.type ?? "create"} at ${revision}` }];
  });
}

/** What stood in an outbox is what the receiver names among its causes, in the same order. */
function judgeMessages(story: Story): readonly Violation[] {
  const sent = new Map<string, Map<number, string>>();
  const dead = new Map<string, Set<number>>();
  const applied = new Map<string, string[]>();
  for (const [actor, versions] of story.versions) {
    for (const { document } of versions) {
      for (const item of document?.outbox ?? []) {
        if (item.do !== "send") continue;
        const pair = `${actor} > ${item.to.join(".")}`;
        const items = sent.get(pair) ?? new Map<number, string>();
        sent.set(pair, items.set(item.n, JSON.stringify(item.event)));
      }
      for (const letter of document?.dead?.last ?? []) {
        const pair = `${actor} > ${letter.to.join(".")}`;
        dead.set(pair, (dead.get(pair) ?? new Set()).add(letter.n));
      }
      for (const { from, ...event } of document?.causes ?? []) {
        if (typeof from !== "string" || !story.versions.has(from)) continue;
        const pair = `${from} > ${actor}`;
        applied.set(pair, [...(applied.get(pair) ?? []), JSON.stringify(event)]);
      }
    }
  }
  const violations: Violation[] = [];
  for (const pair of new Set([...sent.keys(), ...applied.keys()])) {
    const [sender = "", receiver = ""] = pair.split(" > ");
    if (isEnded(story, sender) || isEnded(story, receiver)) continue;
    const expected = [...(sent.get(pair) ?? [])]
      .filter(([n]) => dead.get(pair)?.has(n) !== true)
      .sort(([a], [b]) => a - b)
      .map(([, event]) => event);
    const got = applied.get(pair) ?? [];
    const rule =
      got.length < expected.length
        ? "message-lost"
        : got.length > expected.length
          ? "message-twice"
          : "messages-out-of-order";
    if (JSON.stringify(got) !== JSON.stringify(expected))
      violations.push({ rule, detail: `${pair}: sent ${expected.join(" ")}, applied ${got.join(" ")}` });
  }
  return violations;
}

function judgeResults(story: Story): readonly Violation[] {
  const seen = new Set<string>();
  return story.recorded.flatMap(({ key }) => {
    if (!seen.has(key)) {
      seen.add(key);
      return [];
    }
    return [{ rule: "recorded-twice", detail: key }];
  });
}

function judgeTimers({ world, plan }: ClusterRun, { scheduled, cancelled, fired }: Story): readonly Violation[] {
  const clockAheadMs = clockAheadOf(plan.faults) + 1;
  return checkTimers({ scheduled, cancelled, fired, endMs: world.nowMs, graceMs: 60_000, clockAheadMs });
}

/** How far a wall clock may have been ahead of true time at most. */
export function clockAheadOf(faults: readonly Fault[]): number {
  let aheadMs = 0;
  for (const fault of faults) {
    if (fault.kind === "step") aheadMs += Math.max(0, fault.args.byMs);
    if (fault.kind === "drift") aheadMs += Math.max(0, (fault.args.rate - 1) * fault.args.forMs);
  }
  return aheadMs;
}

/** How far two clocks may have been apart. */
function clockSpreadOf(faults: readonly Fault[]): number {
  let spreadMs = clockAheadOf(faults);
  for (const fault of faults) {
    if (fault.kind === "step") spreadMs += Math.max(0, -fault.args.byMs);
    if (fault.kind === "drift") spreadMs += Math.max(0, (1 - fault.args.rate) * fault.args.forMs);
    if (fault.kind === "stop") spreadMs += fault.args.forMs;
  }
  return spreadMs;
}

/** A document's time is kept from falling among clocks that are at most 5 s apart; further apart it may fall. */
export function withinClocks(faults: readonly Fault[], violations: readonly Violation[]): readonly Violation[] {
  if (clockSpreadOf(faults) <= 5_000) return violations;
  return violations.filter(({ rule }) => rule !== "time-went-back");
}

function judgeOrder({ results }: ClusterRun, story: Story): readonly Violation[] {
  const operations: Operation[] = results.flatMap(({ step, outcome, revision, duplicate, callMs, returnMs }) => {
    const key = step.to.replace("/", ".");
    if (outcome !== "acknowledged" || revision === undefined || isEnded(story, key)) return [];
    const isRepetition = duplicate === true;
    return [{ call: callMs, return: returnMs, key, kind: "write", outcome: "ok", revision, isRepetition }];
  });
  return checkRevisions({ operations });
}

function judgeParking({ ground }: ClusterRun): readonly Violation[] {
  const parked = ground.peekAll().filter(({ key }) => key.startsWith(parkedPrefix));
  return parked.map(({ key, value }) => {
    const { reason = "foreign", message = value, revision } = readParked(value) ?? {};
    return {
      rule: "parked",
      detail: `${key.slice(parkedPrefix.length)}: ${reason}, at revision ${revision}: ${message}`,
    };
  });
}

function judgeLogs({ world }: ClusterRun): readonly Violation[] {
  const alarms = /failed inside the runtime|has stopped|cannot be read/;
  return world.nodes.flatMap((node) =>
    node.logs
      .filter(({ level, message }) => level === "error" && alarms.test(message))
      .map(({ message, fields }) => ({
        rule: "alarm",
        detail: `${node.name}: ${message} ${String((fields.error as Error | undefined)?.stack ?? "")}`,
      })),
  );
}

/** Which states of the machines were committed while which kinds of faults were going on. */
export function whatWasMet(faults: readonly Fault[], story: Story): readonly string[] {
  const met = new Set<string>();
  for (const versions of story.versions.values()) {
    for (const { atMs, document } of versions) {
      if (document === undefined) continue;
      for (const fault of faults) {
        if (fault.at <= atMs && atMs <= fault.at + Math.max(1_000, Math.min(lastsMs(fault), 30_000)))
          met.add(`${document.type}:${stateOf(document)} × ${fault.kind}`);
      }
    }
  }
  return [...met];
}

function stateOf(document: Document): string {
  return document.status === "active"
    ? document.state || "active"
    : document.status === "done"
      ? document.state
      : document.status;
}

export function commitsOf(story: Story): readonly DrawnAt[] {
  const commits: DrawnAt[] = [];
  for (const [actor, versions] of story.versions) {
    for (const { atMs, document, node } of versions) {
      if (document === undefined) continue;
      const causes = document.causes.map(({ type }) => type.replace(/^(xstate|holdfast)\./, "")).join(" ");
      const text = `${document.seq} ${stateOf(document)}: ${causes || "claim"} [token ${document.token.join(".")}]`;
      commits.push({ kind: "commit", node, actor, text, atMs });
    }
  }
  return commits;
}
