/** Heap per actor in memory beyond what XState's own actor of the same machine takes, and what an idle one leaves. */
import { createActor } from "xstate";
import { consoleLogger, createRuntime, memory } from "../runtime/index.ts";
import { orderMachine } from "./order.ts";

export type MemoryFigures = {
  readonly actors: number;
  readonly liveBytes: number;
  readonly hotBytes: number;
  /** Of a hot actor, beyond the live one. */
  readonly beyondBytes: number;
  readonly idleActorsInMemory: number;
};

export async function benchMemory(actors: number): Promise<MemoryFigures> {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error("run node with --expose-gc");
  const heap = () => {
    collect();
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = heap();
  const live = Array.from({ length: actors }, (_, index) =>
    createActor(orderMachine, { input: { id: `o-${index}` } }).start(),
  );
  const liveBytes = (heap() - before) / actors;
  live.length = 0;
  // The documents themselves are in the memory store: what the same store holds after all have left is not the actors'.
  const runtime = await createRuntime({
    actors: { order: orderMachine },
    store: memory(),
    logger: consoleLogger("error"),
    settings: { idleMs: 1_000, hotActors: actors * 2 },
  });
  for (let base = 0; base < actors; base += 500) {
    await Promise.all(
      Array.from({ length: 500 }, (_, index) =>
        runtime.actor("order", `o-${base + index}`).create({ id: `o-${base + index}` }),
      ),
    );
  }
  const full = heap();
  while (runtime.info().hotActors > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  const hotBytes = (full - heap()) / actors;
  const { hotActors } = runtime.info();
  await runtime.stop({ drainMs: 0 });
  return { actors, liveBytes, hotBytes, beyondBytes: hotBytes - liveBytes, idleActorsInMemory: hotActors };
}
