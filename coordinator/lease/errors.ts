/** What can be wrong with leases, one class per meaning, each with one thing to do. */

/** An option that makes no lease. */
export class LeaseInvalidOption extends Error {
  override readonly name = "LeaseInvalidOption";
  readonly code = "LeaseInvalidOption";
}

/** The back end is not the one whose tokens the actors carry: indexes of the two cannot be compared. */
export class LeaseBackendChanged extends Error {
  override readonly name = "LeaseBackendChanged";
  readonly code = "LeaseBackendChanged";
}

/** Nobody gave the lease in time: somebody else holds it, or the back end did not answer. Nothing is held. */
export class LeaseNotAcquired extends Error {
  override readonly name = "LeaseNotAcquired";
  readonly code = "LeaseNotAcquired";
}

/** The lease is lost: whatever is done under it must end (C9). */
export class LeaseLost extends Error {
  override readonly name = "LeaseLost";
  readonly code = "LeaseLost";
}
