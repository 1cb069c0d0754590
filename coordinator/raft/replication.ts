/**
 * What a leader sends to each of the others, as far as it knows their logs: entries, snapshots where entries are compacted,
 * and heartbeats. The sender's side of AppendEntries and InstallSnapshot (Raft, sections 5.3 and 7); what is known of one
 * of them is its `Progress`.
 */
import { describeNode as hex } from "./describe.ts";
import { assertRaft } from "./invariant.ts";
import { isMember } from "./membership.ts";
import type { Message, NodeId } from "./messages.ts";
import type { Workings } from "./role.ts";
import { payloadBytes } from "./size.ts";
import type { Progress } from "./tracker/progress.ts";

export class Replication {
  readonly #workings: Workings;
  readonly #id: NodeId;

  constructor(workings: Workings) {
    this.#workings = workings;
    this.#id = workings.config.id;
  }

  broadcastAppend(): void {
    for (const [id, progress] of this.#workings.tracker.progress)
      if (id !== this.#id) this.maybeSendAppend(id, progress, true);
  }

  /** To whoever lacks entries that may be sent now. */
  broadcastEntries(): void {
    for (const [id, progress] of this.#workings.tracker.progress)
      if (id !== this.#id) this.maybeSendAppend(id, progress, false);
  }

  /** The context is that of the reads that wait for the answers. */
  broadcastHeartbeat(context: string): void {
    const { log, outbox, tracker } = this.#workings;
    for (const [id, progress] of tracker.progress) {
      if (id === this.#id) continue;
      // Never beyond what the follower is known to have: a heartbeat does not check that the logs match.
      const commit = Math.min(progress.match, log.committed);
      outbox.send({ type: "MsgHeartbeat", to: id, commit, context });
      progress.sentCommitIndex(commit);
    }
  }

  /** Sends what the follower lacks, or a snapshot where that is compacted; empty messages tell only the commit index. */
  maybeSendAppend(to: NodeId, progress: Progress, sendIfEmpty: boolean): boolean {
    if (progress.isPaused()) return false;
    const { config, log, outbox } = this.#workings;
    const index = progress.next - 1;
    const logTerm = log.term(index);
    if (typeof logTerm !== "number") return this.#maybeSendSnapshot(to, progress);
    // With a full window an empty message: when all in flight was lost, its rejection says so.
    const isFull = progress.state === "StateReplicate" && progress.inflights.isFull();
    const entries = isFull ? [] : log.entries(progress.next, config.maxMessageBytes);
    if (entries === "compacted") return this.#maybeSendSnapshot(to, progress);
    if (entries.length === 0 && !sendIfEmpty) return false;
    outbox.send({ type: "MsgApp", to, index, logTerm, entries, commit: log.committed });
    progress.sentEntries(entries.length, payloadBytes(entries));
    progress.sentCommitIndex(log.committed);
    return true;
  }

  #maybeSendSnapshot(to: NodeId, progress: Progress): boolean {
    const { log, outbox } = this.#workings;
    if (!progress.recentActive) {
      this.#debug(`ignore sending snapshot to ${hex(to)} since it is not recently active`);
      return false;
    }
    const snapshot = log.snapshot();
    if (snapshot === "unavailable") {
      this.#debug(`${hex(this.#id)} failed to send snapshot to ${hex(to)} because snapshot is temporarily unavailable`);
      return false;
    }
    const { index, term, confState } = snapshot.metadata;
    assertRaft(index > 0, () => "need non-empty snapshot");
    // It would be refused, and asked for again at once: the storage must make a newer one.
    if (!isMember(confState, to)) {
      this.#debug(`${hex(this.#id)} has no snapshot for ${hex(to)}: at index ${index} it was no member`);
      return false;
    }
    const us = `${hex(this.#id)} [firstindex: ${log.firstIndex()}, commit: ${log.committed}]`;
    this.#debug(`${us} sent snapshot[index: ${index}, term: ${term}] to ${hex(to)} [${progress}]`);
    progress.becomeSnapshot(index);
    this.#debug(`${hex(this.#id)} paused sending replication messages to ${hex(to)} [${progress}]`);
    outbox.send({ type: "MsgSnap", to, snapshot });
    return true;
  }

  /** False: it tells nothing new. */
  onAcknowledged(m: Message, progress: Progress): boolean {
    // A probing follower that acknowledges what was known has at least answered: replicate to it again.
    const wasKnown = progress.match === m.index && progress.state === "StateProbe";
    if (!progress.maybeUpdate(m.index) && !wasKnown) return false;
    if (progress.state === "StateProbe") progress.becomeReplicate();
    else if (progress.state === "StateReplicate") progress.inflights.freeUpTo(m.index);
    else if (progress.match + 1 >= this.#workings.log.firstIndex()) {
      // Whatever snapshot it was that it applied, it reaches into our log.
      this.#debug(
        `${hex(this.#id)} recovered from needing snapshot, resumed sending replication messages to ${hex(m.from)} [${progress}]`,
      );
      progress.becomeProbe();
      progress.becomeReplicate();
    }
    return true;
  }

  onRejected(m: Message, progress: Progress): void {
    const hint = `hint: (index ${m.rejectHint}, term ${m.logTerm})`;
    this.#debug(`${hex(this.#id)} received MsgAppResp(rejected, ${hint}) from ${hex(m.from)} for index ${m.index}`);
    // The follower's term there rules out all our entries of higher terms: go back to the last that is not.
    const next = m.logTerm > 0 ? this.#workings.log.findConflictByTerm(m.rejectHint, m.logTerm).index : m.rejectHint;
    if (!progress.maybeDecrease(m.index, next)) return;
    this.#debug(`${hex(this.#id)} decreased progress of ${hex(m.from)} to [${progress}]`);
    if (progress.state === "StateReplicate") progress.becomeProbe();
    this.maybeSendAppend(m.from, progress, true);
  }

  onHeartbeatResponse(m: Message, progress: Progress): void {
    progress.flowPaused = false;
    // Also to one whose window is full (an empty message: all in flight may be lost), and to one that still probes.
    if (progress.match < this.#workings.log.lastIndex() || progress.state === "StateProbe")
      this.maybeSendAppend(m.from, progress, true);
  }

  onSnapshotStatus(m: Message, progress: Progress): void {
    if (progress.state !== "StateSnapshot") return;
    if (m.reject) progress.pendingSnapshot = 0;
    progress.becomeProbe();
    const outcome = m.reject ? "failed" : "succeeded";
    this.#debug(
      `${hex(this.#id)} snapshot ${outcome}, resumed sending replication messages to ${hex(m.from)} [${progress}]`,
    );
    // Succeeded: its acknowledgement comes next. Failed: not again before the next heartbeat.
    progress.flowPaused = true;
  }

  onUnreachable(m: Message, progress: Progress): void {
    // What is in flight is probably lost.
    if (progress.state === "StateReplicate") progress.becomeProbe();
    this.#debug(`${hex(this.#id)} failed to send message to ${hex(m.from)} because it is unreachable [${progress}]`);
  }

  #debug(text: string): void {
    this.#workings.config.logger("DEBUG", text);
  }
}
