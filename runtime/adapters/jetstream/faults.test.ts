/** The network and the server misbehave for real: what a commit's outcome is then, and that it happens once. */
import assert from "node:assert/strict";
import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { hashText } from "../../hash.ts";
import { commit } from "../../host/commit.ts";
import type { StoreLoss, StoreWrite } from "../../ports/store.ts";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { type NatsProxy, startNatsProxy } from "../../testing/nats-proxy.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { until } from "../../testing/until.fixture.ts";
import { connectNats, type OpenConnection } from "../nats/connection.ts";
import { Requests } from "../nats/requests.ts";
import { SystemClock } from "../system-clock.ts";
import { SystemRandom } from "../system-random.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "./jetstream-store.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const clock = new SystemClock();
const random = new SystemRandom();
const token = [1, 1] as const;

function writeOf(key: string, value: string, expect: number, id: string): StoreWrite {
  return { key, value, expect, token, header: { commit: id, hash: hashText(value) } };
}

/** Of a publish that was stored. */
const isAck = (text: string) => /^\{"stream":"KV_[^"]*",\s*("domain":"[^"]*",\s*)?"seq":/.test(text);

describeWithNats("a commit on JetStream", () => {
  let server: NatsServer;
  let proxy: NatsProxy;
  /** Through the proxy. */
  let open: OpenConnection;
  let requests: Requests;
  /** Past it. */
  let direct: OpenConnection;
  let directRequests: Requests;
  let bucket = "";
  let buckets = 0;

  beforeAll(async () => {
    server = await startNatsServer();
    proxy = await startNatsProxy(server.port);
    open = await connectNats({ servers: proxy.url }, {});
    direct = await connectNats({ servers: server.url }, {});
    requests = new Requests(open.connection, clock, createInbox());
    directRequests = new Requests(direct.connection, clock, createInbox());
  });
  afterAll(async () => {
    await open?.close();
    await direct?.close();
    await proxy?.stop();
    await server?.stop();
  });
  beforeEach(() => {
    proxy.fate = () => "pass";
    proxy.heal();
    bucket = `f${++buckets}`;
  });

  const openStore = (options: JetStreamStoreOptions = {}) =>
    JetStreamStore.open(requests, { bucket, requestTimeoutMs: 300, ...options }, { clock, logger: silent, random });
  const openDirect = () => JetStreamStore.open(directRequests, { bucket }, { clock, logger: silent, random });
  const settings = { settleFirstMs: 10, settleMaxMs: 100 };
  const settle = (store: JetStreamStore, write: StoreWrite) =>
    commit({ store, clock, settings, mayAct: () => true }, write);

  test("whose acknowledgement is lost is unknown, stands in the store, and ends as written, once", async () => {
    const store = await openStore();
    let lost = 0;
    proxy.fate = (text) => (isAck(text) && lost++ < 1 ? "lose" : "pass");
    const write = writeOf("order.a", '{"n":1}', 0, "c1");
    expect((await store.write(write)).kind).toBe("unknown");
    expect((await store.read("order.a"))?.header?.commit).toBe("c1");

    lost = 0;
    const next = writeOf("order.a", '{"n":2}', (await store.read("order.a"))?.revision as number, "c2");
    const result = await settle(store, next);
    const entry = await store.read("order.a");
    expect(result).toEqual({ kind: "written", revision: entry?.revision });
    expect(lost).toBeGreaterThan(0);
    expect((await store.history("order.a")).map(({ header }) => header?.commit)).toEqual(["c1", "c2"]);
    await store.close();
  });

  test("whose acknowledgement comes after the time-out is unknown, and the late one is nobody's", async () => {
    const store = await openStore();
    let late = 0;
    proxy.fate = (text) => (isAck(text) && late++ < 1 ? { delayMs: 600 } : "pass");
    const result = await settle(store, writeOf("order.a", '{"n":1}', 0, "c1"));
    expect(result.kind).toBe("written");
    await until(() => requests.size === 0, "nothing waits");
    const other = await settle(store, writeOf("order.b", '{"n":1}', 0, "c2"));
    expect(other).toEqual({ kind: "written", revision: (await store.read("order.b"))?.revision });
    expect((await store.history("order.a")).length).toBe(1);
    await store.close();
  });

  test("whose acknowledgement comes twice is written once, and the next one is not taken for it", async () => {
    const store = await openStore();
    proxy.fate = (text) => (isAck(text) ? "twice" : "pass");
    let expect0 = 0;
    for (let n = 1; n <= 20; n++) {
      const result = await settle(store, writeOf("order.a", `{"n":${n}}`, expect0, `c${n}`));
      assert.equal(result.kind, "written");
      expect0 = (result as { revision: number }).revision;
      expect((await store.read("order.a"))?.revision).toBe(expect0);
    }
    await store.close();
  });

  test("beside which somebody else wrote ends as superseded", async () => {
    const store = await openStore();
    const other = await openDirect();
    await other.write(writeOf("order.a", '{"token":[1,1]}', 0, "theirs"));
    expect((await settle(store, writeOf("order.a", '{"n":1}', 0, "ours"))).kind).toBe("superseded");
    await store.close();
    await other.close();
  });

  test("during a cut connection is unknown at once, and goes through after the reconnect", async () => {
    const store = await openStore({ requestTimeoutMs: 60_000 });
    proxy.fate = (text) => (isAck(text) ? "lose" : "pass");
    const first = store.write(writeOf("order.a", '{"n":1}', 0, "c1"));
    await until(async () => (await readDirect("order.a")) !== undefined, "the write is stored");
    proxy.fate = () => "pass";
    proxy.cut();
    expect((await first).kind).toBe("unknown");
    expect((await settle(store, writeOf("order.a", '{"n":1}', 0, "c1"))).kind).toBe("written");
    expect((await store.history("order.a")).length).toBe(1);
    await store.close();
  });

  async function readDirect(key: string): Promise<unknown> {
    const store = await openDirect();
    try {
      return await store.read(key);
    } finally {
      await store.close();
    }
  }

  test("a watch goes on after a cut connection and a restarted server, and misses no latest value", async () => {
    const store = await openStore();
    const other = await openDirect();
    const seen = new Map<string, string>();
    store.watch("order.", (change) => {
      if (change.kind === "put") seen.set(change.entry.key, change.entry.value);
      else seen.delete(change.key);
    });
    const put = async (key: string, value: string) => {
      const { settled } = { settled: await settle(other, writeOf(key, value, 0, random.id())) };
      assert.equal(settled.kind, "written");
      return (settled as { revision: number }).revision;
    };
    await put("order.a", '"1"');
    await until(() => seen.get("order.a") === '"1"', "the first write is seen");
    proxy.refuse();
    proxy.cut();
    await put("order.b", '"2"');
    proxy.heal();
    await until(() => seen.get("order.b") === '"2"', "a write during the cut is seen");
    await server.restart();
    const revision = await put("order.c", '"3"');
    await until(() => seen.get("order.c") === '"3"', "a write after the restart is seen");
    await until(async () => (await other.purge("order.c", revision, token)).kind !== "unknown", "purged");
    await until(() => !seen.has("order.c"), "the purge is seen");
    await store.close();
    await other.close();
  });

  test("a person's put, del and purge are entries without our header; our own purge is none", async () => {
    const store = await openStore();
    const { connection } = direct;
    const { headers } = await import("@nats-io/transport-node");
    const operation = (name: string) => {
      const header = headers();
      header.set("KV-Operation", name);
      if (name === "PURGE") header.set("Nats-Rollup", "sub");
      return header;
    };
    const subject = `$KV.${bucket}.order.a`;
    const theirs = async (data: string, name?: string) => {
      await connection.request(subject, data, { timeout: 5_000, ...(name && { headers: operation(name) }) });
      return await store.read("order.a");
    };
    const first = await store.write(writeOf("order.a", '{"n":1}', 0, "c1"));
    assert.equal(first.kind, "written");
    expect(await theirs('{"n":2}')).toMatchObject({ value: '{"n":2}', header: undefined });
    expect(await theirs("", "DEL")).toMatchObject({ value: "", header: undefined });
    expect(await store.write(writeOf("order.a", '{"n":3}', 0, "c3"))).toEqual({ kind: "conflict" });
    const purged = await theirs("", "PURGE");
    expect(purged).toMatchObject({ value: "", header: undefined });
    expect((await store.purge("order.a", purged?.revision as number, token)).kind).toBe("written");
    expect(await store.read("order.a")).toBeUndefined();
    expect((await store.write(writeOf("order.a", '{"n":4}', 0, "c4"))).kind).toBe("written");
    await store.close();
  });

  test("a bucket that was made anew is never written again, and whoever listens is told", async () => {
    const store = await openStore();
    const losses: StoreLoss[] = [];
    store.onLoss((loss) => losses.push(loss));
    const written = await store.write(writeOf("order.a", '{"n":1}', 0, "c1"));
    assert.equal(written.kind, "written");
    await directRequests.ask(`$JS.API.STREAM.DELETE.KV_${bucket}`, new Uint8Array(0), undefined, 5_000);
    await (await openDirect()).close();
    const outcome = await store.write(writeOf("order.a", '{"n":2}', written.revision, "c2"));
    expect(outcome).toMatchObject({ kind: "refused", reason: "fenced" });
    expect(losses).toMatchObject([{ reason: "replaced" }]);
    await expect(store.read("order.a")).rejects.toThrow(/made anew/);
    await store.close();
  });

  test("a full account refuses, loses nothing, and takes writes again when there is room", async () => {
    const small = await startNatsServer({ maxFileStore: "2MB" });
    const link = await connectNats({ servers: small.url }, {});
    const own = new Requests(link.connection, clock, createInbox());
    const store = await JetStreamStore.open(own, {}, { clock, logger: silent, random });
    const bytes = (text: string) => new TextEncoder().encode(text);
    const filler = JSON.stringify({ name: "filler", subjects: ["filler"], storage: "file" });
    await own.ask("$JS.API.STREAM.CREATE.filler", bytes(filler), undefined, 5_000);
    for (let n = 0; n < 5; n++) await own.ask("filler", new Uint8Array(200_000), undefined, 5_000);
    const value = JSON.stringify("x".repeat(200_000));
    const revisions: number[] = [];
    let refused: unknown;
    for (let n = 0; n < 40 && refused === undefined; n++) {
      const outcome = await store.write(writeOf(`order.${n}`, value, 0, `c${n}`));
      if (outcome.kind === "written") revisions.push(outcome.revision);
      else refused = outcome;
    }
    expect(refused).toMatchObject({ kind: "refused", reason: "full" });
    expect(revisions.length).toBeGreaterThan(2);
    expect((await store.read("order.0"))?.revision).toBe(revisions[0]);
    expect(await store.read(`order.${revisions.length}`)).toBeUndefined();
    await own.ask("$JS.API.STREAM.DELETE.filler", bytes(""), undefined, 5_000);
    await until(
      async () => (await store.write(writeOf("order.again", '"small"', 0, "again"))).kind === "written",
      "there is room again",
    );
    await store.close();
    await link.close();
    await small.stop();
  });
});
