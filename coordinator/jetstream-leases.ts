/** Leases for services that want only leases: a connection and a lease bucket, put together. */
import { consoleLogger } from "../runtime/adapters/console-logger.ts";
import { openInSteps } from "../runtime/adapters/in-steps.ts";
import { JetStreamStore } from "../runtime/adapters/jetstream/jetstream-store.ts";
import { type NatsOptions, natsOptions, natsTlsOptions } from "../runtime/adapters/nats/connection.ts";
import { openLink } from "../runtime/adapters/nats/link.ts";
import { defaultNodeName } from "../runtime/adapters/node-name.ts";
import { SystemClock } from "../runtime/adapters/system-clock.ts";
import { SystemRandom } from "../runtime/adapters/system-random.ts";
import { type KeysOf, unknownOptions } from "../runtime/options.ts";
import type { Logger } from "../runtime/ports/logger.ts";
import { LeaseTable, sessionPrefix } from "./backends/kv/lease-table.ts";
import { attachBackend } from "./lease/epoch.ts";
import { LeaseInvalidOption } from "./lease/errors.ts";
import { UserLeases } from "./lease/user-leases.ts";
import { leaseRequestTimeoutMs, ttlProblem } from "./lease/validity.ts";
import type { LeaseService } from "./ports/lease-service.ts";

export type JetStreamLeasesOptions = NatsOptions & {
  /** The bucket is `<bucket>-leases`, that of the runtime with the same `bucket`. Default: "actors". */
  readonly bucket?: string;
  /** Servers that hold each lease: 1, 3 or 5. Default: 1. */
  readonly replicas?: number;
  /** How this process appears among the holders. Default: the host's name and the process number. */
  readonly node?: string;
  /** How soon others may take over from a process that fell silent, in milliseconds. Default: 3,000. */
  readonly ttlMs?: number;
  readonly logger?: Logger;
};

const jetStreamLeasesOptions: KeysOf<JetStreamLeasesOptions> = {
  ...natsOptions,
  bucket: true,
  replicas: true,
  node: true,
  ttlMs: true,
  logger: true,
};

export type JetStreamLeases = {
  readonly leases: UserLeases;
  readonly service: LeaseService<"kv-revision">;
  /** Gives all leases back and ends the connection. */
  close(): Promise<void>;
};

/** Rejects as connecting does, and with the errors of a bucket; nothing is left open then. */
export async function jetstreamLeases(options: JetStreamLeasesOptions = {}): Promise<JetStreamLeases> {
  const unknown = [
    ...unknownOptions(options, jetStreamLeasesOptions),
    ...unknownOptions(options?.tls, natsTlsOptions, "tls."),
  ];
  if (unknown.length > 0) throw new LeaseInvalidOption(`options of jetstreamLeases: ${unknown.join("; ")}`);
  const { bucket = "actors", replicas = 1, ttlMs = 3_000 } = options;
  const problem = ttlProblem(ttlMs);
  if (problem !== undefined) throw new LeaseInvalidOption(`\`ttlMs\`: ${problem}`);
  const clock = new SystemClock();
  const random = new SystemRandom();
  const logger = options.logger ?? consoleLogger("warn");
  return openInSteps(async (closing, close) => {
    const link = await openLink(options, clock);
    closing.push(() => link.close());
    const ports = { clock, random, logger };
    const bucketOptions = {
      bucket: `${bucket}-leases`,
      replicas,
      history: 1,
      fleeting: sessionPrefix,
      requestTimeoutMs: leaseRequestTimeoutMs(ttlMs),
    };
    const store = await JetStreamStore.open(link.requests, bucketOptions, ports);
    closing.push(() => store.close());
    const service = await LeaseTable.open({ ...ports, store });
    closing.push(() => service.close());
    // The epoch lives where what is fenced lives: here, in the lease bucket itself, for want of another.
    const epoch = () => attachBackend({ ...ports, store }, service.identity);
    const node = options.node ?? defaultNodeName();
    const leases = new UserLeases({ service, node, ttlMs, clock, logger, epoch, onClosed: close });
    return { leases, service, close: () => leases.close() };
  });
}
