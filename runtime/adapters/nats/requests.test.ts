import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../testing/nats-server.ts";
import { SystemClock } from "../system-clock.ts";
import { connectNats, type OpenConnection } from "./connection.ts";
import { EncodedHeaders, type Reply, Requests } from "./requests.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

describeWithNats("requests over one connection", () => {
  let server: NatsServer;
  let open: OpenConnection;
  let requests: Requests;

  beforeAll(async () => {
    server = await startNatsServer();
    open = await connectNats({ servers: server.url }, {});
    requests = new Requests(open.connection, new SystemClock(), createInbox());
  });
  afterAll(async () => {
    requests.stop();
    await open.close();
    await server.stop();
  });

  test("each gets its own reply, with headers both ways", async () => {
    open.connection.subscribe("echo", {
      callback: (_, message) => {
        message.respond(message.data, message.headers ? { headers: message.headers } : {});
      },
    });
    const headers = new EncodedHeaders([["Kind", "one"]]);
    const replies = await Promise.all(
      Array.from({ length: 500 }, (_, n) => requests.ask("echo", bytes(String(n)), n % 2 ? headers : undefined, 5_000)),
    );
    replies.forEach((reply, n) => {
      if (reply.kind !== "reply") throw new Error(reply.kind);
      expect(reply.message.string()).toBe(String(n));
      expect(reply.message.headers?.get("Kind") ?? "").toBe(n % 2 ? "one" : "");
    });
    expect(requests.size).toBe(0);
  });

  test("nobody there, no answer, too large: three different outcomes", async () => {
    open.connection.subscribe("mute", { callback: () => {} });
    const [nobody, silence, large] = await Promise.all([
      requests.ask("nowhere", bytes(""), undefined, 5_000),
      requests.ask("mute", bytes(""), undefined, 60),
      requests.ask("mute", new Uint8Array(2 ** 21), undefined, 60),
    ]);
    expect(nobody.kind).toBe("noResponders");
    expect(silence).toEqual({ kind: "silence", cause: "deadline" });
    expect(large.kind).toBe("notSent");
  });

  test("a lost connection ends the waiting at once, and later requests go through again", async () => {
    open.connection.subscribe("mute2", { callback: () => {} });
    const waiting = requests.ask("mute2", bytes(""), undefined, 60_000);
    await open.connection.flush();
    await server.restart();
    expect(await waiting).toEqual({ kind: "silence", cause: "disconnected" });
    let reply: Reply = { kind: "noResponders" };
    while (reply.kind !== "reply") reply = await requests.ask("echo", bytes("again"), undefined, 1_000);
    expect(reply.message.string()).toBe("again");
  });
});
