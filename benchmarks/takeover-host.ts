/** A process that hosts sleepers whose work never ends, until `takeover.ts`, which forks it, kills it. */
import { jetstream } from "../runtime/adapters/jetstream/index.ts";
import { consoleLogger, createRuntime } from "../runtime/index.ts";
import { heldSleeper } from "./order.ts";

const [servers = "", bucket = "", count = "0"] = process.argv.slice(2);
const runtime = await createRuntime({
  actors: { sleeper: heldSleeper(() => new Promise(() => {})) },
  store: jetstream({ servers, bucket, node: "first", partitions: 1 }),
  logger: consoleLogger("error"),
  settings: { effects: Number(count) },
});
for (let base = 0; base < Number(count); base += 100)
  await Promise.all(Array.from({ length: 100 }, (_, index) => runtime.actor("sleeper", `s-${base + index}`).create()));
process.once("disconnect", () => process.exit(0));
process.send?.("pending");
