/** Starts real servers, and compares the model with each. */
import { createInbox } from "@nats-io/transport-node";
import { connectNats } from "../../runtime/adapters/nats/connection.ts";
import {
  findNatsServers,
  howToGetOne,
  type NatsServer,
  startNatsCluster,
  startNatsServer,
} from "../../runtime/testing/nats-server.ts";
import { ModelParty, RealParty } from "./exchange.ts";
import { compareWithNats, type DifferentialResult } from "./nats.ts";

export type NatsRun = {
  readonly operations: number;
  readonly seed: string;
  /** Of the server; without one, all that are at hand. */
  readonly version: string | undefined;
  readonly servers: number;
};

export type NatsRunResult = DifferentialResult & { readonly version: string; readonly seconds: number };

export async function runNats({ operations, seed, version, servers }: NatsRun): Promise<readonly NatsRunResult[]> {
  const binaries = findNatsServers().filter((binary) => version === undefined || binary.version === version);
  if (binaries.length === 0)
    throw new Error(version === undefined ? howToGetOne : `there is no nats-server ${version}`);
  const results: NatsRunResult[] = [];
  for (const binary of binaries) {
    const deployment =
      servers === 1
        ? await single(await startNatsServer({ binary }))
        : await cluster(await startNatsCluster(servers, { binary }));
    const link = await connectNats({ servers: deployment.urls }, {});
    try {
      const level = (link.connection.info as { api_lvl?: number } | undefined)?.api_lvl ?? 0;
      const real = new RealParty(link.connection, createInbox(), deployment);
      const model = new ModelParty({ version: binary.version, servers }, seed);
      const began = performance.now();
      const result = await compareWithNats(real, model, {
        operations,
        seed,
        abilities: { level, servers },
        slowEvery: servers === 1 ? 25 : Number.POSITIVE_INFINITY,
        maxDisagreements: 10,
      });
      results.push({ ...result, version: binary.version, seconds: (performance.now() - began) / 1_000 });
    } finally {
      await link.close();
      await deployment.stop();
    }
  }
  return results;
}

async function single(server: NatsServer) {
  const restart = async () => {
    await server.restart();
    // The connection is made anew by itself; until then a question would be held back, which does no harm.
    await new Promise((resolve) => setTimeout(resolve, 600));
  };
  return { urls: [server.url], restart, copies: async () => [], stop: () => server.stop() };
}

async function cluster({ servers, urls, stop }: Awaited<ReturnType<typeof startNatsCluster>>) {
  const copies = (stream: string) => Promise.all(servers.map((server) => copyOf(server, stream)));
  return { urls, restart: async () => {}, copies, stop };
}

type Jsz = {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly state: Readonly<Record<string, unknown>> }[];
  }[];
};

/** As the server itself counts, whoever leads. */
async function copyOf({ monitorPort }: NatsServer, stream: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${monitorPort}/jsz?streams=true`);
  const { account_details: accounts = [] } = (await response.json()) as Jsz;
  const found = accounts.flatMap(({ stream_detail: streams = [] }) => streams).find(({ name }) => name === stream);
  const { messages, bytes, first_seq, last_seq, num_deleted } = found?.state ?? {};
  return JSON.stringify([messages, bytes, first_seq, last_seq, num_deleted]);
}
