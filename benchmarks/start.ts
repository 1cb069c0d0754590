/** Time from process start to the first durable event, and to the recovery of pending work among many idle actors. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setup } from "xstate";
import { embedded } from "../runtime/adapters/embedded/index.ts";
import { consoleLogger, createRuntime } from "../runtime/index.ts";
import { orderMachine } from "./order.ts";
import { median } from "./step.ts";

/** The process that is timed: this file itself, run with `--first`. It prints the time of its first durable event. */
async function firstEvent(directory: string): Promise<void> {
  const runtime = await createRuntime({
    actors: { order: orderMachine },
    store: embedded(directory),
    logger: consoleLogger("error"),
  });
  await runtime.actor("order", "o-1").create({ id: "o-1" });
  process.stdout.write(String(Date.now()));
  await runtime.stop({ drainMs: 0 });
}

export async function benchStart(rounds: number): Promise<{ readonly firstEventMs: number }> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-start-"));
  try {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const started = Date.now();
      const { stdout } = await promisify(execFile)(process.execPath, [
        fileURLToPath(import.meta.url),
        "--first",
        join(directory, String(round)),
      ]);
      times.push(Number(stdout) - started);
    }
    return { firstEventMs: median(times) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Pending actors wait for a timer that is due when the host comes back; the idle ones have nothing pending. */
const sleeper = setup({
  types: { input: {} as { pending: boolean }, context: {} as { pending: boolean } },
}).createMachine({
  context: ({ input }) => input,
  initial: "begin",
  states: {
    begin: { always: [{ guard: ({ context }) => context.pending, target: "pending" }, "idle"] },
    idle: {},
    pending: { after: { 20000: "done" } },
    done: { type: "final" },
  },
});

export type RecoveryFigures = {
  readonly idle: number;
  readonly pending: number;
  readonly openMs: number;
  readonly recoveredMs: number;
};

/** Until every pending actor has fired its overdue timer and committed. */
export async function benchRecovery(
  idle: number,
  pending: number,
  onProgress: (created: number) => void,
): Promise<RecoveryFigures> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-recovery-"));
  const store = embedded(directory, { historyDepth: 1 });
  const clock = await skewedClock();
  try {
    const first = await createRuntime({
      actors: { sleeper },
      store,
      logger: consoleLogger("error"),
      settings: { hotActors: 1_000, idleMs: 1_000 },
    });
    const total = idle + pending;
    for (let base = 0; base < total; base += 500) {
      const batch = Array.from({ length: Math.min(500, total - base) }, (_, index) => base + index);
      await Promise.all(
        batch.map((index) =>
          first.actor("sleeper", `s-${index}`).create({ pending: index % Math.ceil(total / pending) === 0 }),
        ),
      );
      onProgress(base + batch.length);
    }
    const expected = Math.ceil(total / Math.ceil(total / pending));
    await first.stop({ drainMs: 0 });
    clock.aheadMs = 30_000;
    const started = performance.now();
    const second = await createRuntime({
      actors: { sleeper },
      store,
      clock,
      logger: consoleLogger("error"),
      settings: { drainMs: 0 },
    });
    const openMs = performance.now() - started;
    while (second.info().counts.commits < expected) await new Promise((resolve) => setTimeout(resolve, 5));
    const recoveredMs = performance.now() - started;
    await second.stop({ drainMs: 0 });
    return { idle: total - expected, pending: expected, openMs, recoveredMs };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function skewedClock() {
  const { SystemClock } = await import("../runtime/adapters/system-clock.ts");
  return new (class extends SystemClock {
    aheadMs = 0;
    override now(): number {
      return super.now() + this.aheadMs;
    }
  })();
}

if (process.argv[2] === "--first") await firstEvent(process.argv[3] as string);
