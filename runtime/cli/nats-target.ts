/** Which NATS the command line speaks to, from options and environment, and a connection to it. */
import { Api } from "../adapters/jetstream/api.ts";
import type { NatsEnvironment, NatsOptions } from "../adapters/nats/connection.ts";
import { openLink } from "../adapters/nats/link.ts";
import type { Requests } from "../adapters/nats/requests.ts";
import type { Clock } from "../ports/clock.ts";
import { type OptionName, type OptionValues, UsageError } from "./command.ts";

export type NatsTarget = {
  /** As `connectNats` takes it; credentials come from the `NATS_…` environment. */
  readonly connection: NatsOptions;
  readonly bucket: string;
  /** The word in `holdfast.<app>.…`. */
  readonly app: string;
  readonly domain: string | undefined;
  readonly inboxPrefix: string | undefined;
};

export type NatsLink = {
  readonly target: NatsTarget;
  readonly requests: Requests;
  readonly api: Api;
  /** Under which answers arrive. */
  readonly inbox: string;
  close(): Promise<void>;
};

/** Options that name a place on NATS; one of them is enough to mean it. */
export const natsOptions = ["nats", "bucket", "app", "domain", "inbox-prefix"] as const satisfies readonly OptionName[];

/** How long the server may take for one answer. */
const answerMs = 5_000;

/** Throws UsageError. */
export function natsTarget(options: OptionValues): NatsTarget {
  const { bucket = "actors", app = bucket, domain, nats, "inbox-prefix": inboxPrefix } = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(bucket))
    throw new UsageError(`--bucket is ${JSON.stringify(bucket)}; it must be 1 to 64 letters, digits, "-" and "_"`);
  if (nats === "") throw new UsageError("--nats is empty; write it like nats://127.0.0.1:4222");
  if (domain !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(domain))
    throw new UsageError(`--domain is ${JSON.stringify(domain)}; it must be one word of a subject`);
  return {
    connection: {
      name: "holdfast command line",
      ...(nats !== undefined && { servers: nats.split(",") }),
      ...(inboxPrefix !== undefined && { inboxPrefix }),
    },
    bucket,
    app,
    domain,
    inboxPrefix,
  };
}

/** Rejects with `NatsUnreachable`, `NatsInvalidOption` or `NatsMissing`. */
export async function linkTo(target: NatsTarget, env: NatsEnvironment, clock: Clock): Promise<NatsLink> {
  const { requests, inbox, close } = await openLink(target.connection, clock, env);
  return { target, requests, inbox, api: new Api(requests, answerMs, target.domain), close };
}
