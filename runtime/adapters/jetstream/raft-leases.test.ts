/** Documents in JetStream, leases on Raft: two runtimes on one bucket, each of them a member, and a third member beside them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { raft, raftLeases } from "../../../coordinator/index.ts";
import { holdfast } from "../../cli/holdfast.fixture.ts";
import { createRuntime, type Runtime } from "../../index.ts";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { until } from "../../testing/until.fixture.ts";
import { jetstream } from "./index.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const counter = setup({
  types: { context: {} as { count: number }, events: {} as { type: "ADD" } },
}).createMachine({
  context: { count: 0 },
  on: { ADD: { actions: assign({ count: ({ context }) => context.count + 1 }) } },
});
type Counters = { readonly counter: typeof counter };

/** An address of this machine that no other test has. */
const byte = () => 1 + Math.floor(Math.random() * 250);
const host = process.platform === "linux" ? `127.${byte()}.${byte()}.${byte()}` : "127.0.0.1";
const members = Object.fromEntries([1, 2, 3].map((id) => [id, { host, port: 17_000 + id }]));

describeWithNats("a runtime under leases on Raft", () => {
  let server: NatsServer;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-raft-"));
  const folderOf = (id: number) => join(folder, `${id}`);
  const closing: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const start = async (self: number, cluster = "shop"): Promise<Runtime<Counters>> => {
    const leases = raft({ cluster, self, members, directory: folderOf(self) });
    const store = jetstream({
      servers: server.url,
      bucket: "shop",
      partitions: 8,
      node: `n${self}`,
      leaseTtlMs: 1_000,
      leases,
    });
    const runtime = await createRuntime({ actors: { counter }, store, logger: silent });
    closing.push(() => runtime.stop({ drainMs: 0 }));
    return runtime;
  };
  const owned = (runtime: Runtime<Counters>) => runtime.info().partitionsOwned;

  test("is refused without the word that Raft takes over, then shares, drains and takes over", {
    timeout: 90_000,
  }, async () => {
    // The bucket was run under its own leases before.
    const store = jetstream({ servers: server.url, bucket: "shop", partitions: 8, leaseTtlMs: 1_000 });
    const before = await createRuntime({ actors: { counter }, store, logger: silent });
    await before.actor("counter", "c").create();
    await before.actor("counter", "c").send({ type: "ADD" });
    await before.stop();
    const third = await raftLeases({ cluster: "shop", self: 3, members, directory: folderOf(3), logger: silent });
    closing.push(() => third.close());

    await expect(start(1)).rejects.toMatchObject({
      name: "LeaseBackendChanged",
      message: expect.stringContaining("`holdfast leases adopt --raft <folder of a member>`"),
    });
    const adopted = await holdfast([
      "leases",
      "adopt",
      "--raft",
      folderOf(3),
      "--nats",
      server.url,
      "--bucket",
      "shop",
    ]);
    expect(adopted.err).toBe("");
    expect(adopted.out).toMatch(/^raft:shop\.\S+\.1 grants from now on, in epoch 2\n$/);

    // The bucket of leases of before says nothing of who is alive now.
    for (const command of ["nodes", "leases"]) {
      const { err, code } = await holdfast([command, "--nats", server.url, "--bucket", "shop"]);
      expect([err, code]).toEqual([expect.stringMatching(/granted by raft:shop\.\S+, not by a bucket/), 1]);
    }

    const [first, second] = await Promise.all([start(1), start(2)]);
    await until(() => owned(first) === 4 && owned(second) === 4, "both have a half");
    for (const [at, runtime] of [first, second, first].entries()) {
      await runtime.actor("counter", "c").send({ type: "ADD" });
      expect((await runtime.actor("counter", "c").state())?.context).toEqual({ count: at + 2 });
    }
    await first.drain();
    await until(() => owned(second) === 8, "the second has what the first gave away");
    await second.actor("counter", "c").send({ type: "ADD" });
    await first.stop();

    const again = await start(1);
    await until(() => owned(again) === 4 && owned(second) === 4, "it has its half again");
    // Stopped without draining; the two members that are left grant all of it to the other.
    await second.stop({ drainMs: 0 });
    await until(() => owned(again) === 8, "it has all");
    await again.actor("counter", "c").send({ type: "ADD" });
    expect((await again.actor("counter", "c").state())?.context).toEqual({ count: 6 });
  });
});
