/**
 * Requests by those who know nothing of this runtime: a target, a body, perhaps headers, and where the answer goes.
 * Several nodes may serve; each request goes to one of them.
 */

export type PlainRequest = {
  /** What it is for, as its sender wrote it: `order.o-123`. */
  readonly target: string;
  /** Text, whatever it is. */
  readonly body: string;
  /** Names the place to which the answer goes, different for each request; undefined: nobody waits for an answer. */
  readonly replyTo: string | undefined;
  /** The first header of that name, in whatever case it is written. */
  readonly header: (name: string) => string | undefined;
};

export type PlainAnswer = {
  readonly body: string;
  /** Set for a failure, so that those who read no body see it too. */
  readonly error?: { readonly code: string; readonly message: string };
};

export interface PlainRequests {
  /** Answers requests; without `replyTo` the answer is dropped. The handler does not reject. Returns how to stop. */
  serve(handler: (request: PlainRequest) => Promise<PlainAnswer>): () => void;
}
