/** A commit on a stream of three replicas: what is written at once, and what a foreign message can do to all of it. */
import assert from "node:assert/strict";
import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, test } from "vitest";
import { hashText } from "../../hash.ts";
import { describeWithNats, natsVersions } from "../../testing/nats.fixture.ts";
import { type NatsCluster, startNatsCluster } from "../../testing/nats-server.ts";
import { connectNats, type OpenConnection } from "../nats/connection.ts";
import { EncodedHeaders, type Reply, Requests } from "../nats/requests.ts";
import { SystemClock } from "../system-clock.ts";
import { SystemRandom } from "../system-random.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "./jetstream-store.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const clock = new SystemClock();
const random = new SystemRandom();

describeWithNats("three replicas", () => {
  for (const binary of natsVersions) {
    describe(`of ${binary.version}`, () => {
      let cluster: NatsCluster;
      let open: OpenConnection;
      let requests: Requests;
      beforeAll(async () => {
        cluster = await startNatsCluster(3, { binary });
        open = await connectNats({ servers: cluster.urls }, {});
        requests = new Requests(open.connection, clock, createInbox());
      });
      afterAll(async () => {
        requests?.stop();
        await open?.close();
        await cluster?.stop();
      });

      const openStore = (bucket: string, options: JetStreamStoreOptions = {}) =>
        JetStreamStore.open(requests, { bucket, replicas: 3, ...options }, { clock, logger: silent, random });
      const write = (store: JetStreamStore, key: string, value: string, expect: number, commit: string) =>
        store.write({ key, value, expect, token: [1, 1], header: { commit, hash: hashText(value) } });
      /** Just after a bucket was made, a server may not know yet whom to give its messages to. */
      const first = async (store: JetStreamStore) => {
        for (let tries = 1; tries <= 100; tries++) {
          const outcome = await write(store, "order.a", "1", 0, `c${tries}`);
          if (outcome.kind !== "unknown") return assert.equal(outcome.kind, "written");
        }
        assert.fail("nobody takes a first write");
      };
      const asked = (subject: string, headers: readonly (readonly [string, string])[], data = "") =>
        new Promise<Reply>((resolve) => {
          requests.send(subject, new TextEncoder().encode(data), new EncodedHeaders(headers), 5_000, resolve);
        });

      test("one of those who write at once has written, and the others conflict, whichever code says so", async () => {
        const store = await openStore("race");
        await first(store);
        let expect = (await store.read("order.a"))?.revision ?? 0;
        for (let round = 1; round <= 10; round++) {
          const outcomes = await Promise.all(
            Array.from({ length: 8 }, (_, one) =>
              write(store, "order.a", `${round}.${one}`, expect, `c${round}.${one}`),
            ),
          );
          const written = outcomes.flatMap((outcome) => (outcome.kind === "written" ? [outcome.revision] : []));
          assert.equal(written.length, 1, JSON.stringify(outcomes));
          assert.equal(outcomes.filter(({ kind }) => kind === "conflict").length, 7, JSON.stringify(outcomes));
          [expect] = written as [number];
          assert.equal((await store.read("order.a"))?.revision, expect);
        }
        await store.close();
      });

      // nats-server 2.15.1 stops a replicated stream for good when it applies this message (docs/differential.md).
      test("a foreign message that expects a wrong last id makes no outcome untrue", async () => {
        const store = await openStore("foreign", { requestTimeoutMs: 1_000 });
        await first(store);
        const revision = (await store.read("order.a"))?.revision ?? 0;
        const foreign = await asked("$KV.foreign.order.b", [["Nats-Expected-Last-Msg-Id", "none"]], "x");
        assert.ok(foreign.kind === "reply" && foreign.message.string().includes("10070"));
        const second = await write(store, "order.a", "2", revision, "second");
        const found = await asked("$JS.API.DIRECT.GET.KV_foreign.$KV.foreign.order.a", []);
        const value = found.kind === "reply" ? found.message.string() : undefined;
        assert.ok(second.kind === "written" ? value === "2" : second.kind === "unknown" && value === "1", second.kind);
        await store.close();
      });
    });
  }
});
