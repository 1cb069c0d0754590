/**
 * Frames between the members of one cluster. Nothing is promised: a frame may be lost, late, repeated or overtaken; consensus
 * above tolerates all of it. Never waits: what does not fit a peer's bounded queue is dropped and counted.
 */
export type MemberId = number;

/** Why another member does not let this one in, in its words. */
export type Refusal = {
  readonly reason: string;
  /** It never will. */
  readonly isFinal: boolean;
};

export interface Peers {
  readonly self: MemberId;
  send(to: MemberId, frame: Uint8Array): void;
  /** Frames from members of the same cluster. Returns how to stop. */
  receive(handler: (from: MemberId, frame: Uint8Array) => void): () => void;
}
