/** What is wrong with a server or a bucket is said by name, before anything is written. */
import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { connectNats, type OpenConnection } from "../nats/connection.ts";
import { Requests } from "../nats/requests.ts";
import { SystemClock } from "../system-clock.ts";
import { SystemRandom } from "../system-random.ts";
import { jetstream } from "./index.ts";
import { JetStreamStore, type JetStreamStoreOptions } from "./jetstream-store.ts";
import { bucketSettings } from "./options.ts";
import { serverFacts } from "./setup.ts";

const clock = new SystemClock();
const random = new SystemRandom();

function recorded() {
  const lines: string[] = [];
  const say = (message: string) => lines.push(message);
  return { lines, logger: { debug() {}, info: say, warn: say, error: say } };
}

const ports = () => ({ clock, random, logger: recorded().logger });

test.each([
  [{ bucket: "no spaces" }, /`bucket` is "no spaces"/],
  [{ replicas: 2 }, /`replicas` is 2; it must be 1, 3 or 5/],
  [{ history: 65 }, /`history` is 65; it must be a whole number from 1 to 64/],
  [{ history: Number.NaN, shards: 0 }, /`history` is NaN.*`shards` is 0/],
  [{ partitions: 1.5 }, /`partitions` is 1.5/],
  [{ journal: { maxAgeMs: -1 } }, /`journal.maxAgeMs` is -1/],
  [{ domain: "a.b" }, /`domain` is "a.b"/],
] as const)("options %j are refused by name", (options, message) => {
  expect(() => bucketSettings(options)).toThrow(message);
});

test("a server that is too old is named with its version", () => {
  const api = { connection: { info: { version: "2.9.10" }, getServer: () => "127.0.0.1:4222" } };
  expect(() => serverFacts(api as never)).toThrow(/nats-server 2.9.10; 2.10 or newer is needed/);
});

test("no server, and servers that are no URL", async () => {
  await expect(jetstream({ servers: "nats://127.0.0.1:1", connectTimeoutMs: 500 }).open(ports())).rejects.toThrow(
    /no connection to NATS at nats:\/\/127.0.0.1:1: .*start a server/,
  );
  await expect(jetstream({ servers: [] }).open(ports())).rejects.toThrow(/`servers` must be one URL or several/);
  await expect(jetstream({ credsFile: "/nowhere/x.creds" }).open(ports())).rejects.toThrow(
    /`credsFile`: \/nowhere\/x.creds cannot be read/,
  );
});

test("a connection of the package nats, version 2, or none at all", async () => {
  const version2 = { publish() {}, subscribe() {} };
  await expect(jetstream({ connection: version2 as never }).open(ports())).rejects.toThrow(
    /made by the package `nats`, version 2/,
  );
  await expect(jetstream({ connection: {} as never }).open(ports())).rejects.toThrow(/no NATS connection/);
});

describeWithNats("a bucket", () => {
  let server: NatsServer;
  let open: OpenConnection;
  let requests: Requests;
  let buckets = 0;

  beforeAll(async () => {
    server = await startNatsServer();
    open = await connectNats({ servers: server.url }, {});
    requests = new Requests(open.connection, clock, createInbox());
  });
  afterAll(async () => {
    requests?.stop();
    await open?.close();
    await server?.stop();
  });

  const openStore = (options: JetStreamStoreOptions, logger = recorded().logger) =>
    JetStreamStore.open(requests, options, { clock, random, logger });

  async function call(name: string, body: unknown): Promise<Record<string, unknown>> {
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    const reply = await requests.ask(`$JS.API.${name}`, bytes, undefined, 5_000);
    if (reply.kind !== "reply") throw new Error(reply.kind);
    return reply.message.json();
  }

  /** A bucket of ours, changed by somebody. */
  async function changed(change: Record<string, unknown>): Promise<string> {
    const bucket = `s${++buckets}`;
    await (await openStore({ bucket })).close();
    const info = (await call(`STREAM.INFO.KV_${bucket}`, {})) as { config: Record<string, unknown> };
    const answer = await call(`STREAM.UPDATE.KV_${bucket}`, { ...info.config, ...change });
    expect(answer.error).toBeUndefined();
    return bucket;
  }

  test("that somebody else made is not touched", async () => {
    await call("STREAM.CREATE.KV_theirs", { name: "KV_theirs", subjects: ["$KV.theirs.>"], max_msgs_per_subject: 1 });
    await expect(openStore({ bucket: "theirs" })).rejects.toThrow(/made by somebody else/);
  });

  test("that is not there, for who only reads", async () => {
    await expect(openStore({ bucket: "none", create: false })).rejects.toThrow(/there is no bucket none/);
  });

  test.each([
    [{ discard: "old" }, /discard is old.*nats stream edit KV_s\d+ --discard=new/],
    [{ max_age: 3_600_000_000_000 }, /max_age is 3600000000000 ns/],
    [{ allow_rollup_hdrs: false }, /nothing could be purged/],
    [{ subjects: ["elsewhere.>"] }, /its subjects are elsewhere.>/],
  ])("changed to %j cannot be used, and the difference is named with its cure", async (change, message) => {
    await expect(openStore({ bucket: await changed(change) })).rejects.toThrow(message);
  });

  test("with other fixed numbers than asked for", async () => {
    const bucket = `s${++buckets}`;
    await (await openStore({ bucket, partitions: 8 })).close();
    await expect(openStore({ bucket, partitions: 64 })).rejects.toThrow(
      /holdfast-partitions is 8, asked is 64: it is fixed when a bucket is made; ask for 8/,
    );
    const reader = await openStore({ bucket, create: false });
    expect(reader.partitions).toBe(8);
    await reader.close();
  });

  test("with fewer replicas than asked for", async () => {
    const bucket = `s${++buckets}`;
    await (await openStore({ bucket })).close();
    await expect(openStore({ bucket, replicas: 3 })).rejects.toThrow(/it has 1 replicas, asked are 3/);
    await expect(openStore({ bucket: "wide", replicas: 3 })).rejects.toThrow(/cannot have 3 replicas|no answer|10074/);
  });

  test("that does no harm, but is not as asked, is warned of", async () => {
    const bucket = await changed({ max_msgs_per_subject: 3, max_bytes: 1_000_000 });
    const { lines, logger } = recorded();
    await (await openStore({ bucket }, logger)).close();
    expect(lines.join("\n")).toMatch(/max_bytes is 1000000: at that size writes are refused/);
    expect(lines.join("\n")).toMatch(/it keeps 3 revisions, asked are 10/);
  });

  test("with a smaller size of messages: documents are bounded by it, and one that holds nothing is refused", async () => {
    const bucket = await changed({ max_msg_size: 65_536 });
    const { lines, logger } = recorded();
    const store = await openStore({ bucket }, logger);
    expect(store.info.maxValueBytes).toBe(65_536 - 2_048);
    expect(lines.join("\n")).toMatch(/max_msg_size is 65536: larger documents are refused/);
    await store.close();
    await expect(openStore({ bucket: await changed({ max_msg_size: 1_000 }) })).rejects.toThrow(/max_msg_size is 1000/);
  });

  test("a journal keeps what the bucket forgets, and history reads across both", async () => {
    const bucket = `s${++buckets}`;
    const store = await openStore({ bucket, history: 2, journal: true });
    let expectRevision = 0;
    for (let n = 1; n <= 9; n++) {
      const value = `{"n":${n}}`;
      const outcome = await store.write({
        key: "order.a",
        value,
        expect: expectRevision,
        token: [1, 1],
        header: { commit: `c${n}`, hash: "h" },
      });
      if (outcome.kind !== "written") throw new Error(outcome.kind);
      expectRevision = outcome.revision;
      // The journal copies after the fact; this bucket would forget before it has.
      for (let tries = 0; ; tries++) {
        const { state } = (await call(`STREAM.INFO.${bucket}-journal`, {})) as { state: { messages: number } };
        if (state.messages === n) break;
        if (tries > 500) throw new Error(`the journal has only ${state.messages} of ${n}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    const history = await store.history("order.a");
    expect(history.map(({ value }) => value)).toEqual(Array.from({ length: 9 }, (_, n) => `{"n":${n + 1}}`));
    expect(history.map(({ revision }) => revision)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await store.close();
  });

  test("JetStream off", async () => {
    const off = await startNatsServer({ jetstream: false });
    await expect(jetstream({ servers: off.url }).open(ports())).rejects.toThrow(/JetStream is off on this server/);
    await off.stop();
  });

  test("a permission that is missing is named", async () => {
    const strict = await startNatsServer({
      config:
        'authorization { users: [ { user: "u", password: "p", permissions: { publish: { deny: ["$JS.API.STREAM.CREATE.>"] } } } ] }',
    });
    const provider = jetstream({ servers: strict.url, user: "u", password: "p", requestTimeoutMs: 2_000 });
    await expect(provider.open(ports())).rejects.toMatchObject({
      code: "PermissionMissing",
      subject: "$JS.API.STREAM.CREATE.KV_actors",
    });
    await expect(jetstream({ servers: strict.url }).open(ports())).rejects.toThrow(/did not accept these credentials/);
    await strict.stop();
  });
});
