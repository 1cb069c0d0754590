/**
 * What waits for one actor, in three lanes: requests from outside, bounded; inputs of the actor's own, which nothing may
 * keep out; and settlements, which ride with the next commit, or make one when there are many or time has passed.
 */
import type { Limits } from "../limits.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Token } from "../ports/store.ts";
import type { Input } from "../step.ts";
import type { Outcome } from "./outcome.ts";
import type { HostSettings } from "./settings.ts";

export type Waiting = {
  readonly input: Input;
  /** Missing for the actor's own inputs. */
  readonly answer: ((outcome: Outcome) => void) | undefined;
  /** Own inputs count only under the token under which they arose. */
  readonly token: Token | undefined;
  /** Traceparent of whatever led to it. */
  readonly trace?: string | undefined;
};

/** Of the host. */
export type MailboxEnv = { readonly clock: Clock; readonly settings: Pick<HostSettings, "settlementMs"> };

export class Mailbox {
  readonly #env: MailboxEnv;
  readonly #limits: Pick<Limits, "batch" | "mailbox">;
  readonly #onDue: () => void;
  #callers: Waiting[] = [];
  #own: Waiting[] = [];
  #settlements: Waiting[] = [];
  #settlementsDue: Cancel | undefined;
  #areSettlementsDue = false;

  /** `onDue` is called when settlements have waited long enough for a commit to ride with. */
  constructor(env: MailboxEnv, limits: Pick<Limits, "batch" | "mailbox">, onDue: () => void) {
    this.#env = env;
    this.#limits = limits;
    this.#onDue = onDue;
  }

  /** How many requests wait. */
  get requests(): number {
    return this.#callers.length;
  }

  get isFull(): boolean {
    return this.#callers.length >= this.#limits.mailbox;
  }

  get isEmpty(): boolean {
    return this.#callers.length === 0 && this.#own.length === 0 && this.#settlements.length === 0;
  }

  get hasOwn(): boolean {
    return this.#own.length > 0;
  }

  /** Whether there is something for the next turn, but for settlements that may wait. */
  get hasWork(): boolean {
    return this.#own.length > 0 || this.#callers.length > 0;
  }

  /** Whether there is something that a turn must be begun for. */
  get isDue(): boolean {
    return this.hasWork || (this.#settlements.length > 0 && (this.#areSettlementsDue || this.#isBatch));
  }

  get #isBatch(): boolean {
    return this.#settlements.length >= this.#limits.batch;
  }

  addRequest(input: Input, answer: (outcome: Outcome) => void, trace: string | undefined): void {
    this.#callers.push({ input, answer, token: undefined, trace });
  }

  /** The lane is bounded by what the actor has pending. */
  addOwn(waiting: Waiting): void {
    this.#own.push(waiting);
  }

  addSettlement(input: Input): void {
    this.#settlements.push({ input, answer: undefined, token: undefined });
    this.#settlementsDue ??= this.#env.clock.after(
      this.#env.settings.settlementMs,
      () => {
        this.#settlementsDue = undefined;
        this.#areSettlementsDue = true;
        this.#onDue();
      },
      { background: true },
    );
  }

  /** The next batch: settlements first, then a claim where one is needed, own inputs, requests. */
  take(claims: boolean): Waiting[] {
    const { batch } = this.#limits;
    const taken = this.#settlements.splice(0, batch);
    this.#areSettlementsDue = this.#settlements.length > 0;
    if (claims) taken.push({ input: { kind: "claim" }, answer: undefined, token: undefined });
    taken.push(...this.#own.splice(0, Math.max(0, batch - taken.length)));
    taken.push(...this.#callers.splice(0, Math.max(0, batch - taken.length)));
    return taken;
  }

  /** Each into its lane, before what came since. */
  putBack(waiting: readonly Waiting[]): void {
    const own = waiting.filter((one) => !isCallers(one) && one.input.kind !== "settled" && one.input.kind !== "claim");
    this.#own = [...own, ...this.#own];
    this.#callers = [...waiting.filter(isCallers), ...this.#callers];
    this.#settlements = [...waiting.filter(({ input }) => input.kind === "settled"), ...this.#settlements];
  }

  takeRequests(): Waiting[] {
    return this.#callers.splice(0);
  }

  dropOwn(): void {
    this.#own = [];
  }

  /** What is settled is asked for again by whoever runs the actor then. */
  dropOwnAndSettlements(): void {
    this.#own = [];
    this.#settlements = [];
  }

  close(): void {
    this.#settlementsDue?.();
  }
}

/** Whether somebody outside waits for the outcome; `delivered` has an answer too, for our own messenger. */
export function isCallers({ input, answer }: Waiting): boolean {
  return answer !== undefined && input.kind !== "delivered";
}

export function answerCallers(waiting: readonly Waiting[], outcome: Outcome): void {
  for (const one of waiting) if (isCallers(one)) one.answer?.(outcome);
}
