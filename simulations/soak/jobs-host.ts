/** One process that runs the soak's jobs. Its wall clock can be stepped by its parent; each run writes through the register. */
import { raft } from "../../coordinator/index.ts";
import { jetstream } from "../../runtime/adapters/jetstream/index.ts";
import { connectRedis } from "../../runtime/adapters/redis/index.ts";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { consoleLogger, createRuntime, type Runtime } from "../../runtime/index.ts";
import {
  type DoneEntry,
  doneKey,
  type FromHost,
  hostedJob,
  jobNames,
  jobOptions,
  jobsBucket,
  repeatedKey,
  type ToHost,
  writeAndNote,
} from "./jobs.ts";
import { watchStalls } from "./stalls.ts";

/** The wall clock of a machine whose time is set by hand; the monotonic one goes on as it does. */
class SteppedClock extends SystemClock {
  #offsetMs = 0;
  #highestMs = 0;

  override now(): number {
    return super.now() + this.#offsetMs;
  }

  /** What it showed at its highest: a tick may have been sent before it was set back. */
  get highestMs(): number {
    return Math.max(this.#highestMs, this.now());
  }

  step(offsetMs: number): void {
    this.#highestMs = this.highestMs;
    this.#offsetMs = offsetMs;
  }
}

const [servers = "", node = "", redisUrl = "", from = "0", until = "0", self = "1", ports = "", directory = ""] =
  process.argv.slice(2);
const places = ports.split(",").map((port, index) => [index + 1, { host: "127.0.0.1", port: Number(port) }]);
const leases =
  ports === "" ? {} : { leases: raft({ self: Number(self), members: Object.fromEntries(places), directory }) };
const clock = new SteppedClock();
const redis = await connectRedis(redisUrl);
const register = redis.register();
const tell = (message: FromHost) => process.send?.(message);
const runtime = (await createRuntime({
  actors: {},
  store: jetstream({ servers: servers.split(","), bucket: jobsBucket, node, replicas: 3, ...leases }),
  logger: consoleLogger("warn"),
  clock,
})) as unknown as Runtime;

const scheduled = jobNames.map((name) =>
  runtime.schedule(name, jobOptions(name, Number(from), Number(until)), async ({ tickId, slot, token, owner }) => {
    const line: DoneEntry = { job: name, slot, atMs: Date.now(), clockMs: clock.highestMs, owner: node };
    const outcome = await register.run(
      writeAndNote,
      name,
      { token, holder: owner },
      [doneKey, repeatedKey],
      [String(slot), tickId, JSON.stringify(line)],
    );
    if (outcome.kind === "fenced") tell({ kind: "fenced", tickId });
    if (outcome.kind !== "reply") throw new Error(`${tickId} could not be written: ${outcome.kind}`);
  }),
);

process.once("SIGTERM", () => {
  runtime
    .stop()
    .then(() => redis.close())
    .then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
});
process.once("disconnect", () => process.exit(1));
process.on("message", async (message: ToHost) => {
  if (message.kind === "stepClock") clock.step(message.offsetMs);
  else tell({ kind: "jobs", jobs: await Promise.all((await Promise.all(scheduled)).map(hostedJob)) });
});
process.send?.("hosting");
watchStalls((stall) => tell({ kind: "stalled", ...stall }));
