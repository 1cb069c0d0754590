/**
 * Judges a cluster from outside, step by step: the five invariants of Raft (Election Safety, Leader Append-Only, Log
 * Matching, Leader Completeness, State Machine Safety), and that terms and commits do not fall, that nobody votes twice,
 * that what was acknowledged survives a crash now, that all agree on the membership at each index, and that a read sees
 * whatever was committed when it was asked.
 */
import type { Member } from "./cluster.fixture.ts";
import { describeConfState, describeEntry } from "./describe.ts";
import type { Entry, Message, NodeId, ReadState } from "./messages.ts";

/** What is remembered of a member between two of its steps, while it lives. */
type Seen = { term: number; commit: number; leadsTerm: number; lastIndex: number; lastTerm: number };

export class Checker {
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
  readonly #reads: number[] = [];
  leaders = 0;
  reads = 0;

  get committed(): number {
    return this.#committed.size;
  }

  afterStep(member: Member): void {
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
      const kept = raft.log.lastIndex() >= before.lastIndex && keepsTerm(member, before.lastIndex, before.lastTerm);
      check(kept, `Leader Append-Only: ${member.id} changed its log at or below ${before.lastIndex}`);
    }
    const { index: lastIndex, term: lastTerm } = raft.log.lastEntryId();
    this.#seen.set(member.id, { term, commit: committed, leadsTerm: leads ? term : 0, lastIndex, lastTerm });
  }

  onCrash({ id }: Member): void {
    this.#seen.delete(id);
  }

  #checkLog({ id, raw }: Member): void {
    const { log } = raw.raft;
    const entries = log.entries(log.firstIndex(), Number.POSITIVE_INFINITY);
    check(entries !== "compacted", `${id} cannot read its log`);
    let previousTerm = log.termOrZero(log.firstIndex() - 1);
    for (const entry of entries) {
      const isKnown = this.#precededBy.get(entry) === previousTerm;
      const before = previousTerm;
      previousTerm = entry.term;
      if (isKnown) continue;
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

  #checkCommitted({ id, raw }: Member, from: number): void {
    const { log, term: inTerm } = raw.raft;
    for (let index = Math.max(from, log.firstIndex()); index <= log.committed; index++) {
      const term = log.termOrZero(index);
      const known = this.#committed.get(index);
      if (known === undefined) this.#committed.set(index, { term, inTerm });
      else check(known.term === term, `${id} committed ${term}/${index}, but ${known.term}/${index} is committed`);
    }
    this.#highestCommit = Math.max(this.#highestCommit, log.committed);
  }

  #onElected(member: Member): void {
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

  onApplied({ id, applied, hash, confState }: Member, entry: Entry): void {
    check(applied === entry.index, `${id} applied ${entry.index}`);
    const state = `${describeEntry(entry)}, state ${hash}, ${describeConfState(confState)}`;
    const known = this.#applied.get(entry.index);
    if (known === undefined) this.#applied.set(entry.index, state);
    else check(known === state, `State Machine Safety: ${id} applied ${state}, but ${known} is applied`);
  }

  onSent(member: Member, m: Message): void {
    if (m.reject) return;
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
      check(isCovered, `${member.id} acknowledged ${m.index}, which a crash would take back`);
    }
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

function keepsTerm({ raw }: Member, index: number, term: number): boolean {
  const ours = raw.raft.log.term(index);
  return ours === term || ours === "compacted";
}

function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}
