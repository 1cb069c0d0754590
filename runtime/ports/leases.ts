/**
 * Who may run what: one token per partition, granted to one node at a time. Safety never rests on it (R2); it only
 * keeps two nodes from working against each other. The full lease contract is the coordinator's.
 */
import type { Token } from "./store.ts";

export type LeaseChange =
  | { readonly kind: "granted"; readonly partition: number; readonly token: Token }
  /**
   * The partition is to go to another node. It is still ours, and goes on being served; whoever runs it calls `done`
   * once nothing runs that a move would interrupt. After some time of its own the coordinator waits no longer.
   */
  | { readonly kind: "leaving"; readonly partition: number; readonly done: () => void }
  /** Stop at once: abort effects, answer callers `moved`. */
  | { readonly kind: "lost"; readonly partition: number };

/** What people want to know of a node's part in the cluster. */
export type LeaseStatus = {
  /** Identity of this node's session, as other nodes see it. */
  readonly session: string | undefined;
  /** Why this node takes no partitions at the moment, if it takes none. */
  readonly problem: string | undefined;
};

export interface Leases {
  readonly partitions: number;
  /** The token under which this node may run the partition now; undefined: it may not. */
  token(partition: number): Token | undefined;
  /** Told of every grant and loss after this call, in order. Returns how to stop. */
  onChange(listener: (change: LeaseChange) => void): () => void;
  /**
   * Where there are other nodes: takes no more partitions, and hands over those that it has, each `leaving` first.
   * Resolves when all are gone, or after `boundMs` at the latest.
   */
  drain?(boundMs: number): Promise<void>;
  status?(): LeaseStatus;
  /** Gives every partition back. The host calls it after its last write. */
  release(): Promise<void>;
}
