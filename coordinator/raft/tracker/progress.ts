/**
 * What a leader knows of one follower's log, and how it therefore sends to it. Probing: one message per heartbeat, until
 * the logs are known to meet. Replicating: optimistically, as many as may be in flight. Snapshot: nothing, until one
 * arrived. Invariant: match < next.
 */
import type { Inflights } from "./inflights.ts";

export type ProgressState = "StateProbe" | "StateReplicate" | "StateSnapshot";

export class Progress {
  state: ProgressState = "StateProbe";
  /** Up to here the follower's log is known to be the leader's. */
  match: number;
  /** The next entry to send; those between are in flight. */
  next: number;
  /** The highest commit index that was sent. */
  sentCommit = 0;
  /** The index of the snapshot that was sent last, while in StateSnapshot. */
  pendingSnapshot = 0;
  /** Whether anything was heard since the last check of the quorum. */
  recentActive = false;
  /** Probing: a probe is out. Replicating: the window is full. A heartbeat's answer lifts it. */
  flowPaused = false;
  isLearner: boolean;
  readonly inflights: Inflights;

  constructor(fields: { match: number; next: number; isLearner: boolean; inflights: Inflights }) {
    this.match = fields.match;
    this.next = fields.next;
    this.isLearner = fields.isLearner;
    this.inflights = fields.inflights;
  }

  clone(): Progress {
    return Object.assign(new Progress({ ...this, inflights: this.inflights.clone() }), {
      state: this.state,
      sentCommit: this.sentCommit,
      pendingSnapshot: this.pendingSnapshot,
      recentActive: this.recentActive,
      flowPaused: this.flowPaused,
    });
  }

  becomeProbe(): void {
    // A pending snapshot is taken as having arrived; who knows that it did not clears it first.
    const from = this.state === "StateSnapshot" ? Math.max(this.match, this.pendingSnapshot) : this.match;
    this.#become("StateProbe");
    this.next = from + 1;
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.#become("StateReplicate");
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.#become("StateSnapshot");
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  #become(state: ProgressState): void {
    this.flowPaused = false;
    this.pendingSnapshot = 0;
    this.state = state;
    this.inflights.reset();
  }

  /** An append message with `count` entries from `next` on was sent. */
  sentEntries(count: number, sizeBytes: number): void {
    if (this.state === "StateReplicate") {
      if (count > 0) {
        this.next += count;
        this.inflights.add(this.next - 1, sizeBytes);
      }
      this.flowPaused = this.inflights.isFull();
    } else if (count > 0) this.flowPaused = true;
  }

  sentCommitIndex(commit: number): void {
    this.sentCommit = commit;
  }

  /** Whether sending this commit index can tell the follower anything new about entries it was sent. */
  canBumpCommit(commit: number): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1;
  }

  /** The follower acknowledged `index`; false: it had done so before. */
  maybeUpdate(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.flowPaused = false;
    return true;
  }

  /** The follower refused a message that followed `rejected`, and may agree up to `hint`; false: that is old news. */
  maybeDecrease(rejected: number, hint: number): boolean {
    if (this.state === "StateReplicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      this.sentCommit = Math.min(this.sentCommit, this.next - 1);
      return true;
    }
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.flowPaused = false;
    return true;
  }

  isPaused(): boolean {
    return this.state === "StateSnapshot" || this.flowPaused;
  }

  toString(): string {
    const parts = [this.state, `match=${this.match}`, `next=${this.next}`];
    if (this.isLearner) parts.push("learner");
    if (this.isPaused()) parts.push("paused");
    if (this.pendingSnapshot > 0) parts.push(`pendingSnap=${this.pendingSnapshot}`);
    if (!this.recentActive) parts.push("inactive");
    if (this.inflights.count > 0)
      parts.push(`inflight=${this.inflights.count}${this.inflights.isFull() ? "[full]" : ""}`);
    return parts.join(" ");
  }
}

/** One line for each, by ascending id. */
export function describeProgress(progress: ReadonlyMap<number, Progress>): string {
  return [...progress]
    .sort(([a], [b]) => a - b)
    .map(([id, each]) => `${id}: ${each}\n`)
    .join("");
}
