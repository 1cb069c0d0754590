/** `holdfast/coordinator`: leases with fencing tokens, for the runtime's partitions and for a service's own jobs. */
import type { KV } from "@nats-io/kv";
import { SystemClock } from "../runtime/adapters/system-clock.ts";
import type { FencedRegister } from "../runtime/ports/fenced-register.ts";
import { KvRegister } from "./guards/kv-register.ts";

export type { Claim, FencedRegister } from "../runtime/ports/fenced-register.ts";
export { LeaseTable, type LeaseTablePorts } from "./backends/kv/lease-table.ts";
export { LogInUse, LogNoFolder, LogReadOnly } from "./backends/raft/errors.ts";
export {
  type MemberAddress,
  memberName,
  PeersCannotListen,
  PeersInvalidOption,
  type PeerTls,
} from "./backends/raft/tcp-peers.ts";
export { type Fence, Guard } from "./guards/guard.ts";
export {
  fencedFetch,
  formatClaim,
  HttpGuard,
  type HttpGuardOptions,
  parseClaim,
  tokenHeader,
} from "./guards/http.ts";
export { MemoryFence } from "./guards/memory-fence.ts";
export { type SqlDialect, SqlGuard, type SqlGuardOptions, type SqlRun } from "./guards/sql.ts";
export { type JetStreamLeases, type JetStreamLeasesOptions, jetstreamLeases } from "./jetstream-leases.ts";
export { adoptBackend, attachBackend, type EpochPorts } from "./lease/epoch.ts";
export {
  FencedError,
  FenceUnknown,
  LeaseBackendChanged,
  LeaseInvalidOption,
  LeaseLost,
  LeaseNotAcquired,
  LeaseTableFull,
  RaftNotFounded,
  SessionNotOpened,
} from "./lease/errors.ts";
export { type AcquireOptions, type HeldLease, UserLeases, type UserLeasesOptions } from "./lease/user-leases.ts";
export {
  HardStateLost,
  LogFailed,
  LogIsDamaged,
  LogOfAnother,
  LogTooNew,
  LogTooOld,
  MemberForgot,
} from "./log/errors.ts";
export { assign, type Member } from "./placement/assign.ts";
export { leaseName, PartitionLeases, type PartitionLeasesOptions } from "./placement/partition-leases.ts";
export type {
  AcquireOutcome,
  Fencing,
  Holding,
  LeaseProvider,
  LeaseService,
  LeaseView,
  Session,
  SessionAttributes,
  SessionInfo,
} from "./ports/lease-service.ts";

/** A fenced register in a bucket of one's own. `timeoutMs`: until an outcome is told as unknown. Default: 5,000. */
export function kvRegister(kv: KV, options?: { readonly timeoutMs?: number }): FencedRegister {
  return new KvRegister(kv, new SystemClock(), options);
}
export { type RaftLeasesOptions, type RaftMember, type RaftOptions, raft, raftLeases } from "./raft-leases.ts";
