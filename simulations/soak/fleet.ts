/** What the soak does to processes and servers: each trouble begins, lasts a while, and is over when its promise resolves. */
import { type ChildProcess, fork } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type NatsProxy, startNatsProxy } from "../../runtime/testing/nats-proxy.ts";
import { type NatsCluster, startNatsCluster } from "../../runtime/testing/nats-server.ts";

export const troubleKinds = [
  "kill host",
  "freeze host",
  "restart host",
  "kill server",
  "cut connections",
  "hang connections",
] as const;
export type TroubleKind = (typeof troubleKinds)[number] | "cut off host";

export type FleetOptions = {
  readonly hosts: number;
  /** Where the hosts' logs go. */
  readonly folder: string;
  readonly program: URL;
  /** What a host is started with: the servers as it is to reach them, its name, and which one it is. */
  readonly argumentsOf: (servers: readonly string[], name: string, host: number) => readonly string[];
  /** Told whatever a host sends after it has said that it hosts. */
  readonly onMessage?: (message: unknown, host: number) => void;
};

export class Fleet {
  readonly cluster: NatsCluster;
  /** Of each host, and after them of everybody else, the way to each server. */
  readonly #ways: readonly (readonly NatsProxy[])[];
  readonly #hosts: (ChildProcess | undefined)[] = [];
  readonly #options: FleetOptions;
  readonly #busy = new Set<string>();

  static async start(options: FleetOptions): Promise<Fleet> {
    const cluster = await startNatsCluster(3);
    const way = () => Promise.all(cluster.servers.map(({ port }) => startNatsProxy(port)));
    const ways = await Promise.all(Array.from({ length: options.hosts + 1 }, way));
    const fleet = new Fleet(cluster, ways, options);
    await Promise.all(Array.from({ length: options.hosts }, (_, host) => fleet.#startHost(host)));
    return fleet;
  }

  private constructor(cluster: NatsCluster, ways: readonly (readonly NatsProxy[])[], options: FleetOptions) {
    this.cluster = cluster;
    this.#ways = ways;
    this.#options = options;
  }

  /** The servers, for those who host nothing. */
  get urls(): string[] {
    return (this.#ways.at(-1) ?? []).map(({ url }) => url);
  }

  tell(host: number, message: object): void {
    this.#hosts[host]?.send(message);
  }

  /** One trouble at a time for each host, and never two for servers: a majority stands. False: it is busy there. */
  begin(kind: TroubleKind, where: number, forMs: number): Promise<void> | undefined {
    const place = kind.endsWith("host") ? `host ${where % this.#options.hosts}` : "servers";
    if (this.#busy.has(place)) return undefined;
    this.#busy.add(place);
    return this.#trouble(kind, where, forMs).finally(() => this.#busy.delete(place));
  }

  async #trouble(kind: TroubleKind, where: number, forMs: number): Promise<void> {
    const host = where % this.#options.hosts;
    const server = where % 3;
    switch (kind) {
      case "kill host":
        await this.#end(host, "SIGKILL");
        await sleep(Math.min(forMs, 3_000));
        return this.#startHost(host);
      case "freeze host":
        this.#hosts[host]?.kill("SIGSTOP");
        await sleep(forMs);
        this.#hosts[host]?.kill("SIGCONT");
        return;
      case "restart host":
        await this.#end(host, "SIGTERM");
        return this.#startHost(host);
      case "kill server":
        await this.cluster.servers[server]?.kill();
        await sleep(Math.min(forMs, 3_000));
        await this.cluster.servers[server]?.restart();
        // It has to catch up before another may go.
        return sleep(3_000);
      case "cut connections":
        for (const way of this.#ways) way[server]?.cut();
        return;
      case "hang connections":
        return hang(
          this.#ways.map((way) => way[server]),
          forMs,
        );
      case "cut off host":
        return hang(this.#ways[host] ?? [], forMs);
    }
  }

  /** As whatever watches over processes would: one that cannot start, since its servers do not answer, is started again. */
  async #startHost(host: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#startOnce(host);
      } catch (error) {
        if (attempt === 30) throw error;
        await sleep(500);
      }
    }
  }

  async #startOnce(host: number): Promise<void> {
    const { program, argumentsOf, folder, onMessage } = this.#options;
    const name = `host-${host + 1}`;
    const servers = (this.#ways[host] ?? []).map(({ url }) => url);
    const child = fork(program, argumentsOf(servers, name, host), { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    child.stderr?.pipe(createWriteStream(join(folder, `${name}.log`), { flags: "a" }));
    this.#hosts[host] = child;
    await new Promise<void>((resolve, reject) => {
      child.once("message", () => resolve());
      child.once("exit", (code, signal) => reject(new Error(`host ${host + 1} ended at its start: ${signal ?? code}`)));
    });
    if (onMessage !== undefined) child.on("message", (message) => onMessage(message, host));
  }

  async #end(host: number, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#hosts[host];
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    // A stop in good order is bounded by the host itself; this bound is for a host that is broken.
    const late = setTimeout(() => child.kill("SIGKILL"), 40_000);
    await gone;
    clearTimeout(late);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#hosts.map((_, host) => this.#end(host, "SIGKILL")));
    await Promise.all(this.#ways.flat().map((proxy) => proxy.stop()));
    await this.cluster.stop();
  }
}

async function hang(proxies: readonly (NatsProxy | undefined)[], forMs: number): Promise<void> {
  for (const proxy of proxies) proxy?.hang();
  await sleep(forMs);
  // Half-open connections do not come back: what hung is told at last.
  for (const proxy of proxies) {
    proxy?.cut();
    proxy?.heal();
  }
}
