/** A connection that outlives its credentials: what the server refuses for a while is not given up. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { expect, test } from "vitest";
import { describeWithNats } from "../../testing/nats.fixture.ts";
import { startNatsServer } from "../../testing/nats-server.ts";
import { connectNats } from "./connection.ts";

describeWithNats("a connection", () => {
  test("comes back with credentials that were replaced, however often the server refused those in between", async () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-credentials-"));
    const nkeyFile = join(folder, "node.nk");
    const [user, stranger] = [createUser(), createUser()];
    const server = await startNatsServer({ config: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }` });
    writeFileSync(nkeyFile, user.getSeed());
    const { connection, close } = await connectNats({ servers: server.url, nkeyFile }, {});
    writeFileSync(nkeyFile, stranger.getSeed());
    await server.kill();
    await server.restart();
    let refusals = 0;
    for await (const status of connection.status()) {
      if (status.type === "error" && ++refusals === 4) writeFileSync(nkeyFile, user.getSeed());
      if (status.type === "reconnect" || status.type === "close") break;
    }
    expect({ refusals: refusals >= 4, isClosed: connection.isClosed() }).toEqual({ refusals: true, isClosed: false });
    await close();
    await server.stop();
    rmSync(folder, { recursive: true });
  }, 30_000);
});
