/**
 * The subjects of one application, so chosen that a server's permissions need one wildcard per role (docs/guides/accounts.md):
 * `holdfast.<app>.ask.*` for clients, `holdfast.<app>.operate.*` for operators, `holdfast.<app>.send.>` for plain senders,
 * `holdfast.<app>.emitted.>` for listeners, and `_holdfast.<app>.>` for nodes alone, which no wildcard of the others covers.
 */
import type { BusChannel } from "../../ports/bus.ts";
import { BusInvalidOption } from "./errors.ts";

export type Subjects = {
  /** Where the owner of a partition is asked. */
  readonly channel: (channel: BusChannel, partition: number) => string;
  /** Where what an actor emits is published; `topic` is the actor's key. */
  readonly emitted: (topic: string) => string;
  /** Whatever is sent by plain requests; the actor's key stands after `entrancePrefix`. */
  readonly entrance: string;
  readonly entrancePrefix: string;
};

export const channels: readonly BusChannel[] = ["client", "operator", "node"];

/** Throws BusInvalidOption for a name that cannot be one token of a subject. */
export function subjectsOf(app: string): Subjects {
  if (typeof app !== "string" || !/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(app)) {
    throw new BusInvalidOption(
      `\`app\` is ${JSON.stringify(app ?? null)}; it must be 1 to 64 letters, digits, "-" and "_", beginning with a letter or digit: it is part of every subject`,
    );
  }
  const roots: Record<BusChannel, string> = {
    client: `holdfast.${app}.ask.`,
    operator: `holdfast.${app}.operate.`,
    node: `_holdfast.${app}.node.`,
  };
  return {
    channel: (channel, partition) => roots[channel] + partition,
    emitted: (topic) => `holdfast.${app}.emitted.${topic}`,
    entrance: `holdfast.${app}.send.>`,
    entrancePrefix: `holdfast.${app}.send.`,
  };
}

/** Whether the text may stand in a subject: tokens without spaces and wildcards, none of them empty. */
export function isTopic(text: string): boolean {
  return text.length <= 250 && /^[^\s.*>]+(\.[^\s.*>]+)*$/.test(text) && !/[\p{Cc}\u2028\u2029]/u.test(text);
}

/**
 * Whether an answer may go there. A request's reply subject is whatever the sender wrote, and a node may publish where
 * the sender may not, so an answer goes to inboxes alone: `_INBOX…` as clients make them, or `_R_` of another account.
 */
export function isInbox(reply: string): boolean {
  return /^(?:_INBOX[A-Za-z0-9_-]*|_R_)\.[^\s*>]+$/.test(reply);
}
