/**
 * Types every command of docs/guides/nats-cli.md into a shell, in order, and compares what it prints with what the guide
 * says: with the `nats` on PATH where there is one, else with a stand-in that makes the same requests.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { jetstream } from "../adapters/jetstream/index.ts";
import { createRuntime, type Runtime } from "../index.ts";
import { describeWithNats, natsVersions } from "../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../testing/nats-server.ts";
import { until } from "../testing/until.fixture.ts";
import { holdfast, type Printed } from "./holdfast.fixture.ts";
import { NatsWire } from "./nats-wire.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const guide = readFileSync(resolve("docs/guides/nats-cli.md"), "utf8");
const blocks = [...guide.matchAll(/^```console\n(.*?)^```$/gms)].map(([, body = ""]) =>
  body
    .split(/^\$ /m)
    .slice(1)
    .map((example) => ({
      command: example.slice(0, example.indexOf("\n")),
      prints: example.slice(example.indexOf("\n") + 1),
    })),
);

const order = setup({
  types: {
    context: {} as { total: number },
    input: {} as { total: number },
    events: {} as { type: "CHECKOUT" } | { type: "PAY" } | { type: "RENAME"; total: number },
  },
}).createMachine({
  context: ({ input }) => ({ total: input.total }),
  initial: "cart",
  states: {
    cart: { on: { CHECKOUT: "paying", RENAME: { actions: assign({ total: ({ event }) => event.total }) } } },
    paying: { after: { 1800000: "lapsed" }, on: { PAY: "paid" } },
    paid: {},
    lapsed: { type: "final" },
  },
});

/** What differs from run to run. */
const steady = (text: string) =>
  text
    .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+Z?/g, "<time>")
    .replace(/"(session|id|key|commit)":"[\w.-]{12,}"/g, '"$1":"<id>"')
    .replace(/\bsession\.\w+/g, "session.<id>")
    .replace(/(,"beat":\d+)?\}\n$/, "}\n")
    .replace(/"ttlMs":\d+/g, '"ttlMs":<ms>')
    .replace(/("token":\[1,|revision (?:")?|"revision":|"by":)\d+/g, "$1<n>");

/** Flags and positions, as both programs take them. */
function parted(argv: readonly string[]): { readonly flags: readonly string[]; readonly words: readonly string[] } {
  const flags: string[] = [];
  const words: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string;
    if (word === "-H") flags.push(`-H${argv[++at]}`);
    else if (word.startsWith("-")) flags.push(word);
    else words.push(word);
  }
  return { flags, words };
}

const printed = (out: string): Printed => ({ code: 0, out, err: "" });
const refused = (err: string): Printed => ({ code: 1, out: "", err: `nats: error: ${err}\n` });

/** The commands that the guide uses, and no others: one that is new has to be written here, too. */
async function standIn(wire: NatsWire, argv: readonly string[], input: string): Promise<Printed> {
  const { flags, words } = parted(argv);
  const [first = "", second = "", bucket = "", key = "", value] = words;
  const only = (...known: readonly string[]) =>
    flags.every((flag) => known.includes(flag) || (flag.startsWith("-H") && known.includes("-H")));
  switch (`${first} ${second}`) {
    case "kv ls":
      assert.ok(only());
      return printed((await wire.ls(bucket)).map((name) => `${name}\n`).join("") || "No keys found in bucket\n");
    case "kv get": {
      assert.ok(only("--raw") && flags.length === 1);
      const found = await wire.get(bucket, key);
      return found === undefined ? refused("nats: key not found") : printed(found);
    }
    case "kv watch": {
      assert.ok(only("--history"));
      const entries = await wire.history(bucket, key);
      return printed(entries.map((one) => `[2026-11-24 15:00:00] PUT ${bucket} > ${key}: ${one.value}\n`).join(""));
    }
    case "kv put":
      assert.ok(only());
      await wire.put(bucket, key, value ?? input);
      return printed(`${value ?? ""}\n`);
    case "kv del":
      assert.ok(only("--force"));
      await wire.del(bucket, key);
      return printed("");
    case "stream get": {
      assert.ok(only());
      const found = await wire.streamGet(bucket, Number(key));
      if (found === undefined) return refused(`no message found (10037)`);
      return printed(`Item: ${bucket}#${key} received just now on Subject ${found.subject}\n\n${found.value}\n`);
    }
  }
  if (first !== "req") return refused(`the stand-in has no ${argv.join(" ")}`);
  assert.ok(only("-H", "--raw"));
  const headers = flags
    .filter((flag) => flag.startsWith("-H"))
    .map((flag) => flag.slice(2).split(/:(.*)/s).slice(0, 2));
  return printed(`${await wire.req(second, bucket, Object.fromEntries(headers))}\n`);
}

/** A program that hands its arguments to this process, and prints what it is told. */
const handsOver = (name: string, socket: string) => `#!${process.execPath}
const { connect } = require("node:net");
const argv = process.argv.slice(2);
const told = async () => {
  let input = "";
  for await (const chunk of process.stdin) input += chunk;
  let text = "";
  const socket = connect(${JSON.stringify(socket)});
  socket.end(JSON.stringify({ program: ${JSON.stringify(name)}, argv, input }));
  for await (const chunk of socket) text += chunk;
  const { code, out, err } = JSON.parse(text);
  process.stdout.write(out);
  process.stderr.write(err);
  process.exitCode = code;
};
told();
`;

function realNats(): string | undefined {
  try {
    return execFileSync("sh", ["-c", "command -v nats"], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}

describeWithNats("the guide on the stock command line", () => {
  let server: NatsServer;
  let connection: NatsConnection;
  let runtime: Runtime<{ order: typeof order }>;
  let listener: Server;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-nats-guide-"));

  beforeAll(async () => {
    server = await startNatsServer(natsVersions.length > 0 ? { binary: natsVersions.at(-1) as never } : {});
    connection = await connectNats({ servers: server.url });
    const wire = new NatsWire(connection);
    const handlers: Readonly<Record<string, (argv: readonly string[], input: string) => Promise<Printed>>> = {
      nats: (argv, input) => standIn(wire, argv, input),
      holdfast: (argv) => holdfast(argv),
    };
    listener = createServer({ allowHalfOpen: true }, (socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("end", () => {
        const { program, argv, input } = JSON.parse(text) as { program: string; argv: string[]; input: string };
        (handlers[program] as (typeof handlers)[string])(argv, input)
          .catch((error: Error) => refused(error.message))
          .then((answer) => socket.end(JSON.stringify(answer)));
      });
    });
    const path = join(folder, "socket");
    await new Promise<void>((done) => listener.listen(path, done));
    writeFileSync(join(folder, "package.json"), '{"type":"commonjs"}');
    for (const name of Object.keys(handlers)) {
      if (name === "nats" && realNats() !== undefined) continue;
      writeFileSync(join(folder, name), handsOver(name, path), { mode: 0o755 });
    }

    runtime = await createRuntime({
      actors: { order },
      store: jetstream({ servers: server.url, node: "shop-1", leaseTtlMs: 60_000 }),
      logger: silent,
    });
    await until(() => runtime.info().partitionsOwned === 64, "the node has all partitions");
    for (const [id, total] of Object.entries({ "o-123": 90, "o-124": 12, "o-125": 30, "o-9": 7 })) {
      await runtime.actor("order", id).create({ total }, { key: `new-${id}` });
    }
    await runtime.actor("order", "o-123").send({ type: "RENAME", total: 95 }, { key: "k-79" });
    for (const id of ["o-123", "o-124"]) await runtime.actor("order", id).send({ type: "CHECKOUT" }, { key: "k-80" });
    // Somebody broke one.
    await wire.put("actors", "order.o-9", '{"state":"paid"}');
    await expect(runtime.actor("order", "o-9").send({ type: "CHECKOUT" })).rejects.toMatchObject({ code: "Parked" });
  });
  afterAll(async () => {
    await runtime?.stop({ drainMs: 0 });
    await new Promise((done) => listener?.close(done));
    await connection?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The commands in one shell, and what each printed, with its complaints. */
  function typed(commands: readonly string[]): Promise<string[]> {
    const script = commands.map((command) => `{ ${command}\n} 2>&1; echo "<<end>>"`).join("\n");
    return new Promise((done, failed) => {
      const shell = spawn("bash", ["-c", script], {
        env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, NATS_URL: server.url },
        stdio: ["ignore", "pipe", "inherit"],
      });
      let out = "";
      shell.stdout.on("data", (chunk) => {
        out += chunk;
      });
      shell.once("error", failed);
      shell.once("close", () => done(out.split("<<end>>\n").slice(0, -1)));
    });
  }

  test("what it only names in passing is tried by other tests", () => {
    const named = [...guide.replace(/^```.*?^```$/gms, "").matchAll(/`(nats [^`]*)`/g)].map(([, command]) => command);
    const elsewhere = ["nats req", "nats kv purge", "nats kv edit"];
    expect(named.filter((command) => !elsewhere.includes(command ?? ""))).toEqual([]);
  });

  test("every command prints what the guide says", async () => {
    let count = 0;
    for (const block of blocks) {
      const outs = await typed(block.map(({ command }) => command));
      block.forEach(({ command, prints }, index) => {
        assert.equal(steady(outs[index] ?? ""), steady(prints), command);
        count++;
      });
    }
    assert.ok(count >= 18, `${count} commands`);
  }, 60_000);
});
