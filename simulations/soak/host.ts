/** One process that hosts the actors of the soak, until it is killed, or stopped in good order by SIGTERM. */
import { jetstream } from "../../runtime/adapters/jetstream/index.ts";
import { consoleLogger, createRuntime } from "../../runtime/index.ts";
import { soakActors, soakBucket, soakLeaseTtlMs } from "./actors.ts";
import { recorderAt } from "./recorder.ts";

const [servers = "", node = "", port = "0"] = process.argv.slice(2);
const runtime = await createRuntime({
  actors: soakActors(recorderAt(Number(port))),
  store: jetstream({ servers: servers.split(","), bucket: soakBucket, node, replicas: 3, leaseTtlMs: soakLeaseTtlMs }),
  logger: consoleLogger("warn"),
  // Actors come and go, so that loading and leaving are part of the soak.
  settings: { idleMs: 3_000 },
});
process.once("SIGTERM", () => {
  runtime.stop().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once("disconnect", () => process.exit(1));
process.on("message", () => process.send?.(runtime.info()));
process.send?.("hosting");
