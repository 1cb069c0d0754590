/** Runs docs/guides/accounts.md: a server with the very configuration that stands there, and each role on it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { jetstream } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { createAccount, createOperator, createUser, type KeyPair } from "@nats-io/nkeys";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { BusChannel } from "../../ports/bus.ts";
import { describeWithNats, natsVersions } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { until } from "../../testing/until.fixture.ts";
import { connectNats, type NatsOptions } from "../nats/connection.ts";
import { Rig, type RigNode } from "./rig.fixture.ts";

const guide = readFileSync(resolve("docs/guides/accounts.md"), "utf8");
const blocks = new Map(
  [...guide.matchAll(/^```conf( \w+)?\n(.*?)^```$/gms)].map(([, name, text]) => [name?.trim(), text]),
);
const accounts = blocks.get(undefined) ?? assert.fail("the guide has no configuration");
const tls = blocks.get("tls") ?? assert.fail("the guide has no TLS configuration");

const longMs = 30_000;
const roles = ["client", "sender", "operator", "watcher"] as const;
type Role = (typeof roles)[number];
const domain = "$JS.shop.API";

const optionsOf = (role: Role | "node"): NatsOptions => ({
  user: role,
  password: `${role}-secret`,
  ...(role !== "node" && { inboxPrefix: `_INBOX_users.${role}` }),
});

/** What each role may do: the expectation against which every role is tried at everything. */
const may: Readonly<Record<Role, readonly string[]>> = {
  client: ["ask", "read", "watch", "listen"],
  sender: ["send"],
  operator: ["operate", "read", "watch", "listen"],
  watcher: ["read", "watch", "listen"],
};

/** Everything that the server refused to this connection, as "publish subject" or "subscription subject". */
function violations(connection: NatsConnection): string[] {
  const found: string[] = [];
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== "error") continue;
      const { operation, subject } = status.error as { operation?: string; subject?: string };
      found.push(`${operation} ${subject}`);
    }
  })();
  return found;
}

describeWithNats("the guide on accounts", () => {
  for (const binary of natsVersions) {
    describe(`on ${binary.version}`, () => {
      let server: NatsServer;
      let rig: Rig;
      let node: RigNode;
      let bucket: KV;
      let leases: KV;
      const handled: string[] = [];

      beforeAll(async () => {
        server = await startNatsServer({ binary, config: accounts });
        rig = new Rig(() => server.url);
        node = await rig.node({ options: optionsOf("node") });
        const kvm = new Kvm(jetstream(node.connection));
        bucket = await kvm.create("shop", { history: 10 });
        leases = await kvm.create("shop-leases");
        node.leases.grant(0, 1, 2, 3);
        node.bus.serve(async ({ channel, body }) => {
          handled.push(`${channel} ${body}`);
          return `${channel} done`;
        });
        node.bus.plainRequests.serve(async ({ target, body }) => {
          handled.push(`${target} ${body}`);
          return { body: '{"revision":1,"changed":true,"duplicate":false}' };
        });
        await node.connection.flush();
      });
      afterAll(async () => {
        await rig.close();
        await server.stop();
      });

      async function as(role: Role) {
        const made = await rig.node({ client: true, options: optionsOf(role) });
        return { ...made, refused: violations(made.connection) };
      }
      const ask = async (from: RigNode, channel: BusChannel) => {
        const reply = await from.bus.request({ partition: 1, body: "{}", channel }, 2_000);
        // Forbidden: the first attempt learns it, the second is told.
        return reply.kind === "timeout" ? from.bus.request({ partition: 1, body: "{}", channel }, 2_000) : reply;
      };
      const kvOf = (from: RigNode) => new Kvm(jetstream(from.connection, { domain: "shop" })).open("shop");

      describe.each(roles)("a %s", (role) => {
        const can = (what: string) => may[role].includes(what);

        test.each([
          ["ask", "client"],
          ["operate", "operator"],
          ["gossip", "node"],
        ] as const)(`may or may not %s, as a %s`, async (what, channel) => {
          const from = await as(role);
          handled.length = 0;
          const reply = await ask(from, channel);
          if (can(what)) {
            expect(reply).toEqual({ kind: "reply", body: `${channel} done` });
            expect(handled).toEqual([`${channel} {}`]);
            expect(from.refused).toEqual([]);
            return;
          }
          assert.ok(reply.kind === "reply", reply.kind);
          const { code, message } = JSON.parse(reply.body);
          expect(code).toBe("InvalidRequest");
          expect(message).toMatch(/does not let this connection publish on _?holdfast\.shop\./);
          expect(handled).toEqual([]);
        });

        test("may or may not send plain requests", async () => {
          const from = await as(role);
          handled.length = 0;
          const sending = from.connection.request("holdfast.shop.send.order.o-1", '{"type":"PAY"}', { timeout: 2_000 });
          if (!can("send")) {
            await expect(sending).rejects.toThrow();
            await until(() => from.refused.length > 0, "the server refuses it");
            expect(from.refused).toEqual(["publish holdfast.shop.send.order.o-1"]);
            expect(handled).toEqual([]);
            return;
          }
          expect((await sending).json()).toMatchObject({ revision: 1 });
          expect(handled).toEqual(['order.o-1 {"type":"PAY"}']);
          expect(from.refused).toEqual([]);
        });

        test("may or may not read and watch the bucket", async () => {
          await bucket.put("order.read", '{"id":"read"}');
          const from = await as(role);
          if (!can("read")) {
            for (const subject of [
              "STREAM.INFO.KV_shop",
              "STREAM.MSG.GET.KV_shop",
              "DIRECT.GET.KV_shop.$KV.shop.order.read",
            ]) {
              from.connection.publish(`${domain}.${subject}`, "", { reply: "_INBOX_users.sender.x" });
              await until(() => from.refused.includes(`publish ${domain}.${subject}`), "the server refuses it");
            }
            return;
          }
          const kv = await kvOf(from);
          expect((await kv.get("order.read"))?.string()).toBe('{"id":"read"}');
          const direct = await from.connection.request(`${domain}.DIRECT.GET.KV_shop.$KV.shop.order.read`, "", {
            timeout: longMs,
          });
          expect(direct.string()).toBe('{"id":"read"}');
          const leader = await from.connection.request(
            `${domain}.STREAM.MSG.GET.KV_shop`,
            JSON.stringify({ last_by_subj: "$KV.shop.order.read" }),
            { timeout: longMs },
          );
          expect(leader.json()).toMatchObject({ message: { subject: "$KV.shop.order.read" } });
          const watch = await kv.watch({ key: "order.watched.>" });
          const seen: string[] = [];
          const watching = (async () => {
            for await (const entry of watch) seen.push(entry.string());
          })();
          await bucket.put(`order.watched.${role}`, role);
          await until(() => seen.includes(role), "the change is seen");
          watch.stop();
          await watching;
          expect(from.refused).toEqual([]);
        });

        test("may or may not hear what is emitted", async () => {
          const from = await as(role);
          const heard: string[] = [];
          from.bus.subscribe("order.o-1", (body) => void heard.push(body));
          await from.connection.flush();
          if (!can("listen")) {
            await until(() => from.refused.includes("subscription holdfast.shop.emitted.order.o-1"), "it is refused");
            expect(from.lines.find(({ level }) => level === "error")?.message).toContain("accounts.md");
            return;
          }
          await until(async () => {
            await node.bus.publish("order.o-1", '{"type":"SHIPPED"}', "1");
            await node.connection.flush();
            await from.connection.flush();
            return heard.length > 0;
          }, "the event is heard");
          expect(from.refused).toEqual([]);
        });

        test("may not write, impersonate a node, read others' answers, or reach what is the nodes' own", async () => {
          await bucket.put("order.safe", "document");
          await leases.put("lease.p1", "owner");
          const from = await as(role);
          const reply = `_INBOX_users.${role}.probe`;
          const own = [
            "$KV.shop.order.safe",
            "$KV.shop-leases.lease.p1",
            "_holdfast.shop.node.1",
            "holdfast.shop.emitted.order.o-1",
          ];
          const api = [
            "STREAM.PURGE.KV_shop",
            "STREAM.DELETE.KV_shop",
            "STREAM.UPDATE.KV_shop",
            "STREAM.MSG.DELETE.KV_shop",
          ];
          for (const subject of [...own, ...api.map((verb) => `$JS.API.${verb}`)]) {
            from.connection.publish(subject, "x", { reply });
            await until(() => from.refused.includes(`publish ${subject}`), `${subject} is refused`);
          }
          for (const subject of [
            "holdfast.shop.ask.1",
            "holdfast.shop.send.>",
            "_holdfast.shop.>",
            "$KV.>",
            "_INBOX_users.>",
            ">",
          ]) {
            from.connection.subscribe(subject, { callback: () => {} });
            await until(() => from.refused.includes(`subscription ${subject}`), `${subject} is refused`);
          }
          // What of JetStream is not exported does not exist here, whatever the user's own permissions say.
          for (const verb of api) from.connection.publish(`${domain}.${verb}`, "", { reply });
          await from.connection.flush();
          expect((await bucket.get("order.safe"))?.string()).toBe("document");
          expect((await leases.get("lease.p1"))?.string()).toBe("owner");
        });

        test("overwrites nothing by wishing the answer to a subject of the nodes", async () => {
          await bucket.put("order.safe", "document");
          await leases.put("lease.p1", "owner");
          const from = await as(role);
          handled.length = 0;
          const targets = ["$KV.shop.order.safe", "$KV.shop-leases.lease.p1", "_holdfast.shop.node.1"];
          const questions = [
            [`${domain}.STREAM.INFO.KV_shop`, ""],
            [`${domain}.STREAM.MSG.GET.KV_shop`, JSON.stringify({ last_by_subj: "$KV.shop.order.safe" })],
            [`${domain}.DIRECT.GET.KV_shop.$KV.shop.order.safe`, ""],
            ["holdfast.shop.ask.1", "trick"],
            ["holdfast.shop.operate.1", "trick"],
            ["holdfast.shop.send.order.safe", "trick"],
          ] as const;
          for (const reply of targets)
            for (const [subject, body] of questions) from.connection.publish(subject, body, { reply });
          await from.connection.flush();
          // What was answered has been answered before this, on the same ways.
          for (const what of ["ask", "operate", "send"] as const) {
            if (!can(what)) continue;
            const subject = `holdfast.shop.${what}.${what === "send" ? "order.x" : "1"}`;
            await from.connection.request(subject, "after", { timeout: longMs });
          }
          if (can("read")) await from.connection.request(`${domain}.STREAM.INFO.KV_shop`, "", { timeout: longMs });
          await node.connection.flush();
          expect((await bucket.get("order.safe"))?.string()).toBe("document");
          expect((await leases.get("lease.p1"))?.string()).toBe("owner");
          expect(handled.filter((line) => line.startsWith("node"))).toEqual([]);
        });
      });

      test("a watcher that has entries delivered to the nodes makes noise, and nothing else", async () => {
        await bucket.put("order.noise", '{"op":"message","actor":"order.noise"}');
        const from = await as("watcher");
        handled.length = 0;
        const heard: string[] = [];
        node.bus.subscribe("order.o-1", (body) => void heard.push(body));
        for (const [index, target] of ["_holdfast.shop.node.1", "holdfast.shop.emitted.order.o-1"].entries()) {
          const config = {
            name: `noise${index}`,
            deliver_subject: target,
            ack_policy: "none",
            deliver_policy: "last_per_subject",
            filter_subject: "$KV.shop.order.noise",
            mem_storage: true,
            inactive_threshold: 60_000_000_000,
          };
          let arrived = 0;
          const listening = node.connection.subscribe(target, { callback: () => void arrived++ });
          await node.connection.flush();
          const made = await from.connection.request(
            `${domain}.CONSUMER.CREATE.KV_shop.noise${index}.$KV.shop.order.noise`,
            JSON.stringify({ stream_name: "KV_shop", action: "create", config }),
            { timeout: longMs },
          );
          expect(made.json()).toMatchObject({ name: `noise${index}` });
          await until(() => arrived > 0, "the entry is delivered");
          listening.unsubscribe();
        }
        await node.connection.flush();
        expect(handled).toEqual([]);
        expect(heard).toEqual([]);
      });

      test("nobody serves: told at once, across the accounts", async () => {
        const from = await as("client");
        node.leases.lose(3);
        await node.connection.flush();
        expect(await from.bus.request({ partition: 3, body: "{}", channel: "client" }, longMs)).toEqual({
          kind: "nobody",
        });
        node.leases.grant(3);
      });
    });

    test(`on ${binary.version}: in one account, permissions do not protect the bucket, which is why there are two`, async () => {
      const config = `accounts { ONE {
        jetstream: enabled
        users: [
          { user: node, password: "node-secret" }
          { user: reader, password: "reader-secret", permissions: { publish: ["$JS.API.STREAM.INFO.KV_shop"], subscribe: ["_INBOX_users.reader.>"] } }
        ]
      } }`;
      const server = await startNatsServer({ binary, config });
      const rig = new Rig(() => server.url);
      try {
        const node = await rig.node({ options: optionsOf("node") });
        const reader = await rig.node({ client: true, options: { user: "reader", password: "reader-secret" } });
        const bucket = await new Kvm(jetstream(node.connection)).create("shop");
        await bucket.put("order.o-1", "document");
        reader.connection.publish("$JS.API.STREAM.INFO.KV_shop", "", { reply: "$KV.shop.order.o-1" });
        await until(async () => (await bucket.get("order.o-1"))?.string() !== "document", "it is overwritten");
      } finally {
        await rig.close();
        await server.stop();
      }
    });
  }

  describe("credentials", () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-accounts-"));
    const ends: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const end of ends.splice(0).reverse()) await end();
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    async function started(config: string, url = (server: NatsServer) => server.url, jetstream = true) {
      const server = await startNatsServer({ config, jetstream });
      ends.push(() => server.stop());
      const rig = new Rig(() => url(server));
      ends.push(() => rig.close());
      return { server, rig };
    }

    /** A node and a client meet: the node answers the client, and the client may not operate. */
    async function meet(rig: Rig, ofNode: NatsOptions, ofClient: NatsOptions) {
      const node = await rig.node({ options: ofNode });
      const client = await rig.node({ client: true, options: ofClient });
      node.leases.grant(0);
      node.bus.serve(async ({ body }) => `${body}!`);
      await node.connection.flush();
      const request = (channel: BusChannel) => client.bus.request({ partition: 0, body: "a", channel }, 2_000);
      expect(await request("client")).toEqual({ kind: "reply", body: "a!" });
      expect(await request("operator")).toEqual({ kind: "timeout" });
      expect(await request("operator")).toMatchObject({
        kind: "reply",
        body: expect.stringContaining("InvalidRequest"),
      });
    }

    const inFile = (name: string, content: string | Uint8Array): string => {
      const path = join(folder, name);
      writeFileSync(path, content);
      return path;
    };
    const clientPermissions = {
      pub: { allow: ["holdfast.shop.ask.*"] },
      sub: { allow: ["_INBOX_users.client.>"] },
    };

    test("an inbox prefix to which no node would answer is refused before anything is connected", async () => {
      for (const inboxPrefix of ["replies", "", "_INBOX.*", "_INBOX.", "_INBOX users", "$KV.shop"])
        await expect(connectNats({ inboxPrefix }, {})).rejects.toMatchObject({ code: "NatsInvalidOption" });
    });

    test("an NKey instead of a password", async () => {
      const [node, client] = [createUser(), createUser()];
      const config = accounts
        .replace('{ user: node, password: "node-secret" }', `{ nkey: ${node.getPublicKey()} }`)
        .replace('user: client, password: "client-secret"', `nkey: ${client.getPublicKey()}`);
      expect(config).not.toContain("client-secret");
      expect(config).not.toContain("node-secret");
      const { rig } = await started(config);
      await meet(
        rig,
        { nkeyFile: inFile("node.nk", node.getSeed()) },
        { nkeyFile: inFile("client.nk", client.getSeed()), inboxPrefix: "_INBOX_users.client" },
      );
      await expect(
        rig.node({ options: { nkeyFile: inFile("stranger.nk", createUser().getSeed()) } }),
      ).rejects.toMatchObject({
        code: "NatsUnreachable",
      });
    });

    test("a credentials file of an operator's account", async () => {
      const [operator, account, node, client] = [createOperator(), createAccount(), createUser(), createUser()];
      const [operatorKey, accountKey] = [operator.getPublicKey(), account.getPublicKey()];
      const unlimited = { subs: -1, data: -1, payload: -1 };
      const operatorToken = token(operator, operatorKey, "op", { type: "operator", version: 2 });
      const limits = { ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
      const accountToken = token(operator, accountKey, "SHOP", { limits, type: "account", version: 2 });
      const userToken = (user: KeyPair, permissions: object) =>
        token(account, user.getPublicKey(), "user", { ...permissions, ...unlimited, type: "user", version: 2 });
      const creds = (user: KeyPair, permissions: object) =>
        `-----BEGIN NATS USER JWT-----\n${userToken(user, permissions)}\n------END NATS USER JWT------\n\n` +
        `-----BEGIN USER NKEY SEED-----\n${new TextDecoder().decode(user.getSeed())}\n------END USER NKEY SEED------\n`;
      const { rig } = await started(
        `operator: ${operatorToken}\nresolver: MEMORY\nresolver_preload: { ${accountKey}: ${accountToken} }`,
        ({ url }) => url,
        false,
      );
      await meet(
        rig,
        { credsFile: inFile("node.creds", creds(node, {})) },
        { credsFile: inFile("client.creds", creds(client, clientPermissions)), inboxPrefix: "_INBOX_users.client" },
      );
    });

    test("TLS, with the client's certificate verified", async () => {
      const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
      openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test ca",
        "-keyout",
        "ca-key.pem",
        "-out",
        "ca.pem",
      );
      inFile("san.cnf", "subjectAltName=IP:127.0.0.1,DNS:localhost");
      for (const name of ["server", "client"]) {
        openssl(
          "req",
          "-newkey",
          "rsa:2048",
          "-nodes",
          "-subj",
          `/CN=${name}`,
          "-keyout",
          `${name}-key.pem`,
          "-out",
          `${name}.csr`,
        );
        openssl(
          "x509",
          "-req",
          "-in",
          `${name}.csr`,
          "-CA",
          "ca.pem",
          "-CAkey",
          "ca-key.pem",
          "-CAcreateserial",
          "-days",
          "2",
          "-extfile",
          "san.cnf",
          "-out",
          `${name}-cert.pem`,
        );
      }
      const inFolder = tls.replace(/"([\w-]+\.pem)"/g, (_, name) => JSON.stringify(join(folder, name)));
      const { server, rig } = await started(`${accounts}\n${inFolder}`, ({ port }) => `tls://127.0.0.1:${port}`);
      const [caFile, certFile, keyFile] = ["ca.pem", "client-cert.pem", "client-key.pem"].map((name) =>
        join(folder, name),
      ) as [string, string, string];
      const certified = { tls: { caFile, certFile, keyFile } };
      await meet(rig, { ...optionsOf("node"), ...certified }, { ...optionsOf("client"), ...certified });
      for (const options of [{}, { tls: { caFile } }])
        await expect(connectNats({ servers: server.url, ...optionsOf("node"), ...options }, {})).rejects.toMatchObject({
          code: "NatsUnreachable",
        });
    });
  });
});

/** A signed token of operator mode. The id need not be the hash that the tools make of it. */
function token(issuer: KeyPair, subject: string, name: string, nats: object): string {
  const part = (value: object | Uint8Array) =>
    Buffer.from(value instanceof Uint8Array ? value : JSON.stringify(value)).toString("base64url");
  const claims = {
    jti: subject,
    iat: Math.floor(Date.now() / 1_000),
    iss: issuer.getPublicKey(),
    name,
    sub: subject,
    nats,
  };
  const signed = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part(claims)}`;
  return `${signed}.${part(issuer.sign(new TextEncoder().encode(signed)))}`;
}
