/** A runtime on a deployment that is not as it should be: it says what is wrong, exactly, and loses nothing. */
import { connect as connectNats } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { createRuntime } from "../../index.ts";
import { describeWithNats, natsVersions } from "../../testing/nats.fixture.ts";
import { startNatsServer } from "../../testing/nats-server.ts";
import { until } from "../../testing/until.fixture.ts";
import { jetstream } from "./index.ts";

const box = setup({
  types: { context: {} as { text: string }, events: {} as { type: "SET"; text: string } },
}).createMachine({
  context: { text: "" },
  on: { SET: { actions: assign({ text: ({ event }) => event.text }) } },
});

const logger = { debug() {}, info() {}, warn() {}, error() {} };

describeWithNats("a runtime", () => {
  for (const binary of natsVersions.slice(-1)) {
    describe(`on ${binary.version}`, () => {
      test.each([
        ['publish: { deny: ["$JS.API.STREAM.CREATE.>"] }', "$JS.API.STREAM.CREATE.KV_shop"],
        ['publish: { deny: ["$JS.API.STREAM.INFO.>"] }', "$JS.API.STREAM.INFO.KV_shop"],
        ['publish: { deny: ["$JS.API.STREAM.MSG.GET.>"] }', "$JS.API.STREAM.MSG.GET.KV_shop"],
        ['publish: { deny: ["$JS.API.CONSUMER.CREATE.>"] }', "$JS.API.CONSUMER.CREATE.KV_shop-leases."],
        ['publish: { deny: ["$KV.shop.>"] }', "$KV.shop._epoch"],
        ['publish: { deny: ["$KV.shop-leases.>"] }', "$KV.shop-leases.session."],
        ['subscribe: { deny: ["_INBOX.>"] }', "_INBOX."],
      ])(
        "that is denied %s does not start, and names what it lacks",
        async (denied, subject) => {
          const config = `authorization { users: [ { user: "u", password: "p", permissions: { ${denied} } } ] }`;
          const server = await startNatsServer({ binary, config });
          const store = jetstream({
            ...{ servers: server.url, user: "u", password: "p", bucket: "shop" },
            ...{ requestTimeoutMs: 1_000, leaseTtlMs: 1_000 },
          });
          await expect(createRuntime({ actors: { box }, store, logger })).rejects.toMatchObject({
            code: "PermissionMissing",
            subject: expect.stringContaining(subject),
          });
          await server.stop();
        },
        20_000,
      );

      test("on a connection of the caller's that is closed is not live: nothing but a new process helps", async () => {
        const server = await startNatsServer({ binary });
        const connection = await connectNats({ servers: server.url });
        const store = jetstream({ connection, bucket: "shop" });
        const runtime = await createRuntime({ actors: { box }, store, logger });
        expect(runtime.live()).toEqual({ ok: true });
        await connection.close();
        expect(runtime.live()).toEqual({ ok: false, problem: "the connection to NATS is closed for good" });
        expect((await runtime.ready()).ok).toBe(false);
        await runtime.stop({ drainMs: 0 });
        await server.stop();
      });

      test("refuses a document above max_payload with both sizes, and goes on", async () => {
        const server = await startNatsServer({ binary, config: "max_payload: 65536" });
        const store = jetstream({ servers: server.url, bucket: "shop" });
        const runtime = await createRuntime({ actors: { box }, store, logger });
        const a = runtime.actor("box", "a");
        await a.create();
        const tooLarge = a.send({ type: "SET", text: "x".repeat(70_000) });
        await expect(tooLarge).rejects.toMatchObject({
          code: "TooLarge",
          message: expect.stringMatching(/\d{5}.*63488/),
        });
        await a.send({ type: "SET", text: "small" });
        expect((await a.state())?.context.text).toBe("small");
        await runtime.stop({ drainMs: 0 });
        await server.stop();
      });

      test("in a full account refuses events, loses none, and goes on when there is room", async () => {
        const config =
          'accounts { A { jetstream: { max_file: 6MB }, users: [ { user: "a", password: "a" } ] } }\nno_auth_user: a';
        const server = await startNatsServer({ binary, config });
        const store = jetstream({ servers: server.url, bucket: "shop" });
        const runtime = await createRuntime({ actors: { box }, store, logger });
        const a = runtime.actor("box", "a");
        await a.create();
        await a.send({ type: "SET", text: "before" });
        const filler = await connectNats({ servers: server.url });
        const call = async (subject: string, body: string | Uint8Array) =>
          (await filler.request(subject, body)).json<{ error?: object }>().error === undefined;
        await call("$JS.API.STREAM.CREATE.filler", JSON.stringify({ name: "filler", subjects: ["filler"] }));
        for (const size of [500_000, 10_000, 100]) while (await call("filler", new Uint8Array(size)));
        const full = a.send({ type: "SET", text: "during" }, { key: "k-1", timeoutMs: 5_000 });
        await expect(full).rejects.toMatchObject({
          code: "StoreFull",
          message: expect.stringContaining("`holdfast doctor` names the limit"),
        });
        expect((await a.state())?.context.text).toBe("before");
        await call("$JS.API.STREAM.DELETE.filler", "");
        await until(
          async () =>
            (await a.send({ type: "SET", text: "during" }, { key: "k-1" }).catch(() => undefined)) !== undefined,
          "there is room again",
        );
        expect((await a.state())?.context.text).toBe("during");
        await filler.close();
        await runtime.stop({ drainMs: 0 });
        await server.stop();
      });
    });
  }
});
