import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Api } from "../../../runtime/adapters/jetstream/api.ts";
import { jetstream } from "../../../runtime/adapters/jetstream/index.ts";
import { JetStreamStore } from "../../../runtime/adapters/jetstream/jetstream-store.ts";
import { memory } from "../../../runtime/adapters/memory/index.ts";
import { connectNats, type OpenConnection } from "../../../runtime/adapters/nats/connection.ts";
import { Requests } from "../../../runtime/adapters/nats/requests.ts";
import { SystemClock } from "../../../runtime/adapters/system-clock.ts";
import { SystemRandom } from "../../../runtime/adapters/system-random.ts";
import { createRuntime } from "../../../runtime/index.ts";
import type { ActorStore } from "../../../runtime/ports/store.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { describeWithNats, natsVersions } from "../../../runtime/testing/nats.fixture.ts";
import { type NatsProxy, startNatsProxy } from "../../../runtime/testing/nats-proxy.ts";
import { type NatsServer, startNatsCluster, startNatsServer } from "../../../runtime/testing/nats-server.ts";
import { jetstreamLeases } from "../../jetstream-leases.ts";
import { adoptBackend, attachBackend } from "../../lease/epoch.ts";
import { type LeasesUnderTest, leaseContract } from "../../ports/lease-service.contract.ts";
import { LeaseTable } from "./lease-table.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

/** A store that a process may be cut off from: nothing gets through, nobody is told. */
function cuttable(store: ActorStore) {
  let isCut = false;
  const never = () => new Promise<never>(() => {});
  const cut: ActorStore = {
    info: store.info,
    read: (key) => (isCut ? never() : store.read(key)),
    write: (write) => (isCut ? Promise.resolve({ kind: "unknown" }) : store.write(write)),
    purge: (key, expect, token) => (isCut ? Promise.resolve({ kind: "unknown" }) : store.purge(key, expect, token)),
    list: (options) => (isCut ? never() : store.list(options)),
    history: (key) => store.history(key),
    watch: (prefix, onChange) => store.watch(prefix, (change) => !isCut && onChange(change)),
    close: () => store.close(),
  };
  return {
    store: cut,
    set: (value: boolean) => {
      isCut = value;
    },
  };
}

/** A store that takes so many leases, and any number of sessions. */
function withRoom(most: number, store: ActorStore): ActorStore {
  return {
    ...cuttable(store).store,
    write: async (write) => {
      const isNew = write.key.startsWith("lease.") && write.expect === 0;
      const { length } = isNew ? await store.list({ prefix: "lease.", limit: most }) : [];
      return length === most ? { kind: "refused", reason: "full", detail: "no room" } : store.write(write);
    },
  };
}

describe("leases over a store in memory, on a clock of our own", () => {
  const open = async (): Promise<LeasesUnderTest> => {
    const clock = new ManualClock();
    const provider = memory();
    const store = withRoom(8, (await provider.open()).store);
    const cut = cuttable(store);
    const ports = { clock, random, logger: silent };
    const a = await LeaseTable.open({ ...ports, store: cut.store });
    const b = await LeaseTable.open({ ...ports, store });
    return {
      a,
      b,
      ttlMs: 3_000,
      room: 8,
      pass: (ms) => clock.advance(ms),
      freeze: () => cut.set(true),
      thaw: () => cut.set(false),
      close: async () => {
        // What waits for an answer needs time to give up.
        const closed = Promise.all([a.close(), b.close()]);
        await clock.advance(20_000);
        await closed;
      },
    };
  };
  test.each(leaseContract)("$name", ({ run }) => run(open));

  test("a session that an outage has delayed begins with its whole time", async () => {
    const clock = new ManualClock();
    const { store } = await memory().open();
    const cut = cuttable(store);
    const table = await LeaseTable.open({ clock, random, logger: silent, store: cut.store });
    const lost: string[] = [];
    cut.set(true);
    const opening = table.openSession({ node: "a", ttlMs: 3_000 });
    await clock.advance(2_800);
    cut.set(false);
    await clock.advance(300);
    const session = await opening;
    session.onLost((reason) => lost.push(reason));
    expect(session.validUntilMs - clock.monotonic()).toBeGreaterThan(2_500);
    await clock.advance(10_000);
    expect(lost).toEqual([]);
    expect(session.isValid).toBe(true);
    await table.close();
  });
});

describe("a watch that fell silent", () => {
  test("is noticed by what we write ourselves, and is as good as read until it shows that", async () => {
    const clock = new ManualClock();
    const { store } = await memory().open();
    let isSilent = false;
    let lists = 0;
    const deaf: ActorStore = {
      ...cuttable(store).store,
      list: (options) => {
        lists++;
        return store.list(options);
      },
      watch: (prefix, onChange) => store.watch(prefix, (change) => !isSilent && onChange(change)),
    };
    const ports = { clock, random, logger: silent };
    const a = await LeaseTable.open({ ...ports, store });
    const b = await LeaseTable.open({ ...ports, store: deaf });
    const giver = await a.openSession({ node: "a", ttlMs: 3_000 });
    const taker = await b.openSession({ node: "b", ttlMs: 3_000 });
    await giver.acquire("p07");
    // Some renewals pass, each of which the watch shows: nothing is read.
    const listsBefore = lists;
    await clock.advance(5_000);
    expect(lists).toBe(listsBefore);
    expect(b.view().leases.get("p07")?.session).toBe(giver.id);

    isSilent = true;
    await giver.transfer("p07", taker.id);
    // A third of the time to live until the next renewal, and what it is waited for.
    await clock.advance(1_000 + 500 + 50);
    expect(b.view().leases.get("p07")?.session).toBe(taker.id);

    isSilent = false;
    await clock.advance(2_000);
    const listsAfter = lists;
    await clock.advance(5_000);
    expect(lists).toBe(listsAfter);
    const closed = Promise.all([a.close(), b.close()]);
    await clock.advance(20_000);
    await closed;
  });

  test("that servers are too busy for is read after for no more than a fifth of the time", async () => {
    const clock = new ManualClock();
    const { store } = await memory().open();
    let isBusy = false;
    let lists = 0;
    const busy: ActorStore = {
      ...cuttable(store).store,
      list: async (options) => {
        lists++;
        if (isBusy) await new Promise<void>((resolve) => void clock.after(1_000, resolve));
        return store.list(options);
      },
      watch: (prefix, onChange) => store.watch(prefix, (change) => !isBusy && onChange(change)),
    };
    const table = await LeaseTable.open({ clock, random, logger: silent, store: busy });
    await table.openSession({ node: "a", ttlMs: 3_000 });
    isBusy = true;
    const before = lists;
    await clock.advance(60_000);
    // A second for the list, four of rest; and those of every fifteen seconds.
    expect(lists - before).toBeGreaterThan(5);
    expect(lists - before).toBeLessThanOrEqual(60 / 5 + 60 / 15 + 1);
    const closed = table.close();
    await clock.advance(20_000);
    await closed;
  });
});

/** A store whose next answer to a question may be held back, as it was when it was asked. */
function withLateAnswers(store: ActorStore) {
  const held: Partial<Record<"list" | "read", { release: () => void }>> = {};
  const wanted = new Set<"list" | "read">();
  const late = async <T>(what: "list" | "read", answer: Promise<T>): Promise<T> => {
    if (!wanted.delete(what)) return answer;
    const asked = await answer;
    await new Promise<void>((release) => {
      held[what] = { release };
    });
    return asked;
  };
  return {
    store: {
      ...cuttable(store).store,
      list: (options) => late("list", store.list(options)),
      read: (key) => late("read", store.read(key)),
    } satisfies ActorStore as ActorStore,
    holdNext: (what: "list" | "read") => wanted.add(what),
    release: (what: "list" | "read") => held[what]?.release(),
    isHeld: (what: "list" | "read") => held[what] !== undefined,
  };
}

describe("an answer that comes late", () => {
  test("of a list, brings back nothing that another has found gone", async () => {
    const clock = new ManualClock();
    const { store } = await memory().open();
    const slow = withLateAnswers(store);
    let isSilent = false;
    const deaf: ActorStore = {
      ...slow.store,
      watch: (prefix, onChange) => store.watch(prefix, (change) => !isSilent && onChange(change)),
    };
    const ports = { clock, random, logger: silent };
    const a = await LeaseTable.open({ ...ports, store });
    const b = await LeaseTable.open({ ...ports, store: deaf });
    const giver = await a.openSession({ node: "a", ttlMs: 3_000 });
    await b.openSession({ node: "b", ttlMs: 3_000 });
    await giver.acquire("p07");
    await clock.advance(14_000);
    const shown: boolean[] = [];
    b.onChange(() => shown.push(b.view().leases.has("p07")));
    slow.holdNext("list");
    isSilent = true;
    while (!slow.isHeld("list")) await clock.advance(100);
    await giver.release("p07");
    await clock.advance(3_000);
    slow.release("list");
    // It took three seconds, and is made again after four.
    await clock.advance(5_000);
    expect(shown.at(-1)).toBe(false);
    expect(shown.lastIndexOf(true)).toBeLessThan(shown.indexOf(false));
    const closed = Promise.all([a.close(), b.close()]);
    await clock.advance(20_000);
    await closed;
  });

  test("of a read, takes away nothing that was seen since", async () => {
    const clock = new ManualClock();
    const { store } = await memory().open();
    const slow = withLateAnswers(store);
    const ports = { clock, random, logger: silent };
    const a = await LeaseTable.open({ ...ports, store });
    const b = await LeaseTable.open({ ...ports, store: slow.store });
    const holder = await a.openSession({ node: "a", ttlMs: 3_000 });
    await holder.acquire("p07");
    await clock.advance(1_000);
    await holder.release("p07");
    await clock.advance(1_000);
    // The mark of its removal is read when everything is.
    slow.holdNext("read");
    while (!slow.isHeld("read")) await clock.advance(100);
    await holder.acquire("p07");
    await clock.advance(100);
    expect(b.view().leases.get("p07")?.session).toBe(holder.id);
    slow.release("read");
    await clock.advance(100);
    expect(b.view().leases.get("p07")?.session).toBe(holder.id);
    const closed = Promise.all([a.close(), b.close()]);
    await clock.advance(20_000);
    await closed;
  });
});

function judge(
  name: string,
  start: () => Promise<{ ports: number[]; urls: string[]; stop(): Promise<void> }>,
  replicas: number,
) {
  describe(name, () => {
    let deployment: Awaited<ReturnType<typeof start>>;
    let proxy: NatsProxy;
    let buckets = 0;
    beforeAll(async () => {
      deployment = await start();
      proxy = await startNatsProxy(deployment.ports[0] as number);
    });
    afterAll(async () => {
      await proxy?.stop();
      await deployment?.stop();
    });

    const open = async (): Promise<LeasesUnderTest> => {
      const clock = new SystemClock();
      const bucket = `leases-${++buckets}`;
      const links: [OpenConnection, Requests, JetStreamStore, LeaseTable][] = [];
      const connect = async (servers: string | string[]) => {
        // What one process of a cluster learns of other servers must not lead it past the proxy.
        const { connect: plain } = await import("@nats-io/transport-node");
        const connection = await plain({
          servers,
          ignoreClusterUpdates: true,
          maxReconnectAttempts: -1,
          reconnectTimeWait: 50,
        });
        const link = await connectNats({ connection }, {});
        const requests = new Requests(connection, clock, createInbox());
        const options = { bucket, replicas, history: 1, requestTimeoutMs: 250 };
        const ports = { clock, random, logger: silent };
        const store = await JetStreamStore.open(requests, options, ports);
        const table = await LeaseTable.open({ ...ports, store });
        links.push([{ ...link, close: () => connection.close() }, requests, store, table]);
        return table;
      };
      proxy.heal();
      const a = await connect(proxy.url);
      const b = await connect(deployment.urls);
      return {
        a,
        b,
        ttlMs: 1_000,
        pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        freeze: () => proxy.hang(),
        thaw: () => proxy.heal(),
        close: async () => {
          for (const [link, requests, store, table] of links) {
            await table.close();
            await store.close();
            requests.stop();
            await link.close();
          }
        },
      };
    };
    test.each(leaseContract)("$name", ({ run }) => run(open));
  });
}

describeWithNats("leases on JetStream", () => {
  const single = (binary: (typeof natsVersions)[number]) => async () => {
    const server: NatsServer = await startNatsServer({ binary });
    return { ports: [server.port], urls: [server.url], stop: () => server.stop() };
  };
  for (const binary of natsVersions) judge(`one server ${binary.version}`, single(binary), 1);
  judge(
    "three servers",
    async () => {
      const cluster = await startNatsCluster();
      return { ports: cluster.servers.map(({ port }) => port), urls: cluster.urls, stop: cluster.stop };
    },
    3,
  );
});

describe("the epoch", () => {
  const clock = new ManualClock();
  const ports = async () => ({ store: (await memory().open()).store, clock, random });

  test("is recorded at the first attachment and not raised by a restart", async () => {
    const made = await ports();
    expect(await attachBackend(made, "one")).toBe(1);
    expect(await attachBackend(made, "one")).toBe(1);
  });

  test("another back end is refused, naming the command, until it is adopted, which outranks all of before", async () => {
    const made = await ports();
    await attachBackend(made, "one");
    await expect(attachBackend(made, "two")).rejects.toThrow(
      /under leases of one, and these are two.*holdfast leases adopt/,
    );
    expect(await adoptBackend(made, "two")).toBe(2);
    expect(await attachBackend(made, "two")).toBe(2);
    await expect(attachBackend(made, "one")).rejects.toThrow(/under leases of two/);
  });

  test("an entry that a person has spoiled is not guessed at", async () => {
    const made = await ports();
    await made.store.write({ key: "_epoch", value: "7", expect: 0, token: [1, 0], header: { commit: "x", hash: "y" } });
    await expect(attachBackend(made, "one")).rejects.toThrow(/_epoch cannot be read/);
  });
});

describeWithNats("what ended sessions leave in the bucket", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterAll(() => server.stop());

  const processes: readonly (readonly [string, string, () => Promise<() => Promise<unknown>>])[] = [
    [
      "a runtime",
      "a",
      async () => {
        const store = jetstream({ servers: server.url, bucket: "a" });
        const runtime = await createRuntime({ actors: {}, store, logger: silent });
        return () => runtime.stop();
      },
    ],
    [
      "a user of leases",
      "b",
      async () => {
        const { leases, close } = await jetstreamLeases({ servers: server.url, bucket: "b", logger: silent });
        await leases.acquire("job");
        return close;
      },
    ],
  ];
  test.each(processes)(
    "of %s, is gone after a minute: everybody reads all keys, again and again",
    async (_, bucket, start) => {
      const stop = await start();
      await stop();
      const { connection, close } = await connectNats({ servers: server.url });
      const api = new Api(new Requests(connection, new SystemClock(), createInbox()), 5_000);
      const stream = `KV_${bucket}-leases`;
      const info = await api.streamInfo(stream, { subjects_filter: `$KV.${bucket}-leases.session.>`, offset: 0 });
      const [marker = ""] = Object.keys(info?.state.subjects ?? {});
      const { hdrs = "" } = (await api.lastOf(stream, marker)) ?? {};
      expect(Buffer.from(hdrs, "base64").toString()).toMatch(/KV-Operation: PURGE[\s\S]*Nats-TTL: 60/);
      await close();
    },
  );
});
