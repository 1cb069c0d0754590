/** A server's monitoring page: what a client cannot see of it. */
import type { MonitorFacts } from "./facts.ts";

const answerMs = 5_000;

type Varz = {
  readonly server_name?: string;
  readonly jetstream?: {
    readonly config?: {
      readonly sync_interval?: number;
      readonly sync_always?: boolean;
      readonly max_storage?: number;
    };
    readonly stats?: { readonly storage?: number };
    readonly limits?: { readonly default_max_consumers?: number };
  };
};
type Jsz = { readonly meta_cluster?: { readonly cluster_size?: number } };

/** Never rejects: what went wrong is one of the facts. */
export async function readMonitor(url: string): Promise<MonitorFacts> {
  const base = url.replace(/\/+$/, "");
  try {
    const varz = await page<Varz>(`${base}/varz`);
    const config = varz.jetstream?.config;
    if (varz.server_name === undefined) return { url, problem: "it answers, but not as a nats-server does" };
    if (config === undefined) return { url, problem: `JetStream is off on ${varz.server_name}` };
    const jsz = await page<Jsz>(`${base}/jsz`);
    return {
      url,
      server: varz.server_name,
      isSynced: config.sync_always === true,
      syncIntervalMs: (config.sync_interval ?? 0) / 1_000_000,
      clusterSize: jsz.meta_cluster?.cluster_size,
      defaultMaxConsumers: varz.jetstream?.limits?.default_max_consumers,
      usedBytes: varz.jetstream?.stats?.storage ?? 0,
      maxBytes: config.max_storage ?? -1,
    };
  } catch (error) {
    const { message, cause } = error as Error;
    return { url, problem: `cannot be read: ${cause instanceof Error ? cause.message : message}` };
  }
}

async function page<TPage>(url: string): Promise<TPage> {
  const response = await fetch(url, { signal: AbortSignal.timeout(answerMs) });
  if (!response.ok) throw new Error(`it answered ${response.status}`);
  return (await response.json()) as TPage;
}
