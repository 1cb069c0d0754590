/**
 * `holdfast/redis`: what Redis is good for beside durable actors. A fenced register and an execution log, that jobs write
 * through; locks for those who come from RedLock, which cannot be fenced and say so. Needs `ioredis`.
 */
import { RedLock, type RedLockOptions } from "../../../coordinator/backends/redis/redlock.ts";
import type { UnfencedLocks } from "../../../coordinator/ports/unfenced-locks.ts";
import type { ExecutionLog } from "../../ports/execution-log.ts";
import { openRedis, type RedisServerAddress } from "../redis-link/connection.ts";
import { SystemClock } from "../system-clock.ts";
import { SystemRandom } from "../system-random.ts";
import { RedisExecutionLog, type RedisExecutionLogOptions } from "./execution-log.ts";
import { RedisRegister, type RedisRegisterOptions } from "./register.ts";

export { RedLock, type RedLockOptions, type RedLockPorts } from "../../../coordinator/backends/redis/redlock.ts";
export type {
  LockOptions,
  LockOutcome,
  UnfencedLock,
  UnfencedLocks,
} from "../../../coordinator/ports/unfenced-locks.ts";
export type { AppendOutcome, ExecutionLog, ExecutionRecord } from "../../ports/execution-log.ts";
export type {
  Claim,
  Fenced,
  FencedRegister,
  InstallOutcome,
  OutcomeUnknown,
  RegisterOutcome,
  RegisterState,
  RegisterWrite,
} from "../../ports/fenced-register.ts";
export type { AskLimits } from "../redis-link/asking.ts";
export type { RedisServerAddress } from "../redis-link/connection.ts";
export { RedisInvalidOption, RedisMissing, RedisRefused, RedisUnreachable } from "../redis-link/errors.ts";
export type { RedisLink, RedisOutcome, RedisReply, RedisScript } from "../redis-link/link.ts";
export { RedisExecutionLog, type RedisExecutionLogOptions } from "./execution-log.ts";
export { fencedScript, RedisRegister, type RedisRegisterOptions } from "./register.ts";

/** One server, for jobs to write through. Rejects with RedisMissing, RedisUnreachable or RedisInvalidOption. */
export async function connectRedis(server: RedisServerAddress): Promise<{
  register(options?: RedisRegisterOptions): RedisRegister;
  executionLog(options?: RedisExecutionLogOptions): ExecutionLog;
  close(): Promise<void>;
}> {
  const clock = new SystemClock();
  const connection = await openRedis(server, clock);
  try {
    await connection.ready();
  } catch (error) {
    await connection.close();
    throw error;
  }
  return {
    register: (options) => new RedisRegister(connection, clock, options),
    executionLog: (options) => new RedisExecutionLog(connection, clock, options),
    close: () => connection.close(),
  };
}

/**
 * Locks over these servers, which are independent of each other; one is enough for a lock of a single Redis. A server that
 * cannot be reached is tried again for as long as it takes.
 */
export async function connectRedLock(
  servers: readonly RedisServerAddress[],
  options?: RedLockOptions,
): Promise<UnfencedLocks & { close(): Promise<void> }> {
  const clock = new SystemClock();
  const connections = await Promise.all(servers.map((server) => openRedis(server, clock)));
  const locks = new RedLock(connections, { clock, random: new SystemRandom() }, options);
  // Those that are there may be used at once; for the others nobody waits.
  await Promise.allSettled(connections.map((connection) => connection.ready()));
  const close = async () => {
    await Promise.all(connections.map((connection) => connection.close()));
  };
  return Object.assign(locks, { close });
}
