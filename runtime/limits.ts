/** Every bound of an actor and its defaults. A step beyond one is refused before the commit, with the numbers. */
export type Limits = {
  /** Inputs that wait for one actor; beyond it callers get Overloaded. Its own results and timers have their own lane. */
  readonly mailbox: number;
  /** Inputs that share one commit. */
  readonly batch: number;
  /** Pending effects and messages in one document. */
  readonly outbox: number;
  readonly timers: number;
  /** Timers that fire in one commit; the rest follow in the next. */
  readonly firesPerStep: number;
  /** Size of a document's JSON from which the log warns. */
  readonly warnBytes: number;
  /** Largest document; never above what the store takes. */
  readonly documentBytes: number;
  /** Callers' idempotency keys: how many, how long. */
  readonly keys: number;
  readonly keyWindowMs: number;
  /** Automatic keys: how many clients, how long, and how many gaps in one client's numbers. */
  readonly clients: number;
  readonly clientWindowMs: number;
  readonly clientGaps: number;
  /** Senders with messages whose removal is not settled yet; beyond it new senders are told to come later. */
  readonly marks: number;
  /** Dead letters kept in the document; older ones are only counted. */
  readonly deadLetters: number;
  readonly keyBytes: number;
};

export const defaultLimits: Limits = {
  mailbox: 1_000,
  batch: 64,
  outbox: 1_000,
  timers: 1_000,
  firesPerStep: 100,
  warnBytes: 256 * 1024,
  documentBytes: 1024 * 1024,
  keys: 256,
  keyWindowMs: 24 * 3600 * 1000,
  clients: 64,
  clientWindowMs: 2 * 60 * 1000,
  clientGaps: 256,
  marks: 400,
  deadLetters: 20,
  keyBytes: 200,
};
