/** What a person or a program may hand to a member that makes no sense: each is refused, by name, and harms nothing. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdfast } from "../runtime/cli/holdfast.fixture.ts";
import { type RaftMember, raftLeases } from "./raft-leases.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const folder = mkdtempSync(join(tmpdir(), "holdfast-bad-"));
const directory = join(folder, "1");
let one: RaftMember;
beforeAll(async () => {
  one = await raftLeases({ directory, logger: silent });
  await one.leases.acquire("seed");
});
afterAll(async () => {
  await one.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("times to live", () => {
  const year = 365 * 86_400_000;
  const bad: readonly unknown[] = [0, -1, 499, year, Number.NaN, Number.POSITIVE_INFINITY, "3000", null];
  test.each(bad)("of %s are refused", async (given) => {
    const ttlMs = given as number;
    const refused = { name: "LeaseInvalidOption", message: expect.stringMatching(/must be/) };
    await expect(one.service.openSession({ node: "n", ttlMs })).rejects.toMatchObject(refused);
    if (given !== null) await expect(raftLeases({ ttlMs })).rejects.toMatchObject(refused);
  });
});

describe("names of leases", () => {
  test.each(["", "x".repeat(251), 7, undefined])("like %s are refused", async (given) => {
    const session = await one.service.openSession({ node: "n", ttlMs: 3_000 });
    const key = given as string;
    for (const ask of [() => session.acquire(key), () => session.release(key), () => session.transfer(key, "s")])
      await expect(ask()).rejects.toMatchObject({ name: "LeaseInvalidOption" });
    await session.close();
  });

  test.each(["a b", "../../etc", "näme/✓", "__proto__", "\u0000", "x".repeat(250)])(
    "like %j are names",
    async (key) => {
      const session = await one.service.openSession({ node: "n", ttlMs: 3_000 });
      expect(await session.acquire(key)).toMatchObject({ kind: "granted" });
      expect(one.service.view().leases.get(key)?.session).toBe(session.id);
      await session.close();
    },
  );
});

describe("a folder", () => {
  test("that a process runs on is refused to all others, and to recover", async () => {
    await expect(raftLeases({ directory, logger: silent })).rejects.toMatchObject({ code: "LogInUse" });
    const { code, err } = await holdfast(["raft", "recover", "--accept", "--data", directory]);
    expect([code, err]).toEqual([1, expect.stringMatching(/runs on .* already/)]);
  });

  test("whose hard state is lost in both copies must never vote again", async () => {
    const lost = join(folder, "lost");
    const member = await raftLeases({ directory: lost, logger: silent });
    await member.leases.acquire("k");
    await member.close();
    for (const name of ["state-a", "state-b"]) writeFileSync(join(lost, name), "nonsense");
    await expect(raftLeases({ directory: lost, logger: silent })).rejects.toMatchObject({ code: "HardStateLost" });
    expect((await holdfast(["raft", "recover", "--accept", "--data", lost])).err).toMatch(/under a new id/);
  });

  test("whose log is damaged runs no consensus, says so, and can be begun anew by hand", async () => {
    const damaged = join(folder, "damaged");
    const before = await raftLeases({ directory: damaged, logger: silent });
    const { token } = await before.leases.acquire("k");
    await before.close();
    const segment = readdirSync(damaged)
      .filter((name) => name.startsWith("log-"))
      .at(-1)!;
    const bytes = readFileSync(join(damaged, segment));
    bytes[100]! ^= 1;
    writeFileSync(join(damaged, segment), bytes);
    const errors: string[] = [];
    const member = await raftLeases({
      directory: damaged,
      logger: { ...silent, error: (what) => void errors.push(what) },
    });
    expect(errors).toEqual([expect.stringMatching(/it takes no part until another member repairs it/)]);
    const status = JSON.parse((await holdfast(["raft", "status", "--json", "--data", damaged])).out);
    expect(status).toMatchObject({ role: "damaged", member: 1 });
    expect((await holdfast(["raft", "remove", "1", "--data", damaged])).err).toMatch(/this member is damaged/);
    await member.close();
    const recovered = await holdfast(["raft", "recover", "--accept", "--data", damaged]);
    expect(recovered.out).toMatch(/in epoch 2\n\d+ entries that it had acknowledged are lost/);
    const again = await holdfast(["raft", "recover", "--accept", "--data", damaged]);
    expect(again).toMatchObject({ code: 0, out: "this was done already, in epoch 2: start this member\n" });
    const after = await raftLeases({ directory: damaged, logger: silent });
    const next = await after.leases.acquire("k", { waitMs: 20_000 });
    expect(next.token[0]).toBe(2);
    expect(next.token[1]).toBeGreaterThan(token[1]);
    await after.close();
  });

  test("that is nobody's is not made one", async () => {
    const run = async (...argv: string[]) => (await holdfast(argv)).err;
    expect(await run("raft", "recover", "--accept", "--data", folder)).toMatch(/is no member's folder/);
    expect(await run("raft", "status", "--data", folder)).toMatch(/no member runs on/);
    expect(await run("leases", "--data", folder)).toMatch(`there is no member in ${folder}`);
  });
});

describe("the command line", () => {
  const wrong: readonly [readonly string[], number, RegExp][] = [
    [[], 2, /it needs to know what to do/],
    [["explode"], 2, /it does not know "explode"/],
    [["status", "now"], 2, /it takes no more arguments/],
    [["add", "somewhere"], 2, /no address; write it like/],
    [["add", "10.0.0.4:99999"], 2, /no address/],
    [["add", "10.0.0.4:7000", "x"], 2, /"x" is no id of a member/],
    [["add", "127.0.0.1:7000", "4", "--replaces", "0"], 2, /"0" is no id/],
    [["add", "10.0.0.4:7000"], 1, /is not loopback: give all members certificates first/],
    [["add", "127.0.0.1:7000", "1"], 1, /1 is a member already/],
    [["add", "127.0.0.1:7000", "--replaces", "9"], 1, /9 is no voter/],
    [["remove"], 2, /it needs the id of a member/],
    [["remove", "-1"], 2, /.+/],
    [["remove", "9"], 1, /9 is no member/],
    [["transfer", "9"], 1, /9 is no voter/],
    [["members", "--accept"], 2, /only recover takes --accept/],
    [["remove", "1", "--replaces", "2"], 2, /only add takes --replaces/],
    [["recover"], 1, /say --accept/],
  ];
  test.each(wrong)("raft %j ends with %s", async (argv, code, message) => {
    const printed = await holdfast(["raft", ...argv, "--data", directory]);
    expect([printed.code, printed.err]).toEqual([code, expect.stringMatching(message)]);
  });

  test.each([
    ["no JSON", "garbage", "InvalidRequest"],
    ["an unknown verb", '{"verb":"explode"}', "UnknownVerb"],
    ["a verb of Object", '{"verb":"constructor"}', "UnknownVerb"],
    ["no arguments", '{"verb":"remove"}', "InvalidRequest"],
    ["arguments of the wrong kind", '{"verb":"remove","args":{"id":"1"}}', "InvalidRequest"],
    ["arguments too many", '{"verb":"status","args":{"all":true}}', "InvalidRequest"],
    ["an address that is none", '{"verb":"add","args":{"address":"x"}}', "InvalidRequest"],
  ])("%s over the socket is refused by name", async (_, line, code) => {
    const socket = connect(join(directory, "holdfast.sock"));
    const answer = await new Promise<string>((resolve, reject) => {
      socket.once("data", (bytes) => resolve(String(bytes)));
      socket.once("error", reject);
      socket.write(`${line}\n`);
    });
    socket.destroy();
    expect(JSON.parse(answer)).toMatchObject({ ok: false, error: { code } });
  });
});
