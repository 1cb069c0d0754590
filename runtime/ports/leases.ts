/**
 * Who may run what: one token per partition, granted to one node at a time. Safety never rests on it (R2); it only
 * keeps two nodes from working against each other. The full lease contract is the coordinator's.
 */
import type { Token } from "./store.ts";

export type LeaseChange =
  | { readonly kind: "granted"; readonly partition: number; readonly token: Token }
  /** Stop at once: abort effects, answer callers `moved`. */
  | { readonly kind: "lost"; readonly partition: number };

export interface Leases {
  readonly partitions: number;
  /** The token under which this node may run the partition now; undefined: it may not. */
  token(partition: number): Token | undefined;
  /** Told of every grant and loss after this call, in order. Returns how to stop. */
  onChange(listener: (change: LeaseChange) => void): () => void;
  /** Gives every partition back. The host calls it after its last write. */
  release(): Promise<void>;
}
