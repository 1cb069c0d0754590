/** What can be wrong with leases, one class per meaning, each with one thing to do. */

import type { Claim } from "../../runtime/ports/fenced-register.ts";
import { HoldfastError } from "../../runtime/ports/holdfast-error.ts";

/** An option that makes no lease. */
export class LeaseInvalidOption extends HoldfastError {
  override readonly name = "LeaseInvalidOption";
  readonly code = "LeaseInvalidOption";
}

/** The back end is not the one whose tokens the actors carry: indexes of the two cannot be compared. */
export class LeaseBackendChanged extends HoldfastError {
  override readonly name = "LeaseBackendChanged";
  readonly code = "LeaseBackendChanged";
}

/** Nobody gave the lease in time: somebody else holds it, or the back end did not answer. Nothing is held. */
export class LeaseNotAcquired extends HoldfastError {
  override readonly name = "LeaseNotAcquired";
  readonly code = "LeaseNotAcquired";
}

/** There is no room for one more lease: have fewer, or give some back sooner. The cause of a LeaseNotAcquired. */
export class LeaseTableFull extends HoldfastError {
  override readonly name = "LeaseTableFull";
  readonly code = "LeaseTableFull";
}

/** The back end gave no session, so nothing can be held here: ask again, unless `isFinal`. */
export class SessionNotOpened extends HoldfastError {
  override readonly name = "SessionNotOpened";
  readonly code = "SessionNotOpened";
  /** It never will, as things stand: the message says what to do. */
  readonly isFinal: boolean;

  constructor(reason: string, isFinal = false) {
    super(`no session could be opened: ${reason}`);
    this.isFinal = isFinal;
  }
}

/** The lease is lost: whatever is done under it must end (C9). */
export class LeaseLost extends HoldfastError {
  override readonly name = "LeaseLost";
  readonly code = "LeaseLost";
}

/** FENCED: another acted with a higher token, or with the same one in other hands. Stop, and do not try again (C9). */
export class FencedError extends HoldfastError {
  override readonly name = "FencedError";
  readonly code = "Fenced";
  /** Who was here. */
  readonly newest: Claim;

  constructor(what: string, newest: Claim, options?: ErrorOptions) {
    super(`${what}: FENCED(${newest.token.join(".")}) by ${newest.holder}: stop acting`, options);
    this.newest = newest;
  }
}

/** No answer in time: it may be done, now or later. Do it again as it was, or do nothing more. */
export class FenceUnknown extends HoldfastError {
  override readonly name = "FenceUnknown";
  readonly code = "FenceUnknown";
}

/** Most members of the cluster have not been seen together: it has no name to record, and grants nothing. */
export class RaftNotFounded extends HoldfastError {
  override readonly name = "RaftNotFounded";
  readonly code = "RaftNotFounded";

  constructor(waitedMs: number) {
    super(
      `most members of the cluster did not come together within ${waitedMs} ms: start them, and look at their logs`,
    );
  }
}
