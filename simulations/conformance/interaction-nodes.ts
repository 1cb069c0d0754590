/**
 * One node of an interaction scenario: the core, its storage, the work that its storage threads have been given, and the
 * snapshots of a state machine that appends each entry's data to all before it.
 */
import { decodeConfChange } from "../../coordinator/raft/conf-change.ts";
import type { Logger, RaftConfig } from "../../coordinator/raft/config.ts";
import {
  type ConfState,
  type Entry,
  emptyConfState,
  type HardState,
  type Message,
  type NodeId,
  type Snapshot,
} from "../../coordinator/raft/messages.ts";
import { RawNode } from "../../coordinator/raft/raw-node.ts";
import { MemoryStorage } from "../../coordinator/raft/storage.ts";

export const emptySnapshot: Snapshot = {
  data: new Uint8Array(),
  metadata: { confState: emptyConfState, index: 0, term: 0 },
};

/** A log in memory that gives out the newest snapshot of the state machine. */
class HistoryStorage extends MemoryStorage {
  readonly history: Snapshot[];

  constructor(first: Snapshot) {
    super();
    this.history = [first];
  }

  override snapshot(): Snapshot {
    return this.history.at(-1)!;
  }
}

export type NodeOptions = Partial<Omit<RaftConfig, "id" | "storage" | "logger" | "randomElectionTicks">>;

export class ScenarioNode {
  readonly raw: RawNode;
  readonly id: NodeId;
  readonly storage: HistoryStorage;
  readonly isAsync: boolean;
  readonly appendWork: Message[] = [];
  readonly applyWork: Message[] = [];

  constructor(id: NodeId, options: NodeOptions, snapshot: Snapshot, logger: Logger) {
    this.id = id;
    this.isAsync = options.asyncStorageWrites === true;
    this.storage = new HistoryStorage(snapshot);
    if (snapshot !== emptySnapshot) this.storage.applySnapshot(snapshot);
    this.raw = new RawNode({
      electionTicks: 3,
      heartbeatTicks: 1,
      maxInflightMessages: 2 ** 31 - 1,
      checkQuorum: false,
      preVote: false,
      stepDownOnRemoval: false,
      ...options,
      id,
      storage: this.storage,
      logger,
      // The latest that may come about by chance: scenarios that want a time-out set it.
      randomElectionTicks: () => 5,
    });
  }

  append(hardState: HardState | undefined, entries: readonly Entry[], snapshot: Snapshot | undefined): void {
    if (hardState !== undefined) this.storage.setHardState(hardState);
    if (snapshot === undefined) {
      this.storage.append(entries);
      return;
    }
    if (entries.length > 0) throw new Error("can't apply snapshot and entries at the same time");
    if (this.storage.applySnapshot(snapshot) === "outOfDate")
      throw new Error("requested index is older than the existing snapshot");
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const before = this.storage.snapshot();
      let update = entry.data;
      let confState: ConfState = before.metadata.confState;
      if (entry.type !== "EntryNormal") {
        const change = decodeConfChange(entry.type, entry.data);
        update = new TextEncoder().encode(change.context);
        const next = this.raw.applyConfChange(change);
        if (next === "superseded") return;
        confState = next;
      }
      const data = new Uint8Array([...before.data, ...update]);
      this.storage.history.push({ data, metadata: { index: entry.index, term: entry.term, confState } });
    }
  }
}
