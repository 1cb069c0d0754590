/**
 * A run as the store's log tells it: every version of every document, and from them effects, timers and the index of
 * pending work. What no single version may do, and no two in a row, is judged here; nothing that a host says of itself
 * is trusted. Start reading at `readLog`.
 */
import type { Document, OutboxRecord } from "../../runtime/document.ts";
import { pendingPrefix } from "../../runtime/keys.ts";
import { compareTokens, type Token } from "../../runtime/ports/store.ts";
import type { RecordedResult } from "../checkers/effects.ts";
import type { Violation } from "../checkers/violation.ts";
import type { AppliedChange } from "../world/store-data.ts";

export type Version = { readonly atMs: number; readonly document: Document | undefined; readonly node: string };

/** An effect in the outbox of one commit. */
export type Presence = { readonly token: Token; readonly atMs: number; readonly attempt: number };

export type Story = {
  readonly versions: Map<string, Version[]>;
  readonly violations: Violation[];
  /** Every commit in which an effect stood in the outbox, by its key. */
  readonly pending: Map<string, Presence[]>;
  readonly recorded: RecordedResult[];
  readonly scheduled: { id: string; dueMs: number }[];
  readonly cancelled: { id: string; atMs: number }[];
  readonly fired: { id: string; atMs: number }[];
};

/** `epochMs`: wall time when the world began. */
export function readLog(log: readonly AppliedChange[], epochMs: number): Story {
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
  for (const change of log) {
    if (change.key.startsWith(pendingPrefix)) {
      const actor = change.key.slice(pendingPrefix.length);
      entries.set(actor, change.value === undefined ? undefined : entryDueMs(change.value));
      checkEntry(story, actor, change, needs, entries);
    } else if (!change.key.startsWith("_")) {
      const document = readVersion(story, change, epochMs);
      needs.set(change.key, document && needOf(document));
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
export function needOf(document: Document): number | undefined {
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

/** The document that was written, if it was not removed. */
function readVersion(story: Story, change: AppliedChange, epochMs: number): Document | undefined {
  const { key, atMs } = change;
  const versions = story.versions.get(key) ?? [];
  story.versions.set(key, versions);
  const before = versions.at(-1)?.document;
  const document = change.value === undefined ? undefined : (JSON.parse(change.value) as Document);
  versions.push({ atMs, document, node: change.node });
  if (document === undefined) return undefined;
  const violated = (rule: string, detail: string) =>
    story.violations.push({ rule, detail: `${key} at ${change.revision} by ${change.node}: ${detail}` });
  if (document.seq !== (before?.seq ?? 0) + 1) violated("sequence", `${document.seq} after ${before?.seq ?? 0}`);
  if (before !== undefined) {
    if (compareTokens(document.token, before.token) < 0)
      violated("token-fell", `${document.token} after ${before.token}`);
    if (document.at < before.at) violated("time-went-back", `${document.at} after ${before.at}`);
    if (document.born !== before.born && before.status !== "deleted")
      violated("two-lives", `${document.born} after ${before.born}`);
  }
  readTimers(story, before, document, atMs, epochMs);
  readOutbox(story, before, document, atMs);
  return document;
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
