/** One order's life over three processes, of which the one that charges is killed: what all of them exported is one graph. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "vitest";
import { checkTraces, type ExportedSpan } from "../../simulations/checkers/traces.ts";
import { jetstream } from "../adapters/jetstream/index.ts";
import { connect } from "../index.ts";
import { type Compiled, compileProject } from "../testing/compiled.fixture.ts";
import { describeWithNats } from "../testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../testing/nats-server.ts";
import { tracedActors } from "./traced-actors.fixture.ts";
import { Tracing } from "./tracing.fixture.ts";

type Told = { readonly node: string; readonly effect: string };
type Node = { readonly child: ChildProcess; readonly file: string };

const silent = { debug() {}, info() {}, warn() {}, error() {} };

describeWithNats("one life over three nodes", () => {
  let server: NatsServer;
  let compiled: Compiled;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-traces-"));
  const nodes = new Map<string, Node>();
  const told: Told[] = [];
  let onTold = () => {};

  beforeAll(async () => {
    compiled = compileProject();
    server = await startNatsServer();
  });
  afterAll(async () => {
    for (const { child } of nodes.values()) child.kill("SIGKILL");
    await server?.stop();
    compiled?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  function start(node: string): void {
    const file = join(folder, `${node}.jsonl`);
    const program = join(compiled.folder, "runtime/telemetry/traced-node.fixture.js");
    const child = fork(program, [server.url, node, file], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    child.on("message", (message) => {
      told.push(message as Told);
      onTold();
    });
    nodes.set(node, { child, file });
  }

  /** The first word of the effect that nobody waited for before. */
  async function heard(effect: string): Promise<Told> {
    const deadline = performance.now() + 40_000;
    for (;;) {
      const at = told.findIndex((one) => one.effect === effect);
      if (at >= 0) return told.splice(at, 1)[0] as Told;
      assert.ok(performance.now() < deadline, `nobody began ${effect}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        onTold = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  const go = (node: string, effect: string) => void nodes.get(node)?.child.send(effect);
  const spansOf = ({ file }: Node): ExportedSpan[] =>
    existsSync(file)
      ? readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => line.endsWith("}"))
          .map((line) => JSON.parse(line) as ExportedSpan)
      : [];

  test("with a kill -9 in the middle, the exported spans are one connected graph", async () => {
    for (const node of ["n1", "n2", "n3"]) start(node);
    for (const _ of nodes) await heard("hosting");
    const tracing = new Tracing();
    const telemetry = tracing.process();
    const client = await connect({
      actors: tracedActors(async () => {}),
      store: jetstream({ servers: [server.url], bucket: "traced" }),
      logger: silent,
      telemetry,
    });
    try {
      const story = telemetry.start("POST /orders", {});
      assert.ok(story);
      const order = client.actor("order", "o-1");
      await telemetry.with(story, () => client.actor("shipment", "s-1").create());
      await telemetry.with(story, () => order.create());
      await telemetry.with(story, () => order.send({ type: "PAY" }));
      story.end();

      const { node: killed } = await heard("charge");
      nodes.get(killed)?.child.kill("SIGKILL");
      const { node: heir } = await heard("charge");
      assert.notEqual(heir, killed);
      go(heir, "charge");
      const { node: carrier } = await heard("carry");
      go(carrier, "carry");
      const { node: last } = await heard("thank");
      go(last, "thank");
      await order.waitFor("done", { timeoutMs: 40_000 });
    } finally {
      await client.close();
    }
    // Those that live send what they have as they stop.
    await Promise.all(
      [...nodes.values()]
        .filter(({ child }) => child.exitCode === null && child.signalCode === null)
        .map(
          ({ child }) =>
            new Promise((resolve) => {
              child.once("exit", resolve);
              child.kill("SIGTERM");
            }),
        ),
    );
    const spans = [...tracing.exported(), ...[...nodes.values()].flatMap(spansOf)];
    const expected = ["POST /orders", "send PAY", "effect charge", "takeover", "timer", "shipment SHIP"];
    const rest = ["effect carry", "order DELIVERED", "effect thank"];
    assert.deepEqual(checkTraces({ spans, expected: [...expected, ...rest] }), []);
    assert.ok([...nodes.values()].filter((node) => spansOf(node).length > 0).length >= 2, "several nodes told of it");
  });
});
