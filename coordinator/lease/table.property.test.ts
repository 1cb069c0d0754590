/** The lease table against a slow, obvious one, under random entries with late and repeated requests; and C1 to C3. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { LeaseEntry, Order, Renewal, Request } from "./entry.ts";
import { type Applied, type Outcome, openWithinMs, ReplicatedTable, usualLimits } from "./table.ts";

const seed = Number(process.env.SEED ?? 20_260_101);

const runs = Number(process.env.RUNS ?? 200);

const sessions = ["a", "b", "c", "d"];
const keys = ["k", "l"];
const ttlMs = 500;

type Draw =
  | { readonly kind: "open"; readonly session: string }
  | { readonly kind: "close"; readonly session: string }
  | { readonly kind: "order"; readonly session: string; readonly order: Order; readonly isAnswered: boolean }
  /** A copy of a request of long ago. */
  | { readonly kind: "again"; readonly back: number };
type EntryDraw = {
  readonly passedMs: number;
  readonly renewing: readonly string[];
  readonly isLate: boolean;
  readonly draws: readonly Draw[];
};

const session = fc.constantFrom(...sessions);
const key = fc.constantFrom(...keys);
const order: fc.Arbitrary<Order> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("acquire" as const), key, wait: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("release" as const), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("transfer" as const), key, to: session }) },
);
const draw: fc.Arbitrary<Draw> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("open" as const), session }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("close" as const), session }) },
  {
    weight: 16,
    arbitrary: fc.record({ kind: fc.constant("order" as const), session, order, isAnswered: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("again" as const), back: fc.nat(20) }) },
);
const entries = fc.array(
  fc.record({
    passedMs: fc.oneof(
      { weight: 12, arbitrary: fc.nat(150) },
      { weight: 1, arbitrary: fc.constantFrom(ttlMs - 1, ttlMs, openWithinMs, openWithinMs + 1) },
    ),
    renewing: fc.subarray(sessions, { minLength: 1 }),
    isLate: fc.boolean(),
    draws: fc.array(draw, { maxLength: 8 }),
  }),
  { maxLength: 40, size: "max" },
);

/** Turns draws into requests: names of sessions used anew have a number, orders are numbered, copies are found. */
function* entriesOf(drawn: readonly EntryDraw[], leaseMs: () => number): Generator<LeaseEntry> {
  const lives = new Map(sessions.map((name) => [name, 0]));
  const sequences = new Map<string, number>();
  const beats = new Map<string, number>();
  const history: Request[] = [];
  const nameOf = (name: string) => `${name}${lives.get(name)}`;
  let atMs = 0;
  for (const { passedMs, renewing, isLate, draws } of drawn) {
    atMs += passedMs;
    const renewals: Renewal[] = renewing.map((name) => {
      const beat = (beats.get(name) ?? 0) + (isLate ? 0 : 1);
      beats.set(name, beat);
      return { session: nameOf(name), beat, attributes: isLate ? undefined : { draining: beat % 2 === 0 } };
    });
    const requests = draws.flatMap((one): Request[] => {
      if (one.kind === "again") return history.length > one.back ? [history[history.length - 1 - one.back]!] : [];
      if (one.kind === "open") {
        lives.set(one.session, lives.get(one.session)! + 1);
        const id = nameOf(one.session);
        return [{ kind: "open", session: id, node: "n", ttlMs, attributes: {}, asOfMs: leaseMs() }];
      }
      const id = nameOf(one.session);
      if (one.kind === "close") return [{ kind: "close", session: id }];
      const sequence = (sequences.get(id) ?? 0) + 1;
      sequences.set(id, sequence);
      return [{ kind: "order", session: id, sequence, answeredBelow: one.isAnswered ? sequence : 0, order: one.order }];
    });
    history.push(...requests);
    yield { atMs, renewals, requests };
  }
}

type ModelSession = { id: string; renewedMs: number; beat: number; answeredBelow: number };
type ModelAnswer = { id: string; sequence: number; outcome: Outcome };

/** Lists that are searched from end to end, and nothing that has to be kept in step with anything. */
class ObviousTable {
  nowMs = 0;
  alive: ModelSession[] = [];
  over: { id: string; atMs: number }[] = [];
  leases: { key: string; id: string; index: number }[] = [];
  waits: { key: string; id: string; sequence: number }[] = [];
  answers: ModelAnswer[] = [];
  grantedNow: { key: string; id: string }[] = [];

  apply(index: number, { atMs, renewals, requests }: LeaseEntry): Pick<Applied, "outcomes" | "renewed"> {
    this.nowMs = Math.max(this.nowMs, atMs);
    this.grantedNow = [];
    for (;;) {
      const [next] = this.alive
        .filter(({ renewedMs }) => renewedMs + ttlMs <= this.nowMs)
        .sort((a, b) => a.renewedMs - b.renewedMs || (a.id < b.id ? -1 : 1));
      if (next === undefined) break;
      this.end(next.id);
    }
    this.serve(index);
    const renewed = renewals.map(({ session: id, beat }) => {
      const found = this.alive.find((one) => one.id === id);
      if (found !== undefined && beat > found.beat) Object.assign(found, { beat, renewedMs: this.nowMs });
      return found !== undefined;
    });
    const outcomes = requests.map((request) => {
      const outcome = this.answer(request, index);
      this.serve(index);
      return outcome;
    });
    return { renewed, outcomes };
  }

  answer(request: Request, index: number): Outcome {
    if (request.kind === "raiseEpoch") return { kind: "raised" };
    const id = request.session;
    const found = this.alive.find((one) => one.id === id);
    if (request.kind === "close") {
      if (found !== undefined) this.end(id);
      return { kind: found === undefined ? "lost" : "closed" };
    }
    if (request.kind === "open") {
      if (found !== undefined) return { kind: "opened" };
      if (this.over.some((one) => one.id === id && one.atMs + openWithinMs >= this.nowMs))
        return { kind: "refused", reason: "used" };
      if (request.asOfMs + openWithinMs < this.nowMs) return { kind: "refused", reason: "stale" };
      expect(
        this.over.some((one) => one.id === id),
        "a session never comes back",
      ).toBe(false);
      this.alive.push({ id, renewedMs: this.nowMs, beat: 0, answeredBelow: 0 });
      return { kind: "opened" };
    }
    if (found === undefined) return { kind: "lost" };
    if (request.sequence < found.answeredBelow) return { kind: "forgotten" };
    found.answeredBelow = Math.max(found.answeredBelow, request.answeredBelow);
    const before = this.answers.find((one) => one.id === id && one.sequence === request.sequence);
    if (before !== undefined) return before.outcome;
    const outcome = this.carryOut(id, request.sequence, request.order, index);
    this.answers.push({ id, sequence: request.sequence, outcome });
    return outcome;
  }

  carryOut(id: string, sequence: number, { key: name, ...order }: Order, index: number): Outcome {
    const holding = this.leases.find((one) => one.key === name);
    const grantedNow = this.grantedNow.findLast((one) => one.key === name);
    if (order.kind === "release") {
      this.waits = this.waits.filter((one) => one.key !== name || one.id !== id);
      if (holding?.id === id) this.leases = this.leases.filter((one) => one !== holding);
      return { kind: "released" };
    }
    if (order.kind === "transfer") {
      if (holding?.id !== id || grantedNow !== undefined) return { kind: "notHeld" };
      if (order.to === id) return { kind: "granted", index: holding.index };
      if (!this.alive.some((one) => one.id === order.to)) return { kind: "refused", reason: "noSuchSession" };
      this.leases = this.leases.filter((one) => one !== holding);
      this.grant(name, order.to, index);
      return { kind: "granted", index };
    }
    if (holding?.id === id) return { kind: "granted", index: holding.index };
    const by = holding?.id ?? grantedNow?.id;
    if (by === undefined) {
      this.grant(name, id, index);
      return { kind: "granted", index };
    }
    if (!order.wait) return { kind: "held", by };
    if (!this.waits.some((one) => one.key === name && one.id === id)) this.waits.push({ key: name, id, sequence });
    return { kind: "queued" };
  }

  grant(name: string, id: string, index: number): void {
    const waiting = this.waits.find((one) => one.key === name && one.id === id);
    this.waits = this.waits.filter((one) => one !== waiting);
    const answer = this.answers.find((one) => one.id === id && one.sequence === waiting?.sequence);
    if (answer !== undefined) answer.outcome = { kind: "granted", index };
    this.leases.push({ key: name, id, index });
    this.grantedNow.push({ key: name, id });
  }

  serve(index: number): void {
    for (const name of keys) {
      if ([...this.leases, ...this.grantedNow].some((one) => one.key === name)) continue;
      const next = this.waits.find((one) => one.key === name);
      if (next !== undefined) this.grant(name, next.id, index);
    }
  }

  end(id: string): void {
    this.alive = this.alive.filter((one) => one.id !== id);
    this.over.push({ id, atMs: this.nowMs });
    this.waits = this.waits.filter((one) => one.id !== id);
    this.leases = this.leases.filter((one) => one.id !== id);
  }
}

/** Judges the events alone, knowing nothing of how they come about. */
class ContractWatcher {
  readonly #lastIndex = new Map<string, number>();
  readonly #holders = new Map<string, string>();
  readonly #renewedMs = new Map<string, number>();

  see(
    index: number,
    nowMs: number,
    { renewals }: LeaseEntry,
    { events, renewed }: Applied,
    beats: Map<string, number>,
  ) {
    for (const event of events) {
      if (event.kind === "opened") this.#renewedMs.set(event.session.id, nowMs);
      if (event.kind === "ended" && event.reason === "expired")
        expect(nowMs, "C3").toBeGreaterThanOrEqual(this.#renewedMs.get(event.session.id)! + ttlMs);
      if (event.kind === "granted") {
        const { key: name, session: by, index: at } = event.holding;
        expect(at, "C1: the index of the entry").toBe(index);
        expect(at, "C1: it grows").toBeGreaterThan(this.#lastIndex.get(name) ?? 0);
        this.#lastIndex.set(name, at);
        this.#holders.set(name, by);
      }
      if (event.kind === "freed") {
        expect(this.#holders.get(event.holding.key), "C2").toBe(event.holding.session);
        this.#holders.delete(event.holding.key);
      }
    }
    renewals.forEach(({ session: id, beat }, at) => {
      if (!renewed[at] || beat <= (beats.get(id) ?? 0)) return;
      beats.set(id, beat);
      this.#renewedMs.set(id, nowMs);
    });
  }

  holders(): [string, string][] {
    return [...this.#holders].sort();
  }
}

test(`the table does what the obvious one does, keeps C1 to C3, and is the same on every node (seed ${seed})`, () => {
  let [grants, queued, expired] = [0, 0, 0];
  fc.assert(
    fc.property(entries, fc.nat(9), (drawn, restoreEvery) => {
      const table = ReplicatedTable.empty({ ...usualLimits, unanswered: 10_000 });
      let other = ReplicatedTable.restore(table.snapshot());
      const model = new ObviousTable();
      const watcher = new ContractWatcher();
      const beats = new Map<string, number>();
      let index = 0;
      for (const entry of entriesOf(drawn, () => table.leaseMs)) {
        index += 2;
        const due = table.nextDueMs();
        const applied = table.apply(index, entry);
        expect(applied).toMatchObject(model.apply(index, entry));
        watcher.see(index, table.leaseMs, entry, applied, beats);
        const held = [...table.leases.values()].map(({ key: name, session: id, index: at }) => [name, id, at]).sort();
        expect(held).toEqual(model.leases.map(({ key: name, id, index: at }) => [name, id, at]).sort());
        expect(watcher.holders()).toEqual(held.map(([name, id]) => [name, id]));
        for (const name of keys)
          expect(table.waiting(name)).toEqual(model.waits.filter((one) => one.key === name).map(({ id }) => id));
        expect([...table.sessions.keys()].sort()).toEqual(model.alive.map(({ id }) => id).sort());
        if (applied.events.some(({ kind }) => kind === "ended") && entry.requests.length === 0)
          expect(due, "what time brings about is announced").toBeLessThanOrEqual(table.leaseMs);
        expect(other.apply(index, entry)).toEqual(applied);
        const bytes = table.snapshot();
        expect(Buffer.compare(other.snapshot(), bytes), "equal bytes").toBe(0);
        if (index % (2 * restoreEvery + 2) === 0) other = ReplicatedTable.restore(bytes);
        grants += applied.events.filter(({ kind }) => kind === "granted").length;
        queued += applied.outcomes.filter(({ kind }) => kind === "queued").length;
        expired += applied.events.filter((event) => event.kind === "ended" && event.reason === "expired").length;
      }
    }),
    { seed, numRuns: runs },
  );
  // The property says nothing if nothing happens in it.
  expect(Math.min(grants, queued, expired)).toBeGreaterThan(runs);
});
