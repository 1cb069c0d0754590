/** What was acknowledged is there: the log on a disk that loses power anywhere, and rots (D1 to D3). */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { type Entry, emptyConfState, type HardState, type Snapshot } from "../raft/messages.ts";
import { DiskLog } from "./disk-log.ts";
import { HardStateLost, LogFailed, LogIsDamaged } from "./errors.ts";
import { FaultyDisk, PowerLost } from "./faulty-disk.fixture.ts";

const seed = Number(process.env.SEED ?? 20_260_101);
const runs = Number(process.env.RUNS ?? 150);
const identity = { cluster: "c", member: 1 };
const confState = { ...emptyConfState, voters: [1, 2, 3] };

type Operation =
  | {
      readonly kind: "append";
      readonly cut: number;
      readonly count: number;
      readonly newTerm: boolean;
      readonly vote: number;
      readonly isAwaited: boolean;
    }
  | { readonly kind: "compact"; readonly back: number }
  | { readonly kind: "install"; readonly ahead: number; readonly newTerm: boolean };
type Life = { readonly powerFor: number; readonly operations: readonly Operation[] };

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
      count: fc.nat(4),
      newTerm: fc.boolean(),
      vote: fc.nat(3),
      isAwaited: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("compact" as const), back: fc.nat(2) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("install" as const),
      ahead: fc.integer({ min: -2, max: 3 }),
      newTerm: fc.boolean(),
    }),
  },
);
const life: fc.Arbitrary<Life> = fc.record({
  powerFor: fc.oneof(fc.nat(12), fc.nat(90)),
  operations: fc.array(operation, { maxLength: 14 }),
});

/** What the log must hold: by index, from `base` on. Terms are enough, since data follows from index and term. */
type Model = {
  base: number;
  readonly terms: ReadonlyMap<number, number>;
  last: number;
  term: number;
  vote: number;
  commit: number;
};

const dataOf = (index: number, term: number) => new TextEncoder().encode(`${index}.${term}`);

/** Applies an operation, and says what to ask of the log. `undefined`: it makes no sense now. */
function plan(
  model: Model,
  made: Operation,
):
  | { readonly next: Model; readonly steps: readonly Model[]; readonly ask: (log: DiskLog) => Promise<void> }
  | undefined {
  if (made.kind === "append") {
    const term = model.term + (made.newTerm ? 1 : 0);
    const vote = made.newTerm ? made.vote : model.vote;
    const from = Math.max(model.commit, model.last - made.cut) + 1;
    const steps: Model[] = [];
    let now = model;
    const entries: Entry[] = [];
    for (let index = from; index < from + made.count; index++) {
      const terms = new Map([...now.terms].filter(([at]) => at < index)).set(index, term);
      now = { ...now, terms, last: index };
      steps.push(now);
      entries.push({ type: "EntryNormal", index, term, data: dataOf(index, term) });
    }
    // Some of the tail is committed, so that it will not be cut again.
    const next = { ...now, term, vote, commit: Math.max(now.commit, now.last - 2) };
    const hardState: HardState = { term, vote, commit: next.commit };
    return { next, steps: [...steps, next], ask: (log) => log.append(entries, hardState) };
  }
  if (made.kind === "compact") {
    const index = model.commit - made.back;
    if (index <= model.base) return undefined;
    const next = { ...model, base: index };
    return { next, steps: [next], ask: (log) => log.compact(index, confState, dataOf(index, model.terms.get(index)!)) };
  }
  const index = model.last + made.ahead;
  if (index <= model.commit) return undefined;
  const term = model.term + (made.newTerm ? 1 : 0);
  const terms = new Map(model.terms).set(index, term);
  const next: Model = {
    base: index,
    terms: new Map([[index, term]]),
    last: index,
    term,
    vote: made.newTerm ? 0 : model.vote,
    commit: index,
  };
  // The snapshot is there, and the log is not cut yet: what leads on from it stays.
  const between =
    model.terms.get(index) === term
      ? { ...model, base: index, terms, commit: index }
      : { ...next, term: model.term, vote: model.vote };
  const hardState = { term, vote: next.vote, commit: index };
  return { next, steps: [between, next], ask: (log) => log.install(snapshotOf(index, term), hardState) };
}

function snapshotOf(index: number, term: number): Snapshot {
  return { data: dataOf(index, term), metadata: { index, term, confState } };
}

/** What the log says of itself. Reads everything. */
function found(log: DiskLog): Pick<Model, "base" | "last" | "term" | "vote"> & { readonly terms: [number, number][] } {
  const { storage } = log;
  const [first, last] = [storage.firstIndex(), storage.lastIndex()];
  const entries = last < first ? [] : storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
  if (typeof entries === "string") throw new Error(entries);
  for (const { index, term, data } of entries) expect(data).toEqual(dataOf(index, term));
  const snapshot = storage.snapshot();
  if (snapshot === "unavailable") throw new Error(snapshot);
  const { index, term } = snapshot.metadata;
  if (index > 0) {
    expect(snapshot.data).toEqual(dataOf(index, term));
    expect(snapshot.metadata.confState).toEqual(confState);
  }
  const { hardState } = storage.initialState();
  expect(hardState.commit).toBeLessThanOrEqual(last);
  return {
    base: index,
    last,
    term: hardState.term,
    vote: hardState.vote,
    terms: entries.map((entry) => [entry.index, entry.term]),
  };
}

/** Whether the log is that of the model, above whatever snapshot it has. */
function isLogOf(log: ReturnType<typeof found>, { last, terms }: Model): boolean {
  return log.last === last && log.terms.every(([index, term]) => terms.get(index) === term);
}

function mayBe(log: ReturnType<typeof found>, states: readonly Model[]): boolean {
  const lastTerm = log.terms.at(-1)?.[1] ?? 0;
  const isVote =
    states.some(({ term, vote }) => term === log.term && vote === log.vote) ||
    (log.vote === 0 && log.term === lastTerm);
  return isVote && states.some((state) => isLogOf(log, state)) && states.some(({ base }) => base === log.base);
}

const empty: Model = { base: 0, terms: new Map(), last: 0, term: 0, vote: 0, commit: 0 };

/** Turns what was found into a model again, as the one who reads the log does. */
function modelOf(log: ReturnType<typeof found>, states: readonly Model[]): Model {
  const state = states.findLast((one) => isLogOf(log, one))!;
  // What is committed stays so, whatever the log remembers of it.
  const commit = Math.max(...states.filter((one) => isLogOf(log, one)).map((one) => one.commit), log.base);
  return { ...state, base: log.base, term: log.term, vote: log.vote, commit: Math.min(commit, log.last) };
}

function dice(from: number): () => number {
  let state = (from | 0) ^ 0x9e3779b9;
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5;
    let mixed = Math.imul(state ^ (state >>> 12), 0x297a2d39);
    mixed ^= mixed >>> 15;
    return (mixed >>> 0) / 2 ** 32;
  };
}

const open = (disk: FaultyDisk) =>
  DiskLog.open({ disk, identity, clock: new SystemClock(), segmentBytes: 200, keptEntries: 0 });

/** One life of the process, to the loss of power or the end of the operations. Answers what may be found afterwards. */
async function live(
  disk: FaultyDisk,
  states: readonly Model[],
  { powerFor, operations }: Life,
  count: { lost: number; acknowledged: number },
): Promise<readonly Model[]> {
  disk.losePowerAfter(powerFor);
  let log: DiskLog;
  try {
    log = await open(disk);
  } catch (error) {
    expect(error).toBeInstanceOf(PowerLost);
    count.lost++;
    return states;
  }
  expect(log.damage).toBe(undefined);
  expect(
    mayBe(found(log), states),
    JSON.stringify([found(log), states.map((state) => ({ ...state, terms: [...state.terms] }))]),
  ).toBe(true);
  let acknowledged = modelOf(found(log), states);
  let asked = acknowledged;
  let possible: Model[] = [acknowledged];
  const underWay: Promise<void>[] = [];
  const settle = async () => {
    await Promise.all(underWay.splice(0));
    acknowledged = asked;
    possible = [acknowledged];
    count.acknowledged++;
  };
  try {
    for (const made of operations) {
      if (made.kind !== "append") await settle();
      const planned = plan(asked, made);
      if (planned === undefined) continue;
      asked = planned.next;
      possible.push(...planned.steps);
      underWay.push(planned.ask(log));
      if (made.kind !== "append" || made.isAwaited) await settle();
    }
    await settle();
    expect(isLogOf(found(log), acknowledged)).toBe(true);
    await log.close();
  } catch (error) {
    if (!(error instanceof LogFailed) || !(error.cause instanceof PowerLost)) throw error;
    await Promise.allSettled(underWay);
    count.lost++;
  }
  return possible;
}

test(`what was acknowledged is there after the power was lost anywhere, and nothing else is made up (seed ${seed})`, async () => {
  const count = { lost: 0, acknowledged: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 5 }), fc.integer(), async (lives, diceSeed) => {
      const disk = new FaultyDisk(dice(diceSeed));
      let states: readonly Model[] = [empty];
      for (const one of [...lives, { powerFor: Number.POSITIVE_INFINITY, operations: [] }]) {
        states = await live(disk, states, one, count);
        disk.restart();
      }
    }),
    { seed, numRuns: runs },
  );
  expect(count.lost).toBeGreaterThan(runs / 2);
  expect(count.acknowledged).toBeGreaterThan(runs);
});

test(`one damaged bit or lost file is noticed or harmless, and a repair by snapshot lasts (seed ${seed})`, async () => {
  const count = { lost: 0, acknowledged: 0 };
  let [damaged, harmless] = [0, 0];
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 1, maxLength: 3 }),
      fc.integer(),
      fc.record({
        file: fc.nat(50),
        offset: fc.nat(3_000),
        bit: fc.nat(7),
        isLost: fc.constantFrom(false, false, true),
      }),
      async (lives, diceSeed, { file, offset, bit, isLost }) => {
        const disk = new FaultyDisk(dice(diceSeed));
        let states: readonly Model[] = [empty];
        for (const one of [...lives, { powerFor: Number.POSITIVE_INFINITY, operations: [] }]) {
          states = await live(disk, states, one, count);
          disk.restart();
        }
        const [whole] = states as [Model];
        const names = await disk.list();
        const name = names[file % names.length]!;
        if (isLost) disk.lose(name);
        else fc.pre(disk.flipBit(name, offset % Math.max(1, disk.sizeOf(name)), bit));
        let log = await open(disk);
        if (log.damage === undefined) {
          harmless++;
          const now = found(log);
          expect(isLogOf(now, whole), `${name} ${JSON.stringify(now)}`).toBe(true);
          expect([now.term, now.vote]).toEqual([whole.term, whole.vote]);
          await log.close();
          return;
        }
        damaged++;
        expect(log.damage.neededIndex).toBe(whole.last);
        await expect(log.append([], { term: 99, vote: 1, commit: 0 })).rejects.toThrow(LogIsDamaged);
        await log.close();
        log = await open(disk);
        expect(log.damage?.neededIndex, "it stays damaged").toBe(whole.last);
        const state = { term: whole.term, vote: whole.vote, commit: 0 };
        await expect(log.install(snapshotOf(whole.last - 1, whole.term), state)).rejects.toThrow(LogIsDamaged);
        await log.install(snapshotOf(whole.last, whole.term), state);
        expect(log.damage).toBe(undefined);
        const entry = {
          type: "EntryNormal",
          index: whole.last + 1,
          term: whole.term,
          data: dataOf(whole.last + 1, whole.term),
        } as const;
        await log.append([entry], undefined);
        await log.close();
        disk.restart();
        log = await open(disk);
        expect(log.damage).toBe(undefined);
        expect(found(log)).toEqual({
          base: whole.last,
          last: whole.last + 1,
          term: whole.term,
          vote: whole.vote,
          terms: [[whole.last + 1, whole.term]],
        });
        await log.close();
      },
    ),
    { seed, numRuns: runs },
  );
  expect(Math.min(damaged, harmless)).toBeGreaterThan(runs / 20);
});

function leadsOn({ base, last, terms }: ReturnType<typeof found>): boolean {
  return (terms[0]?.[0] ?? last + 1) <= base + 1;
}

test(`whatever bits rot after a crash, nothing that was acknowledged is missed in silence (seed ${seed})`, async () => {
  const count = { lost: 0, acknowledged: 0 };
  const ends = { refused: 0, damaged: 0, harmless: 0 };
  const rot = fc.record({ file: fc.nat(50), fromEnd: fc.nat(600), bit: fc.nat(7) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 1, maxLength: 4 }),
      fc.integer(),
      fc.array(rot, { minLength: 1, maxLength: 5 }),
      async (lives, diceSeed, rots) => {
        const disk = new FaultyDisk(dice(diceSeed));
        let states: readonly Model[] = [empty];
        for (const one of lives) {
          states = await live(disk, states, one, count);
          disk.restart();
        }
        const names = await disk.list();
        fc.pre(names.length > 0);
        for (const { file, fromEnd, bit } of rots) {
          const name = names[file % names.length]!;
          disk.flipBit(name, Math.max(0, disk.sizeOf(name) - 1 - fromEnd), bit);
        }
        const acknowledgedIndex = Math.min(...states.map(({ last }) => last));
        // A start that a crash interrupts must come to no other view of it.
        for (const powerFor of [7, 14, Number.POSITIVE_INFINITY]) {
          disk.losePowerAfter(powerFor);
          try {
            const log = await open(disk);
            // Where a snapshot rotted and all before it is still in the log, nothing is missing.
            const bases = [...states.map(({ base }) => base), 0];
            if (log.damage === undefined)
              expect(
                bases.some((base) => mayBe({ ...found(log), base }, states)) && leadsOn(found(log)),
                JSON.stringify([found(log), states.map((state) => ({ ...state, terms: [...state.terms] }))]),
              ).toBe(true);
            else expect(log.damage.neededIndex).toBeGreaterThanOrEqual(acknowledgedIndex);
            ends[log.damage === undefined ? "harmless" : "damaged"]++;
            await log.close();
          } catch (error) {
            if (error instanceof HardStateLost) ends.refused++;
            else if (!(error instanceof PowerLost)) throw error;
          }
          disk.restart();
        }
      },
    ),
    { seed, numRuns: runs * 2 },
  );
  expect(Math.min(ends.refused, ends.damaged, ends.harmless), JSON.stringify(ends)).toBeGreaterThan(runs / 10);
});
