/**
 * How long a partition stands still: a process with so many actors whose effects are under way is killed, and another takes
 * its partition over, claims every actor and finishes every effect. The wait for the lease's end is told apart from the rest.
 */
import { fork } from "node:child_process";
import { jetstream } from "../runtime/adapters/jetstream/index.ts";
import { consoleLogger, createRuntime } from "../runtime/index.ts";
import { startNatsServer } from "../runtime/testing/nats-server.ts";
import { heldSleeper } from "./order.ts";

export type TakeoverFigures = {
  readonly pending: number;
  /** From the kill to the new owner's token: the lease's time to live, mostly. */
  readonly leaseMs: number;
  /** From then until every effect has been done and its result committed. */
  readonly takenMs: number;
};

export async function benchTakeover(pending: number): Promise<TakeoverFigures> {
  const server = await startNatsServer();
  const bucket = "takeover";
  const child = fork(new URL("./takeover-host.js", import.meta.url), [server.url, bucket, String(pending)]);
  try {
    await new Promise((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", (code) => reject(new Error(`the first host ended with ${code}`)));
    });
    let done = 0;
    const heir = await createRuntime({
      actors: {
        sleeper: heldSleeper(async () => {
          done++;
        }),
      },
      store: jetstream({ servers: server.url, bucket, node: "second", partitions: 1 }),
      logger: consoleLogger("error"),
    });
    try {
      child.removeAllListeners("exit");
      const killedMs = performance.now();
      child.kill("SIGKILL");
      await until(() => heir.info().partitionsOwned === 1);
      const ownedMs = performance.now();
      // Each actor is claimed, and then its result is committed.
      await until(() => done === pending && heir.info().counts.commits >= 2 * pending);
      return { pending, leaseMs: ownedMs - killedMs, takenMs: performance.now() - ownedMs };
    } finally {
      await heir.stop({ drainMs: 0 });
    }
  } finally {
    child.kill("SIGKILL");
    await server.stop();
  }
}

async function until(holds: () => boolean): Promise<void> {
  const giveUpMs = performance.now() + 60_000;
  while (!holds()) {
    if (performance.now() > giveUpMs) throw new Error(`in vain: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
