/**
 * The address of another root actor, as plain data that a machine may keep in its context and send to:
 * `sendTo(({ context }) => address("author", context.author), { type: "ACCEPTED" })`.
 * Such a message is delivered exactly once and in order per receiver, after the sender's commit.
 */
import type { AnyActorRef } from "xstate";
import { actorKey } from "./keys.ts";

export class Address {
  readonly type: string;
  readonly id: string;

  constructor(type: string, id: string) {
    this.type = type;
    this.id = id;
  }

  /** The key of its document, as the store knows it. Throws InvalidKeyError for what can be none. */
  get key(): string {
    return actorKey(this.type, this.id);
  }

  get sessionId(): string {
    return this.key;
  }

  /** An address has no process behind it here: only a machine's `sendTo` can use it, or `runtime.actor(type, id)`. */
  send(): never {
    throw new Error(
      `address("${this.type}", "${this.id}").send() does nothing durable: use sendTo(address(…), event) in a machine, or runtime.actor("${this.type}", "${this.id}").send(event) outside`,
    );
  }

  toJSON(): unknown {
    return { "@address": [this.type, this.id] };
  }
}

/** Typed as an actor reference so that XState's `sendTo` takes it. */
export function address(type: string, id: string): AnyActorRef {
  return new Address(type, id) as unknown as AnyActorRef;
}
