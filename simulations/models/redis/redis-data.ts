/**
 * One Redis server's data and what a command does to them, without network, disk or clock. Scripts run in the model's own
 * Lua, by the text that was sent.
 */
import { digestOf } from "../../../runtime/adapters/redis-link/link.ts";
import { type CommandContext, commands, RedisError, type Reply, wrongArity } from "./commands.ts";
import { type Change, Keyspace } from "./keyspace.ts";
import { LuaError, LuaTable, type LuaValue, runLua } from "./lua.ts";
import { type Block, LuaSyntaxError, parseLua } from "./lua-syntax.ts";

export class RedisData {
  readonly keyspace: Keyspace;
  readonly #scripts = new Map<string, Block>();

  constructor(onChange: (change: Change) => void) {
    this.keyspace = new Keyspace(onChange);
  }

  /** Throws RedisError for an error reply. `isReplica`: refuses to write. */
  execute([name = "", ...values]: readonly string[], nowMs: number, isReplica: boolean): Reply {
    const upper = name.toUpperCase();
    const context = { keyspace: this.keyspace, nowMs };
    if (upper === "EVAL" || upper === "EVALSHA") {
      if (values.length < 2) throw wrongArity(name);
      const [source, ...rest] = values as [string, ...string[]];
      return this.#run(upper === "EVAL" ? this.#load(source) : this.#loaded(source), rest, context, isReplica);
    }
    if (upper === "SCRIPT") return this.#script(values);
    return this.#plain(name, values, context, isReplica);
  }

  #plain(name: string, values: readonly string[], context: CommandContext, isReplica: boolean): Reply {
    const command = commands.get(name.toUpperCase());
    if (command === undefined)
      throw new RedisError(
        `ERR unknown command '${name}', with args beginning with: ${values.map((v) => `'${v}' `).join("")}`,
      );
    const [least, most] = command.arity;
    if (values.length < least || values.length > most) throw wrongArity(name);
    if (command.writes && isReplica) throw new RedisError("READONLY You can't write against a read only replica.");
    return command.run(values, context);
  }

  #script([verb, ...values]: readonly string[]): Reply {
    if (verb === undefined) throw wrongArity("script");
    switch (verb.toUpperCase()) {
      case "LOAD": {
        if (values.length !== 1) throw wrongArity("script|load");
        this.#load(values[0] as string);
        return digestOf(values[0] as string);
      }
      case "EXISTS":
        return values.map((digest) => Number(this.#scripts.has(digest.toLowerCase())));
      case "FLUSH":
        if (values.length > 1 || !["SYNC", "ASYNC"].includes(values[0]?.toUpperCase() ?? "SYNC"))
          throw new RedisError("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        this.#scripts.clear();
        return { ok: "OK" };
      default:
        throw new RedisError(`ERR unknown subcommand '${verb}'. Try SCRIPT HELP.`);
    }
  }

  #load(text: string): Block {
    const digest = digestOf(text);
    try {
      const script = this.#scripts.get(digest) ?? parseLua(text);
      this.#scripts.set(digest, script);
      return script;
    } catch (error) {
      if (error instanceof LuaSyntaxError)
        throw new RedisError(`ERR Error compiling script (new function): ${error.message}`);
      throw error;
    }
  }

  #loaded(digest: string): Block {
    const script = this.#scripts.get(digest.toLowerCase());
    if (script === undefined) throw new RedisError("NOSCRIPT No matching script. Please use EVAL.");
    return script;
  }

  /** What it has changed before an error stays changed, as in Redis. */
  #run(script: Block, [count, ...rest]: readonly string[], context: CommandContext, isReplica: boolean): Reply {
    const keyCount = Number(count);
    if (!/^-?\d+$/.test(count ?? "")) throw new RedisError("ERR value is not an integer or out of range");
    if (keyCount > rest.length) throw new RedisError("ERR Number of keys can't be greater than number of args");
    if (keyCount < 0) throw new RedisError("ERR Number of keys can't be negative");
    try {
      const returned = runLua(script, {
        keys: rest.slice(0, keyCount),
        values: rest.slice(keyCount),
        call: ([name, ...values]) => {
          if (name === undefined) throw new LuaError("Please specify at least one argument for this redis.call()");
          return toLua(this.#plain(name, values, context, isReplica));
        },
      });
      return fromLua(returned);
    } catch (error) {
      if (error instanceof LuaError) throw new RedisError(`ERR ${error.message}`);
      throw error;
    }
  }
}

/** What a processor makes of a number that is none, or too large, when it must be a whole one. */
const notALong = -(2 ** 63);

function toLua(reply: Reply): LuaValue {
  if (reply === null) return false;
  if (typeof reply === "string" || typeof reply === "number") return reply;
  if ("ok" in reply) {
    const status = new LuaTable();
    status.set("ok", reply.ok);
    return status;
  }
  return LuaTable.list(reply.map(toLua));
}

function fromLua(value: LuaValue): Reply {
  if (value === undefined || value === false) return null;
  if (value === true) return 1;
  if (typeof value === "number") return Math.abs(value) < 2 ** 63 ? Math.trunc(value) : notALong;
  if (typeof value === "string") return value;
  if (!(value instanceof LuaTable)) return null;
  const [error, status] = [value.get("err"), value.get("ok")];
  if (typeof error === "string") throw new RedisError(error);
  if (typeof status === "string") return { ok: status };
  return value.items().map(fromLua);
}
