/**
 * `holdfast/redis`: what Redis is good for beside durable actors. A fenced register and an execution log, that jobs write
 * through; locks for those who come from RedLock, which cannot be fenced and say so. Needs `ioredis`.
 */
export type { AskLimits } from "../redis-link/asking.ts";
export { openRedis, type RedisConnection, type RedisServerAddress } from "../redis-link/connection.ts";
export { RedisInvalidOption, RedisMissing, RedisRefused, RedisUnreachable } from "../redis-link/errors.ts";
export type { RedisLink, RedisOutcome, RedisReply, RedisScript } from "../redis-link/link.ts";
export { RedisExecutionLog, type RedisExecutionLogOptions } from "./execution-log.ts";
export { fencedScript, RedisRegister, type RedisRegisterOptions } from "./register.ts";
