/**
 * Random commands and scripts for the comparison with a real redis-server: few keys, so that they meet; all types, so that
 * they clash; the scripts that we ship, and scripts that nobody would write.
 */
import { extendScript, releaseScript } from "../../coordinator/backends/redis/redlock.ts";
import { appendScript, latestScript } from "../../runtime/adapters/redis/execution-log.ts";
import { fencedScript, installScript, readScript, writeScript } from "../../runtime/adapters/redis/register.ts";
import { digestOf } from "../../runtime/adapters/redis-link/link.ts";
import type { Dice } from "../world/dice.ts";

export type Operation =
  | { readonly kind: "command"; readonly command: readonly string[] }
  /** The key gets a millisecond to live, and everybody waits until it is over. */
  | { readonly kind: "expire"; readonly key: string }
  | { readonly kind: "save" }
  | { readonly kind: "restart" };

const keys = ["a", "b", "c", "d", "e"];
const fields = ["f", "g", "h", "effect", "epoch"];
const texts = ["", "1", "-3", "10", "9007199254740990", "1.5", "x", "ä€", "two words", "0x10", "\r\n"];
const counts = ["0", "1", "2", "-1", "x", "1.5", "01"];
/** So long that nothing of it ends while the comparison runs. */
const farMs = ["1000000000", "2000000000"];
const ids = ["*", "0-0", "1-1", "5-*", "5-2", "7", "3-x", "99999999999999-1"];
const bounds = ["-", "+", "0", "5", "5-1", "(5-1", "(0-0", "x"];
const tokens = ["1", "2", "3", "9007199254740991"];

const shipped = [
  { script: installScript, keys: 1, values: () => 0 },
  { script: writeScript, keys: 1, values: () => 2 },
  { script: readScript, keys: 1, values: () => 0 },
  { script: releaseScript, keys: 1, values: () => 1 },
  { script: latestScript, keys: 1, values: () => 0 },
  { script: fencedScript("return redis.call('INCRBY', KEYS[2], ARGV[4])"), keys: 2, values: () => 1 },
];

export function operationOf(dice: Dice): Operation {
  const roll = dice.next();
  if (roll < 0.004) return { kind: "save" };
  if (roll < 0.0044) return { kind: "restart" };
  if (roll < 0.03) return { kind: "expire", key: dice.pick(keys) };
  if (roll < 0.35) return { kind: "command", command: scriptOf(dice) };
  const command = commandOf(dice);
  // Now and then an argument too few or too many.
  const spoilt = dice.next();
  if (spoilt < 0.02 && command.length > 1) return { kind: "command", command: command.slice(0, -1) };
  if (spoilt < 0.04) return { kind: "command", command: [...command, dice.pick(texts)] };
  return { kind: "command", command };
}

function commandOf(dice: Dice): string[] {
  const key = dice.pick(keys);
  const field = dice.pick(fields);
  const text = dice.pick(texts);
  const commands: (() => string[])[] = [
    () => ["GET", key],
    () => ["SET", key, text, ...setOptions(dice)],
    () => ["DEL", key, dice.pick(keys)],
    () => ["DEL", key],
    () => ["EXISTS", key, dice.pick(keys)],
    () => ["TYPE", key],
    () => ["INCR", key],
    () => ["INCRBY", key, dice.pick([...counts, ...tokens])],
    () => ["PTTL", key],
    () => ["TTL", key],
    () => ["PEXPIRE", key, dice.pick([...farMs, "0", "-5", "x"])],
    () => ["EXPIRE", key, dice.pick(["1000000", "0", "x"])],
    () => ["PEXPIREAT", key, dice.pick(["1", "99999999999999"])],
    () => ["PERSIST", key],
    () => ["HSET", key, field, text, ...(dice.chance(0.3) ? [dice.pick(fields), dice.pick(texts)] : [])],
    () => ["HGET", key, field],
    () => ["HMGET", key, field, dice.pick(fields)],
    () => ["HGETALL", key],
    () => ["HEXISTS", key, field],
    () => ["HLEN", key],
    () => ["HDEL", key, field, dice.pick(fields)],
    () => [
      "XADD",
      key,
      ...(dice.chance(0.3) ? ["MAXLEN", ...(dice.chance(0.5) ? ["="] : []), dice.pick(counts)] : []),
      dice.pick(ids),
      field,
      text,
    ],
    () => ["XLEN", key],
    () => ["XRANGE", key, dice.pick(bounds), dice.pick(bounds), ...countOption(dice)],
    () => ["XREVRANGE", key, dice.pick(bounds), dice.pick(bounds), ...countOption(dice)],
    () => ["XDEL", key, dice.pick(ids), dice.pick(ids)],
    () => ["SCRIPT", "EXISTS", digestOf(writeScript.text), digestOf(String(dice.whole(0, 3)))],
    () => (dice.chance(0.1) ? ["SCRIPT", "FLUSH"] : ["SCRIPT", "LOAD", `return ${dice.whole(0, 3)}`]),
    () => (dice.chance(0.05) ? ["FLUSHALL"] : ["PING", text]),
    () => ["NOSUCH", key],
  ];
  return dice.pick(commands)();
}

function setOptions(dice: Dice): string[] {
  const options = ["NX", "XX", "GET", "KEEPTTL", "PX", "EX", "PXAT", "nx"];
  const chosen: string[] = [];
  while (dice.chance(0.35)) {
    const option = dice.pick(options);
    chosen.push(option);
    if (option === "PX" || option === "PXAT") chosen.push(dice.pick(["99999999999999", "0", "-1", "x"].slice(0, 4)));
    if (option === "EX") chosen.push(dice.pick(["1000000", "0", "x"]));
  }
  // A time to live of a hundred years overflows nothing; a moment in the past would end the key at once.
  return chosen;
}

function countOption(dice: Dice): string[] {
  return dice.chance(0.5) ? [] : ["COUNT", dice.pick(counts)];
}

function scriptOf(dice: Dice): string[] {
  if (dice.chance(0.4)) return ["EVAL", `return ${expressionOf(dice, 3)}`, "1", dice.pick(keys), dice.pick(texts)];
  if (dice.chance(0.2)) return ["EVAL", statementsOf(dice), "1", dice.pick(keys), dice.pick(texts)];
  return shippedOf(dice);
}

function shippedOf(dice: Dice): string[] {
  const call = (script: { readonly text: string; readonly digest: string }, names: string[], values: string[]) =>
    dice.chance(0.3)
      ? ["EVALSHA", script.digest, String(names.length), ...names, ...values]
      : ["EVAL", script.text, String(names.length), ...names, ...values];
  const key = dice.pick(keys);
  if (dice.chance(0.15)) return call(extendScript, [key], [dice.pick(texts), dice.pick(farMs)]);
  if (dice.chance(0.2))
    return call(
      appendScript,
      [key, dice.pick(keys)],
      [dice.pick(texts), dice.pick(["1", "2", "3"]), "done", dice.pick(texts)],
    );
  const { script, keys: count, values } = dice.pick(shipped);
  const claim =
    script === latestScript || script === releaseScript
      ? [dice.pick(texts)]
      : [dice.pick(tokens), dice.pick(tokens), dice.pick(["n1", "n2"])];
  const more = Array.from({ length: values() }, () => dice.pick(texts));
  return call(
    script,
    Array.from({ length: count }, (_, index) => (index === 0 ? key : dice.pick(keys))),
    [...claim, ...more],
  );
}

/** An expression of Lua, most of which make no sense: the model must refuse what Lua refuses. */
function expressionOf(dice: Dice, depth: number): string {
  if (depth === 0 || dice.chance(0.25))
    return dice.pick([
      "nil",
      "true",
      "false",
      "1",
      "3",
      "2.5",
      "-3",
      "'a'",
      "'10'",
      "' 7 '",
      "''",
      "{}",
      "{1, 'b'}",
      "KEYS[1]",
      "ARGV[1]",
      "ARGV[2]",
      "1e15",
      "0.1",
    ]);
  const inner = () => expressionOf(dice, depth - 1);
  const forms: (() => string)[] = [
    () => `(${inner()} ${dice.pick(["+", "-", "*", "/", "%"])} ${inner()})`,
    () => `(${inner()} ${dice.pick(["==", "~=", "<", "<=", ">", ">="])} ${inner()})`,
    () => `(${inner()} ${dice.pick(["and", "or"])} ${inner()})`,
    () => `(${inner()} .. ${inner()})`,
    () =>
      `${inner()} ${dice.pick(["and", "or", "..", "==", "+", "*"])} ${inner()} ${dice.pick(["and", "or", "..", "<", "-"])} ${inner()}`,
    () => `(not ${inner()})`,
    () => `(- ${inner()})`,
    () => `#${dice.pick(["'abc'", "KEYS", "ARGV", "{1, 2}", "ARGV[1]"])}`,
    () => `tonumber(${inner()})`,
    () => `tostring(${inner()} == nil)`,
    () => `type(${inner()})`,
    () => `math.floor(${inner()})`,
    () => `{${inner()}, ${inner()}}`,
    () => `redis.call('${dice.pick(["GET", "TYPE", "HLEN", "XLEN", "EXISTS", "INCR"])}', KEYS[1])`,
    () => `redis.call('SET', KEYS[1], ${dice.pick(["ARGV[1]", "1.5", "10", "'a'"])})`,
  ];
  return dice.pick(forms)();
}

function statementsOf(dice: Dice): string {
  const n = dice.whole(0, 4);
  return dice.pick([
    `local n = 0 for i = ${dice.whole(-2, 2)}, ${n} do n = n + i if n > 5 then break end end return n`,
    `local t = {} for i, v in ipairs({${expressionOf(dice, 1)}, 'z', ${expressionOf(dice, 1)}}) do t[i] = v end return t`,
    `local n = ${n} while n > 0 do redis.call('INCR', KEYS[1]) n = n - 1 end return redis.call('GET', KEYS[1])`,
    `if ${expressionOf(dice, 2)} then return 'then' elseif ${expressionOf(dice, 1)} then return 'elseif' else return 'else' end`,
    `local a, b, c = ${expressionOf(dice, 1)}, ${expressionOf(dice, 1)} b = a return {c == nil, b == a}`,
    `local r = redis.pcall('${dice.pick(["HSET", "INCR", "XLEN", "GET"])}', KEYS[1]) if type(r) == 'table' and r.err then return 'failed' end return r`,
    `local t = {1, 2} table.insert(t, ${expressionOf(dice, 1)}) return {#t, unpack(t)}`,
    `redis.call('SET', KEYS[1], 'before') error(${dice.pick(["'mine'", "ARGV[1]"])})`,
  ]);
}
