/**
 * The document as it is written: one text, put together from what each part caches of its own, since this is most of the
 * work of a step. `readDocument` reads it.
 */
import { formatVersion, stateText } from "../document.ts";
import { errorOf } from "../errors.ts";
import type { Sid } from "../machine/system.ts";
import { itemText } from "../outbox.ts";
import { type Actor, type Head, nameOf } from "./actor.ts";
import type { StepContext } from "./input.ts";

export function documentText(actor: Actor, head: Head, causes: readonly string[], context: StepContext): string {
  const { definition, tree } = actor;
  const pinned: Sid[] = [];
  for (const item of actor.outbox.values()) if (item.kind === "action") pinned.push(item.sid);
  const encoded = head.status === "deleted" || tree === undefined ? undefined : tree.encode(pinned);
  let items = "";
  for (const item of actor.outbox.values()) {
    const text = tree === undefined ? (item as { text: string }).text : itemText(item, tree);
    items += items === "" ? text : `,${text}`;
  }
  const { limits } = definition;
  bound("pending effects and messages", actor.outbox.size, limits.outbox);
  bound("timers", tree?.system.timers.size ?? 0, limits.timers);
  const snapshot = tree?.snapshot;
  const tags = snapshot?.tags as Set<string> | undefined;
  const inbox = actor.inbox.text();
  const text =
    `${actor.prefix}${JSON.stringify(head.status === "deleted" ? "" : stateText(snapshot?.value))}` +
    `,"status":"${head.status}","at":"${new Date(head.atMs).toISOString()}","seq":${head.seq},"format":${formatVersion}` +
    `,"causes":[${causes.join()}],"born":"${head.born}","token":[${head.token}],"commit":"${context.commit}"` +
    `,"machine":{"version":${definition.version},"hash":"${definition.hash}"}` +
    (tags === undefined || tags.size === 0 ? "" : `,"tags":${JSON.stringify([...tags])}`) +
    `,"actors":${encoded?.actors ?? "{}"},"timers":${encoded?.timers ?? "{}"},"outbox":[${items}]` +
    `,"seen":${actor.window.text()},"next":${encoded?.next ?? "[0,0]"}` +
    (inbox === "" ? "" : `,"inbox":${inbox}`) +
    (head.dead === undefined ? "" : `,"dead":${JSON.stringify(head.dead)}`) +
    (head.expiresMs === undefined ? "" : `,"expires":"${new Date(head.expiresMs).toISOString()}"`) +
    (head.status !== "deleted" || head.output === undefined ? "" : `,"output":${JSON.stringify(head.output)}`) +
    (head.trace === undefined ? "}" : `,"origin":"${head.origin}","trace":"${head.trace}"}`);
  // A UTF-16 unit has at most 3 bytes: only texts near the bound are measured exactly.
  const mostBytes = Math.min(limits.documentBytes, context.documentBytes ?? Number.POSITIVE_INFINITY);
  if (text.length * 3 > mostBytes) {
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > mostBytes) {
      throw errorOf(
        "TooLarge",
        `the document of ${nameOf(actor)} would have ${bytes} bytes; at most ${mostBytes} are allowed`,
      );
    }
  }
  return text;
}

function bound(what: string, count: number, limit: number): void {
  if (count > limit) throw errorOf("Overloaded", `the actor would have ${count} ${what}; at most ${limit} are allowed`);
}
