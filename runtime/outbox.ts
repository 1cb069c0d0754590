/**
 * Pending effects and messages of one actor: live while it is hot, JSON in its document. An item stays until its
 * outcome is committed; that is all that "at least once, recorded ones never again" rests on (R4).
 */
import { Address } from "./address.ts";
import type { OutboxRecord } from "./document.ts";
import { addressBookOf, type CollectCall } from "./machine/addresses.ts";
import { type Event, isMachine, type MachineState } from "./machine/internals.ts";
import type { CollectedAction, Sid } from "./machine/system.ts";
import { rootSid, Tree, type ValueCodec } from "./machine/tree.ts";

export type OutboxItem = ActionItem | StartItem | EmitItem | SendItem;

type Pending = {
  readonly n: number;
  /** The attempt that runs or is due next, from 1. */
  attempt: number;
  /** When the next attempt may begin; undefined: now. */
  dueMs: number | undefined;
};

export type ActionItem = Pending & {
  readonly kind: "action";
  readonly sid: Sid;
  readonly action: CollectedAction;
  readonly calls?: readonly CollectCall[];
  /** Why the function cannot be found any more; such an item parks its actor. */
  readonly missing?: string;
  /** Cached JSON of what does not change. */
  text?: string;
  contextText?: string;
};

/** The work of an invoked or spawned actor, which ends with a result. */
export type StartItem = Pending & { readonly kind: "start"; readonly sid: Sid };
export type EmitItem = Pending & { readonly kind: "emit"; readonly event: Event; text?: string };
export type SendItem = Pending & {
  readonly kind: "send";
  readonly sid: Sid;
  readonly to: Address;
  readonly event: Event;
  text?: string;
};

export function actionItem(n: number, sid: Sid, action: CollectedAction, tree: Tree): ActionItem {
  const logic = tree.logicOf(sid) as object;
  const named = namedAction(logic, action.type) === action.exec;
  if (named) return { n, kind: "action", sid, action, attempt: 1, dueMs: undefined };
  const book = addressBookOf(logic);
  const address = book.addressOf(action.exec);
  const calls = book.callsOf(action.exec);
  return {
    n,
    kind: "action",
    sid,
    action: address === undefined ? action : { ...action, address },
    ...(calls !== undefined && { calls }),
    attempt: 1,
    dueMs: undefined,
  };
}

// ---- to JSON ----

export function itemText(item: OutboxItem, tree: Tree): string {
  switch (item.kind) {
    case "action":
      return withAttempt(actionText(item, tree), item);
    case "start":
      return withAttempt(`{"n":${item.n},"do":"start","by":"${item.sid}"}`, item);
    case "emit":
      item.text ??= JSON.stringify({
        n: item.n,
        do: "emit",
        event: Tree.codec(tree.codecOptions).encodeValue(item.event, `the emitted event ${item.event.type}`),
      });
      return item.text;
    case "send":
      item.text ??= JSON.stringify({
        n: item.n,
        do: "send",
        to: [item.to.type, item.to.id],
        // Another document cannot know this one's children: only data and addresses cross.
        event: Tree.codec(tree.codecOptions).encodeValue(
          item.event,
          `the event ${item.event.type} to ${item.to.type} ${item.to.id}`,
        ),
      });
      return item.text;
  }
}

function actionText(item: ActionItem, tree: Tree): string {
  const { action } = item;
  const where = `action ${action.type}`;
  item.text ??= JSON.stringify({
    n: item.n,
    do: "action",
    ...(item.sid !== rootSid && { by: item.sid }),
    type: action.type,
    ...(action.address !== undefined && { at: action.address }),
    ...(item.calls !== undefined && { calls: tree.encodeValue(item.calls, `${where}.calls`) }),
    ...(action.params !== undefined && { params: tree.encodeValue(action.params, `${where}.params`) }),
    event: tree.encodeValue(withoutMachine(action.event), `${where}.event`),
  });
  // Nearly always the action's context is still the actor's, which stands in the document anyway.
  if (action.context === contextOf(tree, item.sid)) return item.text;
  item.contextText ??= JSON.stringify(tree.encodeValue(action.context, `${where}.context`));
  return `${item.text.slice(0, -1)},"context":${item.contextText}}`;
}

/** `onSnapshot` of a child machine gives its snapshot: another process gets its data, without the machine's methods. */
function withoutMachine(event: Event): Event {
  const snapshot: unknown = event.snapshot;
  if (typeof snapshot !== "object" || snapshot === null || !("machine" in snapshot && isMachine(snapshot.machine)))
    return event;
  const { status, output, error, value, context, children, historyValue, tags } = snapshot as MachineState & {
    tags: Iterable<string>;
  };
  const history: Record<string, { id: string }[]> = {};
  for (const node in historyValue) history[node] = (historyValue[node] ?? []).map(({ id }) => ({ id }));
  return {
    ...event,
    snapshot: { status, output, error, value, context, children, historyValue: history, tags: [...tags] },
  };
}

function withAttempt(text: string, item: Pending): string {
  if (item.attempt === 1 && item.dueMs === undefined) return text;
  const due = item.dueMs === undefined ? "" : `,"due":"${new Date(item.dueMs).toISOString()}"`;
  return `${text.slice(0, -1)},"attempt":${item.attempt}${due}}`;
}

// ---- from JSON ----

export function readItem(record: OutboxRecord, tree: Tree): OutboxItem {
  const pending = {
    n: record.n,
    attempt: ("attempt" in record ? record.attempt : undefined) ?? 1,
    dueMs: "due" in record && record.due !== undefined ? Date.parse(record.due) : undefined,
  };
  switch (record.do) {
    case "start":
      return { ...pending, kind: "start", sid: record.by };
    case "emit":
      return { ...pending, kind: "emit", event: tree.decodeValue(record.event) as Event };
    case "send":
      return readSend(record, tree);
    case "action":
      return readAction(record, pending, tree);
  }
}

export function readSend(record: Extract<OutboxRecord, { do: "send" }>, codec: ValueCodec): SendItem {
  const { n, to } = record;
  const event = codec.decodeValue(record.event) as Event;
  return { n, kind: "send", sid: rootSid, to: new Address(to[0], to[1]), event, attempt: 1, dueMs: undefined };
}

function readAction(record: Extract<OutboxRecord, { do: "action" }>, pending: Pending, tree: Tree): ActionItem {
  const sid = record.by ?? rootSid;
  const event = tree.decodeValue(record.event) as Event;
  const calls = record.calls === undefined ? undefined : (tree.decodeValue(record.calls) as readonly CollectCall[]);
  const logic = tree.logicOf(sid);
  const found = findAction(logic, record, { event, calls: calls ?? [], tree, sid });
  return {
    ...pending,
    kind: "action",
    sid,
    action: {
      type: record.type,
      params: record.params === undefined ? undefined : tree.decodeValue(record.params),
      event,
      context: record.context === undefined ? contextOf(tree, sid) : tree.decodeValue(record.context),
      exec: found.exec,
      ...(record.at !== undefined && { address: record.at }),
    },
    ...(calls !== undefined && { calls }),
    ...(found.missing !== undefined && { missing: found.missing }),
  };
}

type Found = { readonly exec: CollectedAction["exec"]; readonly missing?: string };

function findAction(
  logic: object | undefined,
  record: Extract<OutboxRecord, { do: "action" }>,
  how: { event: Event; calls: readonly CollectCall[]; tree: Tree; sid: Sid },
): Found {
  if (logic === undefined) return { exec: undefined, missing: `the actor ${how.sid} of action ${record.type} is gone` };
  if (record.at === undefined) {
    const exec = namedAction(logic, record.type);
    if (exec !== undefined) return { exec };
    return {
      exec,
      missing: `action "${record.type}" is not in the machine${record.type === "(anonymous)" ? ": it has no place to be found by" : " any more"}`,
    };
  }
  const ref = how.tree.ref(how.sid);
  const resolved = addressBookOf(logic).resolve(record.at, {
    event: how.event,
    self: ref,
    system: ref?.system,
    calls: how.calls,
  });
  if ("fn" in resolved) return { exec: resolved.fn };
  return {
    exec: undefined,
    missing: `the inline action at ${record.at.path} is ${resolved.missing}: ${resolved.detail}`,
  };
}

function namedAction(logic: object, type: string): CollectedAction["exec"] {
  const actions = (logic as { implementations?: { actions?: Record<string, unknown> } }).implementations?.actions;
  const action = actions && Object.hasOwn(actions, type) ? actions[type] : undefined;
  return typeof action === "function" ? (action as CollectedAction["exec"]) : undefined;
}

function contextOf(tree: Tree, sid: Sid): unknown {
  return tree.ref(sid)?._snapshot.context;
}
