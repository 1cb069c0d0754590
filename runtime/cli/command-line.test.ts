import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { assign, setup } from "xstate";
import { EmbeddedStore, embedded } from "../adapters/embedded/index.ts";
import { type ActorTypes, createRuntime, defineActor, type Runtime } from "../index.ts";
import { runCommandLine } from "./command-line.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;
const freshDirectory = () => join(scratch, String(++made));

const orderSetup = setup({
  types: {
    context: {} as { total: number; paidAt?: Date },
    input: {} as { total: number },
    events: {} as { type: "PAY"; at?: Date } | { type: "NOTE" },
    tags: {} as "open",
  },
});
const order = orderSetup.createMachine({
  id: "order",
  context: ({ input }) => ({ total: input.total }),
  initial: "open",
  states: {
    open: {
      tags: "open",
      on: { PAY: { target: "paid", actions: assign({ paidAt: ({ event }) => event.at }) }, NOTE: {} },
    },
    paid: { after: { 86400000: "forgotten" } },
    forgotten: { type: "final" },
  },
});
/** The next release of it: "paid" is called "settled". */
const renamed = orderSetup.createMachine({
  id: "order",
  context: ({ input }) => ({ total: input.total }),
  initial: "open",
  states: { open: { on: { PAY: "settled" } }, settled: {} },
});
const counter = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
  context: { n: 0 },
  on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const running = new Set<Runtime>();
afterEach(async () => {
  for (const runtime of running) await runtime.stop({ drainMs: 0 });
  running.clear();
});

async function host(directory: string, actors: ActorTypes = { order, counter }): Promise<Runtime> {
  const runtime = await createRuntime({ actors, store: embedded(directory), logger: silent, requestTimeoutMs: 5_000 });
  running.add(runtime);
  return runtime;
}

async function stop(runtime: Runtime): Promise<void> {
  running.delete(runtime);
  await runtime.stop();
}

type Result = { readonly code: number; readonly out: string; readonly err: string };

async function holdfast(directory: string, ...argv: string[]): Promise<Result> {
  let out = "";
  let err = "";
  const terminal = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    env: { HOLDFAST_DATA: directory },
  };
  const code = await runCommandLine(argv, terminal);
  return { code, out, err };
}

/** Runs it with --json; the output is one line. */
async function json(directory: string, ...argv: string[]) {
  const { code, out, err } = await holdfast(directory, ...argv, "--json");
  assert.equal(err, "", err);
  assert.equal(code, 0);
  assert.match(out, /^[^\n]*\n$/);
  return JSON.parse(out);
}

/** What it is refused with. */
async function refusal(directory: string, ...argv: string[]): Promise<{ code: string; message: string; exit: number }> {
  const [result, plain] = [await holdfast(directory, "--json", ...argv), await holdfast(directory, ...argv)];
  assert.equal(result.out, "");
  assert.equal(plain.code, result.code);
  const { error } = JSON.parse(result.err) as { error: { code: string; message: string } };
  assert.ok(plain.err.startsWith("holdfast: "), plain.err);
  return { ...error, exit: result.code };
}

/** What it fails with, asked once. */
async function failure(directory: string, ...argv: string[]): Promise<{ code: string; message: string }> {
  const { code, out, err } = await holdfast(directory, ...argv, "--json");
  assert.deepEqual([code, out], [1, ""]);
  return (JSON.parse(err) as { error: { code: string; message: string } }).error;
}

describe("with a host", () => {
  test("an actor is created, sent to, shown, listed and drawn", async () => {
    const directory = freshDirectory();
    await host(directory);
    expect(await holdfast(directory, "create", "order", "o-1", '{"total":90}')).toEqual({
      code: 0,
      out: "created, revision 1\n",
      err: "",
    });
    expect((await holdfast(directory, "send", "order", "o-1", '{"type":"NOTE"}')).out).toBe(
      "recorded; the machine ignored it, revision 2\n",
    );
    const pay = ["send", "order.o-1", '{"type":"PAY","at":{"@date":"2026-01-02T03:04:05.000Z"}}', "--key", "k-1"];
    expect((await holdfast(directory, ...pay)).out).toBe("applied, revision 3\n");
    expect((await holdfast(directory, ...pay)).out).toBe("done before under this key, revision 3\n");
    expect(await json(directory, ...pay)).toEqual({ revision: 3, changed: true, duplicate: true });
    expect(await refusal(directory, "send", "order", "o-1", '{"type":"NOTE"}', "--key", "k-1")).toMatchObject({
      code: "KeyReused",
      exit: 1,
    });

    const shown = await holdfast(directory, "get", "order", "o-1");
    expect(shown.out).toMatch(/^order\.o-1 {2}paid {2}active {2}revision 3 {2}20\d\d-/);
    expect(shown.out).toContain('"paidAt": { "@date": "2026-01-02T03:04:05.000Z" }');
    expect(await json(directory, "get", "order.o-1")).toMatchObject({
      id: "o-1",
      type: "order",
      state: "paid",
      seq: 3,
      format: 1,
    });

    const [row] = await json(directory, "ls", "order");
    expect(row).toEqual({
      type: "order",
      id: "o-1",
      state: "paid",
      status: "active",
      tags: [],
      at: expect.any(String),
      revision: 3,
      pending: 0,
      nextTimer: expect.any(String),
    });
    const [headings, line] = (await holdfast(directory, "ls")).out.split("\n");
    expect(headings).toMatch(/^TYPE {3}ID {3,}STATE {2}STATUS {2}REVISION {2}AT +NOTES$/);
    expect(line).toMatch(/^order {2}o-1 {2}paid {3}active {2}3 {9}\S+Z {2}timer \S+Z$/);

    const revisions = await json(directory, "history", "order", "o-1");
    expect(revisions.map((one: { revision: number; state: string }) => [one.revision, one.state])).toEqual([
      [1, "open"],
      [2, "open"],
      [3, "paid"],
    ]);
    expect(revisions[2]).toMatchObject({
      by: "runtime",
      causes: [{ type: "PAY" }],
      document: { id: "o-1" },
      storeRevision: expect.any(Number),
    });
    expect((await json(directory, "history", "order", "o-1", "--limit", "1")).length).toBe(1);
    expect((await holdfast(directory, "history", "order", "o-1")).out).toMatch(
      /^REVISION {2}AT +STATE {2}STATUS {2}CAUSES\n1 /,
    );

    const plain = await json(directory, "graph", "order");
    expect(plain).toEqual({ type: "order", mermaid: expect.stringMatching(/^stateDiagram-v2/) });
    expect(plain.mermaid).not.toContain("class s,");
    const live = await json(directory, "graph", "order", "o-1");
    expect(live).toMatchObject({ type: "order", id: "o-1", state: "paid" });
    expect(live.mermaid).toContain("class s,s__paid live");
    expect((await holdfast(directory, "graph", "order.o-1")).out).toBe(live.mermaid);

    expect(await json(directory, "info")).toMatchObject({
      directory,
      host: {
        pid: process.pid,
        types: ["order", "counter"],
        hotActors: 1,
        parkedActors: 0,
        counts: { events: expect.any(Number) },
      },
      store: { durability: "power-loss", historyDepth: 10 },
    });
    expect((await holdfast(directory, "info")).out).toMatch(/^directory {4}.*\nstore .*\nhost {9}process \d+\n/ms);
  });

  test("the socket is for its owner, and gone when the host is", async () => {
    const directory = freshDirectory();
    const runtime = await host(directory);
    assert.equal(statSync(join(directory, "holdfast.sock")).mode & 0o777, 0o600);
    await stop(runtime);
    assert.ok(!existsSync(join(directory, "holdfast.sock")));
  });

  test("a second host is refused, and the first goes on being asked", async () => {
    const directory = freshDirectory();
    await host(directory);
    await assert.rejects(
      host(directory),
      (error: Error) => error.name === "StoreInUse" && error.message.includes(`process ${process.pid} hosts`),
    );
    expect((await json(directory, "info")).host.pid).toBe(process.pid);
  });

  test("a host without a control socket is named, and nothing is read beside it", async () => {
    const directory = freshDirectory();
    running.add(await createRuntime({ actors: { order }, store: embedded(directory), logger: silent, control: false }));
    expect(await failure(directory, "ls")).toMatchObject({
      code: "NoAnswer",
      message: expect.stringContaining("`control: false`"),
    });
  });

  test("lists take the state as it is shown, and say what no machine has", async () => {
    const directory = freshDirectory();
    const parcel = setup({ types: { tags: {} as "sent" } }).createMachine({
      type: "parallel",
      states: {
        packing: { initial: "open", states: { open: {}, sealed: {} } },
        payment: { initial: "paid", states: { unpaid: {}, paid: { tags: "sent" } } },
      },
    });
    const runtime = await host(directory, { parcel, counter });
    await runtime.actor("parcel", "p").create();
    const [{ state }] = await json(directory, "ls", "parcel");
    expect(state).toBe("packing.open,payment.paid");
    const found = async (...argv: string[]) => ((await json(directory, "ls", ...argv)) as unknown[]).length;
    for (const wanted of [state, "payment.paid,packing.open", "payment,packing", "payment.paid"])
      expect(await found("parcel", "--state", wanted), wanted).toBe(1);
    expect(await found("parcel", "--state", "packing.sealed,payment.paid")).toBe(0);
    expect(await found("--state", "payment.unpaid")).toBe(0);

    const unknown: [argv: string[], message: RegExp][] = [
      [["parcl"], /no actor type "parcl"; this host has parcel, counter/],
      [["parcel", "--state", "payment.payd"], /parcel has no state "payment.payd"; its states are .*payment\.paid/],
      [["parcel", "--state", "packing.open,payd"], /no state "payd"/],
      [["parcel", "--tag", "snt"], /parcel has no tag "snt"; its tags are sent/],
      [["--tag", "snt"], /parcel has no tag "snt".*counter has no tag "snt"; its tags are none/],
    ];
    for (const [argv, message] of unknown)
      expect(await refusal(directory, "ls", ...argv)).toMatchObject({
        code: "InvalidRequest",
        exit: 1,
        message: expect.stringMatching(message),
      });
    await stop(runtime);
    expect(await holdfast(directory, "ls", "parcl")).toMatchObject({
      code: 0,
      out: "no parcl actors\n",
      err: expect.stringContaining("only a host knows"),
    });
    // What a type of an earlier release left is listed.
    await host(directory, { counter });
    expect(await found("parcel")).toBe(1);
  });

  test("lists are filtered, in pages, and say that there are more", async () => {
    const directory = freshDirectory();
    const runtime = await host(directory, { order, counter, Zebra: counter });
    await Promise.all(Array.from({ length: 30 }, (_, n) => runtime.actor("order", `o-${n}`).create({ total: n })));
    await runtime.actor("Zebra", "z").create();
    await runtime.actor("counter", "c").create();
    await Promise.all([0, 1, 2].map((n) => runtime.actor("order", `o-${n}`).send({ type: "PAY" })));
    await runtime.actor("order", "o-29").delete();
    const ids = async (...argv: string[]) => (await json(directory, "ls", ...argv)).map(({ id }: { id: string }) => id);
    expect((await ids()).length).toBe(31);
    // Between the types that begin with a capital and the others stand the runtime's own keys.
    expect((await ids())[0]).toBe("z");
    expect(await ids("order", "--state", "paid")).toEqual(["o-0", "o-1", "o-2"]);
    expect((await ids("order", "--tag", "open")).length).toBe(26);
    expect(await ids("--status", "deleted")).toEqual(["o-29"]);
    expect(await ids("order", "--limit", "2")).toEqual(["o-0", "o-1"]);
    expect((await holdfast(directory, "ls", "order", "--limit", "2")).err).toContain("there are more than 2");
    expect((await holdfast(directory, "ls", "order", "--limit", "29")).err).toBe("");
    expect((await holdfast(directory, "ls", "order", "--state", "forgotten")).out).toBe("no order actors\n");
  });

  test("unusual ids work and are shown as they are", async () => {
    const directory = freshDirectory();
    await host(directory);
    for (const id of ["*", "a b", "..", "日本", "ärger", "a.b", "x=y", "Ω/1", "bell\u0007", " edge"]) {
      expect(await holdfast(directory, "create", "counter", id)).toMatchObject({ code: 0, err: "" });
      expect((await holdfast(directory, "send", "counter", id, '{"type":"INC"}')).out).toBe("applied, revision 2\n");
      expect(await json(directory, "get", "counter", id)).toMatchObject({ id });
      expect(await json(directory, "get", `counter.${id}`)).toMatchObject({ id });
    }
    const { out } = await holdfast(directory, "ls", "counter");
    for (const shown of ["*  ", "a b  ", "..  ", "日本  ", "ärger  ", "bell\\u{7}  ", '" edge"  '])
      expect(out).toContain(`counter  ${shown}`);
    // Columns stand under each other, wide signs counted.
    const column = out.split("\n")[0]?.indexOf("STATUS");
    const wide = out.split("\n").find((line) => line.includes("日本"));
    expect(wide?.indexOf("active")).toBe((column ?? 0) - 2);
    expect((await json(directory, "ls", "counter")).length).toBe(10);
  });

  test("bad input is refused, each with its own reason", async () => {
    const directory = freshDirectory();
    await host(directory);
    await holdfast(directory, "create", "order", "o-1", '{"total":1}');
    const huge = "x".repeat(10_000);
    for (const verb of [
      ["get", "order", huge],
      ["create", "order", huge],
      ["history", "order", huge],
      ["send", "order", huge, '{"type":"PAY"}'],
    ]) {
      expect(await refusal(directory, ...verb)).toMatchObject({
        code: "InvalidKey",
        exit: 1,
        message: expect.stringContaining("at most 200"),
      });
    }
    const send = (event: string) => refusal(directory, "send", "order", "o-1", event);
    expect(await send('{"type":"SHIP"}')).toMatchObject({ code: "UnknownEvent", exit: 1 });
    expect(await send('{"type":"xstate.done.actor.x"}')).toMatchObject({ code: "UnknownEvent", exit: 1 });
    expect(await send('{"type":"PAY","__proto__":{"a":1}}')).toMatchObject({
      code: "InvalidRequest",
      message: 'event is not usable: it has the key "__proto__"',
    });
    expect(await send('{"type":"PAY","at":{"@date":7}}')).toMatchObject({
      code: "InvalidRequest",
      message: expect.stringContaining("event.at"),
    });
    expect(await send("[]")).toMatchObject({ code: "InvalidRequest", exit: 1 });
    expect(await refusal(directory, "send", "order", "o-2", '{"type":"PAY"}')).toMatchObject({
      code: "NotFound",
      exit: 1,
    });
    expect(await refusal(directory, "send", "robot", "r", '{"type":"PAY"}')).toMatchObject({
      code: "InvalidRequest",
      message: expect.stringContaining("order, counter"),
    });
    expect(await refusal(directory, "create", "order", "o-1", '{"total":1}')).toMatchObject({
      code: "AlreadyExists",
      exit: 1,
    });
    expect(await refusal(directory, "get", "order", "o-2")).toMatchObject({
      code: "NotFound",
      message: 'order "o-2" does not exist',
    });
    expect(await refusal(directory, "history", "order", "o-2")).toMatchObject({ code: "NotFound" });
    expect(await refusal(directory, "graph", "robot")).toMatchObject({ code: "InvalidRequest" });
    expect(await refusal(directory, "resume", "order", "o-1")).toMatchObject({
      code: "NotFound",
      message: expect.stringContaining("not parked"),
    });
    expect(await json(directory, "get", "order", "o-1")).toMatchObject({ seq: 1 });
  });

  test("a lost answer to a write is unknown, not failed", async () => {
    const directory = freshDirectory();
    mkdirSync(directory);
    const server = createServer((socket) => socket.on("data", () => socket.destroy())).listen(
      join(directory, "holdfast.sock"),
    );
    await once(server, "listening");
    const event = '{"type":"PAY"}';
    expect(await refusal(directory, "send", "order", "o", event)).toMatchObject({
      code: "OutcomeUnknown",
      message: expect.stringContaining("holdfast history"),
    });
    expect(await refusal(directory, "send", "order", "o", event, "--key", "k")).toMatchObject({
      code: "OutcomeUnknown",
      message: expect.stringContaining("same --key"),
    });
    expect(await refusal(directory, "ls")).toMatchObject({ code: "NoAnswer" });
    server.close();
  });
});

describe("without a host", () => {
  test("reading goes on from the directory, writing says that a host must run, and the epoch stays", async () => {
    const directory = freshDirectory();
    const runtime = await host(directory);
    await runtime.actor("order", "o-1").create({ total: 1 });
    await stop(runtime);
    const epochOf = async () => {
      const store = await EmbeddedStore.open(directory);
      const { epoch } = store;
      await store.close();
      return epoch;
    };
    const before = await epochOf();
    expect(await json(directory, "ls")).toMatchObject([{ id: "o-1", state: "open" }]);
    expect(await json(directory, "get", "order", "o-1")).toMatchObject({ id: "o-1" });
    expect(await json(directory, "history", "order", "o-1")).toMatchObject([{ revision: 1 }]);
    expect(await json(directory, "parked")).toEqual([]);
    expect(await json(directory, "info")).toMatchObject({ host: null, directory, store: { durability: "power-loss" } });
    expect((await holdfast(directory, "info")).out).toMatch(/host +none runs\n$/);
    const writes = [
      ["send", "order", "o-1", '{"type":"PAY"}'],
      ["create", "order", "o-2"],
      ["resume", "order", "o-1"],
      ["graph", "order"],
    ];
    for (const write of writes) {
      expect(await refusal(directory, ...write)).toMatchObject({
        code: "NoHost",
        exit: 1,
        message: expect.stringMatching(/^no host runs .* host/),
      });
    }
    const copy = freshDirectory();
    expect(await json(directory, "backup", copy)).toEqual({ from: directory, to: copy });
    expect(await json(copy, "get", "order", "o-1")).toMatchObject({ id: "o-1" });
    expect(await epochOf()).toBe(before + 1);
  });

  test("a machine from a module is drawn, with the state of a document when there is an id", async () => {
    const directory = freshDirectory();
    const runtime = await host(directory);
    await runtime.actor("order", "o-1").create({ total: 1 });
    await stop(runtime);
    const file = join(scratch, "machines.mjs");
    const xstate = pathToFileURL(join(process.cwd(), "node_modules/xstate/dist/xstate.esm.js")).href;
    writeFileSync(
      file,
      `import { createMachine } from ${JSON.stringify(xstate)};
      export const order = createMachine({ initial: "open", states: { open: { on: { PAY: "paid" } }, paid: {} } });
      export const wrapped = { logic: order };
      export const number = 7;`,
    );
    const one = join(scratch, "one.mjs");
    writeFileSync(one, `export { order } from "./machines.mjs";`);
    const nowhere = join(scratch, "nowhere");
    const { out } = await holdfast(nowhere, "graph", "--machine", `${file}#order`);
    expect(out).toMatch(/^stateDiagram-v2\n/);
    expect((await holdfast(nowhere, "graph", "--machine", one)).out).toBe(out);
    expect((await holdfast(nowhere, "graph", "--machine", `${file}#wrapped`)).out).toBe(out);
    expect((await holdfast(directory, "graph", "order", "o-1", "--machine", `${file}#order`)).out).toContain(
      "class s,s__open live",
    );
    expect(await refusal(directory, "graph", "--machine", `${file}#number`)).toMatchObject({ code: "NotSupported" });
    expect(await refusal(directory, "graph", "--machine", `${file}#none`)).toMatchObject({
      code: "NoMachine",
      message: expect.stringMatching(/does not export none; it exports \w+, \w+, \w+$/),
    });
    expect(await refusal(directory, "graph", "--machine", file)).toMatchObject({
      code: "NoMachine",
      message: expect.stringContaining("default"),
    });
    expect(await refusal(directory, "graph", "--machine", join(scratch, "no.mjs"))).toMatchObject({
      code: "NoMachine",
    });
  });

  test("a directory without a store is said to be one, and stays as it is", async () => {
    const directory = freshDirectory();
    for (const argv of [["ls"], ["send", "order", "o", '{"type":"PAY"}'], ["info"]]) {
      expect(await refusal(directory, ...argv)).toMatchObject({ code: "StoreNotFound", exit: 1 });
    }
    assert.ok(!existsSync(directory));
    writeFileSync(directory, "a file");
    expect(await refusal(directory, "ls")).toMatchObject({ code: "ForeignDirectory", exit: 1 });
  });
});

describe("parked actors", () => {
  test("are listed with the reason and who refused them, and go on by themselves once a migration is supplied", async () => {
    const directory = freshDirectory();
    const first = await host(directory, { order: defineActor(order, { version: 1 }) });
    await first.actor("order", "a b").create({ total: 1 });
    await first.actor("order", "a b").send({ type: "PAY" });
    await stop(first);

    const second = await host(directory, { order: defineActor(renamed, { version: 2 }) });
    expect(await refusal(directory, "send", "order", "a b", '{"type":"PAY"}')).toMatchObject({ code: "Parked" });
    const [row] = await json(directory, "parked");
    expect(row).toEqual({
      type: "order",
      id: "a b",
      reason: "incompatible",
      message: expect.stringContaining("paid"),
      at: expect.any(String),
      storeRevision: expect.any(Number),
      refusedBy: [{ version: 2, hash: expect.stringMatching(/^[\da-f]{16}$/) }],
    });
    expect((await holdfast(directory, "parked")).out).toMatch(
      /^TYPE {3}ID {3}SINCE +REASON +REFUSED BY +MESSAGE\norder {2}a b {2}\S+Z {2}incompatible {2}version 2 [\da-f]{16} {2}/,
    );
    expect(await json(directory, "ls", "order")).toMatchObject([{ id: "a b", parked: "incompatible", state: "paid" }]);
    expect((await holdfast(directory, "ls")).out).toContain("parked: incompatible");
    expect((await holdfast(directory, "get", "order", "a b")).out).toContain("\nparked since ");
    await stop(second);
    // Seen without a host, too.
    expect(await json(directory, "parked")).toEqual([row]);

    const migrate = ({ context }: { context: Record<string, unknown> }) => ({ value: "settled", context });
    await host(directory, { order: defineActor(renamed, { version: 2, migrate }) });
    expect(await holdfast(directory, "send", "order", "a b", '{"type":"PAY"}')).toMatchObject({ code: 0 });
    expect(await json(directory, "parked")).toEqual([]);
    expect((await json(directory, "info")).host.counts.unparked).toBe(1);
    expect(await json(directory, "get", "order", "a b")).toMatchObject({ state: "settled" });
  });

  test("are resumed in bulk; what fails or is parked again is told, and what was wrong is told as what it was", async () => {
    const directory = freshDirectory();
    let broken = ["o", "edited"];
    const alarm = setup({ types: { events: {} as { type: "NOTE" } } }).createMachine({
      initial: "set",
      on: { NOTE: {} },
      states: {
        set: {
          after: {
            1: {
              target: "rung",
              actions: assign(({ self }) => {
                if (broken.some((one) => self.id.startsWith(one))) throw new Error("no bell");
                return {};
              }),
            },
          },
        },
        rung: {},
      },
    });
    const first = await host(directory, { alarm, counter });
    const ids = Array.from({ length: 5 }, (_, n) => `o ${n}`);
    for (const id of [...ids, "edited"]) await first.actor("alarm", id).create();
    await vi.waitUntil(() => first.parked().length === 6);
    await stop(first);
    await overwrite(directory, "alarm.edited", (text) => `${text} `);

    const second = await host(directory, { alarm, counter });
    await expect(second.actor("alarm", "edited").resume()).rejects.toMatchObject({
      code: "Parked",
      message: expect.stringMatching(/^alarm\.edited is parked again: foreign: /),
    });
    const note = '{"type":"NOTE"}';
    for (const id of [...ids, "edited"])
      expect(await refusal(directory, "send", "alarm", id, note)).toMatchObject({
        code: "Parked",
        message: expect.stringMatching(
          id === "edited"
            ? /alarm\.edited is parked: foreign: .*`holdfast resume alarm\.edited --discard`/
            : new RegExp(`threw: .*so when it was parked: once it is mended, \`holdfast resume alarm '${id}'\``),
        ),
      });
    await stop(second);
    const parked = async () => ((await json(directory, "parked")) as unknown[]).length;

    // Only a host resumes.
    expect(await refusal(directory, "resume", "alarm", "--all")).toMatchObject({ code: "NoHost", exit: 1 });
    await host(directory, { alarm, counter });
    for (const argv of [
      ["alarm", "o 1", "--all"],
      ["--all"],
      ["alarm", "--all", "--reason", "incompatble"],
      ["alarm", "--all", "--discard"],
      ["alarm", "o 1", "--reason", "foreign"],
    ])
      expect(await refusal(directory, "resume", ...argv)).toMatchObject({ code: "Usage", exit: 2 });

    broken = ["o 1", "o 3"];
    expect(await holdfast(directory, "resume", "alarm", "o 1")).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringMatching(/^holdfast: alarm\.o=201 is parked again: threw: no bell; /),
    });
    expect(await holdfast(directory, "resume", "alarm", "--all", "--reason", "threw")).toEqual({
      code: 1,
      out: "resumed 3 of alarm (threw); parked again: 2\nparked again: alarm.o 1: threw: no bell\nparked again: alarm.o 3: threw: no bell\n",
      err: "",
    });
    expect(await parked()).toBe(3);
    const again = await holdfast(directory, "resume", "alarm", "--all", "--reason", "threw", "--json");
    expect(again.code).toBe(1);
    expect(JSON.parse(again.out)).toEqual({
      type: "alarm",
      mode: "retry",
      reason: "threw",
      resumed: 0,
      parkedAgain: ["o 1", "o 3"].map((id) => ({ id, reason: "threw", message: "no bell" })),
      failed: [],
      left: 0,
    });

    broken = [];
    const limited = await holdfast(directory, "resume", "alarm", "--all", "--reason", "threw", "--limit", "1");
    expect(limited).toMatchObject({ code: 0, out: "resumed 1 of alarm (threw)\n" });
    expect(limited.err).toContain("1 more are parked");
    expect(await json(directory, "resume", "alarm", "--all", "--reason", "threw")).toEqual({
      type: "alarm",
      mode: "retry",
      reason: "threw",
      resumed: 1,
      parkedAgain: [],
      failed: [],
      left: 0,
    });
    expect(await parked()).toBe(1);
    for (const id of ids) expect(await holdfast(directory, "send", "alarm", id, note)).toMatchObject({ code: 0 });
    expect((await holdfast(directory, "resume", "counter", "--all")).out).toBe("nothing is parked of counter\n");
    expect(await json(directory, "resume", "alarm", "--all", "--reason", "foreign", "--discard")).toMatchObject({
      resumed: 1,
    });
    expect(await parked()).toBe(0);
  });

  test("documents that were truncated or edited by hand are shown as what they are", async () => {
    const directory = freshDirectory();
    const first = await host(directory);
    for (const id of ["cut", "edited", "undone"]) await first.actor("order", id).create({ total: 1 });
    await stop(first);
    await overwrite(directory, "order.cut", (text) => text.slice(0, 200));
    for (const id of ["edited", "undone"])
      await overwrite(directory, `order.${id}`, (text) => text.replaceAll('"total":1', '"total":1000'));

    for (const runs of [false, true]) {
      if (runs) await host(directory);
      const rows = await json(directory, "ls", "order");
      expect(rows).toMatchObject([
        { id: "cut", state: "(unreadable)", at: null, problem: expect.stringContaining("not JSON") },
        { id: "edited", state: "open" },
        { id: "undone" },
      ]);
      expect((await holdfast(directory, "ls")).out).toMatch(/^order {2}cut {5}\(unreadable\) .*not JSON/m);
      const cut = await holdfast(directory, "get", "order", "cut");
      expect(cut.code).toBe(1);
      expect(cut.out).toMatch(/^order\.cut {2}revision \d+ of the store\nwritten by hand: .*\n\{"id":"cut"/);
      expect(cut.err).toContain("cannot be read: it is not JSON");
      expect(await failure(directory, "get", "order", "cut")).toMatchObject({ code: "Damaged" });
      expect(cut.out).toContain("or it has rotted on the disk");
      expect((await holdfast(directory, "get", "order", "edited")).out).toContain("\nwritten by hand: ");
      expect(await json(directory, "get", "order", "edited")).toMatchObject({
        actors: { s0: { snap: { context: { total: 1000 } } } },
      });
      expect(await json(directory, "history", "order", "cut")).toMatchObject([
        { revision: 1, by: "runtime" },
        { by: "hand", problem: expect.any(String), text: expect.any(String) },
      ]);
      expect((await holdfast(directory, "history", "order", "cut")).out).toMatch(/^\? .*\(unreadable\).*hand/m);
    }

    const note = '{"type":"NOTE"}';
    for (const id of ["cut", "edited", "undone"])
      expect(await refusal(directory, "send", "order", id, note)).toMatchObject({ code: "Parked" });
    const reasons = (await json(directory, "parked")).map(
      ({ id, reason }: { id: string; reason: string }) => `${id} ${reason}`,
    );
    expect(reasons.sort()).toEqual(["cut foreign", "edited foreign", "undone foreign"]);
    await holdfast(directory, "resume", "order", "edited", "--accept");
    expect((await json(directory, "get", "order", "edited")).actors.s0.snap.context.total).toBe(1000);
    for (const id of ["undone", "cut"]) {
      expect(await holdfast(directory, "resume", "order", id, "--discard")).toMatchObject({ code: 0, err: "" });
      expect((await json(directory, "get", "order", id)).actors.s0.snap.context.total).toBe(1);
    }
    for (const id of ["cut", "edited", "undone"])
      expect(await holdfast(directory, "send", "order", id, note)).toMatchObject({ code: 0, err: "" });
  });
});

/** As a person with an editor would: the header of the old value stays away. */
async function overwrite(directory: string, key: string, edit: (text: string) => string): Promise<void> {
  const store = await EmbeddedStore.open(directory);
  const entry = await store.read(key);
  assert.ok(entry);
  const header = entry.header ?? { commit: "", hash: "" };
  const outcome = await store.write({
    key,
    value: edit(entry.value),
    header,
    expect: entry.revision,
    token: [store.epoch, 1],
  });
  assert.equal(outcome.kind, "written");
  await store.close();
}

describe("backup", () => {
  test("of a store that is written to holds everything acknowledged before, and a host opens it", async () => {
    const directory = freshDirectory();
    const runtime = await host(directory);
    const counters = Array.from({ length: 8 }, (_, n) => runtime.actor("counter", `c-${n}`));
    for (const one of counters) await one.create();
    let stopWriting = false;
    const acknowledged = counters.map(() => 0);
    const writers = counters.map(async (one, n) => {
      while (!stopWriting) {
        await one.send({ type: "INC" });
        acknowledged[n] = (acknowledged[n] ?? 0) + 1;
      }
    });
    while (acknowledged.some((count) => count < 5))
      await Promise.race(counters.map((one) => one.send({ type: "INC" }).then(() => undefined)));
    const before = [...acknowledged];
    const copy = freshDirectory();
    expect(await json(directory, "backup", copy)).toEqual({ from: directory, to: copy });
    stopWriting = true;
    await Promise.all(writers);
    expect(await refusal(directory, "backup", copy)).toMatchObject({
      exit: 1,
      message: expect.stringContaining("empty directory"),
    });

    const restored = await host(copy);
    for (const [n, at] of before.entries()) {
      const state = (await restored.actor("counter", `c-${n}`).state()) as { context?: { n: number } } | undefined;
      assert.ok((state?.context?.n ?? -1) >= at, `${JSON.stringify(state)} ${at}`);
    }
    expect(await holdfast(copy, "send", "counter", "c-0", '{"type":"INC"}')).toMatchObject({ code: 0, err: "" });
    expect((await json(copy, "info")).directory).toBe(copy);
  });
});

describe("the command line itself", () => {
  const wrong: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["no command", [], /it needs a command[\s\S]*usage: holdfast/],
    ["an unknown command", ["frobnicate"], /there is no command "frobnicate"/],
    ["a word that every object has", ["constructor"], /there is no command/],
    ["an unknown option", ["ls", "--frob"], /--frob/],
    ["an option of another command", ["get", "order", "o", "--limit", "3"], /it takes no --limit\nusage: holdfast get/],
    ["no actor", ["get"], /it needs an actor/],
    ["a type without an id", ["get", "order"], /it needs an id of the type "order"/],
    ["too many arguments", ["get", "order", "o", "p"], /no more arguments: "p"/],
    ["no event", ["send", "order", "o"], /it needs an event/],
    ["an event that is not JSON", ["send", "order", "o", "{type:PAY}"], /the event is not JSON/],
    ["an input that is not JSON", ["create", "order", "o", "90€"], /the input is not JSON/],
    ["a limit of zero", ["ls", "--limit", "0"], /--limit is "0"/],
    ["an unknown status", ["ls", "--status", "alive"], /must be one of active, done/],
    ["both ways of resuming", ["resume", "order", "o", "--accept", "--discard"], /not both/],
    ["nowhere to copy to", ["backup"], /the directory to copy to/],
    ["nothing to draw", ["graph"], /it needs a type/],
    ["an empty directory name", ["ls", "--data", ""], /--data is empty/],
    ["help for an unknown command", ["help", "frob"], /there is no command "frob"/],
  ];
  for (const [what, argv, message] of wrong)
    test(`${what} is wrong use`, async () => {
      const { exit, ...error } = await refusal("", ...argv);
      expect([exit, error.code]).toEqual([2, "Usage"]);
      expect(error.message).toMatch(message);
    });

  test("--version tells the release, and goes with no command", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await holdfast("", "--version")).toEqual({ code: 0, out: `${version}\n`, err: "" });
    expect(await json("", "--version")).toEqual({ version });
    expect((await refusal("", "ls", "--version")).message).toMatch(/it takes no --version/);
  });

  test("help names every command, and each has its own", async () => {
    const { out } = await holdfast("", "help");
    expect(await holdfast("", "--help")).toEqual({ code: 0, out, err: "" });
    for (const name of ["ls", "get", "history", "send", "create", "parked", "resume", "graph", "backup", "info"]) {
      expect(out).toContain(`\n  ${name}`);
      expect((await holdfast("", "help", name)).out).toContain(`usage: holdfast ${name}`);
      expect((await holdfast("", name, "--help")).out).toContain(`usage: holdfast ${name}`);
    }
    expect(Object.keys(await json("", "help"))).toContain("backup");
  });

  test("--data outranks the environment, and after -- nothing is an option", async () => {
    const directory = freshDirectory();
    await host(directory);
    expect(
      await holdfast(join(scratch, "nowhere"), "--data", directory, "create", "counter", "--", "--json"),
    ).toMatchObject({ code: 0, out: "created, revision 1\n" });
    expect(await json(directory, "get", "counter.--json")).toMatchObject({ id: "--json" });
  });
});

describe("where NATS_URL names a server", () => {
  const env = { NATS_URL: "nats://user:secret@127.0.0.1:1" };
  async function inFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
    const before = process.cwd();
    process.chdir(folder);
    try {
      return await work();
    } finally {
      process.chdir(before);
    }
  }
  async function failing(...argv: string[]): Promise<{ code: string; message: string }> {
    const errors: string[] = [];
    const terminal = { out: () => {}, err: (text: string) => void errors.push(text), env };
    assert.notEqual(await runCommandLine([...argv, "--json"], terminal), 0);
    return (JSON.parse(errors.join("")) as { error: { code: string; message: string } }).error;
  }

  test("a store in ./data as well is refused until one of them is named, without its credentials", async () => {
    const folder = freshDirectory();
    mkdirSync(folder);
    const runtime = await host(join(folder, "data"));
    await runtime.actor("order", "o-1").create({ total: 90 });
    await inFolder(folder, async () => {
      for (const argv of [["ls"], ["get", "order.o-1"], ["send", "order.o-1", '{"type":"NOTE"}'], ["leases"]]) {
        expect(await failing(...argv)).toEqual({
          code: "Usage",
          message: expect.stringMatching(
            /^there is a store in \.\/data, and NATS_URL .* --data \.\/data or --nats "\$NATS_URL"/,
          ),
        });
      }
      const shown: string[] = [];
      const terminal = { out: (text: string) => void shown.push(text), err: () => {}, env };
      expect(await runCommandLine(["ls", "--data", "./data"], terminal)).toBe(0);
      expect(await runCommandLine(["ls"], { ...terminal, env: { ...env, HOLDFAST_DATA: "data" } })).toBe(0);
      expect(shown).toEqual([expect.stringMatching(/o-1/), expect.stringMatching(/o-1/)]);
      expect((await failing("ls", "--nats", "nats://127.0.0.1:1")).code).toBe("NatsUnreachable");
    });
  });

  test("commands about NATS alone take no directory for a server", async () => {
    const directory = freshDirectory();
    await stop(await host(directory));
    for (const argv of [["doctor"], ["nodes"], ["leases"], ["leases", "adopt"]]) {
      const named = await refusal(directory, ...argv);
      expect(named).toMatchObject({ code: "Usage", exit: 2 });
      expect(named.message).toMatch(
        /about a bucket on NATS, and HOLDFAST_DATA names .*: name the server with --nats or/,
      );
    }
    expect(await refusal(directory, "nodes", "--data", directory)).toMatchObject({
      message: expect.stringContaining("--data names the directory"),
    });
    // A server that is named is asked.
    const nobody = "nats://127.0.0.1:1";
    expect(await refusal(directory, "nodes", "--nats", nobody)).toMatchObject({ code: "NatsUnreachable" });
  });

  test("a folder ./data that holds something else is no store", async () => {
    const folder = freshDirectory();
    mkdirSync(join(folder, "data"), { recursive: true });
    writeFileSync(join(folder, "data", "notes.txt"), "");
    await inFolder(folder, async () => expect((await failing("ls")).code).toBe("NatsUnreachable"));
  });
});
