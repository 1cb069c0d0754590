/**
 * The core's data as text, in etcd's words and layout: for logs, for people, and for the scenario files that compare it.
 */
import { decodeConfChange, formatChanges } from "./conf-change.ts";
import {
  type ConfChangeV2,
  type ConfState,
  type Entry,
  type HardState,
  localAppendThread,
  localApplyThread,
  type Message,
  type NodeId,
  none,
  type Ready,
  type Snapshot,
} from "./messages.ts";

/** Hexadecimal, as in etcd's log. */
export function describeNode(id: NodeId): string {
  return id.toString(16);
}

function describeTarget(id: NodeId): string {
  if (id === none) return "None";
  if (id === localAppendThread) return "AppendThread";
  return id === localApplyThread ? "ApplyThread" : describeNode(id);
}

export function describeHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === none ? "" : ` Vote:${vote}`} Commit:${commit}`;
}

export function describeConfState(state: ConfState): string {
  const list = (ids: readonly NodeId[]) => `[${ids.join(" ")}]`;
  return (
    `Voters:${list(state.voters)} VotersOutgoing:${list(state.votersOutgoing)} Learners:${list(state.learners)} ` +
    `LearnersNext:${list(state.learnersNext)} AutoLeave:${state.autoLeave}`
  );
}

/** Whether both say the same, in whatever order. */
export function sameConfState(one: ConfState, other: ConfState): boolean {
  const ordered = (state: ConfState): ConfState => {
    const sorted = (ids: readonly NodeId[]) => [...ids].sort((a, b) => a - b);
    return {
      voters: sorted(state.voters),
      votersOutgoing: sorted(state.votersOutgoing),
      learners: sorted(state.learners),
      learnersNext: sorted(state.learnersNext),
      autoLeave: state.autoLeave,
    };
  };
  return describeConfState(ordered(one)) === describeConfState(ordered(other));
}

export function describeConfChange({ transition, changes, context }: ConfChangeV2): string {
  const parts = changes.map(({ type, nodeId }) => ` changes:{type:${type} node_id:${nodeId}}`);
  return `transition:${transition}${parts.join("")}${context === "" ? "" : ` context:${quote(context)}`}`;
}

function describeSnapshot({ metadata }: Snapshot): string {
  return `Index:${metadata.index} Term:${metadata.term} ConfState:${describeConfState(metadata.confState)}`;
}

export function describeEntry({ term, index, type, data }: Entry): string {
  return `${term}/${index} ${type}${describeData(type, data)}`;
}

function describeData(type: Entry["type"], data: Uint8Array): string {
  if (type === "EntryNormal") return ` ${quoteBytes(data)}`;
  const change = decodeConfChange(type, data);
  const text = formatChanges(change.kind === "v1" ? [change] : change.changes);
  return text === "" ? "" : ` ${text}`;
}

export function describeEntries(entries: readonly Entry[]): string {
  return entries.map((entry) => `${describeEntry(entry)}\n`).join("");
}

export function describeMessage(m: Message, indent = ""): string {
  const parts = [
    `${indent}${describeTarget(m.from)}->${describeTarget(m.to)} ${m.type} Term:${m.term} Log:${m.logTerm}/${m.index}`,
  ];
  if (m.reject) parts.push(` Rejected (Hint: ${m.rejectHint})`);
  if (m.commit !== 0) parts.push(` Commit:${m.commit}`);
  if (m.vote !== none) parts.push(` Vote:${m.vote}`);
  if (m.entries.length === 1) parts.push(` Entries:[${describeEntry(m.entries[0]!)}]`);
  else if (m.entries.length > 1) {
    const lines = m.entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`);
    parts.push(` Entries:[${lines.join("")}\n${indent}]`);
  }
  if (m.snapshot !== undefined) parts.push(`\n${indent}  Snapshot: ${describeSnapshot(m.snapshot)}`);
  if (m.responses.length > 0) {
    const lines = m.responses.map((response) => `\n${describeMessage(response, `${indent}  `)}`);
    parts.push(` Responses:[${lines.join("")}\n${indent}]`);
  }
  return parts.join("");
}

export function describeReady(ready: Ready): string {
  const parts: string[] = [];
  if (ready.softState !== undefined) parts.push(`Lead:${ready.softState.lead} State:${ready.softState.raftState}\n`);
  if (ready.hardState !== undefined) parts.push(`HardState ${describeHardState(ready.hardState)}\n`);
  if (ready.readStates.length > 0)
    parts.push(`ReadStates [${ready.readStates.map((read) => `{${read.index} ${read.requestContext}}`).join(" ")}]\n`);
  if (ready.entries.length > 0) parts.push(`Entries:\n${describeEntries(ready.entries)}`);
  if (ready.snapshot !== undefined) parts.push(`Snapshot ${describeSnapshot(ready.snapshot)}\n`);
  if (ready.committedEntries.length > 0) parts.push(`CommittedEntries:\n${describeEntries(ready.committedEntries)}`);
  if (ready.messages.length > 0)
    parts.push(`Messages:\n${ready.messages.map((m) => `${describeMessage(m)}\n`).join("")}`);
  return parts.length === 0 ? "<empty Ready>" : `Ready MustSync=${ready.mustSync}:\n${parts.join("")}`;
}

/** In double quotes, with what is not printable escaped. */
export function quote(text: string): string {
  return quoteBytes(new TextEncoder().encode(text));
}

function quoteBytes(data: Uint8Array): string {
  const text = new TextDecoder().decode(data);
  return JSON.stringify(text).replaceAll("\\u00", "\\x");
}
