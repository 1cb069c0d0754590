/**
 * The soak: three processes host, many callers send, and all the while processes are killed and frozen, servers die, and
 * connections break. Then everything is healed, comes to rest, and the books are checked.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream } from "../../runtime/adapters/jetstream/index.ts";
import { connect, OutcomeUnknownError } from "../../runtime/index.ts";
import { soakActors, soakBucket, soakFleet } from "./actors.ts";
import { type CallerRecord, checkBooks, type Verdict } from "./books.ts";
import { Fleet, type TroubleKind, troubleKinds } from "./fleet.ts";
import { startRecorder } from "./recorder.ts";

export type SoakOptions = {
  /** Acknowledged events to reach. */
  readonly events: number;
  /** After this the soak ends, whatever was reached: too few is a failure. */
  readonly deadlineMs: number;
  readonly seed: number;
  /** Where the hosts' logs go. */
  readonly folder: string;
  readonly accounts?: number;
  readonly say: (line: string) => void;
};

export type SoakResult = Verdict & {
  readonly seconds: number;
  readonly perSecond: number;
  /** How often each kind of trouble came. */
  readonly troubles: Readonly<Record<string, number>>;
  /** How attempts ended that were not acknowledged at once; each was repeated under its key until it was. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly effects: { readonly accepted: number; readonly repeated: number; readonly fenced: number };
  /** The longest that a caller waited for one event. */
  readonly slowestMs: number;
};

const ledgers = 5;
const callersPerAccount = 2;
const restMs = 90_000;

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const startedMs = performance.now();
  const { events, say } = options;
  const deadline = startedMs + options.deadlineMs;
  const recorder = await startRecorder();
  const fleet = await Fleet.start(soakFleet(3, recorder.port, options.folder));
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const client = await connect({
    actors: soakActors(() => Promise.reject(new Error("nothing is done here"))),
    store: jetstream({ servers: fleet.urls, bucket: soakBucket }),
    logger: quiet,
  });
  const accounts = Array.from({ length: options.accounts ?? 40 }, (_, index) => `a${index}`);
  const outcomes: Record<string, number> = {};
  const troubles: Record<string, number> = {};
  let acknowledged = 0;
  let slowestMs = 0;
  let going = true;

  async function insisting<TResult>(act: () => Promise<TResult>): Promise<TResult> {
    const before = performance.now();
    for (;;) {
      try {
        const result = await act();
        slowestMs = Math.max(slowestMs, performance.now() - before);
        return result;
      } catch (error) {
        const kind = error instanceof OutcomeUnknownError ? "unknown" : ((error as { code?: string }).code ?? "other");
        outcomes[kind] = (outcomes[kind] ?? 0) + 1;
        if (performance.now() > deadline + restMs) throw error;
        await sleep(50);
      }
    }
  }

  async function caller(actor: string, index: number): Promise<CallerRecord> {
    const name = `c${index}`;
    const handle = client.actor("account", actor);
    let n = 0;
    while (going) {
      n++;
      await insisting(() => handle.send({ type: "ADD", client: name, n }, { key: `${name}-${n}`, timeoutMs: 8_000 }));
      acknowledged++;
    }
    return { actor, client: name, acknowledged: n };
  }

  try {
    await Promise.all([
      ...accounts.map((id) => insisting(() => client.actor("account", id).create({ id }, { key: `new-${id}` }))),
      ...Array.from({ length: ledgers }, (_, index) =>
        insisting(() => client.actor("ledger", `l${index}`).create(undefined, { key: `new-l${index}` })),
      ),
    ]);
    say(
      `three hosts, three NATS servers, ${accounts.length} actors, ${accounts.length * callersPerAccount} callers, seed ${options.seed}`,
    );
    const callers = Promise.all(
      accounts.flatMap((actor) => Array.from({ length: callersPerAccount }, (_, index) => caller(actor, index))),
    );
    const dice = seededDice(options.seed);
    const underWay = new Set<Promise<void>>();
    let broken: unknown;
    // Every kind of trouble comes, however short the soak is.
    const due: TroubleKind[] = [...troubleKinds];
    let saidMs = startedMs;
    while ((acknowledged < events || due.length > 0) && performance.now() < deadline && broken === undefined) {
      await sleep(500 + dice() * 2_500);
      const kind = due.shift() ?? (troubleKinds[Math.floor(dice() * troubleKinds.length)] as TroubleKind);
      const trouble = fleet.begin(kind, Math.floor(dice() * 6), 1_000 + dice() * 8_000);
      if (trouble === undefined) {
        if (troubles[kind] === undefined) due.push(kind);
      } else {
        troubles[kind] = (troubles[kind] ?? 0) + 1;
        const ended = trouble
          .catch((error: unknown) => {
            broken = error;
          })
          .finally(() => underWay.delete(ended));
        underWay.add(ended);
      }
      if (performance.now() - saidMs > 5_000) {
        saidMs = performance.now();
        const seconds = (saidMs - startedMs) / 1_000;
        say(
          `${seconds.toFixed(0).padStart(4)} s  ${acknowledged} acknowledged  ${outcomes.unknown ?? 0} unknown  ${Object.values(troubles).reduce((a, b) => a + b, 0)} troubles  ${recorder.accepted.size} effects`,
        );
      }
    }
    const reached = acknowledged >= events;
    await Promise.all(underWay);
    if (broken !== undefined) throw broken;
    going = false;
    const seconds = (performance.now() - startedMs) / 1_000;
    say("healed; waiting for everything to come to rest");
    const records = await callers;
    const stored = async () => {
      const context = async (type: "account" | "ledger", id: string) => {
        const document = await client.actor(type, id).document();
        const state = await client.actor(type, id).state();
        return { id, context: state?.context as never, outbox: document?.outbox.length ?? 0 };
      };
      return {
        accounts: await Promise.all(accounts.map((id) => context("account", id))),
        ledgers: await Promise.all(Array.from({ length: ledgers }, (_, index) => context("ledger", `l${index}`))),
      };
    };
    const total = records.reduce((sum, { acknowledged: count }) => sum + count, 0);
    const until = performance.now() + restMs;
    for (;;) {
      const { accounts: some, ledgers: others } = await stored();
      const atRest = [...some, ...others].every(({ outbox }) => outbox === 0) && recorder.accepted.size >= total;
      if (atRest || performance.now() > until) break;
      await sleep(500);
    }
    const parked = (await client.parked()).map(({ actor, reason, message }) => `${actor}: ${reason}: ${message}`);
    const verdict = checkBooks({ callers: records, ...(await stored()), accepted: recorder.accepted, parked });
    const repeated = [...recorder.accepted.values()].reduce((sum, { times }) => sum + times - 1, 0);
    const late = reached ? [] : [`only ${total} of ${events} events were acknowledged before the deadline`];
    return {
      ...verdict,
      differences: [...verdict.differences, ...late],
      seconds,
      perSecond: total / seconds,
      troubles,
      outcomes,
      effects: { accepted: recorder.accepted.size, repeated, fenced: recorder.fenced },
      slowestMs,
    };
  } finally {
    going = false;
    await client.close().catch(() => {}); // what matters was said before
    await fleet.stop();
    await recorder.stop();
  }
}

/** xorshift: the same troubles for the same seed, though not at the same instructions. */
function seededDice(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
