/** The same cases on the model and on a real server: that the model may stand for it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRedis, type RedisConnection } from "../../../runtime/adapters/redis-link/connection.ts";
import { digestOf, type RedisLink, type RedisOutcome } from "../../../runtime/adapters/redis-link/link.ts";
import { SystemClock } from "../../../runtime/adapters/system-clock.ts";
import { describeWithRedis } from "../../../runtime/testing/redis.fixture.ts";
import { type RedisServer, startRedisServer } from "../../../runtime/testing/redis-server.ts";
import { createWorld } from "../../world/world.ts";
import { RedisModel } from "./redis-model.ts";

type ServerUnderTest = {
  readonly link: RedisLink;
  /** Until what was to expire within so little time has expired. */
  pass(ms: number): Promise<void>;
  /** Everything so far on the disk, and nothing after. */
  save(): Promise<void>;
  crashAndRestart(): Promise<void>;
};

type Case = { readonly name: string; readonly run: (server: ServerUnderTest) => Promise<void> };

const reply = (value: unknown) => ({ kind: "reply", value });
const refused = (code: string) => expect.objectContaining({ kind: "refused", code });
const send = (server: ServerUnderTest, text: string): Promise<RedisOutcome> => server.link.send(text.split(" "), 5_000);

/** Commands, and what each is answered with. */
const tables: readonly (readonly [command: string, answer: unknown])[] = [
  ["PING", reply("PONG")],
  ["SET a 1", reply("OK")],
  ["SET a 2 NX", reply(null)],
  ["SET a 2 XX GET", reply("1")],
  ["SET b 1 XX", reply(null)],
  ["SET b 1 PX 0", refused("ERR")],
  ["SET b 1 PX", refused("ERR")],
  ["SET b 1 NX XX", refused("ERR")],
  ["GET a", reply("2")],
  ["EXISTS a b a", reply(2)],
  ["TYPE a", reply("string")],
  ["TYPE b", reply("none")],
  ["INCR a", reply(3)],
  ["INCRBY a -5", reply(-2)],
  ["SET t x", reply("OK")],
  ["INCR t", refused("ERR")],
  ["HSET h f 1 g 2", reply(2)],
  ["HSET h f 3", reply(0)],
  ["HSET h f", refused("ERR")],
  ["HGET h f", reply("3")],
  ["HMGET h f x g", reply(["3", null, "2"])],
  ["HGET a f", refused("WRONGTYPE")],
  ["GET h", refused("WRONGTYPE")],
  ["HLEN h", reply(2)],
  ["HDEL h f x", reply(1)],
  ["HDEL h g", reply(1)],
  ["EXISTS h", reply(0)],
  ["PTTL a", reply(-1)],
  ["PTTL b", reply(-2)],
  ["PEXPIRE b 100", reply(0)],
  ["PEXPIRE a 0", reply(1)],
  ["GET a", reply(null)],
  ["XADD x 5-1 k v", reply("5-1")],
  ["XADD x 5-1 k v", refused("ERR")],
  ["XADD x 0-0 k v", refused("ERR")],
  ["XADD x 5-* k w", reply("5-2")],
  ["XADD x MAXLEN 2 7 k z", reply("7-0")],
  ["XLEN x", reply(2)],
  [
    "XRANGE x - +",
    reply([
      ["5-2", ["k", "w"]],
      ["7-0", ["k", "z"]],
    ]),
  ],
  ["XREVRANGE x + - COUNT 1", reply([["7-0", ["k", "z"]]])],
  ["XRANGE x (5-2 +", reply([["7-0", ["k", "z"]]])],
  ["XDEL x 7-0", reply(1)],
  ["XADD x 7-0 k again", refused("ERR")],
  ["XADD x 8 k", refused("ERR")],
  ["EVALSHA 0000000000000000000000000000000000000000 0", refused("NOSCRIPT")],
  ["NOSUCH a", refused("ERR")],
  ["GET", refused("ERR")],
  ["DBSIZE", reply(2)],
];

/** What a script returns, and what comes out of it. */
const scripts: readonly (readonly [script: string, answer: unknown])[] = [
  ["return {1, 2.9, '3', true, false, nil, 4}", reply([1, 2, "3", 1, null])],
  ["return {KEYS[1], KEYS[2], ARGV[1], #KEYS, #ARGV}", reply(["k"])],
  ["return #KEYS", reply(1)],
  ["return redis.call('GET', 'nothing') == false", reply(1)],
  ["return redis.call('SET', KEYS[1], 10)", reply("OK")],
  ["redis.call('SET', KEYS[1], 1.5) return redis.call('GET', KEYS[1])", reply("1.5")],
  ["return redis.call('SET', KEYS[1], 'v').ok", reply("OK")],
  ["local n = 0 for i = 1, 4 do n = n + i end return n", reply(10)],
  ["local n = 0 for i = 4, 1, -2 do n = n * 10 + i end return n", reply(42)],
  ["local n = 0 while true do n = n + 1 if n == 5 then break end end return n", reply(5)],
  ["local t = {} for i, v in ipairs({'a', 'b'}) do t[#t + 1] = v .. i end return t", reply(["a1", "b2"])],
  ["if ARGV[1] == '7' then return 'yes' elseif ARGV[1] then return 'no' else return 'none' end", reply("yes")],
  ["return tonumber('x') == nil and tonumber(' 0x10 ') == 16 and 7 % -4 == -1", reply(1)],
  ["return tonumber('9007199254740991') - 1", reply(9007199254740990)],
  ["return tostring(9007199254740991) .. '/' .. 1e15 .. '/' .. 0.1", reply("9.007199254741e+15/1e+15/0.1")],
  ["redis.call('SET', KEYS[1], 9007199254740991) return redis.call('GET', KEYS[1])", reply("9007199254740991")],
  ["return not nil == true and 1 or 2", reply(1)],
  ["return 2 < 10 and '2' > '10'", reply(1)],
  ["return #'ä'", reply(2)],
  ["return redis.error_reply('MINE own error')", refused("MINE")],
  ["return redis.status_reply('FINE')", reply("FINE")],
  ["return redis.pcall('INCR', KEYS[1], 'x').err ~= nil", reply(1)],
  ["return 1 < 'a'", refused("ERR")],
  ["return nothing", refused("ERR")],
  ["global = 1", refused("ERR")],
  ["return redis.call('NOSUCH')", refused("ERR")],
  ["return (", refused("ERR")],
  ["redis.call('HSET', 'hash', 'f', 1) return redis.call('GET', 'hash')", refused("WRONGTYPE")],
  ["return redis.call('HGET', 'hash', 'f')", reply("1")],
  ["local a, b = unpack({3, 4}) return a * b", reply(12)],
  ["return {redis.call('HGET', 'hash', 'none'), 'after'}", reply([null, "after"])],
  ["-- a comment\nreturn [[long]] --[[ another\n]]", reply("long")],
];

const cases: readonly Case[] = [
  {
    name: "commands are answered as the table says",
    run: async (server) => {
      for (const [command, answer] of tables) expect(await send(server, command), command).toEqual(answer);
    },
  },
  {
    name: "scripts return what the table says",
    run: async ({ link }) => {
      for (const [script, answer] of scripts)
        expect(await link.send(["EVAL", script, "1", "k", "7"], 5_000), script).toEqual(answer);
    },
  },
  {
    name: "a script is known by its digest, until the server is another",
    run: async (server) => {
      const text = "return ARGV[1]";
      const byDigest = ["EVALSHA", digestOf(text), "0", "x"];
      expect(await server.link.send(byDigest, 5_000)).toEqual(refused("NOSCRIPT"));
      expect(await server.link.send(["EVAL", text, "0", "x"], 5_000)).toEqual(reply("x"));
      expect(await server.link.send(byDigest, 5_000)).toEqual(reply("x"));
      await server.crashAndRestart();
      expect(await server.link.send(byDigest, 5_000)).toEqual(refused("NOSCRIPT"));
    },
  },
  {
    name: "a key is there until its time is over, and can be set anew then",
    run: async (server) => {
      expect(await send(server, "SET k mine NX PX 60")).toEqual(reply("OK"));
      expect(await send(server, "SET k other NX PX 60")).toEqual(reply(null));
      expect(await send(server, "PEXPIRE k 100000")).toEqual(reply(1));
      await server.pass(100);
      expect(await send(server, "GET k")).toEqual(reply("mine"));
      expect(await send(server, "PEXPIRE k 20")).toEqual(reply(1));
      await server.pass(100);
      expect(await send(server, "PTTL k")).toEqual(reply(-2));
      expect(await send(server, "SET k other NX PX 100000")).toEqual(reply("OK"));
      expect(await send(server, "HSET k f v")).toEqual(refused("WRONGTYPE"));
    },
  },
  {
    name: "a restart brings back what was saved, and forgets the rest",
    run: async (server) => {
      await send(server, "SET kept 1");
      await send(server, "SET changed before");
      await server.save();
      await send(server, "SET changed after");
      await send(server, "SET lost 1");
      await server.crashAndRestart();
      expect(await send(server, "GET kept")).toEqual(reply("1"));
      expect(await send(server, "GET changed")).toEqual(reply("before"));
      expect(await send(server, "GET lost")).toEqual(reply(null));
    },
  },
];

function modelled() {
  const world = createWorld({ seed: 1 });
  const model = new RedisModel({ name: "a", time: world });
  const server: ServerUnderTest = {
    link: model.link("test"),
    pass: async (ms) => {
      await world.run({ forMs: ms });
    },
    save: async () => model.save(),
    crashAndRestart: async () => {
      model.crash();
      model.restart();
    },
  };
  return { world, model, server };
}

describe("on the model", () => {
  test.each(cases)("$name", ({ run }) => run(modelled().server));

  test("a key is there in the millisecond of its end, and gone in the next", async () => {
    const { world, model } = modelled();
    model.execute("SET", "k", "v", "PX", "10000");
    await world.run({ forMs: 10_000 });
    expect(model.execute("GET", "k")).toEqual(reply("v"));
    await world.run({ forMs: 1 });
    expect(model.execute("GET", "k")).toEqual(reply(null));
  });

  test("a step of its wall clock ends keys before their time, or after", async () => {
    const { world, model } = modelled();
    model.execute("SET", "k", "v", "PX", "10000");
    model.wallOffsetMs = -5_000;
    await world.run({ forMs: 12_000 });
    expect(model.execute("PTTL", "k")).toEqual(reply(3_000));
    model.wallOffsetMs = 5_000;
    expect(model.execute("GET", "k")).toEqual(reply(null));
  });

  test("a replica refuses to write, lags, and forgets what had not arrived when it takes over", async () => {
    const { world, model: master } = modelled();
    master.execute("SET", "before", "1");
    const replica = new RedisModel({ name: "b", time: world });
    replica.copy(master, 100);
    master.execute("SET", "early", "1");
    await world.run({ forMs: 100 });
    master.execute("SET", "late", "1");
    expect(replica.execute("SET", "x", "1")).toEqual(refused("READONLY"));
    expect(replica.execute("EVAL", "return redis.call('SET', 'x', '1')", "0")).toEqual(refused("READONLY"));
    await world.run({ forMs: 50 });
    master.crash();
    replica.promote();
    await world.run({ forMs: 1_000 });
    expect(["before", "early", "late"].map((key) => replica.execute("EXISTS", key))).toEqual([1, 1, 0].map(reply));
    expect(replica.execute("SET", "x", "1")).toEqual(reply("OK"));
    master.restart();
    master.copy(replica);
    expect(master.execute("GET", "x")).toEqual(reply("1"));
  });

  test("what was flushed every second is there after a crash, but for the last second", async () => {
    const world = createWorld({ seed: 1 });
    const model = new RedisModel({ name: "a", time: world, flushing: "everySecond" });
    model.execute("SET", "first", "1");
    await world.run({ forMs: 1_500 });
    model.execute("SET", "second", "1");
    await world.run({ forMs: 500 });
    model.restart();
    expect([model.execute("EXISTS", "first"), model.execute("EXISTS", "second")]).toEqual([reply(1), reply(0)]);
  });

  test("a request or an answer may be lost, late, or met by a crash", async () => {
    const world = createWorld({ seed: 1 });
    const faults = ["lose-request", "lose-answer", { answerMs: 150 }, undefined] as const;
    let sent = 0;
    const network = { travelMs: () => 5, fault: () => faults[sent++] };
    const model = new RedisModel({ name: "a", time: world, network });
    const link = model.link("c");
    const incr = () => world.settle(link.send(["INCR", "n"], 100));
    expect(await incr()).toMatchObject({ kind: "unknown" });
    expect(model.execute("GET", "n")).toEqual(reply(null));
    expect(await incr()).toMatchObject({ kind: "unknown" });
    expect(model.execute("GET", "n")).toEqual(reply("1"));
    expect(await incr()).toMatchObject({ kind: "unknown" });
    expect(await incr()).toEqual(reply(3));
    model.crash();
    expect(await incr()).toMatchObject({ kind: "unsent" });
    model.restart();
    const caught = link.send(["INCR", "n"], 100);
    world.after(7, "crash", () => model.crash());
    expect(await world.settle(caught)).toMatchObject({ kind: "unknown" });
  });

  test("Lua beyond the model is refused by name", () => {
    const { model } = modelled();
    for (const script of ["local function f() end", "repeat until true", "return ('x'):len()", "return 2^3"])
      expect(model.execute("EVAL", script, "0"), script).toMatchObject({
        message: expect.stringMatching(/beyond the Lua of this model/),
      });
  });
});

describeWithRedis("on a real server", () => {
  let server: RedisServer;
  let connection: RedisConnection;
  const open = async () => {
    connection = await openRedis(server.url, new SystemClock());
    await connection.ready();
  };
  beforeAll(async () => {
    server = await startRedisServer({ config: ["--repl-diskless-sync-delay", "0"] });
    await open();
  });
  afterAll(async () => {
    await connection?.close();
    await server?.stop();
  });

  test.each(cases)("$name", async ({ run }) => {
    await connection.send(["FLUSHALL"], 5_000);
    await connection.send(["SCRIPT", "FLUSH"], 5_000);
    await run({
      link: { name: "real", send: (command, timeoutMs) => connection.send(command, timeoutMs) },
      pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      save: async () => {
        expect(await connection.send(["SAVE"], 5_000)).toEqual(reply("OK"));
      },
      crashAndRestart: async () => {
        await connection.close();
        await server.restart();
        await open();
      },
    });
  });

  test("a replica refuses to write, copies, and goes on with what it had when it takes over", async () => {
    const replica = await startRedisServer({ replicaOf: server.port });
    const copy = await openRedis(replica.url, new SystemClock());
    await copy.ready();
    await connection.send(["SET", "copied", "1"], 5_000);
    const arrived = async () => (await copy.send(["GET", "copied"], 5_000)) as { value?: unknown };
    while ((await arrived()).value !== "1") await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await copy.send(["SET", "x", "1"], 5_000)).toEqual(refused("READONLY"));
    expect(await copy.send(["EVAL", "return redis.call('SET', 'x', '1')", "0"], 5_000)).toEqual(refused("READONLY"));
    expect(await copy.send(["REPLICAOF", "NO", "ONE"], 5_000)).toEqual(reply("OK"));
    expect(await copy.send(["SET", "x", "1"], 5_000)).toEqual(reply("OK"));
    expect(await copy.send(["GET", "copied"], 5_000)).toEqual(reply("1"));
    await copy.close();
    await replica.stop();
  });
});
