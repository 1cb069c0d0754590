/** The register and the log keep their contracts on the model and on a real server, also when that is gone in between. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RedisModel } from "../../../simulations/models/redis/redis-model.ts";
import { logContract } from "../../ports/execution-log.contract.ts";
import { registerContract } from "../../ports/fenced-register.contract.ts";
import { type Claim, mayAct, type RegisterState } from "../../ports/fenced-register.ts";
import { ManualClock } from "../../testing/manual-clock.ts";
import { describeWithRedis } from "../../testing/redis.fixture.ts";
import { type RedisServer, startRedisServer } from "../../testing/redis-server.ts";
import { openRedis, type RedisConnection } from "../redis-link/connection.ts";
import type { RedisLink, RedisOutcome } from "../redis-link/link.ts";
import { SystemClock } from "../system-clock.ts";
import { RedisExecutionLog } from "./execution-log.ts";
import { connectRedis, connectRedLock } from "./index.ts";
import { fencedScript, RedisRegister } from "./register.ts";

const clock = new SystemClock();
const claim = (index: number, holder = `n${index}`): Claim => ({ token: [1, index], holder });
const still = { nowMs: 0, after: () => () => {} };

function judge(link: () => RedisLink): void {
  let opened = 0;
  const prefix = () => `case${++opened}:`;
  test.each(registerContract)("register: $name", ({ run }) =>
    run(async () => ({ register: new RedisRegister(link(), clock, { prefix: prefix() }), close: async () => {} })),
  );
  test.each(logContract)("log: $name", ({ run }) =>
    run(async () => {
      const maxRecords = 5;
      return {
        log: new RedisExecutionLog(link(), clock, { prefix: prefix(), maxRecords }),
        maxRecords,
        close: async () => {},
      };
    }),
  );

  test("a script of one's own runs under a fence, or not at all", async () => {
    const register = new RedisRegister(link(), clock, { prefix: prefix() });
    const reserve = fencedScript("return redis.call('INCRBY', KEYS[2], ARGV[4])");
    const run = (by: Claim) => register.run(reserve, "stock", by, ["seats"], ["3"]);
    expect(await run(claim(2))).toEqual({ kind: "reply", value: 3 });
    expect(await run(claim(1))).toEqual({ kind: "fenced", newest: claim(2) });
    expect(await run(claim(2))).toEqual({ kind: "reply", value: 6 });
  });

  test("a key of another type, and a log that is none, are refused with the server's words", async () => {
    const server = link();
    const at = prefix();
    await server.send(["SET", `${at}k`, "text"], 1_000);
    const register = new RedisRegister(server, clock, { prefix: at });
    await expect(register.install("k", claim(1))).rejects.toThrow(/WRONGTYPE/);
    await expect(register.read("k")).rejects.toMatchObject({ code: "RedisRefused" });
    await server.send(["XADD", `${at}{job}`, "*", "by", "hand"], 1_000);
    const log = new RedisExecutionLog(server, clock, { prefix: at });
    await expect(log.latest("job", 1)).rejects.toThrow(/is no record of an execution/);
    await expect(log.latest("a{b}", 1)).rejects.toThrow(/without braces/);
    await expect(log.latest("job", 0)).rejects.toThrow(/whole number from 1/);
    expect(() => new RedisExecutionLog(server, clock, { maxRecords: 0 })).toThrow(/`maxRecords` is 0/);
  });
}

describe("on the model", () => {
  const model = new RedisModel({ name: "model", time: still });
  judge(() => model.link("test"));

  test("any sequence of claims and effects ends as a slow, obvious register says", async () => {
    const part = fc.constantFrom(0, 1, 2, 9, 10, Number.MAX_SAFE_INTEGER);
    const step = fc.record({
      token: fc.tuple(part, part),
      holder: fc.constantFrom("n1", "n2"),
      effect: fc.constantFrom("e", "f", ""),
      installs: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
        model.execute("FLUSHALL");
        const register = new RedisRegister(model.link("test"), clock);
        let state: RegisterState | undefined;
        for (const [index, { token, holder, effect, installs }] of steps.entries()) {
          const by: Claim = { token, holder };
          const { kind } = installs
            ? await register.install("k", by)
            : await register.write({ key: "k", claim: by, value: `${index}`, effect });
          if (!mayAct(state?.claim, by)) expect(kind).toBe("fenced");
          else if (installs || effect === state?.effect) {
            expect(kind).toBe(installs ? "installed" : "repeated");
            state = { claim: by, value: state?.value, effect: state?.effect };
          } else {
            expect(kind).toBe("applied");
            state = { claim: by, value: `${index}`, effect };
          }
          expect(await register.read("k")).toEqual(state);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("answers that are lost", () => {
  /** A link whose next commands meet what is listed; then it works. */
  function broken(fates: ("lost" | "refused" | "unsent" | "unheard")[]) {
    const model = new RedisModel({ name: "model", time: still });
    const real = model.link("test");
    const send = async (command: readonly string[]): Promise<RedisOutcome> => {
      const fate = fates.shift();
      if (fate === "lost") return { kind: "unknown", cause: "lost" };
      if (fate === "unsent") return { kind: "unsent", cause: "no connection" };
      if (fate === "refused") return { kind: "refused", code: "LOADING", message: "LOADING in memory" };
      const outcome = await real.send(command, 1_000);
      return fate === "unheard" ? { kind: "unknown", cause: "unheard" } : outcome;
    };
    return { name: "broken", send };
  }

  async function written(fates: ("lost" | "refused" | "unsent" | "unheard")[], passMs: number) {
    const time = new ManualClock();
    const register = new RedisRegister(broken(["unheard", ...fates]), time, { timeoutMs: 1_000 });
    // The first command only makes the script known, so that each later one is one attempt.
    const write = { key: "k", claim: claim(1), value: "v", effect: "e" };
    const outcome = register.write(write).catch((error: Error) => ({ kind: "rejected", message: error.message }));
    await time.advance(passMs);
    return outcome;
  }

  test("are asked for again until they are known, and done once", async () => {
    expect(await written(["lost", "unsent", "refused"], 400)).toEqual({ kind: "applied" });
    // By its digest it is not known yet: the text follows, is done, and its answer lost.
    expect(await written([undefined as never, "unheard"], 400)).toEqual({ kind: "repeated" });
  });

  test("end as unknown when the time is over, and as refused only when nothing can have been done", async () => {
    const forever = <T>(fate: T) => Array.from({ length: 100 }, () => fate);
    expect(await written(forever("lost" as const), 2_000)).toMatchObject({ kind: "unknown", cause: /lost/ });
    expect(await written(["lost", ...forever("refused" as const)], 2_000)).toMatchObject({ kind: "unknown" });
    const time = new ManualClock();
    const register = new RedisRegister(broken(forever("refused" as const)), time, { timeoutMs: 1_000 });
    const refused = expect(register.install("k", claim(1))).rejects.toThrow(/LOADING in memory/);
    await time.advance(2_000);
    await refused;
  });
});

describeWithRedis("on a real server", () => {
  let server: RedisServer;
  let connection: RedisConnection;
  beforeAll(async () => {
    server = await startRedisServer({ appendFsync: "always" });
    connection = await openRedis(server.url, clock);
    await connection.ready();
  });
  afterAll(async () => {
    await connection?.close();
    await server?.stop();
  });

  judge(() => connection);

  test("a server that is gone in the middle of a script: unknown, safe to repeat, and done once", async () => {
    const register = new RedisRegister(connection, clock, { prefix: "gone:", timeoutMs: 20_000, attemptMs: 300 });
    expect(await register.install("k", claim(1))).toMatchObject({ kind: "installed" });
    // So long that it is surely running when the server dies; nothing of a script that did not end is kept.
    const slow = fencedScript(`redis.call('INCR', KEYS[2])
local n = 0
while n < tonumber(ARGV[4]) do n = n + 1 end
return redis.call('GET', KEYS[2])`);
    const probe = await openRedis(server.url, clock);
    await probe.ready();
    const call = ["EVAL", slow.text, "2", "gone:k", "count", "1", "1", "n1", "100000000000"];
    const attempt = connection.send(call, 60_000);
    const isBusy = async () => (await probe.send(["GET", "count"], 1_000)).kind !== "reply";
    while (!(await isBusy()));
    const written = register.write({ key: "k", claim: claim(1), value: "v", effect: "e" });
    await probe.close();
    await server.kill();
    expect(await attempt).toMatchObject({ kind: "unknown" });
    await server.restart();
    expect(await written).toEqual({ kind: "applied" });
    expect(await connection.send(["GET", "count"], 1_000)).toEqual({ kind: "reply", value: null });
    expect(await register.write({ key: "k", claim: claim(1), value: "v", effect: "e" })).toEqual({ kind: "repeated" });
  });

  test("an acknowledged claim is there after kill -9, with `appendfsync always`", async () => {
    const register = new RedisRegister(connection, clock, { prefix: "kept:", timeoutMs: 20_000 });
    expect(await register.write({ key: "k", claim: claim(7), value: "v", effect: "e" })).toEqual({ kind: "applied" });
    await server.restart();
    expect(await register.install("k", claim(6))).toEqual({ kind: "fenced", newest: claim(7) });
  });

  test("a person reads the log with redis-cli's own command", async () => {
    const log = new RedisExecutionLog(connection, clock);
    await log.append("settle", {
      tickId: "settle/7",
      attempt: 1,
      dueMs: 7_000,
      startedMs: 7_001,
      endedMs: 7_002,
      outcome: "done",
      owner: "n1",
      token: [1, 2],
    });
    const outcome = await connection.send(["XREVRANGE", "holdfast:executions:{settle}", "+", "-"], 1_000);
    expect(JSON.stringify(outcome)).toMatch(/"attempt","settle\/7#1\.\d+#1","outcome","done","record"/);
  });

  test("is reached by its address alone", async () => {
    const redis = await connectRedis(server.url);
    const register = redis.register({ prefix: "short:" });
    expect(await register.install("k", claim(3))).toMatchObject({ kind: "installed" });
    expect(await redis.executionLog({ prefix: "short:" }).latest("job", 1)).toEqual([]);
    await redis.close();
    await expect(connectRedis("redis://127.0.0.1:1")).rejects.toMatchObject({ code: "RedisUnreachable" });
    const locks = await connectRedLock([server.url, "redis://127.0.0.1:1"], { prefix: "short:" });
    expect(await locks.acquire("k", { ttlMs: 1_000 })).toMatchObject({ kind: "unknown" });
    await locks.close();
  });

  test("addresses that are none, and servers that are not there, are said by name", async () => {
    await expect(openRedis("localhost", clock)).rejects.toThrow(/is no address of a Redis server/);
    await expect(openRedis(undefined as never, clock)).rejects.toThrow(/is an address .*, options, or a client/);
    const nobody = await openRedis("redis://127.0.0.1:1", clock);
    await expect(nobody.ready()).rejects.toThrow(/no connection to Redis at 127.0.0.1:1: .*ECONNREFUSED/);
    expect(await nobody.send(["PING"], 100)).toMatchObject({ kind: "unsent" });
    await nobody.close();
    const { Redis } = await import("ioredis");
    const own = new Redis(server.port, "127.0.0.1", { keyPrefix: "own:" });
    const beside = await openRedis(own, clock);
    await beside.ready();
    expect(await beside.send(["SET", "k", "v"], 1_000)).toEqual({ kind: "reply", value: "OK" });
    expect(await connection.send(["GET", "k"], 1_000)).toEqual({ kind: "reply", value: "v" });
    await beside.close();
    own.disconnect();
  });
});
