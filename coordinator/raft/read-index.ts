/**
 * Reads of what is committed, without an entry in the log (Ongaro's thesis, section 6.4): a leader notes the commit index
 * when it is asked, and answers once a majority, asked since, has confirmed that it still leads. Start at `ReadIndex`.
 */
import { type Message, type NodeId, none } from "./messages.ts";
import { type Joint, jointCommitted } from "./quorum.ts";
import type { Replication } from "./replication.ts";
import type { Workings } from "./role.ts";

export class ReadIndex {
  readonly #workings: Workings;
  readonly #term: number;
  readonly #replication: Replication;
  readonly #confirming = new ConfirmingReads();
  /** Asked before the leader has committed anything in its term. */
  #early: Message[] = [];

  constructor(workings: Workings, term: number, replication: Replication) {
    this.#workings = workings;
    this.#term = term;
    this.#replication = replication;
  }

  onRequest(m: Message): void {
    if (this.#hasCommittedInTerm()) this.#begin(m);
    // A leader does not know yet how far the log is committed, not even the only voter: it may have crashed since.
    else this.#early.push(m);
  }

  #begin(m: Message): void {
    const { config, log } = this.#workings;
    if (config.readOnly === "leaseBased") {
      this.#answer(m, log.committed);
      return;
    }
    this.#confirming.add(m, log.committed);
    this.#confirming.acknowledge(config.id, this.heartbeatContext());
    // The only voter needs nobody's word.
    this.#release();
    if (this.heartbeatContext() !== "") this.#replication.broadcastHeartbeat(this.heartbeatContext());
  }

  /** What every heartbeat must carry. */
  heartbeatContext(): string {
    return this.#confirming.heartbeatContext();
  }

  onCommitted(): void {
    if (this.#early.length === 0 || !this.#hasCommittedInTerm()) return;
    for (const read of this.#early.splice(0)) this.#begin(read);
  }

  onHeartbeatResponse(m: Message): void {
    if (this.#workings.config.readOnly !== "safe" || m.context === "") return;
    this.#confirming.acknowledge(m.from, m.context);
    this.#release();
  }

  /** Of the new voters enough may have confirmed already, and there may be no other to ask. */
  onMembershipChanged(): void {
    this.#release();
  }

  #release(): void {
    const { voters } = this.#workings.tracker.config;
    for (const { request, index } of this.#confirming.release(voters)) this.#answer(request, index);
  }

  #hasCommittedInTerm(): boolean {
    const { log } = this.#workings;
    return log.termOrZero(log.committed) === this.#term;
  }

  #answer(request: Message, index: number): void {
    const { config, outbox } = this.#workings;
    if (request.from === none || request.from === config.id)
      outbox.readStates.push({ index, requestContext: request.context });
    else outbox.send({ type: "MsgReadIndexResp", to: request.from, index, context: request.context });
  }
}

type ConfirmingRead = { readonly request: Message; readonly index: number };

/**
 * Reads that wait for the leader to be sure that it still leads. Each read has a position in one queue; heartbeats carry
 * the last position given out, and their answers confirm, per voter, all reads up to it. A majority's answers, all to
 * heartbeats sent after a read was asked, release it. One queue per leadership: positions mean nothing beyond it.
 */
class ConfirmingReads {
  readonly #acks = new Map<NodeId, number>();
  #waiting: ConfirmingRead[] = [];
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
  release(voters: Joint): readonly ConfirmingRead[] {
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
