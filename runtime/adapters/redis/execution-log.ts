/**
 * An execution log in a Redis Stream, which `XREVRANGE` shows to anybody: one entry per attempt. A hash beside it knows
 * which attempts the stream holds, so that a repeated append changes nothing; both are trimmed in the same step.
 */
import { type KeysOf, refuseUnknown } from "../../options.ts";
import type { Clock } from "../../ports/clock.ts";
import type { AppendOutcome, ExecutionLog, ExecutionRecord } from "../../ports/execution-log.ts";
import { type AskLimits, askLimits, askUntilKnown } from "../redis-link/asking.ts";
import { RedisInvalidOption, RedisRefused, RedisUnreachable } from "../redis-link/errors.ts";
import { type RedisLink, type RedisReply, redisScript } from "../redis-link/link.ts";

/** KEYS: stream, hash. ARGV: identity of the record, how many to keep, then names and values of the entry. */
export const appendScript = redisScript(`if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  return 'repeated'
end
while redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', '1')[1]
  redis.call('HDEL', KEYS[2], oldest[2][2])
  redis.call('XDEL', KEYS[1], oldest[1])
end
local id = redis.call('XADD', KEYS[1], '*', 'attempt', ARGV[1], 'outcome', ARGV[3], 'record', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], id)
return 'appended'`);

export const latestScript = redisScript("return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])");

export type RedisExecutionLogOptions = AskLimits & {
  /** Before every key. Default: "holdfast:executions:". */
  readonly prefix?: string;
  /** Of each job; older ones go. Default: 10,000. */
  readonly maxRecords?: number;
};

const logOptions: KeysOf<RedisExecutionLogOptions> = { ...askLimits, prefix: true, maxRecords: true };

export class RedisExecutionLog implements ExecutionLog {
  readonly #link: RedisLink;
  readonly #clock: Clock;
  readonly #options: RedisExecutionLogOptions;
  readonly #maxRecords: number;

  constructor(link: RedisLink, clock: Clock, options: RedisExecutionLogOptions = {}) {
    refuseUnknown("options of the execution log", options, logOptions, RedisInvalidOption);
    const { maxRecords = 10_000 } = options;
    if (!Number.isSafeInteger(maxRecords) || maxRecords < 1)
      throw new RedisInvalidOption(`\`maxRecords\` is ${maxRecords}; it must be a whole number from 1`);
    this.#link = link;
    this.#clock = clock;
    this.#options = options;
    this.#maxRecords = maxRecords;
  }

  async append(job: string, record: ExecutionRecord): Promise<AppendOutcome> {
    const identity = `${record.tickId}#${record.token.join(".")}#${record.attempt}`;
    const values = [identity, String(this.#maxRecords), record.outcome, JSON.stringify(record)];
    const outcome = await askUntilKnown(
      this.#link,
      this.#clock,
      appendScript,
      this.#keysOf(job),
      values,
      this.#options,
    );
    if (outcome.kind === "unknown") return outcome;
    return { kind: outcome.value === "repeated" ? "repeated" : "appended" };
  }

  async latest(job: string, count: number): Promise<readonly ExecutionRecord[]> {
    if (!Number.isSafeInteger(count) || count < 1)
      throw new RedisInvalidOption(`how many records to read is ${count}; it must be a whole number from 1`);
    const keys = this.#keysOf(job).slice(0, 1);
    const outcome = await askUntilKnown(this.#link, this.#clock, latestScript, keys, [String(count)], this.#options);
    if (outcome.kind === "unknown") throw new RedisUnreachable(`the log could not be read: ${outcome.cause}`);
    return (outcome.value as readonly RedisReply[]).map(readRecord);
  }

  /** In one slot of a cluster, by the braces. */
  #keysOf(job: string): readonly [stream: string, attempts: string] {
    if (typeof job !== "string" || job === "" || job.length > 1_000 || /[{}]/.test(job))
      throw new RedisInvalidOption("the name of a job must be a text of 1 to 1,000 characters without braces");
    const key = `${this.#options.prefix ?? "holdfast:executions:"}{${job}}`;
    return [key, `${key}:attempts`];
  }
}

function readRecord(entry: RedisReply): ExecutionRecord {
  const [id, fields] = entry as readonly [string, readonly string[]];
  const text = fields[fields.indexOf("record") + 1];
  try {
    return JSON.parse(text ?? "") as ExecutionRecord;
  } catch (error) {
    throw new RedisRefused(`the entry ${id} is no record of an execution`, { cause: error });
  }
}
