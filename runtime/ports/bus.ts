/**
 * Requests between nodes: to the owner of an actor's partition, at most once per call, maybe late, maybe twice, maybe
 * never answered. Whoever asks must be able to ask again. Bodies are JSON text, so that nothing but data crosses.
 */

/** Who may ask what: each is a subject of its own on a network, so that a server's permissions can tell them apart. */
export type BusChannel =
  /** Anybody who may use actors: create, event, delete, barrier. */
  | "client"
  /** People who run the system: purge, resume. */
  | "operator"
  /** Nodes among themselves: messages between actors, and what is settled of them. */
  | "node";

export type BusRequest = {
  readonly partition: number;
  /** JSON text, as `host/wire.ts` has it. */
  readonly body: string;
  readonly channel: BusChannel;
  /** W3C traceparent of whoever asks. */
  readonly trace?: string;
};

export type BusReply =
  | { readonly kind: "reply"; readonly body: string }
  /** Nobody owns the partition, or the owner is not reachable: nothing was done. */
  | { readonly kind: "nobody" }
  /** No answer before the deadline: it may have been done. */
  | { readonly kind: "timeout" };

export interface Bus {
  /** Sends to the node that owns the partition. Never rejects. */
  request(request: BusRequest, timeoutMs: number): Promise<BusReply>;
  /** Answers requests for partitions that this node owns. Returns how to stop. */
  serve(handler: (request: BusRequest) => Promise<string>): () => void;
  /** Publishes an emitted event to all nodes, at most once; `id` lets listeners drop repetitions. */
  publish(topic: string, body: string, id: string, trace?: string): Promise<void>;
  /** Listens to one topic. Returns how to stop. */
  subscribe(topic: string, listener: (body: string, id: string) => void): () => void;
}
