/**
 * The books of the soak: what the callers know, what the stored documents say, what the recorder has. Pure, and apart from
 * everything that wrote any of them. Each difference is a sentence.
 */
import { type AccountContext, type LedgerContext, postEvery } from "./machine.ts";
import type { Recorded } from "./recorder.ts";

export type CallerRecord = {
  readonly actor: string;
  readonly client: string;
  /** Its events 1 to this have been acknowledged; it never sent another. */
  readonly acknowledged: number;
};

export type StoredActor<TContext> = { readonly id: string; readonly context: TContext; readonly outbox: number };

export type BooksToCheck = {
  readonly callers: readonly CallerRecord[];
  readonly accounts: readonly StoredActor<AccountContext>[];
  readonly ledgers: readonly StoredActor<LedgerContext>[];
  readonly accepted: ReadonlyMap<string, Recorded>;
  readonly parked: readonly string[];
};

export type Verdict = {
  readonly acknowledged: number;
  readonly lost: number;
  readonly doubled: number;
  readonly differences: readonly string[];
};

export function checkBooks({ callers, accounts, ledgers, accepted, parked }: BooksToCheck): Verdict {
  const differences: string[] = [];
  let lost = 0;
  let doubled = 0;
  const compare = (what: string, is: number, due: number) => {
    if (is === due) return;
    if (is < due) lost += due - is;
    else doubled += is - due;
    differences.push(`${what}: ${is}, due are ${due}`);
  };
  const byId = new Map(accounts.map((account) => [account.id, account]));
  const due = new Map<string, number>();
  for (const { actor, client, acknowledged } of callers) {
    due.set(actor, (due.get(actor) ?? 0) + acknowledged);
    compare(`${actor} has of ${client}`, byId.get(actor)?.context.applied[client] ?? 0, acknowledged);
  }
  for (const [actor, count] of due) compare(`events counted by ${actor}`, byId.get(actor)?.context.count ?? 0, count);
  for (const { id, context, outbox } of [...accounts, ...ledgers]) {
    if (context.disorder > 0) differences.push(`${id} took ${context.disorder} events out of order`);
    if (outbox > 0) differences.push(`${id} has ${outbox} effects or messages pending after everything came to rest`);
  }
  const effects = new Map<string, Recorded[]>();
  for (const effect of accepted.values()) {
    const name = `${effect.actor} ${effect.client} ${effect.n}`;
    effects.set(name, [...(effects.get(name) ?? []), effect]);
  }
  for (const { actor, client, acknowledged } of callers)
    for (let n = 1; n <= acknowledged; n++) {
      const of = effects.get(`${actor} ${client} ${n}`)?.length ?? 0;
      if (of !== 1) compare(`effects of event ${n} of ${client} at ${actor}`, of, 1);
      effects.delete(`${actor} ${client} ${n}`);
    }
  for (const name of effects.keys()) {
    doubled++;
    differences.push(`an effect of what nobody was told to be done: ${name}`);
  }
  const posted = callers.reduce((sum, { acknowledged }) => sum + Math.floor(acknowledged / postEvery), 0);
  compare(
    "messages counted by the ledgers",
    ledgers.reduce((sum, { context }) => sum + context.count, 0),
    posted,
  );
  for (const actor of parked) differences.push(`parked: ${actor}`);
  return {
    acknowledged: callers.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    lost,
    doubled,
    differences,
  };
}
