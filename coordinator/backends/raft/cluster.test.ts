import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { until } from "../../../runtime/testing/until.fixture.ts";
import { leaseContract } from "../../ports/lease-service.contract.ts";
import { TcpCluster } from "./tcp-cluster.fixture.ts";

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

describe.concurrent("leases on three members over TCP, with logs in folders", () => {
  test.each(leaseContract)("$name", { timeout: 60_000 }, ({ run }) =>
    run(async () => {
      const cluster = await TcpCluster.start();
      const leader = await cluster.leader();
      const frozen = leader.member.status().member;
      return {
        a: leader.leases,
        b: cluster.running.get((frozen % 3) + 1)!.leases,
        ttlMs: 1_500,
        pass: wait,
        freeze: () => cluster.isolate(frozen),
        thaw: () => cluster.heal(),
        close: () => cluster.stop(),
      };
    }),
  );

  test("go on where they were when all members are started again (C1)", { timeout: 60_000 }, async () => {
    const cluster = await TcpCluster.start();
    try {
      const before = await (await cluster.leader()).leases.openSession({ node: "n", ttlMs: 3_600_000 });
      const granted = await before.acquire("k");
      for (let count = 0; count < 120; count++) await before.acquire(`other-${count}`);
      for (const { stop } of [...cluster.running.values()]) await stop();
      await Promise.all([1, 2, 3].map((id) => cluster.startMember(id)));
      const { leases, member } = await cluster.leader();
      const after = await leases.openSession({ node: "m", ttlMs: 5_000 });
      expect(await after.acquire("k")).toEqual({ kind: "held", by: before.id });
      expect(member.table.leases.get("k")?.index).toBe(granted.kind === "granted" ? granted.index : "granted");
      const next = await after.acquire("l");
      expect(next.kind === "granted" && next.index).toBeGreaterThan(granted.kind === "granted" ? granted.index : 1e9);
    } finally {
      await cluster.stop();
    }
  });

  test("have another leader before the one that stops is gone", { timeout: 60_000 }, async () => {
    const cluster = await TcpCluster.start();
    try {
      const first = await cluster.leader();
      const session = await first.leases.openSession({ node: "n", ttlMs: 60_000 });
      await session.acquire("k");
      const { member } = first;
      await member.handOver();
      expect(member.status().role).toBe("follower");
      await until(() => [...cluster.running.values()].some((one) => one.member.status().role === "leader"));
      expect(await session.acquire("k")).toMatchObject({ kind: "granted" });
    } finally {
      await cluster.stop();
    }
  });

  test("survive a damaged log: its member takes no part until the others have repaired it", {
    timeout: 60_000,
  }, async () => {
    const cluster = await TcpCluster.start();
    try {
      const leader = await cluster.leader();
      const session = await leader.leases.openSession({ node: "n", ttlMs: 60_000 });
      for (let count = 0; count < 10; count++) await session.acquire(`k${count}`);
      const damaged = (leader.member.status().member % 3) + 1;
      const applied = () => cluster.running.get(damaged)?.member.status().applied ?? 0;
      await until(() => applied() > 10);
      await cluster.running.get(damaged)!.stop();
      const folder = cluster.folderOf(damaged);
      const segment = readdirSync(folder)
        .filter((name) => name.startsWith("log-"))
        .at(-1)!;
      const bytes = readFileSync(join(folder, segment));
      bytes[100]! ^= 1;
      writeFileSync(join(folder, segment), bytes);
      // Cut off, it finds nobody who could help.
      cluster.isolate(damaged);
      const { member } = await cluster.startMember(damaged);
      await wait(500);
      expect(member.status()).toMatchObject({ role: "damaged", applied: 0 });
      cluster.heal();
      await until(() => member.status().role === "follower");
      await session.acquire("last");
      await until(() => member.table.leases.get("last")?.session === session.id);
      expect(member.table.leases.size).toBe(11);
    } finally {
      await cluster.stop();
    }
  });
});
