/** What purges leave in the bucket of a real server: markers that watches see, and that do not pile up in the index. */
import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashText } from "../../hash.ts";
import { describeWithNats, natsVersions } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { connectNats, type OpenConnection } from "../nats/connection.ts";
import { Requests } from "../nats/requests.ts";
import { SystemClock } from "../system-clock.ts";
import { SystemRandom } from "../system-random.ts";
import { Api } from "./api.ts";
import { journalName, prepareJournal } from "./journal.ts";
import { bucketSettings } from "./options.ts";
import { prepareBucket, serverFacts } from "./setup.ts";
import { Shard } from "./shard.ts";

const token = [1, 1] as const;
const random = new SystemRandom();

describeWithNats("markers of fleeting keys", () => {
  describe.each(natsVersions)("on nats-server $version", (binary) => {
    let server: NatsServer;
    let open: OpenConnection;
    let requests: Requests;
    let api: Api;
    let hasJournal = false;

    beforeAll(async () => {
      server = await startNatsServer({ binary, synced: true });
      open = await connectNats({ servers: server.url }, {});
      requests = new Requests(open.connection, new SystemClock(), createInbox());
      api = new Api(requests, 5_000);
      hasJournal = serverFacts(api).apiLevel >= 1;
    });
    afterAll(async () => {
      requests?.stop();
      await open?.close();
      await server?.stop();
    });

    async function openShard(): Promise<Shard> {
      const settings = bucketSettings({ bucket: "shop", synced: true, journal: hasJournal });
      const prepared = await prepareBucket(api, "shop", 0, settings, true, serverFacts(api));
      return new Shard({
        api,
        prepared,
        journal: await prepareJournal(api, settings, ["shop"]),
        writer: {
          requests,
          timeoutMs: 5_000,
          maxInFlight: 64,
          batches: prepared.info.config.allow_atomic === true,
          id: () => random.id().slice(0, 16),
        },
        isFleeting: (key) => key.startsWith("_pending."),
        markerMs: 1_000,
        clock: new SystemClock(),
        onLost: (_, detail) => {
          throw new Error(detail);
        },
      });
    }

    async function written(shard: Shard, key: string): Promise<number> {
      const header = { commit: random.id(), hash: hashText("{}") };
      const outcome = await shard.write({ key, value: "{}", header, expect: 0, token });
      expect(outcome.kind).toBe("written");
      return (outcome as { readonly revision: number }).revision;
    }

    test("go, by themselves or by sweeps; keys that came back and other keys' markers stay", async () => {
      const shard = await openShard();
      const keys = Array.from({ length: 40 }, (_, n) => `_pending.order.${n}`);
      await Promise.all(
        [...keys, "_parked.order.0"].map(async (key) => {
          const revision = await written(shard, key);
          expect((await shard.purge(key, revision, token, random.id())).kind).toBe("written");
        }),
      );
      const again = await written(shard, "_pending.order.7");
      // Another process, which did not purge, meets what is left when it lists.
      const other = await openShard();
      await shard.close();
      await other.readAll(await other.keys("_pending."));
      await other.sweep();
      await other.sweep();
      for (let tries = 0; (await other.keys("")).length > 2; tries++) {
        expect(tries, "markers stay").toBeLessThan(500);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect((await other.keys("")).sort()).toEqual(["_parked.order.0", "_pending.order.7"]);
      expect((await other.read("_pending.order.7"))?.revision).toBe(again);
      await other.check();
      await written(other, "_pending.order.8");
      // The journal, which lets nothing expire, is not held up by what is to expire.
      const last = () => api.lastOf(journalName("shop"), "$KV.shop._pending.order.8");
      for (let tries = 0; hasJournal && (await last()) === undefined; tries++) {
        expect(tries, "the journal does not go on").toBeLessThan(500);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await other.close();
    });
  });
});
