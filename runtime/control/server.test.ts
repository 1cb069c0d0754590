import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, test } from "vitest";
import { SystemClock } from "../adapters/system-clock.ts";
import { NotFoundError } from "../errors.ts";
import { ControlClient } from "./client.ts";
import { maxRequestBytes } from "./limits.ts";
import { LineReader } from "./line-reader.ts";
import { ControlServer } from "./server.ts";
import { perform, type Verbs } from "./verbs.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-control-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;
const freshDirectory = (name = "") => {
  const directory = join(scratch, `${++made}${name}`);
  mkdirSync(directory, { recursive: true });
  return directory;
};

const logged: string[] = [];
const log = (message: string) => void logged.push(message);
const logger = { debug: log, info: log, warn: log, error: log };
const unused = async (): Promise<never> => {
  throw new Error("not in this test");
};
const unusedVerbs: Verbs = {
  ls: unused,
  get: unused,
  history: unused,
  parked: unused,
  jobs: unused,
  removeJob: unused,
  info: unused,
  backup: unused,
  send: unused,
  create: unused,
  resume: unused,
  graph: unused,
};
const serve = (directory: string, verbs: Partial<Verbs> = {}, options: { lineMs?: number } = {}) =>
  ControlServer.start({
    directory,
    answer: (verb, args) => perform({ ...unusedVerbs, ...verbs }, verb, args),
    clock: new SystemClock(),
    logger,
    ...options,
  });

const parked = async () => [];
const modeOf = (path: string) => statSync(path).mode & 0o777;

/** A connection that says what it likes. */
async function caller(path: string): Promise<{ socket: Socket; ask: (text: string) => Promise<unknown> }> {
  const socket = connect(path);
  await once(socket, "connect");
  const lines = new LineReader(socket, 1024 * 1024);
  return {
    socket,
    async ask(text) {
      socket.write(text);
      const line = await lines.next();
      return line?.kind === "line" ? JSON.parse(line.text) : line;
    },
  };
}

describe("the socket", () => {
  test("is for its owner alone whatever the umask, and nothing else is left in the directory", async () => {
    const directory = freshDirectory();
    const before = process.umask(0);
    try {
      const server = await serve(directory);
      assert.equal(modeOf(server.path), 0o600);
      assert.deepEqual(readdirSync(directory), ["holdfast.sock"]);
      await server.stop();
      assert.deepEqual(readdirSync(directory), []);
    } finally {
      process.umask(before);
    }
  });

  test("takes the place of a dead host's, and of what a host left that was killed while it started", async () => {
    const directory = freshDirectory();
    const dead = createServer().listen(join(directory, "alive"));
    await once(dead, "listening");
    // Moved away, so that closing it leaves the file behind, as SIGKILL does.
    const { renameSync } = await import("node:fs");
    renameSync(join(directory, "alive"), join(directory, "holdfast.sock"));
    dead.close();
    mkdirSync(join(directory, ".control-killed"));
    assert.equal(await ControlClient.connect(directory), undefined);
    const server = await serve(directory, { parked });
    const client = await ControlClient.connect(directory);
    assert.deepEqual(await client?.ask("parked", {}, 5_000), []);
    client?.close();
    await server.stop();
    assert.deepEqual(readdirSync(directory), []);
  });

  test("is reached in a directory whose path is too long for a socket", async () => {
    const directory = freshDirectory(`/${"long".repeat(40)}`);
    const server = await serve(directory, { parked });
    assert.equal(modeOf(server.path), 0o600);
    const client = await ControlClient.connect(directory);
    assert.deepEqual(await client?.ask("parked", {}, 5_000), []);
    client?.close();
    await server.stop();
    assert.equal(await ControlClient.connect(directory), undefined);
  });
});

describe("a request", () => {
  const get = async ({ type, id }: { type: string; id: string }): Promise<never> => {
    throw new NotFoundError(`${type} ${id} does not exist`);
  };
  const refused = (code: string, message: RegExp) => (answer: unknown) => {
    const { ok, error } = answer as { ok: boolean; error: { code: string; message: string } };
    assert.equal(ok, false);
    assert.equal(error.code, code);
    assert.match(error.message, message);
  };
  const cases = [
    { it: "that is not JSON", line: "{", check: refused("InvalidRequest", /not JSON/) },
    { it: "that is no object", line: "[1]", check: refused("InvalidRequest", /is an object/) },
    { it: "without a verb", line: "{}", check: refused("UnknownVerb", /null; this host knows ls, get/) },
    {
      it: "with an unknown verb",
      line: '{"verb":"drop"}',
      check: refused("UnknownVerb", /"drop"; this host knows ls, get/),
    },
    { it: "with a verb of every object", line: '{"verb":"toString"}', check: refused("UnknownVerb", /"toString"/) },
    {
      it: "with arguments that are a list",
      line: '{"verb":"get","args":[]}',
      check: refused("InvalidRequest", /must be an object/),
    },
    {
      it: "with a missing argument",
      line: '{"verb":"get","args":{"type":"a"}}',
      check: refused("InvalidRequest", /get: it needs id/),
    },
    {
      it: "with an argument of the wrong kind",
      line: '{"verb":"get","args":{"type":"a","id":7}}',
      check: refused("InvalidRequest", /its id is not usable: 7/),
    },
    {
      it: "with a limit beyond the bound",
      line: '{"verb":"ls","args":{"limit":1001}}',
      check: refused("InvalidRequest", /its limit/),
    },
    {
      it: "with an unknown argument",
      line: '{"verb":"parked","args":{"__proto__":1}}',
      check: refused("InvalidRequest", /takes no "__proto__"/),
    },
    {
      it: "that the runtime refuses",
      line: '{"verb":"get","args":{"type":"a","id":"b"}}',
      check: refused("NotFound", /a b does not exist/),
    },
    { it: "that fails unexpectedly", line: '{"verb":"info"}', check: refused("Failed", /not in this test/) },
    {
      it: "that is too long",
      line: "x".repeat(maxRequestBytes + 1),
      check: refused("TooLarge", /at most 4194304 bytes/),
    },
  ];
  for (const { it, line, check } of cases)
    test(`${it} is refused, and the next one is answered`, async () => {
      const server = await serve(freshDirectory(), { get, parked });
      const { socket, ask } = await caller(server.path);
      check(await ask(`${line}\n`));
      assert.deepEqual(await ask('{"verb":"parked"}\n'), { ok: true, value: [] });
      socket.destroy();
      await server.stop();
    });

  test("may come in pieces and many at once; the answers keep the order", async () => {
    const server = await serve(freshDirectory(), {
      get: async ({ id }) => ({ storeRevision: 1, by: "runtime", text: id }),
    });
    const socket = connect(server.path);
    const bytes = Buffer.from(
      ["a", "ü", "c"].map((id) => `${JSON.stringify({ verb: "get", args: { type: "t", id } })}\n`).join(""),
    );
    for (const byte of bytes) socket.write(Buffer.of(byte));
    socket.end();
    const lines = new LineReader(socket, 1_000);
    for (const id of ["a", "ü", "c"]) {
      const line = await lines.next();
      assert.equal(line?.kind === "line" && JSON.parse(line.text).value.text, id);
    }
    assert.equal(await lines.next(), undefined);
    await server.stop();
  });

  test("that does not end in time ends the connection", async () => {
    const server = await serve(freshDirectory(), {}, { lineMs: 20 });
    const socket = connect(server.path);
    socket.write('{"verb":');
    socket.resume();
    await once(socket, "close");
    await server.stop();
  });

  test("under way when the host stops is answered; a waiting connection is closed", async () => {
    let finish: () => void = () => undefined;
    let begun: () => void = () => undefined;
    const hasBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const slow = async () => {
      begun();
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return [];
    };
    const server = await serve(freshDirectory(), { parked: slow });
    const busy = await caller(server.path);
    const waiting = await caller(server.path);
    const answer = busy.ask('{"verb":"parked"}\n');
    await hasBegun;
    const closed = once(waiting.socket, "close");
    const stopped = server.stop();
    waiting.socket.resume();
    await closed;
    finish();
    assert.deepEqual(await answer, { ok: true, value: [] });
    await stopped;
  });
});

describe("the client", () => {
  test("says when the host goes away before it answers, or takes too long", async () => {
    for (const { end, message } of [
      { end: (socket: Socket) => void socket.destroy(), message: /went away/ },
      { end: () => undefined, message: /did not answer within 30 ms/ },
    ]) {
      const directory = freshDirectory();
      const server = createServer((socket) => {
        socket.on("data", () => end(socket));
        socket.on("error", () => undefined);
      }).listen(join(directory, "holdfast.sock"));
      await once(server, "listening");
      const client = await ControlClient.connect(directory);
      await assert.rejects(client?.ask("parked", {}, 30) ?? Promise.resolve(), {
        name: "ControlError",
        code: "NoAnswer",
        message,
      });
      client?.close();
      server.close();
    }
  });

  test("refuses a request above the bound before it sends anything", async () => {
    const directory = freshDirectory();
    const server = await serve(directory);
    const client = await ControlClient.connect(directory);
    const event = { type: "BIG", text: "x".repeat(maxRequestBytes) };
    await assert.rejects(client?.ask("send", { type: "a", id: "b", event }, 1_000) ?? Promise.resolve(), {
      code: "TooLarge",
    });
    client?.close();
    await server.stop();
  });
});
