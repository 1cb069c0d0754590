/** The public API: `holdfast`. */

export type { Job, RunOutcome } from "../coordinator/schedule/job.ts";
export type { Misfire, Moment, Overlap, Schedule, ScheduleOptions } from "../coordinator/schedule/schedule.ts";
export { consoleLogger, type LogLevel } from "./adapters/console-logger.ts";
export { type MemoryStoreOptions, memory } from "./adapters/memory/index.ts";
export { Address, address } from "./address.ts";
export {
  ActorHandle,
  type ActorState,
  type HistoryEntry,
  type SendOptions,
  type SendResult,
  type WaitCondition,
} from "./client.ts";
export { type Client, type ConnectOptions, connect } from "./connect.ts";
export {
  type ActorDefinition,
  type ActorOptions,
  defineActor,
  type MigratedState,
  type StoredState,
} from "./definition.ts";
export type { Cause, DeadLetter, Document, DocumentStatus } from "./document.ts";
export type { Duration } from "./duration.ts";
export * from "./errors.ts";
export { EffectInterruptedError, EffectTimeoutError } from "./host/effects.ts";
export type { ParkedRecord, ParkReason } from "./host/parking.ts";
export type { HostSettings } from "./host/settings.ts";
export { defaultLimits, type Limits } from "./limits.ts";
export { mermaidOf } from "./machine/graph.ts";
export { type EffectInfo, effectOf } from "./machine/live.ts";
export type { EffectPolicy, RetryPolicy } from "./policy.ts";
export type { Bus, BusChannel, BusReply, BusRequest } from "./ports/bus.ts";
export type { Cancel, Clock } from "./ports/clock.ts";
export type { LeaseChange, LeaseStatus, Leases } from "./ports/leases.ts";
export type { LogFields, Logger } from "./ports/logger.ts";
export type { Random } from "./ports/random.ts";
export type { ActorStore, StoredEntry, StoreInfo, StoreWrite, Token, WriteOutcome } from "./ports/store.ts";
export type { OpenClient, OpenStore, StoreProvider } from "./ports/store-provider.ts";
export {
  type ActorSummary,
  type ActorTypes,
  createRuntime,
  type Health,
  type ListOptions,
  type Runtime,
  type RuntimeInfo,
  type RuntimeOptions,
} from "./runtime.ts";
export { JobHandle, type JobHandler, type JobOptions, type TickInfo } from "./schedules.ts";
