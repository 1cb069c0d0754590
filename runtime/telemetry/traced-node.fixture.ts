/**
 * A process that hosts the traced actors until it is killed: `node traced-node.fixture.js SERVERS NODE FILE`. Spans go to the
 * file as they end, a line each. Every effect that begins is told to the parent, and goes on when the parent says so.
 */
import { appendFileSync } from "node:fs";
import { jetstream } from "../adapters/jetstream/index.ts";
import { createRuntime } from "../index.ts";
import { setUpTracing } from "./index.ts";
import { tracedActors } from "./traced-actors.fixture.ts";
import { exportedSpan } from "./tracing.fixture.ts";

const [servers = "", node = "", file = ""] = process.argv.slice(2);
const waiting: { readonly effect: string; readonly go: () => void }[] = [];
const tracing = await setUpTracing({
  serviceName: node,
  exporter: {
    export(spans, done) {
      for (const span of spans) appendFileSync(file, `${JSON.stringify(exportedSpan(span))}\n`);
      done({ code: 0 });
    },
    shutdown: async () => {},
  },
  delayMs: 0,
});
const runtime = await createRuntime({
  actors: tracedActors(
    (effect) =>
      new Promise((go) => {
        waiting.push({ effect, go });
        process.send?.({ node, effect });
      }),
  ),
  store: jetstream({ servers: servers.split(","), bucket: "traced", node, leaseTtlMs: 1_000 }),
  telemetry: tracing.telemetry,
});
process.on("message", (effect) => {
  for (const one of waiting) if (one.effect === effect) one.go();
});
process.once("disconnect", () => process.exit(1));
process.once("SIGTERM", () => {
  void runtime
    .stop()
    .then(() => tracing.shutdown())
    .then(() => process.exit(0));
});
process.send?.({ node, effect: "hosting" });
