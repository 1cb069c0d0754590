/**
 * What is asked of the lease table here and not answered yet, and what waits to be put into the log: by this member if it
 * leads, else by the leader. Asked again until the log has it (M2 of a member): the table takes each request once.
 */
import type { Clock } from "../../../runtime/ports/clock.ts";
import type { LeaseEntry, Renewal, Request } from "../../lease/entry.ts";
import type { Outcome } from "../../lease/table.ts";

const maxWaiting = 20_000;

type Asked =
  | { readonly kind: "request"; readonly request: Request; readonly resolve: (outcome: Outcome | undefined) => void }
  | { readonly kind: "renewal"; readonly renewal: Renewal; readonly resolve: (renewed: boolean | undefined) => void };
type Pending = Asked & { readonly untilMs: number; sentMs: number };

export type Batch = Pick<LeaseEntry, "renewals" | "requests">;

export type RequestsEnv = {
  readonly clock: Clock;
  /** How long one waits for an answer before one asks again. */
  readonly againMs: number;
  /** Something waits now. */
  readonly onWaiting: () => void;
};

export class Requests {
  readonly #env: RequestsEnv;
  readonly #pending = new Map<string, Pending>();
  #renewals: Renewal[] = [];
  #requests: Request[] = [];

  constructor(env: RequestsEnv) {
    this.#env = env;
  }

  /** Undefined: no answer until then (C8). */
  ask(request: Request, untilMs: number): Promise<Outcome | undefined> {
    return new Promise((resolve) =>
      this.#expect(keyOf(request), { kind: "request", request, resolve, untilMs, sentMs: 0 }),
    );
  }

  /** False: the session is over. Undefined: no answer until then. */
  renew(renewal: Renewal, untilMs: number): Promise<boolean | undefined> {
    const key = `renewal/${renewal.session}`;
    return new Promise((resolve) => this.#expect(key, { kind: "renewal", renewal, resolve, untilMs, sentMs: 0 }));
  }

  #expect(key: string, pending: Pending): void {
    if (this.#pending.size >= maxWaiting) {
      pending.resolve(undefined);
      return;
    }
    this.#pending.get(key)?.resolve(undefined);
    this.#pending.set(key, pending);
    this.#send(pending);
  }

  #send(pending: Pending): void {
    pending.sentMs = this.#env.clock.monotonic();
    if (this.waiting >= maxWaiting) return;
    if (pending.kind === "request") this.#requests.push(pending.request);
    else this.#renewals.push(pending.renewal);
    this.#env.onWaiting();
  }

  /** What another member was asked; whoever asked it asks again if there is no room. */
  take({ renewals, requests }: Batch): void {
    if (this.waiting >= maxWaiting) return;
    this.#requests.push(...requests);
    this.#renewals.push(...renewals);
    this.#env.onWaiting();
  }

  get waiting(): number {
    return this.#renewals.length + this.#requests.length;
  }

  /** Those that waited longest, at most so many of each kind; they wait no more. */
  next(most: number): Batch {
    return { renewals: this.#renewals.splice(0, most), requests: this.#requests.splice(0, most) };
  }

  /** The leadership that they waited for is over; whoever asked asks again. */
  dropWaiting(): void {
    this.#renewals = [];
    this.#requests = [];
  }

  /** They are in the log, and the table has answered. */
  onApplied({ renewals, requests }: Batch, renewed: readonly boolean[], outcomes: readonly Outcome[]): void {
    for (const [at, renewal] of renewals.entries()) this.#answerRenewal(renewal, renewed[at]!);
    for (const [at, request] of requests.entries()) this.#answer(request, outcomes[at]!);
  }

  #answer(request: Request, outcome: Outcome): void {
    const key = keyOf(request);
    const pending = this.#pending.get(key);
    if (pending?.kind !== "request") return;
    this.#pending.delete(key);
    pending.resolve(outcome);
  }

  #answerRenewal({ session, beat }: Renewal, isRenewed: boolean): void {
    const key = `renewal/${session}`;
    const pending = this.#pending.get(key);
    if (pending?.kind !== "renewal" || pending.renewal.beat > beat) return;
    this.#pending.delete(key);
    pending.resolve(isRenewed);
  }

  onNewLeader(): void {
    for (const pending of this.#pending.values()) this.#send(pending);
  }

  onTick(nowMs: number): void {
    for (const [key, pending] of this.#pending) {
      if (pending.untilMs <= nowMs) {
        this.#pending.delete(key);
        pending.resolve(undefined);
      } else if (nowMs - pending.sentMs >= this.#env.againMs) this.#send(pending);
    }
  }

  giveUpAll(): void {
    for (const pending of this.#pending.values()) pending.resolve(undefined);
    this.#pending.clear();
  }
}

function keyOf(request: Request): string {
  switch (request.kind) {
    case "open":
    case "close":
      return `${request.kind}/${request.session}`;
    case "order":
      return `order/${request.sequence}/${request.session}`;
    case "raiseEpoch":
      return `epoch/${request.to}`;
  }
}
