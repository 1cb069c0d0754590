/** `holdfast/coordinator`: leases with fencing tokens, for the runtime's partitions and for a service's own jobs. */
export { LeaseTable, type LeaseTablePorts } from "./backends/kv/lease-table.ts";
export { type JetStreamLeasesOptions, jetstreamLeases } from "./jetstream-leases.ts";
export { adoptBackend, attachBackend, type EpochPorts } from "./lease/epoch.ts";
export { LeaseBackendChanged, LeaseInvalidOption, LeaseLost, LeaseNotAcquired } from "./lease/errors.ts";
export { type AcquireOptions, type HeldLease, UserLeases, type UserLeasesOptions } from "./lease/user-leases.ts";
export { assign, type Member } from "./placement/assign.ts";
export { leaseName, PartitionLeases, type PartitionLeasesOptions } from "./placement/partition-leases.ts";
export type {
  AcquireOutcome,
  Fencing,
  Holding,
  LeaseService,
  LeaseView,
  Session,
  SessionAttributes,
  SessionInfo,
} from "./ports/lease-service.ts";
