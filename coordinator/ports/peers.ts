/**
 * Frames between the members of one cluster. Nothing is promised: a frame may be lost, late, repeated or overtaken; consensus
 * above tolerates all of it. Never waits: what does not fit a peer's bounded queue is dropped and counted.
 */
export type MemberId = number;

export interface Peers {
  readonly self: MemberId;
  send(to: MemberId, frame: Uint8Array): void;
  /** Frames from members of the same cluster. Returns how to stop. */
  receive(handler: (from: MemberId, frame: Uint8Array) => void): () => void;
}
