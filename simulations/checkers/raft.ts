/**
 * Judges a cluster from outside, step by step: the five invariants of Raft (Election Safety, Leader Append-Only, Log
 * Matching, Leader Completeness, State Machine Safety), and that terms and commits do not fall, that nobody votes twice,
 * that what was acknowledged survives a crash now, that all agree on the membership at each index, and that a read sees
 * whatever was committed when it was asked.
 */
import { describeEntry } from "../../coordinator/raft/describe.ts";
import type { Entry, Message, NodeId, ReadState } from "../../coordinator/raft/messages.ts";
import type { RawNode } from "../../coordinator/raft/raw-node.ts";
import type { Storage } from "../../coordinator/raft/storage.ts";

export type JudgedMember = {
  readonly id: NodeId;
  readonly raw: RawNode;
  /** What a crash now would leave of its log. */
  readonly durable: Pick<Storage, "initialState" | "term" | "lastIndex">;
};

/** An invariant does not hold. */
export class RaftViolation extends Error {
  override readonly name = "RaftViolation";
}

/** The last thing that others were told and that its disk must remember. */
type Promised = { term: number; vote: NodeId; acknowledged: number; acknowledgedIn: number };

/** What is remembered of a member between two of its steps, while it lives. */
type Seen = { term: number; commit: number; leadsTerm: number; lastIndex: number; lastTerm: number };

export class RaftChecker {
  readonly #leaders = new Map<number, NodeId>();
  /** By index and term: what the entry is, and the term of the one before it. */
  readonly #entries = new Map<string, { text: string; previousTerm: number }>();
  /** Entries that were looked at, as the same objects, after an entry of this term. */
  readonly #precededBy = new WeakMap<Entry, number>();
  /** By index: what was committed, and in which term that became so. */
  readonly #committed = new Map<number, { term: number; inTerm: number }>();
  #highestCommit = 1;
  readonly #applied = new Map<number, string>();
  readonly #votes = new Map<string, NodeId>();
  readonly #seen = new Map<NodeId, Seen>();
  readonly #promised = new Map<NodeId, Promised>();
  readonly #reads: number[] = [];
  leaders = 0;
  reads = 0;

  get committed(): number {
    return this.#committed.size;
  }

  afterStep(member: JudgedMember): void {
    const { raft } = member.raw;
    const before = this.#seen.get(member.id);
    const { term, state } = raft;
    const { committed } = raft.log;
    this.#checkLog(member);
    if (before !== undefined) {
      check(term >= before.term, `the term of ${member.id} fell from ${before.term} to ${term}`);
      check(committed >= before.commit, `the commit of ${member.id} fell from ${before.commit} to ${committed}`);
    }
    this.#checkCommitted(member, before?.commit ?? 1);
    const leads = state === "StateLeader";
    if (leads && before?.leadsTerm !== term) this.#onElected(member);
    if (leads && before?.leadsTerm === term) {
      const isOwn = committed === before.commit || raft.log.termOrZero(committed) === term;
      check(isOwn, `Commitment: ${member.id} leads in term ${term}, and committed ${committed} of an older one`);
      const kept = raft.log.lastIndex() >= before.lastIndex && keepsTerm(member, before.lastIndex, before.lastTerm);
      check(kept, `Leader Append-Only: ${member.id} changed its log at or below ${before.lastIndex}`);
    }
    const { index: lastIndex, term: lastTerm } = raft.log.lastEntryId();
    this.#seen.set(member.id, { term, commit: committed, leadsTerm: leads ? term : 0, lastIndex, lastTerm });
  }

  onCrash({ id }: Pick<JudgedMember, "id">): void {
    this.#seen.delete(id);
  }

  /** It is back after a crash: what it told others before, its disk must know. */
  onStart({ id, durable }: JudgedMember): void {
    this.#seen.delete(id);
    const promised = this.#promised.get(id);
    if (promised === undefined) return;
    const { term, vote } = durable.initialState().hardState;
    check(term >= promised.term, `${id} came back in term ${term}, and has spoken in term ${promised.term}`);
    const keepsVote = term > promised.term || promised.vote === 0 || vote === promised.vote;
    check(keepsVote, `${id} came back with its vote for ${promised.vote} in term ${term} forgotten`);
    // In a later term they may have been replaced by what was committed then.
    const mustHave = term === promised.acknowledgedIn ? promised.acknowledged : 0;
    check(durable.lastIndex() >= mustHave, `${id} came back without ${mustHave}, which it had acknowledged`);
  }

  /** From the end back to what was looked at before: below that, nothing has changed. */
  #checkLog({ id, raw }: JudgedMember): void {
    const { log } = raw.raft;
    for (let index = log.lastIndex(); index >= log.firstIndex(); index--) {
      const entries = log.slice(index, index + 1, Number.POSITIVE_INFINITY);
      check(entries !== "compacted", `${id} cannot read its log`);
      const entry = entries[0]!;
      const before = log.termOrZero(index - 1);
      if (this.#precededBy.get(entry) === before) return;
      this.#precededBy.set(entry, before);
      const key = `${entry.index}@${entry.term}`;
      const text = describeEntry(entry);
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, { text, previousTerm: before });
      else {
        check(known.text === text, `Log Matching: ${id} has ${text} where ${known.text} was`);
        check(known.previousTerm === before, `Log Matching: before ${key}, ${id} has term ${before}`);
      }
    }
  }

  #checkCommitted({ id, raw }: JudgedMember, from: number): void {
    const { log, term: inTerm } = raw.raft;
    for (let index = Math.max(from, log.firstIndex()); index <= log.committed; index++) {
      const term = log.termOrZero(index);
      const known = this.#committed.get(index);
      if (known === undefined) this.#committed.set(index, { term, inTerm });
      else check(known.term === term, `${id} committed ${term}/${index}, but ${known.term}/${index} is committed`);
    }
    this.#highestCommit = Math.max(this.#highestCommit, log.committed);
  }

  #onElected(member: JudgedMember): void {
    const { id, raw } = member;
    const { term } = raw.raft;
    const other = this.#leaders.get(term);
    check(other === undefined || other === id, `Election Safety: ${id} and ${other} lead in term ${term}`);
    this.#leaders.set(term, id);
    this.leaders++;
    for (const [index, committed] of this.#committed) {
      if (committed.inTerm >= term) continue;
      const has = keepsTerm(member, index, committed.term);
      check(has, `Leader Completeness: ${id} leads in term ${term} without ${committed.term}/${index}`);
    }
  }

  /** `state`: all that a member's state machine has come to by this entry, as text. */
  onApplied({ id }: Pick<JudgedMember, "id">, index: number, state: string): void {
    const known = this.#applied.get(index);
    if (known === undefined) this.#applied.set(index, state);
    else check(known === state, `State Machine Safety: ${id} has at ${index} ${state}, but another ${known}`);
  }

  onSent(member: JudgedMember, m: Message): void {
    if (m.reject) return;
    this.#remember(member.id, m);
    const { term, vote } = member.durable.initialState().hardState;
    if (m.type === "MsgVoteResp") {
      check(
        term > m.term || (term === m.term && vote === m.to),
        `${member.id} sent a vote that a crash would take back`,
      );
      const key = `${member.id}@${m.term}`;
      const before = this.#votes.get(key) ?? m.to;
      check(before === m.to, `${member.id} voted for ${before} and ${m.to} in term ${m.term}`);
      this.#votes.set(key, m.to);
    }
    if (m.type === "MsgAppResp") {
      check(term >= m.term, `${member.id} acknowledged in term ${m.term}, which a crash would take back`);
      // Entries may have been replaced in a later term, by what the answers of that term are about.
      if (member.raw.raft.term > m.term || m.index === 0) return;
      const [stored, ours] = [member.durable.term(m.index), member.raw.raft.log.term(m.index)];
      // Below a snapshot that has come since, only what was committed can have been.
      const acknowledged = ours === "compacted" ? this.#committed.get(m.index)?.term : ours;
      const isCovered = stored === "compacted" || stored === acknowledged;
      check(isCovered, `${member.id} acknowledged ${m.index} of ${acknowledged}, a crash would leave ${stored}`);
    }
  }

  #remember(id: NodeId, m: Message): void {
    if (m.type !== "MsgVoteResp" && m.type !== "MsgAppResp") return;
    const promised = this.#promised.get(id) ?? { term: 0, vote: 0, acknowledged: 0, acknowledgedIn: 0 };
    this.#promised.set(id, promised);
    if (m.term > promised.term) Object.assign(promised, { term: m.term, vote: 0 });
    if (m.type === "MsgVoteResp" && m.term === promised.term) promised.vote = m.to;
    if (m.type !== "MsgAppResp" || m.term < promised.acknowledgedIn) return;
    const before = m.term > promised.acknowledgedIn ? 0 : promised.acknowledged;
    Object.assign(promised, { acknowledged: Math.max(before, m.index), acknowledgedIn: m.term });
  }

  /** Returns the read's name. */
  beginRead(): string {
    this.#reads.push(this.#highestCommit);
    return String(this.#reads.length - 1);
  }

  endRead({ index, requestContext }: ReadState): void {
    const atLeast = this.#reads[Number(requestContext)]!;
    check(index >= atLeast, `a read at ${index} misses ${atLeast}, which was committed when it was asked`);
    this.reads++;
  }
}

function keepsTerm({ raw }: JudgedMember, index: number, term: number): boolean {
  const ours = raw.raft.log.term(index);
  return ours === term || ours === "compacted";
}

function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new RaftViolation(otherwise);
}
