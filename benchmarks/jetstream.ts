/**
 * `npm run bench -- jetstream`: durable events on NATS JetStream, in one process and over the bus, beside compare-and-set
 * publishing of the same bytes through the same client library, and through the bare path under our store, by turns in
 * one run. Servers of its own, on loopback.
 */
import { fork } from "node:child_process";
import { jetstream as jetstreamClient } from "@nats-io/jetstream";
import { createInbox } from "@nats-io/transport-node";
import { jetstream } from "../runtime/adapters/jetstream/index.ts";
import { connectNats } from "../runtime/adapters/nats/connection.ts";
import { EncodedHeaders, Requests } from "../runtime/adapters/nats/requests.ts";
import { SystemClock } from "../runtime/adapters/system-clock.ts";
import { consoleLogger, createRuntime } from "../runtime/index.ts";
import { startNatsCluster, startNatsServer } from "../runtime/testing/nats-server.ts";
import { closedLoop, type LoopFigures, middle } from "./closed-loop.ts";
import type { CallerOrder } from "./jetstream-caller.ts";
import { nextEventTo, orderMachine, orderWithEffects } from "./order.ts";

export type JetStreamRow = {
  readonly what: string;
  readonly callers: number;
  readonly figures: LoopFigures;
  /** Beside it in the same rounds, where it was measured. */
  readonly library?: LoopFigures;
  readonly bare?: LoopFigures;
};

export type BenchEnv = { readonly rounds: number; readonly roundMs: number; readonly row: (row: JetStreamRow) => void };

type Deployment = { readonly urls: readonly string[]; stop(): Promise<void> };

export async function benchJetStream(env: BenchEnv): Promise<JetStreamRow[]> {
  const rows: JetStreamRow[] = [];
  const tell = (row: JetStreamRow) => {
    rows.push(row);
    env.row(row);
  };
  const single = async (synced: boolean): Promise<Deployment> => {
    const server = await startNatsServer({ synced });
    return { urls: [server.url], stop: () => server.stop() };
  };
  await on(await single(false), async (urls) => {
    for (const callers of [1, 64, 256]) tell(await inProcess("one server", urls, callers, env, {}));
    for (const callers of [1, 64, 256]) tell(await overTheBus("one server, over the bus", urls, callers, env));
    for (const callers of [64, 256]) tell(await withEffects("one server, one effect each", urls, callers, env));
  });
  await on(await single(true), async (urls) => {
    tell(await inProcess("synced, each alone", urls, 1_000, env, {}));
    for (const callers of [1, 256, 1_000])
      tell(await inProcess("synced, batches", urls, callers, env, { synced: true }));
  });
  await on(await startNatsCluster(3), async (urls) => {
    for (const callers of [1, 64, 256]) tell(await inProcess("three servers", urls, callers, env, { replicas: 3 }));
  });
  return rows;
}

async function on(deployment: Deployment, work: (urls: readonly string[]) => Promise<void>): Promise<void> {
  try {
    await work(deployment.urls);
  } finally {
    await deployment.stop();
  }
}

type Options = { readonly replicas?: number; readonly synced?: boolean };

let buckets = 0;

async function inProcess(
  what: string,
  servers: readonly string[],
  callers: number,
  env: BenchEnv,
  options: Options,
): Promise<JetStreamRow> {
  const bucket = `bench-${++buckets}`;
  const runtime = await createRuntime({
    actors: { order: orderMachine },
    store: jetstream({ servers, bucket, ...options }),
    logger: consoleLogger("error"),
  });
  try {
    const handles = Array.from({ length: callers }, (_, index) => runtime.actor("order", `o-${index}`));
    await Promise.all(handles.map((handle) => handle.create({ id: handle.id })));
    const event = nextEventTo(handles);
    for (let turn = 0; turn < 4; turn++) await event(0);
    const value = new TextEncoder().encode(JSON.stringify(await handles[0]?.document()));
    const raw = await rawPublishers(servers, bucket, callers, value);
    try {
      const loops = { ours: [] as LoopFigures[], library: [] as LoopFigures[], bare: [] as LoopFigures[] };
      for (const act of [event, raw.library, raw.bare]) await closedLoop(callers, 500, act);
      for (let round = 0; round < env.rounds; round++) {
        loops.library.push(await closedLoop(callers, env.roundMs, raw.library));
        loops.bare.push(await closedLoop(callers, env.roundMs, raw.bare));
        loops.ours.push(await closedLoop(callers, env.roundMs, event));
      }
      const [figures, library, bare] = [middle(loops.ours), middle(loops.library), middle(loops.bare)];
      return { what, callers, figures, library, bare };
    } finally {
      await raw.close();
    }
  } finally {
    await runtime.stop({ drainMs: 0 });
  }
}

/** The same bytes to keys of their own in the same bucket, each caller with the revision that it wrote last. */
async function rawPublishers(servers: readonly string[], bucket: string, callers: number, value: Uint8Array) {
  const open = await connectNats({ servers });
  const requests = new Requests(open.connection, new SystemClock(), createInbox());
  // The library as it comes, with the settings that its own connect() has.
  const { connect } = await import("@nats-io/transport-node");
  const plain = await connect({ servers: [...servers] });
  const js = jetstreamClient(plain);
  const last = { library: new Array<number>(callers).fill(0), bare: new Array<number>(callers).fill(0) };
  return {
    library: async (caller: number) => {
      const expect = { lastSubjectSequence: last.library[caller] as number };
      const { seq } = await js.publish(`$KV.${bucket}.raw.library-${caller}`, value, { expect });
      last.library[caller] = seq;
    },
    bare: async (caller: number) => {
      const expected = String(last.bare[caller]);
      const headers = new EncodedHeaders([["Nats-Expected-Last-Subject-Sequence", expected]]);
      const reply = await requests.ask(`$KV.${bucket}.raw.bare-${caller}`, value, headers, 10_000);
      const seq = reply.kind === "reply" ? reply.message.json<{ seq?: number }>().seq : undefined;
      if (seq === undefined) throw new Error(`a raw publish failed: ${reply.kind}`);
      last.bare[caller] = seq;
    },
    close: async () => {
      requests.stop();
      await open.close();
      await plain.close();
    },
  };
}

/** The callers are another process; the host is this one. */
async function overTheBus(
  what: string,
  servers: readonly string[],
  callers: number,
  env: BenchEnv,
): Promise<JetStreamRow> {
  const runtime = await createRuntime({
    actors: { order: orderMachine },
    store: jetstream({ servers }),
    logger: consoleLogger("error"),
  });
  const child = fork(new URL("./jetstream-caller.js", import.meta.url), [servers.join(","), `bus-${++buckets}`]);
  const answer = <TAnswer>() =>
    new Promise<TAnswer>((resolve, reject) => {
      child.once("message", (message) => resolve(message as TAnswer));
      child.once("exit", (code) => reject(new Error(`the calling process ended with ${code}`)));
    });
  try {
    await answer<"ready">();
    const loops: LoopFigures[] = [];
    for (let round = 0; round < env.rounds; round++) {
      const figures = answer<LoopFigures>();
      child.send({ callers, forMs: env.roundMs } satisfies CallerOrder);
      loops.push(await figures);
    }
    return { what, callers, figures: middle(loops) };
  } finally {
    child.removeAllListeners("exit");
    child.kill("SIGKILL");
    await runtime.stop({ drainMs: 0 });
  }
}

async function withEffects(
  what: string,
  servers: readonly string[],
  callers: number,
  env: BenchEnv,
): Promise<JetStreamRow> {
  const runtime = await createRuntime({
    actors: { order: orderWithEffects },
    store: jetstream({ servers, bucket: `bench-${++buckets}` }),
    logger: consoleLogger("error"),
  });
  try {
    const handles = Array.from({ length: callers }, (_, index) => runtime.actor("order", `o-${index}`));
    await Promise.all(handles.map((handle) => handle.create()));
    const event = async (caller: number) => {
      await (handles[caller] as (typeof handles)[number]).send({ type: "NEXT" });
    };
    await closedLoop(callers, 500, event);
    const loops: LoopFigures[] = [];
    for (let round = 0; round < env.rounds; round++) loops.push(await closedLoop(callers, env.roundMs, event));
    return { what, callers, figures: middle(loops) };
  } finally {
    await runtime.stop({ drainMs: 1_000 });
  }
}
