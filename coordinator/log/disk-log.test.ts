import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { Files } from "../backends/raft/files.ts";
import { type Entry, emptyConfState } from "../raft/messages.ts";
import { crc32c } from "./crc32c.ts";
import { DiskLog, type DiskLogOptions } from "./disk-log.ts";
import { HardStateLost, LogFailed, LogIsDamaged, LogOfAnother, LogTooNew, LogTooOld } from "./errors.ts";
import { FaultyDisk } from "./faulty-disk.fixture.ts";

const identity = { cluster: "c", member: 1 };
const clock = new ManualClock();
const open = (disk: FaultyDisk, options: Partial<DiskLogOptions> = {}) =>
  DiskLog.open({ disk, identity, clock, ...options });
/** Nothing that was not synced survives. */
const strictDisk = () => new FaultyDisk(() => 0.99);
const entry = (index: number, term = 1): Entry => ({
  type: "EntryNormal",
  index,
  term,
  data: new TextEncoder().encode(`entry ${index}`),
});
const state = (term: number, vote = 0, commit = 0) => ({ term, vote, commit });

test("the sum is CRC-32C", () => {
  const text = new TextEncoder().encode("123456789");
  expect(crc32c(text)).toBe(0xe3069283);
  expect(crc32c(text.subarray(4), crc32c(text.subarray(0, 4)))).toBe(0xe3069283);
});

describe("appending", () => {
  test("of many at once takes one flush of the log and one of the acknowledged end", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    await log.append([entry(1)], state(1, 1));
    disk.syncs = 0;
    await Promise.all(Array.from({ length: 64 }, (_, at) => log.append([entry(at + 2)], undefined)));
    expect(disk.syncs).toBe(2);
    expect(log.storage.lastIndex()).toBe(65);
  });

  test("goes with the next flush while one is under way", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    disk.syncs = 0;
    const done: number[] = [];
    const first = log.append([entry(1)], state(1)).then(() => done.push(disk.syncs));
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    const later = [2, 3, 4].map((index) => log.append([entry(index)], undefined).then(() => done.push(disk.syncs)));
    await Promise.all([first, ...later]);
    expect(done[1]! - done[0]!).toBe(2);
    expect(new Set(done.slice(1)).size, "all in one").toBe(1);
  });

  test("of nothing but a commit index takes no flush, as it promises nothing", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    await log.append([entry(1)], state(1));
    disk.syncs = 0;
    await log.append([], state(1, 0, 1));
    expect(disk.syncs).toBe(0);
    expect(log.storage.initialState().hardState.commit).toBe(1);
  });

  test("replaces a tail, on the disk too", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    await log.append([entry(1), entry(2), entry(3)], state(1));
    await log.append([entry(2, 2)], state(2));
    await log.close();
    const again = await open(disk);
    expect(again.storage.entries(1, 3, 1e9)).toEqual([entry(1), entry(2, 2)]);
    expect(again.storage.lastIndex()).toBe(2);
  });
});

describe("a vote", () => {
  test("is in both copies before it counts, so that one may rot", async () => {
    for (const file of ["state-a", "state-b"]) {
      const disk = strictDisk();
      const log = await open(disk);
      await log.append([], state(7, 3));
      disk.restart();
      expect(disk.flipBit(file, 40, 1)).toBe(true);
      expect((await open(disk)).storage.initialState().hardState).toMatchObject({ term: 7, vote: 3 });
    }
  });

  test("is not guessed at when both copies are damaged", async () => {
    const disk = strictDisk();
    await (await open(disk)).append([entry(1)], state(7, 3));
    disk.restart();
    for (const file of ["state-a", "state-b"]) disk.flipBit(file, 40, 1);
    await expect(open(disk)).rejects.toThrow(HardStateLost);
  });

  test("nor when both are gone and a log is there", async () => {
    const disk = strictDisk();
    await (await open(disk)).append([entry(1)], state(7, 3));
    for (const file of ["state-a", "state-b"]) disk.lose(file);
    await expect(open(disk)).rejects.toThrow(/votes are forgotten: remove this member/);
  });
});

test("a snapshot that comes right behind a vote leaves the vote as it is", async () => {
  const disk = strictDisk();
  const log = await open(disk);
  const metadata = { index: 9, term: 2, confState: emptyConfState };
  const following = { ...entry(10, 2) };
  await Promise.all([
    log.append([], state(7, 3)),
    log.install({ data: new Uint8Array(), metadata }),
    log.append([following], undefined),
  ]);
  disk.restart();
  const again = await open(disk);
  expect(again.storage.initialState().hardState).toEqual(state(7, 3, 9));
  expect(again.storage.entries(10, 11, 1e9)).toEqual([following]);
});

describe("a tail that was acknowledged to nobody", () => {
  test("may be torn anywhere, and is cut", async () => {
    let torn = 0;
    for (let part = 0; part < 1; part += 0.04) {
      const rolls = [0.9, part];
      const disk = new FaultyDisk(() => rolls.shift() ?? 0);
      const log = await open(disk);
      await log.append([entry(1)], state(1));
      disk.failsSync = true;
      await expect(log.append([entry(2), entry(3)], undefined)).rejects.toThrow(LogFailed);
      disk.failsSync = false;
      disk.restart();
      const again = await open(disk);
      expect(again.damage).toBe(undefined);
      const last = again.storage.lastIndex();
      expect(last === 1 || last === 2, `${last}`).toBe(true);
      torn += last;
      await again.append([entry(last + 1, 2)], state(2));
      disk.restart();
      expect((await open(disk)).storage.lastIndex()).toBe(last + 1);
    }
    expect(torn, "sometimes one entry of the two was whole").toBeGreaterThan(25);
  });
});

describe("a damaged record", () => {
  const damaged = async (index: number) => {
    const disk = strictDisk();
    const log = await open(disk);
    const places: number[] = [];
    for (let at = 1; at <= 5; at++) {
      places.push(disk.sizeOf("log-0000000000000001"));
      await log.append([entry(at)], state(1, 1));
    }
    await log.close();
    disk.flipBit("log-0000000000000001", places[index - 1]! + 30, 0);
    return disk;
  };

  for (const index of [1, 3, 5])
    test(`at or below the acknowledged end is not the end of the log (${index} of 5)`, async () => {
      const log = await open(await damaged(index));
      expect(log.damage).toEqual({ keptIndex: index - 1, neededIndex: 5 });
      expect(log.storage.initialState().hardState, "it knows how it voted").toMatchObject({ term: 1, vote: 1 });
      await expect(log.append([entry(6)], undefined)).rejects.toThrow(LogIsDamaged);
      await expect(log.compact(1, emptyConfState, new Uint8Array())).rejects.toThrow(LogIsDamaged);
    });

  test("is repaired by a snapshot that covers what was acknowledged, and by no other", async () => {
    const disk = await damaged(2);
    const log = await open(disk);
    const snapshot = (index: number) => ({
      data: new Uint8Array([7]),
      metadata: { index, term: 1, confState: emptyConfState },
    });
    await expect(log.install(snapshot(4), state(1, 1))).rejects.toThrow(
      "whole up to entry 4 and was acknowledged up to 5",
    );
    await log.install(snapshot(5), state(1, 1));
    await log.append([entry(6)], undefined);
    disk.restart();
    const again = await open(disk);
    expect(again.damage).toBe(undefined);
    expect([again.storage.firstIndex(), again.storage.lastIndex()]).toEqual([6, 6]);
  });
});

describe("beside an unreadable copy of the hard state", () => {
  const newestCopy = (disk: FaultyDisk) => {
    const sequenceIn = (file: string) => {
      const { sequence } = JSON.parse(new TextDecoder().decode(disk.contentOf(file).slice(9))) as { sequence: number };
      return sequence;
    };
    return sequenceIn("state-a") > sequenceIn("state-b") ? "state-a" : "state-b";
  };
  const segmentsOf = async (disk: FaultyDisk) => (await disk.list()).filter((name) => name.startsWith("log-"));
  /** Ten entries in segments of a few, a bit of the second entry rotten. */
  const rotten = async () => {
    const disk = strictDisk();
    const log = await open(disk, { segmentBytes: 100 });
    for (let index = 1; index <= 10; index++) await log.append([entry(index)], state(1, 1));
    await log.close();
    const [first = "", ...others] = await segmentsOf(disk);
    expect(others.length).toBeGreaterThan(1);
    disk.flipBit(first, 70, 0);
    disk.flipBit(newestCopy(disk), 40, 0);
    return disk;
  };

  test("a damaged log needs no more than its later segments say, which can be read", async () => {
    const disk = await rotten();
    expect((await open(disk)).damage).toEqual({ keptIndex: 1, neededIndex: 10 });
    const newest = (await segmentsOf(disk)).at(-1)!;
    const unreadable = disk.sizeOf(newest);
    // Its head: now all of it may have been the shortest of entries, behind those of the segment before.
    disk.flipBit(newest, 10, 0);
    const { neededIndex } = (await open(disk)).damage!;
    expect(neededIndex).toBeGreaterThanOrEqual(10);
    expect(neededIndex).toBeLessThanOrEqual(10 + unreadable / 26);
  });

  test("a repair that a crash interrupts anywhere leaves it needing no more than before", async () => {
    const metadata = { index: 12, term: 1, confState: emptyConfState };
    let [whole, damaged] = [0, 0];
    for (let operations = 1; whole < 3; operations++) {
      const disk = await rotten();
      const log = await open(disk);
      disk.losePowerAfter(operations);
      const isDone = await log.install({ data: new Uint8Array([7]), metadata }, state(1, 1)).then(
        () => true,
        () => false,
      );
      await log.close();
      disk.restart();
      const again = await open(disk);
      if (again.damage === undefined) expect(again.storage.lastIndex()).toBe(12);
      // The snapshot is there, so that it may have been acknowledged.
      else expect([10, 12]).toContain(again.damage.neededIndex);
      expect(again.damage === undefined || !isDone).toBe(true);
      if (again.damage === undefined) whole++;
      else damaged++;
      // The rotten one is gone.
      if (isDone) expect(await segmentsOf(disk)).toHaveLength(1);
    }
    expect(damaged).toBeGreaterThan(3);
  });
});

describe("the epoch", () => {
  const epochIn = (data: Uint8Array) => data[0]!;
  const snapshotOf = (epoch: number, index: number) => ({
    data: new Uint8Array([epoch]),
    metadata: { index, term: 1, confState: emptyConfState },
  });

  for (const rotten of ["state-a", "state-b"])
    test(`of an installed snapshot is known though that and ${rotten} rot`, async () => {
      const disk = strictDisk();
      const log = await open(disk, { epochIn });
      expect(log.epoch).toBe(0);
      await log.install(snapshotOf(1, 5), state(1));
      await log.install(snapshotOf(3, 9), state(1));
      expect(log.epoch).toBe(3);
      await log.close();
      for (const file of [rotten, "snapshot-0000000000000009"]) disk.flipBit(file, 40, 0);
      const again = await open(disk, { epochIn });
      expect([again.epoch, again.damage?.keptIndex]).toEqual([3, 0]);
    });

  test("is that of a snapshot which a crash left before the hard state named it, from then on", async () => {
    let late = 0;
    for (let operations = 1; operations < 30; operations++) {
      const disk = strictDisk();
      const log = await open(disk, { epochIn });
      await log.install(snapshotOf(1, 5), state(1));
      disk.losePowerAfter(operations);
      await log.install(snapshotOf(2, 9), state(1)).catch(() => {});
      disk.restart();
      const { epoch, storage } = await open(disk, { epochIn });
      expect(epoch).toBe(storage.lastIndex() === 9 ? 2 : 1);
      if (epoch !== 2) continue;
      late++;
      disk.restart();
      disk.flipBit("snapshot-0000000000000009", 40, 0);
      expect((await open(disk, { epochIn })).epoch).toBe(2);
    }
    expect(late).toBeGreaterThan(3);
  });
});

describe("a failed flush", () => {
  test("is the end: nothing is tried again, and nothing more is written", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    disk.failsSync = true;
    await expect(log.append([entry(1)], state(1))).rejects.toThrow(/could not be flushed: look at the disk/);
    disk.failsSync = false;
    disk.syncs = 0;
    await expect(log.append([entry(1)], state(1))).rejects.toThrow(LogFailed);
    expect(disk.syncs).toBe(0);
    await log.close();
  });
});

describe("a full disk", () => {
  test("is waited for, and nothing is lost or written twice", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    await log.append([entry(1)], state(1));
    disk.roomBytes = 10;
    let isDone = false;
    const waiting = log.append([entry(2), entry(3)], undefined).then(() => {
      isDone = true;
    });
    await clock.advance(1_000);
    expect([isDone, log.isFull]).toEqual([false, true]);
    disk.roomBytes = 1_000_000;
    await clock.advance(300);
    await waiting;
    expect(log.isFull).toBe(false);
    disk.restart();
    const again = await open(disk);
    expect(again.storage.entries(1, 4, 1e9)).toEqual([entry(1), entry(2), entry(3)]);
  });

  test("keeps nobody from closing", async () => {
    const disk = strictDisk();
    const log = await open(disk);
    disk.roomBytes = 0;
    const waiting = expect(log.append([entry(1)], state(1))).rejects.toThrow(LogFailed);
    await clock.advance(10);
    const closing = log.close();
    await clock.advance(300);
    await closing;
    await waiting;
  });
});

describe("segments", () => {
  test("are begun when one is large, and go when a snapshot covers them", async () => {
    const disk = strictDisk();
    const log = await open(disk, { segmentBytes: 100 });
    for (let index = 1; index <= 10; index++) await log.append([entry(index)], state(1, 0, index));
    const segments = async () => (await disk.list()).filter((name) => name.startsWith("log-")).length;
    expect(await segments()).toBeGreaterThan(3);
    await log.compact(9, emptyConfState, new Uint8Array([1]));
    expect(await segments()).toBeLessThan(4);
    expect(await disk.list()).toContain("snapshot-0000000000000009");
    disk.restart();
    const again = await open(disk);
    expect([again.storage.firstIndex(), again.storage.lastIndex()]).toEqual([10, 10]);
  });
});

describe("a folder on a real disk", () => {
  const inFolder = async (
    run: (folder: string, openReal: (id?: typeof identity) => Promise<DiskLog>) => Promise<void>,
  ) => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-log-"));
    const closing: (() => Promise<void>)[] = [];
    const openReal = async (id = identity) => {
      for (const close of closing.splice(0).reverse()) await close();
      const disk = await Files.open(folder);
      closing.push(() => disk.close());
      const log = await DiskLog.open({ disk, identity: id, clock });
      closing.push(() => log.close());
      return log;
    };
    try {
      await run(folder, openReal);
    } finally {
      for (const close of closing.reverse()) await close();
      rmSync(folder, { recursive: true, force: true });
    }
  };

  test("keeps the log, and can be read by people", () =>
    inFolder(async (folder, openReal) => {
      const log = await openReal();
      await log.append([entry(1), entry(2)], state(4, 2, 1));
      await log.compact(1, emptyConfState, new TextEncoder().encode("the table"));
      const again = await openReal();
      expect(again.storage.entries(2, 3, 1e9)).toEqual([entry(2)]);
      expect(readdirSync(folder).filter((name) => !name.startsWith("owner"))).toEqual([
        "log-0000000000000001",
        "log-0000000000000002",
        "snapshot-0000000000000001",
        "state-a",
        "state-b",
      ]);
      expect(readFileSync(join(folder, "state-a"), "utf8")).toContain('"cluster":"c","member":1');
    }));

  test("of another member or cluster is refused by name", () =>
    inFolder(async (_, openReal) => {
      await openReal();
      await expect(openReal({ cluster: "c", member: 2 })).rejects.toThrow(LogOfAnother);
      await expect(openReal({ cluster: "d", member: 1 })).rejects.toThrow(
        'the log of member 1 of cluster "c", not of member 1 of cluster "d"',
      );
      await openReal();
    }));

  for (const [when, format, refusal] of [
    ["a later release", 3, LogTooNew],
    ["the format that named no epoch", 1, LogTooOld],
  ] as const)
    test(`of ${when} is refused`, () =>
      inFolder(async (folder, openReal) => {
        await openReal();
        const text = JSON.stringify({ ...identity, format, sequence: 1 });
        const sum = crc32c(new TextEncoder().encode(text)).toString(16).padStart(8, "0");
        for (const file of ["state-a", "state-b"]) writeFileSync(join(folder, file), `${sum} ${text}\n`);
        await expect(openReal()).rejects.toThrow(refusal);
      }));
});
