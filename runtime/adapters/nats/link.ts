/** A connection to NATS and the requests over it, opened and closed as one. */
import type { Clock } from "../../ports/clock.ts";
import { connectNats, type NatsEnvironment, type NatsOptions } from "./connection.ts";
import { Requests } from "./requests.ts";

export type Link = {
  readonly requests: Requests;
  /** The subject that replies to requests begin with. */
  readonly inbox: string;
  close(): Promise<void>;
};

/** Rejects as `connectNats` does. */
export async function openLink(options: NatsOptions, clock: Clock, environment?: NatsEnvironment): Promise<Link> {
  const { connection, close } = await connectNats(options, environment);
  // Only now: whoever has no store on NATS need not have its packages.
  const { createInbox } = await import("@nats-io/transport-node");
  const inbox = createInbox(options.inboxPrefix);
  const requests = new Requests(connection, clock, inbox);
  return {
    requests,
    inbox,
    async close() {
      requests.stop();
      await close();
    },
  };
}
