/**
 * Durable events per second on the embedded store, beside raw flushed lmdb puts of the same bytes in the same run.
 * Closed loop: so many callers, each with one event in flight to an actor of its own.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open as openLmdb, type RootDatabase } from "lmdb";
import { embedded } from "../runtime/adapters/embedded/index.ts";
import { consoleLogger, createRuntime } from "../runtime/index.ts";
import { closedLoop, type LoopFigures, middle } from "./closed-loop.ts";
import { nextEventTo, orderMachine } from "./order.ts";

export type EmbeddedFigures = {
  readonly callers: number;
  readonly holdfast: LoopFigures;
  readonly raw: LoopFigures;
  /** Ours by raw: 1 would mean that the actors cost nothing. */
  readonly ratio: number;
  readonly valueBytes: number;
  /** Written to storage per durable event, where the system counts it. */
  readonly bytesPerEvent: number | undefined;
  readonly rawBytesPerPut: number | undefined;
};

/** One row: ours and raw by turns, medians of the rounds. */
export async function benchEmbedded(callers: number, rounds: number, roundMs: number): Promise<EmbeddedFigures> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const runtime = await createRuntime({
    actors: { order: orderMachine },
    store: embedded(join(directory, "actors")),
    logger: consoleLogger("error"),
  });
  const raw = openLmdb({ path: join(directory, "raw") });
  try {
    const handles = Array.from({ length: callers }, (_, index) => runtime.actor("order", `o-${index}`));
    await Promise.all(handles.map((handle) => handle.create({ id: handle.id })));
    const event = nextEventTo(handles);
    for (let caller = 0; caller < Math.min(callers, 4); caller++)
      for (let turn = 0; turn < 4; turn++) await event(caller);
    const document = JSON.stringify(await (handles[0] as (typeof handles)[number]).document());
    const put = flushedPut(raw, Buffer.from(document));
    await closedLoop(callers, 300, event);
    await closedLoop(callers, 300, put);
    const ours: LoopFigures[] = [];
    const theirs: LoopFigures[] = [];
    let oursBytes = 0;
    let theirsBytes = 0;
    for (let round = 0; round < rounds; round++) {
      const start = writtenBytes();
      theirs.push(await closedLoop(callers, roundMs, put));
      const between = writtenBytes();
      ours.push(await closedLoop(callers, roundMs, event));
      theirsBytes += between - start;
      oursBytes += writtenBytes() - between;
    }
    const perOne = (bytes: number, loops: readonly LoopFigures[]) =>
      Number.isNaN(bytes) ? undefined : Math.round(bytes / loops.reduce((sum, { count }) => sum + count, 0));
    const holdfast = middle(ours);
    const rawFigures = middle(theirs);
    return {
      callers,
      holdfast,
      raw: rawFigures,
      ratio: holdfast.perSecond / rawFigures.perSecond,
      valueBytes: document.length,
      bytesPerEvent: perOne(oursBytes, ours),
      rawBytesPerPut: perOne(theirsBytes, theirs),
    };
  } finally {
    await runtime.stop({ drainMs: 0 });
    await raw.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What an acknowledged write costs without us: the put, then the flush of the transaction that it went into. */
function flushedPut(raw: RootDatabase, value: Buffer): (caller: number) => Promise<void> {
  return async (caller) => {
    await raw.put(`order.o-${caller}`, value);
    await raw.flushed;
  };
}

/** Bytes that this process has had written to storage; NaN where the system does not count them. */
function writtenBytes(): number {
  try {
    return Number(/^write_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
  } catch {
    return Number.NaN;
  }
}
