/**
 * Reads that wait for the leader to be sure that it still leads. Each read has a position in one queue; heartbeats carry
 * the last position given out, and their answers confirm, per voter, all reads up to it. A majority's answers, all to
 * heartbeats sent after a read was asked, release it. One queue per leadership: positions mean nothing beyond it.
 */
import type { Message, NodeId } from "./messages.ts";
import { type Joint, jointCommitted } from "./quorum.ts";

export type WaitingRead = { readonly request: Message; readonly index: number };

export class ReadOnly {
  readonly #acks = new Map<NodeId, number>();
  #waiting: WaitingRead[] = [];
  /** Reads released so far: the position of the first that waits is one more. */
  #released = 0;

  /** `index` is the commit index at this moment: the read must see all up to it. */
  add(request: Message, index: number): void {
    this.#waiting.push({ request, index });
  }

  /** What a heartbeat must carry to confirm all that wait; empty: nothing waits. */
  heartbeatContext(): string {
    return this.#waiting.length === 0 ? "" : String(this.#released + this.#waiting.length);
  }

  acknowledge(from: NodeId, context: string): void {
    const position = Number(context);
    if (Number.isSafeInteger(position)) this.#acks.set(from, Math.max(this.#acks.get(from) ?? 0, position));
  }

  /** The reads that a quorum of `voters` has confirmed by now, in the order in which they were asked. */
  release(voters: Joint): readonly WaitingRead[] {
    const confirmed = Math.min(
      jointCommitted(voters, (id) => this.#acks.get(id)),
      this.#released + this.#waiting.length,
    );
    if (confirmed <= this.#released) return [];
    const reads = this.#waiting.splice(0, confirmed - this.#released);
    this.#released = confirmed;
    return reads;
  }
}
