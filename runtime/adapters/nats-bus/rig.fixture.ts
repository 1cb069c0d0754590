/** For tests of the bus: nodes with connections of their own on one server, leases that the test hands out, a log that is kept. */
import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import type { LeaseChange, Leases } from "../../ports/leases.ts";
import type { LogFields, Logger } from "../../ports/logger.ts";
import type { Token } from "../../ports/store.ts";
import { connectNats, type NatsOptions } from "../nats/connection.ts";
import { Requests } from "../nats/requests.ts";
import { SystemClock } from "../system-clock.ts";
import type { NatsBusLimits } from "./limits.ts";
import { NatsBus } from "./nats-bus.ts";

export class HandedLeases implements Leases {
  readonly partitions: number;
  readonly #tokens = new Map<number, Token>();
  readonly #listeners = new Set<(change: LeaseChange) => void>();
  #index = 0;

  constructor(partitions = 4) {
    this.partitions = partitions;
  }

  token(partition: number): Token | undefined {
    return this.#tokens.get(partition);
  }

  onChange(listener: (change: LeaseChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  grant(...partitions: readonly number[]): void {
    for (const partition of partitions) {
      const token: Token = [1, ++this.#index];
      this.#tokens.set(partition, token);
      for (const listener of this.#listeners) listener({ kind: "granted", partition, token });
    }
  }

  lose(partition: number): void {
    this.lapse(partition);
    for (const listener of this.#listeners) listener({ kind: "lost", partition });
  }

  /** As in a process that was frozen: the time is over, and nobody has been told. */
  lapse(partition: number): void {
    this.#tokens.delete(partition);
  }

  async release(): Promise<void> {
    for (const partition of [...this.#tokens.keys()]) this.lose(partition);
  }
}

export type Line = { readonly level: string; readonly message: string; readonly fields: LogFields };

export function keptLogger(): { readonly logger: Logger; readonly lines: Line[] } {
  const lines: Line[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push({ level, message, fields });
  return { logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") }, lines };
}

export type RigNode = {
  readonly bus: NatsBus;
  readonly leases: HandedLeases;
  readonly connection: NatsConnection;
  readonly requests: Requests;
  readonly lines: readonly Line[];
  readonly logger: Logger;
};

export type NodeOptions = {
  readonly app?: string;
  readonly limits?: Partial<NatsBusLimits>;
  readonly options?: NatsOptions;
  /** Owns nothing ever, as a client. */
  readonly client?: boolean;
};

/** Opens nodes on one server, and closes them all. */
export class Rig {
  readonly clock = new SystemClock();
  readonly #url: () => string;
  readonly #closes: (() => Promise<void>)[] = [];

  constructor(url: () => string) {
    this.#url = url;
  }

  async node({ app = "shop", limits, options, client }: NodeOptions = {}): Promise<RigNode> {
    const open = await connectNats({ servers: this.#url(), ...options }, {});
    const { connection } = open;
    const requests = new Requests(connection, this.clock, createInbox(options?.inboxPrefix));
    const leases = new HandedLeases();
    const { logger, lines } = keptLogger();
    const bus = new NatsBus({
      requests,
      app,
      clock: this.clock,
      logger,
      ...(!client && { leases }),
      ...(limits && { limits }),
    });
    this.#closes.push(async () => {
      await bus.close();
      requests.stop();
      await open.close();
    });
    return { bus, leases, connection, requests, lines, logger };
  }

  async close(): Promise<void> {
    await Promise.all(this.#closes.splice(0).map((close) => close()));
  }
}
