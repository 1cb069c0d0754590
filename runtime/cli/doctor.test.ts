/** `holdfast doctor` on real servers: what is right is said, and each fault is found by its name, with what to do. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setup } from "xstate";
import { jetstream } from "../adapters/jetstream/index.ts";
import { SystemClock } from "../adapters/system-clock.ts";
import { createRuntime, type Runtime } from "../index.ts";
import { describeWithNats, natsVersions } from "../testing/nats.fixture.ts";
import { type NatsServer, startNatsCluster, startNatsServer } from "../testing/nats-server.ts";
import { until } from "../testing/until.fixture.ts";
import type { Finding } from "./deployment/finding.ts";
import type { Verdict } from "./deployment/grades.ts";
import { holdfast, type Surroundings } from "./holdfast.fixture.ts";
import { NatsWire } from "./nats-wire.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const light = setup({ types: { events: {} as { type: "GO" } } }).createMachine({
  initial: "red",
  states: { red: { on: { GO: "green" } }, green: { after: { 3600000: "red" } } },
});

class ClockAhead extends SystemClock {
  readonly #aheadMs: number;

  constructor(aheadMs: number) {
    super();
    this.#aheadMs = aheadMs;
  }

  override now(): number {
    return super.now() + this.#aheadMs;
  }
}

type Diagnosis = {
  readonly code: number;
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  /** All of that grade, one per line: "what: why -> command". */
  readonly lines: (grade: Finding["grade"]) => string;
};

async function diagnose(argv: readonly string[], surroundings: Surroundings = {}): Promise<Diagnosis> {
  const { code, out, err } = await holdfast(["doctor", ...argv, "--json"], surroundings);
  expect(err).toBe("");
  const { verdict, findings } = JSON.parse(out) as { verdict: Verdict; findings: readonly Finding[] };
  const lines = (grade: Finding["grade"]) =>
    findings
      // How quick this machine is, today, is no matter of these tests.
      .filter((one) => one.grade === grade && one.what !== "round trip")
      .map(({ what, why, command }) => `${what}: ${why}${command === undefined ? "" : ` -> ${command}`}`)
      .join("\n");
  return { code, verdict, findings, lines };
}

type Started = { readonly bucket: string; readonly runtime: Runtime };

async function start(servers: string | string[], bucket: string, replicas = 1): Promise<Started> {
  const runtime = await createRuntime({
    actors: { light },
    store: jetstream({ servers, bucket, replicas, node: "n1", leaseTtlMs: 30_000 }),
    logger: silent,
  });
  await until(() => runtime.info().partitionsOwned === 64, "the node has all partitions");
  return { bucket, runtime };
}

test("there is no server: said with what to do, and exit code 2", async () => {
  const { code, out } = await holdfast(["doctor", "--nats", "nats://127.0.0.1:1"]);
  expect(out).toMatch(/^fail {2}server {2}no connection to NATS at nats:\/\/127.0.0.1:1: .*start a server/);
  expect(out).toMatch(/\nnot safe: there is no server to look at\n$/);
  expect(code).toBe(2);
});

test.each([
  [["--role", "boss"], /--role is "boss"; it must be one of node, client/],
  [["--monitor", "n1:8222"], /--monitor has "n1:8222"; write it like http:/],
  [["--bucket", "a b"], /--bucket is "a b"/],
  [["--data", "x", "--nats", "nats://n"], /choose --data or --nats/],
] as const)("called with %j, it says how to call it", async (argv, message) => {
  const { code, err } = await holdfast(["doctor", ...argv]);
  expect(err).toMatch(message);
  expect(code).toBe(2);
});

describeWithNats("holdfast doctor", () => {
  for (const binary of natsVersions) {
    describe(`on ${binary.version}`, () => {
      let server: NatsServer;
      let connection: NatsConnection;
      let wire: NatsWire;
      let shop: Started;

      beforeAll(async () => {
        server = await startNatsServer({ binary });
        connection = await connectNats({ servers: server.url });
        wire = new NatsWire(connection);
        shop = await start(server.url, "shop");
      });
      afterAll(async () => {
        await shop?.runtime.stop({ drainMs: 0 });
        await connection?.close();
        await server?.stop();
      });
      const monitor = () => `http://127.0.0.1:${server.monitorPort}`;
      const at = (bucket: string, ...more: string[]) => ["--nats", server.url, "--bucket", bucket, ...more];

      test("a deployment as it comes: safe for the crash of a process, and the sync interval is unknown", async () => {
        await shop.runtime.actor("light", "a").create(undefined, { key: "c" });
        const { verdict, lines, code, findings } = await diagnose(at("shop"));
        expect(lines("fail")).toBe("");
        expect(verdict.safeFor).toBe("process crash");
        expect(lines("warn")).toMatch(/^sync interval: a client cannot see it.* -> holdfast doctor --monitor/m);
        const okay = lines("ok");
        expect(`${okay}\n${lines("warn")}`).toContain(`server n1: nats-server ${binary.version}`);
        expect(okay).toMatch(/^bucket shop: as a runtime makes it: \d+ entries, .*, 64 partitions$/m);
        expect(okay).toMatch(/^leases shop-leases: as a runtime makes it/m);
        expect(okay).toMatch(/^permissions: all \d+ that the role node needs$/m);
        expect(okay).toMatch(/^nodes: n1 \(64\)$/m);
        expect(okay).toMatch(/^clock: .* the server's, within/m);
        expect(findings.find(({ what }) => what === "round trip")?.why).toMatch(/^p50 .* ms, p90 .* ms over 20/);
        expect(code).toBe(1);
      });

      test("with the monitoring page, what reaches the disk is known", async () => {
        const { lines, code } = await diagnose(at("shop", "--monitor", monitor()));
        expect(lines("warn")).toMatch(
          /^sync on n1: every 120 s: a power cut takes .* -> jetstream \{ sync_interval: always \}/m,
        );
        expect(code).toBe(1);
        const missing = await diagnose(at("shop", "--monitor", "http://127.0.0.1:1"));
        expect(missing.lines("warn")).toMatch(/^monitor http:\/\/127.0.0.1:1: cannot be read/m);
      });

      test("a server that syncs: safe for power loss where the version is known to keep that promise", async () => {
        const synced = await startNatsServer({ binary, synced: true });
        const { runtime } = await start(synced.url, "shop");
        const argv = ["--nats", synced.url, "--bucket", "shop", "--monitor", `http://127.0.0.1:${synced.monitorPort}`];
        const { verdict, lines } = await diagnose(argv);
        expect(lines("ok")).toMatch(/^sync on n1: always/m);
        const isOld = binary.version.startsWith("2.10.");
        expect(verdict.safeFor).toBe(isOld ? "process crash" : "power loss");
        if (isOld) expect(lines("warn")).toMatch(/^server n1: .*before 2.14.7/);
        else expect(lines("warn")).toBe("");
        await runtime.stop({ drainMs: 0 });
        await synced.stop();
      });

      test("a clock that is an hour off fails, one that is 2 s off is warned of", async () => {
        const hour = await diagnose(at("shop"), { clock: new ClockAhead(3_600_000) });
        expect(hour.lines("fail")).toMatch(
          /^clock: 3600 s ahead of the server's, .*: a node more than 5 s off takes no partitions -> timedatectl set-ntp true$/,
        );
        expect(hour.code).toBe(2);
        const behind = await diagnose(at("shop"), { clock: new ClockAhead(-2_000) });
        expect(behind.lines("warn")).toMatch(/^clock: \d+ ms behind the server's/m);
      });

      test("a node whose clock is an hour off is named with its own reason", async () => {
        const late = await createRuntime({
          actors: { light },
          store: jetstream({ servers: server.url, bucket: "shop", node: "late", leaseTtlMs: 30_000 }),
          logger: silent,
          clock: new ClockAhead(3_600_000),
        });
        const { lines, code } = await diagnose(at("shop"));
        expect(lines("fail")).toMatch(/^node late: takes no partitions: this machine's clock is 3600\.0 s ahead/);
        expect(code).toBe(2);
        await late.stop({ drainMs: 0 });
      });

      test("a bucket that is not there yet, and one that somebody else made", async () => {
        const none = await diagnose(at("none"));
        expect(none.lines("warn")).toMatch(/^bucket none: is not there: the first runtime makes it$/m);
        expect(none.verdict.text).toBe("safe for nothing yet: there is no bucket");
        await connection.request(
          "$JS.API.STREAM.CREATE.KV_theirs",
          JSON.stringify({ name: "KV_theirs", subjects: ["$KV.theirs.>"], max_msgs_per_subject: 1 }),
        );
        const theirs = await diagnose(at("theirs"));
        expect(theirs.lines("fail")).toMatch(/^bucket theirs: it was made by somebody else/);
        expect(theirs.code).toBe(2);
      });

      test("a bucket after `nats kv edit`: no runtime opens it, and the command that mends it does", async () => {
        const { runtime } = await start(server.url, "edited");
        await runtime.actor("light", "a").create(undefined, { key: "c" });
        await wire.edit("edited");
        expect((await runtime.actor("light", "a").send({ type: "GO" } as never)).changed).toBe(true);
        await runtime.stop({ drainMs: 0 });
        const open = () => jetstream({ servers: server.url, bucket: "edited" });
        await expect(createRuntime({ actors: { light }, store: open(), logger: silent })).rejects.toThrow(
          /cannot be used as it is/,
        );
        const { lines, code } = await diagnose(at("edited"));
        expect(lines("fail")).toMatch(/^bucket edited: .*its metadata is gone, as `nats kv edit` leaves it/);
        expect(code).toBe(2);
        const command = /-> nats stream edit KV_edited -f (.*?);/.exec(lines("fail"))?.[1] ?? "";
        const metadata = Object.fromEntries(
          [...command.matchAll(/--metadata=(\S+?)=(\S+)/g)].map(([, name, value]) => [name, value]),
        );
        expect(metadata).toEqual({
          "holdfast-layout": "1",
          "holdfast-partitions": "64",
          "holdfast-shards": "1",
          "holdfast-shard": "0",
        });
        const info = (await connection.request("$JS.API.STREAM.INFO.KV_edited", "{}")).json<{ config: object }>();
        await connection.request(
          "$JS.API.STREAM.UPDATE.KV_edited",
          JSON.stringify({ ...info.config, metadata, max_msgs_per_subject: 10 }),
        );
        expect((await diagnose(at("edited"))).lines("fail")).toBe("");
        const again = await createRuntime({ actors: { light }, store: open(), logger: silent });
        await again.stop({ drainMs: 0 });
      });

      test("a bucket that would drop documents, or refuse them soon", async () => {
        const { runtime } = await start(server.url, "limited");
        await runtime.stop({ drainMs: 0 });
        const info = (await connection.request("$JS.API.STREAM.INFO.KV_limited", "{}")).json<{ config: object }>();
        const update = async (change: object) => {
          const config = JSON.stringify({ ...info.config, ...change });
          const answer = await connection.request("$JS.API.STREAM.UPDATE.KV_limited", config);
          expect(answer.json<{ error?: object }>().error).toBeUndefined();
        };
        await update({ discard: "old", max_age: 3_600_000_000_000 });
        expect((await diagnose(at("limited"))).lines("fail")).toMatch(
          /^bucket limited: discard is old: .* -> nats stream edit KV_limited -f --discard=new\nbucket limited: max_age .* -> nats stream edit KV_limited -f --max-age=0$/,
        );
        await update({ max_bytes: 200 });
        expect((await diagnose(at("limited"))).lines("fail")).toMatch(
          /^bucket limited: \d+ % of max_bytes is used: at the limit every write is refused -> .* --max-bytes=-1$/,
        );
      });

      test("each shard is looked at, and the journal", async () => {
        const runtime = await createRuntime({
          actors: { light },
          store: jetstream({ servers: server.url, bucket: "wide", shards: 2, journal: true, leaseTtlMs: 30_000 }),
          logger: silent,
        });
        await until(() => runtime.info().partitionsOwned === 64, "the node has all partitions");
        const { lines } = await diagnose(at("wide"));
        expect(lines("fail")).toBe("");
        expect(lines("ok")).toMatch(/^bucket wide-00: as a runtime makes it/m);
        expect(lines("ok")).toMatch(/^bucket wide-01: as a runtime makes it/m);
        expect(lines("ok")).toMatch(/^journal wide-journal: keeps up with KV_wide-00, KV_wide-01$/m);
        await runtime.stop({ drainMs: 0 });
        // Both lost their metadata: what is to be written there again is told for each.
        for (const name of ["wide-00", "wide-01"]) await wire.edit(name);
        const edited = (await diagnose(at("wide"))).lines("fail");
        expect(edited).toMatch(
          /KV_wide-00 -f .*partitions=64 --metadata=holdfast-shards=2 --metadata=holdfast-shard=0;/,
        );
        expect(edited).toMatch(
          /KV_wide-01 -f .*partitions=64 --metadata=holdfast-shards=2 --metadata=holdfast-shard=1;/,
        );
      });

      test("no runtime is alive, and what it owned is owned by nobody", async () => {
        const { runtime } = await start(server.url, "left");
        await runtime.stop({ drainMs: 0 });
        expect((await diagnose(at("left"))).lines("warn")).toMatch(/^nodes: no runtime is alive/m);
      });

      test("the bucket of leases is gone, made anew, declared", async () => {
        const { runtime } = await start(server.url, "lost");
        await runtime.stop();
        await connection.request("$JS.API.STREAM.DELETE.KV_lost-leases");
        const gone = await diagnose(at("lost"));
        expect(gone.code).toBe(2);
        expect(gone.lines("fail")).toMatch(/^leases lost-leases: is gone, .* start one: .* -> holdfast leases adopt$/);
        await expect(start(server.url, "lost")).rejects.toMatchObject({ code: "LeaseBackendChanged" });
        const anew = await diagnose(at("lost"));
        expect(anew.code).toBe(2);
        expect(anew.lines("fail")).toMatch(/^leases lost-leases: .*: no runtime starts. .* -> holdfast leases adopt$/);
        await holdfast(["leases", "adopt", ...at("lost")]);
        expect((await diagnose(at("lost"))).lines("fail")).toBe("");
      }, 30_000);

      test("JetStream off", async () => {
        const off = await startNatsServer({ binary, jetstream: false });
        const { lines, code, findings } = await diagnose(["--nats", off.url]);
        expect(lines("fail")).toMatch(
          /^JetStream: .*JetStream is off on this server or for this account.* -> jetstream \{/,
        );
        expect(findings.filter(({ grade }) => grade === "fail")).toHaveLength(1);
        expect(code).toBe(2);
        await off.stop();
      });

      test("a full account is said before commits are refused, and after", async () => {
        const small = await startNatsServer({
          binary,
          config:
            'accounts { A { jetstream: { max_file: 8MB }, users: [ { user: "a", password: "a" } ] } }\nno_auth_user: a',
        });
        const { runtime } = await start(small.url, "shop");
        const filler = await connectNats({ servers: small.url });
        const fill = async () => {
          const reply = await filler.request("$KV.shop.filler.x", new Uint8Array(500_000));
          return reply.json<{ error?: object }>().error === undefined;
        };
        const argv = ["--nats", small.url, "--bucket", "shop"];
        const { lines } = await diagnose(argv);
        expect(lines("ok")).toMatch(/^account: storage .* of 8 MiB/m);
        let writes = 0;
        while (
          writes < 40 &&
          (await filler.request(`$KV.shop.filler.${writes}`, new Uint8Array(500_000))).json<{ error?: object }>()
            .error === undefined
        )
          writes++;
        expect(await fill()).toBe(false);
        const full = await diagnose(argv);
        expect(full.lines("fail")).toMatch(
          /^account: .* of 8 MiB: commits are refused until there is room; nothing is lost/m,
        );
        expect(full.code).toBe(2);
        await filler.close();
        await runtime.stop({ drainMs: 0 });
        await small.stop();
      });

      describe("with permissions", () => {
        const users = (denied: string) =>
          `authorization { users: [ { user: "u", password: "p", permissions: { ${denied} } }, { user: "all", password: "p" } ] }`;
        const env = { NATS_USER: "u", NATS_PASSWORD: "p" };

        test.each([
          [
            'publish: { deny: ["$JS.API.STREAM.CREATE.>"] }',
            /^permission to publish: \$JS\.API\.STREAM\.CREATE\.KV_shop is denied: a node needs it to make the bucket/m,
          ],
          [
            'publish: { deny: ["$KV.shop-leases.>"] }',
            /^permission to publish: \$KV\.shop-leases\._probe is denied: a node needs it to write -> permissions: \{ publish: "\$KV\.shop-leases\.>" \}/m,
          ],
          [
            'publish: { deny: ["$JS.API.INFO"] }',
            /^permission to publish: \$JS\.API\.INFO is denied: a node needs it to see the account/m,
          ],
          [
            'publish: { deny: ["$JS.API.STREAM.INFO.KV_shop"] }',
            /^permission to publish: \$JS\.API\.STREAM\.INFO\.KV_shop is denied/m,
          ],
          [
            'publish: { deny: ["$JS.API.CONSUMER.CREATE.>"] }',
            /^permission to publish: \$JS\.API\.CONSUMER\.CREATE\.KV_shop\.holdfast-doctor is denied/m,
          ],
          [
            'subscribe: { deny: ["holdfast.shop.ask.*"] }',
            /^permission to subscribe: holdfast\.shop\.ask\.doctor is denied: a node needs it to answer clients/m,
          ],
          [
            'subscribe: { deny: ["_INBOX.>"] }',
            /^permission to subscribe: _INBOX\.> is denied: a node needs it to get answers \(see --inbox-prefix\)/m,
          ],
        ])("denied by %s: which, exactly", async (denied, message) => {
          const strict = await startNatsServer({ binary, config: users(denied) });
          const { lines, code } = await diagnose(["--nats", strict.url, "--bucket", "shop"], { env });
          expect(lines("fail")).toMatch(message);
          expect(code).toBe(2);
          await strict.stop();
        });

        test("each role of the guide on accounts has all that it needs, and is told what it lacks for another", async () => {
          const guide = readFileSync(resolve("docs/guides/accounts.md"), "utf8");
          const config = /^```conf\n(.*?)^```$/ms.exec(guide)?.[1] ?? "";
          const guarded = await startNatsServer({ binary, config });
          const node = { NATS_USER: "node", NATS_PASSWORD: "node-secret" };
          const runtime = await createRuntime({
            actors: { light },
            store: jetstream({
              servers: guarded.url,
              user: "node",
              password: "node-secret",
              bucket: "shop",
              node: "n1",
            }),
            logger: silent,
          });
          await until(() => runtime.info().partitionsOwned === 64, "the node has all partitions");
          const own = await diagnose(["--nats", guarded.url, "--bucket", "shop"], { env: node });
          expect(own.lines("fail")).toBe("");
          const as = (user: string, role: string) =>
            diagnose(
              [
                "--nats",
                guarded.url,
                "--bucket",
                "shop",
                "--domain",
                "shop",
                "--inbox-prefix",
                `_INBOX_users.${user}`,
                "--role",
                role,
              ],
              { env: { NATS_USER: user, NATS_PASSWORD: `${user}-secret` } },
            );
          for (const role of ["client", "operator", "watcher", "sender"]) {
            const { lines } = await as(role, role);
            expect(`${role}\n${lines("fail")}`).toBe(`${role}\n`);
            expect(lines("ok")).toMatch(new RegExp(`^permissions: all \\d+ that the role ${role} needs$`, "m"));
          }
          const wrong = await as("watcher", "operator");
          expect(wrong.lines("fail")).toMatch(
            /^permission to publish: holdfast\.shop\.operate\.doctor is denied: an operator needs it/,
          );
          await runtime.stop({ drainMs: 0 });
          await guarded.stop();
        });
      });
    });

    test(`on a cluster of ${binary.version}: replicas, and what the loss of a server does to them`, async () => {
      const cluster = await startNatsCluster(3, { binary });
      const { runtime } = await start(cluster.urls, "shop", 3);
      const argv = ["--nats", cluster.urls.join(","), "--bucket", "shop"];
      const monitors = cluster.servers.map(({ monitorPort }) => `http://127.0.0.1:${monitorPort}`);
      // A replica may lag for a moment at any time: the doctor rightly warns of it, and is asked again.
      const caughtUp = (name: string) => new RegExp(`^replicas of ${name}: 3, all current: n\\d, n\\d, n\\d$`, "m");
      await until(async () => {
        const whole = await diagnose([...argv, "--monitor", monitors.join(",")]);
        const ok = whole.lines("ok");
        return (
          whole.verdict.safeFor === "replicated" && caughtUp("KV_shop").test(ok) && caughtUp("KV_shop-leases").test(ok)
        );
      }, "the doctor sees three current replicas of either stream");
      const partly = await diagnose([...argv, "--monitor", monitors[0] as string]);
      expect(partly.lines("warn")).toMatch(/^sync interval: not seen of n2, n3/m);
      if (binary !== natsVersions.at(-1)) {
        // That a server is gone takes the others seconds to see, in every version alike.
        await runtime.stop({ drainMs: 0 });
        await cluster.stop();
        return;
      }
      await cluster.servers[2]?.kill();
      const gone = /^replicas of KV_shop: n3 (is behind the leader, or gone|offline)/m;
      await until(async () => {
        const { lines } = await diagnose(argv);
        return gone.test(`${lines("warn")}\n${lines("fail")}`);
      }, "the one that is gone is named");
      await runtime.stop({ drainMs: 0 });
      await cluster.stop();
    });
  }
});
