/**
 * Compare-and-set publishes to one stream: pipelined up to a bound, the others wait in order. Under `synced`, whatever
 * has queued while a batch was open goes into the next one, since the server then syncs once for all of them. While the
 * stream has no leader writes wait here, so that they are sent in the moment in which it has one again.
 *
 * Nothing is ever repeated here: a write has one outcome, and `unknown` is one (R6).
 */
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Revision, WriteOutcome } from "../../ports/store.ts";
import { EncodedHeaders, type OnReply, type Reply, type Requests } from "../nats/requests.ts";
import { errorCodes } from "./api.ts";
import { headerNames } from "./entry.ts";

export type Publish = {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly expect: Revision;
  /** Beside the expected revision. */
  readonly headers: readonly (readonly [name: string, value: string])[];
};

export type WriterOptions = {
  readonly requests: Pick<Requests, "send" | "post">;
  readonly clock: Clock;
  /** A subject of the stream that no value is under. */
  readonly probeSubject: string;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  /** Whether commits may share an atomic batch. */
  readonly batches: boolean;
  /** An identity of 16 letters and digits. */
  readonly id: () => string;
  /** The subject's last sequence is below the one that was expected: the stream may have lost writes. */
  readonly onBehind: (subject: string, last: Revision, expected: Revision) => Promise<string | undefined>;
  /** Nobody answered for the stream. */
  readonly onNobody: () => void;
};

type Waiting = {
  readonly publish: Publish;
  readonly settle: (outcome: WriteOutcome) => void;
  readonly sinceMs: number;
};

/** A sequence that no stream reaches: a write that expects it is refused by whoever leads the stream. */
export const impossible = 2 ** 52;

/** More than these wait only when something is wrong. */
const longestQueue = 100_000;
/** With fewer, a batch costs more than it saves. */
const smallestBatch = 15;
const largestBatch = 1_000;
const largestBatchBytes = 8 * 1024 * 1024;
/** How often, and for how long each time, is asked whether a stream has a leader again. */
const probeEveryMs = 100;
const probeTimeoutMs = 250;

export class Writer {
  readonly #options: WriterOptions;
  readonly #queue = new Queue<Waiting>();
  #inFlight = 0;
  #batchOpen = false;
  #closed = false;
  #idle: (() => void)[] = [];
  /** What is on its way. */
  readonly #flying = new Set<OnReply>();
  /** Nobody answers for the stream; of what was on its way then, some may never be answered. */
  #leaderless: { readonly stranded: readonly OnReply[] } | undefined;
  #probing: Cancel | undefined;
  /** What every write is told from when the stream is lost. */
  #lost: WriteOutcome | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  write(publish: Publish): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      if (this.#closed) return resolve(closedOutcome);
      if (this.#lost !== undefined) return resolve(this.#lost);
      if (this.#queue.size >= longestQueue) {
        return resolve({
          kind: "refused",
          reason: "full",
          detail: `${longestQueue} writes wait for the server already: send again later`,
        });
      }
      this.#queue.push({ publish, settle: resolve, sinceMs: this.#options.clock.monotonic() });
      this.#pump();
    });
  }

  /** Waits for what is on its way; what waits is refused. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#probing?.();
    this.#refuseWaiting(closedOutcome);
    if (this.#inFlight > 0 || this.#batchOpen) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** The stream is lost: nothing more is sent, for whatever answers to its name now may be another. */
  abandon(detail: string): void {
    this.#lost = { kind: "refused", reason: "fenced", detail };
    this.#refuseWaiting(this.#lost);
    this.#release();
  }

  #refuseWaiting(outcome: WriteOutcome): void {
    for (let one = this.#queue.take(); one !== undefined; one = this.#queue.take()) one.settle(outcome);
  }

  #release(): void {
    if (this.#leaderless === undefined) return;
    const { stranded } = this.#leaderless;
    this.#leaderless = undefined;
    this.#probing?.();
    // Their leader is gone, and another will not answer for it: the outcome is unknown, and worth a look now.
    for (const lost of stranded) lost({ kind: "silence", cause: "disconnected" });
    this.#pump();
  }

  #pump(): void {
    if (this.#leaderless !== undefined) return;
    if (this.#options.batches) {
      if (this.#batchOpen) return;
      if (this.#queue.size >= smallestBatch) return this.#sendBatch();
    }
    while (this.#inFlight < this.#options.maxInFlight) {
      const waiting = this.#queue.take();
      if (waiting === undefined) return;
      this.#sendOne(waiting);
    }
  }

  #sendOne(waiting: Waiting): void {
    const { publish } = waiting;
    this.#inFlight++;
    const headers = new EncodedHeaders([[headerNames.expect, String(publish.expect)], ...publish.headers]);
    const done = this.#fly((reply) => {
      this.#inFlight--;
      this.#settle(waiting, reply);
      this.#pump();
      this.#tellIdle();
    });
    this.#options.requests.send(publish.subject, publish.data, headers, this.#options.timeoutMs, done);
  }

  /** Hears one answer: the first. */
  #fly(landed: OnReply): OnReply {
    const done: OnReply = (reply) => {
      if (!this.#flying.delete(done)) return;
      if (reply.kind === "noResponders") this.#hold();
      landed(reply);
    };
    this.#flying.add(done);
    return done;
  }

  // ---- without a leader ----

  #hold(): void {
    if (this.#leaderless !== undefined || this.#closed || this.#lost !== undefined) return;
    this.#leaderless = { stranded: [...this.#flying] };
    this.#options.onNobody();
    this.#probeLater();
  }

  #probeLater(): void {
    const { clock, requests, probeSubject, timeoutMs } = this.#options;
    this.#probing = clock.after(
      probeEveryMs,
      () => {
        const headers = new EncodedHeaders([[headerNames.expect, String(impossible)]]);
        requests.send(probeSubject, new Uint8Array(0), headers, probeTimeoutMs, (reply) => {
          if (this.#leaderless === undefined || this.#closed) return;
          if (reply.kind === "reply") return this.#release();
          const longAgoMs = clock.monotonic() - timeoutMs;
          for (let one = this.#queue.first; one !== undefined && one.sinceMs <= longAgoMs; one = this.#queue.first) {
            this.#queue.take();
            one.settle({ kind: "unknown", cause: new Error("the stream has had no leader for too long") });
          }
          this.#probeLater();
        });
      },
      { background: true },
    );
  }

  #settle({ publish, settle }: Waiting, reply: Reply): void {
    switch (reply.kind) {
      case "silence":
        return settle({ kind: "unknown", cause: new Error(`no acknowledgement: ${reply.cause}`) });
      case "noResponders":
        return settle({ kind: "unknown", cause: new Error("nobody answers for the stream") });
      case "notSent":
        return settle(notSent(reply.error));
      case "reply":
        return this.#answered(publish, settle, reply.message.data);
    }
  }

  #answered(publish: Publish, settle: Waiting["settle"], data: Uint8Array): void {
    const answer = readAnswer(data);
    if (answer?.seq !== undefined && answer.error === undefined)
      return settle({ kind: "written", revision: answer.seq });
    const outcome = outcomeOf(answer?.error);
    const last = outcome.kind === "conflict" ? lastSequenceIn(answer?.error?.description) : undefined;
    if (last === undefined || last >= publish.expect) return settle(outcome);
    void this.#options.onBehind(publish.subject, last, publish.expect).then(
      (detail) => settle(detail === undefined ? outcome : { kind: "refused", reason: "fenced", detail }),
      () => settle({ kind: "unknown" }),
    );
  }

  // ---- batches ----

  #sendBatch(): void {
    const batch: Waiting[] = [];
    const subjects = new Set<string>();
    let bytes = 0;
    for (let next = this.#queue.first; next !== undefined && batch.length < largestBatch; next = this.#queue.first) {
      bytes += next.publish.data.length + 500;
      // Two writes of one subject in a batch would be judged by the same expectation.
      if ((bytes > largestBatchBytes && batch.length > 0) || subjects.has(next.publish.subject)) break;
      subjects.add(next.publish.subject);
      batch.push(next);
      this.#queue.take();
    }
    this.#batchOpen = true;
    const id = this.#options.id();
    const { requests, timeoutMs } = this.#options;
    const done = this.#fly((reply) => {
      this.#batchOpen = false;
      this.#settleBatch(batch, id, reply);
      this.#pump();
      this.#tellIdle();
    });
    // All in one turn on one connection: the server drops a batch whose messages stop coming.
    for (let index = 0; index < batch.length; index++) {
      const { publish } = batch[index] as Waiting;
      const isLast = index === batch.length - 1;
      const headers = new EncodedHeaders([
        [headerNames.expect, String(publish.expect)],
        ["Nats-Batch-Id", id],
        ["Nats-Batch-Sequence", String(index + 1)],
        ...(isLast ? ([["Nats-Batch-Commit", "1"]] as const) : []),
        ...publish.headers,
      ]);
      if (isLast) requests.send(publish.subject, publish.data, headers, timeoutMs, done);
      else if (!requests.post(publish.subject, publish.data, headers))
        return done({ kind: "silence", cause: "disconnected" });
    }
  }

  #settleBatch(batch: readonly Waiting[], id: string, reply: Reply): void {
    const answer = reply.kind === "reply" ? readAnswer(reply.message.data) : undefined;
    if (answer?.error !== undefined) {
      // Nothing of a refused batch is stored: each tries alone, and gets an outcome of its own.
      for (const waiting of batch) {
        if (this.#lost === undefined) this.#sendOne(waiting);
        else waiting.settle(this.#lost);
      }
      return;
    }
    const whole = answer?.seq !== undefined && answer.batch === id && answer.count === batch.length;
    batch.forEach(({ settle }, index) => {
      if (whole) settle({ kind: "written", revision: (answer.seq as number) - batch.length + 1 + index });
      else settle({ kind: "unknown", cause: new Error("a batch was not acknowledged") });
    });
  }

  #tellIdle(): void {
    if (this.#inFlight > 0 || this.#batchOpen) return;
    for (const tell of this.#idle.splice(0)) tell();
  }
}

const closedOutcome: WriteOutcome = { kind: "refused", reason: "closed", detail: "the store is closed" };

type Answer = {
  readonly seq?: number;
  readonly batch?: string;
  readonly count?: number;
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
};

const decoder = new TextDecoder();

function readAnswer(data: Uint8Array): Answer | undefined {
  try {
    return JSON.parse(decoder.decode(data)) as Answer;
  } catch {
    return undefined;
  }
}

function notSent(error: Error): WriteOutcome {
  if (/max_payload/.test(error.message)) return { kind: "refused", reason: "tooLarge", detail: error.message };
  return { kind: "unknown", cause: error };
}

/** Only what the server says before it stores anything is a refusal; whatever else goes wrong may have been stored. */
function outcomeOf(error: Answer["error"]): WriteOutcome {
  const detail = `${error?.description ?? "an answer that cannot be read"} (${error?.err_code ?? "?"})`;
  const full = { kind: "refused", reason: "full", detail: `${detail}: \`holdfast doctor\` names the limit` } as const;
  switch (error?.err_code) {
    case errorCodes.wrongLastSequence:
    case errorCodes.wrongLastSequenceInFlight:
      return { kind: "conflict" };
    case errorCodes.messageTooLarge:
      return { kind: "refused", reason: "tooLarge", detail };
    case errorCodes.insufficientResources:
    case errorCodes.accountResources:
    case errorCodes.memoryResources:
    case errorCodes.storageResources:
      return full;
    case errorCodes.storeFailed:
      return /maximum|no space/.test(detail) ? full : { kind: "unknown", cause: new Error(detail) };
    default:
      return { kind: "unknown", cause: new Error(detail) };
  }
}

function lastSequenceIn(description: string | undefined): Revision | undefined {
  const found = /wrong last sequence: (\d+)/.exec(description ?? "");
  return found === null ? undefined : Number(found[1]);
}

/** First in, first out. The front is cut off in large pieces: a shift of a long array costs its length. */
class Queue<TItem> {
  #items: TItem[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  get first(): TItem | undefined {
    return this.#items[this.#head];
  }

  push(item: TItem): void {
    this.#items.push(item);
  }

  take(): TItem | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
