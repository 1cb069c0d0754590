/** The command line on a bucket: it reads, sends and resumes without hosting, and what a person wrote by hand is dealt with. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { jetstream } from "../adapters/jetstream/index.ts";
import { SystemClock } from "../adapters/system-clock.ts";
import { createRuntime, type Runtime } from "../index.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import { describeWithNats, natsVersions } from "../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../testing/nats-server.ts";
import { until } from "../testing/until.fixture.ts";
import { holdfast, type Printed } from "./holdfast.fixture.ts";
import { NatsWire } from "./nats-wire.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

const order = setup({
  types: {
    context: {} as { total: number; paidAt?: Date },
    input: {} as { total: number } | undefined,
    events: {} as { type: "PAY"; at?: Date } | { type: "NOTE" },
    tags: {} as "unpaid",
  },
}).createMachine({
  context: ({ input }) => ({ total: input?.total ?? 0 }),
  initial: "open",
  states: {
    open: {
      tags: "unpaid",
      on: { PAY: { target: "paid", actions: assign({ paidAt: ({ event }) => event.at }) }, NOTE: {} },
    },
    paid: { after: { 86400000: "forgotten" } },
    forgotten: { type: "final" },
  },
});
type Orders = { readonly order: typeof order };

/** Its seconds pass twice as fast: whoever waits in vain does so sooner, and a server that is busy may still answer in time. */
class HastyClock implements Clock {
  readonly #clock = new SystemClock();

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic() * 2;
  }

  after(delayMs: number, wake: () => void, options?: { readonly background?: boolean }): Cancel {
    return this.#clock.after(delayMs / 2, wake, options);
  }
}

describeWithNats("the command line on NATS", () => {
  for (const binary of natsVersions) {
    describe(binary.version, () => {
      let server: NatsServer;
      let connection: NatsConnection;
      let wire: NatsWire;
      let bucket = "";
      let buckets = 0;
      const running = new Set<Runtime<Orders>>();

      beforeAll(async () => {
        server = await startNatsServer({ binary });
        connection = await connectNats({ servers: server.url });
        wire = new NatsWire(connection);
      });
      afterEach(async () => {
        for (const runtime of running) await runtime.stop({ drainMs: 0 });
        running.clear();
      });
      afterAll(async () => {
        await connection?.close();
        await server?.stop();
      });

      async function host(node = "n1", isNew = true, share: { weight?: number; zone?: string } = {}) {
        if (isNew) bucket = `b${++buckets}`;
        const runtime = await createRuntime({
          actors: { order },
          store: jetstream({ servers: server.url, bucket, node, leaseTtlMs: 30_000, ...share }),
          logger: silent,
        });
        running.add(runtime);
        await until(() => runtime.info().partitionsOwned === 64, "it owns all partitions");
        return runtime;
      }
      async function stop(runtime: Runtime<Orders>): Promise<void> {
        running.delete(runtime);
        await runtime.stop();
      }
      const run = (...argv: string[]): Promise<Printed> =>
        holdfast([...argv, "--nats", server.url, "--bucket", bucket]);
      async function done(...argv: string[]): Promise<string> {
        const { code, out, err } = await run(...argv);
        expect(err).toBe("");
        expect(code).toBe(0);
        return out;
      }

      test("creates, sends, lists, shows, and knows its keys", async () => {
        await host();
        expect(await done("create", "order", "o 1", '{"total":90}')).toBe("created, revision 1\n");
        const pay = ["send", "order", "o 1", '{"type":"PAY","at":{"@date":"2026-11-20T15:00:00.000Z"}}', "--key", "k"];
        expect(await done(...pay)).toBe("applied, revision 2\n");
        expect(await done(...pay)).toBe("done before under this key, revision 2\n");
        expect(await run("send", "order.o-2", '{"type":"PAY"}')).toMatchObject({
          code: 1,
          err: 'holdfast: order "o-2" does not exist: create it first, or use createAndSend\n',
        });
        expect((await run("send", "order", "o 1", '{"type":"PAID"}')).err).toMatch(
          /no state of order ever handles "PAID"/,
        );
        await done("create", "order", "o-2");
        expect(await done("ls", "order", "--tag", "unpaid")).toMatch(/^TYPE .*\norder +o-2 +open +active +1 /);
        expect(await done("ls", "order", "--state", "paid")).toMatch(/order {2}o 1 .* timer 20/);
        expect(await done("get", "order", "o 1")).toMatch(/"paidAt": \{ "@date": "2026-11-20T15:00:00.000Z" \}/);
        const rows = JSON.parse(await done("history", "order", "o 1", "--json"));
        expect(rows.map(({ state, by }: { state: string; by: string }) => [state, by])).toEqual([
          ["open", "runtime"],
          ["paid", "runtime"],
        ]);
        expect(await done("parked")).toBe("nothing is parked\n");
        expect((await run("resume", "order", "o 1")).err).toMatch(/order\.o=201 is not parked/);
        expect((await run("graph", "order")).err).toMatch(/name the file with --machine/);
        expect((await run("backup", "/nowhere")).err).toMatch(new RegExp(`nats stream backup KV_${bucket} <dir>`));
      });

      test("tells of the bucket, its nodes and its leases", async () => {
        const runtime = await host("first");
        const info = await done("info");
        expect(info).toMatch(new RegExp(`^server +\\S+, nats-server ${binary.version}$`, "m"));
        expect(info).toMatch(/^bucket +b\d+, asked through holdfast\.b\d+, 64 partitions$/m);
        expect(info).toMatch(/^nodes +first \(64\)$/m);
        expect(await done("nodes")).toMatch(
          /^NODE +PARTITIONS +SILENT +TTL +STATE\nfirst +64 +\d+ ms +30000 ms +alive\n$/,
        );
        const nodes = JSON.parse(await done("nodes", "--json"));
        expect(nodes).toMatchObject([
          { node: "first", partitions: Array.from({ length: 64 }, (_, p) => p), ttlMs: 30_000 },
        ]);
        const leases = JSON.parse(await done("leases", "--json"));
        expect(leases).toHaveLength(64);
        expect(leases[7]).toEqual({
          lease: "p07",
          index: expect.any(Number),
          node: "first",
          session: nodes[0].session,
        });
        expect(await done("leases")).toMatch(/^LEASE +INDEX +HOLDER +SESSION\np00 +\d+ +first/);
        await stop(runtime);
        expect(await done("nodes")).toBe("no node is alive\n");
        expect(await done("leases")).toBe("nothing is leased\n");
      });

      test("calls the owner of a job as it calls the node", async () => {
        const runtime = await host("first");
        const ran = new Promise<void>((resolve) => {
          void runtime.schedule("settle", { every: 50 }, () => resolve());
        });
        await ran;
        const rows = async () => JSON.parse(await done("jobs", "--json"));
        await until(async () => (await rows())[0]?.owner !== null, "its first run is in the document");
        const [{ session }] = JSON.parse(await done("nodes", "--json"));
        expect(await rows()).toMatchObject([{ name: "settle", owner: session, node: "first" }]);
        expect(await done("jobs")).toMatch(/^settle .* first +\d+\.\d+ /m);
        expect((await run("leases", "--data", "/nowhere")).code).toBe(2);
        expect(await done("jobs", "remove", "settle")).toBe("settle is removed\n");
        expect(await done("jobs", "remove", "settle")).toBe("settle was removed before\n");
        expect(await done("jobs")).toBe("no jobs\n");
        const none = await run("jobs", "remove", "nothing");
        expect([none.code, none.err]).toEqual([1, 'holdfast: job "nothing" does not exist\n']);
      });

      test("tells of weights and zones where they are given", async () => {
        await host("heavy", true, { weight: 3, zone: "eu-1" });
        expect(await done("nodes")).toMatch(
          /^NODE +PARTITIONS +WEIGHT +ZONE +SILENT +TTL +STATE\nheavy +64 +3 +eu-1 +\d+ ms +30000 ms +alive\n$/,
        );
        expect(JSON.parse(await done("nodes", "--json"))).toMatchObject([{ node: "heavy", weight: 3, zone: "eu-1" }]);
      });

      test("finds its way by options and environment, and says what is wrong with them", async () => {
        await host();
        const empty = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
        const env = { NATS_URL: server.url };
        const none = await holdfast(["ls", "--data", empty], { env });
        expect(none.code).toBe(1); // a directory that is named is meant
        expect(await holdfast(["ls", "--bucket", bucket], { env })).toEqual({ code: 0, out: "no actors\n", err: "" });
        expect((await holdfast(["ls"], { env: { ...env, HOLDFAST_DATA: empty } })).code).toBe(1);
        rmSync(empty, { recursive: true });
        const missing = await holdfast(["ls", "--nats", server.url, "--bucket", "nowhere", "--json"]);
        expect(JSON.parse(missing.err).error.code).toBe("BucketNotFound");
        const down = await holdfast(["ls", "--nats", "nats://127.0.0.1:1", "--json"]);
        expect(JSON.parse(down.err).error.code).toBe("NatsUnreachable");
        expect((await holdfast(["nodes", "--nats", server.url, "--bucket", "nowhere"])).err).toMatch(
          /there is no bucket nowhere-leases/,
        );
        expect((await holdfast(["ls", "--data", "x", "--nats", "nats://n"])).code).toBe(2);
      });

      test("each role of the guide on accounts gets what it may, and is told what it may not", async () => {
        const guide = readFileSync(resolve("docs/guides/accounts.md"), "utf8");
        const guarded = await startNatsServer({ binary, config: /^```conf\n(.*?)^```$/ms.exec(guide)?.[1] ?? "" });
        const runtime = await createRuntime({
          actors: { order },
          store: jetstream({ servers: guarded.url, user: "node", password: "node-secret", bucket: "shop" }),
          logger: silent,
        });
        await until(() => runtime.info().partitionsOwned === 64, "it owns all partitions");
        await runtime.actor("order", "a").create(undefined, { key: "c" });
        const as = (user: string, ...argv: string[]) =>
          holdfast(
            [
              [...argv, "--nats", guarded.url, "--bucket", "shop"],
              ["--domain", "shop", "--inbox-prefix", `_INBOX_users.${user}`],
            ].flat(),
            { env: { NATS_USER: user, NATS_PASSWORD: `${user}-secret` } },
          );
        for (const user of ["client", "operator", "watcher"]) {
          expect((await as(user, "ls")).out).toMatch(/order +a +open/);
          expect((await as(user, "info")).out).toMatch(/^nodes +not shown to this user$/m);
        }
        expect((await as("client", "send", "order.a", '{"type":"NOTE"}')).out).toBe(
          "recorded; the machine ignored it, revision 2\n",
        );
        expect((await as("client", "resume", "order.a")).err).toMatch(
          /does not let this connection publish on holdfast\.shop\.operate\.\d+ \(docs\/guides\/accounts\.md\): nothing was done/,
        );
        expect((await as("operator", "resume", "order.a")).err).toMatch(/order\.a is not parked/);
        expect((await as("sender", "ls")).err).toMatch(/may not publish on \$JS\.shop\.API\.STREAM\.INFO\.KV_shop/);
        expect((await as("operator", "nodes")).err).toMatch(/shop-leases is not shown to this user/);
        await runtime.stop({ drainMs: 0 });
        await guarded.stop();
      });

      test("adopts leases that were made anew, once nobody runs the actors, and raises the epoch", async () => {
        const first = await host();
        await first.actor("order", "a").create(undefined, { key: "c" });
        expect((await run("leases", "adopt")).err).toMatch(/n1 is alive: stop every runtime of this bucket first/);
        await stop(first);
        await connection.request(`$JS.API.STREAM.DELETE.KV_${bucket}-leases`);
        await expect(host("n2", false)).rejects.toThrow(/stop every runtime and run `holdfast leases adopt`/);
        expect(await done("leases", "adopt")).toMatch(/^KV_b\d+-leases 20\S+ grants from now on, in epoch 2\n$/);
        const second = await host("n2", false);
        await second.actor("order", "a").send({ type: "NOTE" });
        expect((await second.actor("order", "a").document())?.token[0]).toBe(2);
        expect((await run("leases", "list")).code).toBe(2);
      });

      test("without a host it reads, and what needs one says that nothing was done", async () => {
        const runtime = await host();
        await runtime.actor("order", "a").create(undefined, { key: "c" });
        await stop(runtime);
        expect(await done("ls")).toMatch(/order +a +open/);
        expect(await done("info")).toMatch(/^nodes +none is alive$/m);
        const argv = ["send", "order", "a", '{"type":"PAY"}', "--json", "--nats", server.url, "--bucket", bucket];
        const sent = await holdfast(argv, { clock: new HastyClock() });
        expect(JSON.parse(sent.err).error).toMatchObject({
          code: "Moved",
          message: expect.stringMatching(
            /no runtime that takes requests for order\.a was there within .*: nothing was done; is one running .*"order"/,
          ),
        });
      });

      describe("after a person's", () => {
        /** An order that was paid, whose document stands in the bucket. */
        async function paid(): Promise<Runtime<Orders>> {
          const runtime = await host();
          await runtime.actor("order", "o-1").create({ total: 90 });
          await runtime.actor("order", "o-1").send({ type: "PAY" });
          return runtime;
        }
        const key = "order.o-1";
        const send = () => run("send", key, '{"type":"PAY"}', "--json");
        /** Nothing is done with it: not for an event, nor by a node that finds it. */
        async function isNoticed(byHand: string | undefined): Promise<void> {
          const { err } = await send();
          expect(JSON.parse(err).error).toMatchObject({
            code: "Parked",
            message: expect.stringMatching(/foreign: revision \d+ of the store was not written by a runtime/),
          });
          expect(await wire.get(bucket, key)).toBe(byHand);
          const [record] = JSON.parse(await done("parked", "--json"));
          expect(record).toMatchObject({ type: "order", id: "o-1", reason: "foreign" });
          expect(record.message).toBe(
            `revision ${record.storeRevision} of the store was not written by a runtime: a person wrote it, or it has rotted on the disk`,
          );
        }
        const stateOf = async () => JSON.parse(await done("get", key, "--json"));

        test("put: parked and untouched; --accept takes it", async () => {
          await paid();
          const edited = ((await wire.get(bucket, key)) ?? "").replace('"total":90', '"total":70');
          await wire.put(bucket, key, edited);
          expect((await run("get", key)).out).toMatch(/written by hand: no runtime wrote this revision/);
          await isNoticed(edited);
          expect(await done("history", key)).toMatch(/hand/);
          await done("resume", key, "--accept");
          expect((await stateOf()).actors.s0.snap.context.total).toBe(70);
          expect((await send()).code).toBe(0);
          expect((await stateOf()).actors.s0.snap.context.total).toBe(70);
          expect(await done("parked")).toBe("nothing is parked\n");
        });

        test("put: --discard puts back what a runtime wrote last", async () => {
          await paid();
          await wire.put(bucket, key, '{"state":"paid","note":"fixed it"}');
          await isNoticed('{"state":"paid","note":"fixed it"}');
          expect((await run("resume", key, "--accept")).err).toMatch(/order\.o-1 holds no document/);
          await done("resume", key, "--discard");
          expect(await stateOf()).toMatchObject({ state: "paid", seq: 2 });
          expect((await send()).code).toBe(0);
        });

        test("put that nobody has come upon yet is settled all the same", async () => {
          const runtime = await paid();
          const edited = ((await wire.get(bucket, key)) ?? "").replace('"total":90', '"total":60');
          await wire.put(bucket, key, edited);
          await done("resume", key, "--accept");
          expect((await send()).code).toBe(0);
          expect((await runtime.actor("order", "o-1").state())?.context.total).toBe(60);
        });

        test("del: --discard brings the actor back with its timer", async () => {
          await paid();
          await wire.del(bucket, key);
          await isNoticed(undefined);
          await done("resume", key, "--discard");
          expect(await stateOf()).toMatchObject({ state: "paid", timers: { t1: { due: expect.any(String) } } });
          expect((await send()).code).toBe(0);
        });

        test("del: --accept ends the actor, and its id is free", async () => {
          const runtime = await paid();
          await wire.del(bucket, key);
          await isNoticed(undefined);
          await done("resume", key, "--accept");
          expect(JSON.parse((await send()).err).error.code).toBe("NotFound");
          expect(await done("create", key, '{"total":1}')).toBe("created, revision 1\n");
          expect((await runtime.actor("order", "o-1").state())?.context.total).toBe(1);
          await stop(runtime);
          await host("n2", false);
          expect((await send()).code).toBe(0);
        });

        test("purge: no revision is left to put back, which is said; --accept ends the actor", async () => {
          await paid();
          await wire.purge(bucket, key);
          await isNoticed(undefined);
          expect((await run("resume", key, "--discard")).err).toMatch(
            /no revision that a runtime wrote is kept of order\.o-1/,
          );
          await done("resume", key, "--accept");
          expect(JSON.parse((await send()).err).error.code).toBe("NotFound");
        });

        test("revert: an old state is not trusted because a runtime once wrote it; either way back works", async () => {
          await paid();
          const first = (await wire.history(bucket, key))[0];
          assert.ok(first);
          for (const [way, state] of [
            ["--discard", "paid"],
            ["--accept", "open"],
          ] as const) {
            await wire.revert(bucket, key, first.revision);
            await isNoticed(first.value);
            await done("resume", key, way);
            expect((await stateOf()).state).toBe(state);
          }
          expect((await send()).code).toBe(0);
          expect((await stateOf()).state).toBe("paid");
        });

        test("put while no host runs is found by the next one, which leaves it alone", async () => {
          const runtime = await paid();
          await stop(runtime);
          const edited = ((await wire.get(bucket, key)) ?? "").replace('"total":90', '"total":50');
          await wire.put(bucket, key, edited);
          await host("n2", false);
          await isNoticed(edited);
          await done("resume", key, "--discard");
          expect((await stateOf()).actors.s0.snap.context.total).toBe(90);
        });
      });
    });
  }
});
