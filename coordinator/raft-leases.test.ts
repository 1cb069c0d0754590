import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { type RaftLeasesOptions, type RaftMember, raftLeases } from "./raft-leases.ts";

const here = (port: number) => ({ host: "127.0.0.1", port });
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
async function open(options: RaftLeasesOptions): Promise<RaftMember> {
  const opened = await raftLeases(options);
  closing.push(() => opened.close());
  return opened;
}

describe("a service's own leases without any server", () => {
  test("in memory, for one process", async () => {
    const { leases } = await open({});
    const lease = await leases.acquire("job/settle");
    expect(lease.token[0]).toBe(1);
    expect(lease.isValid).toBe(true);
    const next = await leases.run("job/other", async ({ token }) => token);
    expect(next[1]).toBeGreaterThan(lease.token[1]);
  });

  test("in a folder, where tokens grow over restarts", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-leases-"));
    closing.push(async () => rmSync(directory, { recursive: true, force: true }));
    let last = 0;
    for (let turn = 0; turn < 3; turn++) {
      const { leases, close } = await raftLeases({ directory });
      const { token } = await leases.acquire("job/settle");
      expect(token[1]).toBeGreaterThan(last);
      last = token[1];
      if (turn === 0) await expect(raftLeases({ directory })).rejects.toMatchObject({ code: "LogInUse" });
      await close();
    }
    await expect(raftLeases({ directory, cluster: "other" })).rejects.toMatchObject({ code: "LogOfAnother" });
  });

  const wrong: readonly [string, RaftLeasesOptions, RegExp][] = [
    ["a time to live of nothing", { ttlMs: 0 }, /must be from 500 ms/],
    ["no id", { self: 0 }, /whole numbers from 1/],
    ["an odd id", { members: { 1.5: here(1) } }, /whole numbers from 1/],
    ["a cluster without a name", { cluster: "" }, /must be 1 to 32 lower-case letters/],
    [
      "a member that is not in the list",
      { self: 4, members: { 1: here(1), 2: here(2), 3: here(3) } },
      /where this member, 4,/,
    ],
    ["two members", { members: { 1: here(1), 2: here(2) }, directory: "/x" }, /of two, neither may fail/],
    ["a cluster in memory", { members: { 1: here(1), 2: here(2), 3: here(3) } }, /need a `directory` each/],
  ];
  test.each(wrong)("%s is refused", async (_, options, message) => {
    await expect(raftLeases(options)).rejects.toThrow(message);
  });

  test("members on other machines need certificates", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdfast-leases-"));
    closing.push(async () => rmSync(directory, { recursive: true, force: true }));
    const members = { 1: here(0), 2: { host: "10.0.0.2", port: 1 }, 3: { host: "10.0.0.3", port: 1 } };
    await expect(raftLeases({ directory, members })).rejects.toMatchObject({ code: "PeersInvalidOption" });
    // Nothing is left open: the folder may be used again.
    await open({ directory });
  });
});
