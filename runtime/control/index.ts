/** Lets the command line talk to a running host: the server of its socket, with all verbs. */
import type { Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import { type HostVerbsOptions, hostVerbs } from "./host-verbs.ts";
import { ControlServer } from "./server.ts";
import { perform } from "./verbs.ts";

export type ControlOptions = HostVerbsOptions & { readonly clock: Clock; readonly logger: Logger };

/** Never rejects: a host runs without a command line rather than not at all, and says why in its log. */
export async function startControl(options: ControlOptions): Promise<ControlServer | undefined> {
  const { directory, clock, logger } = options;
  if (process.platform === "win32") {
    logger.info("the command line cannot reach a host on this system: it has no sockets with owners");
    return undefined;
  }
  try {
    const verbs = hostVerbs(options);
    return await ControlServer.start({
      directory,
      answer: (verb, args) => perform(verbs, verb, args),
      clock,
      logger,
    });
  } catch (error) {
    logger.warn(`the command line cannot reach this host: ${(error as Error).message}`, { error });
    return undefined;
  }
}
