/** One process that hosts the actors of the soak, until it is killed, or stopped in good order by SIGTERM. */
import { jetstream } from "../../runtime/adapters/jetstream/index.ts";
import { consoleLogger, createRuntime, type Runtime } from "../../runtime/index.ts";
import { soakActors, soakBucket, soakLeaseTtlMs } from "./actors.ts";
import { type FromHost, hostedJob } from "./jobs.ts";
import { recorderAt } from "./recorder.ts";

const [servers = "", node = "", port = "0", jobs = "0"] = process.argv.slice(2);
const runtime = await createRuntime({
  actors: soakActors(recorderAt(Number(port))),
  store: jetstream({ servers: servers.split(","), bucket: soakBucket, node, replicas: 3, leaseTtlMs: soakLeaseTtlMs }),
  logger: consoleLogger("warn"),
  // Actors come and go, so that loading and leaving are part of the soak.
  settings: { idleMs: 3_000 },
});
const tell = (message: FromHost) => process.send?.(message);
const scheduled = Array.from({ length: Number(jobs) }, (_, index) =>
  (runtime as unknown as Runtime).schedule(
    `beside-${index}`,
    { every: "1s", misfire: { fireAll: 1_000 }, overlap: "bufferAll" },
    ({ slot }) => void tell({ kind: "ran", lateMs: Date.now() - slot }),
  ),
);
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
process.on("message", async () =>
  tell({ kind: "jobs", jobs: await Promise.all((await Promise.all(scheduled)).map(hostedJob)) }),
);
process.send?.("hosting");
