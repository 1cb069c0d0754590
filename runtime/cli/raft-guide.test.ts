/** Does what docs/guides/raft.md says, in its order: its certificates, its members on loopback, its commands and their answers. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, assert, beforeAll, expect, test } from "vitest";
import type { MemberAddress, RaftMember } from "../../coordinator/index.ts";
import { until } from "../testing/until.fixture.ts";
import { holdfast } from "./holdfast.fixture.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const guide = readFileSync(join(root, "docs/guides/raft.md"), "utf8");
const blocks = [...guide.matchAll(/^```(\w+)(?: ([\w=-]+(?: [\w=-]+)?))?\n(.*?)^```$/gms)].map(
  ([, language = "", mark = "", body = ""]) => ({ language, mark, body }),
);
const [authority, certificate, status, replace, replaced, recover] = [
  ...blocks.filter(({ language, mark }) => language === "sh" && mark !== "fragment"),
  ...blocks.filter(({ language }) => language === "console"),
];

/** Addresses that no other test has; elsewhere than on Linux there is one alone, so the ports differ. */
const byte = () => 1 + Math.floor(Math.random() * 250);
const net = process.platform === "linux" ? `127.${byte()}.${byte()}` : undefined;
const addressOf = (number: number): MemberAddress =>
  net === undefined ? { host: "127.0.0.1", port: 7_000 + number } : { host: `${net}.${number}`, port: 7_000 };
const written = (number: number) => `10.0.0.${number}:7000`;
const real = (number: number) => `${addressOf(number).host}:${addressOf(number).port}`;

type Start = (self: number, members: Record<number, MemberAddress>, join?: boolean) => Promise<RaftMember>;
let folder = "";
let start: Start;
const running = new Map<number, RaftMember>();

beforeAll(async () => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "raft-guide-"));
  const source = blocks.find(({ language, mark }) => language === "ts" && mark === "")?.body ?? "";
  const text = source
    .replace('from "holdfast/coordinator"', `from ${JSON.stringify(join(root, "coordinator/index.ts"))}`)
    .replaceAll("/srv/raft", folder)
    .replace('cluster: "shop",', 'cluster: "shop", logger: silent,');
  const path = join(folder, "member.ts");
  writeFileSync(path, `const silent = { debug() {}, info() {}, warn() {}, error() {} };\n${text}`);
  ({ start } = (await import(/* @vite-ignore */ pathToFileURL(path).href)) as { start: Start });
});
afterAll(async () => {
  for (const member of running.values()) await member.close();
  rmSync(folder, { recursive: true, force: true });
});

const shell = (text = "", env: Record<string, string> = {}) =>
  execFileSync("sh", ["-e", "-c", text], { cwd: folder, env: { ...process.env, ...env }, stdio: "pipe" });

async function run(id: number, members: Record<number, MemberAddress>, joins = false): Promise<RaftMember> {
  const member = await start(id, members, joins);
  running.set(id, member);
  return member;
}

async function stop(id: number): Promise<void> {
  await running.get(id)?.close();
  running.delete(id);
}

/** A line of the guide as a pattern: words in angle brackets differ from run to run, and so does the room between columns. */
function pattern(line: string, words: Readonly<Record<string, string>>): RegExp {
  const parts = line
    .trim()
    .split(/(<\w+>| +)/)
    .map((part) => {
      const word = /^<(\w+)>$/.exec(part)?.[1];
      if (word === "number") return "(\\d+|-)";
      if (word === "heard") return "(yes|no|-)";
      if (word !== undefined) return words[word] ?? "[\\w.:-]+";
      return /^ +$/.test(part) ? " +" : part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
    });
  return new RegExp(`^${parts.join("")}\\s*$`);
}

/** Runs the commands of a block; returns what was printed for the last one. */
async function follow(body = "", words: Readonly<Record<string, string>> = {}): Promise<string> {
  let printed = "";
  for (const example of body.split(/^\$ /m).slice(1)) {
    const [command = "", ...expected] = example.trimEnd().split("\n");
    const [program, ...argv] = command.replaceAll("/srv/raft", folder).split(" ");
    expect(program).toBe("holdfast");
    const { out, err } = await holdfast(argv.map((word) => (word === written(4) ? real(4) : word)));
    printed = [1, 2, 3, 4].reduce((text, number) => text.replaceAll(real(number), written(number)), err + out);
    const lines = printed.trimEnd().split("\n");
    expect(lines.length, `${command}\n${printed}`).toBe(expected.length);
    for (const [at, line] of expected.entries()) expect(lines[at], command).toMatch(pattern(line, words));
  }
  return printed;
}

test("three members are started, one is replaced, and the last survivor begins anew", {
  timeout: 120_000,
}, async () => {
  shell(authority?.body);
  for (const id of ["1", "2", "3"]) shell(certificate?.body, { ID: id });
  const members = Object.fromEntries([1, 2, 3].map((id) => [id, addressOf(id)]));
  await Promise.all([1, 2, 3].map((id) => run(id, members)));
  const lease = await running.get(1)!.leases.acquire("job/settle", { waitMs: 30_000 });
  await until(() =>
    [...running.values()].every(({ member }) => member.members().every(({ address }) => address !== "")),
  );
  const { node } = [...running.get(1)!.member.table.sessions.values()][0]!.info;
  const identity = "raft:shop\\.[\\w.-]+\\.1";
  const role = "(leader|follower|candidate)";
  await follow(status?.body?.replaceAll("worker-1", node), { identity, role, leader: "([123]|none is known)" });
  await until(() => {
    const { applied, committed, leader } = running.get(1)!.member.status();
    return leader !== undefined && applied === committed;
  });

  await stop(3);
  rmSync(join(folder, "3"), { recursive: true });
  const id = Number(/^member (\d+) /.exec(await follow(replace?.body, { new: "\\d+" }))?.[1]);
  shell(certificate?.body, { ID: String(id) });
  const joined = await run(id, { 1: addressOf(1), 2: addressOf(2), [id]: addressOf(4) }, true);
  await until(
    () =>
      joined.member
        .members()
        .map(({ role }) => role)
        .join() === "voter,voter,voter",
  );
  await until(() => running.get(1)!.member.members().length === 3);
  await follow(replaced?.body, { new: String(id) });

  // 3 comes back with nothing, under its old id: it is refused, and the others go on.
  const back = await run(3, members);
  const asked = back.leases.acquire("job/other").catch((error: unknown) => error);
  expect(await running.get(2)!.leases.run("job/third", async ({ isValid }) => isValid)).toBe(true);
  expect(await asked).toBeInstanceOf(Error);

  for (const one of [3, id, 2, 1]) await stop(one);
  await follow(recover?.body, { others: `2, ([\\d, ]*)${id}` });
  const alone = await run(1, { 1: addressOf(1), 2: addressOf(2), [id]: addressOf(4) });
  const next = await alone.leases.acquire("job/settle", { waitMs: 30_000 });
  assert(next.token[0] === 2 && next.token[1] > lease.token[1], `${lease.token} ${next.token}`);
  // One that was left over from before is refused.
  const old = await run(2, members);
  const late = await old.leases.acquire("job/fourth").catch((error: unknown) => error);
  expect(late).toBeInstanceOf(Error);
  expect(alone.member.members()).toHaveLength(1);
});

test("the fragments name what there is", () => {
  for (const { body } of blocks.filter(({ mark }) => mark === "fragment"))
    expect(body).toMatch(/leases: raft\(\{|holdfast leases adopt --raft/);
});
