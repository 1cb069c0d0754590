/**
 * One leadership of a member: puts what is asked into entries of the log, with the time of the lease table, which goes on
 * from the last entry in the log (M3 of a member).
 */
import type { Clock } from "../../../runtime/ports/clock.ts";
import { decodeLeaseEntry, encodeLeaseEntry } from "../../lease/entry.ts";
import { beginLeading, goOn, type LeaderClock } from "../../lease/leader-clock.ts";
import type { ReplicatedTable } from "../../lease/table.ts";
import type { RawNode } from "../../raft/raw-node.ts";
import type { Requests } from "./requests.ts";

const maxRequestsPerEntry = 500;
/** Entries with requests on their way at once: those that come meanwhile share the next one. */
const maxOnTheirWay = 4;

export class Leading {
  readonly #core: RawNode;
  readonly #clock: Clock;
  /** A longer pause between two entries counts as this much. */
  readonly #longestPauseMs: number;
  #leaderClock: LeaderClock;
  /** Indexes of the entries proposed under this leadership and not applied yet. */
  readonly #proposed: number[] = [];

  /** `table`: as it is after the entry at `applied`. */
  constructor(core: RawNode, table: ReplicatedTable, applied: number, clock: Clock, longestPauseMs: number) {
    this.#core = core;
    this.#clock = clock;
    this.#longestPauseMs = longestPauseMs;
    this.#leaderClock = beginLeading(lastLoggedLeaseMs(core, table, applied), clock.monotonic());
  }

  /** Puts what waits, and the time if something is due, into an entry. True: more waits than an entry takes. */
  propose(table: ReplicatedTable, requests: Requests): boolean {
    this.#leaderClock = goOn(this.#leaderClock, this.#clock.monotonic(), this.#longestPauseMs);
    const { leaseMs } = this.#leaderClock;
    const dueMs = table.nextDueMs();
    const isDue = dueMs !== undefined && dueMs <= leaseMs && this.#proposed.length === 0;
    if (!isDue && requests.waiting === 0) return false;
    if (this.#proposed.length >= maxOnTheirWay) return false;
    const entry = encodeLeaseEntry({ atMs: leaseMs, ...requests.next(maxRequestsPerEntry) });
    // Dropped: too much is on its way, or leadership is being moved. Whoever asked asks again.
    if (this.#core.propose(entry) === "stepped") this.#proposed.push(this.#core.raft.log.lastIndex());
    return requests.waiting > 0;
  }

  onApplied(index: number): void {
    while (this.#proposed.length > 0 && this.#proposed[0]! <= index) this.#proposed.shift();
  }
}

/** Of the last entry in the log, applied or not. */
function lastLoggedLeaseMs(core: RawNode, table: ReplicatedTable, applied: number): number {
  const { log } = core.raft;
  for (let index = log.lastIndex(); index > applied; index--) {
    const entries = log.slice(index, index + 1, Number.POSITIVE_INFINITY);
    const entry = entries === "compacted" ? undefined : entries[0];
    if (entry?.type === "EntryNormal" && entry.data.length > 0) return decodeLeaseEntry(entry.data).atMs;
  }
  return table.leaseMs;
}
