/** A process of its own that hosts nothing: sends events over the bus for `jetstream.ts`, which forks it. */
import { jetstream } from "../runtime/adapters/jetstream/index.ts";
import { connect, consoleLogger } from "../runtime/index.ts";
import { closedLoop } from "./closed-loop.ts";
import { nextEventTo, orderMachine } from "./order.ts";

export type CallerOrder = { readonly callers: number; readonly forMs: number };

const [servers = "", prefix = "o"] = process.argv.slice(2);
const client = await connect({
  actors: { order: orderMachine },
  store: jetstream({ servers }),
  logger: consoleLogger("error"),
});
const counts: number[] = [];
process.on("message", ({ callers, forMs }: CallerOrder) => {
  const handles = Array.from({ length: callers }, (_, index) => client.actor("order", `${prefix}-${index}`));
  const send = nextEventTo(handles, counts);
  const work = async () => {
    for (const [index, handle] of handles.entries())
      if (counts[index] === undefined) await handle.create({ id: handle.id }, { key: "bench" });
    await closedLoop(callers, 300, send);
    return closedLoop(callers, forMs, send);
  };
  work().then(
    (figures) => process.send?.(figures),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once("disconnect", () => process.exit(0));
process.send?.("ready");
