/**
 * `holdfast/simulations`: a deterministic world for the runtime and for users' machines, and checkers that judge what
 * happened in it. Start with `createWorld`; `createWorld({ seed })` twice is the same run twice.
 */
export { type ConvergenceHistory, checkConvergence, type Sight } from "./checkers/convergence.ts";
export {
  checkEffects,
  type EffectHistory,
  type PerformedEffect,
  type RecordedResult,
} from "./checkers/effects.ts";
export { checkExactlyOnce, type ExactlyOnceHistory, type SendAttempt } from "./checkers/exactly-once.ts";
export {
  type Call,
  checkLinearizability,
  linearize,
  type RegisterInput,
  type RegisterOutput,
  register,
  type SequentialModel,
  type Verdict,
} from "./checkers/linearizability.ts";
export { checkOrder, type OrderHistory } from "./checkers/order.ts";
export { checkParking, type Mishap, type ParkedActor, type ParkingHistory } from "./checkers/parking.ts";
export { checkReplies, type KeyedReply, type ReplyHistory } from "./checkers/replies.ts";
export { checkRevisions, type Operation, type RevisionHistory, type StoredRevision } from "./checkers/revisions.ts";
export { checkSchedule, type MissedSlots, type ScheduleHistory } from "./checkers/schedule.ts";
export { type BegunSpan, type CommittedStep, checkSpans, type SpanHistory, type StepCause } from "./checkers/spans.ts";
export { checkTimers, type TimerHistory } from "./checkers/timers.ts";
export { checkTokensAtResources, type FencedOperation } from "./checkers/tokens.ts";
export { checkTraces, type ExportedSpan, type TraceHistory } from "./checkers/traces.ts";
export type { Violation } from "./checkers/violation.ts";
export { schedules as redLockSchedules, tellRedLock } from "./classics/redlock.ts";
export { type Play, play as playRedLock, type Schedule, type Variant } from "./classics/redlock-play.ts";
export { tellScheduler } from "./classics/scheduler.ts";
export { type Fork, type ForkFault, type ForkOutcome, forkIncident } from "./incidents/fork.ts";
export { ConnectionModel, type ConnectionSettings, natsPlace } from "./models/jetstream/connection.ts";
export { NatsModel, type NatsSettings } from "./models/jetstream/index.ts";
export { ServerModel, type ServerSettings } from "./models/jetstream/server.ts";
export { redisLink } from "./models/redis/node-link.ts";
export {
  type Flushing,
  type ModelTime,
  type RedisFault,
  RedisModel,
  type RedisModelOptions,
  type RedisNetwork,
} from "./models/redis/redis-model.ts";
export type {
  CallStep,
  Cluster,
  End,
  EndState,
  FencedService,
  Hands,
  Invariants,
  Process,
  Service,
  ServiceCall,
  StateOf,
  StepResult,
  Workload,
} from "./run/cluster.ts";
export { fenced } from "./run/cluster.ts";
export { drawDiagram } from "./run/diagram.ts";
export { type Explored, type ExploreOptions, explore, type Failure } from "./run/explore.ts";
export { type Fault, type FaultArguments, type FaultKind, type FaultOf, tellFault } from "./run/fault.ts";
export type { Always, Moment } from "./run/moments.ts";
export type { Picture } from "./run/picture.ts";
export { tellCoverage, tellFailure, tellMeasured, tellTotals } from "./run/report.ts";
export { inPlainWords } from "./run/rules.ts";
export { checkScenario, readScenario, type Scenario, writeScenario } from "./run/scenario.ts";
export { type SimulateOptions, SimulationError, seedsIn, simulate, suiteOf } from "./run/simulate.ts";
export type { Looking, Plan, Ran, Step, Suite } from "./run/suite.ts";
export { faultFamilies, type SwarmOptions, swarm } from "./run/swarm.ts";
export { suiteNamed, suites } from "./suites/index.ts";
export { type Tale, tales } from "./suites/tales.ts";
export type { BusModel, BusSettings, PublishFault, RequestFault } from "./world/bus-model.ts";
export type { Dice, RangeMs } from "./world/dice.ts";
export type { DiskFault, DiskModel } from "./world/disk-model.ts";
export type { Drawn, DrawnAt } from "./world/drawing.ts";
export type { FaultCall, FaultPlan, FaultRates } from "./world/fault-plan.ts";
export {
  type Application,
  type ApplicationOutcome,
  FencedRecorder,
  type RecordedApplication,
  type RecorderOptions,
} from "./world/fenced-recorder.ts";
export type { GateState } from "./world/gate.ts";
export type { Grant, LeaseModel, LeaseSettings, MoveOptions } from "./world/lease-model.ts";
export type { LinkQuality, Links, Passage } from "./world/links.ts";
export { type RunEnd, type RunOptions, WorldError } from "./world/loop.ts";
export type { AtOptions, Boot, CrashOptions, LogLine, NodePorts, SimulatedNode } from "./world/node.ts";
export type { NodeClock } from "./world/node-clock.ts";
export type { PeersModel, PeersSettings } from "./world/peers-model.ts";
export type { Point, PointSelector } from "./world/points.ts";
export type { RegisterModel, RegisterOperation, RegisterRequest } from "./world/register-model.ts";
export {
  type ServiceFault,
  type ServiceModel,
  type ServiceSettings,
  ServiceTimeoutError,
} from "./world/service-model.ts";
export type { AppliedChange, StoreData } from "./world/store-data.ts";
export type { ReadFault, StoreFaultRates, StoreFaults, WatchFault, WriteFault } from "./world/store-faults.ts";
export { type StoreDelays, type StoreModel, type StoreSettings, StoreUnreachableError } from "./world/store-model.ts";
export type { RecordedSpan, TelemetryModel } from "./world/telemetry-model.ts";
export type { Trace } from "./world/trace.ts";
export { createWorld, type World, type WorldSettings } from "./world/world.ts";
