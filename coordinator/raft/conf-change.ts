/**
 * Changes of the membership: how one is written into a log entry, read back, and what it asks for. The encoding is
 * JSON, so that a log can be read by people; an entry without data leaves a joint configuration.
 */
import type {
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfChangeV2,
  EntryType,
} from "./messages.ts";

const letters: Readonly<Record<ConfChangeType, string>> = {
  ConfChangeAddNode: "v",
  ConfChangeAddLearnerNode: "l",
  ConfChangeRemoveNode: "r",
  ConfChangeUpdateNode: "u",
};

const transitions: readonly ConfChangeTransition[] = [
  "ConfChangeTransitionAuto",
  "ConfChangeTransitionJointImplicit",
  "ConfChangeTransitionJointExplicit",
];

/** Leaves a joint configuration. */
export const leaveJointChange: ConfChangeV2 = {
  kind: "v2",
  transition: "ConfChangeTransitionAuto",
  changes: [],
  context: "",
};

/** The same operation in the newer form. */
export function asV2(change: ConfChange): ConfChangeV2 {
  if (change.kind === "v2") return change;
  return {
    kind: "v2",
    transition: "ConfChangeTransitionAuto",
    changes: [{ type: change.type, nodeId: change.nodeId }],
    context: change.context,
  };
}

/** How a change is carried out: directly, by entering a joint configuration, or by leaving one. */
export type Manner = { readonly kind: "simple" | "leaveJoint" } | { readonly kind: "enterJoint"; autoLeave: boolean };

export function mannerOf(change: ConfChangeV2): Manner {
  if (change.transition === "ConfChangeTransitionAuto" && change.changes.length === 0) return { kind: "leaveJoint" };
  if (change.transition === "ConfChangeTransitionAuto" && change.changes.length === 1) return { kind: "simple" };
  return { kind: "enterJoint", autoLeave: change.transition !== "ConfChangeTransitionJointExplicit" };
}

/** An unreadable membership change in the log: it was not written by this version, or is damaged. */
export class UnreadableConfChange extends Error {
  override readonly name = "UnreadableConfChange";
}

export function encodeConfChange(change: ConfChange): { readonly type: EntryType; readonly data: Uint8Array } {
  const context = change.context === "" ? {} : { context: change.context };
  if (change.kind === "v1") {
    const json = { changes: formatChanges([change]), ...context };
    return { type: "EntryConfChange", data: new TextEncoder().encode(JSON.stringify(json)) };
  }
  if (mannerOf(change).kind === "leaveJoint" && change.context === "")
    return { type: "EntryConfChangeV2", data: new Uint8Array() };
  const json = { changes: formatChanges(change.changes), transition: change.transition, ...context };
  return { type: "EntryConfChangeV2", data: new TextEncoder().encode(JSON.stringify(json)) };
}

export function decodeConfChange(type: EntryType, data: Uint8Array): ConfChange {
  if (type === "EntryConfChangeV2" && data.length === 0) return leaveJointChange;
  const fields = parseObject(data);
  const changes = parseChanges(textOf(fields.changes ?? ""));
  if (typeof changes === "string") throw new UnreadableConfChange(changes);
  const context = textOf(fields.context ?? "");
  if (type === "EntryConfChangeV2") {
    const transition = transitions.find((name) => name === fields.transition);
    if (transition === undefined) throw new UnreadableConfChange(`no such transition: ${String(fields.transition)}`);
    return { kind: "v2", transition, changes, context };
  }
  const [change] = changes;
  if (type !== "EntryConfChange" || change === undefined || changes.length > 1)
    throw new UnreadableConfChange(`${type} does not hold one change`);
  return { kind: "v1", type: change.type, nodeId: change.nodeId, context };
}

/** `v1 l2 r3 u4`: make 1 a voter, make 2 a learner, remove 3, update 4. */
export function formatChanges(changes: readonly ConfChangeSingle[]): string {
  return changes.map(({ type, nodeId }) => `${letters[type]}${nodeId}`).join(" ");
}

/** The inverse of `formatChanges`; text says what is wrong with it. Node 0 means: no change. */
export function parseChanges(text: string): readonly ConfChangeSingle[] | string {
  const changes: ConfChangeSingle[] = [];
  for (const word of text.trim().split(/\s+/)) {
    if (word === "") continue;
    if (word.length < 2) return `unknown token ${word}`;
    const type = (Object.keys(letters) as ConfChangeType[]).find((name) => letters[name] === word[0]);
    if (type === undefined) return `unknown input: ${word}`;
    const nodeId = /^\d+$/.test(word.slice(1)) ? Number(word.slice(1)) : Number.NaN;
    if (!Number.isSafeInteger(nodeId)) return `not the id of a node: ${word.slice(1)}`;
    changes.push({ type, nodeId });
  }
  return changes;
}

function parseObject(data: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch (cause) {
    throw new UnreadableConfChange("a membership change is not JSON", { cause });
  }
  if (typeof value !== "object" || value === null) throw new UnreadableConfChange("a membership change is no object");
  return value as Record<string, unknown>;
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new UnreadableConfChange(`not text in a membership change: ${String(value)}`);
  return value;
}
