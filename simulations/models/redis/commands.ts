/**
 * The commands that our code sends, and their near relations, as Redis 7 answers them. Judged against a real server by
 * `redis-model.test.ts` and the differential test; a command that is missing here is refused by name, as an unknown one.
 */
import type { Keyspace, StreamEntry, StreamId, Value } from "./keyspace.ts";

/** As it goes over the wire; `{ ok }` is a status. */
export type Reply = string | number | null | { readonly ok: string } | readonly Reply[];

/** An error reply: the message begins with its code. */
export class RedisError extends Error {
  override readonly name = "RedisError";

  constructor(message: string) {
    // It is one line on the wire.
    super(message.replace(/[\r\n]+$/, "").replace(/[\r\n]/g, " "));
  }
}

export type CommandContext = {
  readonly keyspace: Keyspace;
  /** By the server's wall clock; stands still while a script runs. */
  readonly nowMs: number;
};

export type Command = {
  readonly writes: boolean;
  /** Arguments beside the name: at least, at most. */
  readonly arity: readonly [number, number];
  readonly run: (values: readonly string[], context: CommandContext) => Reply;
};

const ok = { ok: "OK" } as const;
const many = Number.POSITIVE_INFINITY;
const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";
const syntax = "ERR syntax error";

export const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["PING", { writes: false, arity: [0, 1], run: ([text]) => text ?? { ok: "PONG" } }],
  [
    "TIME",
    {
      writes: false,
      arity: [0, 0],
      run: (_, { nowMs }) => [String(Math.floor(nowMs / 1000)), String((Math.floor(nowMs) % 1000) * 1000)],
    },
  ],
  ["DBSIZE", { writes: false, arity: [0, 0], run: (_, { keyspace, nowMs }) => keyspace.keys(nowMs).length }],
  ["FLUSHALL", { writes: true, arity: [0, 1], run: flushAll }],
  ["GET", { writes: false, arity: [1, 1], run: ([key], context) => textOf(key!, context) ?? null }],
  ["SET", { writes: true, arity: [2, many], run: set }],
  ["DEL", { writes: true, arity: [1, many], run: del }],
  [
    "EXISTS",
    { writes: false, arity: [1, many], run: (keys, context) => keys.filter((key) => held(key, context)).length },
  ],
  [
    "TYPE",
    { writes: false, arity: [1, 1], run: ([key], context) => ({ ok: held(key!, context)?.value.type ?? "none" }) },
  ],
  ["INCR", { writes: true, arity: [1, 1], run: ([key], context) => increase(key!, "1", context) }],
  ["INCRBY", { writes: true, arity: [2, 2], run: ([key, by], context) => increase(key!, by!, context) }],
  ["PTTL", { writes: false, arity: [1, 1], run: ([key], context) => restMs(key!, context) }],
  [
    "TTL",
    {
      writes: false,
      arity: [1, 1],
      run: ([key], context) => {
        const rest = restMs(key!, context);
        return rest < 0 ? rest : Math.floor((rest + 500) / 1000);
      },
    },
  ],
  ["PEXPIRE", { writes: true, arity: [2, many], run: expireIn(1) }],
  ["EXPIRE", { writes: true, arity: [2, many], run: expireIn(1000) }],
  ["PEXPIREAT", { writes: true, arity: [2, many], run: expireIn(1, true) }],
  ["PERSIST", { writes: true, arity: [1, 1], run: persist }],
  ["HSET", { writes: true, arity: [3, many], run: hset }],
  ["HGET", { writes: false, arity: [2, 2], run: ([key, field], context) => hash(key!, context).get(field!) ?? null }],
  [
    "HMGET",
    {
      writes: false,
      arity: [2, many],
      run: ([key, ...fields], context) => fields.map((field) => hash(key!, context).get(field) ?? null),
    },
  ],
  ["HGETALL", { writes: false, arity: [1, 1], run: ([key], context) => [...hash(key!, context)].flat() }],
  [
    "HEXISTS",
    { writes: false, arity: [2, 2], run: ([key, field], context) => Number(hash(key!, context).has(field!)) },
  ],
  ["HLEN", { writes: false, arity: [1, 1], run: ([key], context) => hash(key!, context).size }],
  ["HDEL", { writes: true, arity: [2, many], run: hdel }],
  ["XADD", { writes: true, arity: [4, many], run: xadd }],
  ["XLEN", { writes: false, arity: [1, 1], run: ([key], context) => stream(key!, context)?.entries.length ?? 0 }],
  [
    "XRANGE",
    {
      writes: false,
      arity: [3, many],
      run: ([key, from, to, ...rest], context) => range(key!, from!, to!, rest, false, context),
    },
  ],
  [
    "XREVRANGE",
    {
      writes: false,
      arity: [3, many],
      run: ([key, to, from, ...rest], context) => range(key!, from!, to!, rest, true, context),
    },
  ],
  ["XDEL", { writes: true, arity: [2, many], run: xdel }],
]);

function flushAll([option = "SYNC"]: readonly string[], { keyspace }: CommandContext): Reply {
  if (!["SYNC", "ASYNC"].includes(option.toUpperCase())) throw new RedisError(syntax);
  for (const { key } of keyspace.contents()) keyspace.delete(key);
  return ok;
}

function held(key: string, { keyspace, nowMs }: CommandContext) {
  return keyspace.get(key, nowMs);
}

function typedValue<Type extends Value["type"]>(
  key: string,
  type: Type,
  context: CommandContext,
): Extract<Value, { type: Type }> | undefined {
  const value = held(key, context)?.value;
  if (value !== undefined && value.type !== type) throw new RedisError(wrongType);
  return value as Extract<Value, { type: Type }> | undefined;
}

const textOf = (key: string, context: CommandContext) => typedValue(key, "string", context)?.text;
const hash = (key: string, context: CommandContext) =>
  typedValue(key, "hash", context)?.fields ?? new Map<string, string>();
const stream = (key: string, context: CommandContext) => typedValue(key, "stream", context);

function whole(text: string): number {
  const number = Number(text);
  if (!/^-?(0|[1-9]\d*)$/.test(text) || text === "-0" || !Number.isSafeInteger(number))
    throw new RedisError("ERR value is not an integer or out of range");
  return number;
}

/** Writes what stands there anew, with the end that it had. */
function replace(key: string, value: Value, context: CommandContext): void {
  context.keyspace.set(key, value, held(key, context)?.expiresMs);
}

function set([key, text, ...options]: readonly string[], context: CommandContext): Reply {
  const { keyspace, nowMs } = context;
  let condition: string | undefined;
  let answersOld = false;
  let keepsEnd = false;
  let end: { readonly unit: string; readonly amount: string } | undefined;
  for (let at = 0; at < options.length; at++) {
    const option = options[at]?.toUpperCase() as string;
    const next = options[at + 1];
    if (option === "NX" || option === "XX") {
      if (condition !== undefined && condition !== option) throw new RedisError(syntax);
      condition = option;
    } else if (option === "GET") answersOld = true;
    else if (option === "KEEPTTL" && end === undefined) keepsEnd = true;
    else if (endUnits.includes(option) && next !== undefined && !keepsEnd && (end?.unit ?? option) === option) {
      end = { unit: option, amount: next };
      at++;
    } else throw new RedisError(syntax);
  }
  // Only when all options are understood is the time looked at.
  const expiresMs = end === undefined ? undefined : endOf(end.unit, end.amount, nowMs);
  const before = held(key!, context);
  const old = answersOld ? (textOf(key!, context) ?? null) : undefined;
  if ((condition === "NX" && before !== undefined) || (condition === "XX" && before === undefined)) return old ?? null;
  keyspace.set(key!, { type: "string", text: text! }, keepsEnd ? before?.expiresMs : expiresMs);
  return old === undefined ? ok : old;
}

const endUnits = ["PX", "EX", "PXAT", "EXAT"];

function endOf(unit: string, text: string, nowMs: number): number {
  const amount = whole(text) * (unit.startsWith("E") ? 1000 : 1);
  if (amount <= 0) throw new RedisError("ERR invalid expire time in 'set' command");
  return unit.endsWith("AT") ? amount : nowMs + amount;
}

function del(keys: readonly string[], context: CommandContext): Reply {
  let count = 0;
  for (const key of keys) {
    if (held(key, context) !== undefined) count++;
    context.keyspace.delete(key);
  }
  return count;
}

/** Numbers of 64 bits; in the reply as near as a number here can come, as clients do. */
function increase(key: string, by: string, context: CommandContext): Reply {
  const amount = long(by);
  const next = long(textOf(key, context) ?? "0") + amount;
  if (!isLong(next)) throw new RedisError("ERR increment or decrement would overflow");
  replace(key, { type: "string", text: String(next) }, context);
  return Number(next);
}

function long(text: string): bigint {
  const value = /^(0|-?[1-9]\d*)$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || !isLong(value)) throw new RedisError("ERR value is not an integer or out of range");
  return value;
}

function isLong(value: bigint): boolean {
  return value === BigInt.asIntN(64, value);
}

function restMs(key: string, context: CommandContext): number {
  const found = held(key, context);
  if (found === undefined) return -2;
  return found.expiresMs === undefined ? -1 : Math.max(0, found.expiresMs - context.nowMs);
}

function expireIn(unitMs: number, isMoment = false): Command["run"] {
  return ([key, amount, option], context) => {
    if (option !== undefined) throw new RedisError(`ERR Unsupported option ${option}`);
    const ms = whole(amount!) * unitMs;
    return expire(key!, isMoment ? ms : context.nowMs + ms, context);
  };
}

function expire(key: string, expiresMs: number, context: CommandContext): Reply {
  const found = held(key, context);
  if (found === undefined) return 0;
  if (expiresMs <= context.nowMs) context.keyspace.delete(key);
  else context.keyspace.set(key, found.value, expiresMs);
  return 1;
}

function persist([key]: readonly string[], context: CommandContext): Reply {
  const found = held(key!, context);
  if (found?.expiresMs === undefined) return 0;
  context.keyspace.set(key!, found.value, undefined);
  return 1;
}

function hset([key, ...pairs]: readonly string[], context: CommandContext): Reply {
  if (pairs.length % 2 !== 0) throw wrongArity("hset");
  const before = hash(key!, context);
  const fields = new Map(before);
  for (let at = 0; at < pairs.length; at += 2) fields.set(pairs[at]!, pairs[at + 1]!);
  replace(key!, { type: "hash", fields }, context);
  return fields.size - before.size;
}

function hdel([key, ...names]: readonly string[], context: CommandContext): Reply {
  const before = hash(key!, context);
  const fields = new Map(before);
  for (const name of names) fields.delete(name);
  if (fields.size === 0) context.keyspace.delete(key!);
  else if (fields.size < before.size) replace(key!, { type: "hash", fields }, context);
  return before.size - fields.size;
}

export function wrongArity(name: string): RedisError {
  return new RedisError(`ERR wrong number of arguments for '${name.toLowerCase()}' command`);
}

// ---- streams ----

function xadd([key, ...rest]: readonly string[], context: CommandContext): Reply {
  let maxLength: number | undefined;
  let at = 0;
  if (rest[0]?.toUpperCase() === "MAXLEN") {
    at = rest[1] === "=" ? 3 : 2;
    if (rest[1] === "~")
      throw new RedisError("ERR MAXLEN ~ is beyond this model: how much it keeps is the server's choice");
    maxLength = whole(rest[at - 1] ?? "");
    if (maxLength < 0) throw new RedisError("ERR The MAXLEN argument must be >= 0.");
  }
  const [wanted, ...fields] = rest.slice(at) as [string, ...string[]];
  const asked = wanted === "*" ? undefined : parseId(wanted, 0, true);
  if (fields.length === 0 || fields.length % 2 !== 0) throw wrongArity("xadd");
  if (asked !== undefined && asked[0] === 0 && asked[1] === 0)
    throw new RedisError("ERR The ID specified in XADD must be greater than 0-0");
  const before = stream(key!, context);
  const last = before?.last ?? [0, 0];
  const id = nextId(asked, last, context.nowMs);
  if (compareIds(id, last) <= 0)
    throw new RedisError("ERR The ID specified in XADD is equal or smaller than the target stream top item");
  const entries = [...(before?.entries ?? []), { id, fields }];
  const kept = maxLength === undefined ? entries : entries.slice(Math.max(0, entries.length - maxLength));
  replace(key!, { type: "stream", entries: kept, last: id }, context);
  return idText(id);
}

/** `asked` with a sequence of -1 leaves that to the server. */
function nextId(asked: StreamId | undefined, last: StreamId, nowMs: number): StreamId {
  if (asked === undefined) {
    const ms = Math.max(Math.floor(nowMs), last[0]);
    return [ms, ms === last[0] ? last[1] + 1 : 0];
  }
  if (asked[1] >= 0) return asked;
  return [asked[0], asked[0] === last[0] ? last[1] + 1 : 0];
}

function xdel([key, ...ids]: readonly string[], context: CommandContext): Reply {
  const before = stream(key!, context);
  if (before === undefined) return 0;
  const wanted = ids.map((id) => idText(parseId(id, 0, false)));
  const entries = before.entries.filter(({ id }) => !wanted.includes(idText(id)));
  if (entries.length < before.entries.length) replace(key!, { ...before, entries }, context);
  return before.entries.length - entries.length;
}

function range(
  key: string,
  from: string,
  to: string,
  rest: readonly string[],
  isReversed: boolean,
  context: CommandContext,
): Reply {
  const [first, last] = [bound(from, 0, 1), bound(to, Number.MAX_SAFE_INTEGER, -1)];
  let count = Number.POSITIVE_INFINITY;
  for (let at = 0; at < rest.length; at += 2) {
    const amount = rest[at + 1];
    if (rest[at]?.toUpperCase() !== "COUNT" || amount === undefined) throw new RedisError(syntax);
    count = Math.max(0, whole(amount));
  }
  const found = stream(key, context);
  if (found === undefined) return [];
  if (count === 0) return null;
  const within = found.entries.filter(({ id }) => compareIds(id, first) >= 0 && compareIds(id, last) <= 0);
  if (isReversed) within.reverse();
  return within.slice(0, Math.min(count, within.length)).map(entryReply);
}

function entryReply({ id, fields }: StreamEntry): Reply {
  return [idText(id), fields];
}

/** `step` is where an exclusive bound goes. */
function bound(text: string, missingSequence: number, step: 1 | -1): StreamId {
  if (text === "-") return [0, 0];
  if (text === "+") return [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  if (!text.startsWith("(")) return parseId(text, missingSequence, false);
  const [ms, sequence] = parseId(text.slice(1), missingSequence, false);
  if (step === 1) return [ms, sequence + 1];
  if (ms === 0 && sequence === 0) throw new RedisError("ERR invalid end ID for the interval");
  return sequence === 0 ? [ms - 1, Number.MAX_SAFE_INTEGER] : [ms, sequence - 1];
}

function parseId(text: string, missingSequence: number, mayLeaveSequence: boolean): StreamId {
  const [, ms, sequence] = /^(\d+)(?:-(\d+|\*))?$/.exec(text) ?? [];
  if (ms === undefined || (sequence === "*" && !mayLeaveSequence))
    throw new RedisError("ERR Invalid stream ID specified as stream command argument");
  if (sequence === "*") return [Number(ms), -1];
  return [Number(ms), sequence === undefined ? missingSequence : Number(sequence)];
}

function compareIds(a: StreamId, b: StreamId): number {
  return a[0] - b[0] || a[1] - b[1];
}

function idText([ms, sequence]: StreamId): string {
  return `${ms}-${sequence}`;
}
